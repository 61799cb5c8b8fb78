/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of an iSCSI PDU that the relay looks at (RFC 7143 section 11): names for numbers, and reading and writing
 * of big-endian fields. No state, no I/O. */
#pragma once

#include <stdint.h>

#define PDU_HEADER_BYTES 48
#define PDU_NO_TAG       UINT32_C(0xffffffff) /* reserved task tag */

enum pdu_opcode {
    /* initiator to target */
    PDU_NOP_OUT = 0x00,
    PDU_SCSI_COMMAND = 0x01,
    PDU_TASK_MANAGEMENT_REQUEST = 0x02,
    PDU_LOGIN_REQUEST = 0x03,
    PDU_TEXT_REQUEST = 0x04,
    PDU_DATA_OUT = 0x05,
    PDU_LOGOUT_REQUEST = 0x06,
    /* target to initiator */
    PDU_NOP_IN = 0x20,
    PDU_SCSI_RESPONSE = 0x21,
    PDU_TASK_MANAGEMENT_RESPONSE = 0x22,
    PDU_LOGIN_RESPONSE = 0x23,
    PDU_TEXT_RESPONSE = 0x24,
    PDU_DATA_IN = 0x25,
    PDU_LOGOUT_RESPONSE = 0x26,
    PDU_R2T = 0x31,
    PDU_ASYNC_MESSAGE = 0x32,
    PDU_REJECT = 0x3f,
};

/* Byte 1. */
enum {
    PDU_FINAL = 0x80,      /* F, or T (transit) in login */
    PDU_CONTINUE = 0x40,   /* C in login and text, A in Data-In */
    PDU_HAS_STATUS = 0x01, /* S in Data-In */
    PDU_NEXT_STAGE = 0x03, /* NSG in login */
    PDU_STAGE_FULL_FEATURE = 0x03,
    PDU_FUNCTION = 0x7f, /* Task Management Function Request */
};

/* Byte offsets in the header. */
enum {
    PDU_AT_FLAGS = 1,
    PDU_AT_RESPONSE = 2, /* also Reject reason */
    PDU_AT_STATUS = 3,
    PDU_AT_AHS_WORDS = 4,
    PDU_AT_DATA_LENGTH = 4, /* lower 24 bits of the word */
    PDU_AT_LUN = 8,
    PDU_AT_ITT = 16,
    PDU_AT_EXPECTED_LENGTH = 20, /* SCSI Command */
    PDU_AT_TTT = 20,
    PDU_AT_STATSN = 24,
    PDU_AT_EXPSTATSN = 28, /* initiator PDUs */
    PDU_AT_CDB = 32,
    PDU_AT_LOGIN_CLASS = 36,
    PDU_AT_LOGIN_DETAIL = 37,
    PDU_AT_ASYNC_EVENT = 36,
    PDU_AT_ASYNC_VCODE = 37,
    PDU_AT_ASYNC_PARAMETERS = 38,
    PDU_AT_BUFFER_OFFSET = 40, /* Data-In */
};

static inline enum pdu_opcode pdu_opcode(const uint8_t *header)
{
    return (enum pdu_opcode)(header[0] & 0x3f);
}

static inline uint16_t pdu_get16(const uint8_t *at)
{
    return (uint16_t)((uint16_t)at[0] << 8 | at[1]);
}

static inline uint32_t pdu_get32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline uint64_t pdu_get64(const uint8_t *at)
{
    return (uint64_t)pdu_get32(at) << 32 | pdu_get32(at + 4);
}

static inline void pdu_put32(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}
