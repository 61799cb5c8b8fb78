/* SPDX-License-Identifier: Apache-2.0 */
/* Does an event match a subscription's filter? Lists are ORed inside, ANDed across; `exclude` takes away. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/event_view.h"

struct filter;
struct Sensebus__V1__Filter;

/* Compile and check a filter; NULL `message` matches everything. Bounds: 1,024 entries a list, 64 excludes, patterns of
 * 256 bytes, of those with wildcards 4,096 bytes a list. An empty exclude, which would take away everything, is
 * refused. Returns 0; UV_EINVAL with `err` naming the member; UV_ENOMEM. */
int filter_new(const struct Sensebus__V1__Filter *message, struct filter **out_filter, char *err, size_t err_len);
void filter_free(struct filter *f);
bool filter_matches(const struct filter *f, const struct event_view *event);
/* True when the filter matches every event: the hub then sends log records without looking at them. */
bool filter_matches_all(const struct filter *f);
/* Equal filters have equal keys (borrowed, terminated): distinct filters are evaluated once. */
const char *filter_key(const struct filter *f);

/* Members that say what an event must be by listing whole values: what an index looks filters up by. */
enum filter_field {
    FILTER_DESIGNATOR,
    FILTER_TARGET_NAME,
    FILTER_UNIT, /* adapter, target and one LUN */
    FILTER_ADAPTER,
    FILTER_HOST,
    FILTER_CODE,
    FILTER_CATEGORY,
    FILTER_N_FIELDS,
};
/* Room for any value, in a form that only serves to compare. */
#define FILTER_EXACT_BYTES 272
/* How many values does the filter list in `field`? An event that matches has one of them. 0: any value may match. */
size_t filter_n_exact(const struct filter *f, enum filter_field field);
/* Write value `i`; returns its length, which may be 0. */
size_t filter_exact(const struct filter *f, enum filter_field field, size_t i, uint8_t out[FILTER_EXACT_BYTES]);
/* The event's own value, to be compared with those; false when it is longer than any of them. */
bool filter_exact_of_event(const struct event_view *event, enum filter_field field, uint8_t out[FILTER_EXACT_BYTES],
                           size_t *out_len);
