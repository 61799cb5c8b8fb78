/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "proto/json.h"
#include "sensebus/v1/admin.pb-c.h"
#include "sensebus/v1/agents.pb-c.h"
#include "sensebus/v1/events.pb-c.h"
#include "tests/lib/failing_alloc.h"

static void expect(const ProtobufCMessage *message, enum json_style style, const char *wanted)
{
    struct json_buffer buffer = {0};
    cr_assert_eq(json_print(message, style, &buffer), 0);
    cr_expect_str_eq(buffer.text, wanted);
    cr_expect_eq(strlen(buffer.text), buffer.len);
    json_buffer_deinit(&buffer);
}

Test(json, an_empty_message_is_an_empty_object)
{
    Sensebus__V1__Event event = SENSEBUS__V1__EVENT__INIT;
    expect(&event.base, JSON_LINE, "{}");
    expect(&event.base, JSON_INDENTED, "{}");
}

Test(json, follows_the_mapping_of_protobuf)
{
    Sensebus__V1__Event event = SENSEBUS__V1__EVENT__INIT;
    Sensebus__V1__Address address = SENSEBUS__V1__ADDRESS__INIT;
    Sensebus__V1__Sense sense = SENSEBUS__V1__SENSE__INIT;
    uint8_t raw[] = {0xff, 0xfe, 0xfd, 0x00};
    event.sequence = UINT64_MAX;
    event.code = SENSEBUS__V1__CODE__LUN_RESET;
    event.severity = (Sensebus__V1__Severity)77;
    event.aix_bits = 4;
    event.synthetic = 1;
    event.address = &address;
    address.adapter = "iscsi0";
    address.lun = -1;
    address.target = -5;
    event.sense = &sense;
    sense.raw.data = raw;
    sense.raw.len = 4;
    sense._information_case = SENSEBUS__V1__SENSE___INFORMATION_INFORMATION; /* 0, but there */
    expect(&event.base, JSON_LINE,
           "{\"sequence\":\"18446744073709551615\",\"code\":\"LUN_RESET\",\"severity\":77,"
           "\"address\":{\"adapter\":\"iscsi0\",\"target\":-5,\"lun\":\"-1\"},"
           "\"sense\":{\"raw\":\"//79AA==\",\"information\":\"0\"},\"aixBits\":4,\"synthetic\":true}");
}

Test(json, indents_lists_and_objects)
{
    Sensebus__V1__SubscribeRequest request = SENSEBUS__V1__SUBSCRIBE_REQUEST__INIT;
    Sensebus__V1__Filter filter = SENSEBUS__V1__FILTER__INIT;
    Sensebus__V1__StartNow now = SENSEBUS__V1__START_NOW__INIT;
    Sensebus__V1__Code codes[] = {SENSEBUS__V1__CODE__LUN_RESET, SENSEBUS__V1__CODE__POWER_ON};
    char *hosts[] = {"a*"};
    request.filter = &filter;
    filter.codes = codes;
    filter.n_codes = 2;
    filter.hosts = hosts;
    filter.n_hosts = 1;
    request.start_case = SENSEBUS__V1__SUBSCRIBE_REQUEST__START_NOW;
    request.now = &now;
    expect(&request.base, JSON_INDENTED,
           "{\n"
           "  \"filter\": {\n"
           "    \"codes\": [\n"
           "      \"LUN_RESET\",\n"
           "      \"POWER_ON\"\n"
           "    ],\n"
           "    \"hosts\": [\n"
           "      \"a*\"\n"
           "    ]\n"
           "  },\n"
           "  \"now\": {}\n"
           "}");
}

Test(json, maps_are_objects_and_the_last_of_a_key_counts)
{
    Sensebus__V1__Heartbeat beat = SENSEBUS__V1__HEARTBEAT__INIT;
    Sensebus__V1__Heartbeat__CommandsEntry entries[3], *commands[3];
    static const struct {
        char *key;
        uint64_t value;
    } rows[] = {{"tur", 1}, {"inquiry", 0}, {"tur", 7}};
    for (size_t i = 0; i < 3; i++) {
        sensebus__v1__heartbeat__commands_entry__init(&entries[i]);
        entries[i].key = rows[i].key;
        entries[i].value = rows[i].value;
        commands[i] = &entries[i];
    }
    beat.commands = commands;
    beat.n_commands = 3;
    expect(&beat.base, JSON_LINE, "{\"commands\":{\"inquiry\":\"0\",\"tur\":\"7\"}}");
}

