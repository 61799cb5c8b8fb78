/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/query/glob.h"

#include <ctype.h>
#include <string.h>

bool glob_is_pattern(const char *pattern)
{
    return strpbrk(pattern, "*?") != NULL;
}

static bool same(char a, char b, bool fold)
{
    if (fold)
        return tolower((unsigned char)a) == tolower((unsigned char)b);
    return a == b;
}

bool glob_match(const char *pattern, const char *text, bool fold)
{
    /* Where to go on when the text behind the last '*' did not match: one character further. */
    const char *star = NULL, *retry = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = ++pattern;
            retry = text;
        } else if (*pattern && (*pattern == '?' || same(*pattern, *text, fold))) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star;
            text = ++retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == 0;
}
