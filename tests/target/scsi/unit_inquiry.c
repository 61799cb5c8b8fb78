/* SPDX-License-Identifier: Apache-2.0 */
/* INQUIRY and its vital product data pages. */
#include <string.h>

#include "tests/target/scsi/unit.h"

#define VENDOR  "SENSEBUS"
#define PRODUCT "SENSEBUS TARGET "

static void standard(const struct unit *u, struct scsi_reply *reply, size_t allocation)
{
    /* SPC-4; HISUP, response format 2; implicit ALUA; CMDQUE; versions SAM-5, SPC-4, SBC-3, iSCSI. */
    uint8_t data[96] = {0x00, 0x00, 0x06, 0x12, 91, 0x10, 0x00, 0x02};

    (void)u;
    memcpy(data + 8, VENDOR, 8);
    memcpy(data + 16, PRODUCT, 16);
    memcpy(data + 32, "0001", 4);
    put_be(data + 58, 0x00a0, 2);
    put_be(data + 60, 0x0460, 2);
    put_be(data + 62, 0x04c0, 2);
    put_be(data + 64, 0x0960, 2);
    reply_data(reply, data, sizeof(data), allocation);
}

/* Device identification: the unit by NAA and by T10 vendor identifier, the port, and its group. */
static size_t page_identification(const struct unit *u, uint8_t *page)
{
    uint8_t *at = page;
    size_t serial_len = strlen(u->serial);

    memcpy(at, (const uint8_t[]){0x01, 0x03, 0x00, 8}, 4);
    memcpy(at + 4, u->naa, 8);
    at += 12;
    memcpy(at, (const uint8_t[]){0x02, 0x01, 0x00, (uint8_t)(8 + serial_len)}, 4);
    memcpy(at + 4, VENDOR, 8);
    memcpy(at + 12, u->serial, serial_len);
    at += 12 + serial_len;
    memcpy(at, (const uint8_t[]){0x51, 0x94, 0x00, 4, 0, 0, 0, 1}, 8);
    at += 8;
    memcpy(at, (const uint8_t[]){0x51, 0x95, 0x00, 4, 0, 0, 0, 1}, 8);
    at += 8;
    return (size_t)(at - page);
}

static size_t page_limits(const struct unit *u, uint8_t *page)
{
    put_be(page + 2, 1, 2);
    put_be(page + 4, UNIT_TRANSFER_BYTES / u->block_bytes, 4);
    put_be(page + 8, 65536 / u->block_bytes, 4);
    put_be(page + 16, UNIT_UNMAP_BLOCKS, 4);
    put_be(page + 20, UNIT_UNMAP_EXTENTS, 4);
    put_be(page + 24, MEMORY_PAGE_BYTES / u->block_bytes, 4);
    put_be(page + 28, UINT32_C(1) << 31, 4); /* aligned with block 0 */
    return 60;
}

/* Returns the length of the page behind its header; 0: no such page. */
static size_t vital_page(const struct unit *u, uint8_t code, uint8_t *page)
{
    static const uint8_t codes[] = {0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2};

    switch (code) {
    case 0x00: memcpy(page, codes, sizeof(codes)); return sizeof(codes);
    case 0x80: memcpy(page, u->serial, strlen(u->serial)); return strlen(u->serial);
    case 0x83: return page_identification(u, page);
    case 0xb0: return page_limits(u, page);
    case 0xb1: page[1] = 1; return 60; /* nothing rotates */
    case 0xb2: /* thin: pages of memory come when they are written, go by UNMAP, and are zero then (LBPU, LBPRZ) */
        page[1] = 0x84;
        page[2] = 0x02;
        return 4;
    default: return 0;
    }
}

void unit_inquiry(const struct unit *u, const struct scsi_request *request, struct scsi_reply *reply)
{
    const uint8_t *cdb = request->cdb;
    uint8_t page[128] = {0};
    size_t len;

    if (!(cdb[1] & 1) && cdb[2] == 0) {
        standard(u, reply, get_be(cdb + 3, 2));
        return;
    }
    len = cdb[1] & 1 ? vital_page(u, cdb[2], page + 4) : 0;
    if (len == 0) {
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
        return;
    }
    page[1] = cdb[2];
    put_be(page + 2, len, 2);
    reply_data(reply, page, len + 4, get_be(cdb + 3, 2));
}
