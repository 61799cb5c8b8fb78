/* SPDX-License-Identifier: Apache-2.0 */
/* The AIX face as rules: streams, sessions, registrations, pending words, waits, operations on their way to an agent
 * (semantics.md section 6, rules 1..25 and 32; section 7).
 *
 * A machine without I/O: every function takes an input and the time, changes the state, and leaves actions in a queue
 * that the caller empties (adapter_take) before the next input. Nothing here sends, waits or reads a clock.
 *
 * Invariants, in the words of docs/rules.md, of the simulator's checker and of the model:
 *   one-registration   a session has at most one live registration, and never a second one
 *   no-stale           nothing is delivered under a generation that is not the session's, or after it ended
 *   bit-identical      the correlator of every record is the one registered
 *   bits-kept          the OR of the AIX bits delivered and announced as lost is the OR of those that arrived
 *   in-order           records of one session are delivered in the order of the log, and nothing behind their end
 *   cancelled-last     whoever registered is told of the end, once, as the last thing
 *   every-wait-ends    each request is answered exactly once
 *
 * Memory: bounded by the limits below. Without memory a request is answered ENOMEM; a record is counted as lost, its
 * bits kept. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/event_view.h"
#include "runtime/chunk.h"
#include "sensebus/v1/adapter.pb-c.h"
#include "sensebus/v1/agents.pb-c.h"

#define ADAPTER_MAX_CORRELATOR      256
#define ADAPTER_MAX_WAIT_SESSIONS   1024
#define ADAPTER_MAX_REASON          256
#define ADAPTER_DEFAULT_DEADLINE_MS 30000u
#define ADAPTER_MAX_DEADLINE_MS     600000u

/* Zero in a member means its default, given here. */
struct adapter_limits {
    uint32_t max_sessions;               /* 65,536 in all */
    uint32_t max_streams_principal;      /* 256 */
    uint32_t max_sessions_principal;     /* 4,096 */
    uint32_t max_waits_principal;        /* 1,024 */
    uint32_t max_operations_principal;   /* 1,024 on their way to agents */
    uint32_t max_queued_records;         /* 256 of one session, while its stream is full; then they coalesce */
    uint32_t max_queued_bytes_principal; /* 16 MiB of queued records */
};

struct adapter;         /* all of it; opaque */
struct adapter_stream;  /* one Adapter.Open */
struct adapter_session; /* one START */

/* Where the generations of this life of the broker begin: larger than any that an earlier life gave out, so that
 * whatever is left of those is stale. They begin at the time, in units shorter than any START takes; where the clock
 * was set back meanwhile, behind the newest record of the log, whose time never goes back. */
uint64_t adapter_first_generation(uint64_t wall_ns, uint64_t newest_record_ns);
/* `first_generation`: generations count up from here. NULL when memory is out. */
struct adapter *adapter_new(const struct adapter_limits *limits, uint64_t seed, uint64_t first_generation);
/* Frees everything, also what is open; leaves no actions. */
void adapter_free(struct adapter *a);

/* ------------------------------------------------------------------------------------------------ inputs */

/* A principal opens a stream; `roles` are ACCESS_… bits (broker/core/access.h), `owner` the caller's own. NULL with
 * *err filled: over max_streams_principal (then *out_rc is UV_ENOBUFS), or out of memory (UV_ENOMEM). */
struct adapter_stream *adapter_open(struct adapter *a, const char *principal, unsigned roles, void *owner, int *out_rc,
                                    char *err, size_t err_len);
/* It is gone: its sessions end, its registrations elsewhere end, its waits and operations are given up. No action of
 * this stream comes any more; `stream` is freed. */
void adapter_close(struct adapter *a, struct adapter_stream *stream, uint64_t now_ns);

/* The stream's send queue is full (no further records are handed out for it), or has room again. Replies are handed out
 * always: they are bounded by the requests. (The reply of a RESET comes behind its record, so it waits with that.) */
void adapter_blocked(struct adapter *a, struct adapter_stream *stream);
void adapter_writable(struct adapter *a, struct adapter_stream *stream, uint64_t now_ns);

