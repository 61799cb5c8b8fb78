/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kernel/reset.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/kernel/sysfs_file.h"

/* include/scsi/sg.h of the kernel; the C library's copy lacks the last ones. */
#define SG_SCSI_RESET             0x2284
#define SG_SCSI_RESET_NO_ESCALATE 0x100

#define NAME_BYTES 64
#define PATH_BYTES 256

struct reset {
    struct resets *owner; /* NULL: cancelled */
    struct reset *next, **link;
    uv_work_t work;
    char *sysfs_root, *dev;
    struct observation_place place;
    int mode;
    int rc;
    char words[RESET_WORDS_BYTES];
    reset_cb cb;
    void *data;
};

/* ------------------------------------------------------------------------------------------------ on the pool */

/* The name of the device's node of this kind ("scsi_generic", "block"), and its number. False when it has none. */
static bool find_node(const struct reset *r, const char *kind, char name[NAME_BYTES], dev_t *out_number)
{
    char path[SYSFS_FILE_PATH_BYTES], whole[4096], file[2 * NAME_BYTES], text[32];
    unsigned major, minor;
    struct dirent *entry;
    bool found = false;
    DIR *folder;

    snprintf(whole, sizeof whole, "%s/%s", r->sysfs_root, sysfs_file_of_device(&r->place, kind, path));
    folder = opendir(whole);
    while (folder && !found && (entry = readdir(folder))) {
        found = entry->d_name[0] != '.' && strlen(entry->d_name) < NAME_BYTES;
        if (found)
            strcpy(name, entry->d_name); /* it fits: checked above */
    }
    if (folder)
        closedir(folder);
    if (!found)
        return false;
    snprintf(file, sizeof file, "%s/%s/dev", kind, name);
    if (sysfs_file_text(r->sysfs_root, sysfs_file_of_device(&r->place, file, path), text, sizeof text) < 0 ||
        sscanf(text, "%u:%u", &major, &minor) != 2)
        return false;
    *out_number = makedev(major, minor);
    return true;
}

static int fail(struct reset *r, int rc, const char *path, const char *hint)
{
    snprintf(r->words, sizeof r->words, "%s: %s%s", path, uv_strerror(rc), hint);
    return rc;
}

static int ask(struct reset *r, const char *path, int fd, dev_t number)
{
    int mode = r->mode | SG_SCSI_RESET_NO_ESCALATE;
    struct stat st;

    if (fstat(fd, &st) < 0)
        return fail(r, uv_translate_sys_error(errno), path, "");
    if ((!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode)) || st.st_rdev != number) {
        snprintf(r->words, sizeof r->words, "%s is not the node of the device, which has number %u:%u", path,
                 major(number), minor(number));
        return UV_ENOENT;
    }
    if (ioctl(fd, SG_SCSI_RESET, &mode) == 0)
        return 0;
    return fail(r, uv_translate_sys_error(errno), path,
                errno == EACCES || errno == EPERM ? ": SG_SCSI_RESET needs CAP_SYS_ADMIN and CAP_SYS_RAWIO" : "");
}

static int reset_device(struct reset *r)
{
    char name[NAME_BYTES], path[PATH_BYTES], state[32];
    dev_t number;
    int fd, rc;

    rc = sysfs_file_state(r->sysfs_root, &r->place, state, sizeof state);
    if (rc < 0)
        return fail(r, rc, "the device", "");
    if (!find_node(r, "scsi_generic", name, &number) && !find_node(r, "block", name, &number)) {
        snprintf(r->words, sizeof r->words, "the device has no node: sg is not loaded, and it is no disk");
        return UV_ENOENT;
    }
    snprintf(path, sizeof path, "%.120s/%s", r->dev, name);
    fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 && (errno == EROFS || errno == EACCES)) /* read-only medium, or the node's group may only read */
        fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        rc = uv_translate_sys_error(errno);
        return fail(r, rc == UV_ENXIO ? UV_ENODEV : rc, path, "");
    }
    rc = ask(r, path, fd, number);
    close(fd);
    return rc;
}

static void on_work(uv_work_t *work)
{
    struct reset *r = work->data;

    r->rc = reset_device(r);
}

/* ------------------------------------------------------------------------------------------------ on the loop */

static void reset_free(struct reset *r)
{
    free(r->sysfs_root);
    free(r->dev);
    free(r);
}

static void leave(struct reset *r)
{
    *r->link = r->next;
    if (r->next)
        r->next->link = r->link;
    r->owner->n--;
    r->owner = NULL;
}

static void on_done(uv_work_t *work, int status)
{
    struct reset *r = work->data;

    (void)status;
    if (r->owner) {
        leave(r);
        r->cb(r->data, r->rc, r->words);
    }
    reset_free(r);
}

int resets_begin(struct resets *s, uv_loop_t *loop, const char *sysfs_root, const char *dev,
                 const struct observation_place *place, int mode, reset_cb cb, void *data)
{
    struct reset *r;
    int rc;

    if (s->n == RESETS_MAX)
        return UV_EBUSY;
    r = calloc(1, sizeof *r);
    if (!r)
        return UV_ENOMEM;
    r->sysfs_root = strdup(sysfs_root);
    r->dev = strdup(dev);
    r->place = *place;
    r->mode = mode;
    r->cb = cb;
    r->data = data;
    r->work.data = r;
    rc = r->sysfs_root && r->dev ? uv_queue_work(loop, &r->work, on_work, on_done) : UV_ENOMEM;
    if (rc < 0) {
        reset_free(r);
        return rc;
    }
    r->owner = s;
    r->next = s->first;
    r->link = &s->first;
    if (s->first)
        s->first->link = &r->next;
    s->first = r;
    s->n++;
    return 0;
}

void resets_cancel(struct resets *s)
{
    while (s->first) {
        struct reset *r = s->first;

        leave(r);
        r->cb(r->data, UV_ECANCELED, "the agent stops");
    }
}
