/* SPDX-License-Identifier: Apache-2.0 */
/* What the log looks like in its store: for the journal, and for whoever looks at a log without opening it.
 *
 * Table "log": key first sequence, value journal_value_header and records. Table "meta": "format" (uint32_t), "epoch"
 * (uint64_t), "state" (struct journal_state), "redo" (uint64_t: the last frame of the write-ahead log that is in here).
 * Tables journal_table_names: what the services put. Every pair has a CRC-32C that covers its key too, so that nothing
 * passes for something else; only "format" has none. Numbers are in the byte order of the host, like the keys. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/engine/journal.h"
#include "runtime/store.h"

#define JOURNAL_FORMAT              3u
#define JOURNAL_FORMAT_WITHOUT_REDO 2u /* read, and made a log of this version when it is opened */
#define JOURNAL_PAIR_EXTRA          4u /* bytes of a stored pair's value behind what was put */

extern const char *const journal_table_names[JOURNAL_N_TABLES];

/* In front of the records of a stored value. */
struct journal_value_header {
    uint16_t version;
    uint16_t reserved;
    uint32_t crc; /* of the first sequence, and of everything behind this member */
    uint32_t n_records;
    uint32_t aix_bits;
    uint64_t newest_time_ns;
};

struct journal_state {
    uint64_t newest;
    uint64_t newest_time_ns;
    uint64_t log_bytes;
    uint64_t status_through;
    uint32_t trimmed_bits;
    uint32_t is_ahead; /* 1: the write-ahead log may hold what is not in here */
};

/* Write the header, complete with version and checksum, in front of the records that are in `bytes` already. */
void journal_value_seal(uint64_t first, const struct journal_value_header *header, uint8_t *bytes, size_t len);
/* The same with all of it in `to`, which has room for `len`: `bytes` stays as it is. */
void journal_value_seal_copy(uint64_t first, const struct journal_value_header *header, const uint8_t *bytes,
                             size_t len, uint8_t *to);
/* Is the stored value whole, and at its place? */
bool journal_value_check(uint64_t first, const struct store_value *value, struct journal_value_header *out_header);
/* The broker's time of the first record of a whole value. False when that is no record: written by something else. */
bool journal_value_first_time(const struct store_value *value, uint64_t *out_time_ns);
/* The same of a copy that is made in `to`, which has room for it. */
bool journal_value_copy(uint64_t first, const struct store_value *value, uint8_t *to,
                        struct journal_value_header *out_header);

/* Where a log begins whose first value has this key. A damaged one may say anything: it begins with the first record
 * there ever was at the earliest, and behind the newest at the latest. */
uint64_t journal_begin(uint64_t first_key, uint64_t newest);

/* The value of a pair as it is stored: `out` has room for value_len + JOURNAL_PAIR_EXTRA. */
void journal_pair_seal(const void *key, size_t key_len, const void *value, size_t value_len, uint8_t *out);
/* Is the stored pair whole? Cuts the value to what was put. */
bool journal_pair_open(const struct store_value *key, struct store_value *value);
