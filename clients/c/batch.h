/* SPDX-License-Identifier: Apache-2.0 */
/* An EventBatch taken apart without unpacking it: its members in the order of the wire. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Field numbers of EventBatch (events.proto). */
enum batch_member {
    BATCH_CORRELATOR = 1,
    BATCH_EVENT = 2,
    BATCH_GAP = 3,
    BATCH_OPENED = 4,
    BATCH_SNAPSHOT_BEGIN = 5,
    BATCH_SYNCED = 6,
    BATCH_MARK = 7,
    BATCH_CLOSED = 8,
};

enum batch_result {
    BATCH_NEXT, /* a member this build knows is in the out-parameters */
    BATCH_END,
    BATCH_MALFORMED,
};

/* Read from *cursor on; fields of later versions are stepped over. */
enum batch_result batch_next(const uint8_t **cursor, const uint8_t *end, enum batch_member *out_member,
                             const uint8_t **out_bytes, size_t *out_len);
