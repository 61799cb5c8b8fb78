/* SPDX-License-Identifier: Apache-2.0 */
/* Batches read from the store: the few that readers behind the tail share. A batch is checked when it is loaded, once,
 * and whole from then on. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct journal;
struct journal_batch;
struct journal_run;
struct store_cursor;

struct journal_loaded {
    struct journal_batch *batches; /* most recently used first */
    size_t n;
};

/* Returns 0 or UV_ENOMEM. */
int journal_loaded_init(struct journal_loaded *l);
void journal_loaded_deinit(struct journal_loaded *l);

/* The loaded batch that holds `sequence`, or NULL; borrowed until the next call. */
struct journal_batch *journal_loaded_find(struct journal_loaded *l, uint64_t sequence);
/* Load the stored value that holds `sequence`, which is within oldest..newest; with `ahead` the small ones behind it,
 * too. Results as journal_read; *out_batch is borrowed until the next call. */
int journal_loaded_read(struct journal *j, uint64_t sequence, bool ahead, struct journal_batch **out_batch,
                        struct journal_run *out_damage);

/* Move the cursor of the log to the stored value that begins at or before `sequence`; *out_next is the key behind it,
 * or 0. UV_ENOENT when every value begins behind it: *out_next is the first. */
int journal_cursor_find(struct store_cursor *c, uint64_t sequence, uint64_t *out_first, uint64_t *out_next);
