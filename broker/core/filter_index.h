/* SPDX-License-Identifier: Apache-2.0 */
/* Which of many filters match an event? Found by looking up what the event says, not by asking every filter.
 *
 * Each filter stands under the values of one of its exact members (filter_n_exact), of those that it has the one whose
 * values fewest others stand under. An event finds the filters that stand under its own values, and only they are
 * evaluated, with those that have no exact member. Invariant: what is found is what evaluating every filter finds, each
 * once. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "broker/core/filter.h"
#include "runtime/table.h"

struct filter_entry;

struct filter_index {
    struct table by_value[FILTER_N_FIELDS];
    LIST_HEAD(filter_entries, filter_entry) others; /* without an exact member */
    size_t n;
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
size_t filter_index_find(const struct filter_index *ix, const struct event_view *event,
                         void (*found)(void *data, void *owner), void *data);
