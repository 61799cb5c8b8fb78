/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of the store: "log" (key: first sequence as a number; value: header and records), "meta" (format, epoch,
 * state), and one for each enum journal_table. What is stored and how: journal_format.h. Writing is in journal_write.c,
 * reading in journal_read.c. */
#include "broker/engine/journal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/engine/journal_format.h"
#include "broker/engine/journal_meta.h"
#include "broker/engine/journal_pending.h"
#include "runtime/log.h"

static int journal_load_oldest(struct journal *j)
{
    struct store_txn txn = {0};
    struct store_cursor cursor = {0};
    int rc = store_begin(&j->store, false, &txn);
    if (rc)
        return rc;
    rc = store_cursor_open(&txn, j->log_table, &cursor);
    if (!rc) {
        rc = store_cursor_first(&cursor);
        if (!rc) {
            uint64_t first;
            memcpy(&first, cursor.key.data, sizeof first);
            j->oldest = journal_begin(first, j->newest);
        }
        store_cursor_close(&cursor);
    }
    store_abort(&txn);
    if (rc == UV_ENOENT) {
        j->oldest = j->newest + 1;
        rc = 0;
    }
    return rc;
}

/* ------------------------------------------------------------------------------------------------ the write-ahead log
 */

#define MAX_AHEAD_RECORDS (REDO_BYTES / 16) /* no record is as small */

struct found {
    struct journal *j;
    bool is_damaged;
    bool is_alien; /* its records are not those that come next */
    uint64_t next; /* number of the frame that comes next, if none is missing */
};

static int on_frame(void *data, const struct redo_frame *frame)
{
    struct found *found = data;
    struct journal *j = found->j;

    found->is_damaged |= frame->number != found->next;
    found->next = frame->number + 1;
    if (frame->n_batches > 0) {
        found->is_alien |= frame->batches[0].first <= j->newest;
        found->is_damaged |= frame->batches[0].first > j->newest + 1;
    }
    if (found->is_alien)
        return UV_EINVAL;
    int rc = journal_pending_add_frame(&j->pending, frame);
    if (rc)
        return rc;
    const struct journal_pending_write *p = j->pending.last;
    for (size_t i = 0; i < p->n_batches; i++) {
        journal_tail_add(&j->tail, &p->batches[i]);
        j->newest = p->batches[i].last;
        j->newest_time_ns = p->batches[i].newest_time_ns;
        j->log_bytes += p->batches[i].chunk->len;
    }
    if (!found->is_damaged) /* else rows may be missing: they come of folding again, which changes no later one */
        j->status_through = p->status_through;
    return 0;
}

static void on_redo_damage(void *data, uint64_t from, uint64_t to)
{
    struct found *found = data;

    log_error("log.damaged_redo", "from=%" PRIu64 " to=%" PRIu64 " action=\"what was in it is a gap\"", from, to);
    found->is_damaged = true;
}

static int checkpoint(struct journal *j)
{
    struct journal_write w = {.checkpoint = true, .status_through = j->status_through};
    int rc = journal_write(j, &w);
    if (!rc)
        journal_publish(j, &w);
    journal_write_deinit(&w);
    return rc;
}

/* The file is gone, or of another log, and there may have been records in it: nobody knows which. Their numbers are not
 * used again, and readers find a hole. */
static int skip_lost(struct journal *j, const char *directory)
{
    log_error("log.redo_missing", "directory=%s newest=%" PRIu64 " action=\"what may have been in redo is a gap\"",
              directory, j->newest);
    if (j->oldest > j->newest)
        j->oldest += MAX_AHEAD_RECORDS;
    j->stored = j->newest += MAX_AHEAD_RECORDS;
    j->tail.keep_from = j->stored + 1;
    return journal_mark_ahead(j, true);
}

