/* SPDX-License-Identifier: Apache-2.0 */
/* One transaction, to the write-ahead log if it is small: its batches and puts, behind each other. Or to the store,
 * with everything that waits there: batches behind the newest value, puts, what retention removes, and the state that
 * tells how far all that has come. The state changes in the same transaction as the log, so counts and the newest
 * sequence never disagree with it. */
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/engine/journal.h"
#include "broker/engine/journal_format.h"
#include "broker/engine/journal_meta.h"
#include "broker/engine/journal_pending.h"

/* Of those, the tail must have room besides what it holds for readers. */
#define MAX_PENDING_BATCHES (JOURNAL_TAIL_BATCHES / 2)

int journal_write_put(struct journal_write *w, enum journal_table table, const void *key, size_t key_len,
                      const void *value, size_t value_len)
{
    struct journal_put *put = malloc(sizeof *put + key_len + value_len + JOURNAL_PAIR_EXTRA);
    if (!put)
        return UV_ENOMEM;
    put->next = NULL;
    put->table = table;
    put->delete = value == NULL;
    put->key_len = key_len;
    put->value_len = value ? value_len + JOURNAL_PAIR_EXTRA : 0;
    memcpy(put->bytes, key, key_len);
    if (value)
        journal_pair_seal(key, key_len, value, value_len, put->bytes + key_len);
    if (w->last_put)
        w->last_put->next = put;
    else
        w->puts = put;
    w->last_put = put;
    return 0;
}

void journal_write_join(struct journal_write *w, struct journal_write *part)
{
    if (!part->puts)
        return;
    if (w->last_put)
        w->last_put->next = part->puts;
    else
        w->puts = part->puts;
    w->last_put = part->last_put;
    part->puts = part->last_put = NULL;
}

void journal_write_deinit(struct journal_write *w)
{
    journal_puts_free(w->puts);
    w->puts = w->last_put = NULL;
    free(w->entry); /* of a transaction that was not published */
    w->entry = NULL;
}

/* ------------------------------------------------------------------------------------------------ to the store */

static int write_puts(const struct journal *j, struct store_txn *txn, const struct journal_put *puts)
{
    for (const struct journal_put *put = puts; put; put = put->next) {
        unsigned table = j->tables[put->table];
        int rc = put->delete
                     ? store_delete(txn, table, put->bytes, put->key_len)
                     : store_put(txn, table, put->bytes, put->key_len, put->bytes + put->key_len, put->value_len, 0);
        if (rc == UV_ENOENT && put->delete)
            rc = 0;
        if (rc)
            return rc;
    }
    return 0;
}

/* The pass over the bytes that copies them makes their checksum, if they have none yet. */
static int write_batch(const struct journal *j, struct store_txn *txn, const struct journal_batch *b, bool is_sealed)
{
    void *space;

    if (is_sealed)
        return store_put(txn, j->log_table, &b->first, sizeof b->first, b->chunk->bytes, b->chunk->len, STORE_APPEND);
    int rc = store_reserve(txn, j->log_table, &b->first, sizeof b->first, b->chunk->len, STORE_APPEND, &space);
    if (!rc)
        journal_batch_seal_copy(b, space);
    return rc;
}

/* The count may be damaged: it does not go below nothing. */
static void log_shrinks(struct journal_state *state, uint64_t bytes)
{
    state->log_bytes -= state->log_bytes < bytes ? state->log_bytes : bytes;
}

/* Nothing was ever written behind the newest record: what stands there has a damaged key, and is of no use. */
static int remove_behind(const struct journal *j, struct store_txn *txn, struct journal_state *state)
{
    struct store_cursor cursor = {0};
    uint64_t first;
    int rc = store_cursor_open(txn, j->log_table, &cursor);
    if (rc)
        return rc;
    while (!rc && !(rc = store_cursor_last(&cursor))) {
        memcpy(&first, cursor.key.data, sizeof first);
        if (first <= state->newest)
            break;
        log_shrinks(state, cursor.value.len);
        rc = store_cursor_delete(&cursor);
    }
    store_cursor_close(&cursor);
    return rc == UV_ENOENT ? 0 : rc;
}

