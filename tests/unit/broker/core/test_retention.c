/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/retention.h"

#include <criterion/criterion.h>

#define SECOND 1000000000ull

/* Five batches of 10 records and 1,000 bytes; batch i was finished at second i + 1; the newest record is 50. */
static const struct retention_batch batches[] = {
    {1, 10, 1000, 1 * SECOND},  {11, 10, 1000, 2 * SECOND}, {21, 10, 1000, 3 * SECOND},
    {31, 10, 1000, 4 * SECOND}, {41, 10, 1000, 5 * SECOND},
};
static const struct retention_log whole = {.newest_sequence = 50, .n_records = 50, .bytes = 5000};

Test(retention, deletes_whole_batches_by_each_limit)
{
    static const struct {
        const char *what;
        struct retention_limits limits;
        size_t n_shown;
        uint64_t now_ns;
        uint64_t through;
    } table[] = {
        {"no limits", {0, 0, 0}, 5, 1000 * SECOND, 0},
        {"exactly at the byte limit", {5000, 0, 0}, 5, 0, 0},
        {"one byte over", {4999, 0, 0}, 5, 0, 10},
        {"two batches over", {3000, 0, 0}, 5, 0, 20},
        {"exactly at the record limit", {0, 0, 50}, 5, 0, 0},
        {"one record over", {0, 0, 49}, 5, 0, 10},
        {"exactly at the age", {0, 2 * SECOND, 0}, 5, 3 * SECOND, 0},
        {"just beyond the age", {0, 2 * SECOND, 0}, 5, 3 * SECOND + 1, 10},
        {"all too old: the newest batch stays", {0, SECOND, 0}, 5, 1000 * SECOND, 40},
        {"all too much: the newest batch stays", {1, 0, 1}, 5, 0, 40},
        {"clock before the records", {0, SECOND, 0}, 5, 0, 0},
        {"shown only two", {1, 0, 0}, 2, 0, 20},
        {"shown none", {1, 1, 1}, 0, 1000 * SECOND, 0},
        {"the strictest limit wins", {4000, 3 * SECOND, 35}, 5, 5 * SECOND, 20},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint64_t through = retention_step(&table[i].limits, &whole, batches, table[i].n_shown, table[i].now_ns);
        cr_assert_eq(through, table[i].through, "%s: %lu", table[i].what, (unsigned long)through);
    }
}

Test(retention, one_step_is_bounded)
{
    struct retention_batch many[RETENTION_STEP_BATCHES + 10];
    size_t n = sizeof many / sizeof *many;
    for (size_t i = 0; i < n; i++)
        many[i] = (struct retention_batch){i + 1, 1, 1, 0};
    struct retention_log log = {.newest_sequence = 1000, .n_records = 1000, .bytes = 1000};
    struct retention_limits limits = {.max_records = 1};
    cr_assert_eq(retention_step(&limits, &log, many, n, 0), RETENTION_STEP_BATCHES);
}
