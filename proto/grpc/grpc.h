/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC over HTTP/2 on a libuv loop, both sides.
 *
 * Contract with the peer: the gRPC over HTTP/2 protocol (grpc/doc/PROTOCOL-HTTP2.md) on RFC 9113.
 * Contract with the owner: everything happens on the loop thread; no callback runs before the function that caused it
 * has returned; on_close is the last callback of a call and comes exactly once for every call that was accepted or
 * started. Messages are bytes: encoding is the owner's business. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "proto/grpc/identity.h"
#include "runtime/chunk.h"

struct tls_context;

/* https://grpc.io/docs/guides/status-codes/ */
enum grpc_status {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};
/* "OUT_OF_RANGE"; "STATUS_99" style text for numbers without a name is never needed: returns "UNKNOWN". */
const char *grpc_status_name(int status);

/* Zero in a member means its default, given here. */
struct grpc_limits {
    uint32_t max_message_bytes;       /* 4 MiB; a longer one is refused by its length prefix, before memory is taken.
                                       * Unfinished messages and unary requests of one connection may hold 8 times
                                       * as much; the call that wants more is refused */
    uint32_t max_header_bytes;        /* 16 KiB of header list, names + values + 32 each; 64 KiB at most */
    uint32_t max_streams;             /* 1,000 concurrent calls a connection */
    uint32_t max_connections;         /* 10,000 a server; a further one takes the place of the oldest whose handshake
                                       * is not done, or is accepted and closed at once */
    uint32_t max_queued_bytes;        /* 4 MiB waiting to be sent on one call; then grpc_call_send says UV_ENOBUFS */
    uint32_t low_water_bytes;         /* 256 KiB: on_writable comes when the queue falls below */
    uint32_t max_unary_bytes;         /* 32 MiB of unary replies that wait to be sent on one connection; a further one
                                       * becomes RESOURCE_EXHAUSTED, and so do calls that come before half of them was
                                       * read. One alone is always taken */
    uint32_t stream_window_bytes;     /* 1 MiB receive window of a call */
    uint32_t connection_window_bytes; /* 4 MiB receive window of a connection */
    uint32_t keepalive_ms;            /* 20,000: PING after this long without anything from the peer */
    uint32_t patient_keepalive_ms;    /* 120,000: the same while all its calls are patient (grpc_call_set_patient) */
    uint32_t keepalive_timeout_ms;    /* 20,000: without an answer for this long the connection is dead */
    uint32_t handshake_ms;            /* 10,000 from accept to the peer's SETTINGS, TLS included */
    uint32_t control_burst;           /* 1,000: PING, SETTINGS and empty frames a connection may send at once … */
    uint32_t control_per_second;      /* 100: … and this many a second afterwards; beyond: GOAWAY ENHANCE_YOUR_CALM */
    uint32_t reset_burst;             /* 10,000 RST_STREAM … */
    uint32_t reset_per_second;        /* 1,000 */
};

/* ------------------------------------------------------------------------------------------------ calls */

struct grpc_call;

struct grpc_call_ops {
    /* One whole message. `bytes` are borrowed until the callback returns. */
    void (*on_message)(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len);
    /* The peer sends no more messages. Server side: answer and finish. NULL allowed. */
    void (*on_half_close)(struct grpc_call *call, void *data);
    /* The call is writable again after it had not been. NULL allowed. */
    void (*on_writable)(struct grpc_call *call, void *data);
    /* Server side: the server drains; send last words and finish within the grace period. NULL: the call is ended
     * with UNAVAILABLE "server is draining". */
    void (*on_drain)(struct grpc_call *call, void *data);
    /* Over. Server side: `status` is what was sent, or CANCELLED / DEADLINE_EXCEEDED / UNAVAILABLE when the call ended
     * before that. Client side: the call's status. `call` is gone when this returns; `message` is never NULL. */
    void (*on_close)(struct grpc_call *call, void *data, int status, const char *message);
};

/* Queue one message made of `n` parts, in order. Parts with an owner are referenced, not copied; others are copied.
 * Returns 0; UV_ENOBUFS when the queue is at max_queued_bytes (nothing was queued; a single message into an empty queue
 * is always taken; but see max_unary_bytes); UV_ECANCELED when the call is over; UV_ENOMEM. */
int grpc_call_send(struct grpc_call *call, const struct slice *parts, size_t n);
/* A bound that calls share on what waits to be sent on them. While it is reached, a call of theirs is writable only
 * when nothing of its own waits. Zeroed but for the maximum; must outlive the calls that share it. */
struct grpc_budget {
    uint64_t queued_bytes;
    uint64_t max_queued_bytes;
};
/* Once a call. What waits on it is counted there until its on_close begins. */
void grpc_call_share(struct grpc_call *call, struct grpc_budget *budget);

/* Nothing but memory hangs on how soon it is noticed that the peer is gone. A host that is gone is noticed by the
 * kernel all the same (transport_accept). */
void grpc_call_set_patient(struct grpc_call *call);
/* What was sent goes to the socket now, and not at the end of this iteration of the loop. For few calls that must not
 * wait for one another: gathering costs less. Does nothing, and the end of the iteration comes as always, where that is
 * not possible (within a callback of the same connection) or no good (it has other calls). Runs no callback. */
