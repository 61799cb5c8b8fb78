/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/device_key.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define HOST_MAX   253 /* bytes each part may take; together with "/" twice and a LUN they fit */
#define MIDDLE_MAX 223 /* the longest iSCSI name (RFC 7143 section 4.2.7.2) */
#define HASH_CHARS 17  /* "~" and 16 digits */

/* As enum Scope of event.proto. */
enum { TARGET = 2, SESSION = 3, CONNECTION = 4, PORT = 5, BUS = 6, ADAPTER = 7, FABRIC = 8, HOST = 10, BROKER = 11 };

struct key_writer {
    char *out;
    size_t len;
};

static void write_char(struct key_writer *w, char c)
{
    assert(w->len + 1 < DEVICE_KEY_SIZE);
    w->out[w->len++] = c;
}

static void write_string(struct key_writer *w, const char *string)
{
    for (; *string; string++)
        write_char(w, *string);
}

static void write_plain(struct key_writer *w, const char *bytes, size_t len)
{
    assert(w->len + len < DEVICE_KEY_SIZE);
    if (len)
        memcpy(w->out + w->len, bytes, len);
    w->len += len;
}

static bool needs_escape(uint8_t c)
{
    return c < 0x20 || c == 0x7f || c == '/' || c == '%';
}

/* Each of a word's eight bytes is `c`. */
static inline uint64_t eight_of(uint8_t c)
{
    return 0x0101010101010101u * c;
}

/* Is a byte of the word less than `n` (at most 128)? */
static inline bool has_less(uint64_t word, uint8_t n)
{
    return ((word - eight_of(n)) & ~word & eight_of(0x80)) != 0;
}

static inline bool eight_plain(uint64_t word)
{
    return !has_less(word, 0x20) && !has_less(word ^ eight_of(0x7f), 1) && !has_less(word ^ eight_of('/'), 1) &&
           !has_less(word ^ eight_of('%'), 1);
}

/* Less than eight bytes, put together in a register. */
static inline bool short_plain(const uint8_t *p, size_t len)
{
    if (len >= 4) {
        uint32_t low, high;
        memcpy(&low, p, sizeof low);
        memcpy(&high, p + len - sizeof high, sizeof high);
        return eight_plain(low | (uint64_t)high << 32);
    }
    if (len == 0)
        return true;
    uint32_t three = p[0] | (uint32_t)p[len / 2] << 8 | (uint32_t)p[len - 1] << 16;
    return eight_plain((eight_of('x') & ~(uint64_t)0xffffff) | three);
}

/* As names nearly always are: nothing in it needs an escape. The last bytes are looked at in a word that may overlap.
 */
static bool is_plain(struct text text)
{
    uint64_t word;
    if (text.len < sizeof word)
        return short_plain((const uint8_t *)text.ptr, text.len);
    for (size_t i = 0; i + sizeof word < text.len; i += sizeof word) {
        memcpy(&word, text.ptr + i, sizeof word);
        if (!eight_plain(word))
            return false;
    }
    memcpy(&word, text.ptr + text.len - sizeof word, sizeof word);
    return eight_plain(word);
}

/* FNV-1a: stable for ever, as keys are stored. */
static uint64_t hash_text(struct text text)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ (uint8_t)text.ptr[i]) * 0x100000001b3;
    return hash;
}

static size_t escaped_length(struct text text)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++)
        len += needs_escape((uint8_t)text.ptr[i]) ? 3 : 1;
    return len;
}

/* At most `max` bytes; a longer text is cut between characters and ends in its hash. */
static void write_text(struct key_writer *w, struct text text, size_t max)
{
    if (text.len <= max && is_plain(text)) {
        write_plain(w, text.ptr, text.len);
        return;
    }
    bool is_cut = escaped_length(text) > max;
    size_t room = is_cut ? max - HASH_CHARS : max, i = 0;
    while (i < text.len) {
        size_t n = 1, cost = needs_escape((uint8_t)text.ptr[i]) ? 3 : 1;
        while (i + n < text.len && ((uint8_t)text.ptr[i + n] & 0xc0) == 0x80) {
            n++;
            cost++;
        }
        if (cost > room)
            break;
        room -= cost;
        for (; n; n--, i++) {
            uint8_t c = (uint8_t)text.ptr[i];
            char hex[4];
            if (needs_escape(c)) {
                snprintf(hex, sizeof hex, "%%%02X", c);
                write_string(w, hex);
            } else {
                write_char(w, (char)c);
            }
        }
    }
    if (is_cut) {
        char tail[HASH_CHARS + 1];
        snprintf(tail, sizeof tail, "~%016" PRIx64, hash_text(text));
        write_string(w, tail);
    }
}

#define NUMBER_CHARS 20 /* "-9223372036854775808" */

/* In decimal, not terminated; returns the length. */
static size_t format_number(char out[NUMBER_CHARS], int64_t number)
{
    if (number >= 0 && number < 10) {
        out[0] = (char)('0' + number);
        return 1;
    }
    if (number == -1) { /* not known */
        memcpy(out, "-1", 2);
        return 2;
    }
    char reversed[NUMBER_CHARS];
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    size_t n = 0, len = 0;
    do {
        reversed[n++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (number < 0)
        out[len++] = '-';
    while (n)
        out[len++] = reversed[--n];
    return len;
}

static void write_host(struct key_writer *w, struct text host)
{
    if (host.len)
        write_text(w, host, HOST_MAX);
    else
        write_char(w, '-');
}

static void write_adapter(struct key_writer *w, const struct address_view *address)
{
    write_char(w, '/');
    char numbers[2 + 2 * NUMBER_CHARS];
    size_t len = 0;
    if (address->bus >= 0 || address->target >= 0) {
        numbers[len++] = ':';
        len += format_number(numbers + len, address->bus);
        numbers[len++] = ':';
        len += format_number(numbers + len, address->target);
    }
    write_text(w, address->adapter, MIDDLE_MAX - len);
    write_plain(w, numbers, len);
}

static size_t finish(struct key_writer *w)
{
    w->out[w->len] = '\0';
    return w->len;
}

size_t device_key_write(char out[DEVICE_KEY_SIZE], struct text host, const struct address_view *address,
                        const struct device_view *device)
{
    struct key_writer w = {.out = out};
    bool has_name = device && device->present && device->target_name.len;
    bool has_address = address && address->present;
    bool has_numbers = has_address && (address->adapter.len || address->bus >= 0 || address->target >= 0);
    write_host(&w, host);
    if (has_name) {
        write_char(&w, '/');
        write_text(&w, device->target_name, MIDDLE_MAX);
    } else if (has_numbers) {
        write_adapter(&w, address);
    }
    if (has_address && (has_name || has_numbers) && address->lun >= 0) {
        char lun[NUMBER_CHARS];
        size_t len = format_number(lun, address->lun);
        write_char(&w, '/');
        write_plain(&w, lun, len);
    }
    return finish(&w);
}

size_t device_key_of_event(char out[DEVICE_KEY_SIZE], const struct event_view *event)
{
    struct address_view address = event->address;
    const struct device_view *device = &event->device;
    switch (event->scope) {
    case TARGET:
    case SESSION:
    case CONNECTION: address.lun = -1; break;
    case BUS:
        address.target = -1;
        address.lun = -1;
        device = NULL;
        break;
    case PORT:
    case ADAPTER:
    case FABRIC:
        address.bus = -1;
        address.target = -1;
        address.lun = -1;
        device = NULL;
        break;
    case HOST:
    case BROKER:
        address.present = false;
        device = NULL;
        break;
    default: break;
    }
    return device_key_write(out, event->host, &address, device);
}
