/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/dedupe.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

static struct dedupe d;
static struct dedupe_key evicted;

static void setup(void)
{
    dedupe_init(&d, 42, 3);
}

static void teardown(void)
{
    dedupe_deinit(&d);
}

TestSuite(dedupe, .init = setup, .fini = teardown);

static struct dedupe_agent *attach(const char *host, uint64_t epoch, uint64_t oldest, uint64_t stamp)
{
    struct dedupe_agent *a = NULL;
    cr_assert_eq(dedupe_open(&d, host, epoch, oldest, stamp, &a, &evicted), 0);
    return a;
}

/* 10 was the newest taken. */
Test(dedupe, judges_every_boundary)
{
    static const struct {
        const char *what;
        uint64_t previous;
        struct dedupe_claim claim;
        enum dedupe_verdict verdict;
        uint64_t first, last; /* of a hole */
        const char *says;     /* of a fault */
    } table[] = {
        {"the next one", 0, {11}, DEDUPE_FRESH},
        {"the newest again", 0, {10}, DEDUPE_REPEAT},
        {"the first again", 0, {1}, DEDUPE_REPEAT},
        {"one is missing", 0, {12}, DEDUPE_HOLE, 11, 11},
        {"many are missing", 0, {1011}, DEDUPE_HOLE, 11, 1010},
        {"zero", 0, {0}, DEDUPE_INVALID, 0, 0, "origin.source_sequence: 0"},
        {"absurd", 0, {(uint64_t)INT64_MAX + 1}, DEDUPE_INVALID, 0, 0, "2^63"},
        {"largest", 0, {INT64_MAX}, DEDUPE_HOLE, 11, INT64_MAX - 1},
        {"twice in a message", 11, {11}, DEDUPE_INVALID, 0, 0, "not greater"},
        {"falling in a message", 12, {11}, DEDUPE_INVALID, 0, 0, "not greater"},
        {"falling below what was taken", 9, {8}, DEDUPE_INVALID, 0, 0, "not greater"},
        {"repeats in order", 8, {9}, DEDUPE_REPEAT},
        {"loss of the next three", 0, {13, 11, 13}, DEDUPE_FRESH},
        {"loss right before the record", 0, {14, 11, 13}, DEDUPE_FRESH},
        {"loss of one", 0, {11, 11, 11}, DEDUPE_FRESH},
        {"loss that begins before what was taken", 0, {13, 5, 13}, DEDUPE_FRESH},
        {"loss all taken before", 0, {10, 5, 10}, DEDUPE_REPEAT},
        {"loss behind a hole", 0, {20, 15, 20}, DEDUPE_HOLE, 11, 14},
        {"loss that ends too early", 0, {14, 11, 12}, DEDUPE_INVALID, 0, 0, "does not end"},
        {"loss that ends behind it", 0, {13, 11, 14}, DEDUPE_INVALID, 0, 0, "does not end"},
        {"loss backwards", 0, {13, 13, 12}, DEDUPE_INVALID, 0, 0, "empty"},
        {"loss from nothing", 0, {13, 0, 13}, DEDUPE_INVALID, 0, 0, "empty"},
        {"loss without an end", 0, {13, 11, 0}, DEDUPE_INVALID, 0, 0, "empty"},
    };
    struct dedupe_agent *a = attach("h", 1, 1, 0);
    dedupe_take(a, 10);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct dedupe_hole hole = {0};
        const char *fault = "";
        enum dedupe_verdict verdict = dedupe_judge(a, table[i].previous, &table[i].claim, &hole, &fault);
        cr_assert_eq(verdict, table[i].verdict, "%s: %d", table[i].what, verdict);
        cr_assert_eq(hole.first, table[i].first, "%s", table[i].what);
        cr_assert_eq(hole.last, table[i].last, "%s", table[i].what);
        cr_assert_eq(hole.n_missing, hole.first ? hole.last - hole.first + 1 : 0, "%s", table[i].what);
        if (table[i].says)
            cr_assert_not_null(strstr(fault, table[i].says), "%s: %s", table[i].what, fault);
    }
    dedupe_close(a);
}

/* ---- a story: an agent sends, the disk is slow, the connection breaks, the agent sends again */

static char story[2048];

static void deliver(struct dedupe_agent *a, uint64_t first, uint64_t last)
{
    static const char *const names[] = {"fresh", "repeat", "hole", "invalid"};
    uint64_t previous = 0;
    for (uint64_t s = first; s <= last; s++) {
        struct dedupe_claim claim = {.sequence = s};
        struct dedupe_hole hole;
        const char *fault;
        enum dedupe_verdict verdict = dedupe_judge(a, previous, &claim, &hole, &fault);
        sprintf(story + strlen(story), "%" PRIu64 " %s; ", s, names[verdict]);
        if (verdict == DEDUPE_FRESH || verdict == DEDUPE_HOLE)
            dedupe_take(a, s);
        previous = s;
    }
    sprintf(story + strlen(story), "acknowledged %" PRIu64 "\n", a->committed);
}

