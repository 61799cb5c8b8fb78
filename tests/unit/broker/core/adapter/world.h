/* SPDX-License-Identifier: Apache-2.0 */
/* A small world around the rules of the Adapter face: requests go in as short calls, what comes out is told as text.
 *
 * One host "h" with adapter "a", units 0:1:0, 0:1:1 … (bus 0, target 1); time stands still unless a test moves it. Each
 * action is one line:
 *
 *   A #1 OK session s1                      a reply on the stream whose owner is "A"
 *   A #2 EINVAL/ALREADY_REGISTERED
 *   A event s1 LUN_RESET @7 bits 4 corr ab  a record; "@" its sequence
 *   A event s1 EVENTS_LOST 3 bits 5
 *   A event s1 REGISTRATION_CANCELLED STOP
 *   A data s1 16
 *   > h open 1 s1                           to the agent: kind, operation id, session
 *   log SESSION_STARTED s1                  an announcement
 *   sdi 1 s1 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/core/access.h"
#include "broker/core/adapter/adapter.h"

#define CAN_ALL                                                                                                        \
    (ADAPTER_CAN_EVENT | ADAPTER_CAN_HALT | ADAPTER_CAN_RESET_LUN | ADAPTER_CAN_RESET_TARGET | ADAPTER_CAN_TARGET_MODE)
#define MS 1000000ull

typedef Sensebus__V1__AdapterRequest__OperationCase request_kind;
#define ASK(name)    SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_##name
#define ERRNO(name)  SENSEBUS__V1__ERRNO__ERRNO_##name
#define DETAIL(name) SENSEBUS__V1__EINVAL_DETAIL__EINVAL_DETAIL_##name

struct world {
    struct adapter *a;
    char text[16384];  /* what came out since the last story(); terminated */
    char message[512]; /* of the last reply */
    int error, detail; /* of the last reply */
    unsigned n_replies;
    uint64_t next_id, next_sequence, now_ns, wall_ns;
    uint64_t last_operation;    /* id of the last that was forwarded and wants an answer */
    unsigned kinds[1024];       /* of operations, by id */
    struct adapter_place place; /* what the inventory says; tests change it */
    Sensebus__V1__DeviceAddress full;
    Sensebus__V1__Device device;
    bool take_nothing; /* leave the actions where they are */
    bool fail_forwards;
    uint64_t record_bits; /* OR of the bits in events that came out */
    /* Looks at what comes out too; NULL = nobody. */
    void (*on_result)(struct world *w, const char *owner, const Sensebus__V1__Result *result);
    void (*on_event)(struct world *w, const char *owner, const Sensebus__V1__AdapterEvent *event);
    void (*on_forward)(struct world *w, const Sensebus__V1__Operation *operation);
    bool is_quiet;        /* tell nothing */
    bool fails_sometimes; /* memory runs out: try again what did not come out */
};

void world_begin(struct world *w, const struct adapter_limits *limits);
void world_end(struct world *w);
/* Compare what came out with `expected`, and forget it. */
void story(struct world *w, const char *expected);
/* Take all actions. */
void world_take(struct world *w);

struct adapter_stream *open_as(struct world *w, const char *owner, const char *principal, unsigned roles);
void close_stream(struct world *w, struct adapter_stream *stream);

/* Requests; each gets the next id. */
void ask(struct world *w, struct adapter_stream *stream, Sensebus__V1__AdapterRequest *request);
void ask_iocinfo(struct world *w, struct adapter_stream *stream);
void ask_start(struct world *w, struct adapter_stream *stream, int64_t lun, bool shared);
void ask_start_target(struct world *w, struct adapter_stream *stream, const char *initiator, const char *correlator);
void ask_stop(struct world *w, struct adapter_stream *stream, const char *id);
void ask_halt(struct world *w, struct adapter_stream *stream, const char *id);
void ask_reset(struct world *w, struct adapter_stream *stream, const char *id, bool lun);
void ask_tur(struct world *w, struct adapter_stream *stream, const char *id, bool resume);
void ask_inquiry(struct world *w, struct adapter_stream *stream, const char *id, bool resume);
void ask_tm_event(struct world *w, struct adapter_stream *stream, const char *id, bool peek);
/* `correlator` NULL: absent. */
void ask_event(struct world *w, struct adapter_stream *stream, const char *id, const void *correlator, size_t len);
void ask_event_target(struct world *w, struct adapter_stream *stream, const char *id);
/* Ids up to a NULL. */
void ask_wait(struct world *w, struct adapter_stream *stream, int64_t timeout_ms, ...);
void ask_release(struct world *w, struct adapter_stream *stream, const char *id, uint32_t n);

/* The agent of "h" answers the operation: OK with the value that belongs to it, or an error. */
void agent_ok(struct world *w, uint64_t operation);
/* The answer counts once the log is delivered so far. */
void agent_ok_after(struct world *w, uint64_t operation, uint64_t after_sequence);
void agent_fails(struct world *w, uint64_t operation, Sensebus__V1__Errno error);
void agent_result(struct world *w, const char *host, Sensebus__V1__OperationResult *result, uint64_t after_sequence);
void agent_data(struct world *w, const char *id, uint64_t generation, size_t len);

/* START and its answer; EVENT and its answer. Nothing of them is told. */
void started(struct world *w, struct adapter_stream *stream, int64_t lun);
void registered(struct world *w, struct adapter_stream *stream, const char *id);

/* A record of the log, with the next sequence; bits as the registry has them. Then adapter_delivered. */
struct record {
    uint32_t code;
    uint32_t scope;      /* 0 = of the code */
    const char *host;    /* NULL = "h" */
    const char *adapter; /* NULL = "a" */
    int32_t bus, target; /* target 0 = 1 */
    int64_t lun;
    int bits; /* -1 = of the code; 0 is 0 */
    const char *session_id;
    uint64_t session_generation;
    uint32_t source;
    const char *target_name;
    uint32_t loss_bits;
};
bool record_comes(struct world *w, const struct record *record);
/* LUN_RESET of one unit. */
void unit_reset(struct world *w, int64_t lun);

void tick_to(struct world *w, uint64_t now_ns);
/* The mutant that the environment chose: SENSEBUS_MUTANT. */
extern int sensebus_mutation;
