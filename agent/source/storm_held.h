/* SPDX-License-Identifier: Apache-2.0 */
/* Equal conditions that are held: one record that stands for all of them.
 *
 * It is the first one, with count, last time and the bits of all. Evidence is what the first had, and the native record
 * of each later one whose sense data (without sense: name, code, subcode) nobody has said before, as far as there is
 * room: RECORD_MAX_EVIDENCE records, STORM_HELD_BYTES. What was said before is counted in `count`; what is not kept
 * though it is new is counted, too, and the detail says so. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "agent/identify.h"
#include "agent/record.h"

#define STORM_HELD_BYTES   ((size_t)16384)
#define STORM_HELD_NAMES   8
#define STORM_DETAIL_BYTES 512

struct storm_copy; /* bytes that the record points to */

struct storm_held {
    struct record record; /* valid after storm_held_finish */
    struct record_native evidence[RECORD_MAX_EVIDENCE];
    struct record_kernel kernel;
    struct record_gap gap;
    const char *names[STORM_HELD_NAMES];
    struct identity identity;
    struct storm_copy *copies;
    size_t bytes;   /* of all of it */
    uint64_t count; /* conditions */
    size_t n_equal; /* native records that said nothing new */
    size_t n_more;  /* that did, and were not kept */
    char detail[STORM_DETAIL_BYTES];
    struct storm_held *next; /* the owner's */
};

/* Everything is copied. NULL when there is no memory. */
struct storm_held *storm_held_new(const struct record *first);
/* NULL is fine. */
void storm_held_free(struct storm_held *h);
/* One more of them. Cannot fail: what there is no memory for is counted as not kept. */
void storm_held_add(struct storm_held *h, const struct record *r);
/* Nothing is added any more: make the record whole. */
void storm_held_finish(struct storm_held *h);
