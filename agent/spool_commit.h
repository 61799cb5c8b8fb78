/* SPDX-License-Identifier: Apache-2.0 */
/* What the spool has on disk, and one group commit of it: new events are written, acknowledged ones freed, the oldest
 * dropped when there is too much, all in one transaction.
 *
 * A key is a sequence and the base of its epoch (spool_state). A commit that fails wrote nothing. Runs on libuv's pool,
 * and touches its own commit and the store alone. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "agent/record.h"
#include "agent/spool.h"
#include "runtime/store.h"

#define SPOOL_STATE_KEY "state" /* of the spool_state, in the table "meta" */

/* The value of a record: this header, then the encoded event; a loss has no event. */
struct spool_header {
    uint64_t loss_first_key; /* 0 = an event */
    uint64_t wall_ns, boot_ns;
    uint32_t aix_bits, source;
    char boot_id[RECORD_BOOT_ID_BYTES];
};

struct spool_entry {
    struct spool_entry *next;
    uint64_t key;
    struct spool_header header;
    size_t len;
    uint8_t bytes[];
};

/* One group commit: all that the pool's thread touches, besides the store. */
struct spool_commit {
    struct store *store;
    unsigned meta_table, records_table;
    uint64_t max_bytes, max_records;
    struct spool_entry *first, *last; /* the owner's */
    uint64_t n_bytes;
    uint64_t free_key;
    bool lean;                 /* only frees, and little at a time */
    bool more_to_free;         /* out */
    uint64_t n_dropped_memory; /* counted in `state` */
    struct spool_state state;  /* in: what is held; out: what is held then */
    int rc;
};

/* Returns 0 or a negative errno; then `state` means nothing. */
int spool_commit_run(struct spool_commit *c);

size_t spool_value_size(const struct spool_entry *e);
/* The first key that the record stands for. */
uint64_t spool_first_key(const struct spool_header *h, uint64_t key);
/* The record under the cursor. Returns 0, or UV_EIO when it is none of ours. */
int spool_header_read(const struct store_cursor *cursor, uint64_t *out_key, struct spool_header *out_header);
int spool_state_write(struct store_txn *txn, unsigned table, const struct spool_state *state);
