/* SPDX-License-Identifier: Apache-2.0 */
/* Reads one file of sysfs. What it holds is hostile text of devices: lengths are checked, text becomes valid UTF-8.
 * Only regular files are read, and none is waited for.
 *
 * `path` is below the open folder `folder`, or absolute with AT_FDCWD. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Up to `cap` bytes. Returns how many, or a negative errno. */
int sysfs_read(int folder, const char *path, uint8_t *out, size_t cap);
/* The first line as text, cut; "" when there is none. Returns 0, or a negative errno; the text is "" then. */
int sysfs_read_text(int folder, const char *path, char *out, size_t cap);
/* Is this errno that of a host that has no room? Then the look has failed: else all that was not seen would pass for
 * gone. */
bool sysfs_no_room(int rc);
