/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/identity_sysfs.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "sensebus/v1/event.pb-c.h"
#include "tests/unit/agent/source/fake_sysfs.h"

#define S      1000000000ull
#define DEVICE "devices/platform/host3/session1/target3:0:0/3:0:0:4"

static const struct observation_place disk = {3, 0, 0, 4}, adapter = {3, -1, -1, -1};
static struct fake_sysfs sysfs;

static void link_device(const char *name, const char *to)
{
    char path[512], target[512];

    snprintf(path, sizeof path, "%s/bus/scsi/devices/%s", sysfs.root, name);
    snprintf(target, sizeof target, "../../../%s", to);
    cr_assert_eq(symlink(target, path), 0, "%s", path);
}

static void make(void)
{
    char path[512], target[128];

    fake_sysfs_make(&sysfs);
    fake_sysfs_write(&sysfs, "bus/scsi/devices/.keep", "");
    fake_sysfs_write(&sysfs, DEVICE "/vendor", "LIO-ORG ");
    fake_sysfs_write(&sysfs, DEVICE "/model", "disk");
    fake_sysfs_write(&sysfs, DEVICE "/rev", "4.0");
    fake_sysfs_write(&sysfs, DEVICE "/type", "0");
    fake_sysfs_write(&sysfs, DEVICE "/wwid", "naa.6001405abc");
    fake_sysfs_write(&sysfs, DEVICE "/block/sdc/size", "1");
    fake_sysfs_write(&sysfs, DEVICE "/block/sdc/holders/.keep", "");
    fake_sysfs_write(&sysfs, DEVICE "/scsi_generic/sg3/dev", "21:3");
    fake_sysfs_write(&sysfs, "devices/virtual/block/dm-1/dm/uuid", "LVM-x");
    fake_sysfs_write(&sysfs, "devices/virtual/block/dm-1/dm/name", "vg-root");
    fake_sysfs_write(&sysfs, "devices/virtual/block/dm-2/dm/uuid", "mpath-36001405abc");
    fake_sysfs_write(&sysfs, "devices/virtual/block/dm-2/dm/name", "mpathb");
    for (int i = 1; i <= 2; i++) {
        snprintf(path, sizeof path, "%s/" DEVICE "/block/sdc/holders/dm-%d", sysfs.root, i);
        snprintf(target, sizeof target, "../../../../../../../../virtual/block/dm-%d", i);
        cr_assert_eq(symlink(target, path), 0);
    }
    fake_sysfs_write(&sysfs, "class/scsi_host/host3/proc_name", "iscsi_tcp");
    fake_sysfs_write(&sysfs, "class/iscsi_session/session1/targetname", "iqn.2026-01.example:t1");
    fake_sysfs_write(&sysfs, "class/iscsi_session/session1/tpgt", "1");
    fake_sysfs_write(&sysfs, "class/iscsi_connection/connection1:0/persistent_address", "192.0.2.7");
    fake_sysfs_write(&sysfs, "class/iscsi_connection/connection1:0/persistent_port", "3260");
    link_device("3:0:0:4", DEVICE);
    link_device("host3", "devices/platform/host3");
}

static void clean(void)
{
    fake_sysfs_remove(&sysfs);
}

TestSuite(identity_sysfs, .init = make, .fini = clean);

static void read_disk(const struct observation_place *place, struct kernel_device *out)
{
    struct identity_facts *f = calloc(1, sizeof *f);
    int rc = identity_sysfs_read(sysfs.root, place, f);

    cr_assert_eq(rc, 0, "%s", uv_strerror(rc));
    identity_from_facts(f, out);
    free(f);
}

Test(identity_sysfs, a_disk_is_read_with_its_session_names_and_map)
{
    struct kernel_device d;

    read_disk(&disk, &d);
    cr_assert_eq(d.transport, SENSEBUS__V1__TRANSPORT__TRANSPORT_ISCSI);
    cr_assert_str_eq(d.identity.product, "disk");
    cr_assert_str_eq(d.identity.designator, "naa.6001405abc");
    cr_assert_str_eq(d.target_name, "iqn.2026-01.example:t1");
    cr_assert_str_eq(d.portal, "192.0.2.7:3260,1");
    cr_assert_eq(d.n_names, 4);
    cr_assert_str_eq(d.names[1], "sdc");
    cr_assert_str_eq(d.names[2], "sg3");
    cr_assert_str_eq(d.names[3], "mpathb", "of the maps, the multipath one");
}

