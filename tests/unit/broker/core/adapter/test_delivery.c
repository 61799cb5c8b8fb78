/* SPDX-License-Identifier: Apache-2.0 */
/* Records to sessions: whom they reach, pending words, full lines. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "sensebus/v1/code.pb-c.h"
#include "tests/unit/broker/core/adapter/world.h"

static struct world w;
static struct adapter_stream *a, *a2;
static struct adapter_counters counters;

static void begin(void)
{
    struct adapter_limits limits = {.max_queued_records = 3, .max_queued_bytes_principal = 100000};
    world_begin(&w, &limits);
    a = open_as(&w, "A", "alice", ACCESS_ALL);
    a2 = open_as(&w, "A2", "alice", ACCESS_ALL);
    started(&w, a, 0);
}

static void end(void)
{
    world_end(&w);
}

TestSuite(delivery, .init = begin, .fini = end);

static void bits_come(int bits)
{
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__LUN_RESET, .lun = 0, .bits = bits});
}

/* ---- whom a record reaches */

/* rule 17: one record to each registered session it is about */
Test(delivery, record_reaches_the_sessions_that_its_scope_covers)
{
    static const struct {
        const char *what;
        struct record record;
        bool reaches;
    } table[] = {
        {"the unit", {.scope = 1}, true},
        {"another unit", {.scope = 1, .lun = 1}, false},
        {"another target", {.scope = 1, .target = 2}, false},
        {"another bus", {.scope = 1, .bus = 1}, false},
        {"another adapter", {.scope = 1, .adapter = "a2"}, false},
        {"another host", {.scope = 1, .host = "h2"}, false},
        {"the unit by the target's name", {.scope = 1, .target = -1, .target_name = "iqn.t"}, true},
        {"another unit by the target's name", {.scope = 1, .lun = 2, .target = -1, .target_name = "iqn.t"}, false},
        {"the unit by another name", {.scope = 1, .target = -1, .target_name = "iqn.u"}, false},
        {"no target at all", {.scope = 1, .target = -1}, false},
        {"the target", {.scope = 2, .lun = -1}, true},
        {"another target", {.scope = 2, .target = 2, .lun = -1}, false},
        {"the session of the transport", {.scope = 3, .lun = -1}, true},
        {"a connection", {.scope = 4, .lun = -1}, true},
        {"another target's connection", {.scope = 4, .target = 9, .lun = -1}, false},
        {"the port", {.scope = 5, .target = -1, .lun = -1}, true},
        {"the bus", {.scope = 6, .target = -1, .lun = -1}, true},
        {"the adapter", {.scope = 7, .target = -1, .lun = -1}, true},
        {"another adapter", {.scope = 7, .adapter = "a2", .target = -1, .lun = -1}, false},
        {"the fabric", {.scope = 8, .target = -1, .lun = -1}, true},
        {"the enclosure", {.scope = 9, .target = -1, .lun = -1}, true},
        {"the host", {.scope = 10, .adapter = "", .target = -1, .lun = -1}, true},
        {"another host", {.scope = 10, .host = "h2", .adapter = "", .target = -1, .lun = -1}, false},
        {"the broker", {.scope = 11, .adapter = "", .target = -1, .lun = -1}, true},
    };
    registered(&w, a, "s1");
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct record record = table[i].record;
        char expected[64] = "";
        record.code = SENSEBUS__V1__CODE__LUN_RESET;
        record.bits = 4;
        cr_assert(record_comes(&w, &record));
        if (table[i].reaches)
            snprintf(expected, sizeof expected, "A event s1 LUN_RESET @%zu bits 4 corr ab\n", i + 1);
        cr_assert_str_eq(w.text, expected, "%s: %s", table[i].what, w.text);
        w.text[0] = '\0';
    }
}

Test(delivery, record_without_scope_has_that_of_its_code)
{
    registered(&w, a, "s1");
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__BUS_RESET, .target = 9, .lun = -1, .bits = -1});
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__LUN_RESET, .target = 9, .bits = -1});
    record_comes(&w, &(struct record){.code = 9999, .lun = 0, .bits = 1});
    record_comes(&w, &(struct record){.code = 9999, .target = -1, .lun = -1, .bits = 0});
    story(&w, "A event s1 BUS_RESET @1 bits 4 corr ab\nA event s1 ? @3 bits 1 corr ab\nA event s1 ? @4 corr ab\n");
}

