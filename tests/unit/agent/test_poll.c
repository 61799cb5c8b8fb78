/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/poll.h"

#include <criterion/criterion.h>
#include <string.h>

#include "proto/registry.h"
#include "sensebus/v1/code.pb-c.h"

static struct poll_verdict sensed(struct poll_unit *u, uint8_t key, uint8_t asc, uint8_t ascq)
{
    struct sense s = {.response_code = 0x70, .key = key, .asc = asc, .ascq = ascq};

    return poll_sense(u, &s, true);
}

Test(poll, every_unit_attention_is_an_event)
{
    struct poll_unit u = {0};

    for (int i = 0; i < 3; i++)
        cr_assert_eq(sensed(&u, 6, 0x29, 0).code, SENSEBUS__V1__CODE__POWER_ON_OR_RESET);
    cr_assert_eq(sensed(&u, 6, 0x77, 0x77).code, SENSEBUS__V1__CODE__UNIT_ATTENTION_OTHER);
}

Test(poll, not_ready_is_reported_by_kind)
{
    struct poll_unit u = {0};

    cr_assert_eq(sensed(&u, 2, 4, 1).code, SENSEBUS__V1__CODE__DEVICE_NOT_READY);
    cr_assert_eq(sensed(&u, 2, 4, 1).code, 0);
    cr_assert_eq(sensed(&u, 2, 4, 2).code, SENSEBUS__V1__CODE__DEVICE_NOT_READY);
    cr_assert_eq(sensed(&u, 2, 0x3a, 0).code, SENSEBUS__V1__CODE__MEDIUM_ABSENT);
    cr_assert_eq(sensed(&u, 2, 0x30, 0).code, SENSEBUS__V1__CODE__DEVICE_NOT_READY,
                 "kinds without a code of their own");
    cr_assert_eq(poll_answer(&u, POLL_ANSWER_GOOD, 0).code, SENSEBUS__V1__CODE__DEVICE_ONLINE);
    cr_assert_eq(poll_answer(&u, POLL_ANSWER_GOOD, 0).code, 0);
}

Test(poll, the_first_good_answer_is_no_news)
{
    struct poll_unit u = {0};

    cr_assert_eq(poll_answer(&u, POLL_ANSWER_GOOD, 0).code, 0);
    cr_assert_eq(u.state, POLL_READY);
}

Test(poll, luns_changed_is_left_to_the_target)
{
    struct poll_unit u = {0};
    struct poll_verdict v = sensed(&u, 6, 0x3f, 0x0e);

    cr_assert(v.luns_changed && v.survey && v.code == 0);
}

Test(poll, a_unit_not_supported_asks_for_one_survey)
{
    struct poll_unit u = {.state = POLL_READY};
    struct poll_verdict v = sensed(&u, 5, 0x25, 0);

    cr_assert(v.survey && v.code == 0);
    cr_assert(!sensed(&u, 5, 0x25, 0).survey);
}

Test(poll, changes_of_identity_ask_again)
{
    static const uint8_t codes[][2] = {{0x3f, 3}, {0x3f, 5}, {0x2a, 9}, {0x28, 0}, {0x3f, 1}};
    struct poll_unit u = {0};

    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        cr_assert(sensed(&u, 6, codes[i][0], codes[i][1]).identify, "%02x/%02x", codes[i][0], codes[i][1]);
    cr_assert(!sensed(&u, 6, 0x2a, 1).identify);
}

Test(poll, attentions_are_drained_but_not_for_ever)
{
    struct poll_unit u = {0};
    unsigned n = 0;

    while (poll_answer(&u, POLL_ANSWER_SENSE, 6).again)
        n++;
    cr_assert_eq(n, POLL_MAX_DRAIN - 1);
    poll_begin(&u);
    cr_assert(poll_answer(&u, POLL_ANSWER_SENSE, 6).again);
    cr_assert(!poll_answer(&u, POLL_ANSWER_SENSE, 2).again);
}

Test(poll, silence_is_one_event_and_ever_longer_pauses)
{
    struct poll_unit u = {.state = POLL_READY};
    struct poll_next next = poll_answer(&u, POLL_ANSWER_TIMEOUT, 0);
    uint32_t skip = next.skip;

    cr_assert_eq(next.code, SENSEBUS__V1__CODE__DEVICE_NOT_READY);
    for (int i = 0; i < 40; i++) {
        next = poll_answer(&u, POLL_ANSWER_TIMEOUT, 0);
        cr_assert_eq(next.code, 0);
        cr_assert_geq(next.skip, skip);
        cr_assert_leq(next.skip, 32);
        skip = next.skip;
    }
    cr_assert_eq(sensed(&u, 2, 4, 1).code, SENSEBUS__V1__CODE__DEVICE_NOT_READY,
                 "it answers: another kind of not ready");
    cr_assert_eq(poll_answer(&u, POLL_ANSWER_GOOD, 0).code, SENSEBUS__V1__CODE__DEVICE_ONLINE);
}

Test(poll, an_error_is_news_again_after_a_good_answer_whatever_its_key)
{
    static const uint8_t keys[] = {0, 1, 3, 4};

    for (size_t i = 0; i < sizeof keys; i++) {
        struct poll_unit u = {0};

        for (int times = 0; times < 2; times++) {
            cr_assert_eq(sensed(&u, keys[i], 0x5d, 0).code, SENSEBUS__V1__CODE__FAILURE_PREDICTED, "key %d", keys[i]);
            cr_assert_eq(sensed(&u, keys[i], 0x5d, 0).code, 0);
            poll_answer(&u, POLL_ANSWER_GOOD, 0);
        }
    }
}

Test(poll, busy_says_nothing)
{
    struct poll_unit u = {.state = POLL_READY};
    struct poll_next next = poll_answer(&u, POLL_ANSWER_BUSY, 0);

    cr_assert_eq(next.code, 0);
    cr_assert(!next.again);
    cr_assert_eq(u.state, POLL_READY);
}
