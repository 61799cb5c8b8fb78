/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/agent/source/fake_sysfs.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 1024

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static void full(const struct fake_sysfs *f, const char *path, char out[PATH_BYTES])
{
    snprintf(out, PATH_BYTES, "%s/%s", f->root, path);
}

static void make_folders(struct fake_sysfs *f, char *whole)
{
    for (char *slash = whole + strlen(f->root) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = 0;
        mkdir(whole, 0700);
    }
}

void fake_sysfs_make(struct fake_sysfs *f)
{
    char path[PATH_BYTES];

    strcpy(f->root, "/tmp/sensebus-sysfs-XXXXXX");
    cr_assert_not_null(mkdtemp(f->root));
    full(f, "class", path);
    cr_assert_eq(mkdir(path, 0700), 0);
}

void fake_sysfs_remove(struct fake_sysfs *f)
{
    nftw(f->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void fake_sysfs_write(struct fake_sysfs *f, const char *path, const char *text)
{
    char whole[PATH_BYTES];
    FILE *file;

    full(f, path, whole);
    make_folders(f, whole);
    file = fopen(whole, "we");
    cr_assert_not_null(file, "%s", whole);
    fprintf(file, "%s\n", text);
    fclose(file);
}

void fake_sysfs_add(struct fake_sysfs *f, const char *class, const char *device_path, const char *file,
                    const char *text)
{
    char path[PATH_BYTES], link[PATH_BYTES], whole[PATH_BYTES];
    const char *name = strrchr(device_path, '/') + 1;

    snprintf(path, sizeof path, "devices/%s/%s", device_path, file);
    fake_sysfs_write(f, path, text);
    snprintf(path, sizeof path, "class/%s/%s", class, name);
    full(f, path, whole);
    make_folders(f, whole);
    snprintf(link, sizeof link, "../../devices/%s", device_path);
    cr_assert_eq(symlink(link, whole), 0, "%s", whole);
}

void fake_sysfs_delete(struct fake_sysfs *f, const char *path)
{
    char whole[PATH_BYTES];

    full(f, path, whole);
    nftw(whole, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
