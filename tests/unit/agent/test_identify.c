/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identify.h"

#include <criterion/criterion.h>
#include <string.h>
#include <uv.h>

#include "proto/event_view.h"

static struct identity id;

static void begin(void)
{
    identity_init(&id);
}

TestSuite(identify, .init = begin);

static const uint8_t *inquiry(const char *vendor8_product16_revision4)
{
    static uint8_t data[96];

    memset(data, 0, sizeof data);
    data[1] = 0x80;
    memcpy(data + 8, vendor8_product16_revision4, 28);
    return data;
}

Test(identify, inquiry_names_lose_their_padding)
{
    cr_assert_eq(identify_inquiry(inquiry("IET     VIRTUAL-DISK    0001"), 96, &id), 0);
    cr_assert_str_eq(id.vendor, "IET");
    cr_assert_str_eq(id.product, "VIRTUAL-DISK");
    cr_assert_str_eq(id.revision, "0001");
    cr_assert(id.removable);
    cr_assert_eq(id.device_type, 0);
    cr_assert_eq(id.raw_inquiry_len, 0);
}

Test(identify, hostile_names_become_text_and_keep_their_bytes)
{
    cr_assert_eq(identify_inquiry(inquiry("\xff"
                                          "EVIL\0\xc3 "
                                          "\xed\xa0\x80 surrogate   "
                                          "\n\x1b\xc3\xa9"),
                                  96, &id),
                 0);
    cr_assert_str_eq(id.vendor, "\xef\xbf\xbd"
                                "EVIL\xef\xbf\xbd\xef\xbf\xbd");
    cr_assert(utf8_valid((uint8_t *)id.product, strlen(id.product)));
    cr_assert_str_eq(id.revision, "\n\x1b\xc3\xa9");
    cr_assert_eq(id.raw_inquiry_len, 96);
    cr_assert_eq(id.raw_inquiry[8], 0xff);
}

Test(identify, short_inquiry_data_is_refused_and_changes_nothing)
{
    for (size_t len = 0; len < 36; len++)
        cr_assert_eq(identify_inquiry(inquiry("IET     VIRTUAL-DISK    0001"), len, &id), UV_EINVAL);
    cr_assert(!id.known);
    cr_assert_eq(id.device_type, -1);
}

Test(identify, text_is_cut_at_a_character)
{
    char out[6];

    identify_text((const uint8_t *)"abcd\xc3\xa9", 6, out, sizeof out);
    cr_assert_str_eq(out, "abcd");
    identify_text((const uint8_t *)"abc\xc3\xa9", 5, out, sizeof out);
    cr_assert_str_eq(out, "abc\xc3\xa9");
    identify_text((const uint8_t *)"   ", 3, out, sizeof out);
    cr_assert_str_eq(out, "");
}

Test(identify, pages_that_matter_are_remembered)
{
    static const uint8_t pages[] = {0, 0, 0, 4, 0x00, 0x80, 0x83, 0xb0};

    cr_assert_eq(identify_vpd_pages(pages, sizeof pages, &id), 0);
    cr_assert_eq(id.pages, IDENTITY_HAS_SERIAL | IDENTITY_HAS_DESIGNATORS | IDENTITY_HAS_BLOCK_LIMITS);
    cr_assert_eq(identify_vpd_pages(pages, 6, &id), 0, "cut: what is there counts");
    cr_assert_eq(id.pages, IDENTITY_HAS_SERIAL);
    cr_assert_eq(identify_vpd_pages(pages, 3, &id), UV_EINVAL);
}

Test(identify, a_page_that_is_another_one_is_refused)
{
    static const uint8_t wrong[] = {0, 0x83, 0, 4, 'A', 'B', 'C', 'D'};

    cr_assert_eq(identify_vpd_serial(wrong, sizeof wrong, &id), UV_EINVAL);
    cr_assert_str_eq(id.serial, "");
}

Test(identify, serial_number)
{
    static const uint8_t page[] = {0, 0x80, 0, 8, ' ', ' ', 'b', 'e', 'a', 'f', '1', '1'};

    cr_assert_eq(identify_vpd_serial(page, sizeof page, &id), 0);
    cr_assert_str_eq(id.serial, "beaf11");
}

