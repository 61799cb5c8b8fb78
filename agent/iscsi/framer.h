/* SPDX-License-Identifier: Apache-2.0 */
/* Cuts one direction of an iSCSI connection into PDUs, however TCP has cut it up. Pure: bytes in, PDUs out.
 *
 * Holds at most one PDU, whose data segment is at most `max_data_bytes`: a longer one is refused when its header is
 * complete, before memory is taken for it. A PDU is handed out only when its digests are right, and with a header
 * digest no length in a damaged header is believed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct framer {
    bool header_digest; /* in force for the next PDU; the owner sets them when login has negotiated them */
    bool data_digest;
    size_t max_data_bytes;
    uint8_t *bytes; /* the PDU under way */
    size_t len, cap;
    size_t header_len; /* with additional headers; 0 until the basic header is complete */
    size_t pdu_len;    /* the whole PDU; 0 until the whole header is complete and its digest right */
    bool delivered;    /* `bytes` was handed out by the last call */
};

/* Points into the framer; writable; valid until the next call. */
struct framer_pdu {
    uint8_t *bytes; /* header, additional headers, header digest, data, padding, data digest */
    size_t len;
    size_t header_len;
    const uint8_t *data; /* data segment without padding */
    size_t data_len;
};

enum framer_result {
    FRAMER_PDU,          /* *out_pdu is set; call again, there may be more */
    FRAMER_MORE,         /* all input is used up */
    FRAMER_TOO_LONG,     /* data segment above max_data_bytes */
    FRAMER_BAD_DIGEST,   /* header or data digest wrong */
    FRAMER_OUT_OF_MEMORY /* after this and the two above the framer is of no more use */
};

void framer_init(struct framer *f, size_t max_data_bytes);
void framer_deinit(struct framer *f);
/* Take bytes from *in (moved forward) until a PDU is complete or *in_len is 0. */
enum framer_result framer_next(struct framer *f, const uint8_t **in, size_t *in_len, struct framer_pdu *out_pdu);
