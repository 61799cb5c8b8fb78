/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/grpc/call.h"
#include "proto/grpc/conn.h"
#include "proto/grpc/listener.h"
#include "runtime/log.h"

enum { LOG_BURST = 20, ACCEPT_AGAIN_MS = 100, TRIM_EVERY = 256 };

struct service {
    const struct grpc_method *methods;
    size_t n;
    void *data;
};

struct grpc_server {
    uv_loop_t *loop;
    struct grpc_limits limits;
    struct grpc_server_counters counters;
    struct service *services;
    size_t n_services;
    struct listener *listeners;
    struct conn *conns;
    TAILQ_HEAD(, conn) young; /* their handshakes are not done; oldest first */
    unsigned n_gone;          /* connections, since memory was given back */
    unsigned n_parts;         /* handles and connections: all must be gone before the memory goes */
    uv_timer_t drain_timer;
    uv_timer_t accept_timer; /* a connection waits that there was no memory for */
    struct log_limit log_limit, refused_limit;
    bool draining;
    bool closing;
    void (*on_drained)(void *data);
    void *drain_data;
    void (*on_closed)(void *data);
    void *close_data;
};

/* ------------------------------------------------------------------------------------------------ making */

int grpc_server_new(uv_loop_t *loop, const struct grpc_limits *limits, struct grpc_server **out_server)
{
    struct grpc_server *s = calloc(1, sizeof *s);
    if (!s)
        return UV_ENOMEM;
    s->loop = loop;
    s->limits = h2_limits_resolve(limits);
    TAILQ_INIT(&s->young);
    uv_timer_init(loop, &s->drain_timer);
    uv_timer_init(loop, &s->accept_timer);
    s->drain_timer.data = s->accept_timer.data = s;
    s->n_parts = 2;
    *out_server = s;
    return 0;
}

int grpc_server_add(struct grpc_server *s, const struct grpc_method *methods, size_t n, void *service)
{
    struct service *services = realloc(s->services, (s->n_services + 1) * sizeof *services);
    if (!services)
        return UV_ENOMEM;
    s->services = services;
    s->services[s->n_services++] = (struct service){methods, n, service};
    return 0;
}

void grpc_server_counters(const struct grpc_server *s, struct grpc_server_counters *out)
{
    *out = s->counters;
}

/* ------------------------------------------------------------------------------------------------ connections */

static void part_gone(struct grpc_server *s)
{
    if (--s->n_parts > 0)
        return;
    void (*cb)(void *data) = s->on_closed;
    void *data = s->close_data;
    free(s->services);
    free(s);
    if (cb)
        cb(data);
}

static void check_drained(struct grpc_server *s)
{
    void (*cb)(void *data) = s->on_drained;
    if (s->conns || !cb || s->closing)
        return;
    s->on_drained = NULL;
    uv_timer_stop(&s->drain_timer);
    cb(s->drain_data);
}

static const struct grpc_method *find_method(const struct grpc_server *s, const char *path, void **out_service)
{
    for (size_t i = 0; i < s->n_services; i++) {
        const struct service *service = &s->services[i];
        for (size_t k = 0; k < service->n; k++) {
            if (strcmp(service->methods[k].path, path) == 0) {
                *out_service = service->data;
                return &service->methods[k];
            }
        }
    }
    return NULL;
}

static void on_call(struct conn *c, struct grpc_call *call)
{
    struct grpc_server *s = c->owner;
    const char *path = headers_get(&call->headers, ":path");
    void *service;
    const struct grpc_method *method = path ? find_method(s, path, &service) : NULL;
    if (!method) {
        s->counters.calls_refused++;
        grpc_call_finish(call, GRPC_UNIMPLEMENTED, "unknown method %.200s", path ? path : "");
        return;
    }
    method->on_start(call, service);
    assert(call->ops || call->finishing || call->ended);
    if (s->draining)
        call_drain(call);
}

static void grow_up(struct conn *c)
{
    struct grpc_server *s = c->owner;
    if (c->is_young)
        TAILQ_REMOVE(&s->young, c, young);
    c->is_young = false;
}

static void on_down(struct conn *c, const char *reason)
{
    struct grpc_server *s = c->owner;
    uint64_t n_suppressed;
    if (!c->faulty)
        log_debug("grpc.connection_closed", "peer=%s reason=\"%s\"", c->transport.peer, reason);
    else if (log_limit_allow(&s->log_limit, h2_now_ms(), LOG_BURST, &n_suppressed))
        log_warn("grpc.connection_dropped", "peer=%s reason=\"%s\" suppressed=%llu", c->transport.peer, reason,
                 (unsigned long long)n_suppressed);
}

/* The C library keeps what is freed; after many connections that is many megabytes. When most are gone it is time to
 * give it back, and not sooner: all of the heap is looked at. */
static void give_back_memory(struct grpc_server *s)
{
    if (++s->n_gone < TRIM_EVERY || s->n_gone < s->counters.connections_open)
        return;
    s->n_gone = 0;
    malloc_trim(0);
}

static void on_conn_closed(struct conn *c)
{
    struct grpc_server *s = c->owner;
    grow_up(c);
    if (c->prev)
        c->prev->next = c->next;
    else
        s->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    s->counters.connections_open--;
    give_back_memory(s);
    check_drained(s);
    part_gone(s);
}

static const struct conn_ops conn_ops = {
    .on_up = grow_up, .on_call = on_call, .on_down = on_down, .on_closed = on_conn_closed};

/* All places are taken: the longest unfinished handshake gives up its own, so that peers who say nothing keep nobody
 * out. False when all have finished theirs. */
