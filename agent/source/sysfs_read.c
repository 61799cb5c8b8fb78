/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/sysfs_read.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "agent/identify.h"

#define LINE_BYTES 512

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

int sysfs_read(int folder, const char *path, uint8_t *out, size_t cap)
{
    int fd = openat(folder, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), rc;

    if (fd < 0)
        return uv_translate_sys_error(errno);
    rc = read_all(fd, out, cap);
    close(fd);
    return rc;
}

int sysfs_read_text(int folder, const char *path, char *out, size_t cap)
{
    uint8_t bytes[LINE_BYTES];
    int n = sysfs_read(folder, path, bytes, sizeof bytes);
    const uint8_t *end = n > 0 ? memchr(bytes, '\n', (size_t)n) : NULL;

    out[0] = 0;
    if (n > 0)
        identify_text(bytes, end ? (size_t)(end - bytes) : (size_t)n, out, cap);
    return n < 0 ? n : 0;
}

bool sysfs_no_room(int rc)
{
    return rc == UV_EMFILE || rc == UV_ENFILE || rc == UV_ENOMEM;
}
