/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "agent/iscsi/session_settings.h"

static const struct iscsi_session_options valid = {
    .initiator_name = "iqn.host", .target_name = "iqn.target", .portal = "192.0.2.1:3261"};

static int init(const struct iscsi_session_options *options, struct session_settings *out)
{
    memset(out, 0, sizeof(*out));
    return session_settings_init(out, options);
}

Test(session_settings, takes_portals_apart)
{
    static const struct {
        const char *portal, *host, *port;
    } table[] = {
        {"192.0.2.1:3261", "192.0.2.1", "3261"},
        {"host.example", "host.example", "3260"},
        {"[2001:db8::1]:1", "2001:db8::1", "1"},
        {"[fe80::1%eth0]", "fe80::1%eth0", "3260"},
        {"host:65535", "host", "65535"},
        {"192.0.2.1:3260,1", "192.0.2.1", "3260"},
        {"host,65535", "host", "3260"},
        {"[::1]:7,2", "::1", "7"},
        {"[::1],2", "::1", "3260"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct iscsi_session_options o = valid;
        struct session_settings s;

        o.portal = table[i].portal;
        cr_assert_eq(init(&o, &s), 0);
        cr_assert_str_eq(s.host, table[i].host);
        cr_assert_str_eq(s.port, table[i].port);
        session_settings_deinit(&s);
    }
}

Test(session_settings, refuses_portals_that_are_none)
{
    static const char *const portals[] = {
        NULL,      "",          ":3260",  "host:",   "host:port", "host:65536", "host:1234567890123",
        "fe80::1", "[2001:db8", "[]:1",   "[::1]x",  "[::1]:",    "host:-1",    "host:1,",
        "host,x",  ",1",        "[::1,1", "host:,1", "h,1:2"};

    for (size_t i = 0; i < sizeof(portals) / sizeof(portals[0]); i++) {
        struct iscsi_session_options o = valid;
        struct session_settings s;

        o.portal = portals[i];
        cr_assert_eq(init(&o, &s), UV_EINVAL, "%s", portals[i]);
    }
}

Test(session_settings, wants_user_and_secret_together)
{
    /* user, secret, mutual user, mutual secret; valid? */
    static const struct {
        const char *texts[4];
        bool valid;
    } table[] = {
        {{NULL, NULL, NULL, NULL}, true}, {{"u", "s", NULL, NULL}, true},   {{"u", "s", "m", "t"}, true},
        {{"", "", "", ""}, true},         {{"u", NULL, NULL, NULL}, false}, {{"", "s", NULL, NULL}, false},
        {{"u", "s", "", "t"}, false},     {{"u", "s", "m", NULL}, false},   {{NULL, NULL, "m", "t"}, false},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct iscsi_session_options o = valid;
        struct session_settings s;
        int rc;

        o.chap_user = table[i].texts[0];
        o.chap_secret = table[i].texts[1];
        o.mutual_chap_user = table[i].texts[2];
        o.mutual_chap_secret = table[i].texts[3];
        rc = init(&o, &s);
        cr_assert_eq(rc, table[i].valid ? 0 : UV_EINVAL, "row %zu", i);
        session_settings_deinit(&s);
    }
}

Test(session_settings, refuses_names_and_secrets_that_would_be_cut)
{
    char name[257];
    struct session_settings s;
    struct iscsi_session_options o = valid;

    memset(name, 'a', sizeof(name) - 1);
    name[256] = 0;
    o.chap_user = "u";
    o.chap_secret = name;
    cr_assert_eq(init(&o, &s), UV_EINVAL);
    o = valid;
    name[224] = 0;
    o.target_name = name;
    cr_assert_eq(init(&o, &s), UV_EINVAL);
    o = valid;
    o.initiator_name = "";
    cr_assert_eq(init(&o, &s), UV_EINVAL);
}

Test(session_settings, fills_in_defaults)
{
    struct session_settings s;
    struct iscsi_session_options o = valid;

    o.target_name = "";
    o.nop_ms = 7;
    cr_assert_eq(init(&o, &s), 0);
    cr_assert_null(s.target_name);
    cr_assert_eq(s.connect_ms, 10000);
    cr_assert_eq(s.nop_ms, 7);
    cr_assert_eq(s.nop_timeout_ms, 5000);
    session_settings_deinit(&s);
}