/* What the inventory knows of an address that a request named. */
enum adapter_place_state {
    ADAPTER_PLACE_OK,
    ADAPTER_PLACE_NO_AGENT,  /* no agent of that host is attached: EIO */
    ADAPTER_PLACE_UNTOLD,    /* the agent has attached, and not said yet which devices it has: EIO */
    ADAPTER_PLACE_UNKNOWN,   /* the agent has no such device or adapter: EINVAL ADDRESS */
    ADAPTER_PLACE_AMBIGUOUS, /* several: EINVAL ADDRESS */
};
struct adapter_place {
    enum adapter_place_state state;
    const Sensebus__V1__DeviceAddress *address; /* in full; NULL unless OK */
    const Sensebus__V1__Device *device;         /* as in the inventory; NULL when not known (target mode) */
    int32_t controller;
    bool diagnostics;      /* the adapter is in diagnostic mode: EACCES for all but IOCINFO */
    unsigned capabilities; /* ADAPTER_CAN_… of the adapter */
    const char *own_id;    /* the adapter's own name: nobody may START it (OWN_ID); NULL when not known */
};
enum adapter_capability {
    ADAPTER_CAN_EVENT = 1 << 0,        /* "event" */
    ADAPTER_CAN_HALT = 1 << 1,         /* "halt" */
    ADAPTER_CAN_RESET_LUN = 1 << 2,    /* "reset-lun" */
    ADAPTER_CAN_RESET_TARGET = 1 << 3, /* "reset-target" */
    ADAPTER_CAN_TARGET_MODE = 1 << 4,  /* "target-mode" */
};

/* One request. `place` is of the address in IocInfo, Start and StartTarget, else NULL. `log_newest` is the newest
 * sequence that the log has given out: a session and a registration see what comes behind it. `wall_ns` is for people
 * (when it was registered). Unknown fields are found here (RESERVED).
 * 0, or UV_ENOMEM when there is no memory even for an answer: none will come, so end the stream. */
int adapter_request(struct adapter *a, struct adapter_stream *stream, const Sensebus__V1__AdapterRequest *request,
                    const struct adapter_place *place, uint64_t log_newest, uint64_t now_ns, uint64_t wall_ns);
/* A message that does not decode: answered EFAULT, with `id` when it could be read, else 0. The stream stays. Returns
 * as adapter_request. */
int adapter_fault(struct adapter *a, struct adapter_stream *stream, uint64_t id, const char *message);
/* The same for one that is well made, and too large for the memory there is. */
int adapter_no_room(struct adapter *a, struct adapter_stream *stream, uint64_t id, const char *message);

/* The agent of `host` answered; `log_newest` as above. `capabilities` are those of the adapter in `result`'s address,
 * when it is of a START and has one: the session is there then, and can what that one can. A result for an operation
 * that nobody waits for any more is counted. When `after_sequence` is not 0 the reply waits until the log is delivered
 * so far (the caller knows the sequence of the result's after_source_sequence; see adapter_delivered). */
void adapter_result(struct adapter *a, const char *host, const Sensebus__V1__OperationResult *result,
                    unsigned capabilities, uint64_t after_sequence, uint64_t log_newest, uint64_t now_ns);
/* Data for a target-mode session. */
void adapter_target_received(struct adapter *a, const char *host, const Sensebus__V1__TargetReceived *message,
                             uint64_t now_ns);
/* The agent of `host` is gone, lost or in order: its sessions end (AGENT_LOST or AGENT_DETACHED), what was on its way
 * to it fails with EIO. Returns how many sessions that were open ended. */
size_t adapter_agent_gone(struct adapter *a, const char *host, bool in_order, uint64_t now_ns);

/* A committed record, in the order of the log. `record` holds the Event's bytes, broker's fields included (a reference
 * is taken where it is queued), or is NULL: there was no memory for them, and whoever it would be handed to is told
 * that it is lost. Sets pending words, is handed to registered sessions of the place it is about, ends sessions whose
 * device it says is gone. `view` is of the same event. False when no session is open: nothing was looked at. */
bool adapter_record(struct adapter *a, const struct event_view *view, struct chunk *record, uint64_t now_ns);
/* Everything in the log through `sequence` went through adapter_record. */
void adapter_delivered(struct adapter *a, uint64_t sequence, uint64_t now_ns);

/* Time passes: deadlines and waits. */
void adapter_tick(struct adapter *a, uint64_t now_ns);
/* When the next one is due; UINT64_MAX = none. */
uint64_t adapter_next_ns(const struct adapter *a);

