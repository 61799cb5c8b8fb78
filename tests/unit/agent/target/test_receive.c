/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/target/receive.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* What each session was told, and the bytes that it got. */
struct seen {
    uint8_t bytes[64 * 1024];
    size_t n, largest;
    unsigned n_exhausted, n_resumed;
};
static struct seen seen[4];
static struct receive r;
static size_t refuse_after; /* calls of on_received that are taken before one is refused; SIZE_MAX = never */

static struct seen *of(const struct receive_session *s)
{
    return &seen[s->generation - 1];
}

static bool on_received(void *data, const struct receive_session *s, const uint8_t *bytes, size_t len)
{
    (void)data;
    if (refuse_after == 0)
        return false;
    refuse_after -= refuse_after != SIZE_MAX;
    cr_assert_leq(of(s)->n + len, sizeof of(s)->bytes);
    memcpy(of(s)->bytes + of(s)->n, bytes, len);
    of(s)->n += len;
    of(s)->largest = len > of(s)->largest ? len : of(s)->largest;
    return true;
}

static void on_exhausted(void *data, const struct receive_session *s)
{
    (void)data;
    of(s)->n_exhausted++;
    cr_assert_eq(of(s)->n_exhausted, of(s)->n_resumed + 1, "exhausted twice without a resumption");
}

static void on_resumed(void *data, const struct receive_session *s)
{
    (void)data;
    of(s)->n_resumed++;
    cr_assert_eq(of(s)->n_exhausted, of(s)->n_resumed);
}

static const struct receive_ops ops = {
    .on_received = on_received, .on_exhausted = on_exhausted, .on_resumed = on_resumed};

static void setup(void)
{
    memset(seen, 0, sizeof seen);
    refuse_after = SIZE_MAX;
    receive_init(&r, &ops, NULL);
}

static void teardown(void)
{
    receive_deinit(&r);
}

TestSuite(receive, .init = setup, .fini = teardown);

static struct receive_session *start(uint64_t generation, const char *initiator, uint32_t n_buffers, uint32_t bytes)
{
    struct receive_session session = {.generation = generation, .buffer_bytes = bytes};

    snprintf(session.id, sizeof session.id, "s%d", (int)generation);
    snprintf(session.target, sizeof session.target, "iqn.t");
    snprintf(session.initiator, sizeof session.initiator, "%s", initiator);
    cr_assert_eq(receive_open(&r, &session, n_buffers), 0);
    return receive_find(&r, session.id, generation);
}

static size_t begin(const char *initiator, size_t len)
{
    return receive_begin(&r, "iqn.t", 5, initiator, strlen(initiator), len);
}

static uint8_t pattern[40000];

static void fill_pattern(void)
{
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (uint8_t)(i * 7 + i / 256);
}

/* Rule 23: pieces of at most buf_size, in order, all of it. */
Test(receive, cuts_data_into_buffers)
{
    struct receive_session *s = start(1, "iqn.a", 16, 100);

    fill_pattern();
    cr_assert_eq(begin("iqn.a", 950), 1);
    cr_assert(receive_deliver(&r, pattern, 950));
    cr_expect_eq(seen[0].n, 950);
    cr_expect_eq(seen[0].largest, 100);
    cr_expect_arr_eq(seen[0].bytes, pattern, 950);
    cr_expect_eq(s->buffers.held, 10);
}

/* Rule 23, A12: held off at the limit, told once, resumed at half, nothing lost. */
Test(receive, holds_off_when_all_buffers_are_held_and_resumes_at_half)
{
    struct receive_session *s = start(1, "iqn.a", 16, 100);

    fill_pattern();
    begin("iqn.a", 3000);
    cr_assert_not(receive_deliver(&r, pattern, 3000));
    cr_expect_eq(seen[0].n, 1600);
    cr_expect_eq(seen[0].n_exhausted, 1);
    cr_assert_not(receive_release(&r, s, 7));
    cr_assert_not(receive_deliver(&r, pattern, 3000));
    cr_expect_eq(seen[0].n, 1600, "nothing between exhaustion and half");
    cr_assert(receive_release(&r, s, 1));
    cr_expect_eq(seen[0].n_resumed, 1);
    cr_assert_not(receive_deliver(&r, pattern, 3000));
    cr_expect_eq(seen[0].n_exhausted, 2);
    cr_assert(receive_release(&r, s, 16));
    cr_assert(receive_deliver(&r, pattern, 3000));
    cr_expect_eq(seen[0].n, 3000);
    cr_expect_arr_eq(seen[0].bytes, pattern, 3000);
}

/* A8: each session of an initiator has buffers of its own and gets everything. */
Test(receive, gives_each_session_of_the_initiator_everything)
{
    struct receive_session *slow = start(1, "iqn.a", 16, 50), *quick;

    quick = start(2, "iqn.a", 4096, 50);
    start(3, "iqn.b", 16, 50);
    fill_pattern();
    cr_assert_eq(begin("iqn.a", 2000), 2);
    cr_assert_not(receive_deliver(&r, pattern, 2000));
    cr_expect_eq(seen[0].n, 800);
    cr_expect_eq(seen[1].n, 2000);
    cr_assert(receive_release(&r, slow, 8));
    cr_assert_not(receive_deliver(&r, pattern, 2000));
    cr_expect_eq(seen[1].n, 2000, "nothing comes twice");
    receive_release(&r, slow, 16);
    cr_assert(receive_deliver(&r, pattern, 2000));
    cr_expect_arr_eq(seen[0].bytes, pattern, 2000);
    cr_expect_eq(seen[2].n, 0, "not its initiator");
    cr_expect_eq(quick->buffers.held, 40);
}

