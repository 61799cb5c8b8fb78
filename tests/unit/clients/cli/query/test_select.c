/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/query/select.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "proto/json.h"
#include "proto/registry.h"
#include "sensebus/v1/events.pb-c.h"

enum { MAX_WORDS = 24 };

static char err[256];

/* Command line in, return code and Filter out. */
static int compile(const char *line, Sensebus__V1__Filter **out_filter)
{
    static struct selection selection;
    static char copy[2048];
    char *argv[MAX_WORDS + 1] = {"watch"};
    int argc = 1, n_operands;
    memset(&selection, 0, sizeof selection);
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word && argc < MAX_WORDS; word = strtok(NULL, " "))
        argv[argc++] = word;
    struct option options[2 * SELECT_COUNT];
    select_options(&selection, options);
    select_not_options(&selection, options + SELECT_COUNT);
    argc = select_merge_not(argc, argv, err, sizeof err);
    if (argc < 0)
        return UV_EINVAL;
    cr_assert_eq(options_parse(options, 2 * SELECT_COUNT, argc, argv, &n_operands, err, sizeof err), OPTIONS_OK, "%s",
                 err);
    *out_filter = NULL;
    return select_compile(&selection, out_filter, err, sizeof err);
}

static void expect_json(const char *line, const char *json)
{
    Sensebus__V1__Filter *filter;
    cr_assert_eq(compile(line, &filter), 0, "%s: %s", line, err);
    cr_assert_not_null(filter, "%s", line);
    struct json_buffer buffer = {0};
    json_print(&filter->base, JSON_LINE, &buffer);
    cr_expect_str_eq(buffer.text, json, "%s: %s", line, buffer.text);
    json_buffer_deinit(&buffer);
    sensebus__v1__filter__free_unpacked(filter, NULL);
}

static void expect_error(const char *line, const char *part)
{
    Sensebus__V1__Filter *filter;
    cr_expect_eq(compile(line, &filter), UV_EINVAL, "%s", line);
    cr_expect(strstr(err, part), "%s: %s", line, err);
}

Test(select, nothing_selected_is_no_filter)
{
    Sensebus__V1__Filter *filter;
    cr_assert_eq(compile("", &filter), 0);
    cr_expect_null(filter);
}

Test(select, each_selector_fills_its_member)
{
    expect_json("--code LUN_RESET,bus_reset,901", "{\"codes\":[\"LUN_RESET\",\"BUS_RESET\",\"EVENTS_LOST\"]}");
    expect_json("--code=4711", "{\"codes\":[4711]}");
    expect_json("--category RESET --category link,9", "{\"categories\":[2,3,9]}");
    expect_json("--severity warn", "{\"minimumSeverity\":\"SEVERITY_WARN\"}");
    expect_json("--host db-*,web --host x", "{\"hosts\":[\"db-*\",\"web\",\"x\"]}");
    expect_json("--inquiry LIO-ORG,x", "{\"inquiryPrefixes\":[\"LIO-ORG,x\"]}");
    expect_json("--pdt disk,tape,0x0d", "{\"deviceTypes\":[0,1,13]}");
    expect_json("--wwid naa.6*", "{\"designators\":[\"naa.6*\"]}");
    expect_json("--target iqn.2026-01.*", "{\"targetNames\":[\"iqn.2026-01.*\"]}");
    expect_json("--mode initiator,both", "{\"modes\":[\"MODE_INITIATOR\",\"MODE_BOTH\"]}");
    expect_json("--bits reset,0x8", "{\"anyAixBits\":12}");
}

Test(select, a_pattern_of_codes_is_expanded_once)
{
    Sensebus__V1__Filter *filter;
    cr_assert_eq(compile("--code lun_reset,LUN_*", &filter), 0, "%s", err);
    size_t expected = 0;
    for (size_t i = 0; i < registry_size(); i++)
        expected += strncmp(registry_at(i)->name, "LUN_", 4) == 0;
    cr_expect_eq(filter->n_codes, expected);
    cr_expect_gt(expected, 1);
    sensebus__v1__filter__free_unpacked(filter, NULL);
}

Test(select, every_code_fits)
{
    Sensebus__V1__Filter *filter;
    cr_assert_eq(compile("--code *", &filter), 0, "%s", err);
    cr_expect_eq(filter->n_codes, registry_size());
    sensebus__v1__filter__free_unpacked(filter, NULL);
}

