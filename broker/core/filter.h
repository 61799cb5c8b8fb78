/* SPDX-License-Identifier: Apache-2.0 */
/* Does an event match a subscription's filter? Lists are ORed inside, ANDed across; `exclude` takes away. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/event_view.h"

struct filter;
struct Sensebus__V1__Filter;

/* Compile and check a filter; NULL `message` matches everything. Bounds: 1,024 entries a list and 16,384 in all, 64
 * excludes, patterns of 256 bytes, of those with wildcards 4,096 bytes in all. An empty exclude, which would take away
 * everything, is refused. A filter that nothing can match is not: it matches nothing. Returns 0; UV_EINVAL with `err`
 * naming the member; UV_ENOMEM. */
int filter_new(const struct Sensebus__V1__Filter *message, struct filter **out_filter, char *err, size_t err_len);
void filter_free(struct filter *f);
/* Whatever the event's numbers and times (known_events.h): who wants a remembered event is looked up once. */
bool filter_matches(const struct filter *f, const struct event_view *event);
/* True when the filter matches every event: the hub then sends log records without looking at them. */
bool filter_matches_all(const struct filter *f);
/* Equal filters have equal keys (borrowed, terminated): distinct filters are evaluated once. */
const char *filter_key(const struct filter *f);

/* ---- What an index finds filters by: members that say what an event must be by whole values. */

/* The most telling first. Severity, modes, AIX bits and prefixes are not among them: they list no values. */
enum filter_field {
    FILTER_DESIGNATOR,
    FILTER_TARGET_NAME,
    /* Of an address: each pattern has its own. */
    FILTER_TARGET,
    FILTER_LUN,
    FILTER_ADAPTER,
    FILTER_BUS,
    FILTER_CONTROLLER,
    FILTER_HOST,
    FILTER_CODE,
    FILTER_DEVICE_TYPE,
    FILTER_CATEGORY,
    FILTER_N_FIELDS,
};
#define FILTER_FIELD(field) (1u << (field)) /* in a set of them */
#define FILTER_ADDRESS_FIELDS                                                                                          \
    (FILTER_FIELD(FILTER_TARGET) | FILTER_FIELD(FILTER_LUN) | FILTER_FIELD(FILTER_ADAPTER) |                           \
     FILTER_FIELD(FILTER_BUS) | FILTER_FIELD(FILTER_CONTROLLER))
#define FILTER_NAME_FIELDS                                                                                             \
    (FILTER_FIELD(FILTER_DESIGNATOR) | FILTER_FIELD(FILTER_TARGET_NAME) | FILTER_FIELD(FILTER_ADAPTER) |               \
     FILTER_FIELD(FILTER_HOST)) /* whose values are hashes */

/* How many values does the filter list in `field`, which is none of an address? An event that matches has one of them.
 * 0: any value may match. */
size_t filter_n_values(const struct filter *f, enum filter_field field);
/* How many address patterns are there, if each names at least one value? An event that matches has all values of one of
 * them. 0: any address may match. */
size_t filter_n_addresses(const struct filter *f);
/* What address pattern `i` names: at least one. */
unsigned filter_address_fields(const struct filter *f, size_t i);

/* Value `i` of a field, of an address pattern `i`; and an event's own. As a number, for a name its
 * table_hash: different names may be the same number, so rarely that it only costs time, whatever hostile peers choose,
 * when `seed` is random. */
uint64_t filter_value(const struct filter *f, enum filter_field field, size_t i, const uint64_t seed[2]);
uint64_t filter_value_of_event(const struct event_view *event, enum filter_field field, const uint64_t seed[2]);
