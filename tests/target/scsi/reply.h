/* SPDX-License-Identifier: Apache-2.0 */
/* What a logical unit answers to one command, and big-endian fields to build it from. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SENSE_MAX_BYTES   252
#define SENSE_FIXED_BYTES 18

enum scsi_status {
    SCSI_GOOD = 0x00,
    SCSI_CHECK_CONDITION = 0x02,
    SCSI_BUSY = 0x08,
    SCSI_RESERVATION_CONFLICT = 0x18,
};

enum sense_key {
    KEY_NONE = 0x0,
    KEY_NOT_READY = 0x2,
    KEY_ILLEGAL_REQUEST = 0x5,
    KEY_UNIT_ATTENTION = 0x6,
    KEY_DATA_PROTECT = 0x7,
    KEY_ABORTED_COMMAND = 0xb,
};

/* Additional sense code and qualifier as one number. */
enum asc {
    ASC_NONE = 0x0000,
    ASC_TRANSITION = 0x040a,
    ASC_STANDBY = 0x040b,
    ASC_UNAVAILABLE = 0x040c,
    ASC_OFFLINE = 0x0412,
    ASC_PARAMETER_LIST_LENGTH = 0x1a00,
    ASC_INVALID_OPCODE = 0x2000,
    ASC_LBA_OUT_OF_RANGE = 0x2100,
    ASC_INVALID_FIELD_IN_CDB = 0x2400,
    ASC_LUN_NOT_SUPPORTED = 0x2500,
    ASC_INVALID_FIELD_IN_LIST = 0x2600,
    ASC_INVALID_RELEASE = 0x2604,
    ASC_WRITE_PROTECTED = 0x2700,
    ASC_NO_SPACE = 0x2707,
    ASC_POWER_ON_OR_RESET = 0x2900,
    ASC_POWER_ON = 0x2901,
    ASC_HARD_RESET = 0x2902,
    ASC_LUN_RESET = 0x2903,
    ASC_NEXUS_LOSS = 0x2907,
    ASC_MODE_CHANGED = 0x2a01,
    ASC_RESERVATIONS_PREEMPTED = 0x2a03,
    ASC_RESERVATIONS_RELEASED = 0x2a04,
    ASC_REGISTRATIONS_PREEMPTED = 0x2a05,
    ASC_ALUA_CHANGED = 0x2a06,
    ASC_CAPACITY_CHANGED = 0x2a09,
    ASC_COMMANDS_CLEARED = 0x2f00,
    ASC_THIN_THRESHOLD = 0x3807,
    ASC_SAVING_NOT_SUPPORTED = 0x3900,
    ASC_LUNS_CHANGED = 0x3f0e,
    ASC_DATA_PHASE_ERROR = 0x4b00,
    ASC_NO_ROOM_FOR_REGISTRATION = 0x5504,
};

struct scsi_request {
    uint8_t cdb[16];
    const uint8_t *data; /* Data-Out; borrowed */
    size_t data_len;
};

/* Zeroed is GOOD without data. */
struct scsi_reply {
    enum scsi_status status;
    uint8_t sense[SENSE_MAX_BYTES];
    size_t sense_len;
    uint8_t *data; /* Data-In; freed by reply_deinit */
    size_t data_len;
    size_t data_out_len; /* how much Data-Out the command asks for */
};

void reply_deinit(struct scsi_reply *r);
/* CHECK CONDITION with fixed-format sense. */
void reply_check(struct scsi_reply *r, enum sense_key key, enum asc asc);
/* CHECK CONDITION with sense data as it is, at most SENSE_MAX_BYTES. */
void reply_sense(struct scsi_reply *r, const uint8_t *sense, size_t len);
/* GOOD with a copy of `bytes`, cut to the allocation length. Out of memory is BUSY: try again. */
void reply_data(struct scsi_reply *r, const uint8_t *bytes, size_t len, size_t allocation_length);

/* Fixed-format sense data (SPC-4 section 4.5.3). */
void sense_fixed(uint8_t out[SENSE_FIXED_BYTES], uint8_t response_code, uint8_t key, uint16_t asc);

static inline uint32_t get_be(const uint8_t *at, int n_bytes)
{
    uint32_t value = 0;

    for (int i = 0; i < n_bytes; i++)
        value = value << 8 | at[i];
    return value;
}

static inline uint64_t get_be64(const uint8_t *at)
{
    return (uint64_t)get_be(at, 4) << 32 | get_be(at + 4, 4);
}

static inline void put_be(uint8_t *at, uint64_t value, int n_bytes)
{
    while (n_bytes > 0) {
        at[--n_bytes] = (uint8_t)value;
        value >>= 8;
    }
}
