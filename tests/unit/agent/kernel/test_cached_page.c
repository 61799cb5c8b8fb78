/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kernel/cached_page.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "tests/unit/agent/source/fake_sysfs.h"

#define DEVICE "bus/scsi/devices/3:0:1:4/"

static struct fake_sysfs sysfs;
static const struct observation_place place = {3, 0, 1, 4};

static void setup(void)
{
    fake_sysfs_make(&sysfs);
    fake_sysfs_write(&sysfs, DEVICE "state", "running");
}

static void teardown(void)
{
    fake_sysfs_remove(&sysfs);
}

TestSuite(cached_page, .init = setup, .fini = teardown);

static void write_bytes(const char *file, const void *bytes, size_t len)
{
    char path[256];
    FILE *f;

    fake_sysfs_write(&sysfs, file, "");
    snprintf(path, sizeof path, "%s/%s", sysfs.root, file);
    f = fopen(path, "we");
    cr_assert_not_null(f);
    cr_assert_eq(fwrite(bytes, 1, len, f), len);
    fclose(f);
}

static int read_page(int page, const void *expected, size_t expected_len)
{
    uint8_t *bytes = NULL;
    size_t len = 0;
    int rc = cached_page_read(sysfs.root, &place, page, &bytes, &len);

    if (rc == 0) {
        cr_assert_eq(len, expected_len);
        cr_assert_eq(memcmp(bytes, expected, len), 0);
        free(bytes);
    }
    return rc;
}

Test(cached_page, is_what_the_kernel_keeps)
{
    static const uint8_t inquiry[96] = {0, 0, 6, 2, 91}, limits[8] = {0, 0xb0, 0, 4, 1, 2, 3, 4};
    static uint8_t longest[CACHED_PAGE_MAX_BYTES] = {0, 0x83, 0xff, 0xff};

    write_bytes(DEVICE "inquiry", inquiry, sizeof inquiry);
    write_bytes(DEVICE "vpd_pgb0", limits, sizeof limits);
    write_bytes(DEVICE "vpd_pg83", longest, sizeof longest);
    cr_assert_eq(read_page(CACHED_PAGE_STANDARD, inquiry, sizeof inquiry), 0);
    cr_assert_eq(read_page(0xb0, limits, sizeof limits), 0);
    cr_assert_eq(read_page(0x83, longest, sizeof longest), 0);
}

Test(cached_page, what_is_not_kept_or_not_whole_is_told_apart)
{
    static const uint8_t other[8] = {0, 0xb1, 0, 4}, cut[3] = {0, 0x80, 0}, zeros[35] = {0};

    cr_expect_eq(read_page(0xc0, NULL, 0), UV_ENOENT);
    cr_expect_eq(read_page(CACHED_PAGE_STANDARD, NULL, 0), UV_ENOENT);
    write_bytes(DEVICE "vpd_pgb0", other, sizeof other);
    cr_expect_eq(read_page(0xb0, NULL, 0), UV_EPROTO);
    write_bytes(DEVICE "vpd_pg80", cut, sizeof cut);
    cr_expect_eq(read_page(0x80, NULL, 0), UV_EPROTO);
    write_bytes(DEVICE "vpd_pg0", "", 0);
    cr_expect_eq(read_page(0, NULL, 0), UV_ENOENT);
    write_bytes(DEVICE "inquiry", zeros, sizeof zeros);
    cr_expect_eq(read_page(CACHED_PAGE_STANDARD, NULL, 0), UV_EPROTO);
    fake_sysfs_delete(&sysfs, DEVICE);
    cr_expect_eq(read_page(0x80, NULL, 0), UV_ENODEV);
}

Test(cached_page, those_that_there_are_are_listed_in_order)
{
    char text[CACHED_PAGE_LIST_BYTES], file[64];

    cr_assert_str_eq(cached_page_list(sysfs.root, &place, text), "none");
    for (const char *const *name =
             (const char *const[]){"vpd_pgb0", "vpd_pg83", "vpd_pg0", "vpd_pgxx", "vpd_pg123", "vpd_pg", NULL};
         *name; name++) {
        snprintf(file, sizeof file, DEVICE "%s", *name);
        fake_sysfs_write(&sysfs, file, "");
    }
    cr_assert_str_eq(cached_page_list(sysfs.root, &place, text), "00h, 83h, B0h");
    for (unsigned page = 0; page < 256; page++) {
        snprintf(file, sizeof file, DEVICE "vpd_pg%x", page);
        fake_sysfs_write(&sysfs, file, "");
    }
    cr_assert_lt(strlen(cached_page_list(sysfs.root, &place, text)), CACHED_PAGE_LIST_BYTES);
}
