/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "proto/grpc/bucket.h"

static unsigned take_all(struct bucket *b, uint64_t now_ms)
{
    unsigned n = 0;
    while (n < 100000 && bucket_take(b, now_ms))
        n++;
    return n;
}

Test(bucket, gives_the_burst_then_the_rate)
{
    struct bucket b;
    bucket_init(&b, 10, 2, 1000);
    cr_assert_eq(take_all(&b, 1000), 10);
    cr_assert_eq(take_all(&b, 1499), 0);
    cr_assert_eq(take_all(&b, 1500), 1);
    cr_assert_eq(take_all(&b, 3000), 3);
}

Test(bucket, never_holds_more_than_the_burst)
{
    struct bucket b;
    bucket_init(&b, 10, 2, 0);
    cr_assert_eq(take_all(&b, UINT64_MAX / 2), 10);
    cr_assert_eq(take_all(&b, UINT64_MAX), 10);
}

Test(bucket, time_that_goes_back_gives_nothing)
{
    struct bucket b;
    bucket_init(&b, 1, 1000, 5000);
    cr_assert_eq(take_all(&b, 5000), 1);
    cr_assert_eq(take_all(&b, 4000), 0);
    cr_assert_eq(take_all(&b, 5001), 1);
}

Test(bucket, without_a_rate_the_burst_is_all)
{
    struct bucket b;
    bucket_init(&b, 3, 0, 0);
    cr_assert_eq(take_all(&b, 1000000), 3);
    cr_assert_eq(take_all(&b, 2000000), 0);
}
