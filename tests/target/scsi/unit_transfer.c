/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks in and out, and how many there are. UNMAP is in unit_thin.c. */
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "tests/target/scsi/unit.h"

struct extent {
    uint64_t lba;
    uint32_t n_blocks;
    bool writes;
};

static struct extent extent_of(const uint8_t *cdb)
{
    switch (cdb[0]) {
    case UNIT_READ_6:
    case UNIT_WRITE_6:
        return (struct extent){get_be(cdb + 1, 3) & 0x1fffff, cdb[4] ? cdb[4] : 256, cdb[0] == UNIT_WRITE_6};
    case UNIT_READ_10:
    case UNIT_WRITE_10: return (struct extent){get_be(cdb + 2, 4), get_be(cdb + 7, 2), cdb[0] == UNIT_WRITE_10};
    case UNIT_READ_12:
    case UNIT_WRITE_12: return (struct extent){get_be(cdb + 2, 4), get_be(cdb + 6, 4), cdb[0] == UNIT_WRITE_12};
    default: return (struct extent){get_be64(cdb + 2), get_be(cdb + 10, 4), cdb[0] == UNIT_WRITE_16};
    }
}

static bool is_inside(const struct unit *u, uint64_t lba, uint64_t n_blocks)
{
    return lba <= u->n_blocks && n_blocks <= u->n_blocks - lba;
}

static void read_blocks(const struct unit *u, const struct extent *extent, struct scsi_reply *reply)
{
    size_t len = (size_t)extent->n_blocks * u->block_bytes;

    if (len == 0)
        return;
    reply->data = malloc(len);
    if (!reply->data) {
        reply->status = SCSI_BUSY;
        return;
    }
    reply->data_len = len;
    memory_read(&u->memory, extent->lba * u->block_bytes, reply->data, len);
}

/* What came is written as far as it makes whole blocks; when the initiator announced less, it is told by the residual.
 */
static void write_blocks(struct unit *u, const struct extent *extent, const struct scsi_request *request,
                         struct scsi_reply *reply)
{
    size_t n_blocks = request->data_len / u->block_bytes;
    int rc;

    if (n_blocks > extent->n_blocks)
        n_blocks = extent->n_blocks;
    if (n_blocks == 0)
        return;
    rc = memory_write(&u->memory, extent->lba * u->block_bytes, request->data, n_blocks * u->block_bytes);
    if (rc == UV_ENOSPC)
        reply_check(reply, KEY_DATA_PROTECT, ASC_NO_SPACE);
    else if (rc < 0)
        reply->status = SCSI_BUSY;
}

void unit_transfer(struct unit *u, const struct scsi_request *request, struct scsi_reply *reply)
{
    struct extent extent = extent_of(request->cdb);
    bool six = request->cdb[0] == UNIT_READ_6 || request->cdb[0] == UNIT_WRITE_6;

    if (!six && request->cdb[1] & 0xe0) { /* RDPROTECT, WRPROTECT */
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
        return;
    }
    if (!is_inside(u, extent.lba, extent.n_blocks) || (extent.lba == u->n_blocks && !six)) {
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
        return;
    }
    if (extent.n_blocks > UNIT_TRANSFER_BYTES / u->block_bytes) {
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
        return;
    }
    if (!extent.writes) {
        read_blocks(u, &extent, reply);
        return;
    }
    reply->data_out_len = (size_t)extent.n_blocks * u->block_bytes;
    if (unit_is_write_protected(u))
        reply_check(reply, KEY_DATA_PROTECT, ASC_WRITE_PROTECTED);
    else
        write_blocks(u, &extent, request, reply);
}

void unit_read_capacity(const struct unit *u, const struct scsi_request *request, struct scsi_reply *reply)
{
    uint64_t last = u->n_blocks - 1;
    uint8_t data[32] = {0};

    if (request->cdb[0] == UNIT_READ_CAPACITY_10) {
        put_be(data, last > UINT32_MAX ? UINT32_MAX : last, 4);
        put_be(data + 4, u->block_bytes, 4);
        reply_data(reply, data, 8, 8);
    } else if ((request->cdb[1] & 0x1f) == 0x10) {
        put_be(data, last, 8);
        put_be(data + 8, u->block_bytes, 4);
        data[14] = 0xc0; /* LBPME, LBPRZ: thin, and zero where nothing is */
        reply_data(reply, data, sizeof(data), get_be(request->cdb + 10, 4));
    } else {
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
    }
}

/* The medium is memory: there is nothing to write back. */
void unit_synchronize(const struct unit *u, const struct scsi_request *request, struct scsi_reply *reply)
{
    bool ten = request->cdb[0] == UNIT_SYNCHRONIZE_CACHE_10;
    uint64_t lba = ten ? get_be(request->cdb + 2, 4) : get_be64(request->cdb + 2);
    uint32_t n_blocks = ten ? get_be(request->cdb + 7, 2) : get_be(request->cdb + 10, 4);

    if (!is_inside(u, lba, n_blocks))
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_LBA_OUT_OF_RANGE);
}
