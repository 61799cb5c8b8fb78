/* SPDX-License-Identifier: Apache-2.0 */
/* START, START_TARGET, STOP and all other ends. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "sensebus/v1/code.pb-c.h"
#include "tests/unit/broker/core/adapter/world.h"

static struct world w;
static struct adapter_stream *a, *b;

static void begin(void)
{
    world_begin(&w, NULL);
    a = open_as(&w, "A", "alice", ACCESS_ALL);
    b = open_as(&w, "B", "bob", ACCESS_ALL);
}

static void end(void)
{
    world_end(&w);
}

TestSuite(session, .init = begin, .fini = end);

/* rule 2: START opens a session of its own generation */
Test(session, start_asks_the_agent_and_then_opens)
{
    ask_start(&w, a, 0, false);
    story(&w, "> h open 1 s1 a:0:1:0\n");
    agent_ok(&w, 1);
    story(&w, "A #1 OK session s1\nlog SESSION_STARTED s1\nsdi 1 s1\n");
    cr_assert_eq(adapter_generation(w.a, "s1", 2), 1);
    cr_assert_eq(adapter_generation_at(w.a, (struct text){"h", 1}, (struct text){"s1", 2}), 1);
    cr_assert_eq(adapter_generation_at(w.a, (struct text){"i", 1}, (struct text){"s1", 2}), 0, "another agent's");
    cr_assert_eq(adapter_generation_at(w.a, (struct text){"", 0}, (struct text){"s1", 2}), 0);
    ask_stop(&w, a, "s1");
    story(&w, "sdi 2 s1\n> h close s1\nlog SESSION_STOPPED s1\nA #2 OK\n");
    cr_assert_eq(adapter_generation(w.a, "s1", 2), 0);
    ask_start(&w, a, 0, false);
    story(&w, "> h open 3 s2 a:0:1:0\n");
}

/* rule 3: exclusive by default; decided before the agent is asked */
Test(session, second_start_of_a_place_is_refused_also_while_the_first_is_in_flight)
{
    ask_start(&w, a, 0, false);
    ask_start(&w, b, 0, false);
    ask_start(&w, b, 0, true);
    story(&w, "> h open 1 s1 a:0:1:0\nB #2 EINVAL/ALREADY_STARTED\nB #3 EINVAL/ALREADY_STARTED\n");
    agent_ok(&w, 1);
    ask_start(&w, a, 0, false);
    ask_start(&w, a, 1, false);
    story(&w, "A #1 OK session s1\nlog SESSION_STARTED s1\nsdi 1 s1\n"
              "A #4 EINVAL/ALREADY_STARTED\n> h open 2 s2 a:0:1:1\n");
}

/* rule 3: the extension */
Test(session, shared_sessions_stand_beside_each_other_but_not_beside_an_exclusive_one)
{
    ask_start(&w, a, 0, true);
    ask_start(&w, b, 0, true);
    agent_ok(&w, 1);
    agent_ok(&w, 2);
    ask_start(&w, a, 0, false);
    story(&w, "> h open 1 s1 a:0:1:0\n> h open 2 s2 a:0:1:0\nA #1 OK session s1\nlog SESSION_STARTED s1\nsdi 1 s1\n"
              "B #2 OK session s2 already started\nlog SESSION_STARTED s2\nA #3 EINVAL/ALREADY_STARTED\n");
    ask_stop(&w, a, "s1");
    ask_stop(&w, b, "s2");
    story(&w, "> h close s1\nlog SESSION_STOPPED s1\nA #4 OK\n"
              "sdi 2 s2\n> h close s2\nlog SESSION_STOPPED s2\nB #5 OK\n");
}

Test(session, place_is_free_again_when_the_agent_refuses)
{
    ask_start(&w, a, 0, false);
    agent_fails(&w, 1, ERRNO(ENOCONNECT));
    ask_start(&w, b, 0, false);
    agent_fails(&w, 2, ERRNO(ENODEV));
    ask_start(&w, b, 0, false);
    story(&w, "> h open 1 s1 a:0:1:0\nA #1 ENOCONNECT\n> h open 2 s2 a:0:1:0\nB #2 ENODEV\n> h open 3 s3 a:0:1:0\n");
    cr_assert_eq(w.error, ERRNO(ENODEV));
}

