/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/proto/grpc/pair.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------ probes */

static void copy(char out[64], const char *text)
{
    snprintf(out, 64, "%s", text ? text : "");
}

static void on_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct probe *probe = data;
    size_t n = len < sizeof probe->last - 1 ? len : sizeof probe->last - 1;
    cr_assert_eq(call, probe->call);
    probe->n_messages++;
    probe->n_bytes += len;
    memcpy(probe->last, bytes, n);
    probe->last[n] = '\0';
}

static void on_half_close(struct grpc_call *call, void *data)
{
    struct probe *probe = data;
    (void)call;
    probe->n_half_closes++;
}

static void on_writable(struct grpc_call *call, void *data)
{
    struct probe *probe = data;
    (void)call;
    probe->n_writables++;
}

static void on_drain(struct grpc_call *call, void *data)
{
    struct probe *probe = data;
    (void)call;
    probe->n_drains++;
}

static void on_close(struct grpc_call *call, void *data, int status, const char *message)
{
    struct probe *probe = data;
    cr_assert_eq(call, probe->call);
    probe->call = NULL;
    probe->n_closes++;
    probe->closed = true;
    probe->status = status;
    snprintf(probe->message, sizeof probe->message, "%s", message);
    copy(probe->initial, grpc_call_metadata(call, "x-initial"));
    copy(probe->trailing, grpc_call_trailer(call, "x-trailing"));
}

const struct grpc_call_ops probe_ops = {on_message, on_half_close, on_writable, on_drain, on_close};

int probe_send(struct probe *probe, const char *text)
{
    struct slice part = {.ptr = (const uint8_t *)text, .len = strlen(text)};
    return grpc_call_send(probe->call, &part, 1);
}

/* ------------------------------------------------------------------------------------------------ server */

static void start_call(struct grpc_call *call, void *service)
{
    struct pair *p = service;
    cr_assert_lt(p->n_served, PAIR_CALLS);
    struct probe *probe = &p->served[p->n_served++];
    probe->call = call;
    probe->opened = true;
    if (p->on_serve)
        p->on_serve(p, probe);
    else
        grpc_call_accept(call, &p->server_ops, probe);
}

static void handle_unary(struct grpc_call *call, void *service, const uint8_t *bytes, size_t len)
{
    (void)service;
    grpc_unary_reply(call, bytes, len);
}

static void start_unary(struct grpc_call *call, void *service)
{
    grpc_unary_accept(call, service, handle_unary);
}

static const struct grpc_method methods[] = {{"/test/Call", start_call}, {"/test/Unary", start_unary}};

static void on_server_closed(void *data)
{
    struct pair *p = data;
    p->server_closed = true;
}

/* ------------------------------------------------------------------------------------------------ channel */

static void on_up(struct grpc_channel *channel, void *data)
{
    struct pair *p = data;
    (void)channel;
    p->n_ups++;
    p->up = true;
}

static void on_down(struct grpc_channel *channel, void *data, const char *reason)
{
    struct pair *p = data;
    (void)channel;
    p->n_downs++;
    p->down = true;
    p->closed_before_down = p->watched && p->watched->closed;
    snprintf(p->down_reason, sizeof p->down_reason, "%s", reason);
}

static const struct grpc_channel_ops channel_ops = {on_up, on_down};

/* ------------------------------------------------------------------------------------------------ the pair */

void pair_channel(struct pair *p, const char *address, const struct grpc_channel_options *options)
{
    cr_assert_eq(grpc_channel_open(&p->loop.loop, address, options, &channel_ops, p, &p->channel), 0);
}

void pair_open(struct pair *p, const struct grpc_limits *server_limits,
               const struct grpc_listen_options *listen_options, const struct grpc_channel_options *channel_options,
               const char *address)
{
    char err[256] = "";
    *p = (struct pair){.server_ops = probe_ops};
    test_loop_init(&p->loop);
    cr_assert_eq(grpc_server_new(&p->loop.loop, server_limits, &p->server), 0);
    cr_assert_eq(grpc_server_add(p->server, methods, 2, p), 0);
    cr_assert_eq(grpc_server_listen(p->server, address, listen_options, err, sizeof err), 0, "%s", err);
    pair_channel(p, grpc_server_address(p->server, 0), channel_options);
}

void pair_init(struct pair *p, const struct grpc_limits *server_limits, const struct grpc_limits *client_limits,
               const char *address)
{
    pair_open(p, server_limits, NULL, &(struct grpc_channel_options){.limits = client_limits}, address);
    pair_until(p, &p->up);
}

void pair_deinit(struct pair *p)
{
    grpc_channel_close(p->channel);
    grpc_server_close(p->server, on_server_closed, p);
    pair_until(p, &p->server_closed);
    test_loop_deinit(&p->loop);
}

void pair_until(struct pair *p, const bool *flag)
{
    cr_assert(test_loop_until(&p->loop, flag));
}

struct count {
    const unsigned *value;
    unsigned at_least;
};

static bool is_reached(void *data)
{
    const struct count *count = data;
    return *count->value >= count->at_least;
}

void pair_until_count(struct pair *p, const unsigned *value, unsigned at_least)
{
    struct count count = {value, at_least};
    cr_assert(test_loop_until_true(&p->loop, is_reached, &count), "%u instead of %u", *value, at_least);
}

void pair_start(struct pair *p, struct probe *client, const char *path, uint32_t deadline_ms)
{
    *client = (struct probe){0};
    cr_assert_eq(grpc_call_start(p->channel, path, deadline_ms, &probe_ops, client, &client->call), 0);
}

struct probe *pair_call(struct pair *p, struct probe *client, uint32_t deadline_ms)
{
    struct probe *served = &p->served[p->n_served];
    pair_start(p, client, "/test/Call", deadline_ms);
    pair_until(p, &served->opened);
    return served;
}
