/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/iscsi/digest.h"

#include <string.h>

#include "runtime/crc32c.h"

void digest_put(uint8_t at[DIGEST_BYTES], const uint8_t *bytes, size_t len)
{
    uint32_t crc = crc32c(0, bytes, len);

    for (size_t i = 0; i < DIGEST_BYTES; i++)
        at[i] = (uint8_t)(crc >> 8 * i);
}

bool digest_matches(const uint8_t at[DIGEST_BYTES], const uint8_t *bytes, size_t len)
{
    uint8_t expected[DIGEST_BYTES];

    digest_put(expected, bytes, len);
    return memcmp(at, expected, DIGEST_BYTES) == 0;
}
