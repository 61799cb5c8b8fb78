/* SPDX-License-Identifier: Apache-2.0 */
/* The Adapter service: the rules of broker/core/adapter behind gRPC.
 *
 * Open      messages go in as requests, actions come out as replies and events; one stream is one open
 * agents    operations go out over their Attach streams and come back (broker/service/operations.h)
 * the log   committed records go in, in order, each once; started, stopped and cancelled sessions are announced
 *
 * Invariants: after each input every action is carried out before the next input. What cannot be read back from the log
 * reaches the sessions as an EVENTS_LOST record with every bit that may have been in it; a record that there is no
 * memory for, those that it is about.
 *
 * Bounds: while a stream does not take its replies its requests are not read: what was on the way is held, at most
 * ADAPTER_MAX_HELD_BYTES (and ADAPTER_MAX_HELD_PRINCIPAL on all streams of one principal), and replies that are owed
 * may fill its queue; past any of these the call ends with RESOURCE_EXHAUSTED. Sessions, waits and operations are
 * bounded by the rules, for each principal. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "broker/core/adapter/adapter.h"
#include "runtime/log.h"

#define ADAPTER_MAX_HELD_BYTES      (8u * 1024 * 1024)
#define ADAPTER_MAX_HELD_PRINCIPAL  (32u * 1024 * 1024)
#define ADAPTER_MAX_ENDED_PRINCIPAL 256u  /* streams that are finished, and what is queued for them is not read */
#define ADAPTER_MAX_UNANSWERED      4096u /* requests of one stream; more are not read */

struct adapter_call;
struct broker;
struct commit;
struct directory;
struct grpc_server;

/* What the service needs of the rest; everything outlives it. */
struct adapter_outside {
    uv_loop_t *loop;
    struct grpc_server *server;
    const struct directory *directory;
    const struct commit *commit; /* the newest sequence that the log gave out */
    struct broker *broker;       /* for the gate, announcements and driver events only */
};

struct adapter_service {
    struct adapter_outside outside;
    struct adapter *core;
    TAILQ_HEAD(adapter_calls, adapter_call) open;
    TAILQ_HEAD(adapter_ending, adapter_call) ending;       /* finished, not yet closed in the rules … */
    TAILQ_HEAD(adapter_leaving, adapter_call) leaving;     /* … and closed there, but not all was read */
    TAILQ_HEAD(adapter_resumable, adapter_call) resumable; /* held requests may go on */
    uint64_t delivered;                                    /* everything in the log through here was told */
    uv_timer_t timer;
    bool timer_open, pumping, stopping;
    uint64_t n_lost_ranges; /* of the log that could not be read for sessions */
    struct log_limit session_limit;
};

/* Adds the service to the server. Returns 0 or a negative errno; then adapter_service_deinit is still owed. `newest` is
 * the newest committed sequence: what is behind it will be told; `newest_time_ns` that record's broker time. */
int adapter_service_start(struct adapter_service *f, const struct adapter_outside *outside,
                          const struct adapter_limits *limits, uint64_t newest, uint64_t newest_time_ns);
/* The broker stops: every session ends, everybody hears why, then streams end with UNAVAILABLE. */
void adapter_service_stop(struct adapter_service *f);
/* Every call is over. Closes the timer. Accepts a zeroed service. */
void adapter_service_close(struct adapter_service *f);
void adapter_service_deinit(struct adapter_service *f);

/* ---- from the log */

/* A committed record, in the order of the log. One that was told before is left out: it comes again when the status had
 * no memory for it. This and the next two accept a service that is not started. */
void adapter_service_record(struct adapter_service *f, const struct event_view *view);
/* Records first..last are in the log, or were, and cannot be read. `stage` is a LossStage; `bits` the OR of what may
 * have been in them. */
void adapter_service_lost(struct adapter_service *f, uint64_t first, uint64_t last, uint32_t stage, uint32_t bits,
                          const char *reason);
/* Does a session want to hear of records? While none does, adapter_service_passed is enough for one: it is nobody's. */
static inline bool adapter_service_listens(const struct adapter_service *f)
{
    return f->core && adapter_has_sessions(f->core);
}
static inline void adapter_service_passed(struct adapter_service *f, uint64_t sequence)
{
    if (f->core && sequence > f->delivered)
        f->delivered = sequence;
}
/* Everything that was committed so far was told. */
void adapter_service_delivered(struct adapter_service *f);

/* ---- from agents (operations.h) */

/* `after_events`: the reply waits for everything that the log has given out up to now. */
void adapter_service_result(struct adapter_service *f, const char *host, const Sensebus__V1__OperationResult *result,
                            bool after_events);
void adapter_service_received(struct adapter_service *f, const char *host, const Sensebus__V1__TargetReceived *message);
/* Generation of an open session of the host; 0 when there is none. */
uint64_t adapter_service_generation(const struct adapter_service *f, struct text host, struct text session_id);
/* As adapter_agent_gone. */
size_t adapter_service_agent_gone(struct adapter_service *f, const char *host, bool in_order);

/* ---- from operators (admin.h) */

/* As adapter_end_session. */
int adapter_service_end_session(struct adapter_service *f, const char *session_id, const char *reason,
                                struct adapter_ended *out);
