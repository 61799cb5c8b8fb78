/* SPDX-License-Identifier: Apache-2.0 */
/* What one hook of this host's own kernel saw, before it becomes an event: merging (merge.h) makes one event of what
 * several hooks saw of one condition, identity (identity.h) says whose it is.
 *
 *   uevent, trace, iscsi-netlink, fc-netlink, sysfs ── observation ──▶ merge ──▶ storm control ──▶ identity ──▶ record
 *
 * Pure data: times are those of the hook where it tells them, else of the moment the agent read it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/record.h"

/* A place in the kernel's own numbering, H:C:T:L of the SCSI layer. A member that is not told, or stands for all below
 * it, is -1: {3, -1, -1, -1} is the whole adapter host3. */
struct observation_place {
    int32_t host, channel, target;
    int64_t lun;
};

struct observation {
    uint32_t source; /* enum Source */
    uint32_t code;   /* enum Code that this hook alone would report; 0 = it only is evidence for others */
    struct observation_place place;
    uint64_t wall_ns, boot_ns;
    struct record_native native; /* borrowed, as all pointers here */
    const uint8_t *sense;        /* NULL when there is none */
    size_t sense_len;
    const char *target_name, *portal; /* where the hook names them (iSCSI name or WWPN), else NULL */
    const char *object; /* the kernel's own name of what the place cannot tell apart: "session2", "rport-3:0-1" */
    bool synthetic;     /* found by comparing states, not told */
    uint32_t count;     /* of equal native records that the hook folded into this one; 0 and 1: one */
};
