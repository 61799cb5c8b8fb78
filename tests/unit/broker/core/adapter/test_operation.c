/* SPDX-License-Identifier: Apache-2.0 */
/* Operations at the agent: commands, HALT, RESET, deadlines, answers that wait for the log. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "sensebus/v1/code.pb-c.h"
#include "tests/unit/broker/core/adapter/world.h"

static struct world w;
static struct adapter_stream *a, *a2;
static struct adapter_counters counters;

static void begin(void)
{
    world_begin(&w, NULL);
    a = open_as(&w, "A", "alice", ACCESS_ALL);
    a2 = open_as(&w, "A2", "alice", ACCESS_ALL);
    started(&w, a, 0);
}

static void end(void)
{
    world_end(&w);
}

TestSuite(operation, .init = begin, .fini = end);

/* rule 13: before START */
Test(operation, iocinfo_needs_no_session)
{
    ask_iocinfo(&w, a2);
    agent_ok(&w, 2);
    story(&w, "> h ioc_info 2\nA2 #2 OK adapter a\n");
    ask_iocinfo(&w, a2);
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;
    result.id = 3;
    agent_result(&w, "h", &result, 0);
    story(&w, "> h ioc_info 3\nA2 #3 EIO\n");
}

/* slow ones do not hold up others */
Test(operation, answers_come_as_they_are_done)
{
    ask_tur(&w, a, "s1", false);
    ask_inquiry(&w, a2, "s1", false);
    agent_ok(&w, 3);
    agent_ok(&w, 2);
    agent_ok(&w, 2);
    story(&w, "> h test_unit_ready 2 s1\n> h inquiry 3 s1\nA2 #3 OK status 0\nA #2 OK status 0\n");
    adapter_counters(w.a, &counters);
    cr_assert_eq(counters.results_late, 1);
    cr_assert_eq(counters.operations_open, 0);
}

Test(operation, error_of_the_agent_is_passed_on)
{
    ask_tur(&w, a, "s1", false);
    agent_fails(&w, 2, ERRNO(ENODEV));
    cr_assert_str_eq(w.message, "the agent says no");
    ask_tur(&w, a, "s1", false);
    agent_fails(&w, 3, (Sensebus__V1__Errno)99);
    ask_tur(&w, a, "s1", false);
    agent_fails(&w, 4, ERRNO(EACCES));
    story(&w, "> h test_unit_ready 2 s1\nA #2 ENODEV\n> h test_unit_ready 3 s1\nA #3 EIO\n"
              "> h test_unit_ready 4 s1\nA #4 EACCES\n");
}

Test(operation, answer_of_another_host_is_none)
{
    ask_tur(&w, a, "s1", false);
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;
    result.id = 2;
    agent_result(&w, "h2", &result, 0);
    story(&w, "> h test_unit_ready 2 s1\n");
    agent_ok(&w, 2);
    story(&w, "A #2 OK status 0\n");
}

Test(operation, deadline_of_the_caller_counts)
{
    Sensebus__V1__TestUnitReady m = SENSEBUS__V1__TEST_UNIT_READY__INIT;
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    m.session_id = (char *)"s1";
    request.version = 1;
    request.deadline_ms = 5;
    request.operation_case = ASK(TEST_UNIT_READY);
    request.test_unit_ready = &m;
    ask(&w, a, &request);
    cr_assert_eq(adapter_next_ns(w.a), 1005 * MS);
    tick_to(&w, 1005 * MS);
    story(&w, "> h test_unit_ready 2 s1\nA #2 ETIMEDOUT\n");
    cr_assert_eq(adapter_next_ns(w.a), UINT64_MAX);
}

