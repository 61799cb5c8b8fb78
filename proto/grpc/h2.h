/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP/2 session and its gRPC calls, server or client side: bytes in, bytes out, no socket and no timer.
 *
 * nghttp2 speaks HTTP/2; h2.c sets it up and submits to it the header lists of fields.c, h2_events.c hears from it, and
 * nobody else includes it. None calls the owner of a call from within nghttp2 or from within a function of grpc.h, with
 * one exception: request headers, messages and half-close are handed over while bytes are received. Everything else
 * waits on the attention list for h2_turn.
 *
 * Invariant: a call is on `calls` from its creation until its on_close has run in h2_turn. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "proto/grpc/bucket.h"
#include "proto/grpc/grpc.h"
#include "proto/grpc/outbox.h"
#include "proto/grpc/reset_filter.h"
#include "proto/grpc/session_block.h"

struct h2;
struct nghttp2_session;
struct nghttp2_session_callbacks;

/* What the session needs from whoever runs it. All may come from any function of grpc.h or of this header. */
struct h2_host {
    /* There is work for h2_turn or h2_send. */
    void (*wake)(struct h2 *h2);
    /* A call has a deadline earlier than all before. */
    void (*on_deadline)(struct h2 *h2);
    /* The peer's first SETTINGS: the handshake is over. */
    void (*on_settings)(struct h2 *h2);
    /* Server side: the headers of a call are in and good; accept or finish it. */
    void (*on_call)(struct h2 *h2, struct grpc_call *call);
    /* Send now what would be sent at the next turn, if nothing is in the way. */
    void (*flush)(struct h2 *h2);
};

enum h2_side { H2_SERVER, H2_CLIENT };

struct h2 {
    struct nghttp2_session *session;
    struct session_block block;
    uv_loop_t *loop;
    const struct h2_host *host;
    const struct grpc_limits *limits; /* without zeros: h2_limits_resolve */
    struct grpc_server_counters *counters;
    const char *peer;
    const struct peer_identity *identity; /* borrowed; peer_plaintext until somebody knows better */
    enum h2_side side;
    struct grpc_call *calls;
    size_t n_calls;
    size_t n_patient;            /* of them */
    struct grpc_call *attention; /* calls that h2_turn must look at, oldest first */
    struct grpc_call *attention_last;
    size_t kept_bytes;  /* sum of the calls' */
    size_t unary_bytes; /* in the queues of unary calls */
    bool unary_is_full; /* a reply had no room, and not half of the others was read since: none is made */
    struct bucket control;
    struct bucket resets;
    struct reset_filter filter; /* server side */
    uint64_t next_deadline_ms;  /* no call has an earlier one; UINT64_MAX = none */
    struct outbox *out;         /* while h2_send runs */
    bool would_block;           /* h2_send stopped because the outbox was full */
    bool sends_long;            /* there was much to send: DATA frames are longer from then on */
    bool settings_received;
    bool goaway_received;
    bool failed; /* we gave up on the peer: `failure` says why, GOAWAY is queued */
    bool closed; /* no new calls */
    char failure[160];
};

/* Fill in the defaults of grpc.h. `limits` may be NULL. */
struct grpc_limits h2_limits_resolve(const struct grpc_limits *limits);
/* Milliseconds of a monotonic clock, read now. */
uint64_t h2_now_ms(void);

/* The pointers are borrowed until h2_deinit. Queues the connection preface and SETTINGS. */
int h2_init(struct h2 *h2, enum h2_side side, uv_loop_t *loop, const struct h2_host *host,
            const struct grpc_limits *limits, struct grpc_server_counters *counters, const char *peer);
/* All calls must have ended. Accepts zeroed. */
void h2_deinit(struct h2 *h2);

/* 0, or UV_EPROTO / UV_ENOMEM: the session is beyond repair, `failure` says why. */
int h2_receive(struct h2 *h2, const uint8_t *bytes, size_t len);
/* So much waits to be sent that more should not be received before it was tried. */
bool h2_should_send(const struct h2 *h2);
/* Put what can be sent into the outbox. */
int h2_send(struct h2 *h2, struct outbox *box);
/* Run the callbacks that are due: the only place where calls end. */
void h2_turn(struct h2 *h2);
/* End calls whose deadline has passed and find the next one. */
void h2_expire(struct h2 *h2, uint64_t now_ms);
/* Nothing more will be read or written. */
bool h2_is_done(const struct h2 *h2);

/* Every call ends with this, at the next turn, without a word to the peer. No new calls. */
void h2_close(struct h2 *h2, int status, const char *reason);
/* Give up on the peer: GOAWAY, nothing it sends counts any more. */
enum h2_error { H2_NO_ERROR = 0, H2_ENHANCE_YOUR_CALM = 11 };
void h2_fail(struct h2 *h2, enum h2_error error, const char *reason);
int h2_ping(struct h2 *h2);
/* The two steps of a drain: "open no more", and some time later "this was the last one I take". */
int h2_goaway_notice(struct h2 *h2);
int h2_goaway_final(struct h2 *h2);
/* Between h2.c and h2_events.c: a token of the bucket, or the end of the connection; and the callbacks for what comes.
 */
void h2_count(struct h2 *h2, struct bucket *bucket, const char *what);
void h2_set_event_callbacks(struct nghttp2_session_callbacks *callbacks);
/* Reset a stream so that stock clients show RESOURCE_EXHAUSTED: by itself nghttp2 would say INTERNAL_ERROR. Returns
 * what the callback returns in which memory failed. */
int h2_refuse_for_memory(struct nghttp2_session *session, int32_t stream_id);

/* ------------------------------------------------------------------------------------------------ for call.c
 * All do nothing once the stream is gone, and may be called at any time. */

/* Submit the response headers; the body comes from call->out. */
int h2_respond(struct grpc_call *call);
/* Submit headers that are the whole response: grpc-status and message, or an HTTP status other than 200. */
int h2_respond_only(struct grpc_call *call, int http_status);
/* Client side: submit the request; call->stream_id is set. */
int h2_request(struct grpc_call *call, const char *path, const char *authority, uint32_t timeout_ms);
/* call->out has more, or has ended. */
void h2_resume(struct grpc_call *call);
/* `len` received bytes of the call are dealt with: grant the peer as many. */
void h2_consume(struct grpc_call *call, size_t len);
/* The call object goes away. A stream that is still open is reset. */
void h2_detach(struct grpc_call *call);
