/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/journal_loaded.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/engine/journal.h"
#include "broker/engine/journal_format.h"
#include "broker/engine/journal_meta.h"

#define LOADED_BATCHES   16u
#define LOAD_AHEAD_BYTES (64u * 1024) /* small stored values are read together up to this */

int journal_loaded_init(struct journal_loaded *l)
{
    l->n = 0;
    l->batches = calloc(LOADED_BATCHES, sizeof *l->batches);
    return l->batches ? 0 : UV_ENOMEM;
}

void journal_loaded_deinit(struct journal_loaded *l)
{
    for (; l->n > 0; l->n--)
        journal_batch_deinit(&l->batches[l->n - 1]);
    free(l->batches);
    memset(l, 0, sizeof *l);
}

struct journal_batch *journal_loaded_find(struct journal_loaded *l, uint64_t sequence)
{
    for (size_t i = 0; i < l->n; i++) {
        struct journal_batch b = l->batches[i];
        if (sequence < b.first || sequence > b.last)
            continue;
        memmove(&l->batches[1], &l->batches[0], i * sizeof b);
        l->batches[0] = b;
        return &l->batches[0];
    }
    return NULL;
}

static struct journal_batch *loaded_add(struct journal_loaded *l, const struct journal_batch *b)
{
    if (l->n == LOADED_BATCHES)
        journal_batch_deinit(&l->batches[--l->n]);
    memmove(&l->batches[1], &l->batches[0], l->n * sizeof *b);
    l->batches[0] = *b;
    l->n++;
    return &l->batches[0];
}

int journal_cursor_find(struct store_cursor *c, uint64_t sequence, uint64_t *out_first, uint64_t *out_next)
{
    uint64_t after = sequence + 1;
    int rc = store_cursor_seek(c, &after, sizeof after);
    if (rc && rc != UV_ENOENT)
        return rc;
    *out_next = 0;
    if (rc == UV_ENOENT) {
        rc = store_cursor_last(c);
    } else {
        memcpy(out_next, c->key.data, sizeof *out_next);
        rc = store_cursor_prev(c);
    }
    if (!rc)
        memcpy(out_first, c->key.data, sizeof *out_first);
    return rc;
}

static void add_records(struct chunk *chunk, const struct store_value *value)
{
    size_t len = value->len - JOURNAL_HEADER_BYTES;
    memcpy(chunk->bytes + chunk->len, (const uint8_t *)value->data + JOURNAL_HEADER_BYTES, len);
    chunk->len += len;
}

/* Add the whole values behind `b`, at which the cursor is, as long as they follow one another and there is room. */
static void load_ahead(const struct journal *j, struct store_cursor *cursor, struct journal_batch *b)
{
    while (store_cursor_next(cursor) == 0) {
        struct journal_batch more = {0};
        uint64_t first;
        memcpy(&first, cursor->key.data, sizeof first);
        if (first != b->last + 1 || !journal_batch_check(first, &cursor->value, &more) || more.last > j->newest ||
            cursor->value.len - JOURNAL_HEADER_BYTES > b->chunk->cap - b->chunk->len)
            return;
        add_records(b->chunk, &cursor->value);
        b->last = more.last;
        b->newest_time_ns = more.newest_time_ns;
        b->aix_bits |= more.aix_bits;
    }
}

/* Copy the value at the cursor, into a chunk of `min_bytes` at least, and say where it begins. The copy is what is
 * checked: copying brings the bytes near, and what is handed out is what was found whole. Not whole: *out_batch stays
 * empty. */
static int copy_value(const struct store_cursor *cursor, size_t min_bytes, uint64_t *out_first, bool *out_whole,
                      struct journal_batch *out_batch)
{
    size_t len = cursor->value.len;
    struct journal_batch b = {.chunk = chunk_new(len > min_bytes ? len : min_bytes)};
    if (!b.chunk)
        return UV_ENOMEM;
    memcpy(out_first, cursor->key.data, sizeof *out_first);
    *out_whole = journal_batch_copy(*out_first, &cursor->value, &b);
    if (*out_whole)
        *out_batch = b;
    else
        journal_batch_deinit(&b);
    return 0;
}

/* What stands at the cursor is damaged, and so may its key be, which then lies inside of the value before it: that one
 * is whole. */
static int copy_value_before(struct store_cursor *cursor, bool *out_whole, struct journal_batch *out_batch)
{
    uint64_t first;
    int rc = store_cursor_prev(cursor);

    if (!rc)
        rc = copy_value(cursor, 0, &first, out_whole, out_batch);
    return rc == UV_ENOENT ? 0 : rc;
}

/* Copy the stored value that holds `sequence` out of the store. Results as journal_read. */
static int load(struct journal *j, struct store_cursor *cursor, uint64_t sequence, bool ahead,
                struct journal_batch *out_batch, struct journal_run *out_damage)
{
    uint64_t first = 0, next = 0;
    struct journal_batch b = {0};
    bool whole;
    int rc = journal_cursor_find(cursor, sequence, &first, &next);
    if (rc == UV_ENOENT) {
        /* Trimmed by a commit that is on disk and not published yet. */
        j->oldest = next ? next : j->stored + 1;
        return JOURNAL_TRIMMED;
    }
    if (rc)
        return rc;
    ahead = ahead && next && next <= j->newest && cursor->value.len < LOAD_AHEAD_BYTES;
    rc = copy_value(cursor, ahead ? LOAD_AHEAD_BYTES : 0, &first, &whole, &b);
    if (!rc && !whole) {
        ahead = false;
        rc = copy_value_before(cursor, &whole, &b);
    }
    if (rc)
        return rc;
    if (!whole || sequence > b.last) {
        out_damage->first = whole && b.last >= first ? b.last + 1 : first;
        out_damage->last = next ? next - 1 : j->stored;
        if (out_damage->last > j->stored)
            out_damage->last = j->stored;
        j->n_damaged_reads++;
        journal_batch_deinit(&b);
        return JOURNAL_DAMAGED;
    }
    if (ahead)
        load_ahead(j, cursor, &b);
    *out_batch = b;
    return JOURNAL_RUN;
}

int journal_loaded_read(struct journal *j, uint64_t sequence, bool ahead, struct journal_batch **out_batch,
                        struct journal_run *out_damage)
{
    struct store_txn txn = {0};
    struct store_cursor cursor = {0};
    struct journal_batch fresh;
    int rc = store_begin(&j->store, false, &txn);
    if (rc)
        return rc;
    rc = store_cursor_open(&txn, j->log_table, &cursor);
    if (!rc) {
        rc = load(j, &cursor, sequence, ahead, &fresh, out_damage);
        store_cursor_close(&cursor);
    }
    if (rc == JOURNAL_TRIMMED) { /* the gap that comes of it tells the bits of what is gone, published or not */
        struct journal_state state;
        int state_rc = journal_state_get(j, &txn, &state);
        if (state_rc)
            rc = state_rc;
        else
            j->trimmed_bits |= state.trimmed_bits;
    }
    store_abort(&txn);
    if (rc == JOURNAL_RUN)
        *out_batch = loaded_add(&j->loaded, &fresh);
    return rc;
}
