/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/target/lio_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "agent/target/snapshot.h"
#include "agent/target_url.h"

/* Names of all folders that are looked at: several times what the bounds of the snapshot need. The rest is cut. */
#define MAX_NAMES (1 << 18)

struct scan {
    struct snapshot *s;
    size_t n_names;
};

/* ------------------------------------------------------------------------------------------------ reading */

/* Something was not opened. What is not there is not there, what must not be read is cut; but when the host has no room
 * the look has failed: else all that was not seen would pass for gone. Returns 0, or a negative errno for the last. */
static int not_opened(struct snapshot *s, int error)
{
    switch (error) {
    case ENOENT: return 0;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EIO: return uv_translate_sys_error(error);
    default: s->cut = true; return 0;
    }
}

static DIR *open_at(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);

    if (fd >= 0 && !folder)
        close(fd);
    return folder;
}

/* A folder below `parent`; NULL with *out_rc as of not_opened. */
static DIR *open_folder(int parent, const char *name, struct snapshot *s, int *out_rc)
{
    DIR *folder = open_at(parent, name);

    *out_rc = folder ? 0 : not_opened(s, errno);
    return folder;
}

/* The beginning of a plain file. Returns its length, 0 without one, or as not_opened. */
static ssize_t read_file(int parent, const char *name, char out[LIO_FILE_BYTES], struct snapshot *s)
{
    int fd = openat(parent, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    ssize_t n, used = 0;

    if (fd < 0)
        return not_opened(s, errno);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        s->cut = true;
        close(fd);
        return 0;
    }
    while (used < LIO_FILE_BYTES && (n = read(fd, out + used, (size_t)(LIO_FILE_BYTES - used))) > 0)
        used += n;
    close(fd);
    if (used == LIO_FILE_BYTES)
        s->cut = true;
    return used;
}

/* The next name that is not hidden, NULL at the end. */
static const char *next_name(DIR *folder, struct scan *scan)
{
    struct dirent *entry;

    while ((entry = readdir(folder))) {
        if (++scan->n_names > MAX_NAMES) {
            scan->s->cut = true;
            return NULL;
        }
        if (entry->d_name[0] != '.')
            return entry->d_name;
    }
    return NULL;
}

/* "PREFIX<number>", at most `max`. */
static bool numbered(const char *name, const char *prefix, uint32_t max, uint32_t *out)
{
    uint64_t value = 0;
    size_t n = strlen(prefix);

    if (strncmp(name, prefix, n) != 0 || !name[n])
        return false;
    for (const char *p = name + n; *p; p++) {
        if (*p < '0' || *p > '9')
            return false;
        value = 10 * value + (uint64_t)(*p - '0');
        if (value > max)
            return false;
    }
    *out = (uint32_t)value;
    return true;
}

/* ------------------------------------------------------------------------------------------------ nexuses */

/* Behind "KEY", up to one of the characters of `stop`; NULL when the text has no such key. */
static const char *find_value(const char *text, size_t len, const char *key, const char *stop, size_t *out_len)
{
    const char *at = memmem(text, len, key, strlen(key)), *end = text + len;
    size_t n = 0;

    if (!at)
        return NULL;
    at += strlen(key);
    while (at + n < end && at[n] && !strchr(stop, at[n]))
        n++;
    *out_len = n;
    return at;
}

static uint64_t number_of(const char *text, size_t len)
{
    uint64_t value = 0;

    for (size_t i = 0; i < len && text[i] >= '0' && text[i] <= '9' && value < UINT32_MAX; i++)
        value = 10 * value + (uint64_t)(text[i] - '0');
    return value;
}

/* "InitiatorName: …", "LIO Session ID: 2   ISID: …", "   Address 192.0.2.1 TCP  StatSN: …"; without a session it says
 * "No active iSCSI Session for Initiator Endpoint". */
static int read_info(const char *text, size_t len, const char *initiator, struct snapshot *s)
{
    size_t value_len;
    const char *value = find_value(text, len, "LIO Session ID: ", " \n", &value_len);
    int rc;

    if (!value)
        return 0;
    rc = snapshot_add_nexus(s, number_of(value, value_len));
    if (rc < 0)
        return rc;
    snapshot_set_initiator(s, initiator, strlen(initiator));
    value = find_value(text, len, "   Address ", " \n", &value_len);
    if (value)
        snapshot_set_address(s, value, value_len);
    return 0;
}

static int read_acl(int acls, const char *initiator, struct snapshot *s)
{
    char text[LIO_FILE_BYTES];
    ssize_t len;
    DIR *folder;
    int rc;

    if (!target_name_valid(initiator)) {
        s->cut = true;
        return 0;
    }
    folder = open_folder(acls, initiator, s, &rc);
    if (!folder)
        return rc;
    len = read_file(dirfd(folder), "info", text, s);
    closedir(folder);
    return len > 0 ? read_info(text, (size_t)len, initiator, s) : (int)len;
}

