/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/grpc/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

/* ------------------------------------------------------------------------------------------------ messages */

enum { FIRST_BODY_BYTES = 4096 };

void wire_framer_deinit(struct wire_framer *f)
{
    free(f->body);
    f->body = NULL;
    f->cap = 0;
}

bool wire_framer_between_messages(const struct wire_framer *f)
{
    return f->n_prefix == 0;
}

static void next_message(struct wire_framer *f)
{
    f->n_prefix = 0;
    f->have = 0;
}

/* Memory follows the bytes that came, not the length announced: it at most doubles with each of them. */
static bool reserve(struct wire_framer *f, uint32_t wanted)
{
    if (wanted <= f->cap)
        return true;
    uint64_t cap = f->cap ? f->cap : FIRST_BODY_BYTES;
    while (cap < wanted)
        cap *= 2;
    if (cap > f->len)
        cap = f->len;
    uint8_t *body = realloc(f->body, cap);
    if (!body)
        return false;
    f->body = body;
    f->cap = (uint32_t)cap;
    return true;
}

static enum wire_step read_prefix(struct wire_framer *f, const uint8_t **in, size_t *in_len)
{
    while (f->n_prefix<WIRE_PREFIX_LEN && * in_len> 0) {
        f->prefix[f->n_prefix++] = *(*in)++;
        (*in_len)--;
    }
    if (f->n_prefix < WIRE_PREFIX_LEN)
        return WIRE_NEED_MORE;
    f->len = (uint32_t)f->prefix[1] << 24 | (uint32_t)f->prefix[2] << 16 | (uint32_t)f->prefix[3] << 8 | f->prefix[4];
    if (f->prefix[0] > 1)
        return WIRE_BAD_PREFIX;
    if (f->prefix[0] == 1)
        return WIRE_COMPRESSED;
    return f->len > f->max_len ? WIRE_TOO_LONG : WIRE_MESSAGE;
}

enum wire_step wire_framer_step(struct wire_framer *f, const uint8_t **in, size_t *in_len, const uint8_t **out_bytes,
                                size_t *out_len)
{
    enum wire_step step = read_prefix(f, in, in_len);
    if (step != WIRE_MESSAGE)
        return step;
    if (f->have == 0 && f->cap > 0) {
        /* A long message of the past must not hold its memory. */
        wire_framer_deinit(f);
    }
    uint32_t missing = f->len - f->have;
    if (f->have == 0 && *in_len >= missing) {
        *out_bytes = *in;
        *out_len = f->len;
        *in += missing;
        *in_len -= missing;
        next_message(f);
        return WIRE_MESSAGE;
    }
    uint32_t n = *in_len < missing ? (uint32_t)*in_len : missing;
    if (!reserve(f, f->have + n))
        return WIRE_NO_MEMORY;
    if (n > 0)
        memcpy(f->body + f->have, *in, n);
    f->have += n;
    *in += n;
    *in_len -= n;
    if (f->have < f->len)
        return WIRE_NEED_MORE;
    *out_bytes = f->body;
    *out_len = f->len;
    next_message(f);
    return WIRE_MESSAGE;
}

void wire_put_prefix(uint8_t out[WIRE_PREFIX_LEN], uint32_t len)
{
    out[0] = 0;
    out[1] = (uint8_t)(len >> 24);
    out[2] = (uint8_t)(len >> 16);
    out[3] = (uint8_t)(len >> 8);
    out[4] = (uint8_t)len;
}

/* ------------------------------------------------------------------------------------------------ grpc-timeout */

/* Nanoseconds of one unit. */
static uint64_t unit_ns(char unit)
{
    switch (unit) {
    case 'n': return 1;
    case 'u': return 1000;
    case 'm': return 1000000;
    case 'S': return 1000000000;
    case 'M': return 60ULL * 1000000000;
    case 'H': return 3600ULL * 1000000000;
    default: return 0;
    }
}

int wire_timeout_parse(const char *text, uint64_t *out_ms)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 8 || text[digits] == '\0' || text[digits + 1] != '\0')
        return UV_EINVAL;
    uint64_t unit = unit_ns(text[digits]);
    if (unit == 0)
        return UV_EINVAL;
    uint64_t value = strtoull(text, NULL, 10);
    /* 99999999 hours are 3.6e20 ns: more than 64 bits hold, so long units are counted in milliseconds at once. */
    *out_ms = unit >= 1000000 ? value * (unit / 1000000) : (value * unit + 999999) / 1000000;
    return 0;
}

void wire_timeout_format(uint64_t ms, char out[WIRE_TIMEOUT_MAX])
{
    static const struct {
        uint64_t ms;
        char unit;
    } units[] = {{1, 'm'}, {1000, 'S'}, {60000, 'M'}, {3600000, 'H'}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        uint64_t value = ms / units[i].ms + (ms % units[i].ms != 0);
        if (value <= 99999999) {
            snprintf(out, WIRE_TIMEOUT_MAX, "%u%c", (unsigned)value, units[i].unit);
            return;
        }
    }
    snprintf(out, WIRE_TIMEOUT_MAX, "99999999H");
}

/* ------------------------------------------------------------------------------------------------ grpc-message */

/* Bytes of the UTF-8 character that begins here, as its first byte says; 1 for a byte that begins none. */
static size_t character_len(const char *text)
{
    unsigned char c = (unsigned char)*text;
    size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
    for (size_t i = 1; i < n; i++) {
        if (((unsigned char)text[i] & 0xc0) != 0x80)
            return i;
    }
    return n;
}

static bool is_plain(char c)
{
    return c >= 0x20 && c <= 0x7e && c != '%';
}

void wire_message_encode(const char *text, char *out, size_t cap)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t n = 0;
    while (*text) {
        size_t len = character_len(text);
        size_t need = is_plain(*text) ? 1 : 3 * len;
        if (n + need >= cap)
            break;
        for (size_t i = 0; i < len; i++, text++) {
            if (is_plain(*text)) {
                out[n++] = *text;
                continue;
            }
            out[n++] = '%';
            out[n++] = hex[(unsigned char)*text >> 4];
            out[n++] = hex[*text & 15];
        }
    }
    out[n] = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

void wire_message_decode(char *text)
{
    char *out = text;
    while (*text) {
        int high = text[0] == '%' ? hex_value(text[1]) : -1;
        int low = high >= 0 ? hex_value(text[2]) : -1;
        /* %00 stays: a NUL would cut the text. */
        if (low >= 0 && (high | low) != 0) {
            *out++ = (char)(high << 4 | low);
            text += 3;
        } else {
            *out++ = *text++;
        }
    }
    *out = '\0';
}

/* ------------------------------------------------------------------------------------------------ content-type */

bool wire_is_grpc_content_type(const char *text)
{
    static const char name[] = "application/grpc";
    size_t n = sizeof name - 1;
    if (strncasecmp(text, name, n) != 0)
        return false;
    return text[n] == '\0' || text[n] == '+' || text[n] == ';' || text[n] == ' ';
}
