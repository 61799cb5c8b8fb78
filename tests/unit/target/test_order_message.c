/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>
#include <uv.h>

#include "tests/target/order_message.h"

typedef Sensebus__Target__V1__Order Order;

#define IS(ORDER) SENSEBUS__TARGET__V1__ORDER__ORDER_##ORDER
#define ORDER(kind, member, type, ...)                                                                                 \
    {                                                                                                                  \
        .order_case = IS(kind), .member = &(Sensebus__Target__V1__##type)                                              \
        {                                                                                                              \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
    }
#define RAW(text)                                                                                                      \
    {                                                                                                                  \
        sizeof(text) - 1, (uint8_t *)(text)                                                                            \
    }

static struct verb verb;
static char err[300];

static bool has_time(const struct verb *v)
{
    return v->kind == VERB_EXPECT || v->kind == VERB_REBOOT || v->kind == VERB_SLOW;
}

static bool same(const struct verb *a, const struct verb *b)
{
    return a->kind == b->kind && a->lun == b->lun && a->number == b->number && a->asc == b->asc && a->on == b->on &&
           (!has_time(a) || a->ms == b->ms) && strcmp(a->word, b->word) == 0 && a->data_len == b->data_len &&
           memcmp(a->data, b->data, a->data_len) == 0 && a->has_sense == b->has_sense &&
           memcmp(a->parameters, b->parameters, sizeof(a->parameters)) == 0;
}

Test(order_message, each_order_is_the_verb_of_its_line)
{
    uint32_t parameters[] = {1, 2, 65535};
    const struct {
        Order order;
        const char *line;
    } rows[] = {
        {{.order_case = IS(LINE), .line = "resize 1 4096"}, "resize 1 4096"},
        {ORDER(ADD, add, AddUnit, .lun = 300), "add 300"},
        {ORDER(ADD, add, AddUnit, .lun = 2, .blocks = 2048), "add 2 2048"},
        {ORDER(REMOVE, remove, RemoveUnit, .lun = 300), "remove 300"},
        {ORDER(RESIZE, resize, Resize, .lun = 1, .blocks = 4096), "resize 1 4096"},
        {ORDER(PROTECT, protect, Protect, .lun = 1, .on = true), "protect 1 on"},
        {ORDER(OFFLINE, offline, Offline, .lun = 16383), "offline 16383 off"},
        {ORDER(ALUA, alua, SetAccess, .lun = 1, .state = SENSEBUS__TARGET__V1__ACCESS_STATE__ACCESS_STATE_TRANSITION),
         "alua 1 transition"},
        {ORDER(ALUA, alua, SetAccess, .state = SENSEBUS__TARGET__V1__ACCESS_STATE__ACCESS_STATE_NON_OPTIMIZED),
         "alua 0 non-optimized"},
        {ORDER(HEALTH, health, Health, .lun = 1, .asc = 0x5d, .ascq = 0x10), "health 1 5d/10"},
        {ORDER(THIN, thin, Thin, .lun = 1), "thin 1"},
        {ORDER(THIN, thin, Thin, .lun = 1, .blocks = 9), "thin 1 9"},
        {ORDER(RESET, reset, Reset, .units_case = SENSEBUS__TARGET__V1__RESET__UNITS_LUN, .lun = 1), "reset 1"},
        {ORDER(RESET, reset, Reset, .units_case = SENSEBUS__TARGET__V1__RESET__UNITS_ALL, .all = true), "reset all"},
        {ORDER(PREEMPT, preempt, Preempt, .lun = 1), "preempt 1"},
        {ORDER(ATTENTION, attention, Attention, .units_case = SENSEBUS__TARGET__V1__ATTENTION__UNITS_ALL, .all = true,
               .asc = 0x2a, .ascq = 9),
         "attention all 2a/09"},
        {ORDER(SENSE, sense, Sense, .lun = 1, .data_case = SENSEBUS__TARGET__V1__SENSE__DATA_CODES,
               .codes = &(Sensebus__Target__V1__SenseCodes){.key = 6, .asc = 0x3f, .ascq = 0x0e}),
         "sense 1 6/3f/0e"},
        {ORDER(SENSE, sense, Sense, .lun = 1, .data_case = SENSEBUS__TARGET__V1__SENSE__DATA_RAW, .raw = RAW("\x71\0")),
         "sense 1 hex:7100"},
        {ORDER(SENSE, sense, Sense, .data_case = SENSEBUS__TARGET__V1__SENSE__DATA_RAW), "sense 0 hex:"},
        {ORDER(RAISE_CODE, raise_code, RaiseCode, .code = "LUN_RESET", .lun = 2), "raise LUN_RESET 2"},
        {ORDER(ASYNC_MESSAGE, async_message, AsyncMessage, .event = 1), "async 1"},
        {ORDER(ASYNC_MESSAGE, async_message, AsyncMessage, .event = 255, .lun = 3, .parameters = parameters,
               .n_parameters = 3, .data_case = SENSEBUS__TARGET__V1__ASYNC_MESSAGE__DATA_RAW, .raw = RAW("\xc0\xfe")),
         "async 255 3 raw:c0fe 1 2 65535"},
        {ORDER(ASYNC_MESSAGE, async_message, AsyncMessage, .lun = 3,
               .data_case = SENSEBUS__TARGET__V1__ASYNC_MESSAGE__DATA_SENSE, .sense = RAW("\x70")),
         "async 0 3 hex:70"},
        {ORDER(PING, ping, Ping, .base = {0}), "ping"},
        {ORDER(REJECT, reject, Reject, .reason = 9), "reject 9"},
        {ORDER(DROP, drop, Drop, .how = SENSEBUS__TARGET__V1__DROP_HOW__DROP_HOW_FIN), "drop fin"},
        {ORDER(DROP, drop, Drop, .how = SENSEBUS__TARGET__V1__DROP_HOW__DROP_HOW_RST), "drop rst"},
        {ORDER(REBOOT, reboot, Reboot, .down_ms = 7), "reboot"},
        {ORDER(REBOOT, reboot, Reboot, ._down_ms_case = SENSEBUS__TARGET__V1__REBOOT___DOWN_MS_DOWN_MS, .down_ms = 7),
         "reboot 7ms"},
        {ORDER(HANG, hang, Hang, .on = true), "hang on"},
        {ORDER(SLOW, slow, Slow, .ms = 20), "slow 20ms"},
        {ORDER(GARBAGE, garbage, Garbage, .bytes = RAW("\xde\xad")), "garbage dead"},
        {ORDER(SKEW_STATSN, skew_statsn, SkewStatSn, .skew = UINT32_MAX), "statsn 0xffffffff"},
        {ORDER(REFUSE, refuse, Refuse, .status = 0x0301), "refuse 0x0301"},
        {ORDER(REDIRECT, redirect, Redirect, .address = "127.0.0.1:1,1"), "redirect 127.0.0.1:1,1"},
        {ORDER(REDIRECT, redirect, Redirect, .address = ""), "redirect off"},
        {ORDER(EXPECT, expect, Expect, .what_case = SENSEBUS__TARGET__V1__EXPECT__WHAT_SESSIONS, .sessions = 1),
         "expect sessions 1"},
        {ORDER(EXPECT, expect, Expect, .what_case = SENSEBUS__TARGET__V1__EXPECT__WHAT_PENDING,
               ._within_ms_case = SENSEBUS__TARGET__V1__EXPECT___WITHIN_MS_WITHIN_MS, .within_ms = 0),
         "expect pending 0 0"},
    };
    bool seen[IS(EXPECT) + 1] = {false};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct verb expected = {0};

        memset(&verb, 0, sizeof(verb));
        cr_assert_eq(verb_parse(rows[i].line, &expected, err, sizeof(err)), 0, "%s: %s", rows[i].line, err);
        cr_assert_eq(order_message_read(&rows[i].order, &verb, err, sizeof(err)), 0, "%s: %s", rows[i].line, err);
        cr_assert(same(&verb, &expected), "%s", rows[i].line);
        seen[rows[i].order.order_case] = true;
    }
    for (size_t i = 1; i < sizeof(seen); i++)
        cr_assert(seen[i], "order %zu", i);
}

Test(order_message, errors_name_the_member)
{
    static uint8_t long_bytes[VERB_DATA_MAX + 1];
    char long_word[VERB_MAX_BYTES + 1];
    uint32_t parameters[] = {1, 65536, 0, 0};
    const struct {
        Order order;
        const char *text;
    } rows[] = {
        {{.order_case = IS(_NOT_SET)}, "Order: nothing is ordered"},
        {{.order_case = IS(LINE), .line = "resize x 1"}, "Order.line: \"x\": expected a LUN"},
        {{.order_case = IS(LINE), .line = " # "}, "Order.line: there is no verb"},
        {{.order_case = IS(LINE), .line = long_word}, "Order.line: the line is longer"},
        {ORDER(REMOVE, remove, RemoveUnit, .lun = 16384), "Order.remove.lun: 16384, at most 16383"},
        {ORDER(RESIZE, resize, Resize, .lun = 1), "Order.resize.blocks: 0, at least 1"},
        {ORDER(ADD, add, AddUnit, .blocks = UINT64_MAX), "Order.add.blocks: 18446744073709551615, at most"},
        {ORDER(ALUA, alua, SetAccess, .lun = 1), "Order.alua.state: is not set"},
        {ORDER(HEALTH, health, Health, .asc = 256), "Order.health.asc: 256, at most 255"},
        {ORDER(RESET, reset, Reset, .lun = 1), "Order.reset: neither lun nor all"},
        {ORDER(RESET, reset, Reset, .units_case = SENSEBUS__TARGET__V1__RESET__UNITS_ALL), "Order.reset.all: false"},
        {ORDER(ATTENTION, attention, Attention, .asc = 1), "Order.attention: neither"},
        {ORDER(SENSE, sense, Sense, .lun = 1), "Order.sense: neither codes nor raw"},
        {ORDER(SENSE, sense, Sense, .data_case = SENSEBUS__TARGET__V1__SENSE__DATA_CODES,
               .codes = &(Sensebus__Target__V1__SenseCodes){.key = 16}),
         "Order.sense.codes.key: 16, at most 15"},
        {ORDER(SENSE, sense, Sense, .data_case = SENSEBUS__TARGET__V1__SENSE__DATA_RAW,
               .raw = {sizeof(long_bytes), long_bytes}),
         "Order.sense.raw: 253 bytes, at most 252"},
        {ORDER(RAISE_CODE, raise_code, RaiseCode, .code = ""), "Order.raise_code.code: is empty"},
        {ORDER(RAISE_CODE, raise_code, RaiseCode, .code = "A B"), "Order.raise_code.code: neither blanks"},
        {ORDER(RAISE_CODE, raise_code, RaiseCode, .code = long_word), "Order.raise_code.code: more than 1023 bytes"},
        {ORDER(ASYNC_MESSAGE, async_message, AsyncMessage, .event = 256), "Order.async_message.event: 256"},
        {ORDER(ASYNC_MESSAGE, async_message, AsyncMessage, .parameters = parameters, .n_parameters = 4),
         "Order.async_message.parameters: 4, at most 3"},
        {ORDER(ASYNC_MESSAGE, async_message, AsyncMessage, .parameters = parameters, .n_parameters = 2),
         "Order.async_message.parameters: 65536"},
        {ORDER(REJECT, reject, Reject, .reason = 256), "Order.reject.reason"},
        {ORDER(DROP, drop, Drop, .base = {0}), "Order.drop.how: is not set"},
        {ORDER(REBOOT, reboot, Reboot, ._down_ms_case = SENSEBUS__TARGET__V1__REBOOT___DOWN_MS_DOWN_MS,
               .down_ms = UINT64_MAX),
         "Order.reboot.down_ms"},
        {ORDER(SLOW, slow, Slow, .ms = 604800001), "Order.slow.ms: 604800001, at most 604800000"},
        {ORDER(GARBAGE, garbage, Garbage, .base = {0}), "Order.garbage.bytes: is empty"},
        {ORDER(REFUSE, refuse, Refuse, .status = 0x10000), "Order.refuse.status"},
        {ORDER(EXPECT, expect, Expect, .base = {0}), "Order.expect: neither"},
    };

    memset(long_word, 'x', VERB_MAX_BYTES);
    long_word[VERB_MAX_BYTES] = '\0';
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_assert_eq(order_message_read(&rows[i].order, &verb, err, sizeof(err)), UV_EINVAL, "%s", rows[i].text);
        cr_assert(strstr(err, rows[i].text) == err, "\"%s\" for \"%s\"", err, rows[i].text);
    }
}

Test(order_message, states_are_told_as_they_are_ordered)
{
    cr_assert_eq(order_message_access(ALUA_OPTIMIZED), SENSEBUS__TARGET__V1__ACCESS_STATE__ACCESS_STATE_OPTIMIZED);
    cr_assert_eq(order_message_access(ALUA_TRANSITION), SENSEBUS__TARGET__V1__ACCESS_STATE__ACCESS_STATE_TRANSITION);
}