/* Take back what is in the write-ahead log and not in the store. */
static int open_redo(struct journal *j, const struct journal_options *options, char *err, size_t err_len)
{
    static const struct redo_scan_ops ops = {on_frame, on_redo_damage};
    struct redo_scan_result scan = {0};
    struct found found = {.j = j, .next = j->applied + 1};
    uint64_t salt;
    uint8_t *bytes;
    size_t len;
    int rc = redo_load(options->directory, &bytes, &len);

    if (!rc) {
        j->tail.keep_from = j->stored + 1;
        rc = redo_scan(bytes, len, j->epoch, j->applied, &ops, &found, &scan);
        free(bytes);
    }
    if (found.is_alien || (!rc && scan.is_torn)) {
        snprintf(err, err_len,
                 found.is_alien ? "the records in its file redo are not those that come next: it is of another copy"
                                : "the first block of its file redo is damaged; `sensebus store verify` says more");
        return UV_EIO;
    }
    if (!rc && j->was_ahead && !scan.is_ours)
        rc = skip_lost(j, options->directory);
    if (!rc)
        rc = uv_random(NULL, NULL, &salt, sizeof salt, 0, NULL);
    if (!rc)
        rc = redo_open(&j->redo, options->directory, j->epoch, j->applied, &scan, salt, options->relaxed);
    /* Readers find a hole in the store, and the numbers behind it are taken. */
    if (!rc && found.is_damaged)
        rc = checkpoint(j);
    /* From now on it must not get lost; without room in the store the start goes on nevertheless. */
    if (!rc && (rc = journal_mark_ahead(j, true)) == UV_ENOSPC)
        rc = 0;
    if (rc)
        snprintf(err, err_len, "cannot take back what its file redo holds: %s", uv_strerror(rc));
    return rc;
}

/* ------------------------------------------------------------------------------------------------ open and close */

static int open_store(struct journal *j, const struct journal_options *options, char *err, size_t err_len)
{
    struct store_options store_options = {
        .directory = options->directory,
        .map_bytes = options->map_bytes,
        .n_tables = 2 + JOURNAL_N_TABLES,
        .relaxed = options->relaxed,
    };
    /* The store forgets that it was relaxed when it is opened with sync: everything must be on disk before. */
    int rc = options->relaxed ? 0 : redo_flush_file(options->directory);
    if (rc) {
        snprintf(err, err_len, "cannot flush its file redo: %s", uv_strerror(rc));
        return rc;
    }
    rc = store_open(&j->store, &store_options);
    if (rc)
        snprintf(err, err_len, "%s", journal_open_error(rc));
    return rc;
}

int journal_open(struct journal *j, const struct journal_options *options, char *err, size_t err_len)
{
    assert(options->new_epoch != 0);
    memset(j, 0, sizeof *j);
    snprintf(err, err_len, "%s", journal_open_error(UV_ENOMEM));
    int rc = journal_tail_init(&j->tail, options->tail_bytes);
    if (!rc)
        rc = journal_loaded_init(&j->loaded);
    if (!rc)
        rc = open_store(j, options, err, err_len);
    if (rc)
        goto fail;
    rc = store_table(&j->store, "log", STORE_INTEGER_KEYS, &j->log_table);
    if (!rc)
        rc = store_table(&j->store, "meta", 0, &j->meta_table);
    for (size_t i = 0; !rc && i < JOURNAL_N_TABLES; i++)
        rc = store_table(&j->store, journal_table_names[i], 0, &j->tables[i]);
    if (rc) {
        snprintf(err, err_len, "cannot open its tables: %s", journal_open_error(rc));
        goto fail;
    }
    rc = journal_meta_open(j, options->new_epoch, err, err_len);
    if (rc)
        goto fail;
    rc = journal_load_oldest(j);
    if (rc) {
        snprintf(err, err_len, "cannot read: %s", journal_open_error(rc));
        goto fail;
    }
    rc = open_redo(j, options, err, err_len);
    if (rc)
        goto fail;
    j->is_open = true;
    return 0;
fail:
    journal_close(j);
    return rc;
}

void journal_close(struct journal *j)
{
    if (j->is_open && journal_has_pending(j)) {
        int rc = checkpoint(j);
        if (rc)
            log_warn("log.checkpoint", "reason=\"%s\" action=\"it stays in the write-ahead log\"", uv_strerror(rc));
    }
    if (j->is_open && !journal_has_pending(j)) {
        int rc = journal_mark_ahead(j, false);
        if (rc)
            log_warn("log.mark", "reason=\"%s\" action=\"its file redo must stay with it\"", uv_strerror(rc));
    }
    journal_pending_clear(&j->pending);
    redo_close(&j->redo);
    journal_tail_deinit(&j->tail);
    journal_loaded_deinit(&j->loaded);
    store_close(&j->store);
    memset(j, 0, sizeof *j);
}

bool journal_has_pending(const struct journal *j)
{
    return j->pending.first != NULL;
}

