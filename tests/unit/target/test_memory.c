/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>
#include <uv.h>

#include "tests/target/scsi/memory.h"

Test(memory, reads_zero_until_written)
{
    struct memory_budget budget = {.left_bytes = 1 << 20};
    struct memory m;
    uint8_t in[10000], out[10000], zero[10000] = {0};

    memset(in, 0x5a, sizeof(in));
    memory_init(&m, &budget);
    memory_read(&m, UINT64_C(1) << 50, out, sizeof(out));
    cr_assert_arr_eq(out, zero, sizeof(out));
    cr_assert_eq(memory_write(&m, 4095, in, sizeof(in)), 0);
    memory_read(&m, 4095, out, sizeof(out));
    cr_assert_arr_eq(out, in, sizeof(out));
    memory_read(&m, 0, out, 4095);
    cr_assert_arr_eq(out, zero, 4095);
    memory_deinit(&m);
    cr_assert_eq(budget.left_bytes, 1 << 20, "all is given back");
}

Test(memory, what_is_discarded_is_zero_and_given_back)
{
    struct memory_budget budget = {.left_bytes = 1 << 20};
    struct memory m;
    uint8_t in[4 * MEMORY_PAGE_BYTES], out[4 * MEMORY_PAGE_BYTES];

    memset(in, 0x5a, sizeof(in));
    memory_init(&m, &budget);
    cr_assert_eq(memory_write(&m, 0, in, sizeof(in)), 0);
    memory_discard(&m, 100, 2 * MEMORY_PAGE_BYTES);
    memset(in + 100, 0, 2 * MEMORY_PAGE_BYTES);
    memory_read(&m, 0, out, sizeof(out));
    cr_assert_arr_eq(out, in, sizeof(out));
    cr_assert_eq(memory_used_bytes(&m), 3 * MEMORY_PAGE_BYTES, "one page was discarded as a whole");
    memory_discard(&m, 0, UINT64_C(1) << 30);
    cr_assert_eq(memory_used_bytes(&m), 0);
    cr_assert_eq(budget.left_bytes, 1 << 20);
    memory_deinit(&m);
}

Test(memory, a_used_up_budget_is_no_space)
{
    struct memory_budget budget = {.left_bytes = MEMORY_PAGE_BYTES};
    struct memory m;
    uint8_t byte = 1;

    memory_init(&m, &budget);
    cr_assert_eq(memory_write(&m, 0, &byte, 1), 0);
    cr_assert_eq(memory_write(&m, 1, &byte, 1), 0);
    cr_assert_eq(memory_write(&m, MEMORY_PAGE_BYTES, &byte, 1), UV_ENOSPC);
    memory_deinit(&m);
}
