/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/grpc/session_block.h"

#include <criterion/criterion.h>
#include <string.h>

static struct session_block block;

static void set_up(void)
{
    cr_assert_eq(session_block_init(&block), 0);
}

static void tear_down(void)
{
    session_block_deinit(&block);
}

TestSuite(session_block, .init = set_up, .fini = tear_down);

static bool is_inside(const void *piece)
{
    const uint8_t *at = piece;
    return at >= block.bytes && at < block.bytes + SESSION_BLOCK_BYTES;
}

Test(session_block, long_pieces_lie_behind_one_another)
{
    uint8_t *table = session_block_calloc(256, 16, &block);
    uint8_t *buffer = session_block_realloc(NULL, 16394, &block);
    cr_assert(is_inside(table) && is_inside(buffer + 16393));
    cr_assert_eq(buffer, table + 4096);
    session_block_free(table, &block);
    session_block_free(buffer, &block);
}

Test(session_block, an_idle_session_touches_one_page_of_it)
{
    enum { PAGE = 4096 };
    const uint8_t *table = session_block_calloc(256, 16, &block);
    const uint8_t *buffer = session_block_malloc(16394, &block);
    cr_assert_eq((uintptr_t)(table + 2048) / PAGE, (uintptr_t)(buffer + 1024) / PAGE);
}

Test(session_block, pieces_are_aligned_and_zeroed)
{
    const uint8_t *first = session_block_malloc(SESSION_BLOCK_LONG + 1, &block);
    const uint8_t *second = session_block_calloc(1, SESSION_BLOCK_LONG + 1, &block);
    cr_assert(is_inside(first) && is_inside(second));
    cr_assert_eq((uintptr_t)second % 16, 0);
    for (size_t i = 0; i <= SESSION_BLOCK_LONG; i++)
        cr_assert_eq(second[i], 0);
}

Test(session_block, short_pieces_and_those_without_room_come_from_elsewhere)
{
    char *brief = session_block_malloc(SESSION_BLOCK_LONG - 1, &block);
    char *huge = session_block_calloc(1, SESSION_BLOCK_BYTES + 1, &block);
    cr_assert(brief && !is_inside(brief) && huge && !is_inside(huge));
    brief = session_block_realloc(brief, SESSION_BLOCK_BYTES, &block);
    cr_assert(brief && !is_inside(brief));
    session_block_free(brief, &block);
    session_block_free(huge, &block);
}

Test(session_block, it_is_used_to_its_end_and_no_further)
{
    uint8_t *last = NULL, *piece;
    while (is_inside(piece = session_block_malloc(SESSION_BLOCK_LONG + 8, &block))) {
        memset(piece, 0xff, SESSION_BLOCK_LONG + 8);
        last = piece;
    }
    session_block_free(piece, &block);
    cr_assert_leq(last + SESSION_BLOCK_LONG + 8, block.bytes + SESSION_BLOCK_BYTES);
}

Test(session_block, a_piece_that_grows_takes_its_bytes_along)
{
    char *piece = session_block_malloc(SESSION_BLOCK_LONG, &block);
    memset(piece, 'x', SESSION_BLOCK_LONG);
    char *grown = session_block_realloc(piece, 8 * SESSION_BLOCK_BYTES, &block);
    cr_assert(grown && !is_inside(grown));
    for (size_t i = 0; i < SESSION_BLOCK_LONG; i++)
        cr_assert_eq(grown[i], 'x');
    session_block_free(grown, &block);
}

Test(session_block, nothing_is_given_back_twice)
{
    session_block_deinit(&block);
    session_block_deinit(&block);
    session_block_free(NULL, &block);
}
