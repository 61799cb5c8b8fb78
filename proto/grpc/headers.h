/* SPDX-License-Identifier: Apache-2.0 */
/* A header list: names and values one after the other, within a bound. Pure.
 *
 * Invariant: list_bytes counts every field ever added, also those that found no room (RFC 9113, 6.5.2: name + value
 * + 32). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a field counts beyond its name and value. */
enum { HEADERS_FIELD_OVERHEAD = 32 };

/* Zeroed is empty. */
struct headers {
    char *text; /* name NUL value NUL … */
    size_t len;
    size_t cap;
    size_t list_bytes;
    size_t n; /* fields kept */
};

void headers_deinit(struct headers *h);
/* 0; UV_E2BIG when the list is longer than `max_bytes` (the field is counted, not kept); UV_ENOMEM. */
int headers_add(struct headers *h, const uint8_t *name, size_t name_len, const uint8_t *value, size_t value_len,
                size_t max_bytes);
/* The first value of that name, or NULL. Lives until the next headers_add. */
const char *headers_get(const struct headers *h, const char *name);
/* The field after the one named `name` by an earlier call, the first for NULL; NULL after the last. */
const char *headers_next(const struct headers *h, const char *name, const char **out_value);
