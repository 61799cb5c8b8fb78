/* SPDX-License-Identifier: Apache-2.0 */
/* One pass over the bytes, driven by tables that mirror event.proto: a line per field says its kind, its bound and
 * where its value goes in the view. A known sub-message is scanned by the same loop with its own table.
 *
 * Events come in masses, so a field as nearly all are has a short way, scan_quick: seen for the first time, in the wire
 * type of its kind, tag and length short, number in range, text of ASCII. Whatever is not like that, broken or not,
 * goes the long way, scan_field, which alone decides what is refused and why. Numbers that may be anything are listed
 * once more in broker/core/known_events.c. */
#include "proto/event_view.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "sensebus/v1/event.pb-c.h"

#define EVENT_BYTES_DEFAULT 65536
#define REPEATED_MAX        64
#define HOST_BYTES_MAX      253  /* as in Hello */
#define NAME_BYTES_MAX      1024 /* names that filters match: bounds the work of a match */
#define FIELDS_MAX          32   /* the seen-mask of a message is 32 bits */

#ifndef SCAN_QUICK
#define SCAN_QUICK 1 /* a test compares both ways */
#endif

#define RECORD_TAG         0x12 /* field 2 of EventBatch and Publish, length-delimited */
#define SEQUENCE_TAG       0x09 /* Event.sequence, fixed64 */
#define BROKER_TIME_TAG    0x11 /* Event.broker_time_unix_ns, fixed64 */
#define GENERATION_TAG     0x18 /* Event.session_generation, varint */
#define BROKER_FIELD_BYTES (2 * (1 + 8))

enum field_kind {
    FIELD_UNKNOWN = 0,
    FIELD_UINT32,
    FIELD_UINT64,
    FIELD_SINT32,
    FIELD_SINT64,
    FIELD_FIXED64,
    FIELD_BOOL,
    FIELD_ENUM,
    FIELD_STRING,
    FIELD_BYTES,
    FIELD_UINT32_LIST,
    FIELD_STRING_LIST,
    FIELD_MESSAGE,
    FIELD_MESSAGE_LIST,
};

struct field {
    uint8_t kind;
    bool brokers;  /* refused from agents */
    uint16_t keep; /* 1 + offset in struct event_view; 0 = checked only */
    uint32_t max;  /* largest number, or longest text or bytes; 0 = no bound of its own */
    const char *name;
    const struct message *message;
};

struct message {
    const char *name; /* "" for Event itself, else with the dot behind it */
    struct field fields[FIELDS_MAX];
};

#define KEEP(member) ((uint16_t)(1 + offsetof(struct event_view, member)))

static const struct message origin_message = {
    .name = "origin.",
    .fields = {
        [1] = {.kind = FIELD_STRING, .name = "host", .keep = KEEP(host), .max = HOST_BYTES_MAX},
        [2] = {.kind = FIELD_STRING, .name = "boot_id", .keep = KEEP(boot_id)},
        [3] = {.kind = FIELD_FIXED64, .name = "agent_epoch", .keep = KEEP(agent_epoch)},
        [4] = {.kind = FIELD_ENUM,
               .name = "source",
               .keep = KEEP(source),
               .max = SENSEBUS__V1__SOURCE__SOURCE_SUBSCRIBER},
        [5] = {.kind = FIELD_UINT64, .name = "source_sequence", .keep = KEEP(source_sequence)},
    }};

static const struct message address_message = {
    .name = "address.",
    .fields = {
        [1] = {.kind = FIELD_STRING, .name = "adapter", .keep = KEEP(address.adapter), .max = NAME_BYTES_MAX},
        [2] = {.kind = FIELD_SINT32, .name = "bus", .keep = KEEP(address.bus)},
        [3] = {.kind = FIELD_SINT32, .name = "target", .keep = KEEP(address.target)},
        [4] = {.kind = FIELD_SINT64, .name = "lun", .keep = KEEP(address.lun)},
        [5] = {.kind = FIELD_FIXED64, .name = "lun_raw", .keep = KEEP(address.lun_raw)},
        [6] = {.kind = FIELD_SINT32, .name = "controller", .keep = KEEP(address.controller)},
    }};

