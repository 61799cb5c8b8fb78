/* SPDX-License-Identifier: Apache-2.0 */
/* Who a place of the host's own kernel is: what sysfs says of it, understood.
 *
 * All texts of sysfs are hostile: lengths are checked, every text becomes valid UTF-8. Pure: identity_sysfs.h reads,
 * identity_cache.h remembers. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/identify.h"
#include "agent/record.h"
#include "agent/source/observation.h"

#define IDENTITY_MAX_NAMES    6
#define IDENTITY_NAME_BYTES   128 /* DM_NAME_LEN of the device mapper; all others are shorter */
#define IDENTITY_TARGET_BYTES 256
#define IDENTITY_PORTAL_BYTES 128
#define IDENTITY_PATH_BYTES   512
#define IDENTITY_TEXT_BYTES   256
#define IDENTITY_PAGE_BYTES   2048

/* What files of sysfs hold, as read; a length of 0: there is none. */
struct identity_file {
    uint8_t bytes[IDENTITY_TEXT_BYTES];
    size_t len;
};
struct identity_page_file {
    uint8_t bytes[IDENTITY_PAGE_BYTES];
    size_t len;
};
struct identity_facts {
    struct observation_place place;
    char path[IDENTITY_PATH_BYTES]; /* the device's own below /sys/devices: tells the transport */
    struct identity_file proc_name; /* driver of the adapter: "virtio_scsi" */
    struct identity_file vendor, model, rev, type, wwid;
    struct identity_page_file inquiry, vpd_pg80, vpd_pg83;
    struct identity_file block, generic, other; /* "sdc", "sg3"; "st0", "sr0", "ch0", "ses" */
    struct identity_file map_name, map_uuid;    /* of the device mapper's device on top of it */
    struct identity_file iscsi_target, iscsi_address, iscsi_port, iscsi_tpgt;
    struct identity_file port_name; /* WWPN of the remote port, "0x50…"; SAS address */
};

/* A device of the kernel. Zeroed but for numbers of -1 where nothing is known. */
struct kernel_device {
    struct observation_place place;
    uint32_t transport;                                                     /* enum Transport, 0 = not known */
    char adapter[16];                                                       /* "host3" */
    struct identity identity;                                               /* .known when INQUIRY data is */
    char target_name[IDENTITY_TARGET_BYTES], portal[IDENTITY_PORTAL_BYTES]; /* "" = none */
    char names[IDENTITY_MAX_NAMES][IDENTITY_NAME_BYTES];                    /* "3:0:0:4", "sdc", "sg3", "mpathb" */
    size_t n_names;
};

void identity_from_facts(const struct identity_facts *facts, struct kernel_device *out);
/* Only the numbers are known. */
void identity_from_place(const struct observation_place *place, struct kernel_device *out);
/* "3:0:0:4", "target3:0:0", "host3", "" for {-1…}. Returns `buf`. */
const char *identity_place_text(const struct observation_place *place, char buf[IDENTITY_NAME_BYTES]);

/* The kernel's LUN number as the eight bytes on the wire (SAM-5 section 4.7; the kernel keeps them as four 16-bit
 * words, the first word lowest), and the flat number in them; the kernel's own where there is none. */
uint64_t identity_lun_raw(int64_t kernel_lun);
int64_t identity_lun_flat(int64_t kernel_lun);

/* The place of a record, with the memory that it points to. Do not move it once filled. */
struct identity_place {
    struct record_place place;
    struct record_kernel kernel;
    const char *names[IDENTITY_MAX_NAMES];
};
/* `d` must outlive it. `target_name` and `portal` as an observation says them, NULL = as the device knows. */
void identity_fill_place(struct identity_place *out, const struct kernel_device *d, const char *target_name,
                         const char *portal);
