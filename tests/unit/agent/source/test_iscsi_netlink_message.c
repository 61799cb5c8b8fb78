/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>
#include <uv.h>

#include "agent/iscsi/pdu.h"
#include "agent/source/iscsi_netlink_message.h"
#include "tests/unit/agent/source/netlink_samples.h"

static struct sample sample;

static struct iscsi_netlink_message parse(struct sample s)
{
    struct iscsi_netlink_message m = {0};

    sample = s;
    cr_assert_eq(iscsi_netlink_parse(sample.bytes, sample.len, &m), 0);
    return m;
}

Test(iscsi_netlink_message, reads_a_recorded_asynchronous_message)
{
    struct iscsi_netlink_message m = parse(sample_iscsi_async());

    cr_assert_eq(m.kind, ISCSI_NETLINK_ASYNC);
    cr_assert(m.sid == 2 && m.cid == 0 && m.host == ISCSI_NETLINK_NO_HOST && m.kevent == 0x65);
    cr_assert(m.async.event == 0 && m.async.vcode == 0x5a);
    cr_assert(m.async.parameter1 == 1 && m.async.parameter2 == 2 && m.async.parameter3 == 3);
    cr_assert_eq(m.async.sense_len, 18);
    cr_assert_eq(m.async.sense[12], 0x3f);
    cr_assert(m.async.pdu == sample.bytes + SAMPLE_UEVENT_BYTES && m.async.pdu_len == 68);
}

