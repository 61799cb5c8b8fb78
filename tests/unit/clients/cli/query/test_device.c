/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/query/device.h"

#include <criterion/criterion.h>
#include <string.h>

struct good {
    const char *text, *host, *name;
    int32_t target;
    int64_t lun;
    bool has_lun;
};

Test(device, host_target_and_lun_are_told_apart)
{
    static const struct good GOOD[] = {
        {"db-07:iqn.2026-01.example:disks:3", "db-07", "iqn.2026-01.example:disks", -1, 3, true},
        {"db-07:iqn.2026-01.example:disks", "db-07", "iqn.2026-01.example:disks", -1, 0, false},
        {"db-07:iqn.2026-01.example", "db-07", "iqn.2026-01.example", -1, 0, false},
        {"db-07:naa.6001405a1b2:0", "db-07", "naa.6001405a1b2", -1, 0, true},
        {"h:3", "h", "", 3, 0, false},
        {"h:3:4", "h", "", 3, 4, true},
        {"h:0:16383", "h", "", 0, 16383, true},
        {"h:eui.0123456789abcdef:9223372036854775807", "h", "eui.0123456789abcdef", -1, INT64_MAX, true},
    };
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++) {
        struct device d;
        char err[200] = "";
        cr_assert_eq(device_parse(GOOD[i].text, &d, err, sizeof err), 0, "%s: %s", GOOD[i].text, err);
        cr_expect_str_eq(d.host, GOOD[i].host, "%s", GOOD[i].text);
        cr_expect_str_eq(d.target_name, GOOD[i].name, "%s", GOOD[i].text);
        cr_expect_eq(d.target, GOOD[i].target, "%s", GOOD[i].text);
        cr_expect_eq(d.lun, GOOD[i].lun, "%s", GOOD[i].text);
        cr_expect_eq(d.has_lun, GOOD[i].has_lun, "%s", GOOD[i].text);
    }
}

Test(device, four_numbers_are_of_the_kernel)
{
    static const struct {
        const char *text, *adapter;
        int32_t bus, target;
        int64_t lun;
    } GOOD[] = {
        {"db-07:3:0:1:4", "host3", 0, 1, 4},
        {"h:0:2147483647:2147483647:9223372036854775807", "host0", INT32_MAX, INT32_MAX, INT64_MAX},
        {"h:12:1:0:16640", "host12", 1, 0, 256}, /* flat addressing, as the kernel writes it */
        {"h:12:1:0:16383", "host12", 1, 0, 16383},
        {"db-07:host3:0:1:4", "host3", 0, 1, 4}, /* as `sensebus devices` shows it */
    };
    static const char *const OTHERS[] = {"h:3:0:1",  "h:3:0:1:4:5",   "h:3:0:1:4x", "h:2147483648:0:0:0",
                                         "h:3::1:4", "h:hosts3:0:1:4"};
    struct device d;
    char err[200];
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++) {
        cr_assert_eq(device_parse(GOOD[i].text, &d, err, sizeof err), 0, "%s: %s", GOOD[i].text, err);
        cr_expect_str_eq(d.adapter, GOOD[i].adapter, "%s", GOOD[i].text);
        cr_expect_str_eq(d.target_name, "", "%s", GOOD[i].text);
        cr_expect(d.bus == GOOD[i].bus && d.target == GOOD[i].target && d.lun == GOOD[i].lun, "%s", GOOD[i].text);
    }
    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++) {
        cr_assert_eq(device_parse(OTHERS[i], &d, err, sizeof err), 0, "%s: %s", OTHERS[i], err);
        cr_expect_str_eq(d.adapter, "", "%s", OTHERS[i]);
        cr_expect_eq(d.bus, -1, "%s", OTHERS[i]);
    }
}

Test(device, what_is_none_is_named)
{
    static const char *const BAD[][2] = {
        {"", "HOST:TARGET"},           {"db-07", "'db-07'"},        {":iqn.x:3", "host is empty"},
        {"h:", "target is empty"},     {"h::3", "target is empty"}, {"h:iqn.x:99999999999999999999", "LUN"},
        {"h:4294967296", "too large"},
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        struct device d = {.target = 77};
        char err[200] = "";
        cr_assert_lt(device_parse(BAD[i][0], &d, err, sizeof err), 0, "%s", BAD[i][0]);
        cr_expect(strstr(err, BAD[i][1]), "%s: %s", BAD[i][0], err);
        cr_expect_eq(d.target, 77);
    }
}

Test(device, names_that_are_too_long_are_refused)
{
    char text[600], err[200];
    struct device d;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    text[DEVICE_NAME_BYTES - 1] = ':'; /* a host of the longest length, a target beyond it */
    cr_assert_lt(device_parse(text, &d, err, sizeof err), 0);
    cr_expect(strstr(err, "target is longer"), "%s", err);
    text[2 * DEVICE_NAME_BYTES - 1] = 0;
    cr_expect_eq(device_parse(text, &d, err, sizeof err), 0, "%s", err);
    text[DEVICE_NAME_BYTES - 1] = 'x';
    text[DEVICE_NAME_BYTES] = ':';
    cr_assert_lt(device_parse(text, &d, err, sizeof err), 0);
    cr_expect(strstr(err, "host is longer"), "%s", err);
}
