/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "runtime/backoff.h"

Test(backoff, doubles_up_to_the_maximum)
{
    struct backoff b = {.min_ms = 100, .max_ms = 1000};
    static const uint32_t full[] = {100, 200, 400, 800, 1000, 1000};
    for (size_t i = 0; i < sizeof full / sizeof *full; i++)
        cr_assert_eq(backoff_next(&b, UINT32_MAX), full[i]);
}

Test(backoff, jitter_stays_within_the_upper_half)
{
    for (uint32_t random = 0; random < UINT32_MAX - 50000000u; random += 50000000u) {
        struct backoff b = {.min_ms = 100, .max_ms = 1000, .n_failures = 2};
        uint32_t delay = backoff_next(&b, random);
        cr_assert(delay >= 200 && delay <= 400, "%u", delay);
    }
}

Test(backoff, starts_again_after_success)
{
    struct backoff b = {.min_ms = 10, .max_ms = 1000, .n_failures = 9};
    backoff_reset(&b);
    cr_assert_eq(backoff_next(&b, UINT32_MAX), 10);
}

Test(backoff, survives_a_lifetime_of_failures)
{
    struct backoff b = {.min_ms = 1, .max_ms = UINT32_MAX, .n_failures = UINT32_MAX};
    cr_assert_eq(backoff_next(&b, UINT32_MAX), UINT32_MAX);
    cr_assert_eq(b.n_failures, UINT32_MAX);
}
