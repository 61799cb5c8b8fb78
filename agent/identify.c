/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identify.h"

#include <string.h>
#include <uv.h>

#include "agent/big_endian.h"
#include "proto/event_view.h"

#define VPD_HEADER_BYTES 4

void identity_init(struct identity *id)
{
    memset(id, 0, sizeof *id);
    id->device_type = -1;
}

/* Length of the valid UTF-8 character at the start of `bytes`, or 0. */
static size_t character_len(const uint8_t *bytes, size_t len)
{
    size_t want = bytes[0] < 0x80 ? 1 : bytes[0] < 0xe0 ? 2 : bytes[0] < 0xf0 ? 3 : 4;

    if (bytes[0] == 0 || want > len || !utf8_valid(bytes, want))
        return 0;
    return want;
}

bool identify_text(const uint8_t *bytes, size_t len, char *out, size_t cap)
{
    static const char replacement[] = "\xef\xbf\xbd";
    bool clean = true;
    size_t used = 0;

    while (len > 0 && (bytes[len - 1] == 0 || bytes[len - 1] == ' '))
        len--;
    while (len > 0 && bytes[0] == ' ')
        bytes++, len--;

    while (len > 0) {
        size_t n = character_len(bytes, len);
        const void *from = n ? (const void *)bytes : replacement;
        size_t out_n = n ? n : sizeof replacement - 1;

        if (used + out_n >= cap)
            break;
        memcpy(out + used, from, out_n);
        used += out_n;
        clean = clean && n > 0;
        bytes += n ? n : 1;
        len -= n ? n : 1;
    }
    out[used] = 0;
    return clean;
}

int identify_inquiry(const uint8_t *data, size_t len, struct identity *id)
{
    bool clean;

    if (len < 36) /* vendor, product and revision are mandatory */
        return UV_EINVAL;
    id->known = true;
    id->qualifier = data[0] >> 5;
    id->device_type = data[0] & 0x1f;
    id->removable = data[1] & 0x80;
    clean = identify_text(data + 8, 8, id->vendor, sizeof id->vendor);
    clean = identify_text(data + 16, 16, id->product, sizeof id->product) && clean;
    clean = identify_text(data + 32, 4, id->revision, sizeof id->revision) && clean;

    id->raw_inquiry_len = 0;
    if (!clean) {
        id->raw_inquiry_len = len < IDENTITY_RAW_BYTES ? len : IDENTITY_RAW_BYTES;
        memcpy(id->raw_inquiry, data, id->raw_inquiry_len);
    }
    return 0;
}

int identify_vpd_payload(const uint8_t *data, size_t len, uint8_t page, const uint8_t **out_payload, size_t *out_len)
{
    size_t announced;

    if (len < VPD_HEADER_BYTES || data[1] != page)
        return UV_EINVAL;
    announced = be16_read(data + 2);
    *out_payload = data + VPD_HEADER_BYTES;
    *out_len = len - VPD_HEADER_BYTES < announced ? len - VPD_HEADER_BYTES : announced;
    return 0;
}

int identify_vpd_pages(const uint8_t *data, size_t len, struct identity *id)
{
    const uint8_t *pages;
    size_t n;
    int rc = identify_vpd_payload(data, len, 0x00, &pages, &n);

    if (rc < 0)
        return rc;
    id->pages = 0;
    for (size_t i = 0; i < n; i++) {
        if (pages[i] == 0x80)
            id->pages |= IDENTITY_HAS_SERIAL;
        else if (pages[i] == 0x83)
            id->pages |= IDENTITY_HAS_DESIGNATORS;
        else if (pages[i] == 0xb0)
            id->pages |= IDENTITY_HAS_BLOCK_LIMITS;
    }
    return 0;
}

int identify_vpd_serial(const uint8_t *data, size_t len, struct identity *id)
{
    const uint8_t *serial;
    size_t n;
    int rc = identify_vpd_payload(data, len, 0x80, &serial, &n);

    if (rc < 0)
        return rc;
    identify_text(serial, n < 252 ? n : 252, id->serial, sizeof id->serial);
    return 0;
}

/* One designation descriptor (SPC-4 section 7.8.6.1). */
struct designator {
    uint8_t code_set, association, type;
    const uint8_t *bytes;
    size_t len;
};

