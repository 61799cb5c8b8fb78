/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/member.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "proto/wire.h"

bool member_text_valid(const char *text, size_t min, size_t max)
{
    size_t len = strnlen(text, max + 1);
    return len >= min && len <= max && utf8_valid((const uint8_t *)text, len);
}

int member_invalid(char *err, size_t err_len, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(err, err_len, format, args);
    va_end(args);
    return UV_EINVAL;
}
