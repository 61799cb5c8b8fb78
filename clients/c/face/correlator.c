/* SPDX-License-Identifier: Apache-2.0 */
/* Correlators are opaque bytes (semantics.md rule 7). The originals' numbers are written most significant first, so
 * that they are the same on every machine. */
#include <errno.h>

#include "clients/c/sensebus.h"

static void put(uint64_t value, size_t n, void *out_bytes)
{
    uint8_t *bytes = out_bytes;
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(value >> 8 * (n - 1 - i));
}

static int get(const void *bytes, size_t len, size_t n, uint64_t *out_value)
{
    const uint8_t *b = bytes;
    *out_value = 0;
    if (!b || len != n) {
        errno = EINVAL;
        return -1;
    }
    for (size_t i = 0; i < n; i++)
        *out_value = *out_value << 8 | b[i];
    return 0;
}

void sb_correlator_put_u32(uint32_t value, void *out_bytes)
{
    put(value, SB_CORRELATOR_U32_BYTES, out_bytes);
}

void sb_correlator_put_u64(uint64_t value, void *out_bytes)
{
    put(value, SB_CORRELATOR_U64_BYTES, out_bytes);
}

int sb_correlator_get_u32(const void *bytes, size_t len, uint32_t *out_value)
{
    uint64_t value;
    int rc = get(bytes, len, SB_CORRELATOR_U32_BYTES, &value);
    *out_value = (uint32_t)value;
    return rc;
}

int sb_correlator_get_u64(const void *bytes, size_t len, uint64_t *out_value)
{
    return get(bytes, len, SB_CORRELATOR_U64_BYTES, out_value);
}