Test(session, start_that_times_out_is_closed_at_the_agent)
{
    ask_start(&w, a, 0, false);
    tick_to(&w, w.now_ns + 29999 * MS);
    story(&w, "> h open 1 s1 a:0:1:0\n");
    cr_assert_eq(adapter_next_ns(w.a), 31000 * MS);
    tick_to(&w, 31000 * MS);
    story(&w, "> h close s1\nA #1 ETIMEDOUT\n");
    agent_ok(&w, 1); /* too late */
    story(&w, "");
    struct adapter_counters counters;
    adapter_counters(w.a, &counters);
    cr_assert_eq(counters.results_late, 1);
    cr_assert_eq(counters.sessions_open, 0);
    ask_start(&w, b, 0, false);
    story(&w, "> h open 3 s2 a:0:1:0\n");
}

Test(session, start_answered_without_its_value_is_an_error_of_the_agent)
{
    ask_start(&w, a, 0, false);
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;
    result.id = 1;
    agent_result(&w, "h", &result, 0);
    story(&w, "> h open 1 s1 a:0:1:0\n> h close s1\nA #1 EIO\n");
}

Test(session, address_of_the_agent_counts)
{
    ask_start(&w, a, 0, false);
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;
    Sensebus__V1__OpenResult open = SENSEBUS__V1__OPEN_RESULT__INIT;
    Sensebus__V1__DeviceAddress address = w.full;
    address.host = (char *)"somebody else"; /* the agent cannot speak for others */
    address.lun = 5;
    result.id = 1;
    result.value_case = SENSEBUS__V1__OPERATION_RESULT__VALUE_OPEN;
    result.open = &open;
    open.address = &address;
    open.controller = 3;
    open.adapter_major = 7;
    open.adapter_minor = 9;
    agent_result(&w, "h", &result, 0);
    w.text[0] = '\0';
    unit_reset(&w, 0);
    ask_tm_event(&w, a, "s1", false);
    unit_reset(&w, 5);
    ask_tm_event(&w, a, "s1", false);
    story(&w, "A #2 OK pending 0\nA #3 OK pending 4\n");
    ask_start(&w, b, 0, false); /* its first place is free */
    story(&w, "> h open 2 s2 a:0:1:0\n");
    result.id = 2;
    agent_result(&w, "h", &result, 0); /* and the agent finds it at the same place again */
    story(&w, "> h close s2\nB #4 EINVAL/ALREADY_STARTED\n");
}

