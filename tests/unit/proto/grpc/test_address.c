/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "proto/grpc/address.h"

static const struct {
    const char *text;
    const char *parts; /* "host port" or "path", or what the refusal says */
    int rc;
} cases[] = {
    {"127.0.0.1:7070", "127.0.0.1 7070", 0},
    {"broker.example:0", "broker.example 0", 0},
    {"[::1]:65535", "::1 65535", 0},
    {"unix:/run/x.sock", "/run/x.sock", 0},
    {"unix:relative", "relative", 0},
    {"", "no port", UV_EINVAL},
    {"host", "no port", UV_EINVAL},
    {":7070", "no host", UV_EINVAL},
    {"[]:1", "no host", UV_EINVAL},
    {"host:", "the port is not a number", UV_EINVAL},
    {"host:65536", "the port is not a number", UV_EINVAL},
    {"host:-1", "the port is not a number", UV_EINVAL},
    {"host:123456", "the port is not a number", UV_EINVAL},
    {"host:80x", "the port is not a number", UV_EINVAL},
    {"::1:7070", "brackets", UV_EINVAL},
    {"[::1", "no ']'", UV_EINVAL},
    {"[::1]", "no port", UV_EINVAL},
    {"[::1]7070", "no port", UV_EINVAL},
    {"unix:", "no path", UV_EINVAL},
};

Test(address, is_read_or_refused_by_name)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct address a = {0};
        char err[300] = "";
        char parts[300];
        cr_expect_eq(address_parse(cases[i].text, &a, err, sizeof err), cases[i].rc, "'%s'", cases[i].text);
        if (cases[i].rc != 0) {
            cr_expect(strstr(err, cases[i].parts) && strstr(err, cases[i].text), "'%s': %s", cases[i].text, err);
            continue;
        }
        if (a.kind == ADDRESS_UNIX)
            snprintf(parts, sizeof parts, "%s", a.path);
        else
            snprintf(parts, sizeof parts, "%s %s", a.host, a.port);
        cr_expect_str_eq(parts, cases[i].parts);
    }
}

Test(address, too_long_is_refused)
{
    char text[400] = "unix:";
    struct address a;
    char err[300];
    memset(text + 5, 'x', 108);
    cr_assert_eq(address_parse(text, &a, err, sizeof err), UV_EINVAL);
    cr_assert(strstr(err, "107"));
    text[5 + 107] = '\0';
    cr_assert_eq(address_parse(text, &a, err, sizeof err), 0);
    memset(text, 'h', 256);
    memcpy(text + 256, ":1", 3);
    cr_assert_eq(address_parse(text, &a, err, sizeof err), UV_EINVAL);
}

static const struct sockaddr *ip(const char *text, struct sockaddr_storage *sa)
{
    if (uv_ip4_addr(text, 7070, (struct sockaddr_in *)sa) != 0)
        cr_assert_eq(uv_ip6_addr(text, 7070, (struct sockaddr_in6 *)sa), 0);
    return (const struct sockaddr *)sa;
}

Test(address, loopback_is_told_from_the_rest_and_written)
{
    static const struct {
        const char *ip;
        bool loopback;
        const char *text;
    } hosts[] = {
        {"127.0.0.1", true, "127.0.0.1:7070"},
        {"127.255.0.9", true, "127.255.0.9:7070"},
        {"126.0.0.1", false, "126.0.0.1:7070"},
        {"0.0.0.0", false, "0.0.0.0:7070"},
        {"10.1.2.3", false, "10.1.2.3:7070"},
        {"::1", true, "[::1]:7070"},
        {"::", false, "[::]:7070"},
        {"fe80::1", false, "[fe80::1]:7070"},
        {"::ffff:127.0.0.1", true, "127.0.0.1:7070"},
        {"::ffff:10.0.0.1", false, "10.0.0.1:7070"},
    };
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        struct sockaddr_storage sa;
        char text[ADDRESS_TEXT_MAX];
        cr_expect_eq(address_is_loopback(ip(hosts[i].ip, &sa)), hosts[i].loopback, "%s", hosts[i].ip);
        address_format(ip(hosts[i].ip, &sa), text, sizeof text);
        cr_expect_str_eq(text, hosts[i].text);
    }
}
