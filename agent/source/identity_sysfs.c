/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/identity_sysfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "agent/source/sysfs_read.h"

#define PATH_BYTES 1024

/* ------------------------------------------------------------------------------------------------ files */

/* Nothing when it is longer. */
static void read_text(int folder, const char *path, struct identity_file *out)
{
    uint8_t bytes[sizeof out->bytes + 1];
    int n = sysfs_read(folder, path, bytes, sizeof bytes);

    out->len = n > 0 && (size_t)n <= sizeof out->bytes ? (size_t)n : 0;
    memcpy(out->bytes, bytes, out->len);
}

/* A page may be cut: its parser knows what to do with that. */
static void read_page(int folder, const char *path, struct identity_page_file *out)
{
    int n = sysfs_read(folder, path, out->bytes, sizeof out->bytes);

    out->len = n > 0 ? (size_t)n : 0;
}

/* Runs `each` for the names in a folder, until it says stop. */
static void for_each(int folder, const char *path, bool (*each)(void *data, const char *name), void *data)
{
    int fd = openat(folder, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (!dir) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.' && !each(data, entry->d_name))
            break;
    closedir(dir);
}

/* The shortest name: "st0" before "nst0a". */
static bool take_shortest(void *data, const char *name)
{
    struct identity_file *f = data;
    size_t len = strlen(name);

    if (len <= sizeof f->bytes && (f->len == 0 || len < f->len || (len == f->len && memcmp(name, f->bytes, len) < 0))) {
        memcpy(f->bytes, name, len);
        f->len = len;
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------ one device */

/* The component of a path that begins with `prefix` and a digit, as text. False when there is none. */
static bool find_part(const char *path, const char *prefix, char out[IDENTITY_NAME_BYTES])
{
    size_t len = strlen(prefix);
    bool found = false;

    for (const char *p = path; *p; p += strcspn(p, "/")) {
        size_t n;

        p += strspn(p, "/");
        n = strcspn(p, "/");
        if (strncmp(p, prefix, len) == 0 && p[len] >= '0' && p[len] <= '9' && n < IDENTITY_NAME_BYTES) {
            memcpy(out, p, n);
            out[n] = 0;
            found = true;
        }
    }
    return found;
}

struct one_session {
    char name[IDENTITY_NAME_BYTES];
    unsigned n;
};

static bool count_session(void *data, const char *name)
{
    struct one_session *s = data;

    if (find_part(name, "session", s->name))
        s->n++;
    return s->n < 2;
}

static void read_iscsi(int root, const char *session, struct identity_facts *out)
{
    char path[PATH_BYTES];
    const char *number = session + strlen("session");

    snprintf(path, sizeof path, "class/iscsi_session/%s/targetname", session);
    read_text(root, path, &out->iscsi_target);
    snprintf(path, sizeof path, "class/iscsi_session/%s/tpgt", session);
    read_text(root, path, &out->iscsi_tpgt);
    snprintf(path, sizeof path, "class/iscsi_connection/connection%s:0/persistent_address", number);
    read_text(root, path, &out->iscsi_address);
    snprintf(path, sizeof path, "class/iscsi_connection/connection%s:0/persistent_port", number);
    read_text(root, path, &out->iscsi_port);
}

static void read_transport(int root, int device, struct identity_facts *out)
{
    char part[IDENTITY_NAME_BYTES], path[PATH_BYTES];
    struct one_session only = {.n = 0};

    snprintf(path, sizeof path, "class/scsi_host/host%" PRId32 "/proc_name", out->place.host);
    read_text(root, path, &out->proc_name);
    if (out->place.target < 0)
        for_each(device, ".", count_session, &only);
    if (only.n == 1)
        read_iscsi(root, only.name, out);
    else if (find_part(out->path, "session", part))
        read_iscsi(root, part, out);
    if (find_part(out->path, "rport-", part)) {
        snprintf(path, sizeof path, "class/fc_remote_ports/%s/port_name", part);
        read_text(root, path, &out->port_name);
    } else if (find_part(out->path, "end_device-", part)) {
        snprintf(path, sizeof path, "class/sas_device/%s/sas_address", part);
        read_text(root, path, &out->port_name);
    }
}

struct map_search {
    int holders;
    struct identity_facts *out;
};

static bool take_map(void *data, const char *holder)
{
    struct map_search *s = data;
    char path[PATH_BYTES];

    snprintf(path, sizeof path, "%s/dm/uuid", holder);
    read_text(s->holders, path, &s->out->map_uuid);
    snprintf(path, sizeof path, "%s/dm/name", holder);
    read_text(s->holders, path, &s->out->map_name);
    return s->out->map_uuid.len < 6 || memcmp(s->out->map_uuid.bytes, "mpath-", 6) != 0;
}

static void read_names(int device, struct identity_facts *out)
{
    struct map_search search = {.out = out};
    char path[PATH_BYTES];

    for_each(device, "block", take_shortest, &out->block);
    for_each(device, "scsi_generic", take_shortest, &out->generic);
    for_each(device, "scsi_tape", take_shortest, &out->other);
    if (out->other.len == 0)
        for_each(device, "scsi_changer", take_shortest, &out->other);
    if (out->block.len == 0)
        return;
    snprintf(path, sizeof path, "block/%.*s/holders", (int)out->block.len, (const char *)out->block.bytes);
    search.holders = openat(device, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (search.holders < 0)
        return;
    for_each(search.holders, ".", take_map, &search);
    close(search.holders);
}

/* The part below /sys of what a link in bus/scsi/devices points to. */
static void read_path(int root, const char *link, char out[IDENTITY_PATH_BYTES])
{
    char target[IDENTITY_PATH_BYTES];
    ssize_t n = readlinkat(root, link, target, sizeof target);
    const char *devices;

    out[0] = 0;
    if (n <= 0 || (size_t)n >= sizeof target)
        return;
    target[n] = 0;
    devices = strstr(target, "/devices/");
    if (devices)
        memmove(out, devices, strlen(devices) + 1);
}

static void read_device(int root, int device, struct identity_facts *out)
{
    read_transport(root, device, out);
    if (out->place.lun < 0)
        return;
    read_text(device, "vendor", &out->vendor);
    read_text(device, "model", &out->model);
    read_text(device, "rev", &out->rev);
    read_text(device, "type", &out->type);
    read_text(device, "wwid", &out->wwid);
    read_page(device, "inquiry", &out->inquiry);
    read_page(device, "vpd_pg80", &out->vpd_pg80);
    read_page(device, "vpd_pg83", &out->vpd_pg83);
    read_names(device, out);
}

int identity_sysfs_read(const char *root, const struct observation_place *place, struct identity_facts *out)
{
    char name[IDENTITY_NAME_BYTES], link[PATH_BYTES];
    int dir, device, rc = 0;

    if (place->host < 0)
        return UV_ENOENT;
    dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    memset(out, 0, sizeof *out);
    out->place = *place;
    snprintf(link, sizeof link, "bus/scsi/devices/%s", identity_place_text(place, name));
    device = openat(dir, link, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (device < 0) {
        rc = -errno;
    } else {
        read_path(dir, link, out->path);
        read_device(dir, device, out);
        close(device);
    }
    close(dir);
    return rc;
}

/* ------------------------------------------------------------------------------------------------ with the cache */

static void refresh(struct identity_cache *c, const char *root, const struct observation_place *place, uint64_t now_ns)
{
    struct identity_facts facts;
    struct kernel_device device;

    if (identity_sysfs_read(root, place, &facts) < 0) {
        identity_cache_absent(c, place, now_ns);
        return;
    }
    identity_from_facts(&facts, &device);
    if (identity_cache_put(c, &device, now_ns) < 0)
        identity_cache_absent(c, place, now_ns); /* no memory: the numbers must do until it is read again */
}

void identity_sysfs_resolve(const char *root, struct observation *o)
{
    struct identity_file id;
    char path[PATH_BYTES], text[16], *end;
    int dir;
    long n;

    if (!o->object || strncmp(o->object, "rport-", 6) != 0 || strchr(o->object, '/') || o->place.target >= 0)
        return;
    dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return;
    snprintf(path, sizeof path, "class/fc_remote_ports/%s/scsi_target_id", o->object);
    read_text(dir, path, &id);
    close(dir);
    if (id.len == 0 || id.len >= sizeof text)
        return;
    memcpy(text, id.bytes, id.len);
    text[id.len] = 0;
    n = strtol(text, &end, 10);
    if (end > text && (*end == '\n' || *end == 0) && n >= 0 && n <= INT32_MAX)
        o->place.target = (int32_t)n;
}

const struct kernel_device *identity_sysfs_find(struct identity_cache *c, const char *root,
                                                const struct observation_place *place, uint64_t boot_ns,
                                                uint64_t now_ns, struct kernel_device *fallback)
{
    const struct kernel_device *d;

    if (place->host >= 0 && identity_cache_wants(c, place, now_ns))
        refresh(c, root, place, now_ns);
    d = identity_cache_at(c, place, boot_ns);
    if (d)
        return d;
    identity_from_place(place, fallback);
    return fallback;
}