Test(session, address_of_the_agent_may_leave_names_out_but_not_be_too_long)
{
    char long_name[100];
    memset(long_name, 'x', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    ask_start(&w, a, 0, false);
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;
    Sensebus__V1__OpenResult open = SENSEBUS__V1__OPEN_RESULT__INIT;
    Sensebus__V1__DeviceAddress address = w.full;
    result.value_case = SENSEBUS__V1__OPERATION_RESULT__VALUE_OPEN;
    result.id = 1;
    result.open = &open;
    open.address = &address;
    open.controller = 3;
    address.adapter = long_name;
    agent_result(&w, "h", &result, 0);
    ask_start(&w, a, 0, false);
    address.adapter = (char *)"a";
    address.target_name = (char *)"";
    result.id = 3;
    agent_result(&w, "h", &result, 0);
    story(&w, "> h open 1 s1 a:0:1:0\n> h close s1\nA #1 EIO\n> h open 3 s2 a:0:1:0\nA #2 OK session s2\n"
              "log SESSION_STARTED s2\nsdi 1 s2\n");
}

/* rule 5: everything of a stream ends with it */
Test(session, sessions_end_with_their_stream)
{
    started(&w, a, 0);
    registered(&w, a, "s1");
    ask_start(&w, a, 1, false);
    story(&w, "> h open 3 s2 a:0:1:1\n");
    close_stream(&w, a);
    story(&w, "> h close s2\nsdi 2 s1\nlog REGISTRATION_CANCELLED s1\n> h close s1\nlog SESSION_STOPPED s1\n");
    ask_start(&w, b, 0, false);
    story(&w, "> h open 6 s3 a:0:1:0\n");
}

/* rule 6, A19: a new agent revives nothing */
Test(session, sessions_end_with_their_agent)
{
    started(&w, a, 0);
    registered(&w, a, "s1");
    ask_tur(&w, a, "s1", false);
    ask_start(&w, b, 1, false);
    w.text[0] = '\0';
    cr_assert_eq(adapter_agent_gone(w.a, "other", false, w.now_ns), 0);
    world_take(&w);
    story(&w, "");
    cr_assert_eq(adapter_agent_gone(w.a, "h", false, w.now_ns), 1, "the other one was not open yet");
    world_take(&w);
    story(&w, "A #3 EIO\nB #4 EIO\nsdi 3 s1\nlog REGISTRATION_CANCELLED s1\nlog SESSION_STOPPED s1\n"
              "A event s1 REGISTRATION_CANCELLED AGENT_LOST corr ab\n");
    agent_ok(&w, w.last_operation);
    unit_reset(&w, 0);
    ask_tm_event(&w, a, "s1", false);
    story(&w, "A #5 EINVAL/NOT_STARTED\n");
    started(&w, a, 0);
    registered(&w, a, "s3");
    cr_assert_eq(adapter_agent_gone(w.a, "h", true, w.now_ns), 1);
    world_take(&w);
    story(&w, "sdi 2 s3\nlog REGISTRATION_CANCELLED s3\nlog SESSION_STOPPED s3\n"
              "A event s3 REGISTRATION_CANCELLED AGENT_DETACHED corr ab\n");
}

/* rule 5: what is queued is delivered, the record of the removal too, then the end */
Test(session, removal_of_the_device_ends_its_sessions)
{
    started(&w, a, 0);
    started(&w, a, 1);
    registered(&w, a, "s1");
    registered(&w, a, "s2");
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__DEVICE_REMOVED, .lun = 0, .bits = -1});
    story(&w, "sdi 3 s1\nlog REGISTRATION_CANCELLED s1\n> h close s1\nlog SESSION_STOPPED s1\n"
              "A event s1 DEVICE_REMOVED @1 corr ab\nA event s1 REGISTRATION_CANCELLED DEVICE_REMOVED corr ab\n");
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__TARGET_REMOVED, .lun = -1, .bits = -1});
    story(&w, "sdi 3 s2\nlog REGISTRATION_CANCELLED s2\n> h close s2\nlog SESSION_STOPPED s2\n"
              "A event s2 TARGET_REMOVED @2 corr ab\nA event s2 REGISTRATION_CANCELLED TARGET_REMOVED corr ab\n");
    unit_reset(&w, 0);
    story(&w, "");
}

/* rule 5: the record of a removed adapter reaches all of the host, and ends the sessions of that adapter alone */
Test(session, removal_of_the_adapter_ends_its_sessions_and_no_others)
{
    started(&w, a, 0);
    registered(&w, a, "s1");
    record_comes(
        &w, &(struct record){.code = SENSEBUS__V1__CODE__ADAPTER_REMOVED, .adapter = "other", .lun = -1, .bits = -1});
    story(&w, "A event s1 ADAPTER_REMOVED @1 bits 1 corr ab\n");
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__ADAPTER_REMOVED, .lun = -1, .bits = -1});
    story(&w,
          "sdi 3 s1\nlog REGISTRATION_CANCELLED s1\n> h close s1\nlog SESSION_STOPPED s1\n"
          "A event s1 ADAPTER_REMOVED @2 bits 1 corr ab\nA event s1 REGISTRATION_CANCELLED ADAPTER_REMOVED corr ab\n");
}

Test(session, removal_from_before_the_start_ends_nothing)
{
    ask_start(&w, a, 0, false);
    w.next_sequence = 10; /* the log was so far when the agent answered */
    agent_ok(&w, 1);
    w.next_sequence = 8;
    w.text[0] = '\0';
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__DEVICE_REMOVED, .lun = 0, .bits = -1});
    story(&w, "");
    cr_assert_neq(adapter_generation(w.a, "s1", 2), 0);
}

Test(session, operator_ends_a_session)
{
    struct adapter_ended ended;
    started(&w, a, 0);
    registered(&w, a, "s1");
    cr_assert_eq(adapter_end_session(w.a, "s9", "why", w.now_ns, &ended), UV_ENOENT);
    cr_assert_eq(adapter_end_session(w.a, "s1", "maintenance tonight", w.now_ns, &ended), 0);
    cr_assert_eq(ended.generation, 1);
    cr_assert_str_eq(ended.principal, "alice");
    cr_assert(ended.was_registered);
    world_take(&w);
    story(&w, "sdi 2 s1\nlog REGISTRATION_CANCELLED s1\n> h close s1\nlog SESSION_STOPPED s1\n"
              "A event s1 REGISTRATION_CANCELLED maintenance tonight corr ab\n");
}

