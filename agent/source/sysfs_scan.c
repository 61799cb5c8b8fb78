/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/sysfs_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "agent/source/sysfs_changes.h"
#include "agent/source/sysfs_read.h"
#include "agent/source/uevent_message.h"

#define PATH_BYTES 4096

static const struct {
    const char *state, *target; /* files below the object */
} files[SYSFS_N_KINDS] = {
    [SYSFS_HOST] = {"state", NULL},
    [SYSFS_DEVICE] = {"device/state", NULL},
    [SYSFS_FC_HOST] = {"port_state", NULL},
    [SYSFS_RPORT] = {"port_state", "port_name"},
    [SYSFS_SESSION] = {"state", "targetname"},
};

/* Returns 0, also without such a file, or a negative errno when there was no room. */
static int read_text(int folder, const char *name, const char *file, char *out, size_t cap)
{
    char path[SYSFS_NAME_BYTES + 32];
    int rc;

    snprintf(path, sizeof path, "%s/%s", name, file);
    rc = sysfs_read_text(folder, path, out, cap);
    return sysfs_no_room(rc) ? rc : 0;
}

/* The link of a class leads to the device, whose path has the numbers. */
static void read_place(int folder, const char *name, struct observation_place *out)
{
    char link[PATH_BYTES];
    ssize_t n = readlinkat(folder, name, link, sizeof link - 1);

    link[n > 0 ? n : 0] = 0;
    uevent_place(n > 0 ? link : name, out);
}

/* Port names as in events: "naa.…". */
static int read_target(int folder, enum sysfs_kind kind, const char *name, char **out)
{
    char text[SYSFS_TARGET_BYTES], wwpn[SYSFS_TARGET_BYTES + 8];
    int rc = read_text(folder, name, files[kind].target, text, sizeof text);

    if (rc < 0 || !text[0] || strcmp(text, "(null)") == 0) /* a session that did not log in yet */
        return rc;
    snprintf(wwpn, sizeof wwpn, "naa.%s", strncmp(text, "0x", 2) == 0 ? text + 2 : text);
    *out = strdup(kind == SYSFS_RPORT ? wwpn : text);
    return *out ? 0 : UV_ENOMEM;
}

static int read_object(int folder, enum sysfs_kind kind, const struct dirent *entry, struct sysfs_look *look)
{
    struct sysfs_object *o;
    int rc;

    if (strlen(entry->d_name) >= sizeof o->name)
        return 0; /* no name of the kernel's */
    o = sysfs_look_add(look);
    if (!o)
        return look->cut ? 0 : UV_ENOMEM;
    o->kind = kind;
    strcpy(o->name, entry->d_name); /* it fits: checked above */
    o->inode = entry->d_ino;
    read_place(folder, o->name, &o->place);
    rc = read_text(folder, o->name, files[kind].state, o->state, sizeof o->state);
    if (rc == 0 && files[kind].target)
        rc = read_target(folder, kind, o->name, &o->target_name);
    if (rc == 0 && o->place.host < 0)
        sysfs_look_drop(look); /* none of the SCSI layer's, or gone in this moment */
    return rc;
}

static int scan_class(int classes, enum sysfs_kind kind, struct sysfs_look *look)
{
    int fd = openat(classes, sysfs_kind_name(kind), O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    if (!folder) {
        rc = errno == ENOENT ? 0 : uv_translate_sys_error(errno);
        if (fd >= 0)
            close(fd);
        return rc;
    }
    for (errno = 0; rc == 0 && (entry = readdir(folder)); errno = 0)
        if (entry->d_name[0] != '.')
            rc = read_object(fd, kind, entry, look);
    if (rc == 0 && errno)
        rc = uv_translate_sys_error(errno);
    closedir(folder);
    return rc;
}

int sysfs_scan(const char *root, struct sysfs_look *out, char *err, size_t err_len)
{
    char path[PATH_BYTES];
    struct sysfs_look look = {0};
    int classes, rc = 0;

    snprintf(path, sizeof path, "%s/class", root);
    classes = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (classes < 0) {
        rc = uv_translate_sys_error(errno);
        snprintf(err, err_len, "%s: %s%s", path, uv_strerror(rc),
                 rc == UV_ENOENT ? ": mount sysfs, or give its place (--sysfs)" : "");
        return rc;
    }
    for (enum sysfs_kind kind = 0; rc == 0 && kind < SYSFS_N_KINDS; kind++) {
        rc = scan_class(classes, kind, &look);
        if (rc < 0)
            snprintf(err, err_len, "%s/%s: %s", path, sysfs_kind_name(kind), uv_strerror(rc));
    }
    close(classes);
    if (rc < 0) {
        sysfs_look_free(&look);
        return rc;
    }
    sysfs_look_finish(&look);
    *out = look;
    return 0;
}
