/* SPDX-License-Identifier: Apache-2.0 */
/* Distinct filters, each evaluated once for a run of records, whatever the number of subscriptions that use it.
 *
 * Subscriptions that keep up look at the same runs one after another; the last result is kept between them until
 * matcher_forget. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "runtime/chunk.h"

struct filter;
struct journal_run;

#define MATCHER_MAX_BYTES                                                                                              \
    ((size_t)64 * 1024 * 1024) /* of the keys of distinct filters; the filters take as much again */

struct matcher_class {
    LIST_ENTRY(matcher_class) entry;
    struct matcher *matcher;
    struct filter *filter;
    size_t key_bytes;
    unsigned n_users;
    /* The last result. */
    uint64_t first, last;  /* of the run; first 0 = none */
    struct chunk *matched; /* NULL when nothing matched */
    uint64_t n_matched;
};

struct matcher {
    LIST_HEAD(matcher_classes, matcher_class) classes;
    size_t key_bytes; /* of all */
};

/* The class of a filter, which is taken over in any case. Returns 0, UV_ENOBUFS (MATCHER_MAX_BYTES) or UV_ENOMEM. */
int matcher_join(struct matcher *m, struct filter *filter, struct matcher_class **out_class);
void matcher_leave(struct matcher_class *c);

/* The records of `run` that match, as on the wire. *out_records holds its own reference (chunk_unref); it is empty when
 * nothing matched. When the filter matches all, it is the run itself. Returns 0 or UV_ENOMEM. */
int matcher_run(struct matcher_class *c, const struct journal_run *run, struct slice *out_records,
                uint64_t *out_n_matched);
/* How many of the records match, and the OR of their AIX bits. */
void matcher_count(const struct matcher_class *c, const struct journal_run *run, uint64_t *out_n, uint32_t *out_bits);
/* The sequence of the `n`th (from 0) record that matches; 0 when there are fewer. */
uint64_t matcher_nth(const struct matcher_class *c, const struct journal_run *run, uint64_t n);
/* Drop the results kept. */
void matcher_forget(struct matcher *m);