static const struct message device_message = {
    .name = "device.",
    .fields = {
        [1] = {.kind = FIELD_STRING, .name = "vendor", .keep = KEEP(device.vendor)},
        [2] = {.kind = FIELD_STRING, .name = "product", .keep = KEEP(device.product)},
        [3] = {.kind = FIELD_STRING, .name = "revision", .keep = KEEP(device.revision)},
        [4] = {.kind = FIELD_STRING, .name = "serial", .keep = KEEP(device.serial)},
        [5] = {.kind = FIELD_STRING, .name = "designator", .keep = KEEP(device.designator), .max = NAME_BYTES_MAX},
        [6] = {.kind = FIELD_SINT32, .name = "device_type", .keep = KEEP(device.device_type)},
        [7] = {.kind = FIELD_ENUM, .name = "transport", .keep = KEEP(device.transport), .max = INT32_MAX},
        [8] = {.kind = FIELD_STRING, .name = "target_name", .keep = KEEP(device.target_name), .max = NAME_BYTES_MAX},
        [9] = {.kind = FIELD_STRING, .name = "portal", .keep = KEEP(device.portal)},
        [10] = {.kind = FIELD_STRING_LIST, .name = "kernel_names"},
        [11] = {.kind = FIELD_BYTES, .name = "raw_inquiry", .max = 96},
    }};

static const struct message native_message = {.name = "native.",
                                              .fields = {
                                                  [1] = {.kind = FIELD_STRING, .name = "name"},
                                                  [2] = {.kind = FIELD_UINT32, .name = "code"},
                                                  [3] = {.kind = FIELD_UINT32, .name = "subcode"},
                                                  [4] = {.kind = FIELD_BYTES, .name = "raw", .max = 4096},
                                                  [5] = {.kind = FIELD_UINT32, .name = "raw_length"},
                                                  [6] = {.kind = FIELD_UINT32_LIST, .name = "parameters"},
                                                  [7] = {.kind = FIELD_STRING, .name = "detail"},
                                              }};

static const struct message sense_message = {
    .name = "sense.",
    .fields = {
        [1] = {.kind = FIELD_BYTES, .name = "raw", .max = 252},
        [2] = {.kind = FIELD_UINT32, .name = "response_code", .max = 0x7f},
        [3] = {.kind = FIELD_UINT32, .name = "key", .keep = KEEP(sense_key), .max = 0x0f},
        [4] = {.kind = FIELD_UINT32, .name = "asc", .keep = KEEP(asc), .max = 0xff},
        [5] = {.kind = FIELD_UINT32, .name = "ascq", .keep = KEEP(ascq), .max = 0xff},
        [6] = {.kind = FIELD_BOOL, .name = "deferred"},
        [7] = {.kind = FIELD_FIXED64, .name = "information"},
        [8] = {.kind = FIELD_FIXED64, .name = "command_specific"},
        [9] = {.kind = FIELD_STRING, .name = "text"},
        [10] = {.kind = FIELD_BYTES, .name = "sense_key_specific", .max = 3},
        [11] = {.kind = FIELD_UINT32, .name = "fru", .max = 0xff},
    }};

static const struct message loss_message = {
    .name = "loss.",
    .fields = {
        [1] = {.kind = FIELD_ENUM,
               .name = "stage",
               .keep = KEEP(loss.stage),
               .max = SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_SUBSCRIPTION},
        [2] = {.kind = FIELD_UINT64, .name = "count", .keep = KEEP(loss.count)},
        [3] = {.kind = FIELD_BOOL, .name = "at_least", .keep = KEEP(loss.at_least)},
        [4] = {.kind = FIELD_UINT32, .name = "aix_bits", .keep = KEEP(loss.aix_bits)},
        [5] = {.kind = FIELD_UINT64, .name = "first_source_sequence", .keep = KEEP(loss.first_source_sequence)},
        [6] = {.kind = FIELD_UINT64, .name = "last_source_sequence", .keep = KEEP(loss.last_source_sequence)},
        [7] = {.kind = FIELD_STRING, .name = "reason", .keep = KEEP(loss.reason)},
    }};

