/* SPDX-License-Identifier: Apache-2.0 */
/* EVENT: once in a session. */
#include <criterion/criterion.h>
#include <string.h>

#include "sensebus/v1/code.pb-c.h"
#include "tests/unit/broker/core/adapter/world.h"

static struct world w;
static struct adapter_stream *a, *a2, *b;

static void begin(void)
{
    world_begin(&w, NULL);
    a = open_as(&w, "A", "alice", ACCESS_ALL);
    a2 = open_as(&w, "A2", "alice", ACCESS_ALL);
    b = open_as(&w, "B", "bob", ACCESS_ALL);
    started(&w, a, 0);
}

static void end(void)
{
    world_end(&w);
}

TestSuite(registration, .init = begin, .fini = end);

/* rule 4, rule 7 */
Test(registration, delivers_what_comes_behind_it)
{
    unit_reset(&w, 0);
    ask_event(&w, a, "s1", "\x01\x00\x02", 3);
    unit_reset(&w, 0);
    story(&w, "> h event 2 s1\n");
    agent_ok(&w, 2);
    unit_reset(&w, 0);
    story(&w, "A #2 OK\nA event s1 LUN_RESET @3 bits 4 corr 010002\n");
}

/* records that the log has already, but that were not handed over yet, are not for the registration */
Test(registration, delivers_nothing_that_the_log_had_before)
{
    ask_event(&w, a, "s1", NULL, 0);
    w.next_sequence = 5;
    agent_ok(&w, 2);
    w.next_sequence = 3;
    w.text[0] = '\0';
    unit_reset(&w, 0); /* 4 */
    unit_reset(&w, 0); /* 5 */
    story(&w, "");
    unit_reset(&w, 0);
    story(&w, "A event s1 LUN_RESET @6 bits 4\n");
}

/* rule 4: the slot is taken before the agent is asked; from the same or any other connection */
Test(registration, second_one_hears_by_whom_and_since_when)
{
    ask_event(&w, a, "s1", NULL, 0);
    ask_event(&w, a2, "s1", NULL, 0);
    story(&w, "> h event 2 s1\nA2 #3 EINVAL/ALREADY_REGISTERED\n");
    cr_assert_str_eq(w.message, "session s1 was registered at 2026-01-31T12:00:00Z by alice");
    agent_ok(&w, 2);
    w.wall_ns += 3600 * 1000 * MS;
    ask_event(&w, a, "s1", NULL, 0);
    story(&w, "A #2 OK\nA #4 EINVAL/ALREADY_REGISTERED\n");
    cr_assert_str_eq(w.message, "session s1 was registered at 2026-01-31T12:00:00Z by alice");
    struct adapter_counters counters;
    adapter_counters(w.a, &counters);
    cr_assert_eq(counters.registration_conflicts, 2);
    cr_assert_eq(counters.registrations, 1);
}

/* A2, rule 4 */
Test(registration, failed_attempt_does_not_use_up_the_chance)
{
    ask_event(&w, a, "s1", NULL, 0);
    agent_fails(&w, 2, ERRNO(ENXIO));
    ask_event(&w, a, "s1", NULL, 0);
    tick_to(&w, w.now_ns + 30000 * MS);
    ask_event(&w, a, "s1", NULL, 0);
    agent_ok(&w, 4);
    story(&w, "> h event 2 s1\nA #2 ENXIO\n> h event 3 s1\nA #3 ETIMEDOUT\n> h event 4 s1\nA #4 OK\n");
}

Test(registration, attempt_that_cannot_be_handed_over_does_not_use_up_the_chance)
{
    w.fail_forwards = true;
    ask_event(&w, a, "s1", NULL, 0);
    w.fail_forwards = false;
    ask_event(&w, a, "s1", NULL, 0);
    story(&w, "> h event 2 s1\nA #2 EIO\n> h event 3 s1\n");
}

Test(registration, attempt_whose_stream_ends_does_not_use_up_the_chance)
{
    ask_event(&w, a2, "s1", NULL, 0);
    close_stream(&w, a2);
    agent_ok(&w, 2);
    ask_event(&w, a, "s1", NULL, 0);
    story(&w, "> h event 2 s1\n> h event 3 s1\n");
}

