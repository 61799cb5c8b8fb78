/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>
#include <uv.h>

#include "agent/source/fc_netlink_message.h"
#include "proto/registry.h"
#include "sensebus/v1/code.pb-c.h"
#include "tests/unit/agent/source/netlink_samples.h"

#define TYPE 0x11

static struct sample sample;

static struct fc_netlink_message parse(struct sample s)
{
    struct fc_netlink_message m = {0};

    sample = s;
    cr_assert_eq(fc_netlink_parse(TYPE, sample.bytes, sample.len, &m), 0);
    return m;
}

Test(fc_netlink_message, reads_a_recorded_loop_reset)
{
    struct fc_netlink_message m = parse(sample_fc_lipreset());
    uint32_t codes[FC_NETLINK_MAX_CODES];

    cr_assert(m.host == 5 && m.number == 12 && m.event == FC_EVENT_LIP_RESET && m.data_len == 4 && m.word == 0);
    cr_assert_eq(m.seconds, 1763799900);
    cr_assert(m.raw == sample.bytes && m.raw_len == 40);
    cr_assert_eq(fc_netlink_codes(&m, codes), 1);
    cr_assert_eq(codes[0], SENSEBUS__V1__CODE__LOOP_RESET);
    cr_assert_str_eq(fc_netlink_event_name(m.event), "FCH_EVT_LIPRESET");
}

Test(fc_netlink_message, every_event_of_the_kernel_has_its_code)
{
    static const struct {
        uint32_t event;
        const char *code;
    } cases[] = {
        {0x1, "LOOP_INITIALIZED"},
        {0x2, "LINK_UP"},
        {0x3, "LINK_DOWN"},
        {0x4, "LOOP_RESET"},
        {0x5, "FABRIC_STATE_CHANGE"},
        {0x103, "ADAPTER_CHANGED"},
        {0x200, "LINK_STATE_UNKNOWN"},
        {0x201, "PORT_OFFLINE"},
        {0x202, "PORT_ONLINE"},
        {0x204, "FABRIC_CHANGED"},
        {0x500, "LINK_STATE_UNKNOWN"},
        {0x501, "UNCLASSIFIED"},
        {0xffff, "VENDOR_SPECIFIC"},
        {0x6, "UNCLASSIFIED"},
        {UINT32_MAX, "UNCLASSIFIED"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fc_netlink_message m = parse(sample_fc(1, 1, cases[i].event, "\1\2\3\4", 4));
        uint32_t codes[FC_NETLINK_MAX_CODES];

        cr_assert_eq(fc_netlink_codes(&m, codes), 1);
        cr_assert_str_eq(registry_find(codes[0])->name, cases[i].code, "event %x", cases[i].event);
    }
}

Test(fc_netlink_message, each_kind_of_descriptor_of_a_notification_is_told_once)
{
    static const uint32_t all[] = {0x20001, 0x20002, 0x20003, 0x20004, 0x20001, 0x20005, 0x20004};
    struct fc_netlink_message m = parse(sample_fc_fpin(all, 7));
    uint32_t codes[FC_NETLINK_MAX_CODES];

    cr_assert_eq(fc_netlink_codes(&m, codes), 4);
    cr_assert_eq(codes[0], SENSEBUS__V1__CODE__FPIN_LINK_INTEGRITY);
    cr_assert_eq(codes[1], SENSEBUS__V1__CODE__FPIN_DELIVERY);
    cr_assert_eq(codes[2], SENSEBUS__V1__CODE__FPIN_PEER_CONGESTION);
    cr_assert_eq(codes[3], SENSEBUS__V1__CODE__FPIN_CONGESTION);
    m = parse(sample_fc_fpin(all + 5, 1));
    cr_assert_eq(fc_netlink_codes(&m, codes), 1);
    cr_assert_eq(codes[0], SENSEBUS__V1__CODE__UNCLASSIFIED);
}

Test(fc_netlink_message, a_notification_that_lies_about_lengths_ends_where_the_message_does)
{
    static const uint32_t tags[] = {0x20001, 0x20002};
    struct sample s = sample_fc_fpin(tags, 2);
    uint32_t codes[FC_NETLINK_MAX_CODES];
    struct fc_netlink_message m;

    memset(s.bytes + 36 + 4, 0xff, 4); /* length of all descriptors */
    m = parse(s);
    cr_assert_eq(fc_netlink_codes(&m, codes), 2);
    memset(s.bytes + 36 + 8 + 4, 0xff, 4); /* of the first */
    m = parse(s);
    cr_assert_eq(fc_netlink_codes(&m, codes), 1);
    memset(s.bytes + 36 + 8 + 4, 0, 4);
    m = parse(s);
    cr_assert_geq(fc_netlink_codes(&m, codes), 1);
    for (size_t len = 0; len < 24; len++) {
        s.bytes[26] = (uint8_t)len;
        m = parse(s);
        cr_assert_geq(fc_netlink_codes(&m, codes), 1);
    }
}

Test(fc_netlink_message, padding_of_the_kernel_does_not_leave)
{
    struct fc_netlink_message m = parse(sample_fc(1, 1, FC_EVENT_VENDOR_UNIQUE, "abcde", 5));

    cr_assert(m.raw_len == 41 && m.data_len == 5 && m.vendor_id == 0x0500e0c900000001);
}

Test(fc_netlink_message, refuses_what_is_cut)
{
    struct sample s = sample_fc_lipreset();
    struct fc_netlink_message m = {.host = 4711};

    for (size_t len = 0; len < s.len; len++)
        cr_assert_eq(fc_netlink_parse(TYPE, s.bytes, len, &m), UV_EINVAL, "%zu bytes", len);
    s.bytes[26] = 5; /* more data than there is */
    cr_assert_eq(fc_netlink_parse(TYPE, s.bytes, s.len, &m), UV_EINVAL);
    cr_assert_eq(m.host, 4711);
}

Test(fc_netlink_message, leaves_what_is_no_event_of_fibre_channel)
{
    static const size_t places[] = {0, 1, 2, 4};
    struct fc_netlink_message m = {.host = 4711};
    struct sample s = sample_fc_lipreset();

    cr_assert_eq(fc_netlink_parse(0x12, s.bytes, s.len, &m), UV_ENOENT);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        s = sample_fc_lipreset();
        s.bytes[places[i]] ^= 0x40;
        cr_assert_eq(fc_netlink_parse(TYPE, s.bytes, s.len, &m), UV_ENOENT, "byte %zu", places[i]);
    }
    cr_assert_eq(m.host, 4711);
}
