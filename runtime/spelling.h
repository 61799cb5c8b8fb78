/* SPDX-License-Identifier: Apache-2.0 */
/* How far a word is from a known one, for "did you mean". Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define SPELLING_MAX_DISTANCE 40

/* Edit distance: insertions, deletions and changes of one byte. `fold` ignores the case of ASCII letters. Words longer
 * than SPELLING_MAX_DISTANCE bytes are SPELLING_MAX_DISTANCE apart from everything. */
size_t spelling_distance(const char *a, const char *b, bool fold);

/* Which of the known words a word was meant to be. Set the first three and show each known word. */
struct spelling_search {
    const char *word;
    bool fold;
    size_t limit;        /* only what is less than this apart from the word is near; then the best so far */
    const char *nearest; /* borrowed from the known ones, the first of equally near ones; NULL while none is near */
};
void spelling_consider(struct spelling_search *s, const char *known);
