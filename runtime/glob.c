/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/glob.h"

#include <ctype.h>
#include <string.h>

bool glob_is_pattern(const char *pattern)
{
    return strpbrk(pattern, "*?") != NULL;
}

static bool same(char a, char b, bool fold)
{
    return fold ? tolower((unsigned char)a) == tolower((unsigned char)b) : a == b;
}

/* Only the last '*' need ever take more: what an earlier one took can stay. */
bool glob_matches(const char *pattern, const char *text, size_t len, bool fold)
{
    const char *after_star = NULL;
    size_t at = 0, star_at = 0;

    while (at < len) {
        if (*pattern == '*') {
            after_star = ++pattern;
            star_at = at;
        } else if (*pattern && (*pattern == '?' || same(*pattern, text[at], fold))) {
            pattern++;
            at++;
        } else if (after_star) {
            pattern = after_star;
            at = ++star_at;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}
