/* SPDX-License-Identifier: Apache-2.0 */
/* The SCSI target device: its logical units, the initiator ports it knows, and what happens to them. Pure.
 *
 * A port (iSCSI initiator name and ISID) is remembered after its session has ended, so that reservations outlive it and
 * its return is told by I_T NEXUS LOSS OCCURRED. At most DEVICE_MAX_PORTS are known; the one that was away longest and
 * has no registration is forgotten for a new one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/target/scsi/attention.h"
#include "tests/target/scsi/unit.h"

#define DEVICE_MAX_UNITS  1024
#define DEVICE_MAX_PORTS  RESERVATION_MAX
#define DEVICE_NAME_BYTES 224 /* an iSCSI name and its NUL */
#define DEVICE_ALL_UNITS  (-1)

struct port {
    uint32_t id; /* never used twice */
    char name[DEVICE_NAME_BYTES];
    uint8_t isid[6];
    bool connected;
    uint64_t left_at; /* order in which ports went away */
    struct attention_list attentions;
};

struct device {
    char name[DEVICE_NAME_BYTES];
    struct unit *units[DEVICE_MAX_UNITS]; /* by number */
    size_t n_units;
    struct port *ports[DEVICE_MAX_PORTS];
    size_t n_ports;
    uint32_t last_id;
    uint64_t n_left;
    bool power_cycled; /* since it was made: new ports hear POWER ON OCCURRED */
    struct memory_budget memory;
    /* PREEMPT AND ABORT: the commands of this port that wait for data on this unit end. Set by the owner, or NULL. */
    void (*on_abort)(void *data, uint32_t port, uint16_t number);
    void *data;
    uint64_t n_commands;
};

/* Returns 0 or UV_ENAMETOOLONG. */
int device_init(struct device *d, const char *name, size_t memory_bytes);
void device_deinit(struct device *d);

/* The other units of the target tell that the list has changed. Returns 0; UV_EEXIST, UV_ENOENT, UV_EINVAL (number,
 * size), UV_ENOSPC (DEVICE_MAX_UNITS) or UV_ENOMEM. */
int device_add_unit(struct device *d, uint64_t number, uint64_t n_blocks, uint32_t block_bytes);
int device_remove_unit(struct device *d, uint64_t number);
/* NULL when there is none. */
struct unit *device_unit(const struct device *d, uint64_t number);

/* A session begins: `*out_port` is the device's, good until device_deinit or, once detached, another attach. Returns 0,
 * UV_ENOSPC (every port is connected or registered) or UV_ENOMEM. */
int device_attach(struct device *d, const char *name, const uint8_t isid[6], struct port **out_port);
void device_detach(struct device *d, struct port *port);

/* Answer one command. `lun` as on the wire; `reply` is zeroed and becomes the caller's. */
void device_execute(struct device *d, struct port *port, const uint8_t lun[8], const struct scsi_request *request,
                    struct scsi_reply *reply);
/* The number of a LUN in peripheral or flat addressing; -1 for every other form. */
int device_lun_number(const uint8_t lun[8]);
void device_put_lun(uint8_t lun[8], uint16_t number);

/* Causes. Those with a unit return UV_ENOENT when there is none of that number. */

/* A unit attention on one unit or on DEVICE_ALL_UNITS, for all ports but `except` (may be NULL). */
int device_establish(struct device *d, int number, uint16_t asc, const struct port *except);
/* Sense for the next command of each connected port. Also UV_ENOBUFS, UV_ENOMEM. */
int device_script(struct device *d, uint64_t number, const uint8_t *sense, size_t len);
/* Also UV_EINVAL. */
int device_resize(struct device *d, uint64_t number, uint64_t n_blocks);
int device_protect(struct device *d, uint64_t number, bool read_only);
int device_set_offline(struct device *d, uint64_t number, bool offline);
int device_set_alua(struct device *d, uint64_t number, enum alua state);
int device_set_health(struct device *d, uint64_t number, uint16_t asc);
/* From so many blocks in use on the unit tells, to all ports, once each time; 0 ends it. */
int device_set_threshold(struct device *d, uint64_t number, uint64_t n_blocks);
/* Another initiator, which is nobody's session, takes the unit over: registers, and preempts the holder or else
 * everybody registered. Also UV_EALREADY when there is nobody to preempt. */
int device_preempt(struct device *d, uint64_t number);
/* LOGICAL UNIT RESET, or for DEVICE_ALL_UNITS a hard reset. */
int device_reset(struct device *d, int number);
/* Power off and on: ports, reservations and mode parameters are forgotten; the medium stays. All ports must be
 * detached. */
void device_power_cycle(struct device *d);
