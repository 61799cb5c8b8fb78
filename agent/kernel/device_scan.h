/* SPDX-License-Identifier: Apache-2.0 */
/* One look at the SCSI adapters and devices in sysfs. Reads the kernel's memory only; it may take a while where there
 * are many, so it runs on the pool. */
#pragma once

#include <stddef.h>

#include "agent/kernel/device_list.h"

/* What the last look knows is not read again but for its state: names of disks and sizes are read when a device is new
 * (and at the few looks behind that, until its disk is there), or one of the `stale`. */
struct device_scan_known {
    const struct device_list *before; /* NULL: read all */
    const struct observation_place *stale;
    size_t n_stale;
};

/* `root` is "/sys", another in tests. Returns 0, with `out` finished; or, with `err` naming what was in the way, a
 * negative errno (UV_ENOENT: no folder of classes). A class that is not there has nothing in it, and what goes while it
 * is looked at is not there. */
int device_scan(const char *root, const struct device_scan_known *known, struct device_list *out, char *err,
                size_t err_len);
