/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/uevent_message.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "sensebus/v1/code.pb-c.h"
#include "sensebus/v1/event.pb-c.h"

/* ------------------------------------------------------------------------------------------------ parse */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits up to the first other character, at most `max`. NULL when there is none, or too much. */
static const char *read_number(const char *p, uint64_t max, uint64_t *out)
{
    uint64_t n = 0;

    if (!is_digit(*p))
        return NULL;
    for (; is_digit(*p); p++) {
        uint64_t digit = (uint64_t)(*p - '0');

        if (n > (max - digit) / 10)
            return NULL;
        n = 10 * n + digit;
    }
    *out = n;
    return p;
}

/* Keep what we look for. `text` is KEY=VALUE. Returns NULL, or what is wrong. */
static const char *keep(struct uevent *u, const char *text)
{
    const char *equals = strchr(text, '='), *value = equals ? equals + 1 : NULL, *end;
    size_t len = value ? (size_t)(equals - text) : 0;
    const struct {
        const char *key, **text;
        bool *flag;
    } keys[] = {
        {"ACTION", &u->action, NULL},
        {"DEVPATH", &u->devpath, NULL},
        {"SUBSYSTEM", &u->subsystem, NULL},
        {"DEVTYPE", &u->devtype, NULL},
        {"SDEV_UA", &u->sdev_ua, NULL},
        {"SDEV_MEDIA_CHANGE", NULL, &u->sdev_media_change},
        {"RESIZE", NULL, &u->resize},
        {"DISK_MEDIA_CHANGE", NULL, &u->disk_media_change},
        {"DISK_EJECT_REQUEST", NULL, &u->disk_eject_request},
    };

    if (len == 0)
        return "a string is not KEY=VALUE";
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strlen(keys[i].key) != len || memcmp(keys[i].key, text, len) != 0)
            continue;
        if (keys[i].text)
            *keys[i].text = value;
        else
            *keys[i].flag = strcmp(value, "1") == 0;
        return NULL;
    }
    if (strncmp(text, "SYNTH_UUID=", strlen("SYNTH_UUID=")) == 0)
        u->replayed = true;
    if (strncmp(text, "SEQNUM=", strlen("SEQNUM=")) == 0) {
        end = read_number(value, UINT64_MAX, &u->seqnum);
        if (!end || *end)
            return "SEQNUM is no number";
    }
    return NULL;
}

int uevent_parse(const uint8_t *bytes, size_t len, struct uevent *out, const char **out_fault)
{
    struct uevent u = {.action = "", .devpath = "", .subsystem = "", .devtype = "", .sdev_ua = ""};
    const char *text = (const char *)bytes, *end = text + len, *at, *fault = NULL;

    if (len == 0 || len > UEVENT_MAX_BYTES || end[-1] != 0) {
        *out_fault = "not a run of strings that end with NUL";
        return UV_EINVAL;
    }
    at = strchr(text, '@');
    if (!at || at == text || at[1] != '/') {
        *out_fault = "does not begin with ACTION@DEVPATH";
        return UV_EINVAL;
    }
    for (const char *p = text + strlen(text) + 1; p < end && !fault; p += strlen(p) + 1)
        fault = keep(&u, p);
    if (!fault && (strlen(u.action) != (size_t)(at - text) || strncmp(u.action, text, strlen(u.action)) != 0 ||
                   strcmp(u.devpath, at + 1) != 0))
        fault = "ACTION or DEVPATH is not that of the first string";
    if (fault) {
        *out_fault = fault;
        return UV_EINVAL;
    }
    u.bytes = bytes;
    u.len = len;
    *out = u;
    return 0;
}

/* ------------------------------------------------------------------------------------------------ place */

