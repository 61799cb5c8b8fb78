/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/spool_commit.h"

#include <string.h>
#include <uv.h>

#include "proto/event_view.h"

#define LEAN_RECORDS  1024
#define RESERVE_BYTES (512u << 10) /* on the disk, for commits that only free: those need pages as well */

size_t spool_value_size(const struct spool_entry *e)
{
    return sizeof e->header + e->len;
}

static void forget_counts(struct spool_commit *c)
{
    c->state.n_records = c->state.n_bytes = 0;
}

/* The length of a damaged record may not be what was counted. */
static int delete_at(struct store_cursor *cursor, struct spool_commit *c)
{
    size_t len = cursor->value.len;
    int rc = store_cursor_delete(cursor);

    if (rc < 0)
        return rc;
    c->state.n_records -= c->state.n_records > 0;
    c->state.n_bytes -= len < c->state.n_bytes ? len : c->state.n_bytes;
    return 0;
}

/* Make place for a record where a damaged one is. */
static int delete_damaged(struct store_txn *txn, struct spool_commit *c, uint64_t key)
{
    struct spool_header header;
    struct store_cursor cursor;
    uint64_t found;
    int rc = store_cursor_open(txn, c->records_table, &cursor);

    if (rc < 0)
        return rc;
    rc = store_cursor_seek(&cursor, &key, sizeof key);
    if (rc == 0)
        rc = spool_record_read(&cursor, &found, &header) ? UV_EEXIST : delete_at(&cursor, c);
    store_cursor_close(&cursor);
    return rc;
}

/* Behind all others. A damaged key may seem to stand there: then in front of it, or in its place. */
static int reserve_last(struct store_txn *txn, struct spool_commit *c, uint64_t key, size_t len, void **space)
{
    unsigned table = c->records_table;
    int rc = store_reserve(txn, table, &key, sizeof key, len, STORE_APPEND, space);

    if (rc == UV_EEXIST)
        rc = store_reserve(txn, table, &key, sizeof key, len, STORE_NO_OVERWRITE, space);
    if (rc == UV_EEXIST && (rc = delete_damaged(txn, c, key)) == 0)
        rc = store_reserve(txn, table, &key, sizeof key, len, STORE_NO_OVERWRITE, space);
    return rc;
}

static int write_entry(struct store_txn *txn, struct spool_commit *c, const struct spool_entry *e)
{
    struct spool_header header = e->header;
    void *space;
    int rc = reserve_last(txn, c, e->key, spool_value_size(e), &space);

    if (rc < 0)
        return rc;
    spool_header_seal(&header, e->key, e->bytes, e->len);
    memcpy(space, &header, sizeof header);
    memcpy((uint8_t *)space + sizeof header, e->bytes, e->len);
    c->state.n_records++;
    c->state.n_bytes += spool_value_size(e);
    if (c->state.last_key < e->key)
        c->state.last_key = e->key;
    return 0;
}

/* Delete what was acknowledged, and damaged ones in front: their place is told as a loss without them. */
static int free_acknowledged(struct store_cursor *cursor, struct spool_commit *c)
{
    struct spool_header header;
    uint64_t key;
    int rc;

    for (unsigned n = 0; (rc = store_cursor_first(cursor)) == 0; n++) {
        if (spool_record_read(cursor, &key, &header) && key > c->state.free_key)
            return 0;
        if (c->lean && n == LEAN_RECORDS) {
            c->more_to_free = true;
            return 0;
        }
        rc = delete_at(cursor, c);
        if (rc < 0)
            return rc;
    }
    if (rc == UV_ENOENT)
        forget_counts(c);
    return rc == UV_ENOENT ? 0 : rc;
}

static bool over_bounds(const struct spool_commit *c, bool with_loss)
{
    return c->state.n_records + with_loss > c->max_records ||
           c->state.n_bytes + (with_loss ? sizeof(struct spool_header) : 0) > c->max_bytes;
}

/* Take the first record away, into the loss that ends with `*key` then. */
static int drop_first(struct store_cursor *cursor, struct spool_commit *c, struct spool_header *loss, uint64_t *key)
{
    struct spool_header header;
    uint64_t expected = *key + 1, dropped;
    bool whole = spool_record_read(cursor, &dropped, &header);
    int rc = delete_at(cursor, c);

    if (rc < 0 || !whole || dropped < expected)
        return rc;
    if (!loss->loss_first_key)
        loss->loss_first_key = expected;
    if (!header.loss_first_key)
        c->state.n_dropped++;
    loss->aix_bits |= spool_first_key(&header, dropped) > expected ? AIX_ALL_BITS : header.aix_bits;
    loss->wall_ns = header.wall_ns;
    loss->boot_ns = header.boot_ns;
    memcpy(loss->boot_id, header.boot_id, sizeof loss->boot_id);
    *key = dropped;
    return 0;
}

/* Drop the oldest until the bounds hold, counting the loss record that takes their place. */
static int drop_oldest(struct store_txn *txn, struct store_cursor *cursor, struct spool_commit *c)
{
    struct spool_header loss = {0};
    uint64_t key = c->state.free_key;
    int rc;

    while (over_bounds(c, loss.loss_first_key != 0)) {
        rc = store_cursor_first(cursor);
        if (rc == UV_ENOENT) { /* there were fewer than was thought */
            forget_counts(c);
            break;
        }
        if (rc == 0)
            rc = drop_first(cursor, c, &loss, &key);
        if (rc < 0)
            return rc;
    }
    if (!loss.loss_first_key)
        return 0;
    c->state.n_records++;
    c->state.n_bytes += sizeof loss;
    spool_header_seal(&loss, key, NULL, 0);
    return store_put(txn, c->records_table, &key, sizeof key, &loss, sizeof loss, STORE_NO_OVERWRITE);
}

static int commit_records(struct store_txn *txn, struct spool_commit *c)
{
    struct store_cursor cursor;
    int rc;

    for (const struct spool_entry *e = c->first; e; e = e->next) {
        rc = write_entry(txn, c, e);
        if (rc < 0)
            return rc;
    }
    rc = store_cursor_open(txn, c->records_table, &cursor);
    if (rc < 0)
        return rc;
    rc = free_acknowledged(&cursor, c);
    if (rc == 0)
        rc = drop_oldest(txn, &cursor, c);
    store_cursor_close(&cursor);
    return rc;
}

int spool_commit_run(struct spool_commit *c)
{
    struct store_txn txn;
    int rc = c->first ? store_make_room(c->store, RESERVE_BYTES + 2 * c->n_bytes) : 0;

    if (rc == 0)
        rc = store_begin(c->store, true, &txn);
    if (rc < 0)
        return rc;
    rc = commit_records(&txn, c);
    if (c->may_send)
        c->state.sent_key = c->state.last_key;
    if (rc == 0)
        rc = spool_state_write(&txn, c->meta_table, &c->state);
    if (rc < 0) {
        store_abort(&txn);
        return rc;
    }
    return store_commit(&txn);
}
