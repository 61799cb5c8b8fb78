/* SPDX-License-Identifier: Apache-2.0 */
/* The newest batches of the log, in memory, where all readers share them: a ring of at most JOURNAL_TAIL_BATCHES and of
 * about `limit_bytes`, never less than the newest one, and never less than what nobody could read elsewhere. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct journal_batch;

#define JOURNAL_TAIL_BATCHES 4096u

struct journal_tail {
    struct journal_batch *ring; /* oldest at head */
    size_t head, n;
    uint64_t bytes, limit_bytes;
    uint64_t keep_from; /* records from here on stay; they fill less than half of the ring */
};

/* `limit_bytes` 0 = 16 MiB. Returns 0 or UV_ENOMEM. */
int journal_tail_init(struct journal_tail *t, uint64_t limit_bytes);
void journal_tail_deinit(struct journal_tail *t);

/* Behind the others; references what `b` holds. Batches that are too much for the limits go at journal_tail_trim. */
void journal_tail_add(struct journal_tail *t, const struct journal_batch *b);
void journal_tail_trim(struct journal_tail *t);
/* The batch that holds `sequence`, borrowed until the tail changes, or NULL. */
struct journal_batch *journal_tail_find(const struct journal_tail *t, uint64_t sequence);
/* The first batch at or behind `from` whose newest record is not before `time_ns`: its first sequence, or `none`. */
uint64_t journal_tail_find_time(const struct journal_tail *t, uint64_t from, uint64_t time_ns, uint64_t none);
