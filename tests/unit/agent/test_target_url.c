/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/target_url.h"

#include <criterion/criterion.h>
#include <string.h>
#include <uv.h>

static char err[256];

Test(target_url, good_ones)
{
    static const struct {
        const char *text, *portal, *name;
        int32_t lun;
    } cases[] = {
        {"iscsi://host/iqn.2026-01.x:y", "host:3260", "iqn.2026-01.x:y", -1},
        {"iscsi://10.0.0.1:860/iqn.x:y/0", "10.0.0.1:860", "iqn.x:y", 0},
        {"iscsi://[::1]/eui.0123456789abcdef/16383", "[::1]:3260", "eui.0123456789abcdef", 16383},
        {"iscsi://[fe80::1]:3261/naa.5000", "[fe80::1]:3261", "naa.5000", -1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct target_url u;

        cr_assert_eq(target_url_parse(cases[i].text, &u, err, sizeof err), 0, "%s: %s", cases[i].text, err);
        cr_assert_eq(u.n_portals, 1);
        cr_assert_str_eq(u.portals[0], cases[i].portal);
        cr_assert_str_eq(u.name, cases[i].name);
        cr_assert_eq(u.lun, cases[i].lun);
    }
}

Test(target_url, bad_ones_are_refused_with_a_reason)
{
    static const char *const cases[] = {
        "",
        "iscsi://",
        "iscsi:///iqn.x:y",
        "iscsi://host",
        "iscsi://host/",
        "iscsi://host/disk",
        "iscsi://host/iqn",
        "http://host/iqn.x:y",
        "iscsi://host:0/iqn.x:y",
        "iscsi://host:65536/iqn.x:y",
        "iscsi://host:/iqn.x:y",
        "iscsi://[::1/iqn.x:y",
        "iscsi://[::1]x/iqn.x:y",
        "iscsi://ho st/iqn.x:y",
        "iscsi://host/iqn.x y",
        "iscsi://host/iqn.x\xc3\xa9",
        "iscsi://host/iqn.x:y/",
        "iscsi://host/iqn.x:y/-1",
        "iscsi://host/iqn.x:y/16384",
        "iscsi://host/iqn.x:y/1/2",
        "iscsi://host,/iqn.x:y",
        "iscsi://,host/iqn.x:y",
        "iscsi://a,b,a:3260/iqn.x:y",
        "iscsi://a,b:x/iqn.x:y",
        "iscsi://1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17/iqn.x:y",
    };
    char longest[4096];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct target_url u = {.lun = 42};

        err[0] = 0;
        cr_assert_eq(target_url_parse(cases[i], &u, err, sizeof err), UV_EINVAL, "%s", cases[i]);
        cr_assert(err[0]);
        cr_assert_eq(u.lun, 42, "untouched");
    }
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "iscsi://host/iqn.", 17);
    longest[sizeof longest - 1] = 0;
    struct target_url u;
    cr_assert_eq(target_url_parse(longest, &u, err, sizeof err), UV_EINVAL);
    longest[17 + 219 + 1] = 0;
    cr_assert_eq(target_url_parse(longest, &u, err, sizeof err), UV_EINVAL, "a name of 224 bytes");
    longest[17 + 219] = 0;
    cr_assert_eq(target_url_parse(longest, &u, err, sizeof err), 0, "a name of 223 bytes: %s", err);
}

Test(target_url, an_ipv6_address_may_come_without_brackets)
{
    char out[TARGET_PORTAL_BYTES];

    cr_assert_eq(target_portal_parse("fe80::1", out, err, sizeof err), 0);
    cr_assert_str_eq(out, "[fe80::1]:3260");
}

Test(target_url, portals_keep_their_order)
{
    struct target_url u;

    cr_assert_eq(target_url_parse("iscsi://b:1,[::1],a/iqn.x:y/7", &u, err, sizeof err), 0, "%s", err);
    cr_assert_eq(u.n_portals, 3);
    cr_assert_str_eq(u.portals[0], "b:1");
    cr_assert_str_eq(u.portals[1], "[::1]:3260");
    cr_assert_str_eq(u.portals[2], "a:3260");
    cr_assert_eq(u.lun, 7);
    cr_assert_eq(target_url_parse("iscsi://1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16/iqn.x:y", &u, err, sizeof err), 0);
    cr_assert_eq(u.n_portals, TARGET_MAX_PORTALS);
}
