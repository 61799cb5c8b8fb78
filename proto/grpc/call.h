/* SPDX-License-Identifier: Apache-2.0 */
/* One gRPC call, inside. The public face is in grpc.h.
 *
 * Life on the server: headers come → on_call accepts or finishes → messages in and out → finish → trailers leave →
 * stream closes → ended → on_close in h2_turn → free. On the client: start → messages → the server's trailers → ended
 * → on_close → free. From anywhere: cancel, deadline, reset and loss of the connection lead to ended.
 *
 * Invariant: after `ended` the owner hears nothing but on_close; after `finishing` nothing more is queued. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/grpc/grpc.h"
#include "proto/grpc/headers.h"
#include "proto/grpc/sendq.h"
#include "proto/grpc/wire.h"

struct h2;
struct unary;

enum call_attention {
    CALL_SEND_HEADERS = 1, /* accepted: tell the client, if nothing else has */
    CALL_TELL_WRITABLE = 2,
    CALL_TELL_DRAIN = 4,
    CALL_CLOSE = 8,
    CALL_LISTED = 16,
};

struct grpc_call {
    struct h2 *h2;
    struct grpc_call *prev, *next; /* h2->calls */
    struct grpc_call *next_attention;
    unsigned attention; /* bits of enum call_attention */
    int32_t stream_id;  /* 0: nghttp2 does not know it (any more) */

    const struct grpc_call_ops *ops; /* NULL until accepted */
    void *data;
    struct unary *unary;     /* owned; state of grpc_unary_accept */
    struct headers headers;  /* received: the first block, of the request or the response */
    struct headers trailers; /* received: what came behind it; the only block of a response that is just a status */
    struct headers initial;  /* the owner's metadata, until it is submitted: of the request or the response … */
    struct headers trailing; /* … and, server only, with the status */
    size_t n_header_blocks;
    uint64_t deadline_ms; /* UINT64_MAX = none */

    struct wire_framer framer;
    size_t kept_bytes; /* memory that received bytes are kept in: of a message not yet whole, or a unary request */
    size_t held_bytes; /* received while paused, not yet granted again */
    bool paused;
    bool patient;  /* grpc_call_set_patient */
    bool discards; /* what still comes is of no interest */

    struct sendq out;
    bool was_full;              /* it was not writable, and on_writable has not been called since */
    struct grpc_budget *budget; /* borrowed; NULL = none */
    size_t budgeted_bytes;      /* of `out`, as counted there */

    bool responded;     /* server: response headers are submitted */
    bool finishing;     /* server: status is set; trailers follow what is queued */
    bool half_closed;   /* client: nothing follows what is queued */
    bool trailers_sent; /* server: all of the response has left */
    bool remote_closed; /* the peer sends no more */
    bool ended;
    int status;
    char *message; /* NULL = "" */
};

/* NULL when memory is out. The call is on h2->calls. */
struct grpc_call *call_new(struct h2 *h2, int32_t stream_id);
/* Server side: the request headers are complete. */
void call_on_request(struct grpc_call *call);
/* Client side: a header block of the response is complete. */
void call_on_response(struct grpc_call *call, bool end_stream);
void call_on_data(struct grpc_call *call, const uint8_t *bytes, size_t len);
/* The peer's last byte of the call is in. */
void call_on_remote_close(struct grpc_call *call);
/* nghttp2 has forgotten the stream; `h2_error` is the code of the RST_STREAM that ended it, or 0. */
void call_on_stream_close(struct grpc_call *call, uint32_t h2_error);
/* Bytes left `out`. */
void call_on_sent(struct grpc_call *call);
/* No more bytes will be queued: EOF comes when `out` is empty. */
bool call_is_last(const struct grpc_call *call);

/* Over, for a reason of ours; on_close follows in h2_turn. Only the first call counts. */
void call_end(struct grpc_call *call, int status, const char *message);
void call_expire(struct grpc_call *call);
/* Server drain: on_drain, or UNAVAILABLE. */
void call_drain(struct grpc_call *call);
/* Do what attention asks for; the call may be freed. */
void call_attend(struct grpc_call *call);
/* grpc_call_start, below the channel. */
int call_start(struct h2 *h2, const char *path, const char *authority, const struct grpc_call_options *options,
               const struct grpc_call_ops *ops, void *data, struct grpc_call **out_call);
/* The call keeps `more` bytes of what it received, and `less` no longer. False: the calls of the connection keep too
 * many; the call was ended, and the owner of the bytes lets go of them. */
bool call_keep(struct grpc_call *call, size_t more, size_t less);
/* `len` bytes of its reply are no longer queued; nothing when the call is not unary. */
void call_unary_left(struct grpc_call *call, size_t len);
/* Free the state of a unary call (unary.c). NULL is accepted. */
void unary_free(struct unary *u);