Test(delivery, records_are_not_looked_at_while_no_session_is_open)
{
    ask_stop(&w, a, "s1");
    cr_assert_not(record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__LUN_RESET, .bits = -1}));
}

/* rule 2: what an agent tags with a session is for that one; stale ones are dropped and counted */
Test(delivery, tagged_record_is_for_its_session_only)
{
    registered(&w, a, "s1");
    ask_stop(&w, a, "s1");
    started(&w, a, 0);
    registered(&w, a, "s2");
    static const struct record table[] = {
        {.code = SENSEBUS__V1__CODE__LUN_RESET, .bits = -1, .session_id = "s1", .session_generation = 1}, /* gone */
        {.code = SENSEBUS__V1__CODE__LUN_RESET, .bits = -1, .session_id = "s2", .session_generation = 1},
        {.code = SENSEBUS__V1__CODE__LUN_RESET, .bits = -1, .session_id = "s2", .host = "h2"},
        {.code = SENSEBUS__V1__CODE__LUN_RESET, .bits = -1, .session_id = "s99"},
    };
    w.text[0] = '\0';
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        record_comes(&w, &table[i]);
    story(&w, "");
    adapter_counters(w.a, &counters);
    cr_assert_eq(counters.records_stale, 4);
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__LUN_RESET,
                                      .bits = -1,
                                      .lun = 77, /* wherever it is */
                                      .session_id = "s2",
                                      .session_generation = 2});
    story(&w, "A event s2 LUN_RESET @5 bits 4 corr ab\n");
}

Test(delivery, announcements_of_sessions_are_for_the_log_only)
{
    registered(&w, a, "s1");
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__SESSION_STARTED, .source = 9, .session_id = "s1"});
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__SESSION_STOPPED, .source = 9, .session_id = "s0"});
    story(&w, "");
    adapter_counters(w.a, &counters);
    cr_assert_eq(counters.records_stale, 0);
    /* what an agent's transport session does is news */
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__SESSION_STOPPED, .source = 1, .lun = -1});
    story(&w, "A event s1 SESSION_STOPPED @3 corr ab\n");
}

/* rule 22: never for initiator mode; rule 5.5.5 of the taxonomy: a code of the other mode is dropped and counted */
Test(delivery, codes_and_bits_of_the_other_mode_are_kept_away)
{
    registered(&w, a, "s1");
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__BUFFERS_EXHAUSTED, .lun = -1, .bits = -1});
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__TARGET_WRITE_COMPLETE, .bits = -1});
    story(&w, "");
    adapter_counters(w.a, &counters);
    cr_assert_eq(counters.records_wrong_mode, 2);
    bits_come(12);
    story(&w, "A event s1 LUN_RESET @3 bits 4 corr ab\n");
    ask_start_target(&w, a, "iqn.initiator", "c");
    agent_ok(&w, w.last_operation);
    ask_event_target(&w, a, "s2");
    agent_ok(&w, w.last_operation);
    w.text[0] = '\0';
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__POWER_ON, .bits = -1}); /* initiator's */
    story(&w, "A event s1 POWER_ON @4 bits 4 corr ab\n");
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__BUFFERS_EXHAUSTED, .lun = -1, .bits = -1});
    story(&w, "A event s2 BUFFERS_EXHAUSTED @5 bits 8\n");
    ask_tm_event(&w, a, "s1", false);
    ask_tm_event(&w, a, "s2", false);
    story(&w, "A #5 OK pending 4\nA #6 OK pending 8\n");
}

