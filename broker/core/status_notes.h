/* SPDX-License-Identifier: Apache-2.0 */
/* What the fold needs of records that are accepted and not folded yet, so that nobody scans them a second time.
 *
 * First in, first out, by ascending sequence. A record without a note is folded from its bytes, so a note may be left
 * out: when memory is out, when there are too many, after a start. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_view;

#define STATUS_NOTES_MAX_BYTES ((size_t)4 * 1024 * 1024)

struct status_note {
    uint64_t sequence;
    uint64_t count; /* at least 1 */
    uint32_t code;
    uint32_t aix_bits; /* the event's, and of what it reports as lost */
    bool has_device, has_address;
    size_t key_len;
    const char *key; /* of its device; borrowed, not terminated */
};

/* Zeroed is valid and empty. */
struct status_notes {
    uint8_t *bytes;
    size_t head, tail, cap; /* notes lie in head..tail */
};

void status_notes_deinit(struct status_notes *n);
/* What the fold needs of the event; `key` has room for DEVICE_KEY_SIZE and is borrowed by the note. */
void status_note_make(const struct event_view *event, uint64_t sequence, char *key, struct status_note *out_note);
/* Note an accepted event; its sequence is larger than any before. */
void status_notes_add(struct status_notes *n, const struct event_view *event, uint64_t sequence);
/* The same for an event whose device's key is at hand; less than DEVICE_KEY_SIZE bytes. */
void status_notes_add_known(struct status_notes *n, const struct event_view *event, const char *key, size_t key_len,
                            uint64_t sequence);
/* The note of a record, taken out together with all older ones; false when there is none. out_note->key lives until the
 * next call. */
bool status_notes_take(struct status_notes *n, uint64_t sequence, struct status_note *out_note);
