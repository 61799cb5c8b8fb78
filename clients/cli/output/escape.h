/* SPDX-License-Identifier: Apache-2.0 */
/* Text from devices made safe for terminals and files. Device strings are hostile: whatever could move the cursor,
 * forge a line, turn the reading direction or hide itself is shown as an escape, so that what is printed is what is
 * there. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Most that one input byte can become, without the NUL. */
#define ESCAPE_MAX_GROWTH 6

/* Write `len` bytes of text, escaped and terminated, to `out`; cut at a whole character when it is full. Control
 * characters and invisible or direction-changing ones become \u{XX}, a backslash \\, bytes that are no UTF-8 \xXX.
 * Returns the length written. `out_cap` is at least 1. */
size_t escape_text(const char *text, size_t len, char *out, size_t out_cap);

/* Columns that escaped text takes on a terminal: one for each character (wide ones are not told apart). */
size_t escape_columns(const char *text, size_t len);