static int read_acls(int group, struct scan *scan)
{
    const char *name;
    int rc;
    DIR *folder = open_folder(group, "acls", scan->s, &rc);

    if (!folder)
        return rc;
    while (rc == 0 && (name = next_name(folder, scan)))
        rc = read_acl(dirfd(folder), name, scan->s);
    closedir(folder);
    return rc;
}

/* A name a line, and a NUL behind each line: initiators without an entry of their own. Nothing else is known of them.
 */
static int read_dynamic(int group, struct snapshot *s)
{
    char text[LIO_FILE_BYTES + 1];
    ssize_t len = read_file(group, "dynamic_sessions", text, s);
    int rc = len < 0 ? (int)len : 0;

    for (ssize_t at = 0; rc == 0 && at < len;) {
        ssize_t end = at;

        while (end < len && text[end] && text[end] != '\n')
            end++;
        text[end] = 0;
        if (target_name_valid(text + at)) {
            rc = snapshot_add_nexus(s, 0);
            if (rc == 0)
                snapshot_set_initiator(s, text + at, (size_t)(end - at));
        } else if (end > at) {
            s->cut = true;
        }
        at = end + 1;
    }
    return rc;
}

/* ------------------------------------------------------------------------------------------------ units */

static int read_lun(int luns, const char *name, uint32_t lun, struct scan *scan)
{
    int rc;
    DIR *folder = open_folder(luns, name, scan->s, &rc);
    bool has_backstore = false;
    const char *entry;
    struct stat st;

    if (!folder)
        return rc;
    while (!has_backstore && (entry = next_name(folder, scan)))
        has_backstore = fstatat(dirfd(folder), entry, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode);
    closedir(folder);
    return snapshot_add_lun(scan->s, lun, has_backstore);
}

static int read_luns(int group, struct scan *scan)
{
    const char *name;
    uint32_t lun;
    int rc;
    DIR *folder = open_folder(group, "lun", scan->s, &rc);

    if (!folder)
        return rc;
    while (rc == 0 && (name = next_name(folder, scan))) {
        if (numbered(name, "lun_", SNAPSHOT_MAX_LUN, &lun))
            rc = read_lun(dirfd(folder), name, lun, scan);
        else
            scan->s->cut = true;
    }
    closedir(folder);
    return rc;
}

/* ------------------------------------------------------------------------------------------------ targets */

static int read_group(int target, const char *name, uint32_t tag, const char *group_name, struct scan *scan)
{
    struct snapshot *s = scan->s;
    char text[LIO_FILE_BYTES];
    ssize_t len;
    int rc;
    DIR *group = open_folder(target, group_name, s, &rc);

    if (!group)
        return rc;
    len = read_file(dirfd(group), "enable", text, s);
    rc = len < 0 ? (int)len : snapshot_add_target(s, (int32_t)tag, name, strlen(name));
    if (rc == 0)
        snapshot_set_target_online(s, len > 0 && text[0] == '1');
    if (rc == 0)
        rc = read_luns(dirfd(group), scan);
    if (rc == 0)
        rc = read_acls(dirfd(group), scan);
    if (rc == 0)
        rc = read_dynamic(dirfd(group), s);
    closedir(group);
    return rc;
}

static int read_target(int fabric, const char *name, struct scan *scan)
{
    const char *group;
    uint32_t tag;
    int rc;
    DIR *folder = open_folder(fabric, name, scan->s, &rc);

    while (folder && rc == 0 && (group = next_name(folder, scan)))
        if (numbered(group, "tpgt_", UINT16_MAX, &tag))
            rc = read_group(dirfd(folder), name, tag, group, scan);
    if (folder)
        closedir(folder);
    return rc;
}

int lio_scan(const char *root, struct snapshot *out, char *err, size_t err_len)
{
    struct scan scan = {.s = out};
    char path[4096];
    DIR *fabric;
    const char *name;
    int rc = 0;

    memset(out, 0, sizeof *out);
    snprintf(path, sizeof path, "%s/iscsi", root);
    fabric = open_at(AT_FDCWD, path);
    if (!fabric) {
        rc = uv_translate_sys_error(errno);
        snprintf(err, err_len, "%s: %s", path, uv_strerror(rc));
        return rc;
    }
    while (rc == 0 && (name = next_name(fabric, &scan)))
        if (target_name_valid(name)) /* "discovery_auth" and the like are none */
            rc = read_target(dirfd(fabric), name, &scan);
    closedir(fabric);
    if (rc < 0) {
        snapshot_free(out);
        snprintf(err, err_len, "%s", uv_strerror(rc));
    } else {
        snapshot_finish(out);
    }
    return rc;
}