static int write_batches(const struct journal *j, struct store_txn *txn, const struct journal_batch *batches, size_t n,
                         bool is_sealed, struct journal_state *state)
{
    for (size_t i = 0; i < n; i++) {
        const struct journal_batch *b = &batches[i];
        if (b->last <= state->newest) /* a commit that was said to fail after all of it was on disk */
            continue;
        int rc = write_batch(j, txn, b, is_sealed);
        if (rc == UV_EEXIST && !(rc = remove_behind(j, txn, state)))
            rc = write_batch(j, txn, b, is_sealed);
        if (rc)
            return rc;
        state->newest = b->last;
        state->newest_time_ns = b->newest_time_ns;
        state->log_bytes += b->chunk->len;
    }
    return 0;
}

enum write_what {
    WRITE_ALL,
    WRITE_TRIM,
    /* The store is at its limit, and the log within what is kept of it: values leave parts of their pages empty, and
     * tables take some. The oldest part of the log goes all the same, unless all of it is to be kept. */
    WRITE_TRIM_MORE,
};

/* The oldest stored values, as retention looks at them. */
struct trim {
    struct retention_limits limits;
    uint64_t added_from; /* the first that this transaction adds: nobody has seen it yet, it stays */
    bool keep_unfolded;  /* journal.h */
    struct retention_batch oldest[RETENTION_STEP_BATCHES];
    uint32_t bits[RETENTION_STEP_BATCHES];
    size_t n;
    uint64_t through; /* what retention says may go; 0 = nothing */
};

/* At most `cap` of them. The last one ends where the next begins. None is newer than the newest: if it says so it is
 * damaged, and may go. */
static int trim_look(struct store_cursor *c, const struct journal_state *state, size_t cap, struct trim *t)
{
    int rc;

    t->n = 0;
    for (rc = store_cursor_first(c); !rc; rc = store_cursor_next(c)) {
        struct journal_value_header header = {0};
        uint64_t first;
        memcpy(&first, c->key.data, sizeof first);
        if (t->n > 0)
            t->oldest[t->n - 1].n_records = first - t->oldest[t->n - 1].first_sequence;
        if (t->n == cap)
            break;
        if (c->value.len >= sizeof header)
            memcpy(&header, c->value.data, sizeof header);
        t->oldest[t->n] = (struct retention_batch){
            .first_sequence = first,
            .n_records = state->newest - first + 1,
            .bytes = c->value.len,
            .newest_time_ns = header.newest_time_ns > state->newest_time_ns ? 0 : header.newest_time_ns,
        };
        t->bits[t->n++] = header.aix_bits;
    }
    return rc == UV_ENOENT ? 0 : rc;
}

/* What may go of the `cap` oldest? */
static int trim_judge(struct store_cursor *c, struct journal_write *w, const struct journal_state *state, size_t cap,
                      struct trim *t)
{
    t->through = 0;
    int rc = trim_look(c, state, cap, t);
    if (rc || t->n == 0)
        return rc;
    struct retention_log log = {
        .newest_sequence = t->added_from < state->newest ? t->added_from : state->newest,
        .n_records = state->newest - t->oldest[0].first_sequence + 1,
        .bytes = state->log_bytes,
    };
    t->through = retention_step(&t->limits, &log, t->oldest, t->n, w->now_ns);
    if (t->keep_unfolded && t->through > state->status_through) {
        t->through = state->status_through;
        w->trim_waits = true;
    }
    return 0;
}

/* Remove what retention says from the old end, one step, and report the new one. */
static int trim_step(const struct journal *j, struct store_txn *txn, struct journal_write *w,
                     struct journal_state *state, struct trim *t)
{
    struct store_cursor cursor = {0};
    size_t i = 0;
    int rc = store_cursor_open(txn, j->log_table, &cursor);
    if (rc)
        return rc;

