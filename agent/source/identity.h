/* SPDX-License-Identifier: Apache-2.0 */
/* Who a place of the host's own kernel is, as of the time of an event: what sysfs said, remembered.
 *
 * A place has versions, one after another: another disk at the same H:C:T:L is another version. A lookup gives the one
 * that was there at the given time, also after it was removed, for keep_ms.
 *
 * All texts of sysfs are hostile: lengths are checked, every text becomes valid UTF-8. Pure: identity_sysfs.h reads. At
 * most max_places versions are kept: when full, the removed go first, then what was not asked for longest. Times are ns
 * of CLOCK_BOOTTIME. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/identify.h"
#include "agent/record.h"
#include "agent/source/observation.h"

#define IDENTITY_MAX_NAMES    8
#define IDENTITY_NAME_BYTES   64
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

/* ------------------------------------------------------------------------------------------------ memory of them */

struct identity_cache;

#define IDENTITY_MAX_PLACES 2048
#define IDENTITY_KEEP_MS    60000
#define IDENTITY_REFRESH_MS 5000

struct identity_options { /* 0 = the default */
    size_t max_places;
    uint32_t keep_ms;    /* after removal */
    uint32_t refresh_ms; /* what is older is read again before it is used: names of maps change without notice */
    uint64_t seed;       /* any random number */
};

/* NULL when there is no memory. */
struct identity_cache *identity_cache_new(const struct identity_options *options);
void identity_cache_free(struct identity_cache *c);

/* Who was at the place at that time, or NULL. Valid until the next call that takes a cache that is not const. */
const struct kernel_device *identity_cache_at(struct identity_cache *c, const struct observation_place *place,
                                              uint64_t boot_ns);
/* Sysfs should be read before the place is named: nothing is known, or it is old, or it changed. Never true for what
 * was removed. */
bool identity_cache_wants(const struct identity_cache *c, const struct observation_place *place, uint64_t now_ns);
/* What sysfs says now: refreshes the newest version, or begins another one when another device answers (then from now
 * on). Returns 0 or UV_ENOMEM, when nothing changed. */
int identity_cache_put(struct identity_cache *c, const struct kernel_device *d, uint64_t now_ns);
/* Sysfs has nothing at that place now. */
void identity_cache_absent(struct identity_cache *c, const struct observation_place *place, uint64_t now_ns);

/* What observations say about identities. Added: whatever comes is a new version from then on. Removed: the newest
 * version ends then; a whole adapter or target with all below it. Changed: read it again. */
void identity_cache_added(struct identity_cache *c, const struct observation_place *place, uint64_t boot_ns);
void identity_cache_removed(struct identity_cache *c, const struct observation_place *place, uint64_t boot_ns);
void identity_cache_changed(struct identity_cache *c, const struct observation_place *place);
/* The right one of these for an observation, by its code. */
void identity_cache_observe(struct identity_cache *c, const struct observation *o);

size_t identity_cache_size(const struct identity_cache *c);
