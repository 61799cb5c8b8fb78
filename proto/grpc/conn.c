/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/grpc/conn.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/grpc/call.h"

enum {
    DRAIN_STEP_MS = 100, /* between the GOAWAYs: calls under way to us must arrive before the second */
    LINGER_MS = 1000,    /* for the peer to read our last words */
};

static void on_turn(uv_idle_t *idle);
static void on_timer(uv_timer_t *timer);

static struct conn *conn_of_h2(struct h2 *h2)
{
    return (struct conn *)((char *)h2 - offsetof(struct conn, h2));
}

static struct conn *conn_of_transport(struct transport *t)
{
    return (struct conn *)t;
}

static void wake(struct conn *c)
{
    if (!uv_is_closing((uv_handle_t *)&c->idle))
        uv_idle_start(&c->idle, on_turn);
}

/* ------------------------------------------------------------------------------------------------ time */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t keepalive_due(const struct conn *c)
{
    bool is_patient = c->h2.n_calls > 0 && c->h2.n_patient == c->h2.n_calls;

    if (c->ping_ms)
        return c->ping_ms + c->limits->keepalive_timeout_ms;
    return c->received_ms + (is_patient ? c->limits->patient_keepalive_ms : c->limits->keepalive_ms);
}

/* A write that the peer does not take is like a PING that it does not answer, even if it talks all the while. */
static uint64_t stall_due(const struct conn *c)
{
    return c->transport.blocked ? c->blocked_ms + c->limits->keepalive_ms + c->limits->keepalive_timeout_ms
                                : UINT64_MAX;
}

/* Set the timer to the next thing that is due. Being too early is harmless; on_timer looks again. */
static void arm(struct conn *c)
{
    uint64_t due_ms = earlier(c->goaway_ms, c->end_ms);
    if (c->state == CONN_OPEN) {
        due_ms = earlier(due_ms, c->h2.next_deadline_ms);
        due_ms = earlier(due_ms, c->h2.settings_received ? keepalive_due(c) : c->handshake_ms);
        due_ms = earlier(due_ms, stall_due(c));
    }
    if (due_ms >= c->armed_ms || c->state == CONN_CLOSING)
        return;
    c->armed_ms = due_ms;
    uint64_t now_ms = h2_now_ms();
    uv_update_time(c->timer.loop);
    uv_timer_start(&c->timer, on_timer, due_ms > now_ms ? due_ms - now_ms : 0, 0);
}

/* The peer is at fault. */
static void give_up(struct conn *c, const char *reason)
{
    c->faulty = true;
    conn_close(c, GRPC_UNAVAILABLE, reason);
}

