/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/retention.h"

#include <stdbool.h>

static bool is_too_old(const struct retention_batch *batch, uint64_t max_age_ns, uint64_t now_ns)
{
    return max_age_ns && now_ns > batch->newest_time_ns && now_ns - batch->newest_time_ns > max_age_ns;
}

uint64_t retention_step(const struct retention_limits *limits, const struct retention_log *log,
                        const struct retention_batch *oldest, size_t n, uint64_t now_ns)
{
    uint64_t bytes = log->bytes, records = log->n_records, through = 0;
    if (n > RETENTION_STEP_BATCHES)
        n = RETENTION_STEP_BATCHES;
    for (size_t i = 0; i < n; i++) {
        const struct retention_batch *batch = &oldest[i];
        uint64_t last = batch->first_sequence + batch->n_records - 1;
        if (last >= log->newest_sequence)
            break;
        bool over = (limits->max_bytes && bytes > limits->max_bytes) ||
                    (limits->max_records && records > limits->max_records) ||
                    is_too_old(batch, limits->max_age_ns, now_ns);
        if (!over)
            break;
        through = last;
        bytes -= batch->bytes < bytes ? batch->bytes : bytes;
        records -= batch->n_records < records ? batch->n_records : records;
    }
    return through;
}
