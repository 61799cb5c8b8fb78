/* SPDX-License-Identifier: Apache-2.0 */
/* Resets through ioctl SG_SCSI_RESET (drivers/scsi/scsi_error.c, scsi_ioctl_reset): of a logical unit or a target,
 * never escalated to more than was asked for.
 *
 * The kernel may take a minute for one, or for ever, so it is done on the pool: RESETS_MAX at a time (pool.h). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "agent/source/observation.h"

#define RESETS_MAX        2
#define RESET_WORDS_BYTES 200

#define RESET_MODE_UNIT   1 /* SG_SCSI_RESET_DEVICE of include/scsi/sg.h, as it is evidence in records */
#define RESET_MODE_TARGET 4 /* SG_SCSI_RESET_TARGET */

struct reset;

/* How it went: 0, or a negative errno, with `words` that name what was in the way. UV_EACCES and UV_EPERM: the agent
 * may not; UV_ENOENT: it has no node of the device; UV_ENODEV: the kernel has no such device; UV_ECANCELED: the agent
 * stops, and how it went is not known. */
typedef void (*reset_cb)(void *data, int rc, const char *words);

/* Zeroed is valid. */
struct resets {
    struct reset *first;
    unsigned n;
};

/* `sysfs_root` and `dev` are "/sys" and "/dev", others in tests. `cb` runs from the loop. Returns 0; UV_EBUSY when
 * RESETS_MAX are being done; UV_ENOMEM. */
int resets_begin(struct resets *s, uv_loop_t *loop, const char *sysfs_root, const char *dev,
                 const struct observation_place *place, int mode, reset_cb cb, void *data);
/* All that are being done end with UV_ECANCELED, before this returns; the loop waits for the kernel all the same. */
void resets_cancel(struct resets *s);
