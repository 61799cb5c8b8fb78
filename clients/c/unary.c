/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/c/unary.h"

#include <protobuf-c/protobuf-c.h>
#include <stdlib.h>
#include <uv.h>

#include "clients/c/request.h"
#include "proto/grpc/grpc.h"
#include "proto/message.h"

struct unary {
    const ProtobufCMessageDescriptor *reply_type;
    ProtobufCMessage *reply;
    unsigned n_messages;
    unary_cb cb;
    void *data;
};

static void on_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    (void)call;
    struct unary *u = data;
    if (u->n_messages++ == 0)
        u->reply = message_unpack(u->reply_type, bytes, len, 0);
}

static void on_close(struct grpc_call *call, void *data, int status, const char *message)
{
    (void)call;
    struct unary *u = data;
    if (status == GRPC_OK && u->n_messages != 1) {
        status = GRPC_INTERNAL;
        message = u->n_messages == 0 ? "the broker sent no reply" : "the broker sent more than one reply";
    } else if (status == GRPC_OK && !u->reply) {
        status = GRPC_INTERNAL;
        message = "the broker's reply does not decode";
    }
    if (status != GRPC_OK) {
        message_free(u->reply);
        u->reply = NULL;
    }
    u->cb(u->data, status, message, u->reply);
    free(u);
}

int unary_call(struct grpc_channel *channel, const char *path, uint32_t deadline_ms, const ProtobufCMessage *request,
               const ProtobufCMessageDescriptor *reply_type, unary_cb cb, void *data)
{
    static const struct grpc_call_ops ops = {.on_message = on_message, .on_close = on_close};
    struct unary *u = calloc(1, sizeof *u);
    if (!u)
        return UV_ENOMEM;
    u->reply_type = reply_type;
    u->cb = cb;
    u->data = data;
    struct grpc_call *call;
    int rc = request_start(channel, path, deadline_ms, request, &ops, u, &call);
    if (rc < 0)
        free(u);
    return rc;
}
