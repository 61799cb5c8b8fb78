/* SPDX-License-Identifier: Apache-2.0 */
/* How far a word is from a known one, for "did you mean". Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define SPELLING_MAX_DISTANCE 40

/* Edit distance: insertions, deletions and changes of one byte. `fold` ignores the case of ASCII letters. Words longer
 * than SPELLING_MAX_DISTANCE bytes are SPELLING_MAX_DISTANCE apart from everything. */
size_t spelling_distance(const char *a, const char *b, bool fold);
