/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "proto/grpc/sendq.h"

static struct chunk *filled_chunk(size_t len, int byte)
{
    struct chunk *c = chunk_new(len);
    memset(c->bytes, byte, len);
    c->len = len;
    return c;
}

/* Take everything in pieces of at most `piece`; returns the number of slices that came. */
static size_t take_all(struct sendq *q, size_t piece, uint8_t *out, size_t *out_len)
{
    size_t n = 0;
    *out_len = 0;
    while (q->n_bytes > 0) {
        struct slice s = sendq_take(q, piece);
        cr_assert_leq(s.len, piece);
        memcpy(out + *out_len, s.ptr, s.len);
        *out_len += s.len;
        chunk_unref(s.owner);
        n++;
    }
    return n;
}

Test(sendq, message_is_prefix_and_parts_in_order)
{
    struct sendq q = {0};
    struct chunk *big = filled_chunk(2000, 'b');
    struct slice parts[] = {{.ptr = (const uint8_t *)"head", .len = 4},
                            {.owner = big, .ptr = big->bytes, .len = 2000},
                            {.ptr = NULL, .len = 0},
                            {.ptr = (const uint8_t *)"tail", .len = 4}};
    for (size_t piece = 1; piece < 3000; piece += 97) {
        uint8_t out[3000];
        size_t len;
        cr_assert_eq(sendq_message(&q, parts, 4), 0);
        cr_assert_eq(q.n_bytes, 5 + 2008);
        take_all(&q, piece, out, &len);
        cr_assert_eq(len, 5 + 2008);
        cr_assert_arr_eq(out, "\0\0\0\x07\xd8head", 9);
        cr_assert_eq(out[9], 'b');
        cr_assert_eq(out[2008], 'b');
        cr_assert_arr_eq(out + 2009, "tail", 4);
    }
    cr_assert_eq(big->n_refs, 1);
    chunk_unref(big);
    sendq_deinit(&q);
}

Test(sendq, big_owned_parts_are_referenced_and_small_ones_copied)
{
    struct sendq q = {0};
    struct chunk *big = filled_chunk(SENDQ_COPY_BELOW, 'b');
    struct slice part = {.owner = big, .ptr = big->bytes, .len = SENDQ_COPY_BELOW};
    sendq_message(&q, &part, 1);
    cr_assert_eq(big->n_refs, 2);
    part.len--;
    sendq_message(&q, &part, 1);
    cr_assert_eq(big->n_refs, 2);
    sendq_deinit(&q);
    cr_assert_eq(big->n_refs, 1);
    chunk_unref(big);
}

Test(sendq, many_small_messages_become_few_slices)
{
    struct sendq q = {0};
    struct slice part = {.ptr = (const uint8_t *)"0123456789", .len = 10};
    uint8_t *out = malloc(15000);
    size_t len;
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(sendq_message(&q, &part, 1), 0);
    cr_assert_leq(take_all(&q, 15000, out, &len), 5);
    cr_assert_eq(len, 15000);
    cr_assert_null(q.tail, "an empty queue holds no memory for bytes");
    free(out);
    sendq_deinit(&q);
}

Test(sendq, message_over_4_gib_is_refused)
{
    struct sendq q = {0};
    struct slice parts[] = {{.ptr = (const uint8_t *)"", .len = UINT32_MAX}, {.ptr = (const uint8_t *)"x", .len = 1}};
    cr_assert_eq(sendq_message(&q, parts, 2), UV_E2BIG);
    cr_assert_eq(q.n_bytes, 0);
    sendq_deinit(&q);
}
