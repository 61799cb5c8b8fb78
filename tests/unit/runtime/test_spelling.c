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

static const char *nearest(const char *word, size_t limit, bool fold)
{
    static const char *const known[] = {"watch", "status", "list", "last"};
    struct spelling_search search = {.word = word, .limit = limit, .fold = fold};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        spelling_consider(&search, known[i]);
    return search.nearest;
}

Test(spelling, finds_the_nearest_known_word)
{
    cr_expect_str_eq(nearest("wach", 4, false), "watch");
    cr_expect_str_eq(nearest("stats", 4, false), "status");
    cr_expect_str_eq(nearest("last", 4, false), "last");
}

Test(spelling, of_equally_near_words_finds_the_first)
{
    cr_expect_str_eq(nearest("lost", 4, false), "list");
}

Test(spelling, finds_nothing_at_the_limit)
{
    cr_expect_null(nearest("wch", 2, false));
    cr_expect_str_eq(nearest("wch", 3, false), "watch");
    cr_expect_null(nearest("", 0, false));
}

Test(spelling, folds_the_case_of_a_search_only_when_asked)
{
    cr_expect_str_eq(nearest("WATCH", 3, true), "watch");
    cr_expect_null(nearest("WATCH", 3, false));
}
