/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kernel/sysfs_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "agent/identify.h"
#include "agent/source/identity.h"

#define PATH_BYTES 4096

static int read_all(int fd, uint8_t *out, size_t cap)
{
    struct stat st;
    size_t len = 0;
    ssize_t n = 1;

    if (fstat(fd, &st) < 0)
        return uv_translate_sys_error(errno);
    if (!S_ISREG(st.st_mode))
        return UV_EINVAL;
    while (len < cap && (n = read(fd, out + len, cap - len)) > 0)
        len += (size_t)n;
    return n < 0 ? uv_translate_sys_error(errno) : (int)len;
}

int sysfs_file_read(const char *root, const char *path, uint8_t *out, size_t cap)
{
    char whole[PATH_BYTES];
    int fd, rc;

    if (snprintf(whole, sizeof whole, "%s/%s", root, path) >= (int)sizeof whole)
        return UV_ENAMETOOLONG;
    fd = open(whole, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return uv_translate_sys_error(errno);
    rc = read_all(fd, out, cap);
    close(fd);
    return rc;
}

int sysfs_file_text(const char *root, const char *path, char *out, size_t cap)
{
    uint8_t bytes[256];
    int n = sysfs_file_read(root, path, bytes, sizeof bytes);
    const uint8_t *end = n > 0 ? memchr(bytes, '\n', (size_t)n) : NULL;

    out[0] = 0;
    if (n > 0)
        identify_text(bytes, end ? (size_t)(end - bytes) : (size_t)n, out, cap);
    return n < 0 ? n : 0;
}

uint64_t sysfs_file_number(const char *root, const char *path)
{
    char text[32], *end;
    unsigned long long n;

    if (sysfs_file_text(root, path, text, sizeof text) < 0 || text[0] < '0' || text[0] > '9')
        return 0;
    errno = 0;
    n = strtoull(text, &end, 10);
    return *end || errno ? 0 : n;
}

const char *sysfs_file_of_device(const struct observation_place *place, const char *file,
                                 char buf[SYSFS_FILE_PATH_BYTES])
{
    char name[IDENTITY_NAME_BYTES];

    snprintf(buf, SYSFS_FILE_PATH_BYTES, "bus/scsi/devices/%s/%s", identity_place_text(place, name), file);
    return buf;
}

int sysfs_file_state(const char *root, const struct observation_place *place, char *out, size_t cap)
{
    char path[SYSFS_FILE_PATH_BYTES];
    int rc = sysfs_file_text(root, sysfs_file_of_device(place, "state", path), out, cap);

    return rc == UV_ENOENT ? UV_ENODEV : rc;
}