static const struct message event_message = {
    .name = "",
    .fields = {
        [1] = {.kind = FIELD_FIXED64, .name = "sequence", .keep = KEEP(sequence), .brokers = true},
        [2] = {.kind = FIELD_FIXED64, .name = "broker_time_unix_ns", .keep = KEEP(broker_time_ns), .brokers = true},
        [3] = {.kind = FIELD_UINT64, .name = "session_generation", .keep = KEEP(session_generation), .brokers = true},
        [4] = {.kind = FIELD_ENUM, .name = "code", .keep = KEEP(code), .max = INT32_MAX},
        [5] = {.kind = FIELD_ENUM,
               .name = "severity",
               .keep = KEEP(severity),
               .max = SENSEBUS__V1__SEVERITY__SEVERITY_CRIT},
        [6] = {.kind = FIELD_ENUM, .name = "scope", .keep = KEEP(scope), .max = SENSEBUS__V1__SCOPE__SCOPE_BROKER},
        [7] = {.kind = FIELD_ENUM, .name = "mode", .keep = KEEP(mode), .max = SENSEBUS__V1__MODE__MODE_BOTH},
        [8] = {.kind = FIELD_MESSAGE, .name = "origin", .message = &origin_message},
        [9] = {.kind = FIELD_FIXED64, .name = "wall_time_unix_ns", .keep = KEEP(wall_time_ns)},
        [10] = {.kind = FIELD_FIXED64, .name = "monotonic_time_ns"},
        [11] = {.kind = FIELD_MESSAGE, .name = "address", .message = &address_message, .keep = KEEP(address.present)},
        [12] = {.kind = FIELD_MESSAGE, .name = "device", .message = &device_message, .keep = KEEP(device.present)},
        [13] = {.kind = FIELD_MESSAGE, .name = "native", .message = &native_message},
        [14] = {.kind = FIELD_MESSAGE_LIST, .name = "evidence", .message = &native_message},
        [15] = {.kind = FIELD_MESSAGE, .name = "sense", .message = &sense_message, .keep = KEEP(has_sense)},
        [16] = {.kind = FIELD_STRING, .name = "session_id", .keep = KEEP(session_id)},
        [17] = {.kind = FIELD_STRING, .name = "origin_session"},
        [18] = {.kind = FIELD_UINT32, .name = "aix_bits", .keep = KEEP(aix_bits)},
        [19] = {.kind = FIELD_UINT64, .name = "count", .keep = KEEP(count)},
        [20] = {.kind = FIELD_FIXED64, .name = "first_time_unix_ns"},
        [21] = {.kind = FIELD_FIXED64, .name = "last_time_unix_ns"},
        [22] = {.kind = FIELD_MESSAGE, .name = "loss", .message = &loss_message, .keep = KEEP(loss.present)},
        [23] = {.kind = FIELD_BOOL, .name = "synthetic"},
        [24] = {.kind = FIELD_STRING, .name = "summary", .keep = KEEP(summary), .max = 256},
    }};

/* A run of one scan. */
struct scan {
    struct event_view *view;
    const uint8_t *end; /* of the event, also while inside one of its messages */
    bool allow_broker_fields;
    char *err;
    size_t err_len;
};

static bool scan_message(struct scan *s, const struct message *message, const uint8_t *p, const uint8_t *end);

static bool refuse(const struct scan *s, const struct message *message, const char *name, const char *fault)
{
    snprintf(s->err, s->err_len, "%s%s: %s", message->name, name, fault);
    return false;
}

static enum wire_type wire_type_of(enum field_kind kind)
{
    switch (kind) {
    case FIELD_FIXED64: return WIRE_FIXED64;
    case FIELD_STRING:
    case FIELD_BYTES:
    case FIELD_STRING_LIST:
    case FIELD_MESSAGE:
    case FIELD_MESSAGE_LIST: return WIRE_BYTES;
    default: return WIRE_VARINT;
    }
}

