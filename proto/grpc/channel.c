/* SPDX-License-Identifier: Apache-2.0 */
/* A client's connection: resolve the name, try its addresses one after the other, each with its share of the time left,
 * until one answers as HTTP/2; then calls run on it until it goes down.
 *
 * Every failure on the way (no such name, refused, silent, not HTTP/2) leads to the next address, or to on_down. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/grpc/call.h"
#include "proto/grpc/conn.h"
#include "runtime/tls.h"

enum { CONNECT_MS = 10000 };

struct grpc_channel {
    uv_loop_t *loop;
    struct grpc_limits limits;
    struct grpc_server_counters counters; /* a client reads none; connections count anyway */
    const struct grpc_channel_ops *ops;
    void *data;
    struct address address;
    char text[300];          /* the address as given */
    char authority[300];     /* its part in requests */
    struct tls_context *tls; /* a reference; NULL = plaintext */
    char server_name[256];
    uv_getaddrinfo_t resolve;
    struct addrinfo *next_address;
    uv_timer_t timer;
    uint64_t give_up_ms;
    struct conn *conn; /* the one that is tried or up; older ones may still be closing */
    unsigned n_parts;  /* timer, resolver, connections */
    bool resolving;
    bool up;
    bool down;
    bool closed;
    char reason[512]; /* why the last try failed */
};

static void try_next(struct grpc_channel *ch);

static void part_gone(struct grpc_channel *ch)
{
    if (--ch->n_parts > 0)
        return;
    uv_freeaddrinfo(ch->resolve.addrinfo);
    tls_context_unref(ch->tls);
    free(ch);
}

static void go_down(struct grpc_channel *ch, const char *reason)
{
    if (ch->down || ch->closed)
        return;
    ch->down = true;
    uv_timer_stop(&ch->timer);
    ch->ops->on_down(ch, ch->data, reason);
}

/* ------------------------------------------------------------------------------------------------ one try */

static void try_failed(struct grpc_channel *ch, const char *peer, const char *why)
{
    struct conn *c = ch->conn;
    snprintf(ch->reason, sizeof ch->reason, "%s: %s", peer, why);
    ch->conn = NULL;
    if (c)
        conn_close(c, GRPC_UNAVAILABLE, ch->reason);
    try_next(ch);
}

static void on_connected(struct transport *t, int error)
{
    struct conn *c = (struct conn *)t;
    struct grpc_channel *ch = c->owner;
    /* A try that was given up ends with UV_ECANCELED. */
    if (c != ch->conn)
        return;
    if (error == 0 && ch->tls)
        error = transport_secure(t, ch->tls, ch->server_name);
    if (error == 0)
        error = conn_start(c, H2_CLIENT);
    if (error != 0)
        try_failed(ch, t->peer, uv_strerror(error));
}

static void on_up(struct conn *c)
{
    struct grpc_channel *ch = c->owner;
    if (c != ch->conn)
        return;
    ch->up = true;
    uv_timer_stop(&ch->timer);
    ch->ops->on_up(ch, ch->data);
}

static void on_conn_down(struct conn *c, const char *reason)
{
    struct grpc_channel *ch = c->owner;
    if (c != ch->conn)
        return;
    if (ch->up)
        go_down(ch, reason);
    else
        try_failed(ch, c->transport.peer, reason);
}

static void on_conn_closed(struct conn *c)
{
    struct grpc_channel *ch = c->owner;
    if (c == ch->conn)
        ch->conn = NULL;
    part_gone(ch);
}

static const struct conn_ops conn_ops = {.on_up = on_up, .on_down = on_conn_down, .on_closed = on_conn_closed};

static void on_timer(uv_timer_t *timer)
{
    struct grpc_channel *ch = timer->data;
    if (ch->conn)
        try_failed(ch, ch->conn->transport.peer, "no answer in time");
    else
        go_down(ch, "the name was not resolved in time");
}

/* `n_left` tries share what is left of the time. */
static int start_try(struct grpc_channel *ch, unsigned n_left)
{
    uint64_t now_ms = h2_now_ms();
    uint64_t left_ms = ch->give_up_ms > now_ms ? ch->give_up_ms - now_ms : 0;
    int rc = conn_new(ch->loop, ch->address.kind, &ch->limits, &ch->counters, &conn_ops, ch, &ch->conn);
    if (rc != 0)
        return rc;
    ch->n_parts++;
    uv_update_time(ch->loop);
    uv_timer_start(&ch->timer, on_timer, left_ms / n_left, 0);
    return 0;
}

