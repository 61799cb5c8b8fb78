/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/target/feed_message.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static uint8_t buffer[FEED_PREFIX_BYTES + FEED_MAX_BODY + 16];

/* Prefix for `n` bytes of kind and body, then these. */
static size_t message(uint8_t kind, const void *body, size_t len)
{
    uint32_t n = (uint32_t)len + 1;

    buffer[0] = (uint8_t)(n >> 24);
    buffer[1] = (uint8_t)(n >> 16);
    buffer[2] = (uint8_t)(n >> 8);
    buffer[3] = (uint8_t)n;
    buffer[4] = kind;
    memcpy(buffer + 5, body, len);
    return 5 + len;
}

/* Of the first `len` bytes in an allocation of their own, so that a read beyond them is caught. */
static enum feed_result read_message(size_t len, struct feed_message *out, const char **fault)
{
    static uint8_t *copy;

    free(copy);
    copy = malloc(len ? len : 1);
    memcpy(copy, buffer, len);
    *fault = NULL;
    return feed_message_read(copy, len, out, fault);
}

Test(feed_message, data_carries_names_and_bytes)
{
    size_t len = message(FEED_DATA, "\5iqn.t\5iqn.adata", 16);
    struct feed_message m;
    const char *fault;

    cr_assert_eq(read_message(len, &m, &fault), FEED_COMPLETE);
    cr_expect_eq(m.kind, FEED_DATA);
    cr_expect(m.target_len == 5 && memcmp(m.target, "iqn.t", 5) == 0);
    cr_expect(m.initiator_len == 5 && memcmp(m.initiator, "iqn.a", 5) == 0);
    cr_expect(m.len == 4 && memcmp(m.data, "data", 4) == 0);
    cr_expect_eq(m.n_bytes, len);
}

Test(feed_message, every_beginning_is_incomplete)
{
    size_t len = message(FEED_DATA, "\5iqn.t\5iqn.adata", 16);
    struct feed_message m;
    const char *fault;

    for (size_t i = 0; i < len; i++)
        cr_assert_eq(read_message(i, &m, &fault), FEED_INCOMPLETE, "length %zu", i);
}

Test(feed_message, serves_lists_names)
{
    size_t len = message(FEED_SERVES, "\5iqn.t\6iqn.t2", 13), n = 0, name_len;
    struct feed_message m;
    const uint8_t *cursor;
    const char *fault, *name;

    cr_assert_eq(read_message(len, &m, &fault), FEED_COMPLETE);
    for (cursor = m.data; feed_next_name(&cursor, m.data + m.len, &name, &name_len); n++)
        cr_expect_eq(memcmp(name, "iqn.t2", name_len), 0);
    cr_expect_eq(n, 2);
    cr_expect_eq(cursor, m.data + m.len);
    cr_assert_eq(read_message(message(FEED_SERVES, "", 0), &m, &fault), FEED_COMPLETE);
    cr_expect_eq(m.len, 0, "nothing is served");
}

Test(feed_message, other_kinds_pass)
{
    struct feed_message m;
    const char *fault;

    cr_assert_eq(read_message(message(77, "later", 5), &m, &fault), FEED_COMPLETE);
    cr_expect_eq(m.kind, 77);
    cr_expect_eq(m.n_bytes, 10);
}

Test(feed_message, refuses_what_breaks_the_rules)
{
    static const struct {
        uint8_t kind;
        const char *body;
        size_t len;
    } rows[] = {
        {FEED_DATA, "", 0},
        {FEED_DATA, "\5iqn.", 5},
        {FEED_DATA, "\0\5iqn.a", 7},
        {FEED_DATA, "\5iqn.t", 6},
        {FEED_DATA, "\5iqn.t\0", 7},
        {FEED_DATA, "\5iq\nt.\5iqn.a", 12},
        {FEED_DATA, "\5iqn.t\xff", 7},
        {FEED_SERVES, "\5iqn.", 5},
        {FEED_SERVES, "\0", 1},
        {FEED_SERVES, "\3i\0n", 4},
        {FEED_SERVES, "\5iqn.t\5iqn", 10},
    };
    struct feed_message m;
    const char *fault;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_expect_eq(read_message(message(rows[i].kind, rows[i].body, rows[i].len), &m, &fault), FEED_MALFORMED,
                     "row %zu", i);
        cr_expect_not_null(fault, "row %zu", i);
    }
}

Test(feed_message, believes_no_impossible_length)
{
    static const uint8_t zero[4], huge[] = {0xff, 0xff, 0xff, 0xff};
    uint8_t over[] = {0, (FEED_MAX_BODY + 1) >> 16, (uint8_t)((FEED_MAX_BODY + 1) >> 8), (uint8_t)(FEED_MAX_BODY + 1)};
    struct feed_message m;
    const char *fault = NULL;

    cr_expect_eq(feed_message_read(zero, 4, &m, &fault), FEED_MALFORMED);
    cr_expect_eq(feed_message_read(huge, 4, &m, &fault), FEED_MALFORMED);
    cr_expect_eq(feed_message_read(over, 4, &m, &fault), FEED_MALFORMED);
}

Test(feed_message, the_largest_data_fits_and_one_more_byte_does_not)
{
    static uint8_t body[12 + FEED_MAX_DATA + 1];
    struct feed_message m;
    const char *fault;

    memcpy(body, "\5iqn.t\5iqn.a", 12);
    cr_expect_eq(read_message(message(FEED_DATA, body, 12 + FEED_MAX_DATA), &m, &fault), FEED_COMPLETE);
    cr_expect_eq(read_message(message(FEED_DATA, body, 12 + FEED_MAX_DATA + 1), &m, &fault), FEED_MALFORMED);
}

Test(feed_message, done_is_a_message_of_its_own)
{
    uint8_t done[FEED_DONE_BYTES];

    feed_done_write(done, 0x0102030405060708);
    cr_expect_arr_eq(done, "\0\0\0\x09\3\1\2\3\4\5\6\7\x08", FEED_DONE_BYTES);
}
