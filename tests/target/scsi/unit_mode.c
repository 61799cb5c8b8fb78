/* SPDX-License-Identifier: Apache-2.0 */
/* Mode parameters: caching (08h), control (0Ah), informational exceptions control (1Ch). Nothing is saved. */
#include <string.h>

#include "tests/target/scsi/unit.h"

struct page_kind {
    uint8_t code, len; /* whole, header included */
    uint8_t initial[UNIT_PAGE_BYTES], changeable[UNIT_PAGE_BYTES];
};

enum { PAGE_CACHING, PAGE_CONTROL, PAGE_EXCEPTIONS };

static const struct page_kind kinds[UNIT_N_PAGES] = {
    [PAGE_CACHING] = {0x08, 20, {0x08, 0x12, 0x04}, {0x08, 0x12, 0x04}},                /* WCE */
    [PAGE_CONTROL] = {0x0a, 12, {0x0a, 0x0a, 0x02}, {0x0a, 0x0a, 0x00, 0x00, 0x08}},    /* SWP */
    [PAGE_EXCEPTIONS] = {0x1c, 12, {0x1c, 0x0a, 0x00, 0x02}, {0x1c, 0x0a, 0x00, 0x0f}}, /* MRIE: 2h = attention */
};

void unit_reset_pages(struct unit *u)
{
    for (int i = 0; i < UNIT_N_PAGES; i++)
        memcpy(u->pages[i], kinds[i].initial, UNIT_PAGE_BYTES);
}

bool unit_tells_health(const struct unit *u)
{
    return (u->pages[PAGE_EXCEPTIONS][3] & 0x0f) == 0x02;
}

bool unit_is_write_protected(const struct unit *u)
{
    return u->read_only || u->pages[PAGE_CONTROL][4] & 0x08;
}

/* Header and block descriptor. Returns their length. */
static size_t sense_head(const struct unit *u, const struct scsi_request *request, uint8_t *out)
{
    bool ten = request->cdb[0] == UNIT_MODE_SENSE_10;
    size_t header = ten ? 8 : 4, descriptor = request->cdb[1] & 0x08 ? 0 : 8;

    out[ten ? 3 : 2] = (uint8_t)((unit_is_write_protected(u) ? 0x80 : 0) | 0x10); /* WP, DPOFUA */
    out[header - 1] = (uint8_t)descriptor;
    if (descriptor) {
        put_be(out + header, u->n_blocks > UINT32_MAX ? UINT32_MAX : u->n_blocks, 4);
        put_be(out + header + 5, u->block_bytes, 3);
    }
    return header + descriptor;
}

/* The page by its control: current, changeable, default. */
static const uint8_t *page_bytes(const struct unit *u, int i, int control)
{
    return control == 0 ? u->pages[i] : control == 1 ? kinds[i].changeable : kinds[i].initial;
}

void unit_mode_sense(const struct unit *u, const struct scsi_request *request, struct scsi_reply *reply)
{
    bool ten = request->cdb[0] == UNIT_MODE_SENSE_10;
    uint8_t code = request->cdb[2] & 0x3f, subpage = request->cdb[3], out[128] = {0};
    int control = request->cdb[2] >> 6;
    size_t len = sense_head(u, request, out), head = len;

    for (int i = 0; i < UNIT_N_PAGES; i++) {
        if (code != 0x3f && code != kinds[i].code)
            continue;
        memcpy(out + len, page_bytes(u, i, control), kinds[i].len);
        len += kinds[i].len;
    }
    if (len == head || (subpage != 0 && (subpage != 0xff || code != 0x3f))) {
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
    } else if (control == 3) {
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_SAVING_NOT_SUPPORTED);
    } else {
        put_be(out, len - (ten ? 2 : 1), ten ? 2 : 1);
        reply_data(reply, out, len, ten ? get_be(request->cdb + 7, 2) : request->cdb[4]);
    }
}

static int kind_of(const uint8_t *page, size_t len)
{
    for (int i = 0; i < UNIT_N_PAGES; i++)
        if (len >= kinds[i].len && (page[0] & 0x7f) == kinds[i].code && page[1] == kinds[i].len - 2)
            return i;
    return -1;
}

/* Take one page over. Returns its length, 0 when it is not one of ours or changes what cannot be changed. */
static size_t select_page(uint8_t pages[UNIT_N_PAGES][UNIT_PAGE_BYTES], const uint8_t *page, size_t len)
{
    int kind = kind_of(page, len);

    if (kind < 0)
        return 0;
    for (size_t i = 2; i < kinds[kind].len; i++)
        if ((page[i] ^ pages[kind][i]) & ~kinds[kind].changeable[i])
            return 0;
    memcpy(pages[kind] + 2, page + 2, (size_t)kinds[kind].len - 2);
    return kinds[kind].len;
}

bool unit_mode_select(struct unit *u, const struct scsi_request *request, struct scsi_reply *reply)
{
    bool ten = request->cdb[0] == UNIT_MODE_SELECT_10;
    size_t listed = ten ? get_be(request->cdb + 7, 2) : request->cdb[4], header = ten ? 8 : 4, at;
    uint8_t pages[UNIT_N_PAGES][UNIT_PAGE_BYTES];

    reply->data_out_len = listed;
    if (request->cdb[1] & 0x01 || !(request->cdb[1] & 0x10)) { /* SP; PF */
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
        return false;
    }
    if (listed == 0)
        return false;
    if (request->data_len < listed || listed < header) {
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH);
        return false;
    }
    at = header + (ten ? get_be(request->data + 6, 2) : request->data[3]);
    memcpy(pages, u->pages, sizeof(pages));
    for (size_t n; at < listed; at += n) {
        n = select_page(pages, request->data + at, listed - at);
        if (n == 0)
            break;
    }
    if (at != listed) {
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_LIST);
        return false;
    }
    if (memcmp(pages, u->pages, sizeof(pages)) == 0)
        return false;
    memcpy(u->pages, pages, sizeof(pages));
    return true;
}
