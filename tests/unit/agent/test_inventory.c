/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/inventory.h"

#include <criterion/criterion.h>
#include <string.h>
#include <uv.h>

static uint8_t data[INVENTORY_BYTES + 64];
static size_t len;
static struct lun_list list;

static void begin(void)
{
    memset(data, 0, sizeof data);
    len = 8;
}

static void put(uint64_t lun_raw)
{
    for (int i = 0; i < 8; i++)
        data[len++] = (uint8_t)(lun_raw >> (56 - 8 * i));
    data[2] = (uint8_t)((len - 8) >> 8);
    data[3] = (uint8_t)(len - 8);
}

TestSuite(inventory, .init = begin);

Test(inventory, lists_are_sorted_without_repeats)
{
    put(inventory_lun_raw(300));
    put(inventory_lun_raw(1));
    put(inventory_lun_raw(0));
    put(inventory_lun_raw(1));
    put(0x4001000000000000); /* 1 again, in flat space */
    cr_assert_eq(inventory_parse(data, len, &list), 0);
    cr_assert_eq(list.n, 3);
    cr_assert_eq(list.luns[0], 0);
    cr_assert_eq(list.luns[1], 1);
    cr_assert_eq(list.luns[2], 300);
    cr_assert(!list.cut);
    cr_assert(inventory_has(&list, 300));
    cr_assert(!inventory_has(&list, 2));
}

Test(inventory, an_empty_list_is_a_list)
{
    cr_assert_eq(inventory_parse(data, 8, &list), 0);
    cr_assert_eq(list.n, 0);
    cr_assert(!inventory_has(&list, 0));
}

Test(inventory, malformed_answers_are_refused_and_change_nothing)
{
    list.n = 77;
    cr_assert_eq(inventory_parse(data, 0, &list), UV_EINVAL);
    cr_assert_eq(inventory_parse(data, 7, &list), UV_EINVAL);
    data[3] = 7;
    cr_assert_eq(inventory_parse(data, 64, &list), UV_EINVAL);
    cr_assert_eq(list.n, 77);
}

Test(inventory, an_answer_shorter_than_announced_is_taken_as_far_as_it_goes)
{
    put(inventory_lun_raw(1));
    put(inventory_lun_raw(2));
    cr_assert_eq(inventory_parse(data, len - 1, &list), 0);
    cr_assert_eq(list.n, 1);
    cr_assert(list.cut);
    memset(data, 0xff, 4);
    data[3] = 0xf8;
    cr_assert_eq(inventory_parse(data, 16, &list), 0);
    cr_assert_eq(list.n, 1);
    cr_assert(list.cut);
}

Test(inventory, what_is_no_single_level_unit_is_counted_not_listed)
{
    put(0xc101000000000000); /* REPORT LUNS well-known unit */
    put(0x0101000000000000); /* behind another bus */
    put(0x0001000200000000); /* second level */
    put(0xd200000000000001); /* extended flat */
    put(inventory_lun_raw(5));
    cr_assert_eq(inventory_parse(data, len, &list), 0);
    cr_assert_eq(list.n, 1);
    cr_assert_eq(list.luns[0], 5);
    cr_assert_eq(list.n_unusable, 4);
}

Test(inventory, more_units_than_are_watched_are_said_to_be_cut)
{
    for (uint16_t lun = 0; lun < INVENTORY_MAX_LUNS + 1; lun++)
        put(inventory_lun_raw(lun));
    cr_assert_eq(inventory_parse(data, len, &list), 0);
    cr_assert_eq(list.n, INVENTORY_MAX_LUNS);
    cr_assert(list.cut);
}

Test(inventory, differences_name_what_came_and_what_went)
{
    struct lun_list before = {.n = 3, .luns = {1, 2, 3}}, now = {.n = 3, .luns = {2, 3, 9}}, added, removed;

    inventory_diff(&before, &now, &added, &removed);
    cr_assert_eq(added.n, 1);
    cr_assert_eq(added.luns[0], 9);
    cr_assert_eq(removed.n, 1);
    cr_assert_eq(removed.luns[0], 1);
    inventory_diff(&now, &now, &added, &removed);
    cr_assert_eq(added.n + removed.n, 0);
}

Test(inventory, every_flat_number_survives_the_wire)
{
    for (unsigned lun = 0; lun <= 16383; lun++) {
        uint16_t back;

        cr_assert(inventory_lun_flat(inventory_lun_raw((uint16_t)lun), &back));
        cr_assert_eq(back, lun);
    }
    uint16_t unused;
    cr_assert(!inventory_lun_flat(UINT64_MAX, &unused));
}
