/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>

#include "agent/iscsi/async_message.h"
#include "agent/iscsi/pdu.h"

/* A header of event `event` with Parameter1..3 = 1, 2, 3 and `data` behind it. */
static size_t make(uint8_t *pdu, uint8_t event, const void *data, size_t data_len)
{
    memset(pdu, 0, PDU_HEADER_BYTES);
    pdu[0] = PDU_ASYNC_MESSAGE;
    pdu[PDU_AT_LUN + 1] = 4;
    pdu[PDU_AT_ASYNC_EVENT] = event;
    pdu[PDU_AT_ASYNC_VCODE] = 0x5a;
    pdu[PDU_AT_ASYNC_PARAMETERS + 1] = 1;
    pdu[PDU_AT_ASYNC_PARAMETERS + 3] = 2;
    pdu[PDU_AT_ASYNC_PARAMETERS + 5] = 3;
    memcpy(pdu + PDU_HEADER_BYTES, data, data_len);
    return PDU_HEADER_BYTES + data_len;
}

Test(async_message, decodes_header_parameters_and_sense)
{
    static const uint8_t data[] = {0, 4, 0x70, 0, 6, 0};
    struct iscsi_async_message m;
    uint8_t pdu[64];
    size_t len = make(pdu, 0, data, sizeof data);

    async_message_decode(pdu, PDU_HEADER_BYTES, len, &m);
    cr_assert_eq(m.event, 0);
    cr_assert_eq(m.vcode, 0x5a);
    cr_assert(m.parameter1 == 1 && m.parameter2 == 2 && m.parameter3 == 3);
    cr_assert_eq(m.lun_raw, UINT64_C(4) << 48);
    cr_assert(m.sense == pdu + PDU_HEADER_BYTES + 2 && m.sense_len == 4);
    cr_assert(m.pdu == pdu && m.pdu_len == len);
}

Test(async_message, takes_no_more_sense_than_there_is)
{
    static const struct {
        uint8_t data[4];
        size_t len, sense_len;
    } cases[] = {
        {{0}, 0, 0},          {{0, 9}, 1, 0},          {{0, 9}, 2, 0}, {{0xff, 0xff, 0x70}, 3, 1},
        {{0, 0, 0x70}, 3, 0}, {{0, 1, 0x70, 1}, 4, 1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct iscsi_async_message m;
        uint8_t pdu[64];

        async_message_decode(pdu, PDU_HEADER_BYTES, make(pdu, 0, cases[i].data, cases[i].len), &m);
        cr_assert_eq(m.sense_len, cases[i].sense_len, "case %zu: %zu", i, m.sense_len);
        cr_assert_eq(m.sense == NULL, cases[i].sense_len == 0, "case %zu", i);
    }
}

Test(async_message, only_a_scsi_event_has_sense)
{
    struct iscsi_async_message m;
    uint8_t pdu[64];

    async_message_decode(pdu, PDU_HEADER_BYTES, make(pdu, 255, "\0\1\x70", 3), &m);
    cr_assert(m.event == 255 && !m.sense && m.sense_len == 0 && m.pdu_len == PDU_HEADER_BYTES + 3);
}