/* `n` numbers with `separators` between them, behind `prefix`, up to a slash or the end. */
static bool read_part(const char *p, const char *prefix, const char *separators, uint64_t *numbers)
{
    size_t n = strlen(separators) + 1;

    if (strncmp(p, prefix, strlen(prefix)) != 0)
        return false;
    p += strlen(prefix);
    for (size_t i = 0; i < n; i++) {
        uint64_t max = i == 3 ? INT64_MAX : INT32_MAX;

        p = read_number(p, max, &numbers[i]);
        if (!p || (i + 1 < n && *p++ != separators[i]))
            return false;
    }
    return *p == 0 || *p == '/';
}

void uevent_place(const char *devpath, struct observation_place *out)
{
    struct observation_place place = {-1, -1, -1, -1};
    uint64_t n[4];

    for (const char *p = devpath; *p; p += strcspn(p, "/")) {
        p += strspn(p, "/");
        if (read_part(p, "host", "", n))
            place = (struct observation_place){(int32_t)n[0], -1, -1, -1};
        else if (read_part(p, "rport-", ":-", n))
            place = (struct observation_place){(int32_t)n[0], (int32_t)n[1], -1, -1};
        else if (read_part(p, "target", "::", n))
            place = (struct observation_place){(int32_t)n[0], (int32_t)n[1], (int32_t)n[2], -1};
        else if (read_part(p, "", ":::", n))
            place = (struct observation_place){(int32_t)n[0], (int32_t)n[1], (int32_t)n[2], (int64_t)n[3]};
    }
    *out = place;
}

/* ------------------------------------------------------------------------------------------------ what it says */

/* enum scsi_device_event of include/scsi/scsi_device.h, with the sense that causes each (scsi_lib.c, scsi_error.c). */
static const struct {
    const char *value;
    uint32_t number, sense, code;
} attentions[] = {
    {"INQUIRY_DATA_HAS_CHANGED", 2, 0x3f03, SENSEBUS__V1__CODE__INQUIRY_DATA_CHANGED},
    {"CAPACITY_DATA_HAS_CHANGED", 3, 0x2a09, SENSEBUS__V1__CODE__CAPACITY_CHANGED},
    {"THIN_PROVISIONING_SOFT_THRESHOLD_REACHED", 4, 0x3807, SENSEBUS__V1__CODE__PROVISIONING_THRESHOLD},
    {"MODE_PARAMETERS_CHANGED", 5, 0x2a01, SENSEBUS__V1__CODE__MODE_PARAMETERS_CHANGED},
    {"REPORTED_LUNS_DATA_HAS_CHANGED", 6, 0x3f0e, SENSEBUS__V1__CODE__REPORTED_LUNS_CHANGED},
    {"ASYMMETRIC_ACCESS_STATE_CHANGED", 7, 0x2a06, SENSEBUS__V1__CODE__ALUA_STATE_CHANGED},
    {"POWER_ON_RESET_OCCURRED", 8, 0x2900, SENSEBUS__V1__CODE__POWER_ON_OR_RESET},
};

/* What comes and goes. Of a host and of a device there are two uevents each: those of their classes count, which come
 * when there is something to read in sysfs. Code 0: its own adapter is told, too. */
static const struct {
    const char *subsystem, *devtype; /* "" = any */
    bool named;                      /* the place does not tell two of them apart */
    uint32_t added, removed;
} objects[] = {
    {"scsi_host", "", false, SENSEBUS__V1__CODE__ADAPTER_ADDED, SENSEBUS__V1__CODE__ADAPTER_REMOVED},
    {"scsi_device", "", false, SENSEBUS__V1__CODE__DEVICE_ADDED, SENSEBUS__V1__CODE__DEVICE_REMOVED},
    {"scsi", "scsi_target", false, SENSEBUS__V1__CODE__TARGET_ONLINE, SENSEBUS__V1__CODE__TARGET_REMOVED},
    {"fc_remote_ports", "", true, SENSEBUS__V1__CODE__TARGET_ONLINE, SENSEBUS__V1__CODE__TARGET_REMOVED},
    {"iscsi_session", "", true, SENSEBUS__V1__CODE__SESSION_STARTED, SENSEBUS__V1__CODE__SESSION_STOPPED},
    {"fc_host", "", false, 0, 0},
};

