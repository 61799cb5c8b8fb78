/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/load/event.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "proto/wire.h"

#define CODE_LUN_RESET  203u
#define SEVERITY_NOTICE 2u
#define SCOPE_LUN       1u
#define MODE_INITIATOR  1u
#define SOURCE_ISCSI    1u
#define AIX_RESET       4u

static uint8_t *number(uint8_t *p, unsigned field, uint64_t value)
{
    p += varint_write(p, field << 3);
    return p + varint_write(p, value);
}

static uint8_t *fixed64(uint8_t *p, unsigned field, uint64_t value)
{
    p += varint_write(p, field << 3 | 1);
    for (unsigned shift = 0; shift < 64; shift += 8)
        *p++ = (uint8_t)(value >> shift);
    return p;
}

static uint8_t *text(uint8_t *p, unsigned field, const char *bytes, size_t len)
{
    p += varint_write(p, field << 3 | 2);
    p += varint_write(p, len);
    memcpy(p, bytes, len);
    return p + len;
}

static uint64_t zigzag(int64_t value)
{
    return (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
}

void event_designator(char out[DESIGNATOR_BYTES + 1], unsigned key)
{
    snprintf(out, DESIGNATOR_BYTES + 1, "naa.60014050%08x", key);
}

uint64_t event_time(const uint8_t *event)
{
    uint64_t value = 0;
    for (unsigned i = 8; i-- > 0;)
        value = value << 8 | event[EVENT_TIME_AT + i];
    return value;
}

void event_write(uint8_t out[EVENT_BYTES], const struct event_source *source, uint64_t sequence, uint64_t time_ns)
{
    static const char words[] = "logical unit reset: another initiator asked for it, and nothing is kept";
    char designator[DESIGNATOR_BYTES + 1] = "naa.60014050";
    unsigned key = (unsigned)(sequence % source->n_keys);
    uint8_t inner[64], *q, *p = out;

    p = fixed64(p, 10, time_ns);
    p = number(p, 4, CODE_LUN_RESET);
    p = number(p, 5, SEVERITY_NOTICE);
    p = number(p, 6, SCOPE_LUN);
    p = number(p, 7, MODE_INITIATOR);
    q = text(inner, 1, source->host, strlen(source->host));
    q = fixed64(q, 3, source->epoch);
    q = number(q, 4, SOURCE_ISCSI);
    q = number(q, 5, sequence);
    p = text(p, 8, (char *)inner, (size_t)(q - inner));
    p = fixed64(p, 9, 1700000000000000000u + sequence);
    q = text(inner, 1, "iscsi0", 6);
    q = number(q, 2, zigzag(-1));
    q = number(q, 3, zigzag(key));
    q = number(q, 4, zigzag(0));
    q = number(q, 6, zigzag(0));
    p = text(p, 11, (char *)inner, (size_t)(q - inner));
    for (unsigned i = 0; i < 8; i++)
        designator[12 + i] = "0123456789abcdef"[key >> (28 - 4 * i) & 15];
    q = text(inner, 5, designator, DESIGNATOR_BYTES);
    p = text(p, 12, (char *)inner, (size_t)(q - inner));
    p = number(p, 18, AIX_RESET);
    /* The summary makes it EVENT_BYTES: numbers differ in length. */
    size_t rest = EVENT_BYTES - (size_t)(p - out) - 3;
    assert(rest <= sizeof words - 1);
    p = text(p, 24, words, rest);
    assert(p == out + EVENT_BYTES);
}
