/* SPDX-License-Identifier: Apache-2.0 */
/* What the broker forwards for subscribers of the Adapter face: begun in the order it arrives, each answered once.
 *
 * The broker has checked the rules; here it is done, or said why it cannot be. Sessions belong to the stream to the
 * broker: when that ends, all are closed and nothing is answered any more.
 *
 * Bounds: OPERATIONS_MAX in flight, DEVICE_SESSIONS_MAX sessions, and those of ask.h at the targets; what is above is
 * refused with ENOMEM RESOURCE_EXHAUSTED, in words. Each has the deadline that the broker gave it. A reset
 * that is done after its deadline still becomes an event. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "agent/adapters.h"
#include "agent/device_session.h"
#include "sensebus/v1/agents.pb-c.h"

#define OPERATIONS_MAX 1024

struct operation;
struct record;

struct operations_ops {
    /* Hand the answer to the broker. What cannot be sent ends the stream, which ends all sessions. */
    void (*on_result)(void *data, const Sensebus__V1__OperationResult *result);
    /* Source sequences: of the newest event that was reported, and of the newest that is held in the spool. */
    uint64_t (*reported)(void *data);
    uint64_t (*held)(void *data);
    /* A reset of a device of the kernel is an event. */
    void (*on_record)(void *data, const struct record *record);
};

struct operations_options {
    const char *host;
    const struct adapters *adapters; /* borrowed, as host is */
    struct targets *targets;         /* borrowed; watches report the events of resets */
};

struct operations {
    struct operations_options options;
    const struct operations_ops *ops;
    void *data;
    uv_timer_t timer; /* the next deadline */
    struct device_sessions sessions;
    struct operation *first;
    unsigned n; /* not answered yet */
};

void operations_init(struct operations *o, uv_loop_t *loop, const struct operations_options *options,
                     const struct operations_ops *ops, void *data);
/* Begin one. Answers, if any, may come before this returns. */
void operations_begin(struct operations *o, const Sensebus__V1__Operation *message);
/* More events are held. */
void operations_held(struct operations *o);
/* The stream that the sessions belong to is over. */
void operations_stream_ended(struct operations *o);
/* As if the stream ended, for ever; the memory of `o` must stay until the loop has closed the timer. Only when all
 * targets and the kernel's devices are stopped: an operation that one of them still owes an answer waits for that. */
void operations_close(struct operations *o);
