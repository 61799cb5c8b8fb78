/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/journal_meta.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "broker/engine/journal.h"
#include "broker/engine/journal_format.h"

const char *journal_open_error(int rc)
{
    switch (rc) {
    case UV_EBUSY: return "another process has it open";
    case UV_EIO:
        return "data.mdb is damaged, cut off, or on a failing disk (i/o error); `sensebus store verify` says where";
    default: return uv_strerror(rc);
    }
}

static int meta_get(struct store_txn *t, unsigned table, const char *name, void *out, size_t len)
{
    struct store_value key = {.data = name, .len = strlen(name)}, value;
    int rc = store_get(t, table, key.data, key.len, &value);
    if (rc)
        return rc;
    if (!journal_pair_open(&key, &value) || value.len != len)
        return UV_EIO;
    memcpy(out, value.data, len);
    return 0;
}

static int meta_put(struct store_txn *t, unsigned table, const char *name, const void *value, size_t len)
{
    uint8_t stored[sizeof(struct journal_state) + JOURNAL_PAIR_EXTRA];
    assert(len + JOURNAL_PAIR_EXTRA <= sizeof stored);
    journal_pair_seal(name, strlen(name), value, len, stored);
    return store_put(t, table, name, strlen(name), stored, len + JOURNAL_PAIR_EXTRA, 0);
}

int journal_state_get(const struct journal *j, struct store_txn *t, struct journal_state *out_state)
{
    return meta_get(t, j->meta_table, "state", out_state, sizeof *out_state);
}

int journal_state_put(const struct journal *j, struct store_txn *t, const struct journal_state *state)
{
    return meta_put(t, j->meta_table, "state", state, sizeof *state);
}

int journal_applied_put(const struct journal *j, struct store_txn *t, uint64_t number)
{
    return meta_put(t, j->meta_table, "redo", &number, sizeof number);
}

int journal_applied_get(const struct journal *j, struct store_txn *t, uint64_t *out_number)
{
    int rc = meta_get(t, j->meta_table, "redo", out_number, sizeof *out_number);
    if (rc == UV_ENOENT) /* there was no checkpoint yet */
        *out_number = 0;
    return rc == UV_ENOENT ? 0 : rc;
}

int journal_mark_ahead(struct journal *j, bool is_ahead)
{
    struct store_txn txn = {0};
    struct journal_state state;
    int rc = store_begin(&j->store, true, &txn);
    if (rc)
        return rc;
    rc = journal_state_get(j, &txn, &state);
    bool is_new = !rc && (state.is_ahead != is_ahead || state.newest < j->stored);
    if (is_new) {
        state.is_ahead = is_ahead;
        if (state.newest < j->stored)
            state.newest = j->stored;
        rc = journal_state_put(j, &txn, &state);
    }
    if (!rc && is_new)
        return store_commit(&txn);
    store_abort(&txn);
    return rc;
}

/* A log of format 2 has no write-ahead log; all else is the same. */
static int upgrade(const struct journal *j, struct store_txn *t, uint32_t *format)
{
    if (*format != JOURNAL_FORMAT_WITHOUT_REDO)
        return 0;
    *format = JOURNAL_FORMAT;
    return store_put(t, j->meta_table, "format", strlen("format"), format, sizeof *format, 0);
}

/* The one pair without a checksum, so that every version can read it. */
static int format_get(struct store_txn *t, unsigned table, uint32_t *out_format)
{
    struct store_value value;
    int rc = store_get(t, table, "format", strlen("format"), &value);
    if (rc)
        return rc;
    if (value.len != sizeof *out_format)
        return UV_EIO;
    memcpy(out_format, value.data, sizeof *out_format);
    return 0;
}

int journal_meta_open(struct journal *j, uint64_t new_epoch, char *err, size_t err_len)
{
    struct store_txn txn = {0};
    struct journal_state state = {0};
    uint32_t format = JOURNAL_FORMAT;
    int rc = store_begin(&j->store, true, &txn);
    if (rc) {
        snprintf(err, err_len, "cannot write: %s", journal_open_error(rc));
        return rc;
    }
    rc = format_get(&txn, j->meta_table, &format);
    if (rc == UV_ENOENT) {
        rc = store_put(&txn, j->meta_table, "format", strlen("format"), &format, sizeof format, 0);
        if (!rc)
            rc = meta_put(&txn, j->meta_table, "epoch", &new_epoch, sizeof new_epoch);
        if (!rc)
            rc = journal_state_put(j, &txn, &state);
    }
    if (!rc)
        rc = upgrade(j, &txn, &format);
    if (!rc && format != JOURNAL_FORMAT) {
        snprintf(err, err_len, "the log has format %u, this version reads format %u", format, JOURNAL_FORMAT);
        store_abort(&txn);
        return UV_EINVAL;
    }
    if (!rc)
        rc = meta_get(&txn, j->meta_table, "epoch", &j->epoch, sizeof j->epoch);
    if (!rc)
        rc = journal_state_get(j, &txn, &state);
    if (!rc)
        rc = journal_applied_get(j, &txn, &j->applied);
    if (rc) {
        store_abort(&txn);
    } else {
        rc = store_commit(&txn);
    }
    if (rc) {
        snprintf(err, err_len, "cannot read or make the log's description: %s", journal_open_error(rc));
        return rc;
    }
    j->newest = j->stored = state.newest;
    j->newest_time_ns = state.newest_time_ns;
    j->log_bytes = state.log_bytes;
    j->status_through = state.status_through;
    j->trimmed_bits = state.trimmed_bits;
    j->was_ahead = state.is_ahead != 0;
    return 0;
}