    /* Most transactions remove nothing, and the oldest value alone says so: the others lie on pages that nobody else
     * looks at. */
    rc = trim_judge(&cursor, w, state, 1, t);
    if (!rc && t->through)
        rc = trim_judge(&cursor, w, state, RETENTION_STEP_BATCHES, t);
    for (; !rc && i < t->n && t->oldest[i].first_sequence + t->oldest[i].n_records - 1 <= t->through; i++) {
        rc = store_delete(txn, j->log_table, &t->oldest[i].first_sequence, sizeof t->oldest[i].first_sequence);
        log_shrinks(state, t->oldest[i].bytes);
        state->trimmed_bits |= t->bits[i];
        w->n_trimmed += t->oldest[i].n_records;
    }
    w->trim_more = i == RETENTION_STEP_BATCHES;
    w->oldest = 0;
    if (i < t->n)
        w->oldest = journal_begin(t->oldest[i].first_sequence, state->newest);
    else if (t->n > 0)
        w->oldest = t->oldest[t->n - 1].first_sequence + t->oldest[t->n - 1].n_records;
    store_cursor_close(&cursor);
    return rc;
}

/* At least as much as this transaction adds may go with it, so that the log does not grow over its limits. */
static int write_trim(const struct journal *j, struct store_txn *txn, struct journal_write *w, enum write_what what,
                      struct journal_state *state)
{
    size_t n_added = j->pending.n_batches + w->n_batches;
    bool append = what == WRITE_ALL;
    struct trim t = {
        .limits = w->retention,
        .added_from = append && w->n_batches > 0 ? w->batches[0].first : UINT64_MAX,
        .keep_unfolded = append && w->keep_unfolded, /* else there is no room for what is new */
    };

    if (what == WRITE_TRIM_MORE && t.limits.max_bytes > 0)
        t.limits.max_bytes = state->log_bytes - state->log_bytes / 16;
    w->n_trimmed = 0;
    w->trim_waits = false;
    for (size_t n = 0;; n += RETENTION_STEP_BATCHES) {
        int rc = trim_step(j, txn, w, state, &t);
        if (rc || !w->trim_more || n > n_added)
            return rc;
    }
}

/* What waits in the write-ahead log, and this. A commit that was said to fail may have brought some of it here: its
 * puts would go over newer ones. */
static int write_added(const struct journal *j, struct store_txn *txn, const struct journal_write *w, uint64_t applied,
                       struct journal_state *state)
{
    uint64_t had;
    int rc = journal_applied_get(j, txn, &had);

    for (const struct journal_pending_write *p = j->pending.first; !rc && p; p = p->next) {
        if (p->number <= had)
            continue;
        rc = write_batches(j, txn, p->batches, p->n_batches, true, state);
        if (!rc)
            rc = write_puts(j, txn, p->puts);
    }
    if (!rc)
        rc = write_batches(j, txn, w->batches, w->n_batches, false, state);
    if (!rc)
        rc = write_puts(j, txn, w->puts);
    if (!rc)
        rc = journal_applied_put(j, txn, applied);
    if (state->status_through < w->status_through) /* it only grows */
        state->status_through = w->status_through;
    return rc;
}

/* One transaction: what retention removes, and with WRITE_ALL everything new. */
static int write_once(struct journal *j, struct journal_write *w, enum write_what what)
{
    bool append = what == WRITE_ALL;
    struct store_txn txn = {0};
    struct journal_state state;
    uint64_t applied = append ? redo_seal(&j->redo) : 0;
    int rc = store_begin(&j->store, true, &txn);
    if (rc)
        return rc;
    rc = journal_state_get(j, &txn, &state);
    if (!rc && append)
        rc = write_added(j, &txn, w, applied, &state);
    if (!rc)
        rc = write_trim(j, &txn, w, what, &state);
    if (!rc)
        rc = journal_state_put(j, &txn, &state);
    if (rc) {
        store_abort(&txn);
        return rc;
    }
    rc = store_commit(&txn);
    w->trimmed_bits = state.trimmed_bits;
    w->log_bytes = state.log_bytes;
    if (!rc && append)
        redo_restart(&j->redo);
    return rc;
}

