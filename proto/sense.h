/* SPDX-License-Identifier: Apache-2.0 */
/* SCSI sense data (SPC-4 section 4.5): decoding of fixed and descriptor format, and T10's words for codes. Pure.
 * sense.c is the only user of libsgutils2. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SENSE_TEXT_BYTES 160

struct sense {
    uint8_t response_code; /* 70h..73h, VALID bit removed */
    uint8_t key, asc, ascq, fru;
    bool deferred;
    bool has_information, has_command_specific, has_key_specific;
    uint64_t information, command_specific;
    uint8_t key_specific[3];
};

/* Decode what is there: sense data may be cut anywhere, missing members read as 0. Returns 0, or UV_EINVAL when there
 * is no response code 70h..73h in it. */
int sense_decode(const uint8_t *bytes, size_t len, struct sense *out_sense);

/* T10's text of an additional sense code, without prefix; for codes without one "ASC xx, ASCQ yy" (vendor specific ones
 * say so). Always terminated. Returns `buf`. */
const char *sense_text(uint8_t asc, uint8_t ascq, char buf[SENSE_TEXT_BYTES]);
/* "UNIT ATTENTION" */
const char *sense_key_name(uint8_t key);
