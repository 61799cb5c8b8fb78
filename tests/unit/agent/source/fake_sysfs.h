/* SPDX-License-Identifier: Apache-2.0 */
/* A tree as sysfs shows it, in a temporary folder. */
#pragma once

#include <limits.h>

struct fake_sysfs {
    char root[64];
};

void fake_sysfs_make(struct fake_sysfs *f);
void fake_sysfs_remove(struct fake_sysfs *f);
/* Write `text` and an end of line into a file; folders are made. */
void fake_sysfs_write(struct fake_sysfs *f, const char *path, const char *text);
/* An object of a class: its folder below devices/, and the link to it in class/. */
void fake_sysfs_add(struct fake_sysfs *f, const char *class, const char *device_path, const char *file,
                    const char *text);
/* Remove a folder or file with everything in it. */
void fake_sysfs_delete(struct fake_sysfs *f, const char *path);
