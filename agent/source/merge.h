/* SPDX-License-Identifier: Apache-2.0 */
/* One condition that several hooks of this host saw becomes one event, with every native record of it as evidence.
 *
 * An observation opens an event, or joins one that is open: of the same place, by a rule of merge_rules.h that knows
 * both as one condition, within the window. The most exact hook leads: its code, place and native record are the
 * event's. An event is finished when every armed source that its rule waits for has spoken, or when its window ends.
 *
 * Invariants: what differs in place, in target name or in portal never meets. Every observation that was taken leaves
 * in exactly one finished event. At most `max_open` events and MERGE_MAX_BYTES of copies are open: when that is full
 * the oldest is finished early. What a poll finds out after the event was told confirms it, and is no event.
 * Pure: times are arguments, in ns of one clock that never goes back (CLOCK_BOOTTIME). Windows count the moments at
 * which the agent read the observations, not the hooks' own times. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/source/observation.h"

struct merge;

#define MERGE_WINDOW_MS       1000
#define MERGE_CONFIRMATION_MS 15000
#define MERGE_MAX_OPEN        256
#define MERGE_MAX_BYTES       (2 << 20)
#define MERGE_DETAIL_BYTES    512

struct merge_options {
    uint32_t window_ms;       /* 0 = MERGE_WINDOW_MS */
    uint32_t confirmation_ms; /* for so long a poll only confirms what was told; more than the longest poll interval;
                                 0 = MERGE_CONFIRMATION_MS */
    size_t max_open;          /* 0 = MERGE_MAX_OPEN */
};

enum merge_kind {
    MERGE_EVENT,        /* tell it */
    MERGE_CONFIRMATION, /* a poll found what was told already: count it, tell nothing */
    MERGE_EVIDENCE,     /* observations without a code that found no event to belong to: count them, tell nothing */
};

/* A finished event. The caller frees it; all pointers are into it. */
struct merged {
    enum merge_kind kind;
    const char *rule;        /* name of the rule that held, "" for what no rule knows */
    struct observation lead; /* code, source, place, native, sense, names: what the leading hook saw, completed by the
                                others where it is silent. Times are those of the earliest observation, native.detail
                                says what else is known of the event. native.raw has at most RECORD_MAX_RAW bytes */
    struct record_native evidence[RECORD_MAX_EVIDENCE]; /* the others, in the order seen */
    size_t n_evidence;
    size_t n_observations; /* 1 + n_evidence + n_more */
    size_t n_more;         /* further ones of the same condition that did not fit; the detail says so, too */
    bool early;            /* finished before its time: too much was open */
};

/* NULL when there is no memory. */
struct merge *merge_new(const struct merge_options *options);
/* What is open is forgotten: call merge_finish and drain first. NULL is fine. */
void merge_free(struct merge *m);

/* Events wait for armed sources only; none is armed at first. Events that wait for nobody any more are finished at
 * once. */
void merge_set_armed(struct merge *m, uint32_t source, bool armed);

/* Take one observation; everything in it is copied. Returns 0, or UV_ENOMEM: then it was not taken, and the caller has
 * to tell it by itself or as lost. Drain with merge_next after each. */
int merge_push(struct merge *m, const struct observation *o, uint64_t now_ns);
/* The next finished event, in the order in which they began, or NULL. Free it with merged_free. */
struct merged *merge_next(struct merge *m, uint64_t now_ns);
void merged_free(struct merged *e);
/* When merge_next has something next, if nothing happens before; UINT64_MAX = never. Not after now when it has now. */
uint64_t merge_deadline(const struct merge *m);
/* Everything that is open is finished: for the end. */
void merge_finish(struct merge *m);

struct merge_counts {
    uint64_t observations, events, confirmations, evidence_only, early;
    size_t open, open_bytes;
};
struct merge_counts merge_count(const struct merge *m);

/* The record of it, borrowing from `e`. Its place has what the observations say (numbers, target name, portal): the
 * identity is the caller's to add. */
void merged_record(const struct merged *e, struct record *out);