static int write_store(struct journal *j, struct journal_write *w)
{
    w->in_store = true;
    w->n_trimmed = 0;
    int rc = write_once(j, w, WRITE_ALL);
    if (rc != UV_ENOSPC)
        return rc;
    bool met_limit = store_met_limit(&j->store);
    /* Removed pages are free only after a commit: where adding does not fit, remove first. */
    rc = write_once(j, w, WRITE_TRIM);
    if (w->n_trimmed == 0 && met_limit)
        rc = write_once(j, w, WRITE_TRIM_MORE);
    if (rc || w->n_trimmed == 0)
        return UV_ENOSPC;
    uint64_t n_trimmed = w->n_trimmed;
    rc = write_once(j, w, WRITE_ALL);
    w->n_trimmed += n_trimmed;
    return rc;
}

/* ------------------------------------------------------------------------------------------------ ahead of it */

static struct redo_put as_redo_put(const struct journal_put *put)
{
    return (struct redo_put){.table = put->table,
                             .delete = put->delete,
                             .key = put->bytes,
                             .key_len = put->key_len,
                             .value = put->bytes + put->key_len,
                             .value_len = put->value_len};
}

/* The puts as they are in a frame, malloc'd. UV_ENOBUFS when they are too large for one. */
static int gather_puts(const struct journal_write *w, uint8_t **out_bytes, size_t *out_len)
{
    size_t len = 0, at = 0;

    for (const struct journal_put *put = w->puts; put; put = put->next) {
        struct redo_put p = as_redo_put(put);
        len += redo_put_size(&p);
        if (len > REDO_MAX_FRAME || put->key_len > UINT16_MAX)
            return UV_ENOBUFS;
    }
    uint8_t *bytes = len > 0 ? malloc(len) : NULL;
    if (len > 0 && !bytes)
        return UV_ENOMEM;
    for (const struct journal_put *put = w->puts; put; put = put->next) {
        struct redo_put p = as_redo_put(put);
        redo_put_write(&p, bytes + at);
        at += redo_put_size(&p);
    }
    *out_bytes = bytes;
    *out_len = len;
    return 0;
}

static bool is_small(const struct journal *j, const struct journal_write *w)
{
    size_t len = 0;

    if (w->n_batches > REDO_MAX_BATCHES || j->pending.n_batches + w->n_batches > MAX_PENDING_BATCHES)
        return false;
    for (size_t i = 0; i < w->n_batches; i++)
        len += w->batches[i].chunk->len;
    return len <= REDO_MAX_FRAME;
}

static int write_ahead(struct journal *j, struct journal_write *w)
{
    struct redo_frame frame = {.status_through = w->status_through, .n_batches = w->n_batches};
    uint8_t *puts = NULL;

    if (!is_small(j, w))
        return UV_ENOBUFS;
    for (size_t i = 0; i < w->n_batches; i++) {
        journal_batch_seal(&w->batches[i]);
        frame.batches[i] = (struct redo_batch){
            .first = w->batches[i].first, .bytes = w->batches[i].chunk->bytes, .len = w->batches[i].chunk->len};
    }
    int rc = gather_puts(w, &puts, &frame.puts_len);
    if (rc)
        return rc;
    if (!w->entry)
        w->entry = journal_pending_new(w->n_batches);
    frame.puts = puts;
    rc = w->entry ? redo_append(&j->redo, &frame) : UV_ENOMEM;
    free(puts);
    if (!rc)
        w->entry->number = j->redo.last;
    return rc;
}

int journal_write(struct journal *j, struct journal_write *w)
{
    w->in_store = false;
    w->ahead_error = 0;
    if (!w->checkpoint) {
        int rc = w->n_batches > 0 || w->puts ? write_ahead(j, w) : 0;
        if (!rc || rc == UV_ENOMEM)
            return rc;
        /* Whatever ails that file, this may still go to the store. */
        w->ahead_error = rc == UV_ENOBUFS ? 0 : rc;
    }
    return write_store(j, w);
}
