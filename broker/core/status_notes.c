/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/status_notes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/device_key.h"
#include "proto/event_view.h"

#define FIRST_BYTES ((size_t)64 * 1024)

/* A note as it lies in the buffer: this, then its key, then up to the next multiple of 8. */
static size_t stored_size(size_t key_len)
{
    return (sizeof(struct status_note) + key_len + 7) & ~(size_t)7;
}

void status_notes_deinit(struct status_notes *n)
{
    free(n->bytes);
    memset(n, 0, sizeof *n);
}

static void fill_note(struct status_note *note, const struct event_view *event, uint64_t sequence, const char *key,
                      size_t key_len)
{
    note->sequence = sequence;
    note->count = event->count ? event->count : 1;
    note->code = event->code;
    note->aix_bits = event_aix_bits(event);
    note->has_device = event->device.present;
    note->has_address = event->address.present;
    note->key_len = key_len;
    note->key = key;
}

void status_note_make(const struct event_view *event, uint64_t sequence, char *key, struct status_note *out_note)
{
    fill_note(out_note, event, sequence, key, device_key_of_event(key, event));
}

/* Room for `size` bytes at the tail. */
static bool reserve(struct status_notes *n, size_t size)
{
    if (n->cap - n->tail >= size)
        return true;
    if (n->head > n->cap / 2) { /* what is left moves at most once per half a buffer */
        memmove(n->bytes, n->bytes + n->head, n->tail - n->head);
        n->tail -= n->head;
        n->head = 0;
        return n->cap - n->tail >= size;
    }
    size_t cap = n->cap ? 2 * n->cap : FIRST_BYTES;
    if (cap > STATUS_NOTES_MAX_BYTES)
        return false;
    uint8_t *bytes = realloc(n->bytes, cap);
    if (!bytes)
        return false;
    n->bytes = bytes;
    n->cap = cap;
    return true;
}

void status_notes_add_known(struct status_notes *n, const struct event_view *event, const char *key, size_t key_len,
                            uint64_t sequence)
{
    if (!reserve(n, stored_size(key_len)))
        return;
    struct status_note *to = (struct status_note *)(void *)(n->bytes + n->tail);
    fill_note(to, event, sequence, NULL, key_len);
    memcpy(to + 1, key, key_len);
    n->tail += stored_size(key_len);
}

void status_notes_add(struct status_notes *n, const struct event_view *event, uint64_t sequence)
{
    char key[DEVICE_KEY_SIZE];
    size_t key_len = device_key_of_event(key, event);
    status_notes_add_known(n, event, key, key_len, sequence);
}

bool status_notes_take(struct status_notes *n, uint64_t sequence, struct status_note *out_note)
{
    bool found = false;
    while (!found && n->head < n->tail) {
        const uint8_t *from = n->bytes + n->head;
        memcpy(out_note, from, sizeof *out_note);
        if (out_note->sequence > sequence)
            return false;
        out_note->key = (const char *)from + sizeof *out_note;
        found = out_note->sequence == sequence;
        n->head += stored_size(out_note->key_len);
        assert(n->head <= n->tail);
    }
    if (n->head == n->tail)
        n->head = n->tail = 0;
    return found;
}
