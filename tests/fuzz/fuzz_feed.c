/* SPDX-License-Identifier: Apache-2.0 */
/* What a target's data feed sends: whole, and byte by byte; the same messages must come of both. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/target/feed_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Sums what messages point at, so that a read out of bounds is caught. */
static volatile unsigned sum;

static void touch(const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum += ((const uint8_t *)bytes)[i];
}

static void check_message(const struct feed_message *m)
{
    const uint8_t *cursor = m->data, *end = m->data ? m->data + m->len : NULL;
    const char *name;
    size_t len, n = 0;

    if (m->n_bytes <= FEED_PREFIX_BYTES || m->n_bytes > FEED_PREFIX_BYTES + FEED_MAX_BODY)
        abort();
    if (m->kind == FEED_DATA) {
        if (m->len > FEED_MAX_DATA || m->target_len == 0 || m->target_len > FEED_MAX_NAME || m->initiator_len == 0 ||
            m->initiator_len > FEED_MAX_NAME)
            abort();
        touch(m->target, m->target_len);
        touch(m->initiator, m->initiator_len);
        touch(m->data, m->len);
    } else if (m->kind == FEED_SERVES) {
        for (; feed_next_name(&cursor, end, &name, &len); n++)
            touch(name, len);
        if (cursor != end || n > FEED_MAX_TARGETS)
            abort();
    }
}

/* A message is incomplete until its last byte, and then what it is as a whole; a fault may be seen earlier. */
static void check_beginnings(const uint8_t *data, const struct feed_message *m)
{
    struct feed_message again;
    const char *fault;
    size_t step = m->n_bytes / 64 + 1;

    for (size_t len = 0; len < m->n_bytes; len += step)
        if (feed_message_read(data, len, &again, &fault) != FEED_INCOMPLETE)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct feed_message m;
    const char *fault = NULL;
    enum feed_result result;

    while ((result = feed_message_read(data, size, &m, &fault)) == FEED_COMPLETE) {
        check_message(&m);
        check_beginnings(data, &m);
        data += m.n_bytes;
        size -= m.n_bytes;
    }
    if (result == FEED_MALFORMED)
        touch(fault, strlen(fault));
    return 0;
}
