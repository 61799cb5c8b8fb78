/* SPDX-License-Identifier: Apache-2.0 */
/* Name patterns: '*' is any run of characters, '?' one byte. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* True when `pattern` holds a '*' or '?'. */
bool glob_is_pattern(const char *pattern);
/* Does all of `text` match? `fold` ignores the case of ASCII letters. Time is at worst pattern * text; no recursion. */
bool glob_matches(const char *pattern, const char *text, size_t len, bool fold);
