/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of the store: "log" (key: first sequence as a number; value: header and records), "meta" (format, epoch,
 * state), and one for each enum journal_table. What is stored and how: journal_format.h. Writing is in journal_write.c,
 * reading in journal_read.c. */
#include "broker/engine/journal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "broker/engine/journal_format.h"
#include "broker/engine/journal_meta.h"
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
        if (!rc)
            memcpy(&j->oldest, cursor.key.data, sizeof j->oldest);
        store_cursor_close(&cursor);
    }
    store_abort(&txn);
    if (rc == UV_ENOENT) {
        j->oldest = j->newest + 1;
        rc = 0;
    }
    return rc;
}

int journal_open(struct journal *j, const struct journal_options *options, char *err, size_t err_len)
{
    struct store_options store_options = {
        .directory = options->directory,
        .map_bytes = options->map_bytes,
        .n_tables = 2 + JOURNAL_N_TABLES,
        .relaxed = options->relaxed,
    };

    assert(options->new_epoch != 0);
    memset(j, 0, sizeof *j);
    int rc = journal_tail_init(&j->tail, options->tail_bytes);
    if (!rc)
        rc = journal_loaded_init(&j->loaded);
    if (!rc)
        rc = store_open(&j->store, &store_options);
    if (rc) {
        snprintf(err, err_len, "%s", journal_open_error(rc));
        goto fail;
    }
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
    return 0;
fail:
    journal_close(j);
    return rc;
}

void journal_close(struct journal *j)
{
    journal_tail_deinit(&j->tail);
    journal_loaded_deinit(&j->loaded);
    store_close(&j->store);
    memset(j, 0, sizeof *j);
}

void journal_publish(struct journal *j, const struct journal_write *w)
{
    for (size_t i = 0; i < w->n_batches; i++) {
        journal_tail_add(&j->tail, &w->batches[i]);
        j->newest = w->batches[i].last;
        j->newest_time_ns = w->batches[i].newest_time_ns;
    }
    journal_tail_trim(&j->tail);
    j->oldest = w->oldest ? w->oldest : j->newest + 1;
    j->n_trimmed += w->n_trimmed;
    j->trimmed_bits = w->trimmed_bits;
    j->log_bytes = w->log_bytes;
}

int journal_each(struct journal *j, enum journal_table table,
                 int (*cb)(void *data, const struct store_value *key, const struct store_value *value), void *data)
{
    struct store_txn txn = {0};
    struct store_cursor cursor = {0};
    int rc = store_begin(&j->store, false, &txn);
    if (rc)
        return rc;
    rc = store_cursor_open(&txn, j->tables[table], &cursor);
    if (!rc) {
        for (rc = store_cursor_first(&cursor); !rc; rc = store_cursor_next(&cursor)) {
            if (!journal_pair_open(&cursor.key, &cursor.value)) {
                j->n_damaged_pairs++;
                log_warn("log.damaged_pair", "table=%s action=\"left out\"", journal_table_names[table]);
                continue;
            }
            rc = cb(data, &cursor.key, &cursor.value);
            if (rc)
                break;
        }
        store_cursor_close(&cursor);
    }
    store_abort(&txn);
    return rc == UV_ENOENT ? 0 : rc;
}
