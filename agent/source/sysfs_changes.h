/* SPDX-License-Identifier: Apache-2.0 */
/* What sysfs shows of the SCSI layer, and what the difference of two looks means.
 *
 * The first look tells nothing. What came or went between two looks, also what went and came back as another, and each
 * state that means something else than the one before, becomes one observation, flagged synthetic. States on the way
 * from one to another ("blocked", "quiesce") mean nothing by themselves.
 *
 * What other hooks told counts as seen: a device that came by an uevent and is not there at the next look is gone,
 * though no look ever saw it. Pure: times are arguments. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/source/observation.h"

#define SYSFS_MAX_OBJECTS  16384
#define SYSFS_NAME_BYTES   40
#define SYSFS_STATE_BYTES  32
#define SYSFS_TARGET_BYTES 224
#define SYSFS_DETAIL_BYTES 192

enum sysfs_kind { SYSFS_HOST, SYSFS_DEVICE, SYSFS_FC_HOST, SYSFS_RPORT, SYSFS_SESSION, SYSFS_N_KINDS };

/* Name of the class in sysfs: "scsi_device". */
const char *sysfs_kind_name(enum sysfs_kind kind);

struct sysfs_object {
    enum sysfs_kind kind;
    char name[SYSFS_NAME_BYTES]; /* "3:0:0:4", "rport-5:0-1" */
    uint64_t inode;              /* another one behind the same name is another object; 0 = not known */
    struct observation_place place;
    char state[SYSFS_STATE_BYTES]; /* "" = not read */
    uint32_t condition;            /* kept by compare */
    char *target_name;             /* malloc'd; of sessions and remote ports, else NULL */
    bool heard;                    /* told while a look was on its way, which may not know it yet */
    bool gone;                     /* and that it is gone */
};

struct sysfs_look {
    struct sysfs_object *objects; /* sorted once finished */
    size_t n, cap;
    bool cut; /* there is more */
};

/* The new object at the end, to be filled; NULL without memory (UV_ENOMEM) or, with `cut` set, when it is full. */
struct sysfs_object *sysfs_look_add(struct sysfs_look *look);
/* Take the newest back. */
void sysfs_look_drop(struct sysfs_look *look);
void sysfs_look_finish(struct sysfs_look *look);
void sysfs_look_free(struct sysfs_look *look);

/* Another hook told this of `known`, the last look. `looking`: the next one is on its way. */
void sysfs_look_heard(struct sysfs_look *known, const struct observation *o, bool looking);

/* Tell what is different in `now`, in the order: what went, what came, states; and keep in `now` what the states mean.
 * `before` NULL: the first look. Observations are valid until the callback returns. Returns 0, or UV_ENOMEM: then
 * nothing was told. */
int sysfs_compare(const struct sysfs_look *before, struct sysfs_look *now, uint64_t wall_ns, uint64_t boot_ns,
                  void (*tell)(void *data, const struct observation *observation), void *data);