Test(receive, data_for_nobody_is_done_at_once)
{
    start(1, "iqn.a", 16, 100);
    cr_expect_eq(begin("iqn.b", 10), 0);
    cr_expect_eq(receive_begin(&r, "iqn.other", 9, "iqn.a", 5, 10), 0);
    cr_expect_eq(receive_begin(&r, "iqn.t", 4, "iqn.a", 5, 10), 0, "a prefix is another name");
    cr_expect(receive_deliver(&r, pattern, 10));
    cr_expect_eq(seen[0].n, 0);
}

Test(receive, offers_again_what_could_not_be_taken)
{
    struct receive_session *s = start(1, "iqn.a", 16, 100);

    fill_pattern();
    refuse_after = 3;
    begin("iqn.a", 1000);
    cr_assert_not(receive_deliver(&r, pattern, 1000));
    cr_expect_eq(seen[0].n, 300);
    cr_expect_eq(s->buffers.held, 3, "what was not taken holds no buffer");
    refuse_after = SIZE_MAX;
    cr_assert(receive_deliver(&r, pattern, 1000));
    cr_expect_arr_eq(seen[0].bytes, pattern, 1000);
}

/* SCIOSTOPTGT frees all buffers, also held ones; what waited for them goes on for others. */
Test(receive, a_closed_session_is_in_nobodys_way)
{
    struct receive_session *slow = start(1, "iqn.a", 16, 10);

    start(2, "iqn.a", 4096, 10);
    begin("iqn.a", 1000);
    cr_assert_not(receive_deliver(&r, pattern, 1000));
    receive_close(&r, slow);
    cr_assert(receive_deliver(&r, pattern, 1000));
    cr_expect_null(receive_find(&r, "s1", 1));
    cr_expect_not_null(receive_find(&r, "s2", 2));
}

Test(receive, a_session_that_starts_meanwhile_gets_the_next_piece)
{
    struct receive_session *slow = start(1, "iqn.a", 16, 10);

    begin("iqn.a", 200);
    cr_assert_not(receive_deliver(&r, pattern, 200));
    start(2, "iqn.a", 4096, 10);
    receive_release(&r, slow, 16);
    cr_assert(receive_deliver(&r, pattern, 200));
    cr_expect_eq(seen[1].n, 0);
    cr_assert_eq(begin("iqn.a", 20), 2);
    cr_assert(receive_deliver(&r, pattern, 20));
    cr_expect_eq(seen[1].n, 20);
}

Test(receive, an_abandoned_piece_ends_where_it_is)
{
    struct receive_session *s = start(1, "iqn.a", 16, 10);

    begin("iqn.a", 1000);
    cr_assert_not(receive_deliver(&r, pattern, 1000));
    receive_abandon(&r);
    receive_release(&r, s, 16);
    cr_assert(receive_deliver(&r, pattern, 1000));
    cr_expect_eq(seen[0].n, 160);
}

/* Rule 2: another generation is another session. */
Test(receive, sessions_are_found_by_id_and_generation)
{
    struct receive_session again = {.id = "s1", .generation = 2, .buffer_bytes = 10};

    start(1, "iqn.a", 16, 10);
    cr_expect_null(receive_find(&r, "s1", 2));
    cr_expect_null(receive_find(&r, "s2", 1));
    cr_expect_eq(receive_open(&r, &again, 16), UV_EEXIST);
    receive_close_all(&r);
    cr_expect_null(receive_find(&r, "s1", 1));
}

Test(receive, takes_so_many_sessions_and_no_more)
{
    struct receive_session session = {.generation = 1, .buffer_bytes = 10};

    for (int i = 0; i < RECEIVE_MAX_SESSIONS; i++) {
        snprintf(session.id, sizeof session.id, "s%d", i);
        cr_assert_eq(receive_open(&r, &session, 16), 0);
    }
    strcpy(session.id, "more");
    cr_expect_eq(receive_open(&r, &session, 16), UV_ENOBUFS);
}

/* Rule 23 for any sizes, releases and refusals: each session gets the pieces in order, whole, never more buffers than
 * it has. */
Test(receive, loses_and_repeats_nothing_whatever_the_order)
{
    fill_pattern();
    for (uint32_t seed = 1; seed <= 200; seed++) {
        uint32_t random = seed * 2654435761u;
        struct receive_session *sessions[3];
        size_t sent = 0;

        teardown();
        setup();
        for (uint64_t i = 0; i < 3; i++) {
            random = random * 1664525u + 1013904223u;
            sessions[i] = start(i + 1, "iqn.a", 16 + (random >> 8) % 20, 1 + (random >> 16) % 200);
        }
        for (int piece = 0; piece < 8; piece++) {
            size_t len = (random >> 7) % 4000;

            begin("iqn.a", len);
            while (!receive_deliver(&r, pattern + sent, len)) {
                struct receive_session *s;

                random = random * 1664525u + 1013904223u;
                s = sessions[(random >> 9) % 3];
                receive_release(&r, s, (random >> 12) % (s->buffers.total + 2));
                refuse_after = random >> 31 ? (random >> 5) % 5 : SIZE_MAX;
                cr_assert_leq(s->buffers.held, s->buffers.total);
            }
            refuse_after = SIZE_MAX;
            sent += len;
        }
        for (int i = 0; i < 3; i++) {
            cr_assert_eq(seen[i].n, sent, "seed %u", seed);
            cr_assert_arr_eq(seen[i].bytes, pattern, sent, "seed %u", seed);
        }
    }
}
