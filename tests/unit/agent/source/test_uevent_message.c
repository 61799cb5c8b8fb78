/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/uevent_message.h"

#include <criterion/criterion.h>
#include <string.h>
#include <uv.h>

#include "sensebus/v1/code.pb-c.h"
#include "sensebus/v1/event.pb-c.h"

#define DISK "/devices/pseudo_0/adapter0/host0/target0:0:0/0:0:0:4"
#define FC   "/devices/pci0000:00/0000:00:03.0/host5"

/* A literal with its last NUL. */
#define TEXT(literal) literal, sizeof literal

static struct uevent u;
static const char *fault;
static struct observation seen;
static char detail[UEVENT_DETAIL_BYTES];
static char message[UEVENT_MAX_BYTES + 1];

/* ACTION and DEVPATH, then the rest with ';' for NUL. */
static size_t build(const char *action, const char *devpath, const char *rest)
{
    int n = snprintf(message, sizeof message, "%s@%s;ACTION=%s;DEVPATH=%s;%s;SEQNUM=638;", action, devpath, action,
                     devpath, rest);

    for (int i = 0; i < n; i++)
        if (message[i] == ';')
            message[i] = 0;
    return (size_t)n;
}

static bool observe(const char *action, const char *devpath, const char *rest)
{
    size_t len = build(action, devpath, rest);

    memset(&seen, 0, sizeof seen);
    cr_assert_eq(uevent_parse((const uint8_t *)message, len, &u, &fault), 0, "%s", fault);
    return uevent_observe(&u, 7, 8, detail, &seen);
}

static void check_place(int32_t host, int32_t channel, int32_t target, int64_t lun)
{
    cr_assert_eq(seen.place.host, host);
    cr_assert_eq(seen.place.channel, channel);
    cr_assert_eq(seen.place.target, target);
    cr_assert_eq(seen.place.lun, lun);
}

Test(uevent_message, each_attention_of_the_kernel_has_its_code_and_sense)
{
    static const struct {
        const char *value;
        uint32_t code, number, sense;
    } rows[] = {
        {"INQUIRY_DATA_HAS_CHANGED", SENSEBUS__V1__CODE__INQUIRY_DATA_CHANGED, 2, 0x3f03},
        {"CAPACITY_DATA_HAS_CHANGED", SENSEBUS__V1__CODE__CAPACITY_CHANGED, 3, 0x2a09},
        {"THIN_PROVISIONING_SOFT_THRESHOLD_REACHED", SENSEBUS__V1__CODE__PROVISIONING_THRESHOLD, 4, 0x3807},
        {"MODE_PARAMETERS_CHANGED", SENSEBUS__V1__CODE__MODE_PARAMETERS_CHANGED, 5, 0x2a01},
        {"REPORTED_LUNS_DATA_HAS_CHANGED", SENSEBUS__V1__CODE__REPORTED_LUNS_CHANGED, 6, 0x3f0e},
        {"ASYMMETRIC_ACCESS_STATE_CHANGED", SENSEBUS__V1__CODE__ALUA_STATE_CHANGED, 7, 0x2a06},
        {"POWER_ON_RESET_OCCURRED", SENSEBUS__V1__CODE__POWER_ON_OR_RESET, 8, 0x2900},
        {"A_LATER_ONE", SENSEBUS__V1__CODE__UNIT_ATTENTION_OTHER, 0, 0},
    };
    char rest[128];

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(rest, sizeof rest, "SUBSYSTEM=scsi;SDEV_UA=%s;DEVTYPE=scsi_device;DRIVER=sd", rows[i].value);
        cr_assert(observe("change", DISK, rest), "%s", rows[i].value);
        cr_assert_eq(seen.code, rows[i].code);
        cr_assert_eq(seen.source, SENSEBUS__V1__SOURCE__SOURCE_UEVENT);
        cr_assert_str_eq(seen.native.name, "SDEV_UA");
        cr_assert_eq(seen.native.code, rows[i].number);
        cr_assert_eq(seen.native.subcode, rows[i].sense);
        cr_assert_str_eq(seen.native.detail + strlen("SDEV_UA="), rows[i].value);
        cr_assert_eq(seen.native.raw_len, u.len);
        cr_assert_eq(seen.wall_ns, 7);
        cr_assert_eq(seen.boot_ns, 8);
        check_place(0, 0, 0, 4);
    }
}

