/* SPDX-License-Identifier: Apache-2.0 */
/* Distinct filters, each evaluated once for a record, whatever the number of subscriptions that use it.
 *
 * The matcher finds the filters that match a record by looking up what the record says (core/filter_index.h): when it
 * is accepted and scanned anyway (matcher_note), or else when it is committed. New records are shown to the matcher as
 * they are committed (matcher_look). It remembers the hits: subscriptions that keep up take theirs (matcher_take), and
 * those whose filter was not hit are not touched. Who is further behind reads the log and has its filter evaluated
 * (matcher_run). What is remembered is bounded, shared, and dropped by matcher_forget.
 *
 * A note holds only as long as the filters are the same: whenever one comes or goes, all notes are dropped, and the
 * records are looked at when they are committed. So does what is kept of remembered events (core/known_events.h), of
 * which it is looked up once who wants them, if that is one class at most. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "broker/core/filter_index.h"
#include "broker/core/known_events.h"
#include "runtime/chunk.h"
#include "runtime/table.h"

struct journal_run;
struct subscription;

#define MATCHER_MAX_BYTES                                                                                              \
    ((size_t)64 * 1024 * 1024) /* of the keys of distinct filters; the filters take as much again */

/* Remembered at most: then the older half is forgotten. */
#define MATCHER_MAX_HITS  (1024u * 1024)
#define MATCHER_MAX_RUNS  64u
#define MATCHER_MAX_NOTED 65536u /* hits of records that are not committed */

struct matcher_class {
    LIST_ENTRY(matcher_class) unlimited, holding;
    struct matcher *matcher;
    struct filter *filter;
    struct filter_entry *entry; /* NULL: the filter matches all */
    size_t key_bytes;
    unsigned n_users;
    LIST_HEAD(matcher_idle, subscription) idle; /* users that wait for a match; theirs */
    bool is_holding;                            /* any of what follows */
    /* Of the hits remembered, oldest first: index + 1, 0 = none. */
    uint32_t first_hit, last_hit;
    uint64_t since; /* records before were not looked at for this class */
    /* Where the last matcher_take ended: no hit before `resume_hit` is at or behind `resume_at`. */
    uint32_t resume_hit;
    uint64_t resume_at;
    /* The last result: the matches of the records first..last. */
    uint64_t first, last;  /* first 0 = none */
    struct chunk *matched; /* NULL when nothing matched */
    uint64_t n_matched;
};

/* A record that matches. */
struct matcher_hit {
    const uint8_t *bytes;
    uint64_t sequence;
    uint32_t len;
    uint32_t next; /* the class's next hit: index + 1, 0 = none */
};

/* What holds their bytes. */
struct matcher_held {
    struct chunk *chunk;
    uint64_t last;  /* record of it */
    size_t hits_to; /* its hits lie before this one */
};

struct matcher_noted {
    uint64_t sequence;
    struct matcher_class *class;
};

/* Who wants a remembered event: that follows from what it says, without its numbers and times. */
struct matcher_known {
    known_id id;
    uint64_t version;            /* of the filters it holds for */
    struct matcher_class *class; /* NULL: nobody */
};

struct matcher {
    struct table by_key;
    struct filter_index index;
    LIST_HEAD(matcher_classes, matcher_class) unlimited, holding; /* that match all; that hold results */
    size_t key_bytes;                                             /* of all */
    uint64_t through;                                             /* all records up to here were shown */
    /* The newest of them, remembered: seen_first..through; seen_first 0 = none. */
    uint64_t seen_first;
    struct matcher_hit *hits;
    size_t n_hits, hits_cap, n_runs;
    struct matcher_held runs[MATCHER_MAX_RUNS];
    /* Accepted records noted_first..noted_last were looked at; none when noted_first is larger. Their hits lie at
     * noted[noted_head..noted_tail), in the order of the records. */
    uint64_t noted_first, noted_last;
    struct matcher_noted *noted;
    size_t noted_head, noted_tail, noted_cap;
    uint64_t version;            /* of the filters: counts their changes */
    struct matcher_known *known; /* by known_place; NULL until the first is noted */
};

/* `through`: the newest record there is. `seed`: any random number. */
void matcher_init(struct matcher *m, uint64_t through, uint64_t seed);
/* Every class was left before. */
void matcher_deinit(struct matcher *m);

/* The class of a filter, which is taken over in any case. Returns 0, UV_ENOBUFS (MATCHER_MAX_BYTES) or UV_ENOMEM. */
int matcher_join(struct matcher *m, struct filter *filter, struct matcher_class **out_class);
void matcher_leave(struct matcher_class *c);

/* A record was accepted, will be committed with this sequence, and nothing else will be. `id`: which of the remembered
 * events it is, or 0. May do nothing: without memory, with too many. */
void matcher_note(struct matcher *m, const struct event_view *event, known_id id, uint64_t sequence);

/* Look at the next records: run->first follows `through`. Calls `on_hit` once for each class that matches some and does
 * not match all. Returns 0, or UV_ENOMEM, UV_ENOBUFS (too many hits), UV_EINVAL (not the records they should be):
 * nothing is remembered then, and classes may have been hit without on_hit. */
int matcher_look(struct matcher *m, const struct journal_run *run,
                 void (*on_hit)(void *data, struct matcher_class *class), void *data);
/* Nobody needs to know of the records up to `through`. */
void matcher_pass(struct matcher *m, uint64_t through);

/* The matches of the records from..*out_last, as on the wire: *out_last is `through` or less, so that one match or
 * max_bytes are not exceeded. *out_records is empty when nothing matched; with an owner it holds a reference
 * (chunk_unref), without one it is borrowed until the next call. Returns 0, UV_ENOENT (`from` is not remembered) or
 * UV_ENOMEM. */
int matcher_take(struct matcher_class *c, uint64_t from, uint64_t through, size_t max_bytes, struct slice *out_records,
                 uint64_t *out_n, uint64_t *out_last);

/* The records of `run` that match, as on the wire. *out_records holds its own reference (chunk_unref); it is empty when
 * nothing matched. When the filter matches all, it is the run itself. Returns 0 or UV_ENOMEM. */
int matcher_run(struct matcher_class *c, const struct journal_run *run, struct slice *out_records,
                uint64_t *out_n_matched);
/* How many of the records match, and the OR of their AIX bits. */
void matcher_count(const struct matcher_class *c, const struct journal_run *run, uint64_t *out_n, uint32_t *out_bits);
/* The sequence of the `n`th (from 0) record that matches; 0 when there are fewer. */
uint64_t matcher_nth(const struct matcher_class *c, const struct journal_run *run, uint64_t n);
/* Drop what is remembered and the results kept. */
void matcher_forget(struct matcher *m);
