/* SPDX-License-Identifier: Apache-2.0 */
/* The source and its scan on a tree that looks like sysfs. */
#include "agent/source/sysfs.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/source/sysfs_changes.h"
#include "agent/source/sysfs_scan.h"
#include "sensebus/v1/agents.pb-c.h"
#include "sensebus/v1/code.pb-c.h"
#include "sensebus/v1/event.pb-c.h"
#include "tests/lib/failing_alloc.h"
#include "tests/lib/hanging_call.h"
#include "tests/lib/loop.h"
#include "tests/unit/agent/source/fake_sysfs.h"
#include "tests/unit/agent/source/recorder.h"

#define DISK    "pseudo_0/adapter0/host0/target0:0:0/0:0:0:4"
#define FC      "pci0000:00/host5"
#define SESSION "platform/host3/session1/iscsi_session/session1"
#define CODE(x) SENSEBUS__V1__CODE__##x

static struct fake_sysfs tree;
static struct test_loop loop;
static struct recorder r;
static struct source *source;

static void setup(void)
{
    fake_sysfs_make(&tree);
    test_loop_init(&loop);
}

static void teardown(void)
{
    if (source) {
        sysfs_source.stop(source, recorder_stopped, &r);
        test_loop_until(&loop, &r.stopped);
    }
    test_loop_deinit(&loop);
    fake_sysfs_remove(&tree);
}

TestSuite(sysfs, .init = setup, .fini = teardown);

static void start(uint32_t poll_ms)
{
    struct source_options options = {.loop = &loop.loop, .sysfs_root = tree.root, .poll_ms = poll_ms};

    cr_assert_eq(sysfs_source.start(&options, &recorder_ops, &r, &source), 0);
    cr_assert_eq(r.n_coverage, 0, "nothing before start returned");
}

static bool has_looked(void *data)
{
    (void)data;
    return r.n_coverage > 0;
}

/* One look from now on. */
static void wait_look(void)
{
    r.n_coverage = 0;
    sysfs_source.resync(source);
    cr_assert(test_loop_until_true(&loop, has_looked, NULL));
}

static void fill(void)
{
    fake_sysfs_add(&tree, "scsi_host", "pseudo_0/adapter0/host0/scsi_host/host0", "state", "running");
    fake_sysfs_add(&tree, "scsi_device", DISK "/scsi_device/0:0:0:4", "device/state", "running");
    fake_sysfs_add(&tree, "fc_host", FC "/fc_host/host5", "port_state", "Online");
    fake_sysfs_add(&tree, "fc_remote_ports", FC "/rport-5:0-1/fc_remote_ports/rport-5:0-1", "port_state", "Online");
    fake_sysfs_write(&tree, "devices/" FC "/rport-5:0-1/fc_remote_ports/rport-5:0-1/port_name", "0x5001438012345678");
    fake_sysfs_add(&tree, "iscsi_session", SESSION, "state", "LOGGED_IN");
    fake_sysfs_write(&tree, "devices/" SESSION "/targetname", "iqn.2026-01.example:disks");
}

Test(sysfs, each_difference_of_two_looks_is_one_observation)
{
    fill();
    start(3600000);
    wait_look();
    cr_assert_eq(r.n, 0, "the first look");
    cr_assert_eq(r.state, SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED);
    cr_assert_str_eq(r.reason, "");
    cr_assert_gt(sysfs_source.last_proof(source), 0);

    fake_sysfs_write(&tree, "devices/" DISK "/scsi_device/0:0:0:4/device/state", "offline");
    fake_sysfs_write(&tree, "devices/" FC "/rport-5:0-1/fc_remote_ports/rport-5:0-1/port_state", "Blocked");
    fake_sysfs_write(&tree, "devices/" FC "/fc_host/host5/port_state", "Linkdown");
    fake_sysfs_write(&tree, "devices/" SESSION "/state", "FAILED");
    fake_sysfs_delete(&tree, "class/scsi_host/host0");
    wait_look();
    cr_assert_eq(r.n, 5);
    cr_assert_eq(r.seen[0].o.code, CODE(ADAPTER_REMOVED));
    cr_assert_eq(r.seen[0].o.place.host, 0);
    cr_assert_eq(r.seen[0].o.place.channel, -1);
    cr_assert_eq(r.seen[1].o.code, CODE(DEVICE_OFFLINE));
    cr_assert_eq(r.seen[1].o.place.lun, 4);
    cr_assert_eq(r.seen[2].o.code, CODE(LINK_DOWN));
    cr_assert_eq(r.seen[3].o.code, CODE(TARGET_OFFLINE));
    cr_assert_eq(r.seen[3].o.place.host, 5);
    cr_assert_str_eq(r.seen[3].target_name, "naa.5001438012345678");
    cr_assert_eq(r.seen[4].o.code, CODE(NEXUS_LOST));
    cr_assert_eq(r.seen[4].o.place.host, 3, "from the path behind the link");
    cr_assert_str_eq(r.seen[4].target_name, "iqn.2026-01.example:disks");
    cr_assert_str_eq(r.seen[0].object, "");
    cr_assert_str_eq(r.seen[3].object, "rport-5:0-1");
    cr_assert_str_eq(r.seen[4].object, "session1");

    recorder_clear(&r);
    wait_look();
    cr_assert_eq(r.n, 0, "told once");
}

