/* SPDX-License-Identifier: Apache-2.0 */
/* Retries of one command become one record with their count, and a unit that is not ready says so once.
 *
 * A record that may come again is held until it has not for TRACE_FOLD_QUIET_NS, until the midlayer has no retry left,
 * or for TRACE_FOLD_LONGEST_NS. Records of which each one counts (unit attentions, states of devices) are never held.
 * Invariant: what was taken leaves in exactly one record; the sum of the counts is the number of records taken, but for
 * those that only repeat "not ready". When TRACE_FOLD_MAX are held the oldest leaves early.
 * Pure: times are arguments, of the records' own clock. */
#pragma once

#include "agent/source/trace/decode.h"

#define TRACE_FOLD_MAX        64
#define TRACE_FOLD_QUIET_NS   300000000ull
#define TRACE_FOLD_LONGEST_NS 2000000000ull
#define TRACE_STATE_HOLD_NS   60000000000ull /* a unit that was not asked for so long is news again */

struct trace_folded {
    struct trace_record record; /* the first */
    struct trace_judgement judgement;
    uint32_t count; /* 0: free */
    uint64_t last_ns;
};

/* A unit that says "not ready". */
struct trace_not_ready {
    struct observation_place place;
    struct trace_nexus nexus;
    uint8_t asc, ascq;
    uint64_t last_ns; /* 0: free */
};

struct trace_fold {
    struct trace_folded held[TRACE_FOLD_MAX];
    struct trace_not_ready states[TRACE_FOLD_MAX];
    uint64_t n_repeated; /* "not ready" that was told before */
};

/* Valid until it returns. */
typedef void (*trace_fold_cb)(void *data, const struct trace_record *record, const struct trace_judgement *judgement,
                              uint32_t count);

/* Take one record that is no noise; `cb` runs for all that leaves. */
void trace_fold_add(struct trace_fold *f, const struct trace_record *record, const struct trace_judgement *judgement,
                    trace_fold_cb cb, void *data);
/* What is due at `now_ns` leaves, in the order in which it began; UINT64_MAX: all. */
void trace_fold_flush(struct trace_fold *f, uint64_t now_ns, trace_fold_cb cb, void *data);
/* When something is due; UINT64_MAX: nothing is held. */
uint64_t trace_fold_due(const struct trace_fold *f);
