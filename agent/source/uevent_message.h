/* SPDX-License-Identifier: Apache-2.0 */
/* A kobject uevent of the kernel (lib/kobject_uevent.c: ACTION@DEVPATH, then KEY=VALUE, each ended by NUL): parsed, and
 * what it says of SCSI.
 *
 * Whatever the bytes are, nothing outside of them is read. Pure: times are arguments. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/source/observation.h"

#define UEVENT_MAX_BYTES    8192 /* the kernel's own bound is 2,048 behind the first string */
#define UEVENT_DETAIL_BYTES 160

/* Texts are borrowed from the message, and "" when it does not have them. */
struct uevent {
    const char *action, *devpath, *subsystem, *devtype;
    const char *sdev_ua;     /* value of SDEV_UA */
    bool sdev_media_change;  /* SDEV_MEDIA_CHANGE=1 */
    bool resize;             /* RESIZE=1 */
    bool disk_media_change;  /* DISK_MEDIA_CHANGE=1 */
    bool disk_eject_request; /* DISK_EJECT_REQUEST=1 */
    bool replayed;           /* somebody wrote into the uevent file (udevadm trigger): nothing happened now */
    uint64_t seqnum;         /* over all namespaces of the host; 0 = not told */
    const uint8_t *bytes;    /* all of it */
    size_t len;
};

/* Returns 0, or UV_EINVAL with `out_fault` in words, and *out untouched. */
int uevent_parse(const uint8_t *bytes, size_t len, struct uevent *out, const char **out_fault);

/* H:C:T:L in a path of sysfs. Of several hosts the last one counts: a virtual port (NPIV) is a host below a host. */
void uevent_place(const char *devpath, struct observation_place *out);

/* What it says of SCSI; false when nothing. `detail` holds the words, and must live as long as the observation. */
bool uevent_observe(const struct uevent *u, uint64_t wall_ns, uint64_t boot_ns, char detail[UEVENT_DETAIL_BYTES],
                    struct observation *out);
