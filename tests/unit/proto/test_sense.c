/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "proto/sense.h"

static const uint8_t fixed[] = {0xf0, 0, 0x06, 0, 0x01, 0x02, 0x03, 10, 0, 0, 0, 9, 0x29, 0x01, 0x77, 0x80, 0x12, 0x34};
static const uint8_t descriptors[] = {
    0x73, 0x03, 0x11, 0x01, 0,    0,    0,    38, 0x00, 0x0a, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 2, /* information */
    0x7f, 0x00,                                                                                /* unknown type, empty */
    0x01, 0x0a, 0,    0,    0,    0,    0,    0,  0,    0,    0,    5,                         /* command specific */
    0x02, 0x06, 0,    0,    0xc0, 0x00, 0x01, 0,                                               /* sense key specific */
    0x03, 0x02, 0,    0x21, /* field replaceable unit */
};

/* On the heap in its own size, so that a read beyond it is caught. */
static int decode(const uint8_t *bytes, size_t len, struct sense *out)
{
    uint8_t *copy = malloc(len ? len : 1);
    if (len)
        memcpy(copy, bytes, len);
    int rc = sense_decode(copy, len, out);
    free(copy);
    return rc;
}

Test(sense, reads_fixed_format)
{
    struct sense s;
    cr_assert_eq(decode(fixed, sizeof fixed, &s), 0);
    cr_assert_eq(s.response_code, 0x70);
    cr_assert_not(s.deferred);
    cr_assert_eq(s.key, 6);
    cr_assert_eq(s.asc, 0x29);
    cr_assert_eq(s.ascq, 0x01);
    cr_assert_eq(s.fru, 0x77);
    cr_assert(s.has_information);
    cr_assert_eq(s.information, 0x010203);
    cr_assert(s.has_command_specific);
    cr_assert_eq(s.command_specific, 9);
    cr_assert(s.has_key_specific);
    cr_assert_eq(memcmp(s.key_specific, "\x80\x12\x34", 3), 0);
}

Test(sense, reads_descriptor_format)
{
    struct sense s;
    cr_assert_eq(decode(descriptors, sizeof descriptors, &s), 0);
    cr_assert_eq(s.response_code, 0x73);
    cr_assert(s.deferred);
    cr_assert_eq(s.key, 3);
    cr_assert_eq(s.asc, 0x11);
    cr_assert_eq(s.ascq, 0x01);
    cr_assert(s.has_information);
    cr_assert_eq(s.information, 0x100000002);
    cr_assert(s.has_command_specific);
    cr_assert_eq(s.command_specific, 5);
    cr_assert(s.has_key_specific);
    cr_assert_eq(s.key_specific[0], 0xc0);
    cr_assert_eq(s.fru, 0x21);
}

Test(sense, takes_data_cut_anywhere)
{
    for (size_t len = 1; len <= sizeof fixed; len++) {
        struct sense s;
        cr_assert_eq(decode(fixed, len, &s), 0);
        cr_expect_eq(s.key, len > 2 ? 6 : 0, "fixed, %zu bytes", len);
        cr_expect_eq(s.asc, len > 12 ? 0x29 : 0, "fixed, %zu bytes", len);
        cr_expect_eq(s.has_information, len >= 7, "fixed, %zu bytes", len);
        cr_expect_eq(s.has_key_specific, len >= 18, "fixed, %zu bytes", len);
    }
    for (size_t len = 1; len <= sizeof descriptors; len++) {
        struct sense s;
        cr_assert_eq(decode(descriptors, len, &s), 0);
        cr_expect_eq(s.asc, len > 2 ? 0x11 : 0, "descriptors, %zu bytes", len);
        cr_expect_eq(s.has_information, len >= 20, "descriptors, %zu bytes", len);
        cr_expect_eq(s.fru, len == sizeof descriptors ? 0x21 : 0, "descriptors, %zu bytes", len);
    }
}

Test(sense, ignores_what_lies_behind_the_additional_length)
{
    uint8_t bytes[sizeof fixed];
    struct sense s;
    memcpy(bytes, fixed, sizeof fixed);
    bytes[7] = 6; /* up to byte 13 */
    cr_assert_eq(decode(bytes, sizeof bytes, &s), 0);
    cr_assert_eq(s.asc, 0x29);
    cr_assert_eq(s.ascq, 0x01);
    cr_assert_eq(s.fru, 0);
    cr_assert_not(s.has_key_specific);
}

Test(sense, information_counts_only_when_valid)
{
    uint8_t bytes[sizeof fixed];
    struct sense s;
    memcpy(bytes, fixed, sizeof fixed);
    bytes[0] = 0x71;
    bytes[15] = 0;
    cr_assert_eq(decode(bytes, sizeof bytes, &s), 0);
    cr_assert(s.deferred);
    cr_assert_not(s.has_information);
    cr_assert_not(s.has_key_specific);
}

Test(sense, survives_descriptors_of_any_length)
{
    uint8_t bytes[40];
    for (unsigned type = 0; type < 5; type++) {
        for (unsigned said = 0; said < 40; said++) {
            struct sense s;
            memset(bytes, 0xff, sizeof bytes);
            memcpy(bytes, "\x72\x06\x29\x00\x00\x00\x00\x20", 8);
            bytes[8] = (uint8_t)type;
            bytes[9] = (uint8_t)said;
            cr_assert_eq(decode(bytes, sizeof bytes, &s), 0);
            cr_assert_eq(s.asc, 0x29);
        }
    }
}

Test(sense, refuses_what_is_no_sense_data)
{
    struct sense s = {.key = 9};
    static const uint8_t starts[] = {0x00, 0x6f, 0x74, 0x7f, 0xff};
    for (size_t i = 0; i < sizeof starts; i++)
        cr_expect_eq(decode(&starts[i], 1, &s), UV_EINVAL);
    cr_expect_eq(decode(NULL, 0, &s), UV_EINVAL);
    cr_expect_eq(s.key, 9, "untouched");
}

Test(sense, speaks_t10s_words_without_a_prefix)
{
    static const struct {
        uint8_t asc, ascq;
        const char *text;
    } rows[] = {
        {0x29, 0x00, "Power on, reset, or bus device reset occurred"},
        {0x3f, 0x0e, "Reported luns data has changed"},
        {0x40, 0x85, "Diagnostic failure on component [0x85]"},
        {0x2a, 0x7e, "ASC 2A, ASCQ 7E"},
        {0x29, 0x80, "ASC 29, ASCQ 80 (vendor specific)"},
        {0x80, 0x01, "ASC 80, ASCQ 01 (vendor specific)"},
    };
    char text[SENSE_TEXT_BYTES];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_str_eq(sense_text(rows[i].asc, rows[i].ascq, text), rows[i].text);
}

Test(sense, has_text_for_every_code)
{
    for (unsigned asc = 0; asc < 256; asc++) {
        for (unsigned ascq = 0; ascq < 256; ascq++) {
            char text[SENSE_TEXT_BYTES];
            memset(text, 'x', sizeof text);
            sense_text((uint8_t)asc, (uint8_t)ascq, text);
            cr_assert(memchr(text, 0, sizeof text) && *text, "%02x/%02x", asc, ascq);
        }
    }
}

Test(sense, names_keys)
{
    cr_expect_str_eq(sense_key_name(6), "UNIT ATTENTION");
    cr_expect_str_eq(sense_key_name(0x0e), "MISCOMPARE");
    cr_expect_str_eq(sense_key_name(0xff), "COMPLETED");
}