Test(identity_sysfs, an_adapter_with_one_session_is_named_by_it)
{
    struct kernel_device d;

    read_disk(&adapter, &d);
    cr_assert_str_eq(d.adapter, "host3");
    cr_assert_str_eq(d.target_name, "iqn.2026-01.example:t1");
    fake_sysfs_write(&sysfs, "devices/platform/host3/session2/uevent", "");
    read_disk(&adapter, &d);
    cr_assert_str_eq(d.target_name, "", "which of the two is not known");
    cr_assert_eq(d.transport, SENSEBUS__V1__TRANSPORT__TRANSPORT_ISCSI);
}

Test(identity_sysfs, what_is_not_there_is_not_there)
{
    struct identity_facts *f = calloc(1, sizeof *f);

    cr_assert_eq(identity_sysfs_read(sysfs.root, &(struct observation_place){9, 0, 0, 0}, f), UV_ENOENT);
    cr_assert_eq(identity_sysfs_read(sysfs.root, &(struct observation_place){-1, -1, -1, -1}, f), UV_ENOENT);
    cr_assert_eq(identity_sysfs_read("/nonexistent", &disk, f), UV_ENOENT);
    free(f);
}

Test(identity_sysfs, files_that_are_binary_huge_or_no_files_only_are_not_known)
{
    char path[512], huge[5001];
    struct kernel_device d;

    memset(huge, 'x', sizeof huge - 1);
    huge[sizeof huge - 1] = 0;
    fake_sysfs_write(&sysfs, DEVICE "/wwid", huge);
    fake_sysfs_write(&sysfs, DEVICE "/model", "\x01\xff\xfe");
    fake_sysfs_write(&sysfs, DEVICE "/vpd_pg83", huge);
    fake_sysfs_write(&sysfs, DEVICE "/inquiry", "short");
    fake_sysfs_write(&sysfs, DEVICE "/vpd_pg80/a_folder", "");
    snprintf(path, sizeof path, "%s/" DEVICE "/rev", sysfs.root);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkfifo(path, 0600), 0);
    read_disk(&disk, &d);
    cr_assert_str_eq(d.identity.vendor, "LIO-ORG");
    cr_assert_str_eq(d.identity.product, "\x01\xef\xbf\xbd\xef\xbf\xbd");
    cr_assert_str_eq(d.identity.revision, "");
    cr_assert_str_eq(d.identity.designator, "");
}

Test(identity_sysfs, a_map_may_have_the_longest_name_that_there_is)
{
    char name[128];
    struct kernel_device d;

    memset(name, 'm', sizeof name - 1);
    name[sizeof name - 1] = 0;
    fake_sysfs_write(&sysfs, "devices/virtual/block/dm-2/dm/name", name);
    read_disk(&disk, &d);
    cr_assert_str_eq(d.names[3], name);
}

static void link_at(const char *target, const char *path)
{
    char whole[512];

    snprintf(whole, sizeof whole, "%s/%s", sysfs.root, path);
    cr_assert_eq(symlink(target, whole), 0, "%s", whole);
}

Test(identity_sysfs, links_that_lead_out_nowhere_or_in_circles_only_are_not_known)
{
    struct identity_facts *f = calloc(1, sizeof *f);
    struct kernel_device d;
    char far[4000];

    memset(far, 'a', sizeof far - 1);
    far[sizeof far - 1] = 0;
    link_at("3:0:0:5", "bus/scsi/devices/3:0:0:5"); /* itself */
    link_at(far, "bus/scsi/devices/3:0:0:6");
    link_at("/", "bus/scsi/devices/3:0:0:7");
    link_at("../../../devices/nowhere", "bus/scsi/devices/3:0:0:8");
    cr_assert_eq(identity_sysfs_read(sysfs.root, &(struct observation_place){3, 0, 0, 5}, f), UV_ELOOP);
    cr_assert_lt(identity_sysfs_read(sysfs.root, &(struct observation_place){3, 0, 0, 6}, f), 0);
    cr_assert_eq(identity_sysfs_read(sysfs.root, &(struct observation_place){3, 0, 0, 7}, f), 0);
    cr_assert(f->vendor.len == 0 && f->inquiry.len == 0 && f->path[0] == 0);
    cr_assert_eq(identity_sysfs_read(sysfs.root, &(struct observation_place){3, 0, 0, 8}, f), UV_ENOENT);
    free(f);

    fake_sysfs_delete(&sysfs, DEVICE "/vendor");
    fake_sysfs_delete(&sysfs, DEVICE "/scsi_generic");
    fake_sysfs_delete(&sysfs, DEVICE "/block/sdc/holders/dm-2");
    link_at("vendor", DEVICE "/vendor");
    link_at(".", DEVICE "/scsi_generic");
    link_at("dm-2", DEVICE "/block/sdc/holders/dm-2");
    read_disk(&disk, &d);
    cr_assert_str_eq(d.identity.vendor, "");
    cr_assert_str_eq(d.identity.product, "disk");
    cr_assert_str_eq(d.names[1], "sdc");
}

