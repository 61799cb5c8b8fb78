/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "agent/async_event.h"
#include "sensebus/v1/code.pb-c.h"

#define SENSE(key, asc, ascq)                                                                                          \
    {                                                                                                                  \
        0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, asc, ascq, 0, 0, 0, 0                                                \
    }

Test(async_event, is_classified_by_its_sense_or_else_by_its_number)
{
    static const struct {
        uint8_t event, sense[18];
        size_t len;
        uint32_t code;
        bool sensed;
    } cases[] = {
        {0, SENSE(6, 0x3f, 0x0e), 18, SENSEBUS__V1__CODE__REPORTED_LUNS_CHANGED, true},
        {0, SENSE(5, 0x24, 0x00), 18, SENSEBUS__V1__CODE__UNCLASSIFIED, true},
        {0, {0}, 0, SENSEBUS__V1__CODE__ASYNC_EVENT_PENDING, false},
        {0, {0x11}, 1, SENSEBUS__V1__CODE__ASYNC_EVENT_PENDING, false},
        {1, {0}, 0, SENSEBUS__V1__CODE__LOGOUT_REQUESTED, false},
        {5, {0}, 0, SENSEBUS__V1__CODE__COMMANDS_CLEARED, false},
        {255, SENSE(6, 0x3f, 0x0e), 0, SENSEBUS__V1__CODE__VENDOR_SPECIFIC, false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct iscsi_async_message m = {.event = cases[i].event};
        bool sensed;

        m.sense = cases[i].len ? cases[i].sense : NULL;
        m.sense_len = cases[i].len;
        cr_assert_eq(async_event_code(&m, &sensed), cases[i].code, "case %zu", i);
        cr_assert_eq(sensed, cases[i].sensed, "case %zu", i);
        cr_assert_eq(async_event_has_lun(&m), m.event == 0 || m.event == 5);
    }
}

Test(async_event, native_part_is_the_message_itself)
{
    static const uint8_t pdu[48] = {0x32};
    struct iscsi_async_message m = {.event = 2, .vcode = 7, .parameter1 = 1, .parameter2 = 2, .parameter3 = 3};
    struct record_native n;

    m.pdu = pdu;
    m.pdu_len = sizeof pdu;
    n = async_event_native(&m);
    cr_assert_str_eq(n.name, "async-message");
    cr_assert_str_eq(n.detail, "target will drop this connection");
    cr_assert(n.code == 2 && n.subcode == 7 && n.raw == pdu && n.raw_len == 48 && n.n_parameters == 3);
    cr_assert(n.parameters[0] == 1 && n.parameters[1] == 2 && n.parameters[2] == 3);
}
