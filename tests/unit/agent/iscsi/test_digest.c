/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "agent/iscsi/digest.h"

/* The examples of RFC 7143 appendix A.4: 32 bytes each. */
Test(digest, is_that_of_the_standard)
{
    uint8_t bytes[32] = {0}, digest[DIGEST_BYTES];

    digest_put(digest, bytes, sizeof(bytes));
    cr_assert_eq(memcmp(digest, "\xaa\x36\x91\x8a", DIGEST_BYTES), 0);
    memset(bytes, 0xff, sizeof(bytes));
    digest_put(digest, bytes, sizeof(bytes));
    cr_assert_eq(memcmp(digest, "\x43\xab\xa8\x62", DIGEST_BYTES), 0);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    digest_put(digest, bytes, sizeof(bytes));
    cr_assert_eq(memcmp(digest, "\x4e\x79\xdd\x46", DIGEST_BYTES), 0);
}

Test(digest, matches_only_its_own_bytes)
{
    uint8_t bytes[4] = {1, 2, 3, 4}, digest[DIGEST_BYTES];

    digest_put(digest, bytes, sizeof(bytes));
    cr_assert(digest_matches(digest, bytes, sizeof(bytes)));
    bytes[2] ^= 0x10;
    cr_assert_not(digest_matches(digest, bytes, sizeof(bytes)));
}
