/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/target/scsi/reply.h"

#include <stdlib.h>
#include <string.h>

void reply_deinit(struct scsi_reply *r)
{
    free(r->data);
    *r = (struct scsi_reply){0};
}

void sense_fixed(uint8_t out[SENSE_FIXED_BYTES], uint8_t response_code, uint8_t key, uint16_t asc)
{
    memset(out, 0, SENSE_FIXED_BYTES);
    out[0] = response_code;
    out[2] = key;
    out[7] = SENSE_FIXED_BYTES - 8;
    put_be(out + 12, asc, 2);
}

void reply_sense(struct scsi_reply *r, const uint8_t *sense, size_t len)
{
    size_t data_out_len = r->data_out_len;

    reply_deinit(r);
    r->status = SCSI_CHECK_CONDITION;
    r->data_out_len = data_out_len;
    r->sense_len = len < SENSE_MAX_BYTES ? len : SENSE_MAX_BYTES;
    if (r->sense_len > 0)
        memcpy(r->sense, sense, r->sense_len);
}

void reply_check(struct scsi_reply *r, enum sense_key key, enum asc asc)
{
    uint8_t sense[SENSE_FIXED_BYTES];

    sense_fixed(sense, 0x70, (uint8_t)key, (uint16_t)asc);
    reply_sense(r, sense, sizeof(sense));
}

void reply_data(struct scsi_reply *r, const uint8_t *bytes, size_t len, size_t allocation_length)
{
    size_t n = len < allocation_length ? len : allocation_length;

    reply_deinit(r);
    if (n == 0)
        return;
    r->data = malloc(n);
    if (!r->data) {
        r->status = SCSI_BUSY;
        return;
    }
    memcpy(r->data, bytes, n);
    r->data_len = n;
}