/* rule 7, A10: bit-identical, absent differs from empty */
Test(registration, correlator_is_kept_bit_by_bit)
{
    uint8_t all[256];
    for (unsigned i = 0; i < 256; i++)
        all[i] = (uint8_t)(255 - i);
    ask_event(&w, a, "s1", all, sizeof all);
    agent_ok(&w, 2);
    started(&w, a, 1);
    ask_event(&w, a, "s2", "", 0);
    agent_ok(&w, w.last_operation);
    started(&w, a, 2);
    ask_event(&w, a, "s3", NULL, 0);
    agent_ok(&w, w.last_operation);
    started(&w, a, 3);
    ask_event(&w, a, "s4", "\0a", 2);
    agent_ok(&w, w.last_operation);
    w.text[0] = '\0';
    for (int64_t lun = 0; lun < 4; lun++)
        unit_reset(&w, lun);
    story(&w, "A event s1 LUN_RESET @1 bits 4 corr fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0\n"
              "A event s2 LUN_RESET @2 bits 4 corr empty\n"
              "A event s3 LUN_RESET @3 bits 4\n"
              "A event s4 LUN_RESET @4 bits 4 corr 0061\n");
}

/* A1: another stream of the principal may; then records go there, and its end does not end the session */
Test(registration, goes_to_the_stream_that_asked_and_ends_with_it)
{
    ask_event(&w, a2, "s1", "\x01", 1);
    agent_ok(&w, 2);
    unit_reset(&w, 0);
    story(&w, "> h event 2 s1\nA2 #2 OK\nA2 event s1 LUN_RESET @1 bits 4 corr 01\n");
    close_stream(&w, a2);
    story(&w, "log REGISTRATION_CANCELLED s1\n");
    unit_reset(&w, 0);
    ask_tm_event(&w, a, "s1", false);
    ask_event(&w, a, "s1", NULL, 0);
    story(&w, "A #3 OK pending 4\nA #4 EINVAL/ALREADY_REGISTERED\n");
    cr_assert_not_null(strstr(w.message, "STOP and START again"), "%s", w.message);
}

/* A1 */
Test(registration, of_another_principals_session_is_refused)
{
    ask_event(&w, b, "s1", NULL, 0);
    story(&w, "B #2 EINVAL/NOT_OWNER\n");
}

/* rule 5: the starter's stream ends, the listener hears of it */
Test(registration, on_another_stream_is_told_of_the_end)
{
    ask_event(&w, a2, "s1", NULL, 0);
    agent_ok(&w, 2);
    w.text[0] = '\0';
    close_stream(&w, a);
    story(&w, "sdi 2 s1\nlog REGISTRATION_CANCELLED s1\n> h close s1\nlog SESSION_STOPPED s1\n"
              "A2 event s1 REGISTRATION_CANCELLED STREAM_ENDED\n");
}

/* rule 5: STOP ends with that record, before its reply */
Test(registration, ends_with_the_session_and_may_be_made_anew_in_the_next)
{
    registered(&w, a, "s1");
    ask_stop(&w, a, "s1");
    story(&w, "sdi 2 s1\nA event s1 REGISTRATION_CANCELLED STOP corr ab\nlog REGISTRATION_CANCELLED s1\n"
              "> h close s1\nlog SESSION_STOPPED s1\nA #3 OK\n");
    ask_event(&w, a, "s1", NULL, 0);
    story(&w, "A #4 EINVAL/NOT_STARTED\n");
    started(&w, a, 0);
    registered(&w, a, "s2");
    unit_reset(&w, 0);
    story(&w, "A event s2 LUN_RESET @1 bits 4 corr ab\n");
}

Test(registration, in_flight_fails_when_its_session_ends)
{
    ask_event(&w, a2, "s1", NULL, 0);
    w.text[0] = '\0';
    ask_stop(&w, a, "s1");
    story(&w, "sdi 2 s1\nA2 #2 EIO\n> h close s1\nlog SESSION_STOPPED s1\nA #3 OK\n");
}

/* A4: target mode registers too; A3 */
Test(registration, of_a_target_mode_session)
{
    ask_start_target(&w, a, "iqn.initiator", "");
    agent_ok(&w, 2);
    ask_event(&w, a, "s2", NULL, 0);
    w.text[0] = '\0';
    ask_event_target(&w, a, "s2");
    agent_ok(&w, 3);
    story(&w, "> h event 3 s2\nA #4 OK\n");
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__BUFFERS_EXHAUSTED, .session_id = "s2", .bits = -1});
    story(&w, "A event s2 BUFFERS_EXHAUSTED @1 bits 8\n");
}

/* A20: the session is the subscriber's open, not the connection below */
Test(registration, survives_a_nexus_that_is_lost_and_restored)
{
    registered(&w, a, "s1");
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__NEXUS_LOST, .lun = -1, .bits = 0});
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__NEXUS_RESTORED, .lun = -1, .bits = 0});
    unit_reset(&w, 0);
    story(&w, "A event s1 NEXUS_LOST @1 corr ab\nA event s1 NEXUS_RESTORED @2 corr ab\n"
              "A event s1 LUN_RESET @3 bits 4 corr ab\n");
}
