/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/spool_format.h"

#include <string.h>
#include <uv.h>

#include "runtime/crc32c.h"

#define MAX_VALUE_BYTES (1u << 20) /* no event is that long: a damaged length must not lead out of the file */

struct stored_state {
    struct spool_state state;
    uint64_t crc; /* of the state */
};

static uint32_t record_crc(const struct spool_header *h, uint64_t key, const void *event, size_t len)
{
    const size_t start = sizeof h->crc;
    uint32_t crc = crc32c(0, &key, sizeof key);

    crc = crc32c(crc, (const uint8_t *)h + start, sizeof *h - start);
    return len > 0 ? crc32c(crc, event, len) : crc;
}

void spool_header_seal(struct spool_header *h, uint64_t key, const void *event, size_t len)
{
    h->unused = 0;
    h->crc = record_crc(h, key, event, len);
}

bool spool_record_read(const struct store_cursor *cursor, uint64_t *out_key, struct spool_header *out_header)
{
    const struct store_value *value = &cursor->value;
    size_t event_len = value->len - sizeof *out_header;

    if (cursor->key.len != sizeof *out_key || value->len < sizeof *out_header || value->len > MAX_VALUE_BYTES)
        return false;
    memcpy(out_key, cursor->key.data, sizeof *out_key);
    memcpy(out_header, value->data, sizeof *out_header);
    return out_header->crc ==
           record_crc(out_header, *out_key, (const uint8_t *)value->data + sizeof *out_header, event_len);
}

uint64_t spool_first_key(const struct spool_header *h, uint64_t key)
{
    return h->loss_first_key ? h->loss_first_key : key;
}

int spool_state_write(struct store_txn *txn, unsigned table, const struct spool_state *state)
{
    struct stored_state stored = {.state = *state, .crc = crc32c(0, state, sizeof *state)};

    return store_put(txn, table, SPOOL_STATE_KEY, strlen(SPOOL_STATE_KEY), &stored, sizeof stored, 0);
}

int spool_state_read(struct store_txn *txn, unsigned table, struct spool_state *out_state)
{
    struct stored_state stored;
    struct store_value value;
    int rc = store_get(txn, table, SPOOL_STATE_KEY, strlen(SPOOL_STATE_KEY), &value);

    if (rc < 0)
        return rc;
    if (value.len != sizeof stored)
        return UV_EIO;
    memcpy(&stored, value.data, sizeof stored);
    if (stored.crc != crc32c(0, &stored.state, sizeof stored.state))
        return UV_EIO;
    *out_state = stored.state;
    return 0;
}

int spool_state_infer(struct store_txn *txn, unsigned records_table, struct spool_state *out_state)
{
    uint64_t first = 0, n_leading = 0; /* damaged ones in front of the first whole one */
    struct store_cursor cursor;
    int rc = store_cursor_open(txn, records_table, &cursor);

    memset(out_state, 0, sizeof *out_state);
    if (rc < 0)
        return rc;
    for (rc = store_cursor_first(&cursor); rc == 0; rc = store_cursor_next(&cursor)) {
        struct spool_header header;
        uint64_t key;

        out_state->n_records++;
        if (spool_record_read(&cursor, &key, &header) && key > out_state->last_key) {
            if (first == 0)
                first = spool_first_key(&header, key);
            out_state->last_key = key;
        } else if (first == 0) {
            n_leading++;
        } else {
            out_state->last_key++;
        }
        out_state->n_bytes += cursor.value.len < MAX_VALUE_BYTES ? cursor.value.len : 0;
    }
    store_cursor_close(&cursor);
    if (first == 0)
        first = out_state->last_key = n_leading;
    out_state->base = out_state->sent_key = out_state->free_key = first > n_leading ? first - n_leading - 1 : 0;
    return rc == UV_ENOENT ? 0 : rc;
}
