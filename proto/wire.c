/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/wire.h"

#include <string.h>

#define TAG_MAX_BYTES    5
#define LENGTH_MAX_BYTES 5
#define NUMBER_MAX       ((1u << 29) - 1)

size_t varint_size(uint64_t value)
{
    size_t n = 1;
    for (; value >= 0x80; value >>= 7)
        n++;
    return n;
}

size_t varint_write(uint8_t *out, uint64_t value)
{
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        out[n++] = (uint8_t)(value | 0x80);
    out[n++] = (uint8_t)value;
    return n;
}

/* A varint of more than one byte. */
static const uint8_t *read_long_varint(const uint8_t *p, const uint8_t *end, uint64_t *out_value)
{
    uint64_t value = 0;
    for (unsigned shift = 0; p < end && shift < 64; shift += 7) {
        uint8_t byte = *p++;
        if (shift == 63 && byte > 1)
            return NULL;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out_value = value;
            return p;
        }
    }
    return NULL;
}

/* Most varints are one byte: tags, lengths, enums. */
static inline const uint8_t *read_varint(const uint8_t *p, const uint8_t *end, uint64_t *out_value)
{
    if (p < end && *p < 0x80) {
        *out_value = *p;
        return p + 1;
    }
    return read_long_varint(p, end, out_value);
}

const uint8_t *varint_read(const uint8_t *p, const uint8_t *end, uint64_t *out_value)
{
    return read_varint(p, end, out_value);
}

static uint64_t little_endian(const uint8_t *p, size_t n)
{
    uint64_t value = 0;
    for (size_t i = n; i-- > 0;)
        value = value << 8 | p[i];
    return value;
}

const uint8_t *wire_field_read(const uint8_t *p, const uint8_t *end, struct wire_field *out_field)
{
    uint64_t tag, len;
    const uint8_t *next = read_varint(p, end, &tag);
    if (!next || next - p > TAG_MAX_BYTES || tag >> 3 == 0 || tag >> 3 > NUMBER_MAX)
        return NULL;
    out_field->number = (uint32_t)(tag >> 3);
    p = next;
    switch (tag & 7) {
    case WIRE_VARINT: out_field->type = WIRE_VARINT; return read_varint(p, end, &out_field->value);
    case WIRE_FIXED64:
        if (end - p < 8)
            return NULL;
        out_field->type = WIRE_FIXED64;
        out_field->value = little_endian(p, 8);
        return p + 8;
    case WIRE_FIXED32:
        if (end - p < 4)
            return NULL;
        out_field->type = WIRE_FIXED32;
        out_field->value = little_endian(p, 4);
        return p + 4;
    case WIRE_BYTES:
        next = read_varint(p, end, &len);
        if (!next || next - p > LENGTH_MAX_BYTES || len > (uint64_t)(end - next))
            return NULL;
        out_field->type = WIRE_BYTES;
        out_field->bytes = next;
        out_field->len = (size_t)len;
        return next + len;
    default: return NULL;
    }
}

/* Length of the sequence that begins with `lead` (not ASCII), and the range its second byte must be in: that range is
 * where overlong forms, surrogates and what lies above U+10FFFF are excluded (RFC 3629 section 4). 0 = no lead byte. */
static size_t sequence_length(uint8_t lead, uint8_t *out_low, uint8_t *out_high)
{
    *out_low = 0x80;
    *out_high = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf)
        return 2;
    if (lead >= 0xe0 && lead <= 0xef) {
        if (lead == 0xe0)
            *out_low = 0xa0;
        if (lead == 0xed)
            *out_high = 0x9f;
        return 3;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        if (lead == 0xf0)
            *out_low = 0x90;
        if (lead == 0xf4)
            *out_high = 0x8f;
        return 4;
    }
    return 0;
}

size_t utf8_decode(const uint8_t *bytes, size_t len, uint32_t *out_point)
{
    if (len == 0)
        return 0;
    if (bytes[0] < 0x80) {
        *out_point = bytes[0];
        return 1;
    }
    uint8_t low, high;
    size_t n = sequence_length(bytes[0], &low, &high);
    if (n == 0 || n > len || bytes[1] < low || bytes[1] > high)
        return 0;
    uint32_t point = bytes[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (bytes[i] & 0x3fu);
    }
    *out_point = point;
    return n;
}

bool utf8_valid(const uint8_t *bytes, size_t len)
{
    size_t i = 0;
    while (i < len) {
        uint64_t eight;
        if (len - i >= sizeof(eight)) { /* names are ASCII nearly always: eight at a time */
            memcpy(&eight, bytes + i, sizeof(eight));
            if ((eight & 0x8080808080808080u) == 0) {
                i += sizeof(eight);
                continue;
            }
        }
        if (bytes[i] < 0x80) {
            i++;
            continue;
        }
        uint32_t point;
        size_t n = utf8_decode(bytes + i, len - i, &point);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}
