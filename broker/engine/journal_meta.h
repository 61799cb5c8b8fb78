/* SPDX-License-Identifier: Apache-2.0 */
/* The log's description in its table "meta": format, epoch, and the state that changes with every transaction. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct journal;
struct journal_state;
struct store_txn;

/* Make the description of a new log with the epoch `new_epoch`, or read an old one, into *j. On failure `err` says what
 * is wrong with it. */
int journal_meta_open(struct journal *j, uint64_t new_epoch, char *err, size_t err_len);

/* UV_EIO when what is stored is damaged. */
int journal_state_get(const struct journal *j, struct store_txn *t, struct journal_state *out_state);
int journal_state_put(const struct journal *j, struct store_txn *t, const struct journal_state *state);

/* Number of the last frame of the write-ahead log that the store has; 0 when it has none yet. */
int journal_applied_get(const struct journal *j, struct store_txn *t, uint64_t *out_number);
int journal_applied_put(const struct journal *j, struct store_txn *t, uint64_t number);

/* Say whether the file redo may hold what the store has not, and that the numbers up to j->stored are taken. */
int journal_mark_ahead(struct journal *j, bool is_ahead);

/* What an error of the store means to who starts the broker. */
const char *journal_open_error(int rc);
