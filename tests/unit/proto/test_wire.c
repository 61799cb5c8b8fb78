/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "proto/wire.h"

Test(wire, varints_come_back_and_have_the_size_that_was_said)
{
    static const uint64_t values[] = {0, 1, 0x7f, 0x80, 0x3fff, 0x4000, UINT32_MAX, (uint64_t)1 << 62, UINT64_MAX};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        uint8_t bytes[VARINT_MAX_BYTES];
        uint64_t value = 42;
        size_t n = varint_write(bytes, values[i]);
        cr_assert_eq(n, varint_size(values[i]));
        cr_assert_eq(varint_read(bytes, bytes + n, &value), bytes + n);
        cr_assert_eq(value, values[i]);
        for (size_t cut = 0; cut < n; cut++)
            cr_assert_null(varint_read(bytes, bytes + cut, &value));
    }
}

Test(wire, a_varint_beyond_64_bits_is_refused)
{
    static const uint8_t too_large[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    static const uint8_t too_long[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
    uint64_t value;
    cr_assert_null(varint_read(too_large, too_large + sizeof too_large, &value));
    cr_assert_null(varint_read(too_long, too_long + sizeof too_long, &value));
}

Test(wire, refuses_fields_that_decoders_disagree_about)
{
    static const struct {
        const char *what, *bytes;
        size_t len;
    } rows[] = {
        {"field number 0", "\x00\x01", 2},
        {"start of a group", "\x0b\x0c", 2},
        {"end of a group", "\x0c", 1},
        {"wire type 6", "\x0e\x00", 2},
        {"field number 2^29", "\x80\x80\x80\x80\x10\x00", 6},
        {"tag of six bytes", "\x88\x80\x80\x80\x80\x00\x01", 7},
        {"length of six bytes", "\x0a\x81\x80\x80\x80\x80\x00x", 8},
        {"length beyond the end", "\x0a\x02x", 3},
        {"length far beyond the end", "\x0a\xff\xff\xff\xff\x0fx", 7},
        {"fixed64 cut off", "\x09\x01\x02\x03", 4},
        {"fixed32 cut off", "\x0d\x01\x02\x03", 4},
        {"varint cut off", "\x08\x80", 2},
        {"nothing behind the tag", "\x08", 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct wire_field field;
        const uint8_t *bytes = (const uint8_t *)rows[i].bytes;
        cr_expect_null(wire_field_read(bytes, bytes + rows[i].len, &field), "%s", rows[i].what);
    }
}

Test(wire, reads_each_wire_type)
{
    static const uint8_t bytes[] = {0x08, 0x96, 0x01, 0x11, 1,   2,    3, 4, 5, 6,   7,
                                    8,    0x1a, 2,    'h',  'i', 0x25, 1, 0, 0, 0x80};
    const uint8_t *p = bytes, *end = bytes + sizeof bytes;
    struct wire_field field;
    p = wire_field_read(p, end, &field);
    cr_assert(p && field.number == 1 && field.type == WIRE_VARINT && field.value == 150);
    p = wire_field_read(p, end, &field);
    cr_assert(p && field.number == 2 && field.type == WIRE_FIXED64 && field.value == 0x0807060504030201);
    p = wire_field_read(p, end, &field);
    cr_assert(p && field.number == 3 && field.type == WIRE_BYTES && field.len == 2);
    cr_assert_eq(memcmp(field.bytes, "hi", 2), 0);
    p = wire_field_read(p, end, &field);
    cr_assert(p == end && field.number == 4 && field.type == WIRE_FIXED32 && field.value == 0x80000001);
}

Test(wire, tells_utf8_from_what_is_not)
{
    static const struct {
        const char *text;
        size_t len;
        bool valid;
    } rows[] = {
        {"", 0, true},
        {"plain ASCII of some length", 26, true},
        {"nul\0inside", 10, true},
        {"\xc3\xa9", 2, true},          /* U+00E9 */
        {"\xe2\x82\xac", 3, true},      /* U+20AC */
        {"\xf0\x9d\x84\x9e", 4, true},  /* U+1D11E */
        {"\xf4\x8f\xbf\xbf", 4, true},  /* U+10FFFF */
        {"\xee\x80\x80", 3, true},      /* U+E000 */
        {"12345678\xc3\xa9", 10, true}, /* behind the fast path */
        {"\xc3", 1, false},             /* cut */
        {"\xe2\x82", 2, false},         /* cut */
        {"\xf0\x9d\x84", 3, false},     /* cut */
        {"\x80", 1, false},             /* no lead byte */
        {"\xc0\x80", 2, false},         /* overlong NUL */
        {"\xc1\xbf", 2, false},         /* overlong */
        {"\xe0\x9f\xbf", 3, false},     /* overlong */
        {"\xf0\x8f\xbf\xbf", 4, false}, /* overlong */
        {"\xed\xa0\x80", 3, false},     /* surrogate */
        {"\xf4\x90\x80\x80", 4, false}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", 4, false}, /* no such lead byte */
        {"\xff", 1, false},             /* no such byte */
        {"\xe2\x28\xa1", 3, false},     /* bad second byte */
        {"\xe2\x82\x28", 3, false},     /* bad third byte */
        {"1234567\xff", 8, false},      /* in the fast path's stride */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(utf8_valid((const uint8_t *)rows[i].text, rows[i].len), rows[i].valid, "row %zu", i);
}

Test(wire, decodes_code_points)
{
    uint32_t point;
    cr_assert_eq(utf8_decode((const uint8_t *)"\xf0\x9d\x84\x9e", 4, &point), 4);
    cr_assert_eq(point, 0x1d11e);
    cr_assert_eq(utf8_decode((const uint8_t *)"\xe2\x80\xa8", 3, &point), 3);
    cr_assert_eq(point, 0x2028);
    cr_assert_eq(utf8_decode((const uint8_t *)"\xe2\x80", 2, &point), 0);
    cr_assert_eq(utf8_decode((const uint8_t *)"", 0, &point), 0);
}