static bool make_room(struct grpc_server *s)
{
    struct conn *c = TAILQ_FIRST(&s->young);
    if (!c)
        return false;
    grow_up(c);
    c->faulty = true;
    conn_close(c, GRPC_UNAVAILABLE, "the handshake was not done when others needed the place");
    return true;
}

/* No place is free, or no memory. */
static void refuse_connection(struct grpc_server *s, struct conn *c, int rc)
{
    const char *reason = rc == UV_EMFILE ? "all connections are taken" : uv_strerror(rc);
    uint64_t n_suppressed;
    s->counters.connections_refused++;
    if (log_limit_allow(&s->refused_limit, h2_now_ms(), 1, &n_suppressed))
        log_warn("grpc.connection_refused", "peer=%s reason=\"%s\" open=%llu suppressed=%llu", c->transport.peer,
                 reason, (unsigned long long)s->counters.connections_open - 1, (unsigned long long)n_suppressed);
    conn_close(c, GRPC_UNAVAILABLE, reason);
}

static void accept_connection(struct listener *l);

/* The loop reports nothing more of a listener until the connection it has reported is taken. */
static void accept_waiting(uv_timer_t *timer)
{
    struct grpc_server *s = timer->data;
    for (struct listener *l = s->listeners; l; l = l->next) {
        if (l->waiting)
            accept_connection(l);
    }
}

static void accept_connection(struct listener *l)
{
    struct grpc_server *s = l->owner;
    struct conn *c;
    int rc = conn_new(s->loop, l->kind, &s->limits, &s->counters, &conn_ops, s, &c);
    l->waiting = rc != 0;
    if (rc != 0) {
        uv_timer_start(&s->accept_timer, accept_waiting, ACCEPT_AGAIN_MS, 0);
        return;
    }
    c->next = s->conns;
    if (c->next)
        c->next->prev = c;
    s->conns = c;
    s->n_parts++;
    s->counters.connections_open++;
    rc = transport_accept(&c->transport, &l->u.stream, l->address);
    if (rc == 0 && s->counters.connections_open > s->limits.max_connections && !make_room(s))
        rc = UV_EMFILE;
    if (rc == 0 && l->tls)
        rc = transport_secure(&c->transport, l->tls, NULL);
    if (rc == 0)
        rc = conn_start(c, H2_SERVER);
    if (rc == 0) {
        s->counters.connections_accepted++;
        c->is_young = true;
        TAILQ_INSERT_TAIL(&s->young, c, young);
    } else {
        refuse_connection(s, c, rc);
    }
}

/* ------------------------------------------------------------------------------------------------ listening */

static const struct grpc_listen_options listen_defaults;

int grpc_server_listen(struct grpc_server *s, const char *address, const struct grpc_listen_options *options, char *err,
                       size_t err_len)
{
    struct listener *opened = NULL;
    struct listener **end = &s->listeners;
    int rc = listener_open(s->loop, address, options ? options : &listen_defaults, accept_connection, s, &opened, err,
                           err_len);
    if (rc != 0)
        return rc;
    while (*end)
        end = &(*end)->next;
    *end = opened;
    for (struct listener *l = opened; l; l = l->next)
        s->n_parts++;
    return 0;
}

int grpc_listen_check(const char *address, const struct grpc_listen_options *options, char *err, size_t err_len)
{
    return listener_check(address, options ? options : &listen_defaults, err, err_len);
}

static const struct listener *listener_at(const struct grpc_server *s, size_t i)
{
    const struct listener *l = s->listeners;
    while (l && i-- > 0)
        l = l->next;
    return l;
}

const char *grpc_server_address(const struct grpc_server *s, size_t i)
{
    const struct listener *l = listener_at(s, i);
    return l ? l->address : NULL;
}

bool grpc_server_address_is_tls(const struct grpc_server *s, size_t i)
{
    const struct listener *l = listener_at(s, i);
    return l && l->tls;
}

static void on_listener_closed(struct listener *l)
{
    part_gone(l->owner);
}

static void stop_listening(struct grpc_server *s)
{
    while (s->listeners) {
        struct listener *l = s->listeners;
        s->listeners = l->next;
        listener_close(l, on_listener_closed);
    }
}

/* ------------------------------------------------------------------------------------------------ ending */

static void on_drain_timer(uv_timer_t *timer)
{
    struct grpc_server *s = timer->data;
    for (struct conn *c = s->conns; c; c = c->next)
        conn_finish(c, GRPC_UNAVAILABLE, "server is draining");
    check_drained(s);
}

void grpc_server_drain(struct grpc_server *s, uint32_t grace_ms, void (*cb)(void *data), void *data)
{
    if (s->draining || s->closing)
        return;
    s->draining = true;
    s->on_drained = cb;
    s->drain_data = data;
    stop_listening(s);
    for (struct conn *c = s->conns; c; c = c->next)
        conn_drain(c);
    uv_update_time(s->loop);
    uv_timer_start(&s->drain_timer, on_drain_timer, s->conns ? grace_ms : 0, 0);
}

static void on_timer_closed(uv_handle_t *handle)
{
    part_gone(handle->data);
}

void grpc_server_close(struct grpc_server *s, void (*cb)(void *data), void *data)
{
    if (!s || s->closing)
        return;
    s->closing = true;
    s->on_closed = cb;
    s->close_data = data;
    stop_listening(s);
    for (struct conn *c = s->conns; c; c = c->next)
        conn_close(c, GRPC_UNAVAILABLE, "server closed");
    uv_close((uv_handle_t *)&s->drain_timer, on_timer_closed);
    uv_close((uv_handle_t *)&s->accept_timer, on_timer_closed);
}
