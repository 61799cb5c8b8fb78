/* SPDX-License-Identifier: Apache-2.0 */
/* Methods with one request and one reply: hold the request until the client has said that it is the only one, then
 * hand it over. */
#include <stdlib.h>
#include <string.h>

#include "proto/grpc/call.h"
#include "proto/grpc/h2.h"

struct unary {
    grpc_unary_cb handle;
    void *service;
    uint8_t *bytes;
    size_t len;
    bool has_request;
};

void unary_free(struct unary *u)
{
    if (!u)
        return;
    free(u->bytes);
    free(u);
}

static void on_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct unary *u = data;
    if (u->has_request) {
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "more than one request message");
        return;
    }
    if (!call_keep(call, len, 0)) {
        call_keep(call, 0, len);
        return;
    }
    u->bytes = malloc(len ? len : 1);
    if (!u->bytes) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "no memory for the request");
        return;
    }
    if (len > 0)
        memcpy(u->bytes, bytes, len);
    u->len = len;
    u->has_request = true;
}

static void on_half_close(struct grpc_call *call, void *data)
{
    struct unary *u = data;
    if (!u->has_request) {
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "no request message");
        return;
    }
    if (call->h2->unary_is_full) /* before the work of making it */
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "replies that are not read hold %zu bytes on this connection",
                         call->h2->unary_bytes);
    else
        u->handle(call, u->service, u->bytes, u->len);
    call_keep(call, 0, u->len);
    free(u->bytes);
    u->bytes = NULL;
}

/* A request that is here will be answered soon: a drain waits for it. */
static void on_drain(struct grpc_call *call, void *data)
{
    (void)call;
    (void)data;
}

static void on_close(struct grpc_call *call, void *data, int status, const char *message)
{
    (void)call;
    (void)data;
    (void)status;
    (void)message;
}

static const struct grpc_call_ops unary_ops = {
    .on_message = on_message, .on_half_close = on_half_close, .on_drain = on_drain, .on_close = on_close};

void grpc_unary_accept(struct grpc_call *call, void *service, grpc_unary_cb handle)
{
    struct unary *u = calloc(1, sizeof *u);
    if (!u) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "no memory for the call");
        return;
    }
    u->service = service;
    u->handle = handle;
    call->unary = u;
    grpc_call_accept(call, &unary_ops, u);
}

void grpc_unary_reply(struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    struct slice part = {.ptr = bytes, .len = len};
    int rc = grpc_call_send(call, &part, 1);
    if (rc != 0)
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "cannot send a reply of %zu bytes: %s", len, uv_strerror(rc));
    else
        grpc_call_finish(call, GRPC_OK, NULL);
}
