/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/query/octets.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool is_hex(const char *text)
{
    return text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
}

static int too_long(size_t cap, char *err, size_t err_len)
{
    snprintf(err, err_len, "longer than %zu bytes", cap);
    return UV_E2BIG;
}

int octets_parse(const char *text, uint8_t *out, size_t cap, size_t *out_len, char *err, size_t err_len)
{
    size_t len = strlen(text);
    if (!is_hex(text)) {
        if (len > cap)
            return too_long(cap, err, err_len);
        memcpy(out, text, len);
        *out_len = len;
        return 0;
    }
    text += 2;
    len -= 2;
    if (len % 2 || strspn(text, "0123456789abcdefABCDEF") != len) {
        snprintf(err, err_len, "'0x%.40s': two hexadecimal digits for each byte are expected", text);
        return UV_EINVAL;
    }
    if (len / 2 > cap)
        return too_long(cap, err, err_len);
    for (size_t i = 0; i < len / 2; i++)
        out[i] = (uint8_t)(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
    *out_len = len / 2;
    return 0;
}

const char *octets_text(const void *bytes, size_t len, char *out, size_t cap)
{
    const uint8_t *b = bytes;
    bool printable = len < 2 || !is_hex((const char *)b);
    for (size_t i = 0; i < len; i++)
        printable = printable && b[i] > ' ' && b[i] < 0x7f;
    if (printable) {
        snprintf(out, cap, "%.*s", (int)len, (const char *)b);
        return out;
    }
    size_t at = (size_t)snprintf(out, cap, "0x");
    for (size_t i = 0; i < len && at + 2 < cap; i++)
        at += (size_t)snprintf(out + at, cap - at, "%02x", b[i]);
    return out;
}