static bool has_two(void *data)
{
    (void)data;
    return r.n == 2;
}

Test(sysfs, it_looks_again_and_again_by_itself)
{
    start(10);
    cr_assert(test_loop_until_true(&loop, has_looked, NULL));
    fake_sysfs_add(&tree, "scsi_host", "host7/scsi_host/host7", "state", "running");
    fake_sysfs_add(&tree, "scsi_device", "host7/target7:0:0/7:0:0:0/scsi_device/7:0:0:0", "device/state", "running");
    cr_assert(test_loop_until_true(&loop, has_two, NULL));
}

Test(sysfs, names_that_are_no_objects_of_the_scsi_layer_are_passed_over)
{
    fake_sysfs_write(&tree, "class/scsi_device/nonsense/device/state", "running");
    fake_sysfs_write(&tree, "class/scsi_device/a_name_that_is_longer_than_any_of_the_kernels_own/x", "");
    fake_sysfs_write(&tree, "class/scsi_host", "not a folder");
    fake_sysfs_delete(&tree, "class/scsi_host");
    start(3600000);
    wait_look();
    fake_sysfs_delete(&tree, "class/scsi_device");
    wait_look();
    cr_assert_eq(r.n, 0);
    cr_assert_eq(r.state, SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED);
}

static void link_to(const char *target, const char *path)
{
    char whole[256];

    snprintf(whole, sizeof whole, "%s/%s", tree.root, path);
    cr_assert_eq(symlink(target, whole), 0, "%s", whole);
}

Test(sysfs, links_that_lead_out_nowhere_or_in_circles_and_what_is_no_file_harm_nothing)
{
    char path[256], far[4000];

    fill();
    memset(far, 'a', sizeof far - 1);
    far[sizeof far - 1] = 0;
    link_to("1:0:0:0", "class/scsi_device/1:0:0:0"); /* itself */
    link_to("../../devices/nowhere/2:0:0:0", "class/scsi_device/2:0:0:0");
    link_to("/etc", "class/scsi_device/3:0:0:0");
    link_to("../../../../../../etc/4:0:0:0", "class/scsi_device/4:0:0:0");
    link_to(far, "class/scsi_device/5:0:0:0");
    fake_sysfs_add(&tree, "scsi_device", "circle/6:0:0:0", "nothing", "");
    link_to("device", "devices/circle/6:0:0:0/device");
    fake_sysfs_add(&tree, "scsi_host", "odd/host7", "state/is_a_folder", "");
    fake_sysfs_add(&tree, "scsi_host", "odd/host8", "nothing", "");
    snprintf(path, sizeof path, "%s/devices/odd/host8/state", tree.root);
    cr_assert_eq(mkfifo(path, 0600), 0);
    start(3600000);
    wait_look();
    cr_assert_eq(r.state, SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED);
    fake_sysfs_write(&tree, "devices/" DISK "/scsi_device/0:0:0:4/device/state", "offline");
    wait_look();
    cr_assert_eq(r.n, 1, "what is whole is seen");
    cr_assert_eq(r.seen[0].o.place.lun, 4);
}

/* A tree in which everything moves: what the looks told, folded. */
#define N_MOVING 8

struct moving {
    uv_thread_t thread;
    uv_mutex_t mutex;
    bool over;
    bool there[N_MOVING], offline[N_MOVING];
    unsigned n_looks;
};

static void on_moving(void *data, const struct observation *o)
{
    struct moving *m = data;

    cr_assert(o->synthetic && o->place.lun >= 0 && o->place.lun < N_MOVING);
    switch (o->code) {
    case CODE(DEVICE_ADDED): m->there[o->place.lun] = true; break;
    case CODE(DEVICE_REMOVED): m->there[o->place.lun] = m->offline[o->place.lun] = false; break;
    case CODE(DEVICE_OFFLINE): m->offline[o->place.lun] = true; break;
    case CODE(DEVICE_ONLINE): m->offline[o->place.lun] = false; break;
    default: cr_assert_fail("code %u", o->code);
    }
}

static void on_moving_coverage(void *data, uint32_t which, uint32_t state, const char *reason)
{
    struct moving *m = data;

    (void)which;
    cr_assert_eq(state, SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED, "%s", reason);
    m->n_looks++;
}

static void move_one(int lun, bool there, const char *state)
{
    char device[64], path[128];

    snprintf(device, sizeof device, "moving/host0/target0:0:0/0:0:0:%d/scsi_device/0:0:0:%d", lun, lun);
    snprintf(path, sizeof path, "class/scsi_device/0:0:0:%d", lun);
    fake_sysfs_delete(&tree, path);
    snprintf(path, sizeof path, "devices/%s", device);
    if (there)
        fake_sysfs_add(&tree, "scsi_device", device, "device/state", state);
    else
        fake_sysfs_delete(&tree, path);
}

