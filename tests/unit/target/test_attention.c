/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <uv.h>

#include "tests/target/scsi/attention.h"
#include "tests/target/scsi/reply.h"

static struct attention_list list;

static void empty(void)
{
    attention_deinit(&list);
}

TestSuite(attention, .fini = empty);

/* The codes that wait for a unit, each taken. */
static int take(uint16_t lun)
{
    struct attention *item = attention_take(&list, lun, false);
    int asc = item ? item->asc : -1;

    free(item);
    return asc;
}

Test(attention, tells_each_unit_its_own_in_order)
{
    attention_establish(&list, 1, ASC_CAPACITY_CHANGED);
    attention_establish(&list, 2, ASC_MODE_CHANGED);
    attention_establish(&list, 1, ASC_LUNS_CHANGED);
    cr_assert_eq(take(1), ASC_CAPACITY_CHANGED);
    cr_assert_eq(take(1), ASC_LUNS_CHANGED);
    cr_assert_eq(take(1), -1);
    cr_assert_eq(take(2), ASC_MODE_CHANGED);
}

Test(attention, is_not_queued_twice)
{
    attention_establish(&list, 1, ASC_CAPACITY_CHANGED);
    attention_establish(&list, 1, ASC_CAPACITY_CHANGED);
    cr_assert_eq(attention_count(&list), 1);
}

Test(attention, reset_takes_the_place_of_the_others)
{
    attention_establish(&list, 1, ASC_CAPACITY_CHANGED);
    attention_establish(&list, 2, ASC_CAPACITY_CHANGED);
    attention_establish(&list, 1, ASC_LUN_RESET);
    cr_assert_eq(take(1), ASC_LUN_RESET);
    cr_assert_eq(take(1), -1);
    cr_assert_eq(take(2), ASC_CAPACITY_CHANGED);
}

Test(attention, power_on_covers_lesser_resets)
{
    attention_establish(&list, 1, ASC_LUN_RESET);
    attention_establish(&list, 1, ASC_POWER_ON);
    attention_establish(&list, 1, ASC_NEXUS_LOSS);
    cr_assert_eq(take(1), ASC_POWER_ON);
    cr_assert_eq(take(1), -1);
}

Test(attention, a_full_queue_becomes_power_on_or_reset)
{
    for (uint16_t i = 0; i < ATTENTION_MAX; i++)
        cr_assert_eq(attention_establish(&list, 1, (uint16_t)(0x3f20 + i)), 0);
    cr_assert_eq(attention_establish(&list, 1, ASC_CAPACITY_CHANGED), 0);
    cr_assert_eq(take(1), ASC_POWER_ON_OR_RESET);
    cr_assert_eq(take(1), -1);
}

Test(attention, scripted_sense_is_bounded_and_kept_for_commands)
{
    const uint8_t sense[] = {0x72, 0x0b};

    for (int i = 0; i < ATTENTION_MAX; i++)
        cr_assert_eq(attention_script(&list, 1, sense, sizeof(sense)), 0);
    cr_assert_eq(attention_script(&list, 1, sense, sizeof(sense)), UV_ENOBUFS);
    cr_assert_null(attention_take(&list, 1, true));
    cr_assert_eq(attention_count(&list), ATTENTION_MAX);
}

Test(attention, clearing_a_code_clears_it_on_all_units)
{
    attention_establish(&list, 1, ASC_LUNS_CHANGED);
    attention_establish(&list, 2, ASC_LUNS_CHANGED);
    attention_establish(&list, 2, ASC_CAPACITY_CHANGED);
    attention_clear_code(&list, ASC_LUNS_CHANGED);
    cr_assert_eq(attention_count(&list), 1);
    attention_clear_lun(&list, 2);
    cr_assert_eq(attention_count(&list), 0);
}
