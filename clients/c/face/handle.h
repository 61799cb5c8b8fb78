/* SPDX-License-Identifier: Apache-2.0 */
/* A handle of libsensebus, from inside: what its operations share.
 *
 * Everything here happens on the caller's thread. Items of the I/O thread are taken in order and each is dealt with
 * before the next: a reply is kept for the operation that waits for it, records and calls run their callbacks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clients/c/face/errors.h"
#include "clients/c/sensebus.h"
#include "sensebus/v1/adapter.pb-c.h"
#include "sensebus/v1/sdi.pb-c.h"

#define HANDLE_DEADLINE_MS     30000u
#define HANDLE_MAX_DEADLINE_MS 600000u
/* The broker answers within the deadline of the operation. One that does not, though it keeps the connection alive, is
 * waited for so much longer. */
#define HANDLE_GRACE_MS 10000u
#define HANDLE_NO_LIMIT INT64_MAX

struct io;
struct tls_context;
struct face_session;
struct face_handler;
struct late;

/* What an operation waits for. */
enum wait_kind { WAIT_UP, WAIT_RESULT, WAIT_LISTEN_RESULT, WAIT_CALL };
struct wait {
    enum wait_kind kind;
    uint64_t id;                            /* of the request; of the call */
    const ProtobufCMessageDescriptor *type; /* of the reply of a CALL */
    bool done;
    int status; /* gRPC's, when it ended without the reply */
    ProtobufCMessage *reply;
};

/* A stream that is opened when it is first needed. */
struct face_stream {
    uint64_t call; /* 0: not open */
    const char *path;
};

struct sb {
    struct io *io;
    struct tls_context *tls; /* NULL: plaintext */
    uint64_t n_calls, n_requests;
    uint32_t deadline_ms;
    struct face_stream adapter, listen;
    struct wait *waiting;
    struct face_session **sessions; /* face/sessions.h; in order of their ids */
    size_t n_sessions, cap_sessions;
    struct face_handler *first_handler; /* face/handlers.h */
    struct late *first_late;            /* face/late.h */
    bool in_callback, lost;
    unsigned n_callbacks; /* run so far */
    char lost_reason[256];
    int detail;
    char message[SB_MESSAGE_BYTES];
};

/* Every function that asks the broker begins with this: 0, or EDEADLK or ENOTCONN. */
int handle_begin(struct sb *sb);
/* The same for one that may be called when the connection is lost. */
int handle_begin_local(struct sb *sb);
/* All zero, as reserved members must be? Else EINVAL RESERVED. */
int handle_check_reserved(struct sb *sb, const void *bytes, size_t len);

/* Send a request of Adapter.Open and wait for its result: *out_reply is the AdapterReply with it, error 0; free with
 * message_free. `limit_ms` is for the operation; HANDLE_NO_LIMIT. `interruptible`: EINTR when a signal comes. `id` is
 * filled in, and version and deadline when they are 0. */
int handle_operate(struct sb *sb, Sensebus__V1__AdapterRequest *request, int64_t limit_ms, bool interruptible,
                   Sensebus__V1__AdapterReply **out_reply);
/* Wait again for the result of a request that was given up. */
int handle_operate_on(struct sb *sb, uint64_t id, Sensebus__V1__AdapterReply **out_reply);
/* Send a request of Adapter.Open whose result nobody waits for. 0, or ENOMEM. */
int handle_tell(struct sb *sb, Sensebus__V1__AdapterRequest *request);
/* Send a request of Sdi.Listen and wait for its result: its message is the error's when it is not OK (EINVAL, or ENOMEM
 * RESOURCE_EXHAUSTED). */
int handle_listen(struct sb *sb, Sensebus__V1__ListenRequest *request, Sensebus__V1__ListenReply **out_reply);
/* Send a request of Sdi.Listen whose result nobody waits for. 0, or ENOMEM. */
int handle_listen_tell(struct sb *sb, Sensebus__V1__ListenRequest *request);
int handle_verdict(struct sb *sb, uint64_t call_id, Sensebus__V1__SdiReturn verdict);
/* One request, one reply. */
int handle_call(struct sb *sb, const char *path, const ProtobufCMessage *request,
                const ProtobufCMessageDescriptor *reply_type, uint32_t deadline_ms, ProtobufCMessage **out_reply);

/* The connection is of no use any more: hang up, and tell every registration. */
void handle_lose(struct sb *sb, const char *reason);
