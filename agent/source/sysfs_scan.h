/* SPDX-License-Identifier: Apache-2.0 */
/* One look at the SCSI classes of sysfs. Reads the kernel's memory only; a driver of Fibre Channel may be asked for the
 * state of its port, so it runs on the pool. */
#pragma once

#include <stddef.h>

struct sysfs_look;

/* `root` is "/sys", another in tests. Returns 0, with `out` finished; or, with `err` naming what was in the way, a
 * negative errno: UV_ENOENT when there is no folder of classes at all. A class that is not there has nothing in it, and
 * what goes while it is looked at is not there. */
int sysfs_scan(const char *root, struct sysfs_look *out, char *err, size_t err_len);