static unsigned n_echoed;
static void on_echo(struct world *world, const char *owner, const Sensebus__V1__AdapterEvent *e)
{
    (void)world;
    (void)owner;
    n_echoed++;
    cr_assert_str_eq(e->registered->host, "h");
    cr_assert_str_eq(e->registered->adapter, "a");
    cr_assert_eq(e->registered->target, 1);
    cr_assert_eq(e->registered->lun, 0);
    cr_assert_str_eq(e->registered->target_name, "iqn.t");
    cr_assert_eq(e->mode, SENSEBUS__V1__MODE__MODE_INITIATOR);
    cr_assert_eq(e->adapter_major, 7); /* adap_devno, as the agent said at START */
    cr_assert_eq(e->adapter_minor, 9);
    cr_assert_eq(e->generation, 1);
    cr_assert_eq(e->record->address->target, 4); /* where it happened is in the record */
}

/* rule 20, rule 21 */
Test(delivery, record_echoes_what_was_registered)
{
    registered(&w, a, "s1");
    w.on_event = on_echo;
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__BUS_RESET, .target = 4, .lun = -1, .bits = -1});
    cr_assert_eq(n_echoed, 1);
}

static clock_t time_of(uint32_t code, uint32_t scope)
{
    clock_t begin_clock = clock();
    for (unsigned i = 0; i < 200; i++)
        record_comes(&w, &(struct record){.code = code, .scope = scope, .lun = -1});
    return clock() - begin_clock;
}

/* A host with many sessions: a record of one target looks at those of the target, not at all of them. */
Test(delivery, wide_record_costs_by_whom_it_reaches)
{
    w.is_quiet = true;
    for (int target = 2; target < 500; target++) {
        w.full.target = target;
        started(&w, a, 0);
        started(&w, a, 1);
    }
    clock_t of_target = time_of(SENSEBUS__V1__CODE__TARGET_RESET, SENSEBUS__V1__SCOPE__SCOPE_TARGET);
    clock_t of_host = time_of(SENSEBUS__V1__CODE__ADAPTER_ADDED, SENSEBUS__V1__SCOPE__SCOPE_HOST);
    cr_assert_lt(3 * of_target, of_host, "%ld against %ld", of_target, of_host);
}

/* The agent may find the device elsewhere: from then on its records reach the session there, and by its new name. */
Test(delivery, session_that_moved_is_reached_where_it_is)
{
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;
    Sensebus__V1__OpenResult open = SENSEBUS__V1__OPEN_RESULT__INIT;
    Sensebus__V1__DeviceAddress found = w.full;
    ask_start(&w, a, 5, false);
    found.target = 7;
    found.target_name = (char *)"iqn.new";
    open.address = &found;
    open.controller = 3;
    open.adapter_major = 7;
    open.adapter_minor = 9;
    result.id = w.last_operation;
    result.value_case = SENSEBUS__V1__OPERATION_RESULT__VALUE_OPEN;
    result.open = &open;
    agent_result(&w, "h", &result, 0);
    registered(&w, a, "s2");
    w.text[0] = '\0';
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__TARGET_RESET, .scope = 2, .target = 1, .lun = -1});
    record_comes(&w, &(struct record){
                         .code = SENSEBUS__V1__CODE__TARGET_RESET, .scope = 2, .target = -1, .target_name = "iqn.t"});
    story(&w, "");
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__TARGET_RESET, .scope = 2, .target = 7, .bits = 1});
    record_comes(
        &w,
        &(struct record){
            .code = SENSEBUS__V1__CODE__TARGET_RESET, .scope = 2, .target = -1, .target_name = "iqn.new", .bits = 2});
    story(&w, "A event s2 TARGET_RESET @3 bits 1 corr ab\nA event s2 TARGET_RESET @4 bits 2 corr ab\n");
}

/* ---- pending words */

/* rule 24, A6, A7: from START on, without registration, OR-ed; query clears, peek does not */
Test(delivery, pending_word_keeps_what_came_until_it_is_asked_for)
{
    bits_come(1);
    bits_come(4);
    bits_come(0);
    ask_tm_event(&w, a, "s1", true);
    ask_tm_event(&w, a2, "s1", false);
    ask_tm_event(&w, a, "s1", false);
    story(&w, "A #2 OK pending 5\nA2 #3 OK pending 5\nA #4 OK pending 0\n");
    bits_come(0xf0 | 2);
    ask_tm_event(&w, a, "s1", false);
    story(&w, "A #5 OK pending 2\n");
}