Test(uevent_message, what_comes_and_goes_is_told_once)
{
    static const struct {
        const char *action, *path, *rest;
        uint32_t code;
        int32_t host, channel, target;
        int64_t lun;
    } rows[] = {
        {"add", "/devices/pseudo_0/adapter0/host3/scsi_host/host3", "SUBSYSTEM=scsi_host",
         SENSEBUS__V1__CODE__ADAPTER_ADDED, 3, -1, -1, -1},
        {"remove", "/devices/pseudo_0/adapter0/host3/scsi_host/host3", "SUBSYSTEM=scsi_host",
         SENSEBUS__V1__CODE__ADAPTER_REMOVED, 3, -1, -1, -1},
        {"add", DISK "/scsi_device/0:0:0:4", "SUBSYSTEM=scsi_device", SENSEBUS__V1__CODE__DEVICE_ADDED, 0, 0, 0, 4},
        {"remove", DISK "/scsi_device/0:0:0:4", "SUBSYSTEM=scsi_device", SENSEBUS__V1__CODE__DEVICE_REMOVED, 0, 0, 0,
         4},
        {"remove", FC "/rport-5:0-1/target5:0:2", "SUBSYSTEM=scsi;DEVTYPE=scsi_target",
         SENSEBUS__V1__CODE__TARGET_REMOVED, 5, 0, 2, -1},
        {"add", FC "/rport-5:0-1/fc_remote_ports/rport-5:0-1", "SUBSYSTEM=fc_remote_ports",
         SENSEBUS__V1__CODE__TARGET_ONLINE, 5, 0, -1, -1},
        {"remove", FC "/rport-5:0-1/fc_remote_ports/rport-5:0-1", "SUBSYSTEM=fc_remote_ports",
         SENSEBUS__V1__CODE__TARGET_REMOVED, 5, 0, -1, -1},
        {"add", "/devices/platform/host3/session1/iscsi_session/session1", "SUBSYSTEM=iscsi_session",
         SENSEBUS__V1__CODE__SESSION_STARTED, 3, -1, -1, -1},
        {"remove", "/devices/platform/host3/session1/iscsi_session/session1", "SUBSYSTEM=iscsi_session",
         SENSEBUS__V1__CODE__SESSION_STOPPED, 3, -1, -1, -1},
        {"add", FC "/fc_host/host5", "SUBSYSTEM=fc_host", 0, 5, -1, -1, -1},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_assert(observe(rows[i].action, rows[i].path, rows[i].rest), "%s", rows[i].path);
        cr_assert_eq(seen.code, rows[i].code, "%s", rows[i].path);
        check_place(rows[i].host, rows[i].channel, rows[i].target, rows[i].lun);
    }
    cr_assert(observe("add", FC "/rport-5:0-1/fc_remote_ports/rport-5:0-1", "SUBSYSTEM=fc_remote_ports"));
    cr_assert_str_eq(seen.object, "rport-5:0-1");
    cr_assert(observe("add", DISK "/scsi_device/0:0:0:4", "SUBSYSTEM=scsi_device"));
    cr_assert_null(seen.object);
    cr_assert_not(observe("add", DISK, "SUBSYSTEM=scsi;DEVTYPE=scsi_device"), "its class device is told");
    cr_assert_not(observe("bind", DISK, "SUBSYSTEM=scsi;DEVTYPE=scsi_device;DRIVER=sd"));
    cr_assert_not(observe("add", DISK "/block/sda", "SUBSYSTEM=block;DEVTYPE=disk"));
}

