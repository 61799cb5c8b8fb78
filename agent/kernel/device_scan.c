/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kernel/device_scan.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "agent/kernel/sysfs_file.h"
#include "agent/source/identity.h"
#include "agent/source/identity_sysfs.h"
#include "agent/source/sysfs_read.h"
#include "agent/source/uevent_message.h"

/* While there were fewer looks a new device is read again: its disk comes later, after a while that may be long. */
#define FEW_LOOKS     3
#define UNNAMED_LOOKS 24
#define SECTOR_BYTES  512 /* of "size" in sysfs, whatever the device's own blocks are */

/* ------------------------------------------------------------------------------------------------ adapters */

/* "0x500a…" to "naa.500a…"; false for anything else. */
static bool port_name(const char *text, char out[DEVICE_LIST_OWN_ID_BYTES])
{
    const char *digits = text + 2;

    if (strncmp(text, "0x", 2) != 0 || strlen(digits) != 16 || strspn(digits, "0123456789abcdef") != 16)
        return false;
    snprintf(out, DEVICE_LIST_OWN_ID_BYTES, "naa.%s", digits);
    return true;
}

static void read_own_id(const char *root, struct listed_adapter *a)
{
    char path[SYSFS_FILE_PATH_BYTES], text[DEVICE_LIST_OWN_ID_BYTES];

    snprintf(path, sizeof path, "class/fc_host/%s/port_name", a->name);
    if (sysfs_file_text(root, path, text, sizeof text) == 0 && port_name(text, a->own_id))
        return;
    snprintf(path, sizeof path, "class/iscsi_host/%s/initiatorname", a->name);
    if (sysfs_file_text(root, path, text, sizeof text) == 0 && text[0] && strcmp(text, "(null)") != 0) {
        memcpy(a->own_id, text, sizeof text);
        return;
    }
    snprintf(path, sizeof path, "class/scsi_host/%s/host_sas_address", a->name);
    if (sysfs_file_text(root, path, text, sizeof text) == 0 && port_name(text, a->own_id))
        return;
    snprintf(a->own_id, sizeof a->own_id, "%" PRId32, a->host);
}

static uint32_t read_transport(const char *root, int32_t host)
{
    const struct observation_place place = {.host = host, .channel = -1, .target = -1, .lun = -1};
    struct identity_facts facts;
    struct kernel_device device;

    if (identity_sysfs_read(root, &place, &facts) < 0)
        return 0;
    identity_from_facts(&facts, &device);
    return device.transport;
}

/* Returns 0 or UV_ENOMEM. */
static int read_adapter(const char *root, const struct dirent *entry, struct device_list *list)
{
    int32_t host = device_list_host(entry->d_name);
    struct listed_adapter *a;

    if (host < 0)
        return 0;
    a = device_list_add_adapter(list);
    if (!a)
        return list->n_adapters == DEVICE_LIST_MAX_ADAPTERS ? 0 : UV_ENOMEM;
    a->host = host;
    snprintf(a->name, sizeof a->name, "host%" PRId32, host);
    a->transport = read_transport(root, host);
    read_own_id(root, a);
    return 0;
}

/* ------------------------------------------------------------------------------------------------ devices */

static bool is_stale(const struct device_scan_known *known, const struct observation_place *p)
{
    for (size_t i = 0; i < known->n_stale; i++) {
        const struct observation_place *s = &known->stale[i];

        if (s->host == p->host && s->channel == p->channel && s->target == p->target && s->lun == p->lun)
            return true;
    }
    return false;
}

/* What the last look said of it, when that still holds. */
static const struct listed_device *still_known(const struct device_scan_known *known, const struct listed_device *now)
{
    const struct listed_device *before = known->before ? device_list_at(known->before, &now->place) : NULL;

    if (!before || before->inode != now->inode || before->looks < (before->named ? FEW_LOOKS : UNNAMED_LOOKS) ||
        strcmp(before->state, now->state) != 0 || is_stale(known, &now->place))
        return NULL;
    return before;
}

static void read_disk(const char *root, const struct identity_facts *facts, struct listed_device *d,
                      struct device_size *out)
{
    char file[2 * IDENTITY_NAME_BYTES], path[SYSFS_FILE_PATH_BYTES];
    int len = (int)facts->block.len;
    const char *name = (const char *)facts->block.bytes;
    uint64_t kib;

    *out = (struct device_size){0};
    if (len == 0 || len >= IDENTITY_NAME_BYTES)
        return;
    snprintf(file, sizeof file, "block/%.*s/queue/logical_block_size", len, name);
    out->block_bytes = (uint32_t)sysfs_file_number(root, sysfs_file_of_device(&d->place, file, path));
    snprintf(file, sizeof file, "block/%.*s/size", len, name);
    if (out->block_bytes >= SECTOR_BYTES)
        out->n_blocks =
            sysfs_file_number(root, sysfs_file_of_device(&d->place, file, path)) / (out->block_bytes / SECTOR_BYTES);
    /* What one command may carry; max_sectors_kb is what the kernel's own file systems ask for at most. */
    snprintf(file, sizeof file, "block/%.*s/queue/max_hw_sectors_kb", len, name);
    kib = sysfs_file_number(root, sysfs_file_of_device(&d->place, file, path));
    if (kib == 0) {
        snprintf(file, sizeof file, "block/%.*s/queue/max_sectors_kb", len, name);
        kib = sysfs_file_number(root, sysfs_file_of_device(&d->place, file, path));
    }
    d->maximum_transfer_bytes = kib <= UINT64_MAX / 1024 ? kib * 1024 : 0;
}

