/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kernel/sysfs_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "agent/source/identity.h"
#include "agent/source/sysfs_read.h"

#define PATH_BYTES 4096

/* Returns 0 or UV_ENAMETOOLONG. */
static int below(const char *root, const char *path, char out[PATH_BYTES])
{
    return snprintf(out, PATH_BYTES, "%s/%s", root, path) < PATH_BYTES ? 0 : UV_ENAMETOOLONG;
}

int sysfs_file_read(const char *root, const char *path, uint8_t *out, size_t cap)
{
    char whole[PATH_BYTES];
    int rc = below(root, path, whole);

    return rc < 0 ? rc : sysfs_read(AT_FDCWD, whole, out, cap);
}

int sysfs_file_text(const char *root, const char *path, char *out, size_t cap)
{
    char whole[PATH_BYTES];
    int rc = below(root, path, whole);

    out[0] = 0;
    return rc < 0 ? rc : sysfs_read_text(AT_FDCWD, whole, out, cap);
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