static void keep_moving(void *over)
{
    unsigned i = 0;

    do { /* once at least: this thread may get its first turn when the other has read all it wants */
        fake_sysfs_write(&sysfs, DEVICE "/model", i++ % 2 ? "disk" : "another one");
        fake_sysfs_delete(&sysfs, DEVICE "/block");
        fake_sysfs_delete(&sysfs, "bus/scsi/devices/3:0:0:4");
        fake_sysfs_write(&sysfs, DEVICE "/block/sdd/holders/.keep", "");
        link_device("3:0:0:4", DEVICE);
    } while (!__atomic_load_n((bool *)over, __ATOMIC_ACQUIRE));
}

Test(identity_sysfs, what_changes_while_it_is_read_is_known_by_what_there_was)
{
    struct identity_facts *f = calloc(1, sizeof *f);
    struct kernel_device d;
    uv_thread_t thread;
    bool over = false;

    cr_assert_eq(uv_thread_create(&thread, keep_moving, &over), 0);
    for (int i = 0; i < 100; i++) {
        int rc = identity_sysfs_read(sysfs.root, &disk, f);

        cr_assert(rc == 0 || rc == UV_ENOENT, "%s", uv_strerror(rc));
        if (rc < 0)
            continue;
        identity_from_facts(f, &d);
        cr_assert_str_eq(d.names[0], "3:0:0:4");
        cr_assert(!d.identity.product[0] || strcmp(d.identity.product, "disk") == 0 ||
                      strcmp(d.identity.product, "another one") == 0,
                  "%s", d.identity.product);
    }
    __atomic_store_n(&over, true, __ATOMIC_RELEASE);
    uv_thread_join(&thread);
    free(f);
    read_disk(&disk, &d);
    cr_assert_str_eq(d.names[1], "sdd");
}

Test(identity_sysfs, a_removal_is_named_by_what_was_read_before)
{
    struct identity_cache *c = identity_cache_new(&(struct identity_options){0});
    struct kernel_device fallback;
    const struct kernel_device *d;

    identity_sysfs_find(c, sysfs.root, &disk, 10 * S, 10 * S, &fallback);
    fake_sysfs_delete(&sysfs, "bus/scsi/devices/3:0:0:4");
    identity_cache_removed(c, &disk, 20 * S);
    d = identity_sysfs_find(c, sysfs.root, &disk, 20 * S, 21 * S, &fallback);
    cr_assert_str_eq(d->names[1], "sdc");
    cr_assert_str_eq(d->identity.designator, "naa.6001405abc");
    d = identity_sysfs_find(c, sysfs.root, &disk, 99 * S, 99 * S, &fallback);
    cr_assert_eq(d, &fallback, "long after");
    cr_assert_str_eq(d->names[0], "3:0:0:4", "the numbers are always known");
    identity_cache_free(c);
}

Test(identity_sysfs, a_removal_that_nobody_announced_is_found_out)
{
    struct identity_cache *c = identity_cache_new(&(struct identity_options){0});
    struct kernel_device fallback;

    identity_sysfs_find(c, sysfs.root, &disk, 10 * S, 10 * S, &fallback);
    fake_sysfs_delete(&sysfs, "bus/scsi/devices/3:0:0:4");
    cr_assert_neq(identity_sysfs_find(c, sysfs.root, &disk, 16 * S, 16 * S, &fallback), &fallback);
    cr_assert_eq(identity_sysfs_find(c, sysfs.root, &disk, 90 * S, 90 * S, &fallback), &fallback);
    identity_cache_free(c);
}

Test(identity_sysfs, a_remote_port_is_the_target_behind_it)
{
    struct observation o = {.place = {5, 0, -1, -1}, .object = "rport-5:0-1"};

    identity_sysfs_resolve(sysfs.root, &o);
    cr_assert_eq(o.place.target, -1, "not known");
    fake_sysfs_write(&sysfs, "class/fc_remote_ports/rport-5:0-1/scsi_target_id", "-1");
    identity_sysfs_resolve(sysfs.root, &o);
    cr_assert_eq(o.place.target, -1, "there is none");
    fake_sysfs_write(&sysfs, "class/fc_remote_ports/rport-5:0-1/scsi_target_id", "x2");
    identity_sysfs_resolve(sysfs.root, &o);
    cr_assert_eq(o.place.target, -1, "no number");
    fake_sysfs_write(&sysfs, "class/fc_remote_ports/rport-5:0-1/scsi_target_id", "2");
    identity_sysfs_resolve(sysfs.root, &o);
    cr_assert_eq(o.place.target, 2);
    o = (struct observation){.place = {5, -1, -1, -1}, .object = "session1"};
    identity_sysfs_resolve(sysfs.root, &o);
    cr_assert_eq(o.place.target, -1, "no port");
}
