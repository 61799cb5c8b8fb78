/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/agent/iscsi/pdus.h"

#include <assert.h>
#include <string.h>

#include "agent/iscsi/digest.h"

static void append(struct pdus *p, const void *bytes, size_t len)
{
    assert(p->len + len <= sizeof(p->bytes));
    if (len)
        memcpy(p->bytes + p->len, bytes, len);
    p->len += len;
}

static void append_digest(struct pdus *p, size_t from)
{
    uint8_t digest[DIGEST_BYTES];

    digest_put(digest, p->bytes + from, p->len - from);
    append(p, digest, sizeof(digest));
}

size_t pdus_add(struct pdus *p, const struct pdu_fields *f)
{
    uint8_t header[PDU_HEADER_BYTES] = {(uint8_t)f->opcode, f->flags, f->byte2, f->byte3};
    size_t begin = p->len, data_begin;

    pdu_put32(header + PDU_AT_DATA_LENGTH, (uint32_t)f->data_len);
    header[PDU_AT_AHS_WORDS] = (uint8_t)(f->ahs_len / 4);
    pdu_put32(header + PDU_AT_LUN, (uint32_t)(f->lun >> 32));
    pdu_put32(header + PDU_AT_LUN + 4, (uint32_t)f->lun);
    pdu_put32(header + PDU_AT_ITT, f->itt);
    pdu_put32(header + 20, f->at20);
    pdu_put32(header + 24, f->at24);
    pdu_put32(header + 28, f->at28);
    memcpy(header + 32, f->at32, sizeof(f->at32));
    append(p, header, sizeof(header));
    append(p, f->ahs, f->ahs_len);
    if (p->header_digest)
        append_digest(p, begin);
    data_begin = p->len;
    append(p, f->data, f->data_len);
    append(p, "\0\0\0", -f->data_len & 3);
    if (p->data_digest && f->data_len)
        append_digest(p, data_begin);
    return begin;
}
