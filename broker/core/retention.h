/* SPDX-License-Identifier: Apache-2.0 */
/* Which part of the log may go? A policy without effects: the engine deletes what it says.
 *
 * Invariants: whole batches, oldest first; the newest batch always stays; one step names at most as many batches as it
 * was shown, so that deleting never holds up taking in. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define RETENTION_STEP_BATCHES 64

/* 0 = no limit. */
struct retention_limits {
    uint64_t max_bytes;
    uint64_t max_age_ns;
    uint64_t max_records;
};

struct retention_batch {
    uint64_t first_sequence;
    uint64_t n_records;
    uint64_t bytes;
    uint64_t newest_time_ns; /* broker time of its last record */
};

struct retention_log {
    uint64_t newest_sequence;
    uint64_t n_records, bytes; /* of the whole log */
};

/* `oldest`: the first `n` batches of the log, in order. Returns the sequence through which to delete, 0 for nothing. */
uint64_t retention_step(const struct retention_limits *limits, const struct retention_log *log,
                        const struct retention_batch *oldest, size_t n, uint64_t now_ns);
