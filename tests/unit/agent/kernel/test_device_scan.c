/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kernel/device_scan.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "sensebus/v1/agents.pb-c.h"
#include "tests/lib/failing_alloc.h"
#include "tests/unit/agent/source/fake_sysfs.h"

#define HOST "pci0000:00/0000:00:1f.0/host3"
#define DISK HOST "/target3:0:0/3:0:0:4"

static struct fake_sysfs sysfs;
static struct device_list list;

static void link_to(const char *from, const char *to)
{
    char path[256], target[256];

    fake_sysfs_write(&sysfs, from, "");
    snprintf(path, sizeof path, "%s/%s", sysfs.root, from);
    unlink(path);
    snprintf(target, sizeof target, "../../../%s", to);
    cr_assert_eq(symlink(target, path), 0);
}

static void setup(void)
{
    fake_sysfs_make(&sysfs);
    fake_sysfs_add(&sysfs, "scsi_host", HOST "/scsi_host/host3", "state", "running");
    fake_sysfs_add(&sysfs, "scsi_device", DISK "/scsi_device/3:0:0:4", "uevent", "");
    fake_sysfs_write(&sysfs, "devices/" DISK "/state", "running");
    fake_sysfs_write(&sysfs, "devices/" DISK "/vendor", "EXAMPLE");
    fake_sysfs_write(&sysfs, "devices/" DISK "/type", "0");
    link_to("bus/scsi/devices/3:0:0:4", "devices/" DISK);
    link_to("bus/scsi/devices/host3", "devices/" HOST);
}

static void teardown(void)
{
    device_list_free(&list);
    fake_sysfs_remove(&sysfs);
}

TestSuite(device_scan, .init = setup, .fini = teardown);

/* Another look, that knows the last one. */
static int look(const struct observation_place *stale, size_t n_stale)
{
    struct device_scan_known known = {.before = &list, .stale = stale, .n_stale = n_stale};
    struct device_list now;
    char err[256];
    int rc = device_scan(sysfs.root, &known, &now, err, sizeof err);

    if (rc == 0) {
        device_list_free(&list);
        list = now;
    }
    return rc;
}

static Sensebus__V1__InventoryDevice *message(void)
{
    static Sensebus__V1__InventoryDevice *m;

    if (m)
        sensebus__v1__inventory_device__free_unpacked(m, NULL);
    cr_assert_eq(list.n_devices, 1);
    m = sensebus__v1__inventory_device__unpack(NULL, list.devices[0].message_len, list.devices[0].message);
    cr_assert_not_null(m);
    return m;
}

static void is_vendor(const char *vendor)
{
    Sensebus__V1__InventoryDevice *m;

    cr_assert_eq(list.n_devices, 1);
    m = sensebus__v1__inventory_device__unpack(NULL, list.devices[0].message_len, list.devices[0].message);
    cr_assert_not_null(m);
    cr_expect_str_eq(m->device->vendor, vendor);
    sensebus__v1__inventory_device__free_unpacked(m, NULL);
}

Test(device_scan, a_tree_without_classes_is_no_sysfs)
{
    fake_sysfs_delete(&sysfs, "class");
    cr_assert_eq(look(NULL, 0), UV_ENOENT);
    fake_sysfs_write(&sysfs, "class/x", "");
    cr_assert_eq(look(NULL, 0), 0);
    cr_assert_eq(list.n_adapters + list.n_devices, 0);
}

Test(device_scan, an_adapter_names_itself_as_its_transport_does)
{
    static const struct {
        const char *file, *text, *own_id;
    } IDS[] = {
        {NULL, NULL, "3"},
        {"class/scsi_host/host3/host_sas_address", "0x500605b000000001", "naa.500605b000000001"},
        {"class/scsi_host/host3/host_sas_address", "0x500605b0", "3"},
        {"class/iscsi_host/host3/initiatorname", "(null)", "3"},
        {"class/iscsi_host/host3/initiatorname", "iqn.2026-01.example:me", "iqn.2026-01.example:me"},
        {"class/fc_host/host3/port_name", "0x2000000000000001", "naa.2000000000000001"},
    };

    for (size_t i = 0; i < sizeof IDS / sizeof *IDS; i++) {
        if (IDS[i].file)
            fake_sysfs_write(&sysfs, IDS[i].file, IDS[i].text);
        cr_assert_eq(look(NULL, 0), 0);
        cr_assert_eq(list.n_adapters, 1);
        cr_expect_str_eq(list.adapters[0].name, "host3");
        cr_expect_str_eq(list.adapters[0].own_id, IDS[i].own_id);
    }
}