Test(operation, that_cannot_be_handed_over_fails_with_the_reason)
{
    w.fail_forwards = true;
    ask_tur(&w, a, "s1", false);
    story(&w, "> h test_unit_ready 2 s1\nA #2 EIO\n");
    cr_assert_str_eq(w.message, "the agent does not read");
    ask_start(&w, a, 1, false);
    w.fail_forwards = false;
    ask_start(&w, a, 1, false);
    story(&w, "> h open 3 s2 a:0:1:1\nA #3 EIO\n> h open 4 s3 a:0:1:1\n");
}

Test(operation, fails_when_its_session_ends)
{
    ask_tur(&w, a2, "s1", false);
    ask_stop(&w, a, "s1");
    story(&w, "> h test_unit_ready 2 s1\nsdi 2 s1\nA2 #2 EIO\n> h close s1\nlog SESSION_STOPPED s1\nA #3 OK\n");
}

/* ---- HALT, rule 14 */

/* rule 14 */
Test(operation, commands_without_resume_fail_while_halted)
{
    ask_halt(&w, a, "s1");
    ask_tur(&w, a, "s1", false); /* from when it is accepted */
    ask_halt(&w, a2, "s1");      /* while halting */
    agent_ok(&w, 2);
    ask_inquiry(&w, a, "s1", false);
    ask_tur(&w, a, "s1", true);
    ask_inquiry(&w, a, "s1", false); /* resumed, from when that was accepted */
    story(&w, "> h halt 2 s1\nA #3 ENXIO/HALTED\nA2 #4 EIO\nA #2 OK\nA #5 ENXIO/HALTED\n"
              "> h test_unit_ready 3 s1\n> h inquiry 4 s1\n");
}

Test(operation, halt_that_fails_halts_nothing)
{
    ask_halt(&w, a, "s1");
    agent_fails(&w, 2, ERRNO(EIO));
    ask_tur(&w, a, "s1", false);
    ask_halt(&w, a, "s1");
    tick_to(&w, w.now_ns + 30000 * MS);
    ask_tur(&w, a, "s1", false);
    story(&w, "> h halt 2 s1\nA #2 EIO\n> h test_unit_ready 3 s1\n> h halt 4 s1\nA #3 ETIMEDOUT\nA #4 ETIMEDOUT\n"
              "> h test_unit_ready 5 s1\n");
}

Test(operation, halt_again_that_fails_leaves_it_halted)
{
    ask_halt(&w, a, "s1");
    agent_ok(&w, 2);
    ask_halt(&w, a, "s1");
    agent_fails(&w, 3, ERRNO(EIO));
    ask_tur(&w, a, "s1", false);
    story(&w, "> h halt 2 s1\nA #2 OK\n> h halt 3 s1\nA #3 EIO\nA #4 ENXIO/HALTED\n");
}

Test(operation, halt_whose_asker_is_gone_stays)
{
    ask_halt(&w, a2, "s1");
    close_stream(&w, a2);
    ask_tur(&w, a, "s1", false);
    ask_halt(&w, a, "s1");
    story(&w, "> h halt 2 s1\nA #3 ENXIO/HALTED\n> h halt 3 s1\n");
}

/* ---- RESET, rule 15 */

/* rule 12: of the adapter that it is on, wherever it was asked for */
Test(operation, what_a_session_can_is_what_the_adapter_can_where_the_agent_found_it)
{
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;
    Sensebus__V1__OpenResult open = SENSEBUS__V1__OPEN_RESULT__INIT;
    Sensebus__V1__DeviceAddress found = w.full;
    found.adapter = (char *)"b";
    found.lun = 1;
    open.address = &found;
    open.controller = 3;
    result.value_case = SENSEBUS__V1__OPERATION_RESULT__VALUE_OPEN;
    result.open = &open;
    w.place.capabilities = ADAPTER_CAN_HALT;
    ask_start(&w, a, 1, false);
    w.place.capabilities = ADAPTER_CAN_RESET_LUN; /* of the other */
    result.id = w.last_operation;
    agent_result(&w, "h", &result, 0);
    w.text[0] = '\0';
    ask_halt(&w, a, "s2");
    ask_reset(&w, a, "s2", true);
    story(&w, "A #3 ENXIO/NOT_SUPPORTED\n> h reset 3 s2 lun\n");
}

