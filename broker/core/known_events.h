/* SPDX-License-Identifier: Apache-2.0 */
/* Events that say what one before them said are not scanned again.
 *
 * A storm says the same of the same devices, again and again. What event_scan and device_key_of_event make of an event
 * follows from its bytes alone, and any value is valid for its numbers and times: source sequence, count, wall and
 * monotonic time, first and last time. So an event that equals a scanned one in every other byte, with these members in
 * the same places and as long, has the same results but for them.
 *
 * Invariant: what known_events_find gives is what event_scan, with limits for what agents send, and device_key_of_event
 * would give. Bounded: KNOWN_EVENTS of at most KNOWN_EVENT_BYTES; the youngest takes the place of an older one. An
 * event that is not known costs a hash more than without this; to remember one costs two scans, so that is done once in
 * eight times where nothing repeats, and more often the more was known. Beyond some 1,500 that take turns it no longer
 * pays. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/event_view.h"

#define KNOWN_EVENTS          1792u
#define KNOWN_EVENT_BYTES     512u
#define KNOWN_EVENT_KEY_BYTES 192u /* of the device's key; an event with a longer one is not remembered */

/* Which of the remembered events it is; no other has it ever. 0: none. Who keeps something of his own for remembered
 * events has room for KNOWN_EVENTS, one at each place. */
typedef uint64_t known_id;
static inline size_t known_place(known_id id)
{
    return id % KNOWN_EVENTS;
}

struct known_bucket;
struct known_event;
struct known_shape;

/* Zeroed is valid and knows nothing. */
struct known_events {
    struct known_event *events; /* all three NULL until the first is remembered */
    struct known_bucket *buckets;
    struct known_shape *shapes; /* where the numbers and times lie, by the event's length */
    uint32_t next_shape;
    uint32_t credit; /* an event not known earns one, a known one two; to remember one takes eight */
    uint64_t n_kept;
};

/* Borrowed until the next call. */
struct known_event_match {
    const struct event_view *view; /* its texts point into the event looked up */
    const char *key;               /* of its device, not terminated */
    size_t key_len;
    known_id id;
};

void known_events_deinit(struct known_events *k);
/* Accepts any bytes. False: nobody knows, scan them. */
bool known_events_find(struct known_events *k, const uint8_t *event, size_t len, struct known_event_match *out_match);
/* Remember an event that was scanned. May do nothing: without memory, for long events, while there is no credit. */
void known_events_keep(struct known_events *k, const struct event_view *event);
