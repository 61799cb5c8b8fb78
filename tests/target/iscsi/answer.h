/* SPDX-License-Identifier: Apache-2.0 */
/* The PDUs that a session sends: header, numbers, digests. Of session.c; for the other files of the session. */
#pragma once

#include "agent/iscsi/pdu.h"
#include "tests/target/iscsi/session.h"

enum reject_reason {
    REJECT_SNACK = 0x03,
    REJECT_PROTOCOL = 0x04,
    REJECT_NOT_SUPPORTED = 0x05,
    REJECT_INVALID_FIELD = 0x09,
};

/* An answer's header: opcode, F bit, task tag of the request. */
void answer_head(uint8_t header[PDU_HEADER_BYTES], enum pdu_opcode opcode, uint32_t itt);
/* Fill in lengths and command numbers, add digests and padding, and send. StatSN is the caller's. */
void answer_send(struct session *s, uint8_t header[PDU_HEADER_BYTES], const uint8_t *data, size_t len);
/* The same, with the next StatSN. */
void answer_send_with_status(struct session *s, uint8_t header[PDU_HEADER_BYTES], const uint8_t *data, size_t len);
/* A Reject with the header that it is about. */
void answer_reject(struct session *s, enum reject_reason reason, const uint8_t *rejected);
