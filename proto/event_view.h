/* SPDX-License-Identifier: Apache-2.0 */
/* Encoded events, validated and read in place: no allocation, no copy, one pass.
 *
 * protobuf-c has no limits of its own and checks no UTF-8 (one bad string would break every stock subscriber), so every
 * event that enters the broker or a client goes through event_scan first. Everything here is pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

/* What the rules need of an event. Texts point into the scanned bytes. */
struct event_view {
    const uint8_t *bytes; /* the Event message itself */
    size_t len;
    uint64_t sequence, broker_time_ns; /* 0 when not set */
    uint32_t code, severity, scope, mode, source, aix_bits;
    uint64_t agent_epoch, source_sequence, wall_time_ns, count;
    struct text host, boot_id, session_id, summary;
    struct address_view address;
    struct device_view device;
    struct loss_view loss;
    bool has_sense;
    uint32_t sense_key, asc, ascq;
};

struct event_limits {
    size_t max_event_bytes; /* 0 = 65,536 */
    bool allow_broker_fields; /* false for what agents send: fields 1..3 are the broker's */
};

/* Check `bytes` as one Event: tags and wire types of known fields, lengths, nesting (at most 4), UTF-8 of strings,
 * repeated counts (at most 64 each), enum ranges of severity, scope, mode, source, stage; a code number unknown to this build passes,
 * 0 does not. Returns 0, or UV_EINVAL with `err` naming field and fault ("origin.host: not UTF-8"). */
int event_scan(const uint8_t *bytes, size_t len, const struct event_limits *limits, struct event_view *out_view,
               char *err, size_t err_len);

/* Walk the records of a Publish or EventBatch ("12 <varint length> <Event>" one after the other).
 * True: *out_event is the next event's bytes. False: at the end (*cursor == end) or malformed (*cursor < end). */
bool records_next(const uint8_t **cursor, const uint8_t *end, const uint8_t **out_event, size_t *out_len);

/* Bytes that record_write needs for an event of `event_len` bytes. */
size_t record_size(size_t event_len);
/* Write the log record of an event: prefix, the event's bytes, and the broker's fields (sequence, broker time) behind
 * them. Returns the bytes written, record_size(len). */
size_t record_write(uint8_t *out, const uint8_t *event, size_t len, uint64_t sequence, uint64_t broker_time_ns);

/* Protobuf varints. varint_read returns the position behind it, or NULL when cut or longer than 64 bits. */
size_t varint_write(uint8_t *out, uint64_t value);
size_t varint_size(uint64_t value);
const uint8_t *varint_read(const uint8_t *p, const uint8_t *end, uint64_t *out_value);

bool utf8_valid(const uint8_t *bytes, size_t len);

/* Unknown fields and enum values of a request, looked for through all its sub-messages. `message` is a protobuf-c
 * message (struct ProtobufCMessage). Returns 0, or UV_EINVAL with `err` naming the first one ("SubscribeRequest.filter:
 * unknown field 17", "SubscribeRequest.slow_reader_policy: unknown value 9"). */
struct ProtobufCMessage;
int request_check_known(const struct ProtobufCMessage *message, char *err, size_t err_len);

/* protobuf-c unpack whose memory is bounded: at most `max_bytes` for everything (0 = 16 * len + 64 KiB) and at most 16
 * levels deep. NULL when malformed, too large or too deep. Free with message_free. */
struct ProtobufCMessageDescriptor;
struct ProtobufCMessage *message_unpack(const struct ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes,
                                        size_t len, size_t max_bytes);
void message_free(struct ProtobufCMessage *message);
