/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/target/buffers.h"

#include <criterion/criterion.h>

/* Rule 23: the limit is told once, with the buffer that reaches it. */
Test(buffers, are_exhausted_once_with_the_last_one)
{
    struct buffers b;

    buffers_init(&b, 16);
    for (int i = 0; i < 15; i++)
        cr_assert_not(buffers_take(&b), "buffer %d", i);
    cr_assert(buffers_available(&b));
    cr_assert(buffers_take(&b));
    cr_assert_not(buffers_available(&b));
}

/* A12: the low-water mark is half of num_bufs. */
Test(buffers, resume_when_half_are_free_A12)
{
    static const struct {
        uint32_t total, released_before, released_then;
    } rows[] = {{16, 7, 1}, {17, 8, 1}, {18, 8, 1}, {100, 49, 1}, {100, 0, 50}, {1, 0, 1}};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buffers b;

        buffers_init(&b, rows[i].total);
        while (!buffers_take(&b))
            continue;
        cr_assert_not(buffers_release(&b, rows[i].released_before), "row %zu", i);
        cr_assert_not(buffers_available(&b), "row %zu", i);
        cr_assert(buffers_release(&b, rows[i].released_then), "row %zu", i);
        cr_assert(buffers_available(&b), "row %zu", i);
        cr_assert_not(buffers_release(&b, 1), "resumed once, row %zu", i);
    }
}

Test(buffers, more_released_than_held_counts_as_all)
{
    struct buffers b;

    buffers_init(&b, 16);
    cr_assert_not(buffers_take(&b));
    cr_assert_not(buffers_release(&b, UINT32_MAX));
    cr_assert_eq(b.held, 0);
    while (!buffers_take(&b))
        continue;
    cr_assert(buffers_release(&b, UINT32_MAX));
    cr_assert_eq(b.held, 0);
}

/* Whatever the order of takes and releases: never more than all held, exhausted and resumed strictly in turns, and a
 * take is possible exactly between a resumption and the next exhaustion. */
Test(buffers, keep_their_invariants_for_any_order_of_calls)
{
    for (uint32_t seed = 1; seed <= 500; seed++) {
        uint32_t random = seed * 2654435761u, total = 1 + random % 40, held = 0;
        bool off = false;
        struct buffers b;

        buffers_init(&b, total);
        for (int step = 0; step < 400; step++) {
            random = random * 1664525u + 1013904223u;
            if (random >> 31 && buffers_available(&b)) {
                bool exhausted = buffers_take(&b);

                held++;
                cr_assert_not(off, "seed %u", seed);
                cr_assert_eq(exhausted, held == total, "seed %u step %d", seed, step);
                off = exhausted;
            } else if (!(random >> 31)) {
                uint32_t n = (random >> 8) % (total / 2 + 3);
                bool resumed = buffers_release(&b, n);

                held -= n < held ? n : held;
                cr_assert_eq(resumed, off && held <= total / 2, "seed %u step %d", seed, step);
                off = off && !resumed;
            }
            cr_assert_eq(b.held, held);
            cr_assert_leq(b.held, total);
            cr_assert_eq(buffers_available(&b), !off, "seed %u step %d", seed, step);
        }
    }
}
