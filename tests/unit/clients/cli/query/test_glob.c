/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/query/glob.h"

#include <criterion/criterion.h>
#include <string.h>

Test(glob, matches_runs_and_single_bytes)
{
    static const struct {
        const char *pattern, *text;
        bool matches;
    } cases[] = {
        {"", "", true},           {"", "a", false},          {"*", "", true},         {"*", "abc", true},
        {"a?c", "abc", true},     {"a?c", "ac", false},      {"LUN_*", "LUN_", true}, {"LUN_*", "LUN", false},
        {"*a*b*", "xaxbx", true}, {"*a*b*", "xbxax", false}, {"a*a", "a", false},     {"**a", "ba", true},
        {"db-?", "DB-1", false},  {"abc", "abc", true},      {"*.?", "x.y.z", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_eq(glob_match(cases[i].pattern, cases[i].text, false), cases[i].matches, "%s on %s", cases[i].pattern,
                     cases[i].text);
}

Test(glob, folds_case_only_when_asked)
{
    cr_expect(glob_match("lun_*", "LUN_RESET", true));
    cr_expect_not(glob_match("lun_*", "LUN_RESET", false));
}

Test(glob, does_not_explode_on_many_stars)
{
    char text[2001];
    memset(text, 'a', 2000);
    text[2000] = 0;
    cr_expect_not(glob_match("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", text, false));
}