/* A8: each session its own word */
Test(delivery, pending_words_are_per_session)
{
    ask_stop(&w, a, "s1");
    ask_start(&w, a, 0, true);
    agent_ok(&w, w.last_operation);
    ask_start(&w, a2, 0, true);
    agent_ok(&w, w.last_operation);
    w.text[0] = '\0';
    bits_come(4);
    ask_tm_event(&w, a, "s2", false);
    ask_tm_event(&w, a, "s2", false);
    ask_tm_event(&w, a2, "s3", false);
    story(&w, "A #5 OK pending 4\nA #6 OK pending 0\nA2 #7 OK pending 4\n");
}

Test(delivery, pending_word_begins_at_the_start)
{
    ask_start(&w, a, 1, false);
    w.next_sequence = 10;
    agent_ok(&w, 2);
    w.next_sequence = 8;
    w.text[0] = '\0';
    unit_reset(&w, 1); /* 9: the log had it before */
    ask_tm_event(&w, a, "s2", false);
    story(&w, "A #3 OK pending 0\n");
}

Test(delivery, bits_of_what_an_agent_lost_count)
{
    registered(&w, a, "s1");
    record_comes(&w, &(struct record){
                         .code = SENSEBUS__V1__CODE__EVENTS_LOST, .scope = 10, .lun = -1, .bits = 0, .loss_bits = 6});
    ask_tm_event(&w, a, "s1", false);
    story(&w, "A event s1 EVENTS_LOST @1 bits 6 corr ab\nA #3 OK pending 6\n");
}

/* ---- full lines */

/* rule 16: the OR of bits is never lost; rule 17: in order */
Test(delivery, full_line_coalesces_with_count_and_bits)
{
    registered(&w, a, "s1");
    adapter_blocked(w.a, a);
    for (int i = 0; i < 3; i++)
        bits_come(4);
    bits_come(1);
    bits_come(0);
    bits_come(2);
    story(&w, "");
    adapter_writable(w.a, a, w.now_ns);
    world_take(&w);
    story(&w, "A event s1 LUN_RESET @1 bits 4 corr ab\nA event s1 LUN_RESET @2 bits 4 corr ab\n"
              "A event s1 LUN_RESET @3 bits 4 corr ab\nA event s1 EVENTS_LOST 3 bits 3 corr ab\n");
    bits_come(4);
    story(&w, "A event s1 LUN_RESET @7 bits 4 corr ab\n");
    adapter_counters(w.a, &counters);
    cr_assert_eq(counters.records_lost, 3);
    cr_assert_eq(counters.records_delivered, 4);
}

/* behind an EVENTS_LOST that waits nothing may stand that it does not speak of */
Test(delivery, line_that_moves_a_little_keeps_its_order)
{
    registered(&w, a, "s1");
    adapter_blocked(w.a, a);
    for (int i = 0; i < 4; i++)
        bits_come(4);
    adapter_writable(w.a, a, w.now_ns);
    struct adapter_action action;
    cr_assert(adapter_take(w.a, &action)); /* one goes out, then it is full again */
    chunk_unref(action.message);
    chunk_unref(action.tail);
    adapter_blocked(w.a, a);
    bits_come(1);
    adapter_writable(w.a, a, w.now_ns);
    world_take(&w);
    story(&w, "A event s1 LUN_RESET @2 bits 4 corr ab\nA event s1 LUN_RESET @3 bits 4 corr ab\n"
              "A event s1 EVENTS_LOST 2 bits 5 corr ab\n");
}

/* rule 19: nobody else waits */
Test(delivery, blocked_stream_holds_up_nobody_else)
{
    registered(&w, a, "s1");
    started(&w, a2, 1);
    registered(&w, a2, "s2");
    adapter_blocked(w.a, a);
    unit_reset(&w, 0);
    unit_reset(&w, 1);
    ask_tm_event(&w, a, "s1", false); /* replies go past */
    story(&w, "A2 event s2 LUN_RESET @2 bits 4 corr ab\nA #5 OK pending 4\n");
}