static int read_anew(const char *root, struct listed_device *d)
{
    struct identity_facts facts;
    struct kernel_device device;
    struct device_size size;
    int rc = identity_sysfs_read(root, &d->place, &facts);

    if (rc < 0)
        return rc;
    identity_from_facts(&facts, &device);
    read_disk(root, &facts, d, &size);
    return device_list_describe(d, &device, &size);
}

/* Returns 0, or a negative errno when there was no room to look. */
static int read_device(const char *root, const struct device_scan_known *known, const struct dirent *entry,
                       struct device_list *list)
{
    struct listed_device *d = device_list_add(list);
    const struct listed_device *before;
    int rc;

    if (!d)
        return list->n_devices == DEVICE_LIST_MAX_DEVICES ? 0 : UV_ENOMEM;
    uevent_place(entry->d_name, &d->place);
    d->inode = entry->d_ino;
    rc = d->place.lun < 0 ? UV_ENODEV : sysfs_file_state(root, &d->place, d->state, sizeof d->state);
    if (rc < 0) { /* no name of the kernel's, or gone in this moment; without room the look has failed */
        device_list_drop(list);
        return sysfs_no_room(rc) ? rc : 0;
    }
    before = still_known(known, d);
    if (before) {
        rc = device_list_copy(d, before);
    } else {
        const struct listed_device *last = known->before ? device_list_at(known->before, &d->place) : NULL;

        d->looks = last && last->inode == d->inode ? last->looks + 1 : 1;
        rc = read_anew(root, d);
    }
    if (rc < 0)
        device_list_drop(list);
    return rc == UV_ENOMEM ? rc : 0;
}

/* ------------------------------------------------------------------------------------------------ the look */

/* A folder of classes; NULL with *out_rc 0 when there is none. */
static DIR *open_class(const char *root, const char *class, int *out_rc, char *err, size_t err_len)
{
    char path[4096];
    DIR *folder;

    snprintf(path, sizeof path, "%s/class/%s", root, class);
    folder = opendir(path);
    *out_rc = folder || errno == ENOENT ? 0 : uv_translate_sys_error(errno);
    if (*out_rc < 0)
        snprintf(err, err_len, "%s: %s", path, uv_strerror(*out_rc));
    return folder;
}

static int scan_adapters(const char *root, struct device_list *list, char *err, size_t err_len)
{
    struct dirent *entry;
    int rc;
    DIR *folder = open_class(root, "scsi_host", &rc, err, err_len);

    for (errno = 0; folder && rc == 0 && (entry = readdir(folder)); errno = 0)
        rc = read_adapter(root, entry, list);
    if (folder && rc == 0 && errno)
        rc = uv_translate_sys_error(errno);
    if (folder && rc < 0)
        snprintf(err, err_len, "SCSI adapters: %s", uv_strerror(rc));
    if (folder)
        closedir(folder);
    return rc;
}

static int scan_devices(const char *root, const struct device_scan_known *known, struct device_list *list, char *err,
                        size_t err_len)
{
    struct dirent *entry;
    int rc;
    DIR *folder = open_class(root, "scsi_device", &rc, err, err_len);

    for (errno = 0; folder && rc == 0 && (entry = readdir(folder)); errno = 0)
        if (entry->d_name[0] != '.')
            rc = read_device(root, known, entry, list);
    if (folder && rc == 0 && errno)
        rc = uv_translate_sys_error(errno);
    if (folder && rc < 0)
        snprintf(err, err_len, "SCSI devices: %s", uv_strerror(rc));
    if (folder)
        closedir(folder);
    return rc;
}

/* Without its folder of classes this is no sysfs: then nothing is known, and not nothing there. */
static int check_root(const char *root, char *err, size_t err_len)
{
    DIR *folder;
    int rc;

    folder = open_class(root, "", &rc, err, err_len);
    if (folder)
        closedir(folder);
    else if (rc == 0)
        snprintf(err, err_len, "%s/class: %s", root, uv_strerror(rc = UV_ENOENT));
    return rc;
}

int device_scan(const char *root, const struct device_scan_known *known, struct device_list *out, char *err,
                size_t err_len)
{
    struct device_list list = {0};
    int rc = check_root(root, err, err_len);

    if (rc == 0)
        rc = scan_adapters(root, &list, err, err_len);
    if (rc == 0)
        rc = scan_devices(root, known, &list, err, err_len);
    if (rc < 0) {
        device_list_free(&list);
        return rc;
    }
    device_list_finish(&list);
    *out = list;
    return 0;
}