static bool is_over(struct moving *m)
{
    bool over;

    uv_mutex_lock(&m->mutex);
    over = m->over;
    uv_mutex_unlock(&m->mutex);
    return over;
}

static void keep_moving(void *data)
{
    struct moving *m = data;

    for (unsigned i = 0; !is_over(m); i++)
        move_one((int)(i % N_MOVING), i / N_MOVING % 3 > 0, i / 5 % 2 ? "offline" : "running");
}

static bool has_looked_often(void *data)
{
    const struct moving *m = data;

    return m->n_looks >= 15;
}

Test(sysfs, a_tree_that_changes_while_it_is_read_is_known_as_it_is_in_the_end)
{
    static const struct source_ops ops = {.on_observation = on_moving, .on_coverage = on_moving_coverage};
    struct source_options options = {.loop = &loop.loop, .sysfs_root = tree.root, .poll_ms = 1};
    struct moving m = {.over = false};
    unsigned looks;

    fake_sysfs_write(&tree, "class/scsi_device/.keep", "");
    cr_assert_eq(uv_mutex_init(&m.mutex), 0);
    cr_assert_eq(sysfs_source.start(&options, &ops, &m, &source), 0);
    while (m.n_looks == 0) /* the first tells nothing: nothing is there */
        uv_run(&loop.loop, UV_RUN_ONCE);
    cr_assert_eq(uv_thread_create(&m.thread, keep_moving, &m), 0);
    cr_assert(test_loop_until_true(&loop, has_looked_often, &m));
    uv_mutex_lock(&m.mutex);
    m.over = true;
    uv_mutex_unlock(&m.mutex);
    uv_thread_join(&m.thread);
    for (int i = 0; i < N_MOVING; i++)
        move_one(i, i % 2, i % 4 == 1 ? "offline" : "running");
    looks = m.n_looks;
    while (m.n_looks < looks + 2) /* one may be on its way */
        uv_run(&loop.loop, UV_RUN_ONCE);
    for (int i = 0; i < N_MOVING; i++) {
        cr_assert_eq(m.there[i], i % 2 == 1, "%d", i);
        cr_assert_eq(m.offline[i], i % 4 == 1, "%d", i);
    }
    uv_mutex_destroy(&m.mutex);
}

Test(sysfs, without_a_tree_the_coverage_says_so_and_what_was_known_stays_known)
{
    char reason[SOURCE_REASON_BYTES];
    struct source_options options = {.sysfs_root = tree.root};

    fill();
    start(3600000);
    wait_look();
    cr_assert_eq(sysfs_source.check(&options, reason, sizeof reason), SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED);
    fake_sysfs_delete(&tree, "class");
    wait_look();
    cr_assert_eq(r.n, 0);
    cr_assert_eq(r.state, SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF);
    cr_assert_not_null(strstr(r.reason, "/class: no such file"));
    cr_assert_eq(sysfs_source.check(&options, reason, sizeof reason), SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF);
    cr_assert_not_null(strstr(reason, "/class: no such file"));
    fake_sysfs_write(&tree, "class/empty", "");
    wait_look();
    cr_assert_eq(r.state, SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED);
    cr_assert_eq(r.n, 4, "host, device, remote port and session are gone");
}

Test(sysfs, stopping_in_the_middle_of_a_look_leaves_nothing)
{
    fill();
    start(3600000);
    sysfs_source.resync(source);
    test_loop_for(&loop, 1);
}

Test(sysfs, a_look_that_finds_no_memory_has_failed)
{
    char err[SOURCE_REASON_BYTES];
    struct sysfs_look seen = {0};
    unsigned n = 0;
    int rc;

    fill();
    do {
        failing_alloc_after(n++);
        rc = sysfs_scan(tree.root, &seen, err, sizeof err);
        cr_assert(!failing_alloc_stop() || rc == UV_ENOMEM, "allocation %u", n - 1);
        cr_assert(rc == 0 || seen.n == 0);
    } while (rc < 0);
    cr_assert_eq(seen.n, 5);
    cr_assert_gt(n, 3);
    sysfs_look_free(&seen);
}

static bool hangs(void *data)
{
    (void)data;
    return hanging_call_count() > 0;
}

Test(sysfs, a_look_that_hangs_is_not_waited_for_and_may_return_at_any_time)
{
    fill();
    start(3600000);
    wait_look(); /* the next look is compared with what this one showed */
    hanging_call_begin();
    sysfs_source.resync(source);
    cr_assert(test_loop_until_true(&loop, hangs, NULL));
    sysfs_source.stop(source, recorder_stopped, &r);
    source = NULL;
    cr_expect(test_loop_until(&loop, &r.stopped));
    hanging_call_let_go();
}
