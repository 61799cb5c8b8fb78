/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/target/iscsi/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static bool copy_text(char *out, size_t cap, const uint8_t *bytes, size_t len)
{
    if (len >= cap)
        return false;
    for (size_t i = 0; i < len; i++)
        if (bytes[i] < 0x20 || bytes[i] == 0x7f)
            return false;
    memcpy(out, bytes, len);
    out[len] = '\0';
    return true;
}

enum keys_result keys_next(const uint8_t **text, size_t *len, struct key *out_key)
{
    const uint8_t *item, *end, *equals;
    size_t item_len;

    while (*len > 0 && **text == '\0') { /* padding within the data segment */
        ++*text;
        --*len;
    }
    if (*len == 0)
        return KEYS_END;
    item = *text;
    end = memchr(item, '\0', *len);
    if (!end)
        return KEYS_BAD;
    item_len = (size_t)(end - item);
    equals = memchr(item, '=', item_len);
    if (!equals || equals == item || !copy_text(out_key->name, KEYS_NAME_BYTES, item, (size_t)(equals - item)) ||
        !copy_text(out_key->value, KEYS_VALUE_BYTES, equals + 1, (size_t)(end - equals - 1)))
        return KEYS_BAD;
    *text = end + 1;
    *len -= item_len + 1;
    return KEYS_ITEM;
}

void keys_put(struct keys_out *out, const char *name, const char *value)
{
    size_t left = sizeof(out->bytes) - out->len;
    int n = snprintf((char *)out->bytes + out->len, left, "%s=%s", name, value);

    if (n < 0 || (size_t)n >= left)
        out->overflow = true;
    else
        out->len += (size_t)n + 1;
}

void keys_put_number(struct keys_out *out, const char *name, uint32_t value)
{
    char text[16];

    snprintf(text, sizeof(text), "%u", value);
    keys_put(out, name, text);
}

int keys_number(const char *value, uint32_t *out_number)
{
    bool hex = value[0] == '0' && (value[1] == 'x' || value[1] == 'X');
    const char *digits = hex ? value + 2 : value;
    size_t n = strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789");
    unsigned long long number;

    if (n == 0 || n > 10 || digits[n] != '\0')
        return UV_EINVAL;
    number = strtoull(digits, NULL, hex ? 16 : 10);
    if (number > UINT32_MAX)
        return UV_EINVAL;
    *out_number = (uint32_t)number;
    return 0;
}

int keys_boolean(const char *value, bool *out_boolean)
{
    if (strcmp(value, "Yes") != 0 && strcmp(value, "No") != 0)
        return UV_EINVAL;
    *out_boolean = value[0] == 'Y';
    return 0;
}

int keys_choose(const char *offer, const char *const *known, int n)
{
    for (size_t len; *offer; offer += len + (offer[len] == ',')) {
        len = strcspn(offer, ",");
        for (int i = 0; i < n; i++)
            if (strlen(known[i]) == len && memcmp(known[i], offer, len) == 0)
                return i;
    }
    return -1;
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int keys_binary(const char *value, uint8_t *out, size_t cap)
{
    size_t n_digits = strlen(value);

    if (n_digits < 4 || n_digits % 2 || n_digits / 2 - 1 > cap || value[0] != '0' || (value[1] | 0x20) != 'x')
        return UV_EINVAL;
    for (size_t i = 2; i < n_digits; i += 2) {
        int high = nibble(value[i]), low = nibble(value[i + 1]);

        if (high < 0 || low < 0)
            return UV_EINVAL;
        out[i / 2 - 1] = (uint8_t)(high << 4 | low);
    }
    return (int)(n_digits / 2 - 1);
}

void keys_put_binary(struct keys_out *out, const char *name, const uint8_t *bytes, size_t len)
{
    char text[KEYS_VALUE_BYTES] = "0x";

    if (2 * len + 3 > sizeof(text)) {
        out->overflow = true;
        return;
    }
    for (size_t i = 0; i < len; i++)
        snprintf(text + 2 + 2 * i, 3, "%02x", bytes[i]);
    keys_put(out, name, text);
}
