/* SPDX-License-Identifier: Apache-2.0 */
/* Reads what identity.h wants to know from sysfs. No file that is read here asks a device: all is the kernel's memory.
 * `root` is "/sys", another in tests. Times are ns of CLOCK_BOOTTIME. */
#pragma once

#include "agent/source/identity_cache.h"

/* Returns 0; UV_ENOENT when the kernel has no such place; or what reading it failed with. A single file that is
 * missing, empty or too long is only not known. */
int identity_sysfs_read(const char *root, const struct observation_place *place, struct identity_facts *out);

/* A remote port is the target behind it, as long as sysfs knows that: completes the place of an observation whose
 * object is one. */
void identity_sysfs_resolve(const char *root, struct observation *o);

/* Who was there at `boot_ns`, read now if the cache wants that; only the numbers, in *fallback, when nothing is known.
 * Never NULL. Valid as identity_cache_at. */
const struct kernel_device *identity_sysfs_find(struct identity_cache *c, const char *root,
                                                const struct observation_place *place, uint64_t boot_ns,
                                                uint64_t now_ns, struct kernel_device *fallback);
