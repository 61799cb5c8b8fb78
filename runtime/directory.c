/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

/* The entry of `path` in the directory above it, onto the disk. One that we may not read cannot be synced. */
static int sync_above(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int above = fd < 0 ? -1 : openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = above < 0 || fsync(above) < 0 ? errno : 0;
    if (above >= 0)
        close(above);
    if (fd >= 0)
        close(fd);
    return error == EACCES ? 0 : uv_translate_sys_error(error);
}

static int make_one(const char *path)
{
    struct stat st;
    if (mkdir(path, 0700) == 0)
        return sync_above(path);
    int error = errno;
    /* "/" on a read-only root is EROFS, a mount point of others EACCES: what is there need not be made. */
    if (stat(path, &st) < 0)
        return uv_translate_sys_error(error);
    return S_ISDIR(st.st_mode) ? 0 : UV_ENOTDIR;
}

int directory_make(const char *path)
{
    char part[PATH_MAX];
    size_t len = strlen(path);
    if (len == 0)
        return UV_ENOENT;
    if (len >= sizeof part)
        return UV_ENAMETOOLONG;
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != 0)
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        int rc = make_one(part);
        if (rc < 0)
            return rc;
    }
    return 0;
}
