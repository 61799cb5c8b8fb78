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

/* Names in a folder that are looked at; a folder with more is cut. */
#define MAX_ENTRIES 8192

/* ------------------------------------------------------------------------------------------------ reading */

/* A folder below `parent`; NULL with errno. */
static DIR *open_folder(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);

    if (fd >= 0 && !folder)
        close(fd);
    return folder;
}

/* The beginning of a plain file. Returns its length, or -1; the snapshot is cut when it is there but cannot be read. */
static ssize_t read_file(int parent, const char *name, char out[LIO_FILE_BYTES], struct snapshot *s)
{
    int fd = openat(parent, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    ssize_t n, used = 0;

    if (fd < 0) {
        s->cut = s->cut || errno != ENOENT;
        return -1;
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        s->cut = true;
        close(fd);
        return -1;
    }
    while (used < LIO_FILE_BYTES && (n = read(fd, out + used, (size_t)(LIO_FILE_BYTES - used))) > 0)
        used += n;
    close(fd);
    if (used == LIO_FILE_BYTES)
        s->cut = true;
    return used;
}

/* The next name that is not hidden, NULL at the end. */
static const char *next_name(DIR *folder, size_t *n_seen, struct snapshot *s)
{
    struct dirent *entry;

    while ((entry = readdir(folder))) {
        if (++*n_seen > MAX_ENTRIES) {
            s->cut = true;
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

static int read_acls(int group, struct snapshot *s)
{
    char text[LIO_FILE_BYTES], path[TARGET_NAME_BYTES + 8];
    DIR *folder = open_folder(group, "acls");
    size_t n_seen = 0;
    const char *name;
    int rc = 0;

    if (!folder) {
        s->cut = s->cut || errno != ENOENT;
        return 0;
    }
    while (rc == 0 && (name = next_name(folder, &n_seen, s))) {
        ssize_t len;

        if (!target_name_valid(name)) {
            s->cut = true;
            continue;
        }
        snprintf(path, sizeof path, "%s/info", name);
        len = read_file(dirfd(folder), path, text, s);
        if (len > 0)
            rc = read_info(text, (size_t)len, name, s);
    }
    closedir(folder);
    return rc;
}

/* A name a line, and a NUL behind each line: initiators without an entry of their own. Nothing else is known of them.
 */
static int read_dynamic(int group, struct snapshot *s)
{
    char text[LIO_FILE_BYTES + 1];
    ssize_t len = read_file(group, "dynamic_sessions", text, s);
    int rc = 0;

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

static bool has_backstore(int luns, const char *name, struct snapshot *s)
{
    DIR *folder = open_folder(luns, name);
    size_t n_seen = 0;
    bool found = false;
    const char *entry;
    struct stat st;

    while (folder && !found && (entry = next_name(folder, &n_seen, s)))
        found = fstatat(dirfd(folder), entry, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode);
    if (folder)
        closedir(folder);
    return found;
}

static int read_luns(int group, struct snapshot *s)
{
    DIR *folder = open_folder(group, "lun");
    size_t n_seen = 0;
    const char *name;
    uint32_t lun;
    int rc = 0;

    if (!folder) {
        s->cut = s->cut || errno != ENOENT;
        return 0;
    }
    while (rc == 0 && (name = next_name(folder, &n_seen, s))) {
        if (numbered(name, "lun_", SNAPSHOT_MAX_LUN, &lun))
            rc = snapshot_add_lun(s, lun, has_backstore(dirfd(folder), name, s));
        else
            s->cut = true;
    }
    closedir(folder);
    return rc;
}

/* ------------------------------------------------------------------------------------------------ targets */

static int read_group(int target, const char *name, uint32_t tag, const char *group_name, struct snapshot *s)
{
    DIR *group = open_folder(target, group_name);
    char text[LIO_FILE_BYTES];
    int rc;

    if (!group)
        return 0;
    rc = snapshot_add_target(s, (int32_t)tag, name, strlen(name));
    if (rc == 0)
        snapshot_set_target_online(s, read_file(dirfd(group), "enable", text, s) > 0 && text[0] == '1');
    if (rc == 0)
        rc = read_luns(dirfd(group), s);
    if (rc == 0)
        rc = read_acls(dirfd(group), s);
    if (rc == 0)
        rc = read_dynamic(dirfd(group), s);
    closedir(group);
    return rc;
}

static int read_target(int fabric, const char *name, struct snapshot *s)
{
    DIR *folder = open_folder(fabric, name);
    size_t n_seen = 0;
    const char *group;
    uint32_t tag;
    int rc = 0;

    while (folder && rc == 0 && (group = next_name(folder, &n_seen, s)))
        if (numbered(group, "tpgt_", UINT16_MAX, &tag))
            rc = read_group(dirfd(folder), name, tag, group, s);
    if (folder)
        closedir(folder);
    return rc;
}

int lio_scan(const char *root, struct snapshot *out, char *err, size_t err_len)
{
    char path[4096];
    DIR *fabric;
    size_t n_seen = 0;
    const char *name;
    int rc = 0;

    memset(out, 0, sizeof *out);
    snprintf(path, sizeof path, "%s/iscsi", root);
    fabric = open_folder(AT_FDCWD, path);
    if (!fabric) {
        rc = uv_translate_sys_error(errno);
        snprintf(err, err_len, "%s: %s", path, uv_strerror(rc));
        return rc;
    }
    while (rc == 0 && (name = next_name(fabric, &n_seen, out)))
        if (target_name_valid(name)) /* "discovery_auth" and the like are none */
            rc = read_target(dirfd(fabric), name, out);
    closedir(fabric);
    if (rc < 0) {
        snapshot_free(out);
        snprintf(err, err_len, "%s", uv_strerror(rc));
    } else {
        snapshot_finish(out);
    }
    return rc;
}
