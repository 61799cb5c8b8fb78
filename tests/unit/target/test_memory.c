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
