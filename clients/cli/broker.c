/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/broker.h"

#include <stdio.h>
#include <string.h>

#include "clients/c/link.h"
#include "clients/c/unary.h"
#include "clients/cli/cli.h"
#include "proto/message.h"

#define MAX_REPLY_BYTES (64u << 20)

static void on_up(struct link *link, void *data)
{
    (void)link;
    struct broker *b = data;
    b->up = true;
}

static void on_down(struct link *link, void *data, const char *reason, uint32_t retry_ms)
{
    (void)link;
    (void)retry_ms;
    struct broker *b = data;
    b->up = false;
    b->down = true;
    snprintf(b->reason, sizeof b->reason, "%s", reason);
}

static int fail(struct broker *b, int rc)
{
    snprintf(b->reason, sizeof b->reason, "%s", uv_strerror(rc));
    return rc == UV_EINVAL || rc == UV_EACCES ? EXIT_USAGE : EXIT_CONNECT;
}

int broker_try(struct broker *b, struct cli *cli)
{
    static const struct link_ops ops = {.on_up = on_up, .on_down = on_down};
    *b = (struct broker){.cli = cli};
    int rc = uv_loop_init(&b->loop);
    if (rc < 0)
        return fail(b, rc);
    b->has_loop = true;
    struct link_options options = cli_link(cli);
    options.once = true;
    options.limits.max_message_bytes = MAX_REPLY_BYTES;
    rc = link_open(&b->loop, &options, &ops, b, &b->link);
    if (rc < 0) {
        b->link = NULL;
        return fail(b, rc);
    }
    while (!b->up && !b->down)
        uv_run(&b->loop, UV_RUN_ONCE);
    return b->up ? EXIT_OK : EXIT_CONNECT;
}

int broker_connect(struct broker *b, struct cli *cli)
{
    int code = broker_try(b, cli);
    if (code != EXIT_OK)
        cli_cannot_connect(cli, "", b->reason);
    return code;
}

struct answer {
    bool done;
    int status;
    char message[512];
    struct ProtobufCMessage *reply;
};

static void on_answer(void *data, int status, const char *message, struct ProtobufCMessage *reply)
{
    struct answer *a = data;
    a->done = true;
    a->status = status;
    a->reply = reply;
    snprintf(a->message, sizeof a->message, "%s", message);
}

int broker_ask(struct broker *b, const char *path, const struct ProtobufCMessage *request,
               const struct ProtobufCMessageDescriptor *reply_type, struct ProtobufCMessage **out_reply)
{
    struct cli *cli = b->cli;
    struct grpc_channel *channel = link_channel(b->link);
    if (!channel) {
        cli_error(cli, "the connection to %s is lost: %s", cli->broker, b->reason);
        return EXIT_CONNECT;
    }
    struct answer answer = {0};
    int rc = unary_call(channel, path, (uint32_t)cli->connect_ms, request, reply_type, on_answer, &answer);
    if (rc < 0) {
        cli_error(cli, "cannot ask %s: %s", cli->broker, uv_strerror(rc));
        return EXIT_FAILED;
    }
    while (!answer.done)
        uv_run(&b->loop, UV_RUN_ONCE);
    if (answer.status != GRPC_OK)
        return cli_refused(cli, answer.status, answer.message);
    *out_reply = answer.reply;
    return EXIT_OK;
}

void broker_close(struct broker *b)
{
    if (!b->has_loop)
        return;
    link_close(b->link);
    b->link = NULL;
    uv_run(&b->loop, UV_RUN_DEFAULT);
    uv_loop_close(&b->loop);
    b->has_loop = false;
}
