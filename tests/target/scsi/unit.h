/* SPDX-License-Identifier: Apache-2.0 */
/* One logical unit: a disk, and the commands that it answers (SPC-4, SBC-3). Pure.
 *
 * unit_execute does not look at unit attentions, reservations or whether the unit is ready: device.h does before. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/target/scsi/memory.h"
#include "tests/target/scsi/reply.h"
#include "tests/target/scsi/reservation.h"

#define UNIT_MAX_NUMBER     16383 /* flat addressing: 14 bits */
#define UNIT_MAX_BLOCKS     (UINT64_C(1) << 40)
#define UNIT_TRANSFER_BYTES (1024 * 1024) /* the longest transfer of one command */
#define UNIT_UNMAP_BLOCKS   (1024 * 1024) /* of one command */
#define UNIT_UNMAP_EXTENTS  32
#define UNIT_PAGE_BYTES     20
#define UNIT_N_PAGES        3

/* Asymmetric access states (SPC-4 section 5.16.2.4), as REPORT TARGET PORT GROUPS numbers them. */
enum alua {
    ALUA_OPTIMIZED = 0x0,
    ALUA_NON_OPTIMIZED = 0x1,
    ALUA_STANDBY = 0x2,
    ALUA_UNAVAILABLE = 0x3,
    ALUA_OFFLINE = 0xe,
    ALUA_TRANSITION = 0xf,
};

enum unit_command {
    UNIT_TEST_UNIT_READY = 0x00,
    UNIT_REQUEST_SENSE = 0x03,
    UNIT_READ_6 = 0x08,
    UNIT_WRITE_6 = 0x0a,
    UNIT_INQUIRY = 0x12,
    UNIT_MODE_SELECT_6 = 0x15,
    UNIT_MODE_SENSE_6 = 0x1a,
    UNIT_READ_CAPACITY_10 = 0x25,
    UNIT_READ_10 = 0x28,
    UNIT_WRITE_10 = 0x2a,
    UNIT_SYNCHRONIZE_CACHE_10 = 0x35,
    UNIT_UNMAP = 0x42,
    UNIT_LOG_SENSE = 0x4d,
    UNIT_MODE_SELECT_10 = 0x55,
    UNIT_MODE_SENSE_10 = 0x5a,
    UNIT_PERSISTENT_RESERVE_IN = 0x5e,
    UNIT_PERSISTENT_RESERVE_OUT = 0x5f,
    UNIT_READ_16 = 0x88,
    UNIT_WRITE_16 = 0x8a,
    UNIT_SYNCHRONIZE_CACHE_16 = 0x91,
    UNIT_SERVICE_ACTION_IN_16 = 0x9e,
    UNIT_REPORT_LUNS = 0xa0,
    UNIT_MAINTENANCE_IN = 0xa3,
    UNIT_READ_12 = 0xa8,
    UNIT_WRITE_12 = 0xaa,
};

struct unit {
    uint16_t number;
    uint64_t n_blocks;
    uint32_t block_bytes;
    char serial[17];
    uint8_t naa[8];
    bool read_only;
    bool offline;
    enum alua alua;
    uint16_t health;                              /* what informational exceptions say: 5D/xx, or 0 */
    uint8_t pages[UNIT_N_PAGES][UNIT_PAGE_BYTES]; /* mode parameters in force */
    uint64_t threshold_blocks;                    /* a thin unit that uses so many says so; 0: it does not */
    bool threshold_reached;
    struct reservation reservation;
    struct memory memory;
};

/* What a command did that concerns other initiator ports. */
struct unit_effects {
    bool mode_changed;
    bool threshold_reached; /* by this command: every port is to hear of it */
    bool aborts;            /* PREEMPT AND ABORT: commands of the ports in `notices` end */
    struct reservation_notices notices;
};

/* Names a port in READ FULL STATUS: writes its TransportID. Returns the length, at most UNIT_TRANSPORT_ID_BYTES. */
#define UNIT_TRANSPORT_ID_BYTES 256
typedef size_t (*unit_transport_id_cb)(void *data, uint32_t port, uint8_t out[UNIT_TRANSPORT_ID_BYTES]);

/* `target` is the name of the target: identifiers are made from it and from the number. */
void unit_init(struct unit *u, const char *target, uint16_t number, uint64_t n_blocks, uint32_t block_bytes,
               struct memory_budget *budget);
void unit_deinit(struct unit *u);
/* Mode parameters as at power on. */
void unit_reset_pages(struct unit *u);
/* Does the unit announce failures by unit attention (MRIE of mode page 1Ch)? */
bool unit_tells_health(const struct unit *u);
/* By the operator, or by an initiator (SWP of mode page 0Ah). */
bool unit_is_write_protected(const struct unit *u);

/* Are more blocks in use than the threshold, and were not when this was asked before? */
bool unit_crosses_threshold(struct unit *u);

struct unit_context {
    uint32_t port;
    unit_transport_id_cb transport_id;
    void *transport_id_data;
};
void unit_execute(struct unit *u, const struct unit_context *context, const struct scsi_request *request,
                  struct scsi_reply *reply, struct unit_effects *effects);

/* The parts, each in a file of its own; only unit_execute calls them. */
void unit_inquiry(const struct unit *u, const struct scsi_request *request, struct scsi_reply *reply);
void unit_mode_sense(const struct unit *u, const struct scsi_request *request, struct scsi_reply *reply);
bool unit_mode_select(struct unit *u, const struct scsi_request *request, struct scsi_reply *reply);
void unit_transfer(struct unit *u, const struct scsi_request *request, struct scsi_reply *reply);
void unit_unmap(struct unit *u, const struct scsi_request *request, struct scsi_reply *reply);
void unit_read_capacity(const struct unit *u, const struct scsi_request *request, struct scsi_reply *reply);
void unit_synchronize(const struct unit *u, const struct scsi_request *request, struct scsi_reply *reply);
void unit_reserve_in(const struct unit *u, const struct unit_context *context, const struct scsi_request *request,
                     struct scsi_reply *reply);
void unit_reserve_out(struct unit *u, const struct unit_context *context, const struct scsi_request *request,
                      struct scsi_reply *reply, struct reservation_notices *out_notices);
