/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/spool_commit.h"

#include <string.h>
#include <uv.h>

#define LEAN_RECORDS  1024
#define RESERVE_BYTES (512u << 10) /* on the disk, for commits that only free: those need pages as well */

size_t spool_value_size(const struct spool_entry *e)
{
    return sizeof e->header + e->len;
}

uint64_t spool_first_key(const struct spool_header *h, uint64_t key)
{
    return h->loss_first_key ? h->loss_first_key : key;
}

static int write_entry(struct store_txn *txn, struct spool_commit *c, const struct spool_entry *e)
{
    void *space;
    int rc = store_reserve(txn, c->records_table, &e->key, sizeof e->key, spool_value_size(e), STORE_APPEND, &space);

    if (rc < 0)
        return rc;
    memcpy(space, &e->header, sizeof e->header);
    memcpy((uint8_t *)space + sizeof e->header, e->bytes, e->len);
    c->state.n_records++;
    c->state.n_bytes += spool_value_size(e);
    c->state.last_key = e->key;
    return 0;
}

static int delete_first(struct store_cursor *cursor, struct spool_commit *c)
{
    size_t len = cursor->value.len;
    int rc = store_cursor_delete(cursor);

    if (rc == 0) {
        c->state.n_records--;
        c->state.n_bytes -= len;
    }
    return rc;
}

int spool_header_read(const struct store_cursor *cursor, uint64_t *out_key, struct spool_header *out_header)
{
    if (cursor->key.len != sizeof *out_key || cursor->value.len < sizeof *out_header)
        return UV_EIO;
    memcpy(out_key, cursor->key.data, sizeof *out_key);
    memcpy(out_header, cursor->value.data, sizeof *out_header);
    return 0;
}

/* Delete what was acknowledged. */
static int free_acknowledged(struct store_cursor *cursor, struct spool_commit *c)
{
    struct spool_header header;
    uint64_t key;
    int rc;

    for (unsigned n = 0; (rc = store_cursor_first(cursor)) == 0; n++) {
        rc = spool_header_read(cursor, &key, &header);
        if (rc < 0 || key > c->free_key)
            return rc;
        if (c->lean && n == LEAN_RECORDS) {
            c->more_to_free = true;
            return 0;
        }
        rc = delete_first(cursor, c);
        if (rc < 0)
            return rc;
    }
    return rc == UV_ENOENT ? 0 : rc;
}

static bool over_bounds(const struct spool_commit *c, bool with_loss)
{
    return c->state.n_records + with_loss > c->max_records ||
           c->state.n_bytes + (with_loss ? sizeof(struct spool_header) : 0) > c->max_bytes;
}

/* Drop the oldest until the bounds hold, counting the loss record that takes their place. */
static int drop_oldest(struct store_txn *txn, struct store_cursor *cursor, struct spool_commit *c)
{
    struct spool_header header, loss = {0};
    uint64_t key = 0;
    int rc;

    while (over_bounds(c, loss.loss_first_key != 0)) {
        rc = store_cursor_first(cursor);
        if (rc == 0)
            rc = spool_header_read(cursor, &key, &header);
        if (rc == 0)
            rc = delete_first(cursor, c);
        if (rc < 0)
            return rc;
        if (!loss.loss_first_key)
            loss.loss_first_key = spool_first_key(&header, key);
        if (!header.loss_first_key)
            c->state.n_dropped++;
        loss.aix_bits |= header.aix_bits;
        loss.wall_ns = header.wall_ns;
        loss.boot_ns = header.boot_ns;
        memcpy(loss.boot_id, header.boot_id, sizeof loss.boot_id);
    }
    if (!loss.loss_first_key)
        return 0;
    c->state.n_records++;
    c->state.n_bytes += sizeof loss;
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

int spool_state_write(struct store_txn *txn, unsigned table, const struct spool_state *state)
{
    return store_put(txn, table, SPOOL_STATE_KEY, strlen(SPOOL_STATE_KEY), state, sizeof *state, 0);
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
    if (rc == 0)
        rc = spool_state_write(&txn, c->meta_table, &c->state);
    if (rc < 0) {
        store_abort(&txn);
        return rc;
    }
    return store_commit(&txn);
}
