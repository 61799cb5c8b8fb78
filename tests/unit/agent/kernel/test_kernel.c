/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kernel/kernel.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "agent/coverage.h"
#include "agent/record.h"
#include "sensebus/v1/code.pb-c.h"
#include "tests/lib/hanging_call.h"
#include "tests/lib/loop.h"
#include "tests/unit/agent/source/fake_sysfs.h"

static struct test_loop loop;
static struct fake_sysfs sysfs;
static struct coverage coverage;
static struct kernel *kernel;
static int n_changes;

static void on_changed(void *data)
{
    (void)data;
    n_changes++;
}

static void start(uint32_t poll_ms, bool allow_reset)
{
    static const struct kernel_ops ops = {.on_changed = on_changed};
    const struct kernel_options options = {
        .sysfs_root = sysfs.root, .poll_ms = poll_ms, .allow_reset = allow_reset, .coverage = &coverage};

    cr_assert_eq(kernel_start(&loop.loop, &options, &ops, NULL, &kernel), 0);
}

static void setup(void)
{
    test_loop_init(&loop);
    fake_sysfs_make(&sysfs);
    fake_sysfs_add(&sysfs, "scsi_host", "pci/host0/scsi_host/host0", "state", "running");
}

static void teardown(void)
{
    kernel_stop(kernel, NULL, NULL);
    test_loop_deinit(&loop);
    coverage_free(&coverage);
    fake_sysfs_remove(&sysfs);
}

TestSuite(kernel, .init = setup, .fini = teardown);

static void add_disk(const char *name)
{
    char path[256];

    snprintf(path, sizeof path, "bus/scsi/devices/%s/state", name);
    fake_sysfs_write(&sysfs, path, "running");
    snprintf(path, sizeof path, "pci/host0/target0:0:0/%s/scsi_device/%s", name, name);
    fake_sysfs_add(&sysfs, "scsi_device", path, "uevent", "");
}

static bool has_devices(void *data)
{
    return kernel_devices(kernel)->n_devices == *(size_t *)data;
}

static void wait_devices(size_t n)
{
    cr_assert(test_loop_until_true(&loop, has_devices, &n));
}

static bool has_changed(void *data)
{
    return n_changes >= *(int *)data;
}

Test(kernel, finds_by_polling_what_nobody_told)
{
    int first = 1;

    start(20, false);
    cr_assert_eq(kernel_devices(kernel)->n_adapters, 0); /* not before the first look */
    cr_assert(test_loop_until_true(&loop, has_changed, &first));
    cr_assert_eq(kernel_devices(kernel)->n_adapters, 1);
    add_disk("0:0:0:0");
    wait_devices(1);
    add_disk("0:0:0:1");
    wait_devices(2);
    fake_sysfs_delete(&sysfs, "class/scsi_device/0:0:0:0");
    wait_devices(1);
    cr_assert_eq(kernel_devices(kernel)->devices[0].place.lun, 1);
}

Test(kernel, looks_at_once_when_a_hook_tells)
{
    static const struct record_kernel of_kernel = {.bus = 0};
    struct record r = {.code = SENSEBUS__V1__CODE__DEVICE_ADDED, .place.kernel = &of_kernel};
    int first = 1;

    start(3600000, false);
    cr_assert(test_loop_until_true(&loop, has_changed, &first));
    add_disk("0:0:0:0");
    kernel_heard(kernel, &(struct record){.code = SENSEBUS__V1__CODE__DEVICE_ADDED}); /* of an iSCSI target */
    r.code = SENSEBUS__V1__CODE__MODE_PARAMETERS_CHANGED;                             /* changes nothing here */
    kernel_heard(kernel, &r);
    test_loop_for(&loop, 500);
    cr_assert_eq(kernel_devices(kernel)->n_devices, 0);
    r.code = SENSEBUS__V1__CODE__DEVICE_ADDED;
    kernel_heard(kernel, &r);
    wait_devices(1);
}

Test(kernel, tells_nothing_when_nothing_changed)
{
    add_disk("0:0:0:0");
    start(5, false);
    wait_devices(1);
    test_loop_for(&loop, 100);
    cr_assert_eq(n_changes, 1);
}

Test(kernel, keeps_what_it_knew_when_it_cannot_look)
{
    char class[128], elsewhere[128];

    add_disk("0:0:0:0");
    start(200, false); /* the next look does not begin before the folder is gone as a whole */
    wait_devices(1);
    snprintf(class, sizeof class, "%s/class", sysfs.root);
    snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", sysfs.root);
    cr_assert_eq(rename(class, elsewhere), 0); /* at once: a look in between would see a part */
    test_loop_for(&loop, 700);
    cr_assert_eq(kernel_devices(kernel)->n_devices, 1);
    cr_assert_eq(n_changes, 1);
}

Test(kernel, offers_resets_only_where_they_are_allowed)
{
    size_t n;

    start(1000, false);
    cr_assert_str_eq(kernel_capabilities(kernel, &n)[0], "event");
    cr_assert_eq(n, 1);
    kernel_stop(kernel, NULL, NULL);
    start(1000, true);
    cr_assert_str_eq(kernel_capabilities(kernel, &n)[2], "reset-target");
    cr_assert_eq(n, 3);
}

Test(kernel, sees_events_while_a_hook_tells_of_ends)
{
    char reason[256];

    start(1000, false);
    cr_assert_not(kernel_sees_events(kernel, reason, sizeof reason));
    cr_assert_str_eq(reason, "uevent and sysfs are not started yet");
    coverage_set(&coverage, SENSEBUS__V1__SOURCE__SOURCE_TRACE, "", SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED, "");
    coverage_set(&coverage, SENSEBUS__V1__SOURCE__SOURCE_UEVENT, "", SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF,
                 "turned off");
    coverage_set(&coverage, SENSEBUS__V1__SOURCE__SOURCE_SYSFS, "", SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF,
                 "no folder");
    cr_assert_not(kernel_sees_events(kernel, reason, sizeof reason));
    cr_assert_str_eq(reason, "uevent: turned off; sysfs: no folder");
    coverage_set(&coverage, SENSEBUS__V1__SOURCE__SOURCE_SYSFS, "", SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_DEGRADED,
                 "a part");
    cr_assert(kernel_sees_events(kernel, reason, sizeof reason));
}

Test(kernel, an_inventory_has_all_devices)
{
    struct kernel_inventory inventory;

    add_disk("0:0:0:0");
    add_disk("0:0:0:1");
    start(20, false);
    wait_devices(2);
    cr_assert_eq(kernel_inventory(kernel, &inventory), 0);
    cr_assert_eq(inventory.n, 2);
    cr_assert_str_eq(inventory.items[1]->address->adapter, "host0");
    cr_assert_eq(inventory.items[1]->address->lun, 1);
    kernel_inventory_free(&inventory);
}

Test(kernel, ends_while_it_looks)
{
    start(1, false);
    test_loop_for(&loop, 3);
}

static bool hangs(void *data)
{
    (void)data;
    return hanging_call_count() > 0;
}

static void on_stopped(void *data)
{
    *(bool *)data = true;
}

Test(kernel, a_look_that_hangs_is_not_waited_for_and_may_return_at_any_time)
{
    struct kernel *k;
    bool stopped = false;

    add_disk("0:0:0:0");
    start(5, false);
    wait_devices(1); /* the next look has what this one showed */
    hanging_call_begin();
    cr_assert(test_loop_until_true(&loop, hangs, NULL));
    k = kernel;
    kernel = NULL;
    kernel_stop(k, on_stopped, &stopped);
    cr_expect(test_loop_until(&loop, &stopped));
    hanging_call_let_go();
}