Test(identify, the_best_designator_wins)
{
    static const uint8_t page[] = {
        0,    0x83, 0, 56,                                          /* header */
        0x02, 0x01, 0, 8,  'I',  'E', 'T', ' ', ' ', ' ', ' ', ' ', /* t10 */
        0x01, 0x02, 0, 8,  1,    2,   3,   4,   5,   6,   7,   8,   /* eui */
        0x01, 0x13, 0, 8,  9,    9,   9,   9,   9,   9,   9,   9,   /* naa of the port */
        0x01, 0x03, 0, 8,  0x30, 0,   0,   0,   0,   0,   0,   1,   /* naa */
        0x01, 0x03, 0, 4,  1,    2,   3,   4,                       /* naa of a wrong length */
    };

    cr_assert_eq(identify_vpd_designators(page, sizeof page, &id), 0);
    cr_assert_str_eq(id.designator, "naa.3000000000000001");
    identity_init(&id);
    cr_assert_eq(identify_vpd_designators(page, 40, &id), 0, "cut");
    cr_assert_str_eq(id.designator, "eui.0102030405060708");
    identity_init(&id);
    cr_assert_eq(identify_vpd_designators(page, 16, &id), 0, "cut");
    cr_assert_str_eq(id.designator, "t10.IET");
}

Test(identify, a_descriptor_that_reaches_beyond_the_page_ends_the_list)
{
    static const uint8_t page[] = {0, 0x83, 0, 8, 0x01, 0x03, 0, 200, 1, 2, 3, 4};

    cr_assert_eq(identify_vpd_designators(page, sizeof page, &id), 0);
    cr_assert_str_eq(id.designator, "");
}

Test(identify, capacities)
{
    static const uint8_t ten[] = {0, 0, 0x3f, 0xff, 0, 0, 2, 0}, large[] = {0xff, 0xff, 0xff, 0xff, 0, 0, 2, 0};
    static const uint8_t sixteen[] = {0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x10, 0};
    bool use_16;

    cr_assert_eq(identify_capacity_10(ten, 8, &id, &use_16), 0);
    cr_assert_eq(id.n_blocks, 0x4000);
    cr_assert_eq(id.block_bytes, 512);
    cr_assert(!use_16);
    cr_assert_eq(identify_capacity_10(large, 8, &id, &use_16), 0);
    cr_assert(use_16);
    cr_assert_eq(identify_capacity_16(sixteen, 12, &id), 0);
    cr_assert_eq(id.n_blocks, 0x100000001ull);
    cr_assert_eq(id.block_bytes, 4096);
    cr_assert_eq(identify_capacity_10(ten, 7, &id, &use_16), UV_EINVAL);
    cr_assert_eq(identify_capacity_16(sixteen, 11, &id), UV_EINVAL);
}

Test(identify, write_protection_of_both_forms_of_mode_sense)
{
    static const uint8_t ten[] = {0, 6, 0, 0x90, 0, 0, 0, 0}, six[] = {3, 0, 0x10, 0},
                         cut[] = {0, 5, 0, 0x80, 0, 0, 0, 0};
    uint8_t protection = 1;

    cr_assert_eq(identify_protection(ten, sizeof ten, false, &protection), 0);
    cr_assert_eq(protection, 0x80);
    cr_assert_eq(identify_protection(six, sizeof six, true, &protection), 0);
    cr_assert_eq(protection, 0);
    cr_assert_eq(identify_protection(ten, 7, false, &protection), UV_EINVAL);
    cr_assert_eq(identify_protection(six, 3, true, &protection), UV_EINVAL);
    cr_assert_eq(identify_protection(cut, sizeof cut, false, &protection), UV_EINVAL, "announced too short");
    cr_assert_eq(identify_protection(NULL, 0, true, &protection), UV_EINVAL);
}

Test(identify, write_protection_is_of_disks_and_tapes_and_not_of_cd_drives)
{
    static const struct {
        int32_t type;
        bool has;
    } types[] = {{0x00, true}, {0x01, true}, {0x05, false}, {0x07, true}, {0x0d, false}, {0x14, true}, {-1, false}};

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        cr_assert_eq(identity_has_protection(&(struct identity){.device_type = types[i].type}), types[i].has);
}

Test(identify, block_limits)
{
    uint8_t page[64] = {0, 0xb0, 0, 0x3c};

    page[10] = 4;
    cr_assert_eq(identify_vpd_block_limits(page, sizeof page, &id), 0);
    cr_assert_eq(id.maximum_transfer_blocks, 1024);
    cr_assert_eq(identify_vpd_block_limits(page, 11, &id), UV_EINVAL);
}

Test(identify, another_device_is_known_by_serial_or_designator)
{
    struct identity a, b;

    identity_init(&a);
    a.known = true;
    strcpy(a.serial, "1");
    b = a;
    cr_assert(!identity_differs(&a, &b));
    strcpy(b.revision, "0002");
    cr_assert(!identity_differs(&a, &b), "new firmware is no new device");
    strcpy(b.serial, "2");
    cr_assert(identity_differs(&a, &b));
    b.serial[0] = 0;
    cr_assert(!identity_differs(&a, &b), "a page that failed is no new device");
}