static void check_alive(struct conn *c, uint64_t now_ms)
{
    if (!c->h2.settings_received) {
        if (now_ms >= c->handshake_ms)
            give_up(c, c->transport.tls && !c->transport.secured ? "the TLS handshake was not done in time"
                                                                 : "no HTTP/2 SETTINGS came in time");
        return;
    }
    if (now_ms >= stall_due(c)) {
        c->counters->keepalive_timeouts++;
        give_up(c, "the peer does not read");
        return;
    }
    if (c->ping_ms && c->received_ms >= c->ping_ms)
        c->ping_ms = 0;
    if (now_ms < keepalive_due(c))
        return;
    if (c->ping_ms) {
        c->counters->keepalive_timeouts++;
        give_up(c, "keepalive: the peer does not answer");
    } else {
        c->ping_ms = now_ms;
        int rc = h2_ping(&c->h2);
        if (rc != 0)
            conn_close(c, GRPC_UNAVAILABLE, uv_strerror(rc));
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct conn *c = timer->data;
    uint64_t now_ms = h2_now_ms();
    c->armed_ms = UINT64_MAX;
    if (now_ms >= c->end_ms) {
        conn_close(c, c->close_status, c->reason);
        return;
    }
    if (now_ms >= c->goaway_ms) {
        c->goaway_ms = UINT64_MAX;
        h2_goaway_final(&c->h2);
    }
    if (c->state == CONN_OPEN) {
        if (now_ms >= c->h2.next_deadline_ms)
            h2_expire(&c->h2, now_ms);
        check_alive(c, now_ms);
    }
    arm(c);
}

/* ------------------------------------------------------------------------------------------------ ending */

static void set_reason(struct conn *c, int status, const char *reason)
{
    c->close_status = status;
    if (reason != c->reason)
        snprintf(c->reason, sizeof c->reason, "%s", reason);
}

/* Calls end, then the owner hears that the connection is of no more use. */
static void go_down(struct conn *c)
{
    if (c->down)
        return;
    c->down = true;
    h2_close(&c->h2, c->close_status, c->reason);
    h2_turn(&c->h2);
    if (c->ops->on_down)
        c->ops->on_down(c, c->reason);
}

static void on_part_closed(struct conn *c)
{
    if (--c->n_handles > 0)
        return;
    c->ops->on_closed(c);
    free(c);
}

static void on_handle_closed(uv_handle_t *handle)
{
    on_part_closed(handle->data);
}

static void on_transport_closed(struct transport *t)
{
    on_part_closed(conn_of_transport(t));
}

static void close_handles(struct conn *c)
{
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
    uv_close((uv_handle_t *)&c->idle, on_handle_closed);
    transport_close(&c->transport, on_transport_closed);
}

void conn_close(struct conn *c, int status, const char *reason)
{
    if (c->state == CONN_CLOSING)
        return;
    c->state = CONN_CLOSING;
    set_reason(c, status, reason);
    /* Nothing is sent after this; calls learn of it in on_turn. */
    h2_close(&c->h2, status, c->reason);
    wake(c);
}

static void tear_down(struct conn *c)
{
    if (c->h2.session)
        go_down(c);
    h2_deinit(&c->h2);
    close_handles(c);
}

/* All is said. The peer closes when it has read that; what it still sends is ignored. */
static void linger(struct conn *c)
{
    c->state = CONN_LINGERING;
    c->end_ms = earlier(c->end_ms, h2_now_ms() + LINGER_MS);
    go_down(c);
    if (c->state != CONN_LINGERING)
        return;
    transport_shutdown(&c->transport);
    arm(c);
}

/* Nothing more will be read or written. */
static void end_session(struct conn *c)
{
    c->faulty |= c->h2.failed || (c->h2.failure[0] && !c->h2.goaway_received);
    if (c->h2.failed || c->h2.goaway_received || c->reason[0] == '\0')
        set_reason(c, GRPC_UNAVAILABLE, c->h2.failure[0] ? c->h2.failure : "connection closed");
    linger(c);
}

void conn_drain(struct conn *c)
{
    if (c->state != CONN_OPEN)
        return;
    if (!c->h2.settings_received) {
        conn_close(c, GRPC_UNAVAILABLE, "server is draining");
        return;
    }
    h2_goaway_notice(&c->h2);
    c->goaway_ms = h2_now_ms() + DRAIN_STEP_MS;
    for (struct grpc_call *call = c->h2.calls; call; call = call->next)
        call_drain(call);
    arm(c);
}

void conn_finish(struct conn *c, int status, const char *reason)
{
    if (c->state != CONN_OPEN)
        return;
    set_reason(c, status, reason);
    for (struct grpc_call *call = c->h2.calls; call; call = call->next)
        grpc_call_finish(call, status, "%s", reason);
    if (c->goaway_ms != UINT64_MAX) {
        c->goaway_ms = UINT64_MAX;
        h2_goaway_final(&c->h2);
    }
    c->end_ms = earlier(c->end_ms, h2_now_ms() + LINGER_MS);
    arm(c);
}

/* ------------------------------------------------------------------------------------------------ a turn */

/* One write. Returns whether that was all there is. */
static bool write_some(struct conn *c)
{
    struct outbox box;
    if (c->transport.blocked)
        return false;
    outbox_init(&box);
    int rc = h2_send(&c->h2, &box);
    if (rc == 0)
        rc = transport_write(&c->transport, &box);
    c->counters->bytes_sent += box.n_bytes;
    outbox_deinit(&box);
    if (rc != 0) {
        conn_close(c, GRPC_UNAVAILABLE, uv_strerror(rc));
        return false;
    }
    if (c->transport.blocked) {
        c->blocked_ms = h2_now_ms();
        return false;
    }
    if (c->h2.would_block)
        wake(c);
    return !c->h2.would_block;
}

static void write_turn(struct conn *c)
{
    if (write_some(c) && h2_is_done(&c->h2))
        end_session(c);
}

static void on_turn(uv_idle_t *idle)
{
    struct conn *c = idle->data;
    uv_idle_stop(idle);
    if (c->state == CONN_CLOSING) {
        tear_down(c);
        return;
    }
    c->busy = true;
    h2_turn(&c->h2);
    c->busy = false;
    if (c->state != CONN_OPEN)
        return;
    if (c->refused) {
        linger(c);
        return;
    }
    if (c->h2.failed && c->end_ms == UINT64_MAX) {
        /* A peer that does not read cannot hold the connection. */
        c->faulty = true;
        set_reason(c, GRPC_UNAVAILABLE, c->h2.failure);
        c->end_ms = h2_now_ms() + LINGER_MS;
    }
    write_turn(c);
    arm(c);
}

/* ------------------------------------------------------------------------------------------------ events */

static void on_bytes(struct transport *t, const uint8_t *bytes, size_t len)
{
    struct conn *c = conn_of_transport(t);
    bool was_up = c->h2.settings_received;
    c->counters->bytes_received += len;
    c->received_ms = h2_now_ms();
    if (c->state != CONN_OPEN || c->h2.failed)
        return;
    c->busy = true;
    int rc = h2_receive(&c->h2, bytes, len);
    c->busy = false;
    if (rc != 0)
        give_up(c, c->h2.failure[0] ? c->h2.failure : uv_strerror(rc));
    else if (!was_up && c->h2.settings_received && !c->h2.goaway_received && c->ops->on_up)
        c->ops->on_up(c);
    /* The socket may have much more to read before the turn comes: answers to it must not pile up meanwhile. */
    if (c->state == CONN_OPEN && !c->h2.failed && h2_should_send(&c->h2))
        write_turn(c);
    wake(c);
}

/* What the transport told the peer must reach it, so this is no conn_close. */
static void refuse(struct conn *c, const char *problem)
{
    if (c->state != CONN_OPEN || c->refused)
        return;
    c->counters->handshakes_refused += !c->h2.settings_received;
    c->faulty = c->refused = true;
    set_reason(c, GRPC_UNAVAILABLE, problem);
    wake(c);
}

static void on_end(struct transport *t, int error)
{
    struct conn *c = conn_of_transport(t);
    char text[160];
    bool shaking_hands = t->tls && !t->secured;
    if (t->problem) {
        refuse(c, t->problem);
        return;
    }
    if (c->refused) {
        conn_close(c, GRPC_UNAVAILABLE, c->reason);
        return;
    }
    if (c->h2.failure[0])
        snprintf(text, sizeof text, "%s", c->h2.failure);
    else if (error == UV_EOF && shaking_hands)
        snprintf(text, sizeof text, "the peer closed the connection during the TLS handshake");
    else if (error == UV_EOF)
        snprintf(text, sizeof text, "the peer closed the connection");
    else
        snprintf(text, sizeof text, "%s", uv_strerror(error));
    /* Who connects and goes without a word looks only whether somebody listens. */
    c->faulty |= shaking_hands && t->touched;
    conn_close(c, GRPC_UNAVAILABLE, text);
}

static void on_unblocked(struct transport *t)
{
    wake(conn_of_transport(t));
}

static void on_secured(struct transport *t)
{
    conn_of_transport(t)->h2.identity = t->identity;
}

static const struct transport_ops transport_ops = {on_bytes, on_end, on_unblocked, on_secured};

static void on_h2_wake(struct h2 *h2)
{
    wake(conn_of_h2(h2));
}

static void on_h2_deadline(struct h2 *h2)
{
    arm(conn_of_h2(h2));
}

static void on_h2_settings(struct h2 *h2)
{
    arm(conn_of_h2(h2));
}

static void on_h2_call(struct h2 *h2, struct grpc_call *call)
{
    struct conn *c = conn_of_h2(h2);
    c->ops->on_call(c, call);
}

/* The write of a turn, before the turn. Whatever else the turn has to do stays for it: no callback is run here. */
static void on_h2_flush(struct h2 *h2)
{
    struct conn *c = conn_of_h2(h2);
    if (c->busy || c->state != CONN_OPEN || c->refused || h2->failed || h2->attention || h2->n_calls > 1)
        return;
    uv_idle_stop(&c->idle);
    write_some(c);
    if (h2->attention || h2_is_done(h2))
        wake(c);
    arm(c);
}

static const struct h2_host h2_host = {on_h2_wake, on_h2_deadline, on_h2_settings, on_h2_call, on_h2_flush};

/* ------------------------------------------------------------------------------------------------ making */

int conn_new(uv_loop_t *loop, enum address_kind kind, const struct grpc_limits *limits,
             struct grpc_server_counters *counters, const struct conn_ops *ops, void *owner, struct conn **out_conn)
{
    struct conn *c = calloc(1, sizeof *c);
    if (!c)
        return UV_ENOMEM;
    c->ops = ops;
    c->owner = owner;
    c->limits = limits;
    c->counters = counters;
    c->armed_ms = c->goaway_ms = c->end_ms = UINT64_MAX;
    int rc = transport_init(&c->transport, loop, kind, &transport_ops);
    if (rc != 0) {
        free(c);
        return rc;
    }
    uv_idle_init(loop, &c->idle);
    uv_timer_init(loop, &c->timer);
    c->idle.data = c->timer.data = c;
    c->n_handles = 3;
    *out_conn = c;
    return 0;
}

int conn_start(struct conn *c, enum h2_side side)
{
    uint64_t now_ms = h2_now_ms();
    int rc = h2_init(&c->h2, side, c->timer.loop, &h2_host, c->limits, c->counters, c->transport.peer);
    if (rc != 0)
        return rc;
    c->h2.identity = c->transport.identity;
    rc = transport_start(&c->transport);
    if (rc != 0) {
        h2_deinit(&c->h2);
        return rc;
    }
    c->state = CONN_OPEN;
    c->received_ms = c->blocked_ms = now_ms;
    c->handshake_ms = now_ms + c->limits->handshake_ms;
    wake(c);
    arm(c);
    return 0;
}