Test(dedupe, what_was_sent_again_is_taken_once)
{
    story[0] = '\0';
    struct dedupe_agent *a = attach("h", 1, 1, 0);
    deliver(a, 1, 3);
    dedupe_commit(&d, a, 2, 2);
    dedupe_close(a);
    a = attach("h", 1, 1, 2); /* a new connection while 3 is still on its way to the disk */
    deliver(a, 3, 4);
    dedupe_commit(&d, a, 4, 4);
    deliver(a, 2, 5);
    dedupe_rollback(a); /* 5 did not reach the disk */
    deliver(a, 5, 6);
    deliver(a, 9, 9);
    dedupe_close(a);
    cr_assert_str_eq(story, "1 fresh; 2 fresh; 3 fresh; acknowledged 0\n"
                            "3 repeat; 4 fresh; acknowledged 2\n"
                            "2 repeat; 3 repeat; 4 repeat; 5 fresh; acknowledged 4\n"
                            "5 fresh; 6 fresh; acknowledged 4\n"
                            "9 hole; acknowledged 4\n");
}

Test(dedupe, epochs_and_hosts_are_apart)
{
    struct dedupe_agent *a = attach("h", 1, 1, 0), *b = attach("h", 2, 1, 0), *c = attach("g", 1, 1, 0);
    dedupe_take(a, 5);
    cr_assert_eq(b->taken, 0);
    cr_assert_eq(c->taken, 0);
    dedupe_close(a);
    dedupe_close(b);
    dedupe_close(c);
}

Test(dedupe, an_unknown_pair_begins_at_its_oldest)
{
    struct dedupe_agent *a = attach("h", 1, 101, 0);
    struct dedupe_hole hole;
    const char *fault;
    struct dedupe_claim claim = {.sequence = 101};
    cr_assert_eq(a->committed, 100);
    cr_assert_eq(dedupe_judge(a, 0, &claim, &hole, &fault), DEDUPE_FRESH);
    dedupe_close(a);
    a = attach("h", 1, 500, 0); /* a known one does not: what is missing was lost */
    claim.sequence = 500;
    cr_assert_eq(dedupe_judge(a, 0, &claim, &hole, &fault), DEDUPE_HOLE);
    cr_assert_eq(hole.n_missing, 399);
    dedupe_close(a);
}

Test(dedupe, bad_hosts_are_refused)
{
    struct dedupe_agent *a;
    char host[DEDUPE_MAX_HOST + 2];
    memset(host, 'h', sizeof host);
    host[DEDUPE_MAX_HOST + 1] = '\0';
    cr_assert_eq(dedupe_open(&d, "", 1, 1, 0, &a, &evicted), UV_EINVAL);
    cr_assert_eq(dedupe_open(&d, host, 1, 1, 0, &a, &evicted), UV_EINVAL);
    cr_assert_eq(dedupe_open(&d, host + 1, 1, 1, 0, &a, &evicted), 0);
    dedupe_close(a);
}

/* Room for three. */
Test(dedupe, the_least_recently_used_pair_is_forgotten)
{
    struct dedupe_agent *a = attach("a", 1, 1, 10), *b = attach("b", 1, 1, 11), *c = attach("c", 1, 1, 12), *e;
    cr_assert_eq(dedupe_open(&d, "e", 1, 1, 13, &e, &evicted), UV_ENOBUFS);
    dedupe_close(a);
    dedupe_close(b);
    dedupe_take(a, 1);
    dedupe_commit(&d, a, 1, 20); /* used last */
    e = attach("e", 1, 1, 21);
    cr_assert_eq(evicted.len, 9);
    cr_assert_arr_eq(evicted.bytes, "\0\0\0\0\0\0\0\1b", 9);
    cr_assert_eq(d.n_evicted, 1);
    dedupe_close(e);
    dedupe_close(c);
    a = attach("a", 1, 1, 22);
    cr_assert_eq(evicted.len, 0);
    cr_assert_eq(a->committed, 1);
    dedupe_close(a);
}

/* Whoever opens one epoch after the other pushes out its own, and never what another host has. */
Test(dedupe, a_host_with_ever_new_epochs_costs_only_itself)
{
    dedupe_deinit(&d);
    dedupe_init(&d, 42, 100);
    struct dedupe_agent *a = attach("quiet", 7, 1, 0);
    dedupe_take(a, 9);
    dedupe_commit(&d, a, 9, 0);
    dedupe_close(a);
    for (uint64_t epoch = 1; epoch <= 1000; epoch++) {
        a = attach("noisy", epoch, 1, epoch);
        dedupe_take(a, epoch);
        dedupe_commit(&d, a, epoch, epoch);
        dedupe_close(a);
        if (epoch <= DEDUPE_MAX_EPOCHS)
            cr_assert_eq(evicted.len, 0, "epoch %" PRIu64, epoch);
        else
            cr_assert_eq((uint64_t)evicted.bytes[6] << 8 | evicted.bytes[7], epoch - DEDUPE_MAX_EPOCHS);
    }
    cr_assert_eq(d.by_key.n, DEDUPE_MAX_EPOCHS + 1);
    a = attach("noisy", 1000 - DEDUPE_MAX_EPOCHS + 1, 1, 1001); /* its newest are all there */
    cr_assert_eq(evicted.len, 0);
    cr_assert_eq(a->committed, 1000 - DEDUPE_MAX_EPOCHS + 1);
    dedupe_close(a);
    a = attach("quiet", 7, 1, 1002);
    cr_assert_eq(a->committed, 9);
    dedupe_close(a);
}