/* rule 5, A21 */
Test(session, broker_that_stops_answers_everybody)
{
    started(&w, a, 0);
    registered(&w, a, "s1");
    ask_start(&w, b, 1, false);
    ask_tur(&w, a, "s1", false);
    ask_wait(&w, a, -1, "s1", NULL);
    w.text[0] = '\0';
    adapter_stop(w.a, "BROKER_STOPPING", w.now_ns);
    world_take(&w);
    story(&w, "A #4 EIO\n> h close s2\nB #3 EIO\nsdi 2 s1\nA #5 OK closed s1\nlog REGISTRATION_CANCELLED s1\n"
              "> h close s1\nlog SESSION_STOPPED s1\nA event s1 REGISTRATION_CANCELLED BROKER_STOPPING corr ab\n");
    ask_start(&w, a, 0, false);
    story(&w, "A #6 EIO\n");
}

/* SDI_LASTCLOSE_ERR: the device or its adapter failed between first open and last close */
Test(session, last_close_tells_of_errors)
{
    started(&w, a, 0);
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__ADAPTER_COMMAND_FAILED, .lun = -1, .bits = -1});
    ask_stop(&w, a, "s1");
    story(&w, "sdi 3 s1\n> h close s1\nlog SESSION_STOPPED s1\nA #2 OK\n");
    started(&w, a, 0);
    unit_reset(&w, 0);
    ask_stop(&w, a, "s2");
    story(&w, "sdi 2 s2\n> h close s2\nlog SESSION_STOPPED s2\nA #4 OK\n");
}

/* rule 2, A21: another life of the broker begins elsewhere */
Test(session, generations_count_up_from_the_first)
{
    struct adapter *other = adapter_new(NULL, 1, 0x65000000000000);
    world_end(&w);
    w.a = other;
    a = open_as(&w, "A", "alice", ACCESS_ALL);
    started(&w, a, 0);
    cr_assert_eq(adapter_generation(w.a, "s65000000000000", 15), 0x65000000000000);
}

/* rule 2, A21: nor does it where the clock was set back between the two */
Test(session, generations_do_not_go_back_with_the_clock)
{
    uint64_t hour_ns = 3600000000000, before = 1000 * hour_ns, started_one = adapter_first_generation(before, 0) + 1;
    cr_assert_gt(adapter_first_generation(before + 1000000, before), started_one);
    cr_assert_gt(adapter_first_generation(before - hour_ns, before + 1000000), started_one);
    cr_assert_gt(adapter_first_generation(before + 1000000, before + 1000000), started_one);
    cr_assert_gt(adapter_first_generation(0, before + 1000000), started_one);
}

/* How many sessions of which place an SDI address touches. */
static unsigned touched_sessions;
static void on_touched(void *data, const char *host, const char *adapter, int32_t bus)
{
    (void)data;
    cr_assert_str_eq(host, "h");
    cr_assert_str_eq(adapter, "a");
    cr_assert_eq(bus, 0);
    touched_sessions++;
}

Test(session, addresses_of_sdi_touch_open_sessions)
{
    static const struct {
        const char *host;
        int32_t controller, bus, target;
        int64_t lun;
        unsigned n;
    } table[] = {
        {NULL, 3, -1, -1, -1, 2}, {"", 3, 0, 1, -1, 2},   {"h", 3, -1, -1, 1, 1},  {"x", 3, -1, -1, -1, 0},
        {NULL, 4, -1, -1, -1, 0}, {NULL, 3, 0, 2, -1, 0}, {NULL, 3, -1, -1, 2, 0}, {NULL, 3, 1, -1, -1, 0},
    };
    started(&w, a, 0);
    started(&w, a, 1);
    ask_start(&w, a, 2, false); /* not open yet */
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        touched_sessions = 0;
        adapter_touched(w.a, table[i].host, table[i].controller, table[i].bus, table[i].target, table[i].lun,
                        on_touched, NULL);
        cr_assert_eq(touched_sessions, table[i].n, "%zu", i);
    }
}