static bool observe_attention(const struct uevent *u, char detail[UEVENT_DETAIL_BYTES], struct observation *out)
{
    size_t i = 0, n = sizeof attentions / sizeof *attentions;

    while (i < n && strcmp(attentions[i].value, u->sdev_ua) != 0)
        i++;
    out->native.name = "SDEV_UA";
    out->code = i < n ? attentions[i].code : SENSEBUS__V1__CODE__UNIT_ATTENTION_OTHER;
    if (i < n) {
        out->native.code = attentions[i].number;
        out->native.subcode = attentions[i].sense;
    }
    snprintf(detail, UEVENT_DETAIL_BYTES, "SDEV_UA=%s", u->sdev_ua);
    return true;
}

static bool observe_change(const struct uevent *u, char detail[UEVENT_DETAIL_BYTES], struct observation *out)
{
    const char *key;

    if (strcmp(u->subsystem, "scsi") == 0 && u->sdev_ua[0])
        return observe_attention(u, detail, out);
    if (strcmp(u->subsystem, "scsi") == 0 && u->sdev_media_change) {
        key = "SDEV_MEDIA_CHANGE";
        out->native.code = 1; /* SDEV_EVT_MEDIA_CHANGE */
        out->code = SENSEBUS__V1__CODE__MEDIUM_CHANGED;
    } else if (strcmp(u->subsystem, "block") != 0) {
        return false;
    } else if (u->resize) {
        key = "RESIZE";
        out->code = SENSEBUS__V1__CODE__CAPACITY_CHANGED;
    } else if (u->disk_media_change) {
        key = "DISK_MEDIA_CHANGE";
        out->code = SENSEBUS__V1__CODE__MEDIUM_CHANGED;
    } else if (u->disk_eject_request) {
        key = "DISK_EJECT_REQUEST";
        out->code = SENSEBUS__V1__CODE__MEDIUM_REMOVAL_REQUESTED;
    } else {
        return false;
    }
    out->native.name = key;
    snprintf(detail, UEVENT_DETAIL_BYTES, "%s=1", key);
    return true;
}

static bool observe_object(const struct uevent *u, char detail[UEVENT_DETAIL_BYTES], struct observation *out)
{
    const char *slash = strrchr(u->devpath, '/'), *name = slash ? slash + 1 : u->devpath;
    bool added = strcmp(u->action, "add") == 0;

    if (!added && strcmp(u->action, "remove") != 0)
        return false;
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++) {
        if (strcmp(objects[i].subsystem, u->subsystem) != 0 ||
            (objects[i].devtype[0] && strcmp(objects[i].devtype, u->devtype) != 0))
            continue;
        out->native.name = "uevent";
        out->code = added ? objects[i].added : objects[i].removed;
        out->object = objects[i].named ? name : NULL;
        snprintf(detail, UEVENT_DETAIL_BYTES, "%s %s %s", u->action, u->devtype[0] ? u->devtype : u->subsystem, name);
        return true;
    }
    return false;
}

bool uevent_observe(const struct uevent *u, uint64_t wall_ns, uint64_t boot_ns, char detail[UEVENT_DETAIL_BYTES],
                    struct observation *out)
{
    struct observation seen = {.source = SENSEBUS__V1__SOURCE__SOURCE_UEVENT, .wall_ns = wall_ns, .boot_ns = boot_ns};
    bool change = strcmp(u->action, "change") == 0;

    if (u->replayed)
        return false;
    if (!(change ? observe_change(u, detail, &seen) : observe_object(u, detail, &seen)))
        return false;
    uevent_place(u->devpath, &seen.place);
    if (seen.place.host < 0 || (change && seen.place.lun < 0)) /* a disk that is not a SCSI device, for one */
        return false;
    seen.native.raw = u->bytes;
    seen.native.raw_len = u->len;
    seen.native.detail = detail;
    *out = seen;
    return true;
}
