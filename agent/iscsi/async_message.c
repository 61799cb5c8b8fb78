/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/iscsi/async_message.h"

#include <assert.h>

#include "agent/iscsi/pdu.h"

#define SENSE_LENGTH_BYTES 2 /* in front of the sense, RFC 7143 section 11.9.4 */

void async_message_decode(const uint8_t *pdu, size_t header_len, size_t len, struct iscsi_async_message *out)
{
    const uint8_t *parameters = pdu + PDU_AT_ASYNC_PARAMETERS;
    const uint8_t *data = pdu + header_len;
    size_t data_len = len - header_len, sense_len;

    assert(header_len >= PDU_HEADER_BYTES && len >= header_len);
    *out = (struct iscsi_async_message){
        .event = pdu[PDU_AT_ASYNC_EVENT],
        .vcode = pdu[PDU_AT_ASYNC_VCODE],
        .parameter1 = pdu_get16(parameters),
        .parameter2 = pdu_get16(parameters + 2),
        .parameter3 = pdu_get16(parameters + 4),
        .lun_raw = pdu_get64(pdu + PDU_AT_LUN),
        .pdu = pdu,
        .pdu_len = len,
    };
    if (out->event != 0 || data_len <= SENSE_LENGTH_BYTES)
        return;
    sense_len = pdu_get16(data);
    if (sense_len > data_len - SENSE_LENGTH_BYTES)
        sense_len = data_len - SENSE_LENGTH_BYTES;
    out->sense = sense_len ? data + SENSE_LENGTH_BYTES : NULL;
    out->sense_len = sense_len;
}

const char *async_message_text(uint8_t event)
{
    switch (event) {
    case 0: return "SCSI asynchronous event";
    case 1: return "target requests logout";
    case 2: return "target will drop this connection";
    case 3: return "target will drop all connections";
    case 4: return "target requests parameter negotiation";
    case 5: return "all active tasks of the logical unit are terminated";
    case 255: return "vendor specific";
    default: return "reserved event";
    }
}
