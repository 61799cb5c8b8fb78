/* SPDX-License-Identifier: Apache-2.0 */
/* One group commit of the spool: new events are written, acknowledged ones freed, the oldest dropped when there is too
 * much, all in one transaction.
 *
 * A commit that fails wrote nothing. Runs on libuv's pool, and touches its own commit and the store alone. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "agent/spool.h"
#include "agent/spool_format.h"
#include "runtime/store.h"

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
    bool lean;                 /* only frees, and little at a time */
    bool may_send;             /* what is held then may be sent */
    bool more_to_free;         /* out */
    uint64_t n_dropped_memory; /* counted in `state` */
    struct spool_state state;  /* in: what is held, what may go, and the last number given to one that has no record;
                                * out: what is held then */
    int rc;
};

/* Returns 0 or a negative errno; then `state` means nothing. */
int spool_commit_run(struct spool_commit *c);

size_t spool_value_size(const struct spool_entry *e);
