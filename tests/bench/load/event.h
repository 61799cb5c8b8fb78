/* SPDX-License-Identifier: Apache-2.0 */
/* The payload of every benchmark: one encoded Event of exactly EVENT_BYTES, as an agent would send it.
 *
 * Its first field is a time, so that a reader that decodes nothing finds it: EVENT_TIME_AT is the place of its eight
 * bytes, least significant first. */
#pragma once

#include <stdint.h>

#define EVENT_BYTES   150u
#define EVENT_TIME_AT 1u

/* sensebus record: tag, length, the event, and what the broker adds behind it (sequence and time). */
#define RECORD_EVENT_BYTES (EVENT_BYTES + 18u)
#define RECORD_BYTES       (3u + RECORD_EVENT_BYTES)

struct event_source {
    char host[16];  /* of the agent */
    uint64_t epoch; /* of its spool */
    unsigned n_keys;
};

/* Write event number `sequence` (from 1). Its key, sequence % n_keys, is its SCSI target and is in its designator. */
void event_write(uint8_t out[EVENT_BYTES], const struct event_source *source, uint64_t sequence, uint64_t time_ns);
/* "naa.600140500000002a": the designator of a key. */
#define DESIGNATOR_BYTES 20u
void event_designator(char out[DESIGNATOR_BYTES + 1], unsigned key);
uint64_t event_time(const uint8_t *event);
