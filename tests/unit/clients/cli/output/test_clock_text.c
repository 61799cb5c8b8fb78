/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/output/clock_text.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

#define NOW 1800000000000000000u /* 2027-01-15T08:00:00Z */
#define S   1000000000ull

Test(clock_text, utc)
{
    char buf[CLOCK_TEXT_BYTES];
    cr_expect_str_eq(clock_text_short(NOW + 231999999, NOW, true, buf), "08:00:00.231Z");
    cr_expect_str_eq(clock_text_short(NOW - 9 * 3600 * S, NOW, true, buf), "2027-01-14 23:00:00.000Z");
    cr_expect_str_eq(clock_text_full(NOW + 1, true, buf), "2027-01-15T08:00:00.000000001Z");
    cr_expect_str_eq(clock_text_short(0, NOW, true, buf), "-");
    cr_expect_str_eq(clock_text_full(0, true, buf), "-");
}

Test(clock_text, local_time_has_its_offset)
{
    char buf[CLOCK_TEXT_BYTES];
    setenv("TZ", "XXX+03:30", 1); /* west */
    tzset();
    cr_expect_str_eq(clock_text_short(NOW, NOW, false, buf), "04:30:00.000");
    cr_expect_str_eq(clock_text_full(NOW, false, buf), "2027-01-15T04:30:00.000000000-03:30");
    setenv("TZ", "XXX-05:45", 1);
    tzset();
    cr_expect_str_eq(clock_text_full(NOW, false, buf), "2027-01-15T13:45:00.000000000+05:45");
}

Test(clock_text, the_largest_time_fits)
{
    char buf[CLOCK_TEXT_BYTES];
    cr_expect_str_eq(clock_text_full(UINT64_MAX, true, buf), "2554-07-21T23:34:33.709551615Z");
}

Test(clock_text, ages)
{
    char buf[CLOCK_TEXT_BYTES];
    cr_expect_str_eq(clock_text_ago(NOW - 12 * S, NOW, buf), "12s ago");
    cr_expect_str_eq(clock_text_ago(NOW + 12 * S, NOW, buf), "0s ago");
    cr_expect_str_eq(clock_text_ago(NOW - 300 * S, NOW, buf), "5m ago");
    cr_expect_str_eq(clock_text_ago(NOW - 7200 * S, NOW, buf), "2h ago");
    cr_expect_str_eq(clock_text_ago(NOW - 5 * 86400 * S, NOW, buf), "5d ago");
    cr_expect_str_eq(clock_text_ago(0, NOW, buf), "-");
}
