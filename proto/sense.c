/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/sense.h"

#include <scsi/sg_lib.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

/* Fixed format (SPC-4 table 41). */
enum {
    FIXED_KEY = 2,
    FIXED_INFORMATION = 3,
    FIXED_ADDITIONAL_LENGTH = 7,
    FIXED_COMMAND_SPECIFIC = 8,
    FIXED_ASC = 12,
    FIXED_ASCQ = 13,
    FIXED_FRU = 14,
    FIXED_KEY_SPECIFIC = 15,
    FIXED_HEADER_BYTES = 8,
};

/* Descriptor format (SPC-4 tables 27 and 28). */
enum {
    DESCRIPTOR_KEY = 1,
    DESCRIPTOR_ASC = 2,
    DESCRIPTOR_ASCQ = 3,
    DESCRIPTOR_ADDITIONAL_LENGTH = 7,
    DESCRIPTOR_HEADER_BYTES = 8,
    DESCRIPTOR_TYPE_INFORMATION = 0x00,
    DESCRIPTOR_TYPE_COMMAND_SPECIFIC = 0x01,
    DESCRIPTOR_TYPE_KEY_SPECIFIC = 0x02,
    DESCRIPTOR_TYPE_FRU = 0x03,
};

#define VALID 0x80
#define SKSV  0x80

static uint8_t byte_at(const uint8_t *bytes, size_t len, size_t at)
{
    return at < len ? bytes[at] : 0;
}

static uint64_t big_endian(const uint8_t *bytes, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++)
        value = value << 8 | bytes[i];
    return value;
}

/* What lies behind the additional length is not sense data. A length that was itself cut off says nothing. */
static size_t valid_bytes(const uint8_t *bytes, size_t len, size_t length_at, size_t header_bytes)
{
    if (len <= length_at)
        return len;
    size_t said = header_bytes + bytes[length_at];
    return said < len ? said : len;
}

static void decode_fixed(const uint8_t *bytes, size_t len, struct sense *s)
{
    len = valid_bytes(bytes, len, FIXED_ADDITIONAL_LENGTH, FIXED_HEADER_BYTES);
    s->key = byte_at(bytes, len, FIXED_KEY) & 0x0f;
    s->asc = byte_at(bytes, len, FIXED_ASC);
    s->ascq = byte_at(bytes, len, FIXED_ASCQ);
    s->fru = byte_at(bytes, len, FIXED_FRU);
    if ((bytes[0] & VALID) && len >= FIXED_INFORMATION + 4) {
        s->has_information = true;
        s->information = big_endian(bytes + FIXED_INFORMATION, 4);
    }
    if (len >= FIXED_COMMAND_SPECIFIC + 4) {
        s->command_specific = big_endian(bytes + FIXED_COMMAND_SPECIFIC, 4);
        s->has_command_specific = s->command_specific != 0; /* the fixed format has no bit for it: 0 is "none" */
    }
    if (len >= FIXED_KEY_SPECIFIC + 3 && (bytes[FIXED_KEY_SPECIFIC] & SKSV)) {
        s->has_key_specific = true;
        memcpy(s->key_specific, bytes + FIXED_KEY_SPECIFIC, 3);
    }
}

/* One descriptor: `d[0]` is its type, `len` counts its two header bytes. Those that are cut are left out. */
static void decode_descriptor(const uint8_t *d, size_t len, struct sense *s)
{
    switch (d[0]) {
    case DESCRIPTOR_TYPE_INFORMATION:
        if (len >= 12 && (d[2] & VALID)) {
            s->has_information = true;
            s->information = big_endian(d + 4, 8);
        }
        break;
    case DESCRIPTOR_TYPE_COMMAND_SPECIFIC:
        if (len >= 12) {
            s->has_command_specific = true;
            s->command_specific = big_endian(d + 4, 8);
        }
        break;
    case DESCRIPTOR_TYPE_KEY_SPECIFIC:
        if (len >= 7 && (d[4] & SKSV)) {
            s->has_key_specific = true;
            memcpy(s->key_specific, d + 4, 3);
        }
        break;
    case DESCRIPTOR_TYPE_FRU:
        if (len >= 4)
            s->fru = d[3];
        break;
    default: break;
    }
}

static void decode_descriptors(const uint8_t *bytes, size_t len, struct sense *s)
{
    len = valid_bytes(bytes, len, DESCRIPTOR_ADDITIONAL_LENGTH, DESCRIPTOR_HEADER_BYTES);
    s->key = byte_at(bytes, len, DESCRIPTOR_KEY) & 0x0f;
    s->asc = byte_at(bytes, len, DESCRIPTOR_ASC);
    s->ascq = byte_at(bytes, len, DESCRIPTOR_ASCQ);
    for (size_t at = DESCRIPTOR_HEADER_BYTES; at + 2 <= len;) {
        size_t n = 2 + (size_t)bytes[at + 1];
        if (n > len - at)
            return;
        decode_descriptor(bytes + at, n, s);
        at += n;
    }
}

int sense_decode(const uint8_t *bytes, size_t len, struct sense *out_sense)
{
    if (len == 0)
        return UV_EINVAL;
    struct sense s = {.response_code = bytes[0] & 0x7f};
    switch (s.response_code) {
    case 0x70:
    case 0x71: decode_fixed(bytes, len, &s); break;
    case 0x72:
    case 0x73: decode_descriptors(bytes, len, &s); break;
    default: return UV_EINVAL;
    }
    s.deferred = s.response_code & 1;
    *out_sense = s;
    return 0;
}

const char *sense_text(uint8_t asc, uint8_t ascq, char buf[SENSE_TEXT_BYTES])
{
    static const char prefix[] = "Additional sense: ";
    char text[SENSE_TEXT_BYTES];

    sg_get_asc_ascq_str(asc, ascq, sizeof(text), text);
    if (strncmp(text, prefix, sizeof(prefix) - 1) == 0)
        snprintf(buf, SENSE_TEXT_BYTES, "%s", text + sizeof(prefix) - 1);
    else /* the library has no words for it */
        snprintf(buf, SENSE_TEXT_BYTES, "ASC %02X, ASCQ %02X%s", asc, ascq,
                 asc >= 0x80 || ascq >= 0x80 ? " (vendor specific)" : "");
    return buf;
}

const char *sense_key_name(uint8_t key)
{
    static const char *const names[16] = {
        "NO SENSE",       "RECOVERED ERROR", "NOT READY",   "MEDIUM ERROR",    "HARDWARE ERROR", "ILLEGAL REQUEST",
        "UNIT ATTENTION", "DATA PROTECT",    "BLANK CHECK", "VENDOR SPECIFIC", "COPY ABORTED",   "ABORTED COMMAND",
        "RESERVED",       "VOLUME OVERFLOW", "MISCOMPARE",  "COMPLETED",
    };
    return names[key & 0x0f];
}