Test(device_scan, a_disk_says_its_size_and_what_one_command_may_carry)
{
#define BLOCK "devices/" DISK "/block/sdc/"
    fake_sysfs_write(&sysfs, BLOCK "size", "16384");
    fake_sysfs_write(&sysfs, BLOCK "queue/logical_block_size", "4096");
    fake_sysfs_write(&sysfs, BLOCK "queue/max_sectors_kb", "1280");
    cr_assert_eq(look(NULL, 0), 0);
    cr_expect_eq(list.devices[0].maximum_transfer_bytes, 1280 * 1024);
    fake_sysfs_write(&sysfs, BLOCK "queue/max_hw_sectors_kb", "4096");
    cr_assert_eq(look(NULL, 0), 0);
    cr_expect_eq(list.devices[0].maximum_transfer_bytes, 4096 * 1024);
    cr_expect_eq(message()->n_blocks, 2048);
    cr_expect_eq(message()->block_bytes, 4096);
    cr_expect_str_eq(message()->device->kernel_names[1], "sdc");
}

Test(device_scan, what_is_known_is_read_again_when_it_is_new_stale_or_in_another_state)
{
    const struct observation_place place = {3, 0, 0, 4};

    cr_assert_eq(look(NULL, 0), 0);
    fake_sysfs_write(&sysfs, "devices/" DISK "/block/sdc/size", "0");
    for (int i = 0; i < 3; i++) /* its disk comes later */
        cr_assert_eq(look(NULL, 0), 0);
    fake_sysfs_write(&sysfs, "devices/" DISK "/vendor", "SECOND");
    cr_assert_eq(look(NULL, 0), 0);
    is_vendor("EXAMPLE");
    cr_assert_eq(look(&place, 1), 0);
    is_vendor("SECOND");
    fake_sysfs_write(&sysfs, "devices/" DISK "/vendor", "THIRD");
    fake_sysfs_write(&sysfs, "devices/" DISK "/state", "offline");
    cr_assert_eq(look(NULL, 0), 0);
    is_vendor("THIRD");
    cr_expect_str_eq(list.devices[0].state, "offline");
}

Test(device_scan, what_goes_while_it_is_looked_at_is_not_there)
{
    fake_sysfs_delete(&sysfs, "devices/" DISK "/state");
    cr_assert_eq(look(NULL, 0), 0);
    cr_assert_eq(list.n_devices, 0);
    cr_assert_eq(list.n_adapters, 1);
}

Test(device_scan, adapters_beyond_the_bound_hide_no_device)
{
    for (unsigned i = 0; i <= DEVICE_LIST_MAX_ADAPTERS; i++) {
        char name[16], device[64];

        snprintf(name, sizeof name, "host%u", 100 + i);
        snprintf(device, sizeof device, "virtual/%s/scsi_host/%s", name, name);
        fake_sysfs_add(&sysfs, "scsi_host", device, "state", "running");
    }
    cr_assert_eq(look(NULL, 0), 0);
    cr_assert(list.cut);
    cr_assert_eq(list.n_adapters, DEVICE_LIST_MAX_ADAPTERS);
    cr_assert_eq(list.n_devices, 1);
}

Test(device_scan, a_look_that_finds_no_memory_has_failed)
{
    struct device_scan_known all = {.before = NULL};
    struct device_list seen = {0};
    char err[256];
    unsigned n = 0;
    int rc;

    do {
        failing_alloc_after(n++);
        rc = device_scan(sysfs.root, &all, &seen, err, sizeof err);
        cr_assert(!failing_alloc_stop() || rc == UV_ENOMEM, "allocation %u", n - 1);
        cr_assert(rc == 0 || seen.n_devices == 0);
    } while (rc < 0);
    cr_assert_eq(seen.n_devices, 1);
    cr_assert_gt(n, 3);
    device_list_free(&seen);
}
