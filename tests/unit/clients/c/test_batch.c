/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/c/batch.h"

#include <criterion/criterion.h>

static enum batch_result next(const uint8_t **cursor, const uint8_t *end, enum batch_member *member, size_t *len)
{
    const uint8_t *bytes;
    return batch_next(cursor, end, member, &bytes, len);
}

Test(batch, members_come_in_the_order_of_the_wire)
{
    static const uint8_t bytes[] = {0x12, 2, 'a', 'b', 0x0a, 1, 'c', 0x12, 0, 0x32, 0};
    const uint8_t *cursor = bytes, *end = bytes + sizeof bytes;
    enum batch_member member;
    size_t len;
    cr_assert_eq(next(&cursor, end, &member, &len), BATCH_NEXT);
    cr_expect(member == BATCH_EVENT && len == 2);
    cr_assert_eq(next(&cursor, end, &member, &len), BATCH_NEXT);
    cr_expect(member == BATCH_CORRELATOR && len == 1);
    cr_assert_eq(next(&cursor, end, &member, &len), BATCH_NEXT);
    cr_expect(member == BATCH_EVENT && len == 0);
    cr_assert_eq(next(&cursor, end, &member, &len), BATCH_NEXT);
    cr_expect(member == BATCH_SYNCED && len == 0);
    cr_expect_eq(next(&cursor, end, &member, &len), BATCH_END);
}

Test(batch, fields_of_later_versions_are_stepped_over)
{
    static const uint8_t bytes[] = {0x48, 7, 0x52, 1, 'x', 0x12, 0};
    const uint8_t *cursor = bytes, *end = bytes + sizeof bytes;
    enum batch_member member;
    size_t len;
    cr_assert_eq(next(&cursor, end, &member, &len), BATCH_NEXT);
    cr_expect_eq(member, BATCH_EVENT);
    cr_expect_eq(next(&cursor, end, &member, &len), BATCH_END);
}

Test(batch, malformed_is_not_the_end)
{
    static const struct {
        uint8_t bytes[4];
        size_t len;
    } cases[] = {
        {{0x12, 5, 'a'}, 3}, /* cut */
        {{0x12}, 1},         /* no length */
        {{0x10, 1}, 2},      /* an event that is a number */
        {{0x00, 0}, 2},      /* field 0 */
        {{0x13, 0x14}, 2},   /* a group */
        {{0x80}, 1},         /* cut tag */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const uint8_t *cursor = cases[i].bytes;
        enum batch_member member;
        size_t len;
        cr_expect_eq(next(&cursor, cases[i].bytes + cases[i].len, &member, &len), BATCH_MALFORMED, "case %zu", i);
    }
}
