/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/c/batch.h"

#include "proto/wire.h"

enum batch_result batch_next(const uint8_t **cursor, const uint8_t *end, enum batch_member *out_member,
                             const uint8_t **out_bytes, size_t *out_len)
{
    while (*cursor < end) {
        struct wire_field field;
        const uint8_t *next = wire_field_read(*cursor, end, &field);
        if (!next)
            return BATCH_MALFORMED;
        *cursor = next;
        if (field.number < BATCH_CORRELATOR || field.number > BATCH_CLOSED)
            continue;
        if (field.type != WIRE_BYTES)
            return BATCH_MALFORMED;
        *out_member = (enum batch_member)field.number;
        *out_bytes = field.bytes;
        *out_len = field.len;
        return BATCH_NEXT;
    }
    return BATCH_END;
}
