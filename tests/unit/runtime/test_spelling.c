/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "runtime/spelling.h"

Test(spelling, counts_edits)
{
    cr_expect_eq(spelling_distance("", "", false), 0);
    cr_expect_eq(spelling_distance("watch", "watch", false), 0);
    cr_expect_eq(spelling_distance("wach", "watch", false), 1);
    cr_expect_eq(spelling_distance("watch", "", false), 5);
    cr_expect_eq(spelling_distance("kitten", "sitting", false), 3);
}

Test(spelling, folds_case_only_when_asked)
{
    cr_expect_eq(spelling_distance("LUN", "lun", true), 0);
    cr_expect_eq(spelling_distance("LUN", "lun", false), 3);
}

Test(spelling, gives_up_on_long_words)
{
    char text[60];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = 0;
    cr_expect_eq(spelling_distance(text, text, false), SPELLING_MAX_DISTANCE);
}
