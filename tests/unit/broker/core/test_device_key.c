/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/device_key.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IQN "iqn.2026-01.org.example:disk"

enum { LUN = 1, TARGET, SESSION, CONNECTION, PORT, BUS, ADAPTER, FABRIC, ENCLOSURE, HOST, BROKER };

static struct text text(const char *string)
{
    return (struct text){string, strlen(string)};
}

static struct event_view event(uint32_t scope, const char *host, const char *adapter, int32_t bus, int32_t target,
                               int64_t lun, const char *target_name)
{
    struct event_view e = {.scope = scope, .host = text(host)};
    if (adapter)
        e.address = (struct address_view){
            .adapter = text(adapter), .bus = bus, .target = target, .lun = lun, .controller = -1, .present = true};
    if (target_name) {
        e.device.target_name = text(target_name);
        e.device.present = true;
    }
    return e;
}

Test(device_key, names_the_smallest_path_that_holds_everything_affected)
{
    static const struct {
        uint32_t scope;
        const char *adapter;
        int32_t bus, target;
        int64_t lun;
        const char *name, *key;
    } table[] = {
        {LUN, "iscsi0", -1, 3, 7, IQN, "h/" IQN "/7"},
        {LUN, "iscsi0", -1, 3, 0, IQN, "h/" IQN "/0"},
        {LUN, "host3", 0, 2, 7, NULL, "h/host3:0:2/7"},
        {LUN, "host3", -1, 2, 7, NULL, "h/host3:-1:2/7"},
        {LUN, NULL, 0, 0, 0, IQN, "h/" IQN},
        {LUN, NULL, 0, 0, 0, NULL, "h"},
        {LUN, "", -1, -1, 5, NULL, "h"},
        {TARGET, "iscsi0", -1, 3, 7, IQN, "h/" IQN},
        {SESSION, "iscsi0", -1, 3, -1, IQN, "h/" IQN},
        {CONNECTION, "iscsi0", -1, 3, -1, NULL, "h/iscsi0:-1:3"},
        {BUS, "host3", 1, 2, 7, IQN, "h/host3:1:-1"},
        {ADAPTER, "host3", 1, 2, 7, IQN, "h/host3"},
        {PORT, "host3", -1, -1, -1, NULL, "h/host3"},
        {FABRIC, "host3", -1, -1, -1, NULL, "h/host3"},
        {HOST, "host3", 0, 2, 7, IQN, "h"},
        {BROKER, NULL, 0, 0, 0, NULL, "h"},
    };
    char key[DEVICE_KEY_SIZE];
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct event_view e =
            event(table[i].scope, "h", table[i].adapter, table[i].bus, table[i].target, table[i].lun, table[i].name);
        size_t len = device_key_of_event(key, &e);
        cr_assert_str_eq(key, table[i].key, "row %zu: %s", i, key);
        cr_assert_eq(len, strlen(key));
    }
    struct event_view e = event(HOST, "", NULL, 0, 0, 0, NULL);
    device_key_of_event(key, &e);
    cr_assert_str_eq(key, "-");
}

Test(device_key, hostile_names_cannot_look_like_another_path)
{
    char key[DEVICE_KEY_SIZE];
    struct event_view e = event(LUN, "h", "a", -1, -1, 1, "x/9\n%\x7f\xc3\xa4");
    device_key_of_event(key, &e);
    cr_assert_str_eq(key, "h/x%2F9%0A%25%7F\xc3\xa4/1");
}

Test(device_key, a_byte_that_needs_an_escape_gets_it_wherever_it_stands)
{
    for (size_t len = 1; len <= 18; len++) {
        for (size_t at = 0; at < len; at++) {
            for (unsigned c = 1; c < 0x80; c++) {
                char name[24], key[DEVICE_KEY_SIZE], expected[64];
                memset(name, 'n', len);
                name[at] = (char)c;
                name[len] = '\0';
                bool escaped = c < 0x20 || c == 0x7f || c == '/' || c == '%';
                snprintf(expected, sizeof expected, escaped ? "h/%.*s%%%02X%s" : "h/%.*s%c%s", (int)at, name, c,
                         name + at + 1);
                struct event_view e = event(TARGET, "h", "a", -1, -1, -1, name);
                device_key_of_event(key, &e);
                cr_assert_str_eq(key, expected);
            }
        }
    }
}

Test(device_key, numbers_are_decimal)
{
    char key[DEVICE_KEY_SIZE];
    struct event_view e = event(LUN, "h", "a", INT32_MIN, 0, 1024, NULL);
    device_key_of_event(key, &e);
    cr_assert_str_eq(key, "h/a:-2147483648:0/1024");
}

Test(device_key, long_names_are_cut_between_characters_and_stay_distinct)
{
    char name[2000], host[253 + 1], first[DEVICE_KEY_SIZE], second[DEVICE_KEY_SIZE];
    memset(host, 'h', sizeof host);
    host[253] = '\0';
    for (size_t i = 0; i + 2 < sizeof name; i += 2)
        memcpy(name + i, "\xc3\xa4", 2);
    name[1998] = '\0';
    struct event_view e = event(LUN, host, "a", -1, -1, INT64_MAX, name);
    size_t len = device_key_of_event(first, &e);
    cr_assert_lt(len, 512);
    cr_assert(utf8_valid((const uint8_t *)first, len));
    name[1997] = (char)0xb6;
    device_key_of_event(second, &e);
    cr_assert_str_neq(first, second);
    memset(name, '/', 1998);
    len = device_key_of_event(first, &e);
    cr_assert_lt(len, 512);
    cr_assert_not_null(strstr(first, "%2F~"));
    /* The longest iSCSI name is kept whole. */
    memset(name, 'n', 1998);
    name[223] = '\0';
    e = event(LUN, host, "a", -1, -1, 0, name);
    device_key_of_event(first, &e);
    cr_assert_not_null(strstr(first, name));
    /* Numbers behind a long adapter name are kept too. */
    name[223] = 'n';
    name[1998] = '\0';
    e = event(LUN, host, name, INT32_MAX, INT32_MAX, INT64_MAX, NULL);
    len = device_key_of_event(first, &e);
    cr_assert_lt(len, 512);
    cr_assert_not_null(strstr(first, ":2147483647:2147483647/9223372036854775807"));
}