static void publish_stored(struct journal *j, const struct journal_write *w)
{
    journal_pending_clear(&j->pending);
    j->stored = j->newest;
    j->oldest = w->oldest ? w->oldest : j->newest + 1;
    j->n_trimmed += w->n_trimmed;
    j->trimmed_bits = w->trimmed_bits;
    j->log_bytes = w->log_bytes;
}

static void publish_ahead(struct journal *j, struct journal_write *w)
{
    for (size_t i = 0; i < w->n_batches; i++)
        j->log_bytes += w->batches[i].chunk->len;
    if (w->entry) {
        journal_pending_add(&j->pending, w->entry, w);
        j->ahead_error = 0;
    }
    w->entry = NULL;
}

/* Once, until it works again. */
static void tell_ahead_error(struct journal *j, int error)
{
    if (error && !j->ahead_error)
        log_warn("log.redo_failed", "reason=\"%s\" action=\"each transaction goes to the store\"", uv_strerror(error));
    if (error)
        j->ahead_error = error;
}

void journal_publish(struct journal *j, struct journal_write *w)
{
    for (size_t i = 0; i < w->n_batches; i++) {
        journal_tail_add(&j->tail, &w->batches[i]);
        j->newest = w->batches[i].last;
        j->newest_time_ns = w->batches[i].newest_time_ns;
    }
    tell_ahead_error(j, w->ahead_error);
    j->trim_waits = w->in_store && w->trim_waits;
    if (w->in_store)
        publish_stored(j, w);
    else
        publish_ahead(j, w);
    j->status_through = w->status_through;
    j->tail.keep_from = j->stored + 1;
    journal_tail_trim(&j->tail);
}

/* ------------------------------------------------------------------------------------------------ the tables */

struct each {
    struct journal *j;
    enum journal_table table;
    int (*cb)(void *data, const struct store_value *key, const struct store_value *value);
    void *data;
    struct journal_overlay overlay;
    size_t at; /* in it */
};

static int tell_pair(struct each *e, const struct store_value *key, const struct store_value *stored)
{
    struct store_value value = *stored;

    if (journal_pair_open(key, &value))
        return e->cb(e->data, key, &value);
    e->j->n_damaged_pairs++;
    log_warn("log.damaged_pair", "table=%s action=\"left out\"", journal_table_names[e->table]);
    return 0;
}

/* What waits for the store up to `key` (NULL: all), and whether it has the last word on `key` itself. */
static int tell_overlay(struct each *e, const struct store_value *key, bool *out_has_key)
{
    *out_has_key = false;
    for (; e->at < e->overlay.n && !*out_has_key; e->at++) {
        const struct journal_put *put = e->overlay.puts[e->at];
        int order = key ? journal_key_compare(put->bytes, put->key_len, key->data, key->len) : -1;
        if (order > 0)
            break;
        *out_has_key = order == 0;
        struct store_value put_key = {.data = put->bytes, .len = put->key_len},
                           value = {.data = put->bytes + put->key_len, .len = put->value_len};
        int rc = put->delete ? 0 : tell_pair(e, &put_key, &value);
        if (rc)
            return rc;
    }
    return 0;
}

static int tell_all(struct each *e, struct store_cursor *cursor)
{
    bool has_key;
    int rc = store_cursor_first(cursor);

    for (; !rc; rc = store_cursor_next(cursor)) {
        int told = tell_overlay(e, &cursor->key, &has_key);
        if (!told && !has_key)
            told = tell_pair(e, &cursor->key, &cursor->value);
        if (told)
            return told;
    }
    return rc == UV_ENOENT ? tell_overlay(e, NULL, &has_key) : rc;
}

int journal_each(struct journal *j, enum journal_table table,
                 int (*cb)(void *data, const struct store_value *key, const struct store_value *value), void *data)
{
    struct each e = {.j = j, .table = table, .cb = cb, .data = data};
    struct store_txn txn = {0};
    struct store_cursor cursor = {0};
    int rc = journal_overlay_make(&e.overlay, &j->pending, table);
    if (!rc)
        rc = store_begin(&j->store, false, &txn);
    if (!rc)
        rc = store_cursor_open(&txn, j->tables[table], &cursor);
    if (!rc) {
        rc = tell_all(&e, &cursor);
        store_cursor_close(&cursor);
    }
    store_abort(&txn);
    journal_overlay_free(&e.overlay);
    return rc;
}
