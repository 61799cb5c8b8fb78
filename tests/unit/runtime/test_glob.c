/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "runtime/glob.h"

Test(glob, matches_runs_and_single_bytes)
{
    static const struct {
        const char *pattern, *text;
        bool wanted;
    } rows[] = {
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"*", "anything", true},
        {"?", "", false},
        {"?", "a", true},
        {"?", "ab", false},
        {"a*", "a", true},
        {"a*", "abc", true},
        {"a*", "ba", false},
        {"*a", "ba", true},
        {"*a", "ab", false},
        {"*a*", "xax", true},
        {"a*b*c", "a1b2c", true},
        {"a*b*c", "a1c2b", false},
        {"*ab", "aab", true},
        {"*ab*cd", "ababxcd", true},
        {"a**b", "ab", true},
        {"a?c", "abc", true},
        {"a?c", "ac", false},
        {"**", "x", true},
        {"abc", "abc", true},
        {"abc", "ab", false},
        {"*.example.org", "a.example.org", true},
        {"LUN_*", "LUN_", true},
        {"LUN_*", "LUN", false},
        {"*a*b*", "xaxbx", true},
        {"*a*b*", "xbxax", false},
        {"a*a", "a", false},
        {"**a", "ba", true},
        {"db-?", "DB-1", false},
        {"*.?", "x.y.z", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(glob_matches(rows[i].pattern, rows[i].text, strlen(rows[i].text), false), rows[i].wanted,
                     "%s with %s", rows[i].pattern, rows[i].text);
}

Test(glob, takes_text_that_is_not_terminated)
{
    cr_expect(glob_matches("ab", "abc", 2, false));
    cr_expect_not(glob_matches("abc", "abc", 2, false));
}

Test(glob, folds_case_only_when_asked)
{
    cr_expect(glob_matches("lun_*", "LUN_RESET", 9, true));
    cr_expect_not(glob_matches("lun_*", "LUN_RESET", 9, false));
}

Test(glob, knows_a_pattern_from_a_name)
{
    cr_expect(glob_is_pattern("db-?"));
    cr_expect(glob_is_pattern("*"));
    cr_expect_not(glob_is_pattern("db-07"));
}

Test(glob, ends_soon_on_a_hostile_pattern)
{
    static char text[65536];
    char pattern[257] = "";
    memset(text, 'a', sizeof text);
    for (size_t i = 0; i < 128; i++)
        memcpy(pattern + 2 * i, "*a", 2);
    pattern[255] = 'b';
    pattern[256] = '\0';
    cr_assert_not(glob_matches(pattern, text, sizeof text, false));
}