Test(select, addresses_have_wildcards_ranges_and_names)
{
    expect_json("--addr 3:*:*:4", "{\"addresses\":[{\"controller\":3,\"bus\":-1,\"target\":-1,\"lun\":\"4\"}]}");
    expect_json("--addr *:1:2:0-7", "{\"addresses\":[{\"controller\":-1,\"bus\":1,\"target\":2,\"lunLast\":\"7\"}]}");
    expect_json("--addr iscsi0:*:*:*", "{\"addresses\":[{\"adapter\":\"iscsi0\",\"controller\":-1,\"bus\":-1,"
                                       "\"target\":-1,\"lun\":\"-1\"}]}");
    expect_json("--lun 4,5-7", "{\"addresses\":[{\"controller\":-1,\"bus\":-1,\"target\":-1,\"lun\":\"4\"},"
                               "{\"controller\":-1,\"bus\":-1,\"target\":-1,\"lun\":\"5\",\"lunLast\":\"7\"}]}");
}

Test(select, addr_and_lun_together_are_and)
{
    expect_json("--addr 3:0:*:* --lun 4-7",
                "{\"addresses\":[{\"controller\":3,\"target\":-1,\"lun\":\"4\",\"lunLast\":\"7\"}]}");
    expect_json("--addr 3:0:1:2-5 --addr h:0:1:9 --lun 4-7",
                "{\"addresses\":[{\"controller\":3,\"target\":1,\"lun\":\"4\",\"lunLast\":\"5\"}]}");
    expect_json("--addr h:0:1:9 --lun *", "{\"addresses\":[{\"adapter\":\"h\",\"controller\":-1,\"target\":1,"
                                          "\"lun\":\"9\"}]}");
    expect_error("--addr 3:0:1:2 --lun 4", "both --addr and --lun");
    expect_error("--addr 3:0:1:2 --lun x", "--lun: 'x'");
    expect_error("--addr 3:0:1 --lun 4", "--addr: '3:0:1'");
}

Test(select, not_turns_the_next_selector_round)
{
    expect_json("--not --code LUN_RESET --host a", "{\"hosts\":[\"a\"],\"exclude\":[{\"codes\":[\"LUN_RESET\"]}]}");
    expect_json("--host a --not --host=b --host c", "{\"hosts\":[\"a\",\"c\"],\"exclude\":[{\"hosts\":[\"b\"]}]}");
    expect_json("--not --host a --not --severity crit",
                "{\"exclude\":[{\"minimumSeverity\":\"SEVERITY_CRIT\"},{\"hosts\":[\"a\"]}]}");
    expect_error("--not", "--not must be followed by a selector");
    expect_error("--not --nothing x", "--not must be followed by a selector");
    expect_error("--not --code nope", "--not-code: 'nope'");
}

Test(select, behind_two_dashes_nothing_is_merged)
{
    char *argv[] = {"watch", "--", "--not", NULL};
    cr_expect_eq(select_merge_not(3, argv, err, sizeof err), 3);
    cr_expect_str_eq(argv[2], "--not");
}

Test(select, errors_name_option_and_value)
{
    expect_error("--code LUN_RESETT", "--code: 'LUN_RESETT' is none of the codes; did you mean LUN_RESET");
    expect_error("--code NOTHING*", "no code matches 'NOTHING*'");
    expect_error("--code 0", "out of range");
    expect_error("--code -5", "out of range");
    expect_error("--code a,,b", "'a' is none");
    expect_error("--code BUS_RESET,,LUN_RESET", "empty entry");
    expect_error("--code=", "--code: the value is empty");
    expect_error("--category RESTE", "did you mean RESET");
    expect_error("--severity loud", "--severity: 'loud'");
    expect_error("--severity 6", "out of range");
    expect_error("--severity warn --severity info", "give it once");
    expect_error("--addr 1:2", "has 2 parts");
    expect_error("--addr 1:2:3:4:5", "has 5 parts");
    expect_error("--addr :0:0:0", "adapter is empty");
    expect_error("--addr *:x:0:0", "'x' is no number");
    expect_error("--addr *:99999999999:0:0", "is no number");
    expect_error("--lun 7-4", "--lun: '7-4'");
    expect_error("--lun -1", "--lun: '-1'");
    expect_error("--inquiry 1234567890123456789012345", "longer than vendor and product");
    expect_error("--pdt disc", "did you mean disk");
    expect_error("--pdt 32", "out of range");
    expect_error("--mode none", "--mode: 'none'");
    expect_error("--bits 0", "--bits: '0' is no mask");
}