/* How much we like it; 0 = of no use. NAA before EUI-64 before T10 vendor; of two NAAs the longer. */
static unsigned designator_rank(const struct designator *d)
{
    if (d->association != 0 || d->len == 0) /* not of the logical unit */
        return 0;
    switch (d->type) {
    case 3: return d->code_set == 1 && (d->len == 8 || d->len == 16) ? 300 + (unsigned)d->len : 0;
    case 2: return d->code_set == 1 && (d->len == 8 || d->len == 12 || d->len == 16) ? 200 + (unsigned)d->len : 0;
    case 1: return 100;
    default: return 0;
    }
}

static void hex_append(char *out, size_t cap, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    size_t used = strlen(out);

    for (size_t i = 0; i < len && used + 2 < cap; i++) {
        out[used++] = digits[bytes[i] >> 4];
        out[used++] = digits[bytes[i] & 15];
    }
    out[used] = 0;
}

static void designator_print(const struct designator *d, char *out, size_t cap)
{
    strcpy(out, d->type == 3 ? "naa." : d->type == 2 ? "eui." : "t10.");
    if (d->type != 1 || d->code_set == 1)
        hex_append(out, cap, d->bytes, d->len);
    else
        identify_text(d->bytes, d->len, out + 4, cap - 4);
}

int identify_vpd_designators(const uint8_t *data, size_t len, struct identity *id)
{
    struct designator best = {0};
    const uint8_t *p;
    size_t left;
    int rc = identify_vpd_payload(data, len, 0x83, &p, &left);

    if (rc < 0)
        return rc;
    while (left >= 4 && (size_t)4 + p[3] <= left) {
        struct designator d = {
            .code_set = p[0] & 0x0f,
            .association = p[1] >> 4 & 3,
            .type = p[1] & 0x0f,
            .bytes = p + 4,
            .len = p[3],
        };

        if (designator_rank(&d) > designator_rank(&best))
            best = d;
        p += 4 + d.len;
        left -= 4 + d.len;
    }
    if (best.len > 0)
        designator_print(&best, id->designator, sizeof id->designator);
    return 0;
}

int identify_vpd_block_limits(const uint8_t *data, size_t len, struct identity *id)
{
    const uint8_t *p;
    size_t n;
    int rc = identify_vpd_payload(data, len, 0xb0, &p, &n);

    if (rc < 0)
        return rc;
    if (n < 8)
        return UV_EINVAL;
    id->maximum_transfer_blocks = be32_read(p + 4);
    return 0;
}

int identify_capacity_10(const uint8_t *data, size_t len, struct identity *id, bool *out_use_16)
{
    uint32_t last;

    if (len < 8)
        return UV_EINVAL;
    last = be32_read(data);
    *out_use_16 = last == UINT32_MAX;
    id->n_blocks = last == UINT32_MAX ? 0 : (uint64_t)last + 1;
    id->block_bytes = be32_read(data + 4);
    return 0;
}

int identify_capacity_16(const uint8_t *data, size_t len, struct identity *id)
{
    uint64_t last;

    if (len < 12)
        return UV_EINVAL;
    last = be64_read(data);
    if (last == UINT64_MAX)
        return UV_EINVAL;
    id->n_blocks = last + 1;
    id->block_bytes = be32_read(data + 8);
    return 0;
}

/* The device-specific parameter of the header (SPC-4 section 7.5.5; SBC-3 section 6.4.1, SSC-4 section 8.3). */
int identify_protection(const uint8_t *data, size_t len, bool form_6, uint8_t *out_protection)
{
    size_t header = form_6 ? 4 : 8, at = form_6 ? 2 : 3;
    size_t announced = len < header ? 0 : form_6 ? data[0] + (size_t)1 : be16_read(data) + (size_t)2;

    if (announced < header)
        return UV_EINVAL;
    *out_protection = data[at] & 0x80;
    return 0;
}

bool identity_has_protection(const struct identity *id)
{
    return id->device_type == 0x01 || (identity_has_blocks(id) && id->device_type != 0x05); /* MMC has none */
}

bool identity_has_blocks(const struct identity *id)
{
    switch (id->device_type) {
    case 0x00: /* direct access */
    case 0x05: /* CD/DVD */
    case 0x07: /* optical memory */
    case 0x0e: /* simplified direct access */
    case 0x14: /* host managed zoned */ return true;
    default: return false;
    }
}

static bool text_differs(const char *before, const char *now)
{
    return before[0] && now[0] && strcmp(before, now) != 0;
}

bool identity_differs(const struct identity *before, const struct identity *now)
{
    return before->known && now->known &&
           (text_differs(before->designator, now->designator) || text_differs(before->serial, now->serial));
}
