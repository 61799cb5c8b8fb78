/* SPDX-License-Identifier: Apache-2.0 */
/* PDUs for tests: written field by field, strung together in a buffer. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/iscsi/pdu.h"

struct pdus {
    uint8_t bytes[1 << 20];
    size_t len;
    bool header_digest, data_digest; /* for the next PDU */
};

struct pdu_fields {
    enum pdu_opcode opcode;
    uint8_t flags, byte2, byte3;
    uint64_t lun;
    uint32_t itt, at20, at24, at28;
    uint8_t at32[16]; /* the last 16 bytes of the header */
    const void *ahs;
    size_t ahs_len; /* a multiple of 4 */
    const void *data;
    size_t data_len;
};

/* Append; returns the offset at which the PDU begins. */
size_t pdus_add(struct pdus *p, const struct pdu_fields *fields);
#define PDUS_ADD(p, ...) pdus_add((p), &(struct pdu_fields){__VA_ARGS__})