/* An operator ends a session. UV_ENOENT when there is none. On 0 the outputs tell what it was. */
struct adapter_ended {
    uint64_t generation;
    char principal[256];
    bool was_registered;
};
int adapter_end_session(struct adapter *a, const char *session_id, const char *reason, uint64_t now_ns,
                        struct adapter_ended *out);
/* The broker stops: every session ends with the reason, every request is answered. */
void adapter_stop(struct adapter *a, const char *reason, uint64_t now_ns);

/* ------------------------------------------------------------------------------------------------ actions */

enum adapter_action_kind {
    /* Send `message` (an encoded AdapterReply without gRPC prefix) on the stream, with `tail` behind it when that is
     * not NULL: both together are one message. */
    ADAPTER_SEND,
    /* Send `message` (an encoded BrokerMessage with an Operation) to the agent of `host`. */
    ADAPTER_FORWARD,
    /* Into the log: SESSION_STARTED, SESSION_STOPPED, REGISTRATION_CANCELLED of `session`, with `text`. */
    ADAPTER_ANNOUNCE,
    /* SDI: SDI_FIRSTOPEN 1, SDI_LASTCLOSE 2, SDI_LASTCLOSE_ERR 3 of the device of `session`. */
    ADAPTER_SDI,
};
struct adapter_action {
    enum adapter_action_kind kind;
    struct adapter_stream *stream; /* SEND */
    void *owner;                   /* SEND: the stream's */
    struct chunk *message, *tail;  /* SEND, FORWARD; references of the taker: chunk_unref both */
    bool is_record;                /* SEND: an AdapterEvent */
    bool must_arrive;              /* FORWARD: close or release_buffers. The agent answers neither, so nobody would ever
                                    * know that it did not get it: when it cannot be handed over, end its stream */
    char host[254];                /* FORWARD, ANNOUNCE, SDI */
    int32_t code;                  /* ANNOUNCE: Code; SDI: event type */
    char session_id[64];           /* ANNOUNCE, SDI */
    uint64_t generation;
    struct adapter_where { /* ANNOUNCE, SDI: where the session is */
        char adapter[64], target_name[256];
        int32_t controller, bus, target, device_type;
        int64_t lun;
        char vendor[9], product[17];
        Sensebus__V1__Mode mode;
    } where;
    char text[ADAPTER_MAX_REASON + 64]; /* ANNOUNCE: for the summary */
};
/* The next action, in order; false when there is none. */
bool adapter_take(struct adapter *a, struct adapter_action *out);
/* The taker of an ADAPTER_FORWARD could not hand it over: the operation fails with EIO and `reason`. `message` is the
 * action's own (its Operation.id is read again); not yet unreferenced. */
void adapter_forward_failed(struct adapter *a, const struct adapter_action *action, const char *reason,
                            uint64_t now_ns);

/* ------------------------------------------------------------------------------------------------ questions */

/* A page in order of session id; free with …_response__free_unpacked(response, NULL). UV_EINVAL with `err`, UV_ENOMEM.
 */
int adapter_list(const struct adapter *a, const Sensebus__V1__ListSessionsRequest *request,
                 Sensebus__V1__ListSessionsResponse **out_response, char *err, size_t err_len);
/* Generation of an open session, 0 when there is none. */
uint64_t adapter_generation(const struct adapter *a, const char *session_id, size_t len);
/* The same, 0 also when it is another host's: for records that an agent tags with a session. */
uint64_t adapter_generation_at(const struct adapter *a, struct text host, struct text session_id);
/* Open sessions on the adapter of this controller number whose place the address touches (-1 = any; host NULL or empty
 * = any): how sdi_xaen finds whom to tell. Calls `each` once a session with where it is; texts live until the next
 * input. */
void adapter_touched(const struct adapter *a, const char *host, int32_t controller, int32_t bus, int32_t target,
                     int64_t lun, void (*each)(void *data, const char *host, const char *adapter, int32_t bus),
                     void *data);

struct adapter_counters {
    uint64_t sessions_open, registrations_open, streams_open, waits_open, operations_open;
    uint64_t sessions_started, registrations, registration_conflicts, refused;
    uint64_t records_delivered, records_lost, records_stale, records_wrong_mode, results_late;
};
/* Is a session open? Without one, records are nobody's. */
bool adapter_has_sessions(const struct adapter *a);
void adapter_counters(const struct adapter *a, struct adapter_counters *out);