Test(delivery, bytes_of_a_principal_are_bounded)
{
    struct adapter_limits limits = {.max_queued_bytes_principal = 1};
    world_end(&w);
    world_begin(&w, &limits);
    a = open_as(&w, "A", "alice", ACCESS_ALL);
    started(&w, a, 0);
    registered(&w, a, "s1");
    bits_come(4); /* a line that moves needs no room */
    adapter_blocked(w.a, a);
    bits_come(2);
    bits_come(1);
    adapter_writable(w.a, a, w.now_ns);
    world_take(&w);
    story(&w, "A event s1 LUN_RESET @1 bits 4 corr ab\nA event s1 EVENTS_LOST 2 bits 3 corr ab\n");
}

/* rule 5: the subscriber's own STOP drops what waits, but not its bits, and passes a full line */
Test(delivery, own_stop_ends_a_full_line_at_once)
{
    registered(&w, a, "s1");
    adapter_blocked(w.a, a);
    for (int i = 0; i < 5; i++)
        bits_come(i == 4 ? 2 : 4);
    ask_stop(&w, a, "s1");
    story(&w, "sdi 3 s1\nA event s1 EVENTS_LOST 5 bits 6 corr ab\nA event s1 REGISTRATION_CANCELLED STOP corr ab\n"
              "log REGISTRATION_CANCELLED s1\n> h close s1\nlog SESSION_STOPPED s1\nA #3 OK\n");
    adapter_writable(w.a, a, w.now_ns);
    world_take(&w);
    story(&w, "");
}

/* rule 5: any other end delivers what is queued, then the last record */
Test(delivery, other_ends_deliver_what_waits)
{
    registered(&w, a, "s1");
    adapter_blocked(w.a, a);
    for (int i = 0; i < 4; i++)
        bits_come(4);
    adapter_agent_gone(w.a, "h", false, w.now_ns);
    world_take(&w);
    story(&w, "sdi 3 s1\nlog REGISTRATION_CANCELLED s1\nlog SESSION_STOPPED s1\n");
    adapter_writable(w.a, a, w.now_ns);
    world_take(&w);
    story(&w, "A event s1 LUN_RESET @1 bits 4 corr ab\nA event s1 LUN_RESET @2 bits 4 corr ab\n"
              "A event s1 LUN_RESET @3 bits 4 corr ab\nA event s1 EVENTS_LOST 1 bits 4 corr ab\n"
              "A event s1 REGISTRATION_CANCELLED AGENT_LOST corr ab\n");
}

/* a STOP that comes over another stream of the principal */
Test(delivery, stop_over_another_stream_lets_the_line_go_first)
{
    registered(&w, a, "s1");
    adapter_blocked(w.a, a);
    bits_come(4);
    ask_stop(&w, a2, "s1");
    story(&w, "sdi 2 s1\nlog REGISTRATION_CANCELLED s1\n> h close s1\nlog SESSION_STOPPED s1\nA2 #3 OK\n");
    adapter_writable(w.a, a, w.now_ns);
    world_take(&w);
    story(&w, "A event s1 LUN_RESET @1 bits 4 corr ab\nA event s1 REGISTRATION_CANCELLED STOP corr ab\n");
}

/* streams take turns */
Test(delivery, lines_move_in_turn)
{
    started(&w, a2, 1);
    registered(&w, a, "s1");
    registered(&w, a2, "s2");
    adapter_blocked(w.a, a);
    adapter_blocked(w.a, a2);
    unit_reset(&w, 0);
    unit_reset(&w, 0);
    unit_reset(&w, 1);
    unit_reset(&w, 1);
    adapter_writable(w.a, a, w.now_ns);
    adapter_writable(w.a, a2, w.now_ns);
    world_take(&w);
    story(&w, "A event s1 LUN_RESET @1 bits 4 corr ab\nA2 event s2 LUN_RESET @3 bits 4 corr ab\n"
              "A event s1 LUN_RESET @2 bits 4 corr ab\nA2 event s2 LUN_RESET @4 bits 4 corr ab\n");
}
