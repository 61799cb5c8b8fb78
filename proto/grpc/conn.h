/* SPDX-License-Identifier: Apache-2.0 */
/* A connection: the session (h2.h) run on a transport, with everything that needs a clock.
 *
 * States: NEW → OPEN (conn_start) → LINGERING (all is said; waiting for the peer to close) → CLOSING → memory freed.
 * Any failure leads to CLOSING. Work is gathered and done once a loop iteration, in on_turn: callbacks that are due,
 * then one write of at most OUTBOX_TURN_BYTES, again in the next iteration while there is more. on_turn runs from a
 * uv_idle, so that work asked for by a timer is not left until the next I/O.
 *
 * Invariant: on_down comes once for every connection that was started, after on_close of all its calls; on_closed
 * comes once, last, for every connection. */
#pragma once

#include <stdbool.h>
#include <sys/queue.h>
#include <uv.h>

#include "proto/grpc/h2.h"
#include "proto/grpc/transport.h"

struct conn;

/* on_up and on_down may be NULL, on_call too on the client side. */
struct conn_ops {
    /* The peer's SETTINGS are in, and no GOAWAY came with them. */
    void (*on_up)(struct conn *c);
    void (*on_call)(struct conn *c, struct grpc_call *call);
    /* Of no more use; it closes by itself. */
    void (*on_down)(struct conn *c, const char *reason);
    /* The memory goes when this returns. */
    void (*on_closed)(struct conn *c);
};

enum conn_state { CONN_NEW, CONN_OPEN, CONN_LINGERING, CONN_CLOSING };

struct conn {
    struct transport transport; /* first: a transport of a connection is the connection */
    struct h2 h2;
    uv_idle_t idle;
    uv_timer_t timer;
    unsigned n_handles;
    const struct conn_ops *ops;
    void *owner;
    const struct grpc_limits *limits;
    struct grpc_server_counters *counters;
    struct conn *prev, *next; /* the owner's list */
    TAILQ_ENTRY(conn) young;  /* the owner's too, while is_young */
    bool is_young;
    enum conn_state state;
    bool busy;             /* in a callback of its session */
    bool down;             /* on_down was called */
    bool faulty;           /* it ends because of what the peer did, or failed to do */
    bool refused;          /* by the transport: it speaks another protocol, or showed no good certificate */
    uint64_t armed_ms;     /* when the timer goes off */
    uint64_t received_ms;  /* last sign of life */
    uint64_t ping_ms;      /* an unanswered PING left then; 0 = none */
    uint64_t blocked_ms;   /* since when transport.blocked */
    uint64_t handshake_ms; /* SETTINGS must be here by then */
    uint64_t goaway_ms;    /* second GOAWAY; UINT64_MAX = no drain */
    uint64_t end_ms;       /* closed by then in any case; UINT64_MAX = open end */
    int close_status;      /* for calls still open at the end */
    char reason[400];      /* why it ends */
};

/* The transport is made, not yet connected. limits and counters are borrowed until on_closed. */
int conn_new(uv_loop_t *loop, enum address_kind kind, const struct grpc_limits *limits,
             struct grpc_server_counters *counters, const struct conn_ops *ops, void *owner, struct conn **out_conn);
/* The transport is connected: begin. */
int conn_start(struct conn *c, enum h2_side side);
/* Finish what runs, take nothing new, close when the last call is over. */
void conn_drain(struct conn *c);
/* End every call with `status` where that can still be said, then close; at the latest after a second. */
void conn_finish(struct conn *c, int status, const char *reason);
/* Drop everything. Calls end with `status`. Allowed in every state, the first call counts. */
void conn_close(struct conn *c, int status, const char *reason);
