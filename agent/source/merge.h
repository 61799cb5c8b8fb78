/* SPDX-License-Identifier: Apache-2.0 */
/* One condition that several hooks of this host saw becomes one event, with every native record of it as evidence.
 *
 * An observation opens an event, or joins one that is open: of the same place, by a rule of merge_rules.h that knows
 * both as one condition, within the window. The most exact hook leads: its code and native record are the event's. An
 * event is finished when every armed source that its rule waits for has spoken, or when its window ends.
 *
 * Invariants: what differs in place, or in target name, portal or object where both tell it, never meets; nor does what
 * this host as a target says (source TARGET) with what it sees as an initiator, in order or in one event. Every
 * observation that was taken leaves in exactly one finished event. Events of one place (or of one inside another) leave
 * in the order in which they began. At most max_open events and MERGE_MAX_BYTES of copies are open: when that is full
 * the oldest is finished early. Pure: times are arguments, in ns of one clock that never goes back (CLOCK_BOOTTIME);
 * windows count the moments at which the agent read the observations, not the hooks' own times.
 *
 * A poll finds later what a hook told at once: when the newest state told of the place is what it found, that confirms
 * the event, and is none. At most MERGE_MAX_TOLD states are remembered: when full the oldest is forgotten, and a poll
 * may tell it again. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/source/observation.h"

struct merge;

#define MERGE_WINDOW_MS       1000
#define MERGE_CONFIRMATION_MS 15000
#define MERGE_MAX_OPEN        1024
#define MERGE_MAX_TOLD        1024
#define MERGE_MAX_BYTES       ((size_t)2 << 20)
#define MERGE_DETAIL_BYTES    512

struct merge_options { /* 0 = the default */
    uint32_t window_ms;
    uint32_t confirmation_ms; /* for so long a poll only confirms what was told: more than the longest poll interval */
    size_t max_open;
};

enum merge_kind {
    MERGE_EVENT,        /* tell it */
    MERGE_CONFIRMATION, /* a poll found what was told already: count it, tell nothing */
    MERGE_EVIDENCE,     /* no event by itself, and none to belong to was found: count it, tell nothing */
};

/* A finished event. The caller frees it; all pointers are into it. */
struct merged {
    enum merge_kind kind;
    const char *rule;        /* name of the rule that held, "" for what no rule knows */
    struct observation lead; /* what the leading hook saw, completed by the others where it is silent (sense, names).
                                Times are the earliest of all; native.detail says what else is known of the event;
                                native.raw has at most RECORD_MAX_RAW bytes, native.raw_len tells the full length */
    struct record_native evidence[RECORD_MAX_EVIDENCE]; /* the others, in the order seen */
    size_t n_evidence;
    size_t n_more; /* further ones of the same condition that did not fit; the detail says so, too */
    bool early;    /* finished before its time: too much was open */
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
/* The next finished event, or NULL. Free it with merged_free. */
struct merged *merge_next(struct merge *m, uint64_t now_ns);
void merged_free(struct merged *e);
/* When merge_next has something, if nothing happens before; 0 = now, UINT64_MAX = never. */
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