Test(json, stays_valid_and_harmless_with_hostile_strings)
{
    static const struct {
        const char *string, *wanted;
    } rows[] = {
        {"\"quoted\\\"", "\\\"quoted\\\\\\\""},
        {"a\nb\rc\td", "a\\nb\\rc\\td"},
        {"\x1b[2J\x07\x08", "\\u001b[2J\\u0007\\u0008"},
        {"\x7f", "\\u007f"},
        {"\xc2\x9b"
         "31m",
         "\\u009b31m"},
        {"\xe2\x80\xa8\xe2\x80\xa9", "\\u2028\\u2029"},
        {"\xe2\x80\xae"
         "evil",
         "\\u202eevil"},
        {"\xff\xc3(", "\\ufffd\\ufffd("},
        {"\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd"},
        {"caf\xc3\xa9 \xf0\x9d\x84\x9e", "caf\xc3\xa9 \xf0\x9d\x84\x9e"},
        {"cut \xe2\x82", "cut \\ufffd\\ufffd"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Sensebus__V1__Detach detach = SENSEBUS__V1__DETACH__INIT;
        char wanted[100];
        detach.reason = (char *)rows[i].string;
        snprintf(wanted, sizeof wanted, "{\"reason\":\"%s\"}", rows[i].wanted);
        expect(&detach.base, JSON_LINE, wanted);
    }
}

Test(json, base64_pads)
{
    static const char *const wanted[] = {"", "{\"context\":\"YQ==\"}", "{\"context\":\"YWI=\"}",
                                         "{\"context\":\"YWJj\"}"};
    for (size_t len = 1; len <= 3; len++) {
        Sensebus__V1__SubscribeRequest request = SENSEBUS__V1__SUBSCRIBE_REQUEST__INIT;
        request.context.data = (uint8_t *)"abc";
        request.context.len = len;
        expect(&request.base, JSON_LINE, wanted[len]);
    }
}

Test(json, a_buffer_is_appended_to_and_used_again)
{
    Sensebus__V1__Detach detach = SENSEBUS__V1__DETACH__INIT;
    struct json_buffer buffer = {0};
    detach.reason = "x";
    for (int i = 0; i < 200; i++)
        cr_assert_eq(json_print(&detach.base, JSON_LINE, &buffer), 0);
    cr_assert_eq(buffer.len, 200 * strlen("{\"reason\":\"x\"}"));
    json_buffer_clear(&buffer);
    cr_assert_str_eq(buffer.text, "");
    cr_assert_eq(json_print(&detach.base, JSON_LINE, &buffer), 0);
    cr_assert_str_eq(buffer.text, "{\"reason\":\"x\"}");
    json_buffer_deinit(&buffer);
}

Test(json, running_out_of_memory_is_reported_and_leaks_nothing)
{
    Sensebus__V1__Heartbeat beat = SENSEBUS__V1__HEARTBEAT__INIT;
    Sensebus__V1__Heartbeat__CommandsEntry entry = SENSEBUS__V1__HEARTBEAT__COMMANDS_ENTRY__INIT,
                                           *commands[] = {&entry};
    char key[3000];
    memset(key, 'k', sizeof key);
    key[sizeof key - 1] = '\0';
    entry.key = key;
    beat.commands = commands;
    beat.n_commands = 1;
    unsigned n = 0;
    for (bool failed = true; failed; n++) {
        struct json_buffer buffer = {0};
        failing_alloc_after(n);
        int rc = json_print(&beat.base, JSON_INDENTED, &buffer);
        failed = failing_alloc_stop();
        cr_assert_eq(rc, failed ? UV_ENOMEM : 0, "allocation %u", n);
        json_buffer_deinit(&buffer);
    }
    cr_assert_gt(n, 3);
}
