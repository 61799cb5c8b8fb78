/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "agent/iscsi/pdu.h"
#include "agent/source/iscsi_netlink_sessions.h"
#include "proto/registry.h"
#include "tests/unit/agent/source/netlink_samples.h"

static struct iscsi_kernel_session session;

/* What the message means, as the name of a code, "proof" or "". */
static const char *judge(struct sample sample)
{
    struct iscsi_netlink_message m;
    uint32_t code = 0;

    cr_assert_eq(iscsi_netlink_parse(sample.bytes, sample.len, &m), 0);
    switch (iscsi_session_judge(&session, &m, &code)) {
    case ISCSI_NEWS_NONE: return "";
    case ISCSI_NEWS_PROOF: return "proof";
    case ISCSI_NEWS_EVENT: return registry_find(code)->name;
    }
    return NULL;
}

#define CREATED          sample_iscsi(106, 2, 3, 0)
#define LOGGED_IN        sample_iscsi_pdu(2, PDU_LOGIN_RESPONSE, 0x87, 0, 0, "", 0)
#define LOGIN_STEP       sample_iscsi_pdu(2, PDU_LOGIN_RESPONSE, 0x81, 0, 0, "", 0)
#define REFUSED(c, d)    sample_iscsi_pdu(2, PDU_LOGIN_RESPONSE, 0, c, d, "", 0)
#define CONNECTION_ERROR sample_iscsi(102, 2, 0, 1020)
#define UNBOUND          sample_iscsi(105, 2, 3, 0)
#define DESTROYED        sample_iscsi(104, 3, 2, 0)

static void setup(void)
{
    iscsi_session_init(&session, 2);
}

TestSuite(iscsi_netlink_sessions, .init = setup);

Test(iscsi_netlink_sessions, tells_each_turn_of_a_life_once)
{
    cr_assert_str_eq(judge(CREATED), "proof");
    cr_assert_str_eq(judge(LOGIN_STEP), "");
    cr_assert_str_eq(judge(LOGGED_IN), "SESSION_STARTED");
    cr_assert_str_eq(judge(CONNECTION_ERROR), "NEXUS_LOST");
    cr_assert_str_eq(judge(CONNECTION_ERROR), "proof");
    cr_assert_str_eq(judge(LOGGED_IN), "NEXUS_RESTORED");
    cr_assert_str_eq(judge(UNBOUND), "SESSION_STOPPED");
    cr_assert_str_eq(judge(DESTROYED), "proof");
}

Test(iscsi_netlink_sessions, a_session_that_logs_in_again_was_lost_without_an_error)
{
    cr_assert_str_eq(judge(LOGGED_IN), "SESSION_STARTED");
    cr_assert_str_eq(judge(sample_iscsi_pdu(2, PDU_ASYNC_MESSAGE, 0x80, 4, 0, "", 0)), "NEGOTIATION_REQUESTED");
    cr_assert_str_eq(judge(LOGGED_IN), "NEXUS_RESTORED");
}

Test(iscsi_netlink_sessions, a_lost_session_that_is_given_up_is_stopped)
{
    cr_assert_str_eq(judge(LOGGED_IN), "SESSION_STARTED");
    cr_assert_str_eq(judge(CONNECTION_ERROR), "NEXUS_LOST");
    cr_assert_str_eq(judge(DESTROYED), "SESSION_STOPPED");
}

Test(iscsi_netlink_sessions, a_login_that_never_worked_starts_and_stops_nothing)
{
    cr_assert_str_eq(judge(CREATED), "proof");
    cr_assert_str_eq(judge(REFUSED(2, 1)), "LOGIN_FAILED");
    cr_assert_str_eq(judge(REFUSED(2, 1)), "");
    cr_assert_str_eq(judge(REFUSED(3, 1)), "LOGIN_FAILED");
    cr_assert_str_eq(judge(CONNECTION_ERROR), "proof");
    cr_assert_str_eq(judge(DESTROYED), "proof");
}

Test(iscsi_netlink_sessions, a_redirection_is_another_address)
{
    cr_assert_str_eq(judge(REFUSED(1, 1)), "ADDRESS_CHANGED");
    cr_assert_str_eq(judge(LOGGED_IN), "SESSION_STARTED");
    cr_assert_str_eq(judge(REFUSED(1, 1)), "ADDRESS_CHANGED", "a login that worked ends the series");
}

Test(iscsi_netlink_sessions, a_number_that_is_used_again_is_another_session)
{
    cr_assert_str_eq(judge(LOGGED_IN), "SESSION_STARTED");
    cr_assert_str_eq(judge(CREATED), "proof");
    cr_assert_str_eq(judge(LOGGED_IN), "SESSION_STARTED");
}

Test(iscsi_netlink_sessions, asynchronous_messages_are_events_in_every_phase)
{
    static const char *const names[] = {"ASYNC_EVENT_PENDING", "LOGOUT_REQUESTED",      "CONNECTION_DROP_NOTICE",
                                        "SESSION_DROP_NOTICE", "NEGOTIATION_REQUESTED", "COMMANDS_CLEARED"};

    cr_assert_str_eq(judge(sample_iscsi_async()), "REPORTED_LUNS_CHANGED");
    for (uint8_t event = 0; event < 6; event++)
        cr_assert_str_eq(judge(sample_iscsi_pdu(2, PDU_ASYNC_MESSAGE, 0x80, event, 0, "", 0)), names[event]);
    cr_assert_str_eq(judge(sample_iscsi_pdu(2, PDU_ASYNC_MESSAGE, 0x80, 6, 0, "", 0)), "UNCLASSIFIED");
    cr_assert_str_eq(judge(sample_iscsi_pdu(2, PDU_ASYNC_MESSAGE, 0x80, 255, 0, "", 0)), "VENDOR_SPECIFIC");
    cr_assert_str_eq(judge(sample_iscsi_pdu(2, PDU_REJECT, 0x80, 0, 0, "", 0)), "proof");
    cr_assert_eq(session.phase, ISCSI_PHASE_NEW);
}

Test(iscsi_netlink_sessions, remembers_so_many_and_no_more)
{
    struct iscsi_sessions list = {0};

    for (uint32_t sid = 0; sid < ISCSI_SESSIONS_MAX; sid++)
        cr_assert_not_null(iscsi_sessions_add(&list, sid));
    cr_assert_null(iscsi_sessions_add(&list, ISCSI_SESSIONS_MAX));
    cr_assert_not_null(iscsi_sessions_add(&list, 17), "that one is there");
    iscsi_sessions_remove(&list, 17);
    cr_assert_null(iscsi_sessions_find(&list, 17));
    cr_assert_eq(iscsi_sessions_find(&list, 4095)->sid, 4095);
    iscsi_sessions_remove(&list, 17);
    cr_assert_eq(iscsi_sessions_add(&list, 5000)->sid, 5000);
    iscsi_sessions_deinit(&list);
    cr_assert_null(iscsi_sessions_find(&list, 0));
}
