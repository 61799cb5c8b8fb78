/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/store_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#define BOOT_ID_SIZE 64
#define LOCK         "lock"
#define MARKER       "relaxed"

char *store_files_path(const char *directory, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", directory, name) < 0 ? NULL : path;
}

/* ---- directories */

int store_files_sync_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = fsync(fd) == 0 || errno == EINVAL || errno == EROFS ? 0 : -errno;
    close(fd);
    return rc;
}

int store_files_make_directory(const char *path)
{
    if (mkdir(path, 0700) < 0)
        return errno == EEXIST ? 0 : -errno;
    char *parent = store_files_path(path, "..");
    if (!parent)
        return UV_ENOMEM;
    int rc = store_files_sync_directory(parent);
    free(parent);
    /* A parent we may not read cannot be synced; the directory is there all the same. */
    return rc == UV_EACCES ? 0 : rc;
}

/* ---- the lock */

int store_files_lock(const char *directory, bool shared, int *out_fd)
{
    char *path = store_files_path(directory, LOCK);
    if (!path)
        return UV_ENOMEM;
    int fd = open(path, shared ? O_RDONLY | O_CLOEXEC : O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int rc = fd < 0 ? -errno : 0;
    free(path);
    if (rc == UV_ENOENT && shared) {
        *out_fd = -1;
        return 0;
    }
    if (rc < 0)
        return rc;
    if (flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0) {
        rc = errno == EWOULDBLOCK ? UV_EBUSY : -errno;
        close(fd);
        return rc;
    }
    *out_fd = fd;
    return 0;
}

/* ---- the marker */

/* False when the file cannot be read or its first line is empty. */
static bool read_line(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, out, size - 1);
    close(fd);
    if (n < 0)
        n = 0;
    out[n] = '\0';
    out[strcspn(out, "\n")] = '\0';
    return out[0] != '\0';
}

static void read_boot_id(char out[BOOT_ID_SIZE])
{
    if (!read_line("/proc/sys/kernel/random/boot_id", out, BOOT_ID_SIZE))
        snprintf(out, BOOT_ID_SIZE, "unknown");
}

int store_files_mark(const char *directory, enum store_files_mark *out_mark)
{
    char boot[BOOT_ID_SIZE], marked[BOOT_ID_SIZE];
    char *path = store_files_path(directory, MARKER);
    if (!path)
        return UV_ENOMEM;
    read_boot_id(boot);
    if (access(path, F_OK) != 0)
        *out_mark = STORE_MARK_NONE;
    else if (read_line(path, marked, sizeof marked) && strcmp(marked, boot) == 0)
        *out_mark = STORE_MARK_RELAXED;
    else
        *out_mark = STORE_MARK_UNSAFE;
    free(path);
    return 0;
}

static int write_line(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    size_t len = strlen(text);
    ssize_t n = write(fd, text, len);
    int rc = n < 0 ? -errno : (size_t)n != len ? UV_ENOSPC : fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

int store_files_set_mark(const char *directory)
{
    char boot[BOOT_ID_SIZE];
    char *path = store_files_path(directory, MARKER);
    if (!path)
        return UV_ENOMEM;
    read_boot_id(boot);
    int rc = write_line(path, boot);
    free(path);
    return rc ? rc : store_files_sync_directory(directory);
}

int store_files_clear_mark(const char *directory)
{
    char *path = store_files_path(directory, MARKER);
    if (!path)
        return UV_ENOMEM;
    int rc = unlink(path) < 0 ? -errno : 0;
    free(path);
    if (rc == UV_ENOENT)
        return 0;
    return rc ? rc : store_files_sync_directory(directory);
}

int store_files_set_aside(const char *directory, const char *name)
{
    int rc = UV_ENOMEM;
    char *data = store_files_path(directory, "data.mdb"), *aside = store_files_path(directory, name),
         *readers = store_files_path(directory, "lock.mdb");
    if (data && aside && readers) {
        bool is_moved = rename(data, aside) == 0 || errno == ENOENT;
        rc = !is_moved || (unlink(readers) < 0 && errno != ENOENT) ? -errno : store_files_sync_directory(directory);
    }
    free(data);
    free(aside);
    free(readers);
    return rc;
}
