/* SPDX-License-Identifier: Apache-2.0 */
/* The protobuf wire format's smallest pieces: varints and text. Pure; every read is bounded by `end`. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VARINT_MAX_BYTES 10

enum wire_type {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_BYTES = 2,
    WIRE_FIXED32 = 5, /* 3 and 4 are groups, which no message of ours has and protobuf-c refuses */
};

/* One field as it lies in a message. */
struct wire_field {
    uint32_t number;
    enum wire_type type;
    uint64_t value;       /* VARINT, FIXED64, FIXED32 */
    const uint8_t *bytes; /* BYTES */
    size_t len;
};

/* varint_read returns the position behind it, or NULL when cut or longer than 64 bits. */
size_t varint_write(uint8_t *out, uint64_t value);
size_t varint_size(uint64_t value);
const uint8_t *varint_read(const uint8_t *p, const uint8_t *end, uint64_t *out_value);

/* Read the field at `p`. Returns the position behind it, or NULL: cut, a length beyond the end, a group, an unknown
 * wire type, field number 0 or one beyond 2^29-1, or a tag or length written in more than five bytes (which decoders
 * treat differently). */
const uint8_t *wire_field_read(const uint8_t *p, const uint8_t *end, struct wire_field *out_field);

/* UTF-8 after RFC 3629: no surrogates, no overlong forms, nothing above U+10FFFF; NUL is a character like others.
 * utf8_decode returns the length of the character at `bytes` and puts its code point into *out_point; 0 when what is
 * there is cut off or not UTF-8. */
size_t utf8_decode(const uint8_t *bytes, size_t len, uint32_t *out_point);
bool utf8_valid(const uint8_t *bytes, size_t len);
