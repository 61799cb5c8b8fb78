/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/grpc/headers.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { FIRST_CAP = 256 };

void headers_deinit(struct headers *h)
{
    free(h->text);
    *h = (struct headers){0};
}

static bool reserve(struct headers *h, size_t more)
{
    size_t cap = h->cap ? h->cap : FIRST_CAP;
    while (cap - h->len < more)
        cap *= 2;
    if (cap == h->cap)
        return true;
    char *text = realloc(h->text, cap);
    if (!text)
        return false;
    h->text = text;
    h->cap = cap;
    return true;
}

int headers_add(struct headers *h, const uint8_t *name, size_t name_len, const uint8_t *value, size_t value_len,
                size_t max_bytes)
{
    h->list_bytes += name_len + value_len + HEADERS_FIELD_OVERHEAD;
    if (h->list_bytes > max_bytes)
        return UV_E2BIG;
    if (!reserve(h, name_len + value_len + 2))
        return UV_ENOMEM;
    h->n++;
    memcpy(h->text + h->len, name, name_len);
    h->len += name_len;
    h->text[h->len++] = '\0';
    if (value_len > 0)
        memcpy(h->text + h->len, value, value_len);
    h->len += value_len;
    h->text[h->len++] = '\0';
    return 0;
}

const char *headers_get(const struct headers *h, const char *name)
{
    const char *value;
    for (const char *at = headers_next(h, NULL, &value); at; at = headers_next(h, at, &value)) {
        if (strcmp(at, name) == 0)
            return value;
    }
    return NULL;
}

const char *headers_next(const struct headers *h, const char *name, const char **out_value)
{
    const char *at = h->text;
    if (name) {
        at = name + strlen(name) + 1;
        at += strlen(at) + 1;
    }
    if (h->n == 0 || at == h->text + h->len)
        return NULL;
    *out_value = at + strlen(at) + 1;
    return at;
}
