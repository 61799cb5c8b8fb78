/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/crc32c.h"

#include <criterion/criterion.h>
#include <string.h>

/* RFC 3720 section B.4, and the usual check value. */
Test(crc32c, known_values)
{
    uint8_t bytes[32] = {0};
    cr_assert_eq(crc32c(0, "", 0), 0);
    cr_assert_eq(crc32c(0, "123456789", 9), 0xE3069283);
    cr_assert_eq(crc32c(0, bytes, sizeof bytes), 0x8A9136AA);
    memset(bytes, 0xff, sizeof bytes);
    cr_assert_eq(crc32c(0, bytes, sizeof bytes), 0x62A8AB43);
    for (uint8_t i = 0; i < sizeof bytes; i++)
        bytes[i] = i;
    cr_assert_eq(crc32c(0, bytes, sizeof bytes), 0x46DD794E);
}

Test(crc32c, table_and_processor_agree_in_pieces_of_any_length)
{
    uint8_t bytes[100];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 73 + 11);
    for (size_t from = 0; from < 9; from++) {
        for (size_t len = 0; from + len <= sizeof bytes; len++) {
            uint32_t crc = crc32c(0, bytes + from, len);
            cr_assert_eq(crc32c_by_table(0, bytes + from, len), crc);
            cr_assert_eq(crc32c(crc32c(0, bytes + from, len / 3), bytes + from + len / 3, len - len / 3), crc);
            cr_assert_eq(crc32c_by_table(crc32c(0, bytes + from, len / 3), bytes + from + len / 3, len - len / 3), crc);
        }
    }
}

/* Long ones go another way: several blocks at a time. */
Test(crc32c, table_and_processor_agree_on_long_bytes)
{
    static uint8_t bytes[3 * 1536 + 600];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * i * 31 + i * 73 + 11);
    for (size_t len = 1400; len <= sizeof bytes; len += 13) {
        uint32_t crc = crc32c(7, bytes, len);
        cr_assert_eq(crc32c_by_table(7, bytes, len), crc, "%zu", len);
        cr_assert_eq(crc32c(crc32c(7, bytes, len / 2), bytes + len / 2, len - len / 2), crc, "%zu", len);
    }
    bytes[2000] ^= 4;
    cr_assert_eq(crc32c(0, bytes, sizeof bytes), crc32c_by_table(0, bytes, sizeof bytes));
}

Test(crc32c, copying_gives_the_same_bytes_and_the_same_sum)
{
    static uint8_t bytes[9 * 1536 + 700], copy[sizeof bytes + 16];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * i * 37 + i * 71 + 5);
    for (size_t len = 0; len <= sizeof bytes; len += len < 40 ? 1 : 211) {
        size_t from = len < sizeof bytes - 7 ? len % 8 : 0;
        memset(copy, 0xee, sizeof copy);
        cr_assert_eq(crc32c_copy(9, copy + 5, bytes + from, len), crc32c(9, bytes + from, len), "%zu", len);
        cr_assert_arr_eq(copy + 5, bytes + from, len);
        cr_assert_eq(copy[4], 0xee);
        cr_assert_eq(copy[5 + len], 0xee);
    }
    cr_assert_eq(crc32c_copy(9, NULL, NULL, 0), crc32c(9, "", 0));
}
