/* SPDX-License-Identifier: Apache-2.0 */
/* What a logical unit says about itself: INQUIRY data, vital product data pages, capacity.
 *
 * All of it is hostile input: every length is checked, every text becomes valid UTF-8 without NUL. A parser that
 * returns UV_EINVAL has changed nothing. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IDENTITY_RAW_BYTES        96
#define IDENTITY_SERIAL_BYTES     757 /* 252 bytes, each of which may become U+FFFD */
#define IDENTITY_DESIGNATOR_BYTES 768

enum identity_page {
    IDENTITY_HAS_SERIAL = 1,       /* 80h */
    IDENTITY_HAS_DESIGNATORS = 2,  /* 83h */
    IDENTITY_HAS_BLOCK_LIMITS = 4, /* B0h */
};

struct identity {
    bool known;          /* standard INQUIRY data was understood */
    uint8_t qualifier;   /* 0 = unit is there, 1 = not connected, 3 = no unit at this LUN (SPC-4 section 6.4.2) */
    int32_t device_type; /* 0..31, -1 not known */
    bool removable;
    char vendor[25], product[49], revision[13];
    char serial[IDENTITY_SERIAL_BYTES];
    char designator[IDENTITY_DESIGNATOR_BYTES]; /* "naa.…", "eui.…", "t10.…" or "" */
    uint8_t raw_inquiry[IDENTITY_RAW_BYTES];
    size_t raw_inquiry_len; /* 0 unless vendor, product or revision was not UTF-8 */
    unsigned pages;         /* enum identity_page, from VPD page 00h */
    uint64_t n_blocks;      /* 0 = not known */
    uint32_t block_bytes;
    uint32_t maximum_transfer_blocks;
};

void identity_init(struct identity *id);

/* Each takes the data of the command, at most as long as was received. */
int identify_inquiry(const uint8_t *data, size_t len, struct identity *id);
int identify_vpd_pages(const uint8_t *data, size_t len, struct identity *id);        /* 00h */
int identify_vpd_serial(const uint8_t *data, size_t len, struct identity *id);       /* 80h */
int identify_vpd_designators(const uint8_t *data, size_t len, struct identity *id);  /* 83h: the best of them */
int identify_vpd_block_limits(const uint8_t *data, size_t len, struct identity *id); /* B0h */
/* What stands behind the header of a VPD page: as far as it was announced, and received. */
int identify_vpd_payload(const uint8_t *data, size_t len, uint8_t page, const uint8_t **out_payload, size_t *out_len);
/* MODE SENSE(6) or (10) data: 80h when the unit is write protected, else 0. */
int identify_protection(const uint8_t *data, size_t len, bool form_6, uint8_t *out_protection);
/* Sets *out_use_16 when the unit is too large for the ten-byte command. */
int identify_capacity_10(const uint8_t *data, size_t len, struct identity *id, bool *out_use_16);
int identify_capacity_16(const uint8_t *data, size_t len, struct identity *id);

/* Blocks make sense for this device type (disks, optical, host managed zones). */
bool identity_has_blocks(const struct identity *id);
/* Its mode parameter header tells write protection (disks, tapes, optical, host managed zones). */
bool identity_has_protection(const struct identity *id);
/* Another device answers than before: designator or serial number are known in both and differ. */
bool identity_differs(const struct identity *before, const struct identity *now);

/* Device bytes as text: leading and trailing spaces and trailing NULs removed, invalid UTF-8 and inner NULs replaced by
 * U+FFFD; always terminated, cut at a character when `cap` is too small (3 * len + 1 always suffices). Returns false
 * when something was replaced. */
bool identify_text(const uint8_t *bytes, size_t len, char *out, size_t cap);
