/* SPDX-License-Identifier: Apache-2.0 */
/* Which of many filters match an event? Found by looking up what the event says, not by asking every filter.
 *
 * Each filter stands under combinations of values of its members (enum filter_field), such that an event which matches
 * has one of them: under each host of its list together with each code, under all that an address pattern names.
 * Filters whose combinations are of the same members share a table, a shape; an event looks itself up once in each
 * shape, and only what stands under its own values is evaluated, with those that list no values at all.
 *
 * A filter's lists are combined while that takes no more places than its longest list has entries, or 16. Where that is
 * not all of its lists it stands where fewest others do, and as this changes it moves: each change of the index lets
 * two such filters choose again, in turn. There are at most FILTER_INDEX_SHAPES shapes of several members; a filter
 * that would need one more stands under one member alone until there is room. So an event costs a bounded number of
 * lookups and as many evaluations as filters agree with it in what they stand under.
 *
 * Invariant: what is found is what evaluating every filter finds, each once. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "broker/core/filter.h"

#define FILTER_INDEX_SHAPES 64u

struct filter_entry;
struct filter_shape;

struct filter_index {
    TAILQ_HEAD(, filter_shape) shapes;
    unsigned n_shapes, fields;                 /* that some shape has */
    TAILQ_HEAD(, filter_entry) others, choosy; /* without a value; that may stand elsewhere too, next first */
    size_t n;
    uint64_t n_finds, n_standings; /* so far */
    uint64_t seed[2];
};

/* `seed`: any random number. */
void filter_index_init(struct filter_index *ix, uint64_t seed);
/* Every entry was removed before. */
void filter_index_deinit(struct filter_index *ix);

/* Filter and owner are borrowed until the entry is removed. Returns 0 or UV_ENOMEM (nothing was added). */
int filter_index_add(struct filter_index *ix, const struct filter *filter, void *owner,
                     struct filter_entry **out_entry);
void filter_index_remove(struct filter_index *ix, struct filter_entry *entry);

/* Calls `found` for the owner of each filter that matches, in no order; `found` must not add or remove. Returns how
 * many filters were evaluated. */
size_t filter_index_find(struct filter_index *ix, const struct event_view *event,
                         void (*found)(void *data, void *owner), void *data);
