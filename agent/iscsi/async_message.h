/* SPDX-License-Identifier: Apache-2.0 */
/* The Asynchronous Message of iSCSI (RFC 7143 section 11.9), decoded: the same for a PDU of our own session and for one
 * that the host's kernel hands on. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct iscsi_async_message {
    uint8_t event, vcode;
    uint16_t parameter1, parameter2, parameter3;
    uint64_t lun_raw;     /* valid for event 0 and 5 */
    const uint8_t *sense; /* event 0, may be NULL */
    size_t sense_len;
    const uint8_t *pdu; /* header and data segment as received */
    size_t pdu_len;
};

/* `pdu` is the header, `header_len` bytes with additional headers (at least 48), and the data segment right behind it,
 * without digests and padding; `len` is that of both. The message points into it. */
void async_message_decode(const uint8_t *pdu, size_t header_len, size_t len, struct iscsi_async_message *out);
/* What the event is, in words. */
const char *async_message_text(uint8_t event);
