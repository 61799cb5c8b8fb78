/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/journal_format.h"

#include <string.h>

#include "proto/event_view.h"
#include "runtime/crc32c.h"

#define VALUE_VERSION 2u
#define CRC_START     8u /* of what a value's checksum covers */

_Static_assert(sizeof(struct journal_value_header) == JOURNAL_HEADER_BYTES, "the header has no padding");
_Static_assert(sizeof(uint32_t) == JOURNAL_PAIR_EXTRA, "what is behind a pair's value is its checksum");

const char *const journal_table_names[JOURNAL_N_TABLES] = {"dedupe", "status", "cursors", "agents"};

static uint32_t value_crc(uint64_t first, const uint8_t *bytes, size_t len)
{
    return crc32c(crc32c(0, &first, sizeof first), bytes + CRC_START, len - CRC_START);
}

void journal_value_seal(uint64_t first, const struct journal_value_header *header, uint8_t *bytes, size_t len)
{
    struct journal_value_header h = *header;
    h.version = VALUE_VERSION;
    memcpy(bytes, &h, sizeof h);
    h.crc = value_crc(first, bytes, len);
    memcpy(bytes, &h, sizeof h);
}

void journal_value_seal_copy(uint64_t first, const struct journal_value_header *header, const uint8_t *bytes,
                             size_t len, uint8_t *to)
{
    struct journal_value_header h = *header;
    h.version = VALUE_VERSION;
    memcpy(to, &h, sizeof h);
    h.crc = crc32c_copy(value_crc(first, to, sizeof h), to + sizeof h, bytes + sizeof h, len - sizeof h);
    memcpy(to, &h, sizeof h);
}

static bool header_fits(uint64_t first, const struct journal_value_header *h)
{
    return h->version == VALUE_VERSION && h->reserved == 0 && h->n_records > 0 &&
           h->n_records - 1 <= UINT64_MAX - first;
}

bool journal_value_check(uint64_t first, const struct store_value *value, struct journal_value_header *out_header)
{
    struct journal_value_header h;

    if (value->len <= sizeof h)
        return false;
    memcpy(&h, value->data, sizeof h);
    if (!header_fits(first, &h) || value_crc(first, value->data, value->len) != h.crc)
        return false;
    *out_header = h;
    return true;
}

bool journal_value_copy(uint64_t first, const struct store_value *value, uint8_t *to,
                        struct journal_value_header *out_header)
{
    struct journal_value_header h;

    if (value->len <= sizeof h)
        return false;
    memcpy(to, value->data, CRC_START);
    uint32_t crc = crc32c_copy(crc32c(0, &first, sizeof first), to + CRC_START,
                               (const uint8_t *)value->data + CRC_START, value->len - CRC_START);
    memcpy(&h, to, sizeof h);
    if (!header_fits(first, &h) || crc != h.crc)
        return false;
    *out_header = h;
    return true;
}

bool journal_value_first_time(const struct store_value *value, uint64_t *out_time_ns)
{
    static const struct event_limits limits = {.allow_broker_fields = true};
    const uint8_t *p = (const uint8_t *)value->data + JOURNAL_HEADER_BYTES,
                  *end = (const uint8_t *)value->data + value->len, *event;
    struct event_view view;
    char err[128];
    size_t len;

    if (!records_next(&p, end, &event, &len) || event_scan(event, len, &limits, &view, err, sizeof err))
        return false;
    *out_time_ns = view.broker_time_ns;
    return true;
}

uint64_t journal_begin(uint64_t first_key, uint64_t newest)
{
    if (first_key == 0)
        return 1;
    return first_key <= newest ? first_key : newest + 1;
}

static uint32_t pair_crc(const void *key, size_t key_len, const void *value, size_t value_len)
{
    return crc32c(crc32c(0, key, key_len), value, value_len);
}

void journal_pair_seal(const void *key, size_t key_len, const void *value, size_t value_len, uint8_t *out)
{
    uint32_t crc = pair_crc(key, key_len, value, value_len);
    if (value_len > 0)
        memcpy(out, value, value_len);
    memcpy(out + value_len, &crc, sizeof crc);
}

bool journal_pair_open(const struct store_value *key, struct store_value *value)
{
    uint32_t crc;

    if (value->len < sizeof crc)
        return false;
    size_t len = value->len - sizeof crc;
    memcpy(&crc, (const uint8_t *)value->data + len, sizeof crc);
    if (pair_crc(key->data, key->len, value->data, len) != crc)
        return false;
    value->len = len;
    return true;
}