Test(iscsi_netlink_message, tells_sessions_and_hosts_apart)
{
    static const struct {
        uint32_t type, first, second, third;
        enum iscsi_netlink_kind kind;
        uint32_t sid, cid, host, number;
    } cases[] = {
        {102, 2, 1, 1020, ISCSI_NETLINK_CONNECTION_ERROR, 2, 1, ISCSI_NETLINK_NO_HOST, 1020},
        {104, 3, 2, 0, ISCSI_NETLINK_DESTROYED, 2, 0, 3, 0},
        {105, 2, 3, 0, ISCSI_NETLINK_UNBOUND, 2, 0, 3, 0},
        {106, 2, 3, 0, ISCSI_NETLINK_CREATED, 2, 0, 3, 0},
        {108, 4, 0, 0, ISCSI_NETLINK_LINK_DOWN, ISCSI_NETLINK_NO_SID, 0, 4, 0},
        {109, 2, 0, 3, ISCSI_NETLINK_LOGIN_STATE, 2, 0, ISCSI_NETLINK_NO_HOST, 3},
        {110, 4, 0, 1, ISCSI_NETLINK_LINK_UP, ISCSI_NETLINK_NO_SID, 0, 4, 1},
        {110, 4, 0, 2, ISCSI_NETLINK_LINK_DOWN, ISCSI_NETLINK_NO_SID, 0, 4, 2},
        {110, 4, 0, 3, ISCSI_NETLINK_OTHER, ISCSI_NETLINK_NO_SID, 0, 4, 3},
        {103, 1, 2, 3, ISCSI_NETLINK_OTHER, ISCSI_NETLINK_NO_SID, 0, ISCSI_NETLINK_NO_HOST, 0},
        {111, 1, 2, 3, ISCSI_NETLINK_OTHER, ISCSI_NETLINK_NO_SID, 0, ISCSI_NETLINK_NO_HOST, 0},
        {10, 1, 2, 3, ISCSI_NETLINK_OTHER, ISCSI_NETLINK_NO_SID, 0, ISCSI_NETLINK_NO_HOST, 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct iscsi_netlink_message m =
            parse(sample_iscsi(cases[i].type, cases[i].first, cases[i].second, cases[i].third));

        cr_assert_eq(m.kind, cases[i].kind, "case %zu", i);
        cr_assert(m.sid == cases[i].sid && m.cid == cases[i].cid, "case %zu", i);
        cr_assert(m.host == cases[i].host && m.number == cases[i].number, "case %zu", i);
    }
}

Test(iscsi_netlink_message, only_status_and_stage_leave_a_login_response)
{
    static const char payload[] = "CHAP_N=user\0CHAP_R=0x0123456789abcdef";
    struct iscsi_netlink_message m =
        parse(sample_iscsi_pdu(2, PDU_LOGIN_RESPONSE, 0x87, 2, 1, payload, sizeof payload));

    cr_assert_eq(m.kind, ISCSI_NETLINK_LOGIN_RESPONSE);
    cr_assert(m.login.status_class == 2 && m.login.status_detail == 1 && m.login.transit && m.login.next_stage == 3);
    cr_assert(!m.async.pdu && !m.async.sense && !m.reject.pdu);
    cr_assert(!iscsi_netlink_logged_in(&m));
}

Test(iscsi_netlink_message, knows_the_answer_that_ends_a_login)
{
    static const struct {
        uint8_t flags, status_class;
        bool in;
    } cases[] = {{0x87, 0, true}, {0x83, 0, true}, {0x81, 0, false}, {0x07, 0, false}, {0x87, 1, false}, {0, 0, false}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct iscsi_netlink_message m =
            parse(sample_iscsi_pdu(2, PDU_LOGIN_RESPONSE, cases[i].flags, cases[i].status_class, 0, "", 0));

        cr_assert_eq(iscsi_netlink_logged_in(&m), cases[i].in, "case %zu", i);
    }
    for (uint32_t state = 0; state < 8; state++) {
        struct iscsi_netlink_message m = parse(sample_iscsi(109, 2, 0, state));

        cr_assert_eq(iscsi_netlink_logged_in(&m), state == 3);
    }
}

Test(iscsi_netlink_message, other_pdus_are_not_looked_into)
{
    static const uint8_t opcodes[] = {PDU_NOP_IN,
                                      PDU_SCSI_RESPONSE,
                                      PDU_TASK_MANAGEMENT_RESPONSE,
                                      PDU_TEXT_RESPONSE,
                                      PDU_DATA_IN,
                                      PDU_LOGOUT_RESPONSE,
                                      PDU_R2T,
                                      0x05,
                                      0x3e};

    for (size_t i = 0; i < sizeof opcodes; i++) {
        struct iscsi_netlink_message m = parse(sample_iscsi_pdu(2, opcodes[i], 0x80, 1, 1, "secret", 6));

        cr_assert_eq(m.kind, ISCSI_NETLINK_OTHER, "opcode %02x", opcodes[i]);
        cr_assert(!m.async.pdu && !m.reject.pdu);
    }
}

Test(iscsi_netlink_message, of_a_reject_the_rejected_header_leaves_and_no_payload)
{
    uint8_t rejected[64] = {PDU_LOGIN_REQUEST};
    struct iscsi_netlink_message m = parse(sample_iscsi_pdu(2, PDU_REJECT, 0x80, 0, 0, rejected, sizeof rejected));

    cr_assert_eq(m.kind, ISCSI_NETLINK_REJECT);
    cr_assert_eq(m.reject.pdu_len, 96);
    m = parse(sample_iscsi_pdu(2, PDU_REJECT, 0x80, 0, 0, rejected, 47));
    cr_assert_eq(m.reject.pdu_len, 48);
}

Test(iscsi_netlink_message, padding_is_no_data_and_missing_data_is_not_read)
{
    struct sample padded = sample_iscsi_pdu(2, PDU_ASYNC_MESSAGE, 0x80, 255, 0, "vendor", 6), cut = padded;
    struct iscsi_netlink_message m;

    padded.len += 2;
    m = parse(padded);
    cr_assert_eq(m.async.pdu_len, 54);
    cut.bytes[SAMPLE_UEVENT_BYTES + 5] = 0xff; /* announces sixteen million bytes */
    m = parse(cut);
    cr_assert_eq(m.async.pdu_len, 54);
}

Test(iscsi_netlink_message, refuses_what_is_cut_and_leaves_the_result_alone)
{
    struct sample s = sample_iscsi_async();
    struct iscsi_netlink_message m = {.kevent = 4711};

    for (size_t len = 0; len < SAMPLE_UEVENT_BYTES + PDU_HEADER_BYTES; len++) {
        cr_assert_eq(iscsi_netlink_parse(s.bytes, len, &m), UV_EINVAL, "%zu bytes", len);
        cr_assert_eq(m.kevent, 4711);
    }
    for (size_t len = SAMPLE_UEVENT_BYTES + PDU_HEADER_BYTES; len < s.len; len++) {
        cr_assert_eq(iscsi_netlink_parse(s.bytes, len, &m), 0);
        cr_assert_eq(m.async.pdu_len, len - SAMPLE_UEVENT_BYTES);
        cr_assert_leq(m.async.sense_len + PDU_HEADER_BYTES, m.async.pdu_len);
    }
}

Test(iscsi_netlink_message, errors_have_words)
{
    cr_assert_str_eq(iscsi_netlink_error_text(1020), "TCP connection closed");
    cr_assert_str_eq(iscsi_netlink_error_text(1022), "NOP-Out was not answered");
    cr_assert_str_eq(iscsi_netlink_error_text(1023), "unknown error");
    cr_assert_str_eq(iscsi_netlink_error_text(0), "unknown error");
}
