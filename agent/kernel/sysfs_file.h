/* SPDX-License-Identifier: Apache-2.0 */
/* Reads single files of sysfs. What they hold is hostile text of devices: lengths are checked, text becomes valid
 * UTF-8. `root` is "/sys", another in tests. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "agent/source/observation.h"

#define SYSFS_FILE_PATH_BYTES 512

/* Up to `cap` bytes of ROOT/`path`. Returns how many, or a negative errno. */
int sysfs_file_read(const char *root, const char *path, uint8_t *out, size_t cap);
/* Its first line as text, cut; "" when there is none. Returns 0 or a negative errno; the text is "" then. */
int sysfs_file_text(const char *root, const char *path, char *out, size_t cap);
/* Its first line as a number; 0 when it is none. */
uint64_t sysfs_file_number(const char *root, const char *path);

/* "bus/scsi/devices/3:0:0:4/FILE"; `file` may be "". Returns `buf`. */
const char *sysfs_file_of_device(const struct observation_place *place, const char *file,
                                 char buf[SYSFS_FILE_PATH_BYTES]);
/* The state of a device in the kernel's words ("running"). Returns as sysfs_file_text, UV_ENODEV when the kernel has no
 * such device. */
int sysfs_file_state(const char *root, const struct observation_place *place, char *out, size_t cap);