void grpc_call_flush(struct grpc_call *call);

/* Queued and not yet handed to the socket. */
size_t grpc_call_queued_bytes(const struct grpc_call *call);
/* Below the low-water mark, and within the budget: the moment to send more. If this returned false, on_writable will
 * come. */
bool grpc_call_writable(struct grpc_call *call);
/* Stop granting the peer window for this call, and start again. Bytes already granted still arrive. */
void grpc_call_pause(struct grpc_call *call);
void grpc_call_resume(struct grpc_call *call);

/* Server side: end the call after everything queued was sent. `format` may be NULL. Calls after the first do nothing.
 */
void grpc_call_finish(struct grpc_call *call, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Drop what is queued and end now: RST_STREAM(CANCEL). on_close follows with CANCELLED. */
void grpc_call_cancel(struct grpc_call *call);
/* Client side: no more messages from us. */
int grpc_call_half_close(struct grpc_call *call);

/* "10.0.0.1:5123", "[::1]:5123", "unix:/run/sensebus.sock"; lives as long as the call. */
const char *grpc_call_peer(const struct grpc_call *call);
/* What the transport proved of the peer; lives as long as the call. */
const struct peer_identity *grpc_call_identity(const struct grpc_call *call);
/* Milliseconds until the deadline of the call; UINT64_MAX when it has none. */
uint64_t grpc_call_remaining_ms(const struct grpc_call *call);
uv_loop_t *grpc_call_loop(const struct grpc_call *call);

/* ------------------------------------------------------------------------------------------------ metadata
 * Fields that travel with a call beside its messages. Names are lower case: a-z, 0-9, "_", "-" and "."; not "grpc-…",
 * and not the names of HTTP such as content-type. Values are printable ASCII that neither begins nor ends with a space.
 * Values of names in "-bin" are base64, in both directions: encoding and decoding them is the owner's business. */

struct grpc_metadata {
    const char *name;
    const char *value;
};

/* NULL when the field may be sent; otherwise what is wrong with it, in words. */
const char *grpc_metadata_fault(const char *name, const char *value);

/* Server side: metadata of the request. Client side: of the beginning of the answer, NULL until it has come; in
 * on_message it has. By lower-case name; the first value when there are several; lives as long as the call. */
const char *grpc_call_metadata(const struct grpc_call *call, const char *name);
/* Client side, in on_close: metadata that came with the status. An answer of nothing but a status has only this. */
const char *grpc_call_trailer(const struct grpc_call *call, const char *name);

/* Server side: add a field to the beginning of the answer (copied). Until it leaves: with the first message, with
 * grpc_call_finish, or after the callback that called grpc_call_accept has returned.
 * 0; UV_EINVAL: see grpc_metadata_fault; UV_E2BIG: more than max_header_bytes in all; UV_EALREADY: it has left;
 * UV_ECANCELED: the call is over; UV_ENOMEM. Nothing was added unless 0. */
int grpc_call_set_initial(struct grpc_call *call, const char *name, const char *value);
/* Server side: add a field to the end of the answer, until grpc_call_finish. Returns as above. */
int grpc_call_set_trailing(struct grpc_call *call, const char *name, const char *value);

/* ------------------------------------------------------------------------------------------------ server */

struct grpc_server;

/* A new call of the method: set ops with grpc_call_accept, or finish it with a status right here. */
typedef void (*grpc_start_cb)(struct grpc_call *call, void *service);

struct grpc_method {
    const char *path; /* "/sensebus.v1.Events/Subscribe" */
    grpc_start_cb on_start;
};

void grpc_call_accept(struct grpc_call *call, const struct grpc_call_ops *ops, void *data);

/* Unary methods without state need no ops of their own: `handle` gets the one request and answers with
 * grpc_unary_reply or grpc_call_finish. Zero or two requests are INVALID_ARGUMENT by themselves. A handler that answers
 * later calls grpc_call_accept inside `handle` first: its on_close then says that the call is gone, as it may be before
 * the answer is ready (cancelled, deadline, connection lost). */
typedef void (*grpc_unary_cb)(struct grpc_call *call, void *service, const uint8_t *bytes, size_t len);
void grpc_unary_accept(struct grpc_call *call, void *service, grpc_unary_cb handle);
/* Send the one reply and finish with OK. */
void grpc_unary_reply(struct grpc_call *call, const uint8_t *bytes, size_t len);

int grpc_server_new(uv_loop_t *loop, const struct grpc_limits *limits, struct grpc_server **out_server);
/* `methods` must outlive the server. Unknown methods are answered UNIMPLEMENTED naming the path. */
int grpc_server_add(struct grpc_server *server, const struct grpc_method *methods, size_t n, void *service);

struct grpc_listen_options {
    bool insecure;           /* plaintext beyond loopback */
    struct tls_context *tls; /* NULL = plaintext; not for Unix sockets (UV_EINVAL) */
};
/* Listen on "HOST:PORT", "[IPV6]:PORT" or "unix:PATH". Port 0 picks one. Names are resolved now (blocking).
 * Plaintext beyond loopback is refused with UV_EACCES unless `insecure`. May be called several times, with and without
 * TLS; the listeners and their connections hold references on the context. A peer that speaks TLS to a plaintext port,
 * or the reverse, is told so as far as it can understand, and named in the log.
 * On failure `err` says in words what and why. */
int grpc_server_listen(struct grpc_server *server, const char *address, const struct grpc_listen_options *options,
                       char *err, size_t err_len);
/* 0, or what grpc_server_listen would say of it, as far as that is known without opening it. */
int grpc_listen_check(const char *address, const struct grpc_listen_options *options, char *err, size_t err_len);
/* The i-th address listened on, with its real port: "127.0.0.1:40123"; NULL when there are not so many. A name may
 * stand for several. */
const char *grpc_server_address(const struct grpc_server *server, size_t i);
/* Does the i-th speak TLS? False when there are not so many. */
bool grpc_server_address_is_tls(const struct grpc_server *server, size_t i);

/* Stop accepting; GOAWAY in two steps; on_drain for every call; whatever is left after `grace_ms` is ended with
 * UNAVAILABLE. `cb` runs when the last connection is gone. */
void grpc_server_drain(struct grpc_server *server, uint32_t grace_ms, void (*cb)(void *data), void *data);
/* Drop everything at once and free the server; `cb` (may be NULL) runs when nothing of it is left on the loop. */
void grpc_server_close(struct grpc_server *server, void (*cb)(void *data), void *data);

struct grpc_server_counters {
    uint64_t connections_accepted, connections_open, connections_refused;
    uint64_t calls_started, calls_open, calls_refused;
    uint64_t messages_received, messages_sent, bytes_received, bytes_sent;
    uint64_t handshakes_refused; /* another protocol than the port's, or no good certificate */
    uint64_t protocol_errors, keepalive_timeouts, oversize_messages, flood_closures;
};
void grpc_server_counters(const struct grpc_server *server, struct grpc_server_counters *out);

/* ------------------------------------------------------------------------------------------------ client */

struct grpc_channel; /* one connection; reconnecting is the owner's policy (clients/c/link.h) */

struct grpc_channel_ops {
    void (*on_up)(struct grpc_channel *channel, void *data);
    /* Gone or never came up: calls were ended before with UNAVAILABLE. Comes once; the owner then closes. */
    void (*on_down)(struct grpc_channel *channel, void *data, const char *reason);
};

struct grpc_channel_options {
    const struct grpc_limits *limits; /* NULL = defaults */
    uint32_t connect_ms;
    struct tls_context *tls; /* NULL = plaintext; not for Unix sockets (UV_EINVAL); the channel references it */
    const char *server_name; /* expected in the server's certificate; NULL = the host part of the address */
};
/* Addresses as in grpc_server_listen; names resolve on the loop, every address is tried in turn. Strings are copied. */
int grpc_channel_open(uv_loop_t *loop, const char *address, const struct grpc_channel_options *options,
                      const struct grpc_channel_ops *ops, void *data, struct grpc_channel **out_channel);
/* Calls still open are ended with CANCELLED (on_close runs from the loop). The channel is gone for its owner. */
void grpc_channel_close(struct grpc_channel *channel);
const char *grpc_channel_peer(const struct grpc_channel *channel);

/* Start a call on a channel that is up. `deadline_ms` 0 = none. On failure no callback comes. */
int grpc_call_start(struct grpc_channel *channel, const char *path, uint32_t deadline_ms,
                    const struct grpc_call_ops *ops, void *data, struct grpc_call **out_call);

/* Zero in a member: none. */
struct grpc_call_options {
    uint32_t deadline_ms;
    const struct grpc_metadata *metadata; /* of the request; copied */
    size_t n_metadata;
};
/* The same with metadata. UV_EINVAL: a field is refused by grpc_metadata_fault; UV_E2BIG: more than max_header_bytes.
 */
int grpc_call_start_with(struct grpc_channel *channel, const char *path, const struct grpc_call_options *options,
                         const struct grpc_call_ops *ops, void *data, struct grpc_call **out_call);

/* ------------------------------------------------------------------------------------------------ services */

/* grpc.health.v1.Health. The empty name is the whole server, serving from the start; other names are unknown until they
 * are set. Watchers are told of changes. Like every service, free it after the server's close callback. */
struct grpc_health;
int grpc_health_new(struct grpc_server *server, struct grpc_health **out_health);
int grpc_health_set(struct grpc_health *h, const char *service, bool serving);
void grpc_health_free(struct grpc_health *h);

/* grpc.reflection.v1 and v1alpha ServerReflection over a serialized FileDescriptorSet with all imports. `services` are
 * the full names to list; both arrays must outlive the server. UV_EINVAL when the set is damaged. */
struct grpc_reflection;
int grpc_reflection_new(struct grpc_server *server, const uint8_t *descriptor_set, size_t len,
                        const char *const *services, size_t n_services, struct grpc_reflection **out_reflection);
void grpc_reflection_free(struct grpc_reflection *r);
