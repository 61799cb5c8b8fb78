/* SPDX-License-Identifier: Apache-2.0 */
/* The SCSI adapters and devices of the host's own kernel, as one look at sysfs showed them (device_scan.h).
 *
 * Both are sorted by number once finished, and no number is there twice. Pure but for memory. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/source/observation.h"

#define DEVICE_LIST_MAX_ADAPTERS 256
#define DEVICE_LIST_MAX_DEVICES  4096
#define DEVICE_LIST_OWN_ID_BYTES 256 /* as the broker's bound */
#define DEVICE_LIST_STATE_BYTES  32

struct kernel_device;

struct listed_adapter {
    int32_t host;
    char name[16];                         /* "host3" */
    char own_id[DEVICE_LIST_OWN_ID_BYTES]; /* WWPN or SAS address as "naa.…", iSCSI name, else the number */
    uint32_t transport;                    /* enum Transport */
};

struct listed_device {
    struct observation_place place;
    uint64_t inode; /* another one at the same place is another device */
    char state[DEVICE_LIST_STATE_BYTES];
    uint64_t maximum_transfer_bytes; /* 0 = it does not say */
    unsigned looks;                  /* so many showed it; while there are few, its names may still come */
    bool named;                      /* it has a name but its numbers: a disk, a generic device */
    uint8_t *message;                /* InventoryDevice; malloc'd */
    size_t message_len;
};

struct device_list {
    struct listed_adapter *adapters;
    size_t n_adapters, cap_adapters;
    struct listed_device *devices;
    size_t n_devices, cap_devices;
    bool cut; /* there are more */
};

/* The new entry at the end, zeroed, to be filled. NULL without memory (UV_ENOMEM), or, with `cut` set, when it is full.
 */
struct listed_adapter *device_list_add_adapter(struct device_list *l);
struct listed_device *device_list_add(struct device_list *l);
/* Take the newest device back. */
void device_list_drop(struct device_list *l);
void device_list_finish(struct device_list *l);
/* Accepts a zeroed one. */
void device_list_free(struct device_list *l);

/* What else is told of a device, beside its identity. */
struct device_size {
    uint64_t n_blocks; /* 0 = not known */
    uint32_t block_bytes;
};
/* Fill the message of an entry whose place and state are filled. Returns 0 or UV_ENOMEM. */
int device_list_describe(struct listed_device *entry, const struct kernel_device *device,
                         const struct device_size *size);
/* Copy an entry of another list, message and all. Returns 0 or UV_ENOMEM. */
int device_list_copy(struct listed_device *out, const struct listed_device *entry);

/* By the numbers of its address, the LUN flat as in records (identity_lun_flat); a channel of -1 is any. NULL when it
 * is not there. */
const struct listed_device *device_list_find(const struct device_list *l, int32_t host, int32_t channel, int32_t target,
                                             int64_t flat_lun);
/* By the kernel's own numbers. */
const struct listed_device *device_list_at(const struct device_list *l, const struct observation_place *place);
const struct listed_adapter *device_list_adapter(const struct device_list *l, const char *name);
/* The smallest maximum of the adapter's devices; 0 when none says. */
uint64_t device_list_maximum_transfer(const struct device_list *l, int32_t host);
/* Would an inventory say the same? */
bool device_list_same(const struct device_list *a, const struct device_list *b);

/* "host3" is 3; -1 when it is no name of an adapter of the kernel. */
int32_t device_list_host(const char *name);
