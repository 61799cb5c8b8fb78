/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>

#include "clients/c/sensebus.h"

/* rule 7: helpers for the originals' correlators of 32 and 64 bits. */
Test(correlator, numbers_are_written_most_significant_first)
{
    uint8_t bytes[8];
    sb_correlator_put_u32(0x12345678, bytes);
    cr_assert_arr_eq(bytes, "\x12\x34\x56\x78", 4);
    sb_correlator_put_u64(0x0102030405060708, bytes);
    cr_assert_arr_eq(bytes, "\1\2\3\4\5\6\7\10", 8);
}

/* A9 */
Test(correlator, numbers_come_back_as_they_went)
{
    static const uint64_t NUMBERS[] = {0, 1, 0x7f21, UINT32_MAX, 1ull << 32, 1ull << 63, UINT64_MAX};
    for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++) {
        uint8_t bytes[8];
        uint32_t narrow;
        uint64_t wide;
        sb_correlator_put_u64(NUMBERS[i], bytes);
        cr_assert_eq(sb_correlator_get_u64(bytes, 8, &wide), 0);
        cr_assert_eq(wide, NUMBERS[i]);
        sb_correlator_put_u32((uint32_t)NUMBERS[i], bytes);
        cr_assert_eq(sb_correlator_get_u32(bytes, 4, &narrow), 0);
        cr_assert_eq(narrow, (uint32_t)NUMBERS[i]);
    }
}

/* A10: a legacy view shows an absent correlator as 0. */
Test(correlator, another_length_is_refused_and_shows_zero)
{
    uint32_t narrow = 7;
    uint64_t wide = 7;
    errno = 0;
    cr_assert_eq(sb_correlator_get_u32(NULL, 0, &narrow), -1);
    cr_assert_eq(errno, EINVAL);
    cr_assert_eq(narrow, 0);
    cr_assert_eq(sb_correlator_get_u64("1234", 4, &wide), -1);
    cr_assert_eq(wide, 0);
    cr_assert_eq(sb_correlator_get_u32("12345678", 8, &narrow), -1);
}