static uint64_t zigzag_decode(uint64_t value)
{
    return value >> 1 ^ (~(value & 1) + 1);
}

/* Are all eight bytes ASCII and none NUL? (Taking 1 off turns a NUL's highest bit on, and no other ASCII byte's.) */
static inline bool eight_plain(uint64_t eight)
{
    return ((eight | (eight - 0x0101010101010101u)) & 0x8080808080808080u) == 0;
}

static inline uint64_t load_eight(const uint8_t *p)
{
    uint64_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

static inline uint64_t load_four(const uint8_t *p)
{
    uint32_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

/* Text that needs no closer look: ASCII without NUL. The last bytes are looked at in words that may overlap. */
static inline bool is_plain(const uint8_t *p, size_t len)
{
    if (len >= 8) {
        const uint8_t *last = p + len - 8;
        for (; p < last; p += 8)
            if (!eight_plain(load_eight(p)))
                return false;
        return eight_plain(load_eight(last));
    }
    if (len >= 4)
        return eight_plain(load_four(p) | load_four(p + len - 4) << 32);
    if (len == 0)
        return true;
    return eight_plain(0x0101010101000000u | p[0] | (uint64_t)p[len / 2] << 8 | (uint64_t)p[len - 1] << 16);
}

static bool text_ok(const struct scan *s, const struct message *message, const struct field *field,
                    const struct wire_field *wire)
{
    if (field->max && wire->len > field->max)
        return refuse(s, message, field->name, "too long");
    if (field->kind == FIELD_BYTES || is_plain(wire->bytes, wire->len))
        return true;
    if (!utf8_valid(wire->bytes, wire->len))
        return refuse(s, message, field->name, "not UTF-8");
    if (wire->len && memchr(wire->bytes, 0, wire->len))
        return refuse(s, message, field->name, "holds a NUL");
    return true;
}

/* Packed or one at a time: encoders may do either. `count` is how many came before. */
static bool scan_numbers(const struct scan *s, const struct message *message, const struct field *field,
                         const struct wire_field *wire, size_t *count)
{
    if (wire->type == WIRE_VARINT) {
        ++*count;
        return wire->value <= UINT32_MAX || refuse(s, message, field->name, "number out of range");
    }
    if (wire->type != WIRE_BYTES)
        return refuse(s, message, field->name, "wrong wire type");
    const uint8_t *p = wire->bytes, *end = wire->bytes + wire->len;
    while (p < end && *count <= REPEATED_MAX) {
        uint64_t value;
        p = varint_read(p, end, &value);
        if (!p)
            return refuse(s, message, field->name, "malformed");
        if (value > UINT32_MAX)
            return refuse(s, message, field->name, "number out of range");
        ++*count;
    }
    return true;
}

/* Check one value and put it into the view. `to` is NULL when the view does not keep it. */
static bool scan_value(struct scan *s, const struct message *message, const struct field *field,
                       const struct wire_field *wire, void *to)
{
    switch ((enum field_kind)field->kind) {
    case FIELD_BOOL:
        if (wire->value > 1)
            return refuse(s, message, field->name, "number out of range");
        if (to)
            *(bool *)to = wire->value != 0;
        return true;
    case FIELD_UINT32:
    case FIELD_ENUM:
        if (wire->value > (field->max ? field->max : UINT32_MAX))
            return refuse(s, message, field->name, "number out of range");
        if (to)
            *(uint32_t *)to = (uint32_t)wire->value;
        return true;
    case FIELD_SINT32:
        if (wire->value > UINT32_MAX)
            return refuse(s, message, field->name, "number out of range");
        if (to)
            *(int32_t *)to = (int32_t)(int64_t)zigzag_decode(wire->value);
        return true;
    case FIELD_SINT64:
        if (to)
            *(int64_t *)to = (int64_t)zigzag_decode(wire->value);
        return true;
    case FIELD_UINT64:
    case FIELD_FIXED64:
        if (to)
            *(uint64_t *)to = wire->value;
        return true;
    case FIELD_STRING:
    case FIELD_STRING_LIST:
    case FIELD_BYTES:
        if (!text_ok(s, message, field, wire))
            return false;
        if (to)
            *(struct text *)to = (struct text){(const char *)wire->bytes, wire->len};
        return true;
    case FIELD_MESSAGE:
    case FIELD_MESSAGE_LIST:
        if (to)
            *(bool *)to = true;
        return scan_message(s, field->message, wire->bytes, wire->bytes + wire->len);
    case FIELD_UINT32_LIST:
    case FIELD_UNKNOWN: break;
    }
    return true;
}

static bool is_list(enum field_kind kind)
{
    return kind == FIELD_STRING_LIST || kind == FIELD_MESSAGE_LIST || kind == FIELD_UINT32_LIST;
}

/* Seven bits of each of the first `n` bytes at `eight`, 1 <= n <= 8. */
static inline uint64_t gather_sevens(uint64_t eight, unsigned n)
{
    eight &= 0x7f7f7f7f7f7f7f7fu >> (64 - 8 * n);
    eight = (eight & 0x007f007f007f007fu) | (eight & 0x7f007f007f007f00u) >> 1;
    eight = (eight & 0x00003fff00003fffu) | (eight & 0x3fff00003fff0000u) >> 2;
    return (eight & 0x000000000fffffffu) | (eight & 0x0fffffff00000000u) >> 4;
}

/* What is known of a message while it is scanned. */
struct progress {
    uint32_t seen;     /* a bit per field */
    size_t list_count; /* no message here has two lists */
    bool refused;      /* said by the short way, which cannot refuse but in a message inside */
};

/* The field at `p`, whatever it is. Returns the position behind it, or NULL when it is refused. */
static const uint8_t *scan_field(struct scan *s, const struct message *message, const uint8_t *p, const uint8_t *end,
                                 struct progress *progress)
{
    struct wire_field wire;
    p = wire_field_read(p, end, &wire);
    if (!p) {
        refuse(s, message, "(field)", "malformed or cut off");
        return NULL;
    }
    if (wire.number >= FIELDS_MAX || message->fields[wire.number].kind == FIELD_UNKNOWN)
        return p;
    const struct field *field = &message->fields[wire.number];
    const char *fault = NULL;
    if (field->brokers && !s->allow_broker_fields) {
        fault = "belongs to the broker";
    } else if (is_list(field->kind)) {
        if (field->kind == FIELD_UINT32_LIST) {
            if (!scan_numbers(s, message, field, &wire, &progress->list_count))
                return NULL;
        } else {
            progress->list_count++;
        }
        if (progress->list_count > REPEATED_MAX)
            fault = "more than 64";
    } else if (progress->seen & 1u << wire.number) {
        fault = "given twice";
    }
    progress->seen |= 1u << wire.number;
    if (!fault && field->kind == FIELD_UINT32_LIST)
        return p;
    if (!fault && wire.type != wire_type_of(field->kind))
        fault = "wrong wire type";
    if (fault) {
        refuse(s, message, field->name, fault);
        return NULL;
    }
    void *to = field->keep ? (char *)s->view + field->keep - 1 : NULL;
    return scan_value(s, message, field, &wire, to) ? p : NULL;
}

/* A varint of at most eight bytes; NULL otherwise. p < end. */
static inline const uint8_t *varint_quick(const struct scan *s, const uint8_t *p, const uint8_t *end, uint64_t *out)
{
    if (*p < 0x80) {
        *out = *p;
        return p + 1;
    }
    if (s->end - p < 8)
        return NULL;
    uint64_t eight = le64toh(load_eight(p)), ends = ~eight & 0x8080808080808080u;
    if (!ends)
        return NULL;
    unsigned n = (unsigned)__builtin_ctzll(ends) / 8 + 1;
    *out = gather_sevens(eight, n);
    return n <= (size_t)(end - p) ? p + n : NULL;
}

/* As scan_field for what needs no closer look. NULL and not refused: nothing was done, take the long way. */
static inline const uint8_t *scan_quick(struct scan *s, const struct message *message, const uint8_t *p,
                                        const uint8_t *end, struct progress *progress)
{
    uint32_t tag = *p++;
    if (tag >= 0x80) {
        if (p >= end || *p >= 0x80)
            return NULL;
        tag = (tag & 0x7f) | (uint32_t)*p++ << 7;
    }
    if (p >= end || tag >> 3 >= FIELDS_MAX)
        return NULL;
    const struct field *field = &message->fields[tag >> 3];
    uint32_t bit = 1u << (tag >> 3);
    if (progress->seen & bit || (field->brokers && !s->allow_broker_fields))
        return NULL;

    char *to = field->keep ? (char *)s->view + field->keep - 1 : NULL;
    uint64_t value, max = UINT32_MAX;
    switch ((enum field_kind)field->kind) {
    case FIELD_UINT32:
    case FIELD_ENUM:
        if (field->max)
            max = field->max;
        if ((tag & 7) != WIRE_VARINT || !(p = varint_quick(s, p, end, &value)) || value > max)
            return NULL;
        if (to)
            *(uint32_t *)to = (uint32_t)value;
        break;
    case FIELD_SINT32:
        if ((tag & 7) != WIRE_VARINT || !(p = varint_quick(s, p, end, &value)) || value > max)
            return NULL;
        if (to)
            *(int32_t *)to = (int32_t)(int64_t)zigzag_decode(value);
        break;
    case FIELD_SINT64:
        if ((tag & 7) != WIRE_VARINT || !(p = varint_quick(s, p, end, &value)))
            return NULL;
        if (to)
            *(int64_t *)to = (int64_t)zigzag_decode(value);
        break;
    case FIELD_UINT64:
        if ((tag & 7) != WIRE_VARINT || !(p = varint_quick(s, p, end, &value)))
            return NULL;
        if (to)
            *(uint64_t *)to = value;
        break;
    case FIELD_FIXED64:
        if ((tag & 7) != WIRE_FIXED64 || end - p < 8)
            return NULL;
        if (to)
            *(uint64_t *)to = le64toh(load_eight(p));
        p += 8;
        break;
    case FIELD_STRING: {
        size_t len = *p++;
        if ((tag & 7) != WIRE_BYTES || len >= 0x80 || len > (size_t)(end - p) || (field->max && len > field->max) ||
            !is_plain(p, len))
            return NULL;
        if (to)
            *(struct text *)to = (struct text){(const char *)p, len};
        p += len;
        break;
    }
    case FIELD_MESSAGE: {
        size_t len = *p++;
        if ((tag & 7) != WIRE_BYTES || len >= 0x80 || len > (size_t)(end - p))
            return NULL;
        if (to)
            *(bool *)to = true;
        if (!scan_message(s, field->message, p, p + len)) {
            progress->refused = true;
            return NULL;
        }
        p += len;
        break;
    }
    default: return NULL;
    }
    progress->seen |= bit;
    return p;
}

static bool scan_message(struct scan *s, const struct message *message, const uint8_t *p, const uint8_t *end)
{
    struct progress progress = {0};

    while (p < end) {
        const uint8_t *next = SCAN_QUICK ? scan_quick(s, message, p, end, &progress) : NULL;
        if (!next && !progress.refused)
            next = scan_field(s, message, p, end, &progress);
        if (!next)
            return false;
        p = next;
    }
    return true;
}

/* What an event without them reads as; the members of a message that is there begin at protobuf's zero. */
static void set_absent(struct event_view *view)
{
    if (!view->address.present) {
        view->address.controller = view->address.bus = view->address.target = -1;
        view->address.lun = -1;
    }
    if (!view->device.present)
        view->device.device_type = -1;
}

int event_scan(const uint8_t *bytes, size_t len, const struct event_limits *limits, struct event_view *out_view,
               char *err, size_t err_len)
{
    bool stored = limits && limits->allow_broker_fields;
    size_t added = stored ? BROKER_FIELD_BYTES + EVENT_GENERATION_BYTES : 0;
    size_t max = limits && limits->max_event_bytes ? limits->max_event_bytes : EVENT_BYTES_DEFAULT + added;
    struct scan s = {
        .view = out_view, .end = bytes + len, .allow_broker_fields = stored, .err = err, .err_len = err_len};

    if (len > max) {
        snprintf(err, err_len, "event: %zu bytes, at most %zu are allowed", len, max);
        return UV_EINVAL;
    }
    memset(out_view, 0, sizeof(*out_view));
    out_view->bytes = bytes;
    out_view->len = len;
    if (len && !scan_message(&s, &event_message, bytes, bytes + len))
        return UV_EINVAL;
    if (out_view->code == 0) {
        snprintf(err, err_len, "code: missing");
        return UV_EINVAL;
    }
    set_absent(out_view);
    return 0;
}

/* The body of a record whose length takes one or two bytes, as nearly all; NULL: look closer. p < end. */
static inline const uint8_t *record_quick(const uint8_t *p, const uint8_t *end, size_t *out_len)
{
    size_t left = (size_t)(end - p), len, n = 2;
    if (left < 3)
        return NULL;
    len = p[1];
    if (len >= 0x80) {
        if (p[2] >= 0x80)
            return NULL;
        len = (len & 0x7f) | (size_t)p[2] << 7;
        n = 3;
    }
    *out_len = len;
    return len <= left - n ? p + n : NULL;
}

bool records_next(const uint8_t **cursor, const uint8_t *end, const uint8_t **out_event, size_t *out_len)
{
    struct wire_field wire;
    if (*cursor == end || **cursor != RECORD_TAG)
        return false;
    const uint8_t *body = SCAN_QUICK ? record_quick(*cursor, end, out_len) : NULL;
    if (body) {
        *out_event = body;
        *cursor = body + *out_len;
        return true;
    }
    const uint8_t *next = wire_field_read(*cursor, end, &wire);
    if (!next)
        return false;
    *out_event = wire.bytes;
    *out_len = wire.len;
    *cursor = next;
    return true;
}

/* The tag and a length of one or two bytes: more than that they do not tell. */
static inline uint32_t load_head(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
}

/* Records are often as long as the one before. To go on by its length when the head is the same, and not by what the
 * head says, lets the processor read many heads at once. */
size_t records_index(const uint8_t *records, size_t len, uint32_t base, uint32_t *out_starts, size_t max,
                     size_t *out_len)
{
    const uint8_t *p = records, *end = records + len, *event;
    size_t n = 0, size = 0, event_len;
    uint32_t head = 0;

    for (; n < max; n++) {
        const uint8_t *begin = p;
        out_starts[n] = base + (uint32_t)(begin - records);
        if (size > 0 && size <= (size_t)(end - p) && load_head(p) == head) {
            p += size;
            continue;
        }
        if (!records_next(&p, end, &event, &event_len))
            break;
        size = (size_t)(p - begin);
        if (size >= 3 && event - begin <= 3)
            head = load_head(begin);
        else
            size = 0;
    }
    *out_len = (size_t)(p - records);
    return n;
}

size_t record_size(size_t event_len)
{
    size_t len = event_len + BROKER_FIELD_BYTES;
    return 1 + varint_size(len) + len;
}

static uint8_t *write_fixed64(uint8_t *out, uint8_t tag, uint64_t value)
{
    *out = tag;
    value = htole64(value);
    memcpy(out + 1, &value, sizeof value);
    return out + 1 + sizeof value;
}

size_t record_write(uint8_t *out, const uint8_t *event, size_t len, uint64_t sequence, uint64_t broker_time_ns)
{
    uint8_t *p = out;
    *p++ = RECORD_TAG;
    p += varint_write(p, len + BROKER_FIELD_BYTES);
    memcpy(p, event, len);
    p += len;
    p = write_fixed64(p, SEQUENCE_TAG, sequence);
    p = write_fixed64(p, BROKER_TIME_TAG, broker_time_ns);
    return (size_t)(p - out);
}

size_t event_write_generation(uint8_t *out, const uint8_t *event, size_t len, uint64_t generation)
{
    memcpy(out, event, len);
    out[len] = GENERATION_TAG;
    return len + 1 + varint_write(out + len + 1, generation);
}
