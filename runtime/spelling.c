/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/spelling.h"

#include <ctype.h>
#include <string.h>

static bool same(char a, char b, bool fold)
{
    return fold ? tolower((unsigned char)a) == tolower((unsigned char)b) : a == b;
}

size_t spelling_distance(const char *a, const char *b, bool fold)
{
    size_t n = strlen(a), m = strlen(b), row[SPELLING_MAX_DISTANCE + 1];

    if (n > SPELLING_MAX_DISTANCE || m > SPELLING_MAX_DISTANCE)
        return SPELLING_MAX_DISTANCE;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t change = diagonal + !same(a[i - 1], b[j - 1], fold);
            diagonal = row[j];
            size_t best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            row[j] = change < best ? change : best;
        }
    }
    return row[m];
}

void spelling_consider(struct spelling_search *s, const char *known)
{
    size_t distance = spelling_distance(s->word, known, s->fold);
    if (distance < s->limit) {
        s->limit = distance;
        s->nearest = known;
    }
}
