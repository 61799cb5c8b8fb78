/* SPDX-License-Identifier: Apache-2.0 */
/* What subscribers ask of devices of the host's own kernel, on a tree that looks like sysfs: each answer, as one line.
 * Without a SCSI device a reset only fails; how one goes that is done is tested in a guest. */
#include "agent/operations.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/coverage.h"
#include "agent/kernel/kernel.h"
#include "agent/targets.h"
#include "sensebus/v1/adapter.pb-c.h"
#include "tests/lib/loop.h"
#include "tests/unit/agent/source/fake_sysfs.h"

#define POOL_THREADS 4 /* libuv's own default */

static struct test_loop loop;
static struct fake_sysfs sysfs;
static struct coverage coverage;
static struct targets targets;
static struct adapters adapters;
static struct operations operations;
static struct kernel *kernel;
static char story[4096];
static unsigned n_results;
static uint64_t next_id;

static void on_result(void *data, const Sensebus__V1__OperationResult *r)
{
    (void)data;
    n_results++;
    sprintf(story + strlen(story), "%u: %s", (unsigned)r->id,
            protobuf_c_enum_descriptor_get_value(&sensebus__v1__errno__descriptor, (int)r->error)->name +
                strlen("ERRNO_"));
    if (r->message[0])
        sprintf(story + strlen(story), ": %s", r->message);
    strcat(story, "\n");
}

static uint64_t zero(void *data)
{
    (void)data;
    return 0;
}

static void on_record(void *data, const struct record *r)
{
    (void)data;
    (void)r;
    cr_assert_fail("nothing was reset");
}

static void on_changed(void *data)
{
    (void)data;
}

static bool has_device(void *data)
{
    (void)data;
    return kernel_devices(kernel)->n_devices == 1;
}

static void setup(void)
{
    static const struct operations_ops ops = {
        .on_result = on_result, .reported = zero, .held = zero, .on_record = on_record};
    static const struct kernel_ops kernel_ops = {.on_changed = on_changed};
    const struct operations_options options = {.host = "host-1", .adapters = &adapters, .targets = &targets};
    const struct kernel_options kernel_options = {
        .sysfs_root = sysfs.root, .poll_ms = 3600000, .allow_reset = true, .coverage = &coverage};

    setenv("UV_THREADPOOL_SIZE", "4", 1);
    test_loop_init(&loop);
    fake_sysfs_make(&sysfs);
    fake_sysfs_write(&sysfs, "bus/scsi/devices/3:0:0:4/state", "running");
    fake_sysfs_add(&sysfs, "scsi_host", "pci/host3/scsi_host/host3", "state", "running");
    fake_sysfs_add(&sysfs, "scsi_device", "pci/host3/target3:0:0/3:0:0:4/scsi_device/3:0:0:4", "uevent", "");
    cr_assert_eq(kernel_start(&loop.loop, &kernel_options, &kernel_ops, NULL, &kernel), 0);
    cr_assert(test_loop_until_true(&loop, has_device, NULL));
    adapters = (struct adapters){.initiator_name = "iqn.test:i", .targets = &targets, .kernel = kernel};
    operations_init(&operations, &loop.loop, &options, &ops, NULL);
}

static void stop_kernel(void)
{
    struct kernel *k = kernel;

    kernel = adapters.kernel = NULL;
    kernel_stop(k, NULL, NULL);
}

static void teardown(void)
{
    if (kernel)
        stop_kernel();
    operations_close(&operations);
    test_loop_deinit(&loop);
    coverage_free(&coverage);
    fake_sysfs_remove(&sysfs);
}

TestSuite(operation_kernel, .init = setup, .fini = teardown);

static Sensebus__V1__Operation operation(Sensebus__V1__Operation__OperationCase kind, uint32_t deadline_ms)
{
    Sensebus__V1__Operation m = SENSEBUS__V1__OPERATION__INIT;

    m.id = ++next_id;
    m.session_id = (char *)"s1";
    m.generation = 1;
    m.deadline_ms = deadline_ms;
    m.operation_case = kind;
    return m;
}

