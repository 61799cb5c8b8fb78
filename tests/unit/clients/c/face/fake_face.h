/* SPDX-License-Identifier: Apache-2.0 */
/* A broker's Adapter and Sdi faces on a thread of their own, for a library that blocks its caller. What it does is said
 * by the request itself, in the session id (in the host, for IOCINFO and START):
 *
 *   errno:E:D[:TEXT]   the reply carries this Errno and detail
 *   end:STATUS         the stream ends with this gRPC status
 *   drop               the connection ends
 *   silence            no reply
 *   garbage            a message that does not decode
 *   empty              a reply without its result
 *   events:N           a record with these bits comes before the reply; TM_EVENT returns them
 *   cancel             a REGISTRATION_CANCELLED comes before the reply
 *   flood:N            N records of 1,000 bytes each come before the reply
 *   data:TEXT          target-mode data comes before the reply
 *
 * Everything else is answered OK; START answers with the target's name as the session id. */
#pragma once

#include <stdint.h>
#include <uv.h>

#include "proto/grpc/grpc.h"

struct fake_face {
    uv_thread_t thread;
    uv_loop_t loop;
    uv_async_t stop;
    struct grpc_server *server;
    char directory[40], address[80];
    /* Of the thread; read by tests after fake_face_deinit. */
    unsigned n_streams, n_listens, n_released, n_verdicts_ok, n_verdicts_err, n_stops;
    uint32_t last_deadline_ms;
    char last_session[64];
    struct grpc_call *listen; /* the newest */
    uint64_t n_calls;
};

void fake_face_init(struct fake_face *f);
/* With a keepalive of its own; it pings after `keepalive_ms` and waits `timeout_ms` for the answer. */
void fake_face_init_keepalive(struct fake_face *f, uint32_t keepalive_ms, uint32_t timeout_ms);
/* Also when the library is still connected: then the connection drops. */
void fake_face_deinit(struct fake_face *f);
