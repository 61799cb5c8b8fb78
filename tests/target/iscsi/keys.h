/* SPDX-License-Identifier: Apache-2.0 */
/* Text keys of login and text requests (RFC 7143 section 6): reading "key=value" items, and writing them. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEYS_NAME_BYTES  64  /* a key and its NUL */
#define KEYS_VALUE_BYTES 513 /* the longest value that we read (a CHAP response of 256 bytes in hex), and its NUL */
#define KEYS_OUT_BYTES   4096

struct key {
    char name[KEYS_NAME_BYTES];
    char value[KEYS_VALUE_BYTES];
};

enum keys_result { KEYS_ITEM, KEYS_END, KEYS_BAD };

/* The next item of *text (moved forward). KEYS_BAD: no '=', no NUL, a key or value that is too long, a control
 * character. */
enum keys_result keys_next(const uint8_t **text, size_t *len, struct key *out_key);

/* The items of an answer. Zeroed is empty. */
struct keys_out {
    uint8_t bytes[KEYS_OUT_BYTES];
    size_t len;
    bool overflow; /* something did not fit: the answer must not be sent */
};
void keys_put(struct keys_out *out, const char *name, const char *value);
void keys_put_number(struct keys_out *out, const char *name, uint32_t value);

/* A decimal or 0x number in the value. Returns 0 or UV_EINVAL. */
int keys_number(const char *value, uint32_t *out_number);
/* "Yes" or "No". Returns 0 or UV_EINVAL. */
int keys_boolean(const char *value, bool *out_boolean);
/* The first word of the comma-separated `offer` that is among the `n` known ones; -1 when there is none. */
int keys_choose(const char *offer, const char *const *known, int n);
/* Bytes written as 0x and hex digits. Returns how many, or UV_EINVAL (other form, more than `cap`). */
int keys_binary(const char *value, uint8_t *out, size_t cap);
void keys_put_binary(struct keys_out *out, const char *name, const uint8_t *bytes, size_t len);
