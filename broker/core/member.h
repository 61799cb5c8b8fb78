/* SPDX-License-Identifier: Apache-2.0 */
/* Members of messages that come from outside: whether a text is one, and how a bad member is named. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* `min` to `max` bytes of UTF-8. */
bool member_text_valid(const char *text, size_t min, size_t max);
/* Put what is wrong into `err`, cut to fit. Returns UV_EINVAL. */
__attribute__((format(printf, 3, 4))) int member_invalid(char *err, size_t err_len, const char *format, ...);