static void try_next(struct grpc_channel *ch)
{
    while (!ch->closed && !ch->down) {
        struct addrinfo *info = ch->next_address;
        unsigned n_left = 0;
        for (const struct addrinfo *i = info; i; i = i->ai_next)
            n_left++;
        if (!info || h2_now_ms() >= ch->give_up_ms) {
            go_down(ch, ch->reason);
            return;
        }
        ch->next_address = info->ai_next;
        int rc = start_try(ch, n_left);
        if (rc != 0) {
            go_down(ch, uv_strerror(rc));
            return;
        }
        address_format(info->ai_addr, ch->conn->transport.peer, sizeof ch->conn->transport.peer);
        rc = transport_connect_tcp(&ch->conn->transport, info->ai_addr, on_connected);
        if (rc == 0)
            return;
        snprintf(ch->reason, sizeof ch->reason, "%s: %s", ch->conn->transport.peer, uv_strerror(rc));
        conn_close(ch->conn, GRPC_UNAVAILABLE, ch->reason);
        ch->conn = NULL;
    }
}

/* ------------------------------------------------------------------------------------------------ open, close */

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    struct grpc_channel *ch = req->data;
    ch->resolving = false;
    if (status != 0)
        snprintf(ch->reason, sizeof ch->reason, "cannot resolve %s: %s", ch->text, uv_strerror(status));
    ch->next_address = status == 0 ? found : NULL;
    try_next(ch);
    part_gone(ch);
}

static int begin(struct grpc_channel *ch)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    if (ch->address.kind == ADDRESS_UNIX) {
        int rc = start_try(ch, 1);
        if (rc == 0)
            transport_connect_unix(&ch->conn->transport, ch->address.path, on_connected);
        return rc;
    }
    ch->resolve.data = ch;
    int rc = uv_getaddrinfo(ch->loop, &ch->resolve, on_resolved, ch->address.host, ch->address.port, &hints);
    if (rc != 0)
        return rc;
    ch->resolving = true;
    ch->n_parts++;
    uv_update_time(ch->loop);
    return uv_timer_start(&ch->timer, on_timer, ch->give_up_ms - h2_now_ms(), 0);
}

static int set_tls(struct grpc_channel *ch, const struct grpc_channel_options *options)
{
    const char *name = options->server_name ? options->server_name : ch->address.host;
    if (!options->tls)
        return 0;
    if (ch->address.kind == ADDRESS_UNIX || !*name || strlen(name) >= sizeof ch->server_name)
        return UV_EINVAL;
    snprintf(ch->server_name, sizeof ch->server_name, "%s", name);
    ch->tls = tls_context_ref(options->tls);
    return 0;
}

int grpc_channel_open(uv_loop_t *loop, const char *address, const struct grpc_channel_options *options,
                      const struct grpc_channel_ops *ops, void *data, struct grpc_channel **out_channel)
{
    static const struct grpc_channel_options defaults;
    if (!options)
        options = &defaults;
    struct grpc_channel *ch = calloc(1, sizeof *ch);
    if (!ch)
        return UV_ENOMEM;
    int rc = address_parse(address, &ch->address, ch->reason, sizeof ch->reason);
    if (rc == 0)
        rc = set_tls(ch, options);
    if (rc != 0) {
        free(ch);
        return rc;
    }
    ch->loop = loop;
    ch->limits = h2_limits_resolve(options->limits);
    ch->ops = ops;
    ch->data = data;
    ch->give_up_ms = h2_now_ms() + (options->connect_ms ? options->connect_ms : CONNECT_MS);
    snprintf(ch->text, sizeof ch->text, "%s", address);
    snprintf(ch->authority, sizeof ch->authority, "%s", ch->address.kind == ADDRESS_UNIX ? "localhost" : address);
    uv_timer_init(loop, &ch->timer);
    ch->timer.data = ch;
    ch->n_parts = 1;
    rc = begin(ch);
    if (rc != 0)
        grpc_channel_close(ch);
    else
        *out_channel = ch;
    return rc;
}

static void on_timer_closed(uv_handle_t *handle)
{
    part_gone(handle->data);
}

void grpc_channel_close(struct grpc_channel *ch)
{
    if (!ch || ch->closed)
        return;
    ch->closed = true;
    if (ch->conn)
        conn_close(ch->conn, GRPC_CANCELLED, "channel closed");
    if (ch->resolving)
        uv_cancel((uv_req_t *)&ch->resolve);
    uv_close((uv_handle_t *)&ch->timer, on_timer_closed);
}

const char *grpc_channel_peer(const struct grpc_channel *ch)
{
    return ch->conn && ch->conn->transport.peer[0] ? ch->conn->transport.peer : ch->text;
}

int grpc_call_start(struct grpc_channel *ch, const char *path, uint32_t deadline_ms, const struct grpc_call_ops *ops,
                    void *data, struct grpc_call **out_call)
{
    struct grpc_call_options options = {.deadline_ms = deadline_ms};
    return grpc_call_start_with(ch, path, &options, ops, data, out_call);
}

int grpc_call_start_with(struct grpc_channel *ch, const char *path, const struct grpc_call_options *options,
                         const struct grpc_call_ops *ops, void *data, struct grpc_call **out_call)
{
    if (!ch->up || ch->down || ch->closed || !ch->conn)
        return UV_ENOTCONN;
    return call_start(&ch->conn->h2, path, ch->authority, options, ops, data, out_call);
}
