/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kernel/device_list.h"

#include <criterion/criterion.h>
#include <string.h>

#include "agent/source/identity.h"
#include "sensebus/v1/agents.pb-c.h"

static struct device_list list;

static void teardown(void)
{
    device_list_free(&list);
}

TestSuite(device_list, .fini = teardown);

static struct listed_device *add(int32_t host, int32_t channel, int32_t target, int64_t lun, const char *state)
{
    struct listed_device *d = device_list_add(&list);
    struct kernel_device device;

    cr_assert_not_null(d);
    d->place = (struct observation_place){host, channel, target, lun};
    strcpy(d->state, state);
    identity_from_place(&d->place, &device);
    cr_assert_eq(device_list_describe(d, &device, &(struct device_size){.n_blocks = 8, .block_bytes = 512}), 0);
    return d;
}

Test(device_list, names_of_adapters_are_the_kernels_and_no_others)
{
    static const struct {
        const char *name;
        int32_t host;
    } NAMES[] = {{"host0", 0},           {"host31", 31}, {"host999999999", 999999999},
                 {"host", -1},           {"host-1", -1}, {"host03", -1},
                 {"host1x", -1},         {"xhost1", -1}, {"hosts1", -1},
                 {"host2147483648", -1}, {"iscsi0", -1}, {"", -1},
                 {"host 1", -1}};

    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        cr_expect_eq(device_list_host(NAMES[i].name), NAMES[i].host, "%s", NAMES[i].name);
}

Test(device_list, a_device_is_found_by_its_flat_number)
{
    add(3, 0, 1, 0, "running");
    add(3, 1, 1, 16640, "running"); /* 256 with flat addressing, as the kernel keeps it */
    add(2, 0, 0, 0, "running");
    device_list_finish(&list);
    cr_assert_eq(list.devices[0].place.host, 2);
    cr_assert_eq(device_list_find(&list, 3, 1, 1, 256)->place.lun, 16640);
    cr_assert_eq(device_list_find(&list, 3, -1, 1, 256)->place.channel, 1);
    cr_assert_null(device_list_find(&list, 3, 0, 1, 256));
    cr_assert_null(device_list_find(&list, 3, 1, 1, 16640));
    cr_assert_not_null(device_list_at(&list, &(struct observation_place){3, 1, 1, 16640}));
    cr_assert_null(device_list_at(&list, &(struct observation_place){3, 1, 1, 256}));
}

Test(device_list, an_empty_one_knows_nothing)
{
    device_list_finish(&list);
    cr_assert_null(device_list_find(&list, 0, 0, 0, 0));
    cr_assert_null(device_list_at(&list, &(struct observation_place){0, 0, 0, 0}));
    cr_assert_null(device_list_adapter(&list, "host0"));
    cr_assert_eq(device_list_maximum_transfer(&list, 0), 0);
}

Test(device_list, adapters_are_found_by_name)
{
    for (int32_t host = 5; host > 0; host -= 2) {
        struct listed_adapter *a = device_list_add_adapter(&list);
        a->host = host;
    }
    device_list_finish(&list);
    cr_assert_eq(device_list_adapter(&list, "host3")->host, 3);
    cr_assert_null(device_list_adapter(&list, "host2"));
    cr_assert_null(device_list_adapter(&list, "iscsi0"));
}

Test(device_list, the_smallest_transfer_of_an_adapter_counts)
{
    add(0, 0, 0, 0, "running")->maximum_transfer_bytes = 1 << 20;
    add(0, 0, 0, 1, "running")->maximum_transfer_bytes = 1 << 19;
    add(0, 0, 0, 2, "running")->maximum_transfer_bytes = 0; /* a tape does not say */
    add(1, 0, 0, 0, "running")->maximum_transfer_bytes = 1 << 12;
    device_list_finish(&list);
    cr_assert_eq(device_list_maximum_transfer(&list, 0), 1 << 19);
}

Test(device_list, a_message_says_what_an_inventory_needs)
{
    static const char *const STATES[][2] = {
        {"running", "ready"}, {"offline", "not ready"}, {"blocked", "not ready"}, {"", "unknown"}};

    for (size_t i = 0; i < sizeof STATES / sizeof *STATES; i++) {
        struct listed_device *d = add(3, 0, 1, 16640 + (int64_t)i, STATES[i][0]);
        Sensebus__V1__InventoryDevice *m = sensebus__v1__inventory_device__unpack(NULL, d->message_len, d->message);

        cr_assert_not_null(m);
        cr_expect_str_eq(m->state, STATES[i][1]);
        cr_expect_str_eq(m->address->adapter, "host3");
        cr_expect_eq(m->address->controller, 3);
        cr_expect_eq(m->address->lun, 256 + (int64_t)i);
        cr_expect_eq(m->address->lun_raw, 0x4100000000000000 + (i << 48));
        cr_expect_eq(m->n_blocks, 8);
        cr_expect_eq(m->device->n_kernel_names, 1);
        sensebus__v1__inventory_device__free_unpacked(m, NULL);
    }
}

Test(device_list, is_the_same_when_an_inventory_would_say_the_same)
{
    struct device_list other = {0};

    add(0, 0, 0, 0, "running")->inode = 5;
    cr_assert_not(device_list_same(&list, &other));
    cr_assert_eq(device_list_copy(device_list_add(&other), &list.devices[0]), 0);
    other.devices[0].inode = 6;
    other.devices[0].looks = 9;
    cr_assert(device_list_same(&list, &other));
    add(0, 0, 0, 1, "offline");
    cr_assert_not(device_list_same(&list, &other));
    device_list_drop(&list);
    cr_assert(device_list_same(&list, &other));
    device_list_add_adapter(&other);
    cr_assert_not(device_list_same(&list, &other));
    device_list_add_adapter(&list);
    strcpy(list.adapters[0].own_id, "naa.5006");
    cr_assert_not(device_list_same(&list, &other));
    device_list_free(&other);
}

Test(device_list, says_when_there_is_more_than_it_takes)
{
    for (int i = 0; i < DEVICE_LIST_MAX_DEVICES; i++)
        cr_assert_not_null(device_list_add(&list));
    for (int i = 0; i < DEVICE_LIST_MAX_ADAPTERS; i++)
        cr_assert_not_null(device_list_add_adapter(&list));
    cr_assert_not(list.cut);
    cr_assert_null(device_list_add(&list));
    cr_assert(list.cut);
    list.cut = false;
    cr_assert_null(device_list_add_adapter(&list));
    cr_assert(list.cut);
}
