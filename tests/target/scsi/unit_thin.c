/* SPDX-License-Identifier: Apache-2.0 */
/* A thin unit: UNMAP (SBC-3 section 5.28), and the threshold above which it says that it fills up (4.7.3.8). */
#include "tests/target/scsi/unit.h"

#define HEADER_BYTES     8
#define DESCRIPTOR_BYTES 16

/* What is to be unmapped: blocks of `extents`, each with its first block (8 bytes), their number (4) and padding. */
struct unmap {
    const uint8_t *extents;
    size_t n_extents;
};

static bool parse(const struct scsi_request *request, struct unmap *out, enum asc *out_fault)
{
    size_t len = get_be(request->cdb + 7, 2), told;

    *out_fault = ASC_PARAMETER_LIST_LENGTH;
    if (len > request->data_len || len < HEADER_BYTES)
        return false;
    told = get_be(request->data + 2, 2);
    if (told > len - HEADER_BYTES)
        return false;
    *out = (struct unmap){request->data + HEADER_BYTES, told / DESCRIPTOR_BYTES};
    return true;
}

/* All of it is looked at before anything is done. */
static bool is_allowed(const struct unit *u, const struct unmap *unmap, enum asc *out_fault)
{
    uint64_t n_all = 0;

    for (size_t i = 0; i < unmap->n_extents; i++) {
        const uint8_t *extent = unmap->extents + i * DESCRIPTOR_BYTES;
        uint64_t lba = get_be64(extent), n = get_be(extent + 8, 4);

        *out_fault = ASC_LBA_OUT_OF_RANGE;
        if (lba > u->n_blocks || n > u->n_blocks - lba)
            return false;
        n_all += n;
    }
    *out_fault = ASC_INVALID_FIELD_IN_LIST;
    return n_all <= UNIT_UNMAP_BLOCKS && unmap->n_extents <= UNIT_UNMAP_EXTENTS;
}

void unit_unmap(struct unit *u, const struct scsi_request *request, struct scsi_reply *reply)
{
    struct unmap unmap;
    enum asc fault;

    reply->data_out_len = get_be(request->cdb + 7, 2);
    if (request->cdb[1] & 1) { /* ANCHOR */
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
        return;
    }
    if (unit_is_write_protected(u)) {
        reply_check(reply, KEY_DATA_PROTECT, ASC_WRITE_PROTECTED);
        return;
    }
    if (reply->data_out_len == 0)
        return;
    if (!parse(request, &unmap, &fault) || !is_allowed(u, &unmap, &fault)) {
        reply_check(reply, KEY_ILLEGAL_REQUEST, fault);
        return;
    }
    for (size_t i = 0; i < unmap.n_extents; i++) {
        const uint8_t *extent = unmap.extents + i * DESCRIPTOR_BYTES;

        memory_discard(&u->memory, get_be64(extent) * u->block_bytes, (uint64_t)get_be(extent + 8, 4) * u->block_bytes);
    }
}

bool unit_crosses_threshold(struct unit *u)
{
    bool was_reached = u->threshold_reached;

    u->threshold_reached =
        u->threshold_blocks > 0 && memory_used_bytes(&u->memory) / u->block_bytes >= u->threshold_blocks;
    return u->threshold_reached && !was_reached;
}