Test(uevent_message, changes_of_disks_that_are_no_scsi_devices_are_not_ours)
{
    cr_assert(observe("change", DISK "/block/sda", "SUBSYSTEM=block;RESIZE=1;DEVTYPE=disk"));
    cr_assert_eq(seen.code, SENSEBUS__V1__CODE__CAPACITY_CHANGED);
    check_place(0, 0, 0, 4);
    cr_assert(observe("change", DISK "/block/sr0", "SUBSYSTEM=block;DISK_MEDIA_CHANGE=1;DEVTYPE=disk"));
    cr_assert_eq(seen.code, SENSEBUS__V1__CODE__MEDIUM_CHANGED);
    cr_assert(observe("change", DISK "/block/sr0", "SUBSYSTEM=block;DISK_EJECT_REQUEST=1;DEVTYPE=disk"));
    cr_assert_eq(seen.code, SENSEBUS__V1__CODE__MEDIUM_REMOVAL_REQUESTED);
    cr_assert(observe("change", DISK, "SUBSYSTEM=scsi;SDEV_MEDIA_CHANGE=1;DEVTYPE=scsi_device"));
    cr_assert_eq(seen.code, SENSEBUS__V1__CODE__MEDIUM_CHANGED);
    cr_assert_eq(seen.native.code, 1);
    cr_assert_not(observe("change", "/devices/virtual/block/loop0", "SUBSYSTEM=block;RESIZE=1;DEVTYPE=disk"));
    cr_assert_not(observe("change", DISK "/block/sda", "SUBSYSTEM=block;RESIZE=0;DEVTYPE=disk"));
    cr_assert_not(observe("change", DISK "/block/sda", "SUBSYSTEM=block;DEVTYPE=disk"));
}

Test(uevent_message, what_udevadm_trigger_replays_did_not_happen)
{
    cr_assert_not(observe("add", DISK "/scsi_device/0:0:0:4", "SUBSYSTEM=scsi_device;SYNTH_UUID=0"));
    cr_assert_eq(u.seqnum, 638, "but it was heard");
}

Test(uevent_message, of_several_hosts_in_a_path_the_last_one_counts)
{
    struct observation_place place;

    uevent_place(FC "/vport-5:0-0/host6/rport-6:1-2/target6:1:7/6:1:7:16640", &place);
    cr_assert_eq(place.host, 6);
    cr_assert_eq(place.channel, 1);
    cr_assert_eq(place.target, 7);
    cr_assert_eq(place.lun, 16640);
    uevent_place(FC "/vport-5:0-0/host6", &place);
    cr_assert_eq(place.host, 6);
    cr_assert_eq(place.lun, -1);
    uevent_place("/devices/host/hostx/host99999999999/target1:2/1:2:3/1:2:3:99999999999999999999", &place);
    cr_assert_eq(place.host, -1);
}

Test(uevent_message, malformed_messages_are_refused_with_a_reason)
{
    static const struct {
        const char *bytes;
        size_t len;
    } rows[] = {
        {"", 0},
        {TEXT("a@/x")},
        {"a@/x\0ACTION=a\0DEVPATH=/x", sizeof "a@/x\0ACTION=a\0DEVPATH=/x" - 1}, /* the last has no end */
        {TEXT("libudev\0\xfe\xed\xca\xfe")},
        {TEXT("@/x\0ACTION=\0DEVPATH=/x")},
        {TEXT("a@x\0ACTION=a\0DEVPATH=x")},
        {TEXT("a@/x\0ACTION=b\0DEVPATH=/x")},
        {TEXT("a@/x\0ACTION=a\0DEVPATH=/y")},
        {TEXT("a@/x\0ACTION=a\0DEVPATH=/x\0novalue")},
        {TEXT("a@/x\0ACTION=a\0DEVPATH=/x\0=x")},
        {TEXT("a@/x\0ACTION=a\0DEVPATH=/x\0\0SEQNUM=1")},
        {TEXT("a@/x\0ACTION=a\0DEVPATH=/x\0SEQNUM=")},
        {TEXT("a@/x\0ACTION=a\0DEVPATH=/x\0SEQNUM=18446744073709551616")},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fault = NULL;
        cr_assert_eq(uevent_parse((const uint8_t *)rows[i].bytes, rows[i].len, &u, &fault), UV_EINVAL, "row %zu", i);
        cr_assert_not_null(fault);
    }
    memset(message, 'x', sizeof message);
    memcpy(message, "a@/", 3);
    message[sizeof message - 1] = 0;
    cr_assert_eq(uevent_parse((const uint8_t *)message, sizeof message, &u, &fault), UV_EINVAL);
}