Test(dedupe, a_host_whose_epochs_are_all_held_gets_no_further_one)
{
    struct dedupe_agent *held[DEDUPE_MAX_EPOCHS], *a;
    dedupe_deinit(&d);
    dedupe_init(&d, 42, 0);
    for (uint64_t i = 0; i < DEDUPE_MAX_EPOCHS; i++)
        held[i] = attach("h", i, 1, i);
    cr_assert_eq(dedupe_open(&d, "h", 1000, 1, 1000, &a, &evicted), UV_ENOBUFS);
    a = attach("g", 1000, 1, 1000); /* another does */
    dedupe_close(a);
    dedupe_close(held[5]);
    a = attach("h", 1000, 1, 1001);
    cr_assert_eq(evicted.bytes[7], 5);
    dedupe_close(a);
    for (uint64_t i = 0; i < DEDUPE_MAX_EPOCHS; i++)
        if (i != 5)
            dedupe_close(held[i]);
}

/* Room for three. */
Test(dedupe, when_the_table_is_full_a_host_gives_up_its_own_first)
{
    struct dedupe_agent *a = attach("other", 1, 1, 1), *b = attach("h", 1, 1, 2), *c = attach("h", 2, 1, 3);
    dedupe_close(a);
    dedupe_close(b);
    dedupe_close(c);
    a = attach("h", 3, 1, 4);
    cr_assert_arr_eq(evicted.bytes, "\0\0\0\0\0\0\0\1h", 9);
    dedupe_close(a);
    a = attach("new", 1, 1, 5);
    cr_assert_arr_eq(evicted.bytes, "\0\0\0\0\0\0\0\1other", 13);
    dedupe_close(a);
}

Test(dedupe, a_jump_of_one_epoch_moves_no_other)
{
    struct dedupe_agent *a = attach("h", 1, 1, 0), *b = attach("h", 2, 1, 0), *c = attach("g", 1, 1, 0);
    struct dedupe_claim huge = {.sequence = INT64_MAX}, next = {.sequence = 1};
    struct dedupe_hole hole;
    const char *fault;
    cr_assert_eq(dedupe_judge(a, 0, &huge, &hole, &fault), DEDUPE_HOLE);
    dedupe_take(a, INT64_MAX);
    dedupe_commit(&d, a, INT64_MAX, 1);
    cr_assert_eq(dedupe_judge(a, 0, &next, &hole, &fault), DEDUPE_REPEAT); /* its own loss */
    cr_assert_eq(dedupe_judge(b, 0, &next, &hole, &fault), DEDUPE_FRESH);
    cr_assert_eq(dedupe_judge(c, 0, &next, &hole, &fault), DEDUPE_FRESH);
    dedupe_close(a);
    dedupe_close(b);
    dedupe_close(c);
}

Test(dedupe, stored_entries_are_read_back_in_order_of_use)
{
    uint8_t values[2][DEDUPE_VALUE_SIZE];
    struct dedupe_key keys[2];
    struct dedupe_agent *a = attach("a", 0xfedcba9876543210, 1, 10), *b = attach("b", 2, 1, 11);
    dedupe_take(a, 70000);
    dedupe_take(b, 7);
    dedupe_encode(a, 70000, 99, values[0]); /* younger */
    dedupe_encode(b, 7, 50, values[1]);
    keys[0] = a->key;
    keys[1] = b->key;
    dedupe_close(a);
    dedupe_close(b);
    dedupe_deinit(&d);

    dedupe_init(&d, 43, 2);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(dedupe_load(&d, keys[i].bytes, keys[i].len, values[i], sizeof values[i]), 0);
    cr_assert_eq(dedupe_load(&d, keys[0].bytes, keys[0].len, values[0], sizeof values[0]), UV_EINVAL);
    cr_assert_eq(dedupe_load(&d, keys[0].bytes, 8, values[0], sizeof values[0]), UV_EINVAL);
    cr_assert_eq(dedupe_load(&d, "12345678z", 9, values[0], 5), UV_EINVAL);
    cr_assert_eq(dedupe_load(&d, "12345678z", 9, values[0], sizeof values[0]), UV_ENOBUFS);
    values[1][0] = 9;
    cr_assert_eq(dedupe_load(&d, "12345678z", 9, values[1], sizeof values[1]), UV_EINVAL);
    cr_assert_eq(dedupe_loaded(&d), 0);
    a = attach("c", 1, 1, 100); /* b was used longest ago */
    cr_assert_arr_eq(evicted.bytes, keys[1].bytes, keys[1].len);
    dedupe_close(a);
    a = attach("a", 0xfedcba9876543210, 1, 101);
    cr_assert_eq(a->taken, 70000);
    cr_assert_eq(a->committed, 70000);
    dedupe_close(a);
}
