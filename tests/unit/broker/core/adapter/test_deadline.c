/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/adapter/deadline.h"

#include <criterion/criterion.h>
#include <string.h>

#include "tests/lib/sample_event.h"

#define N 200

Test(deadline, first_is_always_the_earliest)
{
    struct deadlines d = {0};
    static struct deadline all[N];
    uint64_t seed = 7;
    for (int step = 0; step < 20000; step++) {
        struct deadline *one = &all[sample_random(&seed) % N];
        if (one->place)
            deadline_disarm(&d, one);
        else
            cr_assert_eq(deadline_arm(&d, one, sample_random(&seed) % 1000), 0);
        uint64_t earliest = UINT64_MAX;
        size_t n = 0;
        for (size_t i = 0; i < N; i++) {
            if (all[i].place && all[i].due_ns < earliest)
                earliest = all[i].due_ns;
            n += all[i].place != 0;
        }
        const struct deadline *first = deadline_first(&d);
        cr_assert_eq(d.n, n);
        cr_assert_eq(first ? first->due_ns : UINT64_MAX, earliest, "step %d", step);
    }
    deadline_disarm(&d, &(struct deadline){0}); /* not armed: nothing happens */
    deadlines_deinit(&d);
}
