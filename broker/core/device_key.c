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

static bool needs_escape(uint8_t c)
{
    return c < 0x20 || c == 0x7f || c == '/' || c == '%';
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
    char numbers[32] = "";
    if (address->bus >= 0 || address->target >= 0)
        snprintf(numbers, sizeof numbers, ":%" PRId32 ":%" PRId32, address->bus, address->target);
    write_text(w, address->adapter, MIDDLE_MAX - strlen(numbers));
    write_string(w, numbers);
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
        char lun[24];
        snprintf(lun, sizeof lun, "/%" PRId64, address->lun);
        write_string(&w, lun);
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