Test(operation, reset_needs_what_the_adapter_can)
{
    w.place.capabilities = ADAPTER_CAN_RESET_TARGET;
    started(&w, a, 1); /* s2 */
    w.place.capabilities = ADAPTER_CAN_RESET_LUN;
    w.device.transport = SENSEBUS__V1__TRANSPORT__TRANSPORT_SAS; /* always the unit */
    started(&w, a, 2);                                           /* s3 */
    ask_reset(&w, a, "s1", true);
    ask_reset(&w, a, "s1", false);
    ask_reset(&w, a, "s2", true);
    ask_reset(&w, a, "s2", false);
    ask_reset(&w, a, "s3", true);
    ask_reset(&w, a, "s3", false);
    ask_halt(&w, a, "s3");
    story(&w, "> h reset 4 s1 lun\n> h reset 5 s1 target\nA #6 ENXIO/NOT_SUPPORTED\n> h reset 6 s2 target\n"
              "> h reset 7 s3 lun\n> h reset 8 s3 lun\nA #10 ENXIO/NOT_SUPPORTED\n");
}

/* rule 15: the records go to every affected registered session, the requester's too, before the reply */
Test(operation, reset_is_answered_behind_its_record)
{
    ask_stop(&w, a, "s1");
    ask_start(&w, a, 0, true);
    agent_ok(&w, w.last_operation);
    ask_start(&w, a2, 0, true);
    agent_ok(&w, w.last_operation);
    registered(&w, a, "s2");
    registered(&w, a2, "s3");
    ask_reset(&w, a, "s2", true);
    agent_ok_after(&w, w.last_operation, 1);
    story(&w, "> h reset 7 s2 lun\n");
    unit_reset(&w, 0);
    story(&w, "A event s2 LUN_RESET @1 bits 4 corr ab\nA2 event s3 LUN_RESET @1 bits 4 corr ab\nA #7 OK\n");
    ask_reset(&w, a, "s2", true);
    agent_ok_after(&w, w.last_operation, 1); /* delivered already */
    story(&w, "> h reset 8 s2 lun\nA #8 OK\n");
}

Test(operation, reset_is_answered_behind_its_record_also_when_the_stream_is_full)
{
    registered(&w, a, "s1");
    adapter_blocked(w.a, a);
    ask_reset(&w, a, "s1", true);
    agent_ok_after(&w, w.last_operation, 1);
    unit_reset(&w, 0);
    ask_tm_event(&w, a, "s1", false);
    story(&w, "> h reset 3 s1 lun\nA #4 OK pending 4\n");
    adapter_writable(w.a, a, w.now_ns);
    world_take(&w);
    story(&w, "A event s1 LUN_RESET @1 bits 4 corr ab\nA #3 OK\n");
}

Test(operation, reset_whose_record_never_comes_is_answered_in_time)
{
    ask_reset(&w, a, "s1", true);
    agent_ok_after(&w, 2, 1);
    tick_to(&w, w.now_ns + 30000 * MS);
    story(&w, "> h reset 2 s1 lun\nA #2 ETIMEDOUT\n");
    unit_reset(&w, 0);
    story(&w, "");
}

Test(operation, held_answers_end_with_agent_session_or_stream)
{
    ask_reset(&w, a, "s1", true);
    agent_ok_after(&w, 2, 1);
    ask_reset(&w, a2, "s1", true);
    agent_ok_after(&w, 3, 1);
    close_stream(&w, a2);
    adapter_agent_gone(w.a, "h", false, w.now_ns);
    world_take(&w);
    story(&w, "> h reset 2 s1 lun\n> h reset 3 s1 lun\nA #2 EIO\nsdi 3 s1\nlog SESSION_STOPPED s1\n");
}
