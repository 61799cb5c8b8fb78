/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/compare.h"

#include <criterion/criterion.h>
#include <string.h>

#include "sensebus/v1/code.pb-c.h"

static struct compare c;
static struct compare_difference d;

static void capacity(uint8_t n_blocks)
{
    uint8_t bytes[12] = {[7] = (uint8_t)(n_blocks - 1), [10] = 2};

    compare_read(&c, COMPARE_CAPACITY, bytes, sizeof bytes);
}

static void protection(uint8_t byte)
{
    compare_read(&c, COMPARE_PROTECTION, &byte, 1);
}

static void limits(uint8_t at_11, uint8_t at_20, size_t len)
{
    uint8_t bytes[COMPARE_BYTES] = {[7] = at_11, [16] = at_20};

    compare_read(&c, COMPARE_LIMITS, bytes, len);
}

static void reset(void)
{
    compare_reset(&c);
}

TestSuite(compare, .init = reset);

Test(compare, the_first_reading_and_equal_ones_are_no_news)
{
    for (int i = 0; i < 3; i++) {
        capacity(8);
        protection(0);
        limits(1, 2, 60);
        cr_assert(!compare_take(&c, &d));
    }
}

Test(compare, each_trait_has_its_code_its_command_and_words)
{
    static const struct {
        uint32_t code;
        const char *name, *detail;
    } want[] = {
        {SENSEBUS__V1__CODE__CAPACITY_CHANGED, "read-capacity",
         "detected by comparison: 16 blocks of 512 bytes, 8 of 512 before"},
        {SENSEBUS__V1__CODE__WRITE_PROTECT_CHANGED, "mode-sense",
         "detected by comparison: write protected, writable before"},
        {SENSEBUS__V1__CODE__INQUIRY_DATA_CHANGED, "block-limits",
         "detected by comparison: maximum transfer length 7 blocks, 1 before (0 = no limit)"},
    };

    capacity(8);
    protection(0);
    limits(1, 2, 60);
    capacity(16);
    protection(0x80);
    limits(7, 2, 60);
    for (size_t i = 0; i < 3; i++) {
        cr_assert(compare_take(&c, &d));
        cr_assert_eq(d.code, want[i].code);
        cr_assert_str_eq(d.name, want[i].name);
        cr_assert_str_eq(d.detail, want[i].detail);
    }
    cr_assert_eq(d.before.bytes[7], 1);
    cr_assert_eq(d.now.bytes[7], 7);
    cr_assert(!compare_take(&c, &d), "told once");
    protection(0);
    cr_assert(compare_take(&c, &d));
    cr_assert_str_eq(d.detail, "detected by comparison: writable, write protected before");
}

Test(compare, limits_that_nobody_has_a_name_for_are_told_by_their_place)
{
    limits(1, 2, 60);
    limits(1, 9, 60);
    cr_assert(compare_take(&c, &d));
    cr_assert_str_eq(d.detail, "detected by comparison: block limits (VPD page B0h) differ from byte 20 on: 09h, 02h "
                               "before");
    limits(1, 9, 12);
    cr_assert(compare_take(&c, &d));
    cr_assert_str_eq(d.detail, "detected by comparison: block limits (VPD page B0h) have 12 bytes, 60 before");
}

Test(compare, what_is_too_long_is_compared_as_far_as_it_is_kept)
{
    uint8_t page[COMPARE_BYTES + 4] = {0};

    compare_read(&c, COMPARE_LIMITS, page, sizeof page);
    page[COMPARE_BYTES] = 1;
    compare_read(&c, COMPARE_LIMITS, page, sizeof page);
    cr_assert(!compare_take(&c, &d));
    page[COMPARE_BYTES - 1] = 1;
    compare_read(&c, COMPARE_LIMITS, page, sizeof page);
    cr_assert(compare_take(&c, &d));
}

Test(compare, what_is_announced_before_it_is_read_is_not_told_again)
{
    capacity(8);
    cr_assert(compare_announced(&c, SENSEBUS__V1__CODE__CAPACITY_CHANGED));
    capacity(16);
    cr_assert(!compare_take(&c, &d));
    capacity(8);
    cr_assert(compare_take(&c, &d), "that was another change");
}

Test(compare, what_is_announced_after_it_was_read_is_not_told_again)
{
    limits(1, 2, 60);
    limits(3, 2, 60);
    cr_assert(compare_announced(&c, SENSEBUS__V1__CODE__INQUIRY_DATA_CHANGED));
    cr_assert(!compare_take(&c, &d));
    limits(3, 2, 60);
    cr_assert(!compare_take(&c, &d));
}

Test(compare, a_change_that_is_undone_while_it_is_held_is_not_told)
{
    protection(0);
    protection(0x80);
    protection(0);
    cr_assert(!compare_take(&c, &d));
}

Test(compare, of_two_changes_the_first_state_and_the_last_are_told)
{
    capacity(8);
    capacity(16);
    capacity(32);
    cr_assert(compare_take(&c, &d));
    cr_assert_str_eq(d.detail, "detected by comparison: 32 blocks of 512 bytes, 8 of 512 before");
    cr_assert(!compare_take(&c, &d));
}

Test(compare, an_announcement_explains_its_own_trait_alone)
{
    capacity(8);
    protection(0);
    cr_assert(compare_announced(&c, SENSEBUS__V1__CODE__MODE_PARAMETERS_CHANGED));
    cr_assert(!compare_announced(&c, SENSEBUS__V1__CODE__POWER_ON_OR_RESET));
    capacity(16);
    protection(0x80);
    cr_assert(compare_take(&c, &d));
    cr_assert_eq(d.code, SENSEBUS__V1__CODE__CAPACITY_CHANGED);
    cr_assert(!compare_take(&c, &d));
}

Test(compare, another_medium_explains_everything)
{
    capacity(8);
    protection(0);
    limits(1, 2, 60);
    cr_assert(compare_announced(&c, SENSEBUS__V1__CODE__MEDIUM_CHANGED));
    capacity(16);
    protection(0x80);
    limits(7, 2, 60);
    cr_assert(!compare_take(&c, &d));
}
