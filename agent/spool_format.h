/* SPDX-License-Identifier: Apache-2.0 */
/* What the spool has on disk: a value for each record, and one for its state, each with a checksum.
 *
 * A key is a sequence and the base of its epoch (spool_state). Of what is damaged nothing is believed, not even its
 * key: the place of a damaged record is known by its neighbours, as keys have no holes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/record.h"
#include "agent/spool.h"
#include "runtime/store.h"

#define SPOOL_STATE_KEY "state" /* of the spool_state, in the table "meta" */

/* The value of a record: this header, then the encoded event; a loss has no event. */
struct spool_header {
    uint32_t crc; /* of the key, and of everything behind this member */
    uint32_t source;
    uint64_t loss_first_key; /* 0 = an event */
    uint64_t wall_ns, boot_ns;
    uint32_t aix_bits, unused; /* 0 */
    char boot_id[RECORD_BOOT_ID_BYTES];
};

/* Set the checksum of a record with this key and event. */
void spool_header_seal(struct spool_header *h, uint64_t key, const void *event, size_t len);
/* The record under the cursor. False when it is damaged; then the rest means nothing. */
bool spool_record_read(const struct store_cursor *cursor, uint64_t *out_key, struct spool_header *out_header);
/* The first key that the record stands for. */
uint64_t spool_first_key(const struct spool_header *h, uint64_t key);

int spool_state_write(struct store_txn *txn, unsigned table, const struct spool_state *state);
/* Returns 0, UV_ENOENT, UV_EIO when it is damaged, or another negative errno. */
int spool_state_read(struct store_txn *txn, unsigned table, struct spool_state *out_state);
/* All of the state but its epoch, as far as the records tell: those that may have been acknowledged count as held, and
 * none as sent in that epoch. */
int spool_state_infer(struct store_txn *txn, unsigned records_table, struct spool_state *out_state);