static void begin_open(const char *adapter)
{
    Sensebus__V1__Operation m = operation(SENSEBUS__V1__OPERATION__OPERATION_OPEN, 1000);
    Sensebus__V1__Start start = SENSEBUS__V1__START__INIT;
    Sensebus__V1__DeviceAddress address = SENSEBUS__V1__DEVICE_ADDRESS__INIT;

    address.adapter = (char *)adapter;
    address.lun = 4;
    start.address = &address;
    m.open = &start;
    operations_begin(&operations, &m);
}

static void begin_reset(uint32_t deadline_ms)
{
    Sensebus__V1__Operation m = operation(SENSEBUS__V1__OPERATION__OPERATION_RESET, deadline_ms);
    Sensebus__V1__Reset reset = SENSEBUS__V1__RESET__INIT;

    reset.lun_reset = true;
    m.reset = &reset;
    operations_begin(&operations, &m);
}

static void begin_tur(void)
{
    Sensebus__V1__Operation m = operation(SENSEBUS__V1__OPERATION__OPERATION_TEST_UNIT_READY, 1000);
    Sensebus__V1__TestUnitReady tur = SENSEBUS__V1__TEST_UNIT_READY__INIT;

    m.test_unit_ready = &tur;
    operations_begin(&operations, &m);
}

static bool has_results(void *data)
{
    return n_results >= *(unsigned *)data;
}

static void wait_results(unsigned n)
{
    cr_assert(test_loop_until_true(&loop, has_results, &n), "%s", story);
}

/* Threads of the pool that are busy until they are let go: what waits for one is as slow as a device that does not
 * answer. */
static uv_work_t busy[POOL_THREADS];
static uv_sem_t go;

static void on_busy(uv_work_t *work)
{
    (void)work;
    uv_sem_wait(&go);
}

static void keep_busy(void)
{
    uv_sem_init(&go, 0);
    for (int i = 0; i < POOL_THREADS; i++)
        uv_queue_work(&loop.loop, &busy[i], on_busy, NULL);
}

static void let_go(void)
{
    for (int i = 0; i < POOL_THREADS; i++)
        uv_sem_post(&go);
}

Test(operation_kernel, names_of_adapters_that_are_not_there_are_refused)
{
    begin_open("host4");
    begin_open("host");
    stop_kernel();
    begin_open("host3");
    cr_assert_str_eq(story, "1: EINVAL: no adapter \"host4\" here\n2: EINVAL: no adapter \"host\" here\n"
                            "3: EINVAL: no adapter \"host3\" here\n");
}

Test(operation_kernel, a_reset_that_takes_too_long_is_answered_at_its_deadline)
{
    begin_open("host3");
    keep_busy();
    begin_reset(50);
    wait_results(2);
    cr_expect_str_eq(story, "1: OK\n2: ETIMEDOUT: no answer of the kernel in 50 ms\n");
    begin_tur(); /* the session goes on */
    cr_expect(strstr(story, "3: ENXIO: TEST UNIT READY"), "%s", story);
    let_go();
    test_loop_for(&loop, 50);
    cr_expect_eq(n_results, 3);
    begin_reset(10000);
    wait_results(4);
    cr_expect(strstr(story, "4: ENXIO: RESET: the device has no node"), "%s", story);
}

Test(operation_kernel, more_resets_than_are_done_at_a_time_are_refused)
{
    begin_open("host3");
    keep_busy();
    for (int i = 0; i < RESETS_MAX + 1; i++)
        begin_reset(10000);
    cr_expect_eq(n_results, 2);
    cr_expect(strstr(story, "4: ENOMEM: RESET: the kernel does 2 already"), "%s", story);
    let_go();
    wait_results(4);
}

Test(operation_kernel, the_end_of_the_agent_ends_resets)
{
    begin_open("host3");
    keep_busy();
    begin_reset(10000);
    stop_kernel();
    cr_expect_str_eq(story, "1: OK\n2: EIO: RESET: the agent stops\n");
    begin_tur();
    cr_expect(strstr(story, "3: EINVAL: no session \"s1\""), "%s", story);
    let_go();
}

Test(operation_kernel, the_end_of_the_stream_gives_resets_up)
{
    begin_open("host3");
    keep_busy();
    begin_reset(10000);
    operations_stream_ended(&operations);
    begin_open("host3"); /* the id is free */
    let_go();
    test_loop_for(&loop, 50);
    cr_expect_str_eq(story, "1: OK\n3: OK\n");
}
