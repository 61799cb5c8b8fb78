/* SPDX-License-Identifier: Apache-2.0 */
/* Encoded events, validated and read in place: no allocation, no copy, one pass.
 *
 * protobuf-c has no limits of its own and checks no UTF-8 (one bad string would break every stock subscriber), so every
 * event that enters the broker or a client goes through event_scan first, or says what one before it said that did
 * (broker/core/known_events.h). Everything here is pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/message.h"
#include "proto/wire.h"

/* Borrowed text, not terminated. */
struct text {
    const char *ptr;
    size_t len;
};

struct address_view {
    struct text adapter;
    int32_t controller, bus, target;
    int64_t lun;
    uint64_t lun_raw;
    bool present;
};

struct device_view {
    struct text vendor, product, revision, serial, designator, target_name, portal;
    int32_t device_type; /* -1 when the event has no device */
    uint32_t transport;
    bool present;
};

struct loss_view {
    uint32_t stage, aix_bits;
    uint64_t count, first_source_sequence, last_source_sequence;
    struct text reason;
    bool at_least, present;
};

/* What the rules need of an event. Texts point into the scanned bytes (and are listed in broker/core/known_events.c).
 * Without an address its numbers are -1. */
struct event_view {
    const uint8_t *bytes; /* the Event message itself */
    size_t len;
    uint64_t sequence, broker_time_ns, session_generation; /* the broker's; 0 when not set */
    uint32_t code, severity, scope, mode, source, aix_bits;
    uint64_t agent_epoch, source_sequence, wall_time_ns, count;
    struct text host, boot_id, session_id, summary;
    struct address_view address;
    struct device_view device;
    struct loss_view loss;
    bool has_sense;
    uint32_t sense_key, asc, ascq;
};

#define AIX_ALL_BITS 0x0fu /* where it is not known which ones were lost: the OR of bits is never lost (rule 16) */

/* The AIX bits of an event, and of what it says was lost: that counts like what it reports (semantics.md rule 16). */
static inline uint32_t event_aix_bits(const struct event_view *event)
{
    return event->aix_bits | (event->loss.present ? event->loss.aix_bits : 0);
}

struct event_limits {
    size_t max_event_bytes;   /* 0 = 65,536; with broker fields, what the broker adds on top */
    bool allow_broker_fields; /* false for what agents send: fields 1..3 are the broker's */
};

/* Check `bytes` as one Event, so that every stock decoder takes it and reads the same as *out_view says:
 *   tags, wire types of known fields, lengths; no singular field twice (decoders would merge it)
 *   strings: UTF-8 without NUL; lengths as event.proto states them, host at most 253 bytes,
 *            adapter, designator and target name at most 1,024; repeated fields at most 64 times
 *   numbers: in the range of their type; severity, scope, mode, source and stage one of their enum; SCSI bytes and keys
 *   code: given; a number unknown to this build passes
 * Unknown fields pass and are not looked into. `limits` may be NULL.
 * Returns 0, or UV_EINVAL with `err` naming field and fault ("origin.host: not UTF-8"); *out_view is then undefined. */
int event_scan(const uint8_t *bytes, size_t len, const struct event_limits *limits, struct event_view *out_view,
               char *err, size_t err_len);

/* Walk the records of a Publish or EventBatch ("12 <varint length> <Event>" one after the other).
 * True: *out_event is the next event's bytes. False: at the end (*cursor == end) or malformed (*cursor < end). */
bool records_next(const uint8_t **cursor, const uint8_t *end, const uint8_t **out_event, size_t *out_len);

/* Where the records begin, the first at `base`: at most `max` of them, and what follows is not looked at. *out_len is
 * the bytes they take, less than `len` when there are more, or what follows is no record. Returns how many; the next of
 * out_starts may have been written to. */
size_t records_index(const uint8_t *records, size_t len, uint32_t base, uint32_t *out_starts, size_t max,
                     size_t *out_len);

/* Bytes that record_write needs for an event of `event_len` bytes. */
size_t record_size(size_t event_len);
/* Write the log record of an event: prefix, the event's bytes, and the broker's fields (sequence, broker time) behind
 * them. Returns the bytes written, record_size(len). */
size_t record_write(uint8_t *out, const uint8_t *event, size_t len, uint64_t sequence, uint64_t broker_time_ns);

/* Bytes that event_write_generation adds at most. */
#define EVENT_GENERATION_BYTES 11u
/* Write a scanned event with the broker's session_generation behind it: `out` has room for len +
 * EVENT_GENERATION_BYTES. Returns the bytes written. Before record_write, for what an agent tagged with a session. */
size_t event_write_generation(uint8_t *out, const uint8_t *event, size_t len, uint64_t generation);
