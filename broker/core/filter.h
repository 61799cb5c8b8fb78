/* SPDX-License-Identifier: Apache-2.0 */
/* Does an event match a subscription's filter? Lists are ORed inside, ANDed across; `exclude` takes away. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

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
