/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions that are on disk in the write-ahead log (redo.h), and not in the store yet. Their records are read from
 * the tail, which keeps them for as long.
 *
 * Changed on the loop while no write is under way; a write looks at it from any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/engine/journal.h"
#include "broker/engine/redo.h"

/* A pair to be stored, or deleted. */
struct journal_put {
    struct journal_put *next;
    enum journal_table table;
    bool delete;
    size_t key_len, value_len;
    uint8_t bytes[]; /* key, then the pair's stored value */
};

/* One transaction. */
struct journal_pending_write {
    struct journal_pending_write *next;
    struct journal_put *puts;
    uint64_t number; /* of its frame */
    uint64_t status_through;
    size_t n_batches;
    struct journal_batch batches[]; /* references */
};

/* Take over a transaction that was written: references its batches, owns its puts from then on (w has none). */
void journal_pending_add(struct journal_pending *p, struct journal_pending_write *entry, struct journal_write *w);
/* Room for it, made before it is written, so that nothing can fail afterwards. NULL when memory is out. */
struct journal_pending_write *journal_pending_new(size_t n_batches);
/* Of a frame that was found in the file. Returns 0 or UV_ENOMEM. */
int journal_pending_add_frame(struct journal_pending *p, const struct redo_frame *frame);
/* The store has them. */
void journal_pending_clear(struct journal_pending *p);

void journal_puts_free(struct journal_put *puts);

/* What the transactions say of the pairs of one table: the last word of each key, in the order of keys. */
struct journal_overlay {
    const struct journal_put **puts;
    size_t n;
};
/* Returns 0 or UV_ENOMEM. */
int journal_overlay_make(struct journal_overlay *o, const struct journal_pending *p, enum journal_table table);
void journal_overlay_free(struct journal_overlay *o);
/* <0, 0, >0, as the keys of the store are ordered. */
int journal_key_compare(const void *a, size_t a_len, const void *b, size_t b_len);
