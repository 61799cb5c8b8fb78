/* SPDX-License-Identifier: Apache-2.0 */
/* Target mode: data and buffers, rule 23. */
#include <criterion/criterion.h>
#include <string.h>

#include "sensebus/v1/code.pb-c.h"
#include "tests/unit/broker/core/adapter/world.h"

static struct world w;
static struct adapter_stream *a, *a2, *b;
static struct adapter_counters counters;

static void begin(void)
{
    world_begin(&w, NULL);
    a = open_as(&w, "A", "alice", ACCESS_ALL);
    a2 = open_as(&w, "A2", "alice", ACCESS_ALL);
    b = open_as(&w, "B", "bob", ACCESS_ALL);
    ask_start_target(&w, a, "iqn.initiator", "tm");
    agent_ok(&w, 1);
}

static void end(void)
{
    world_end(&w);
}

TestSuite(target, .init = begin, .fini = end);

Test(target, session_is_no_open_of_a_device)
{
    story(&w, "> h open_target 1 s1\nA #1 OK session s1\nlog SESSION_STARTED s1\n");
    ask_stop(&w, a, "s1");
    story(&w, "> h close s1\nlog SESSION_STOPPED s1\nA #2 OK\n");
}

Test(target, another_initiator_is_another_session)
{
    w.text[0] = '\0';
    ask_start_target(&w, b, "iqn.initiator", "");
    ask_start_target(&w, b, "iqn.other", "");
    story(&w, "B #2 EINVAL/ALREADY_STARTED\n> h open_target 2 s2\n");
}

Test(target, data_comes_with_the_correlator)
{
    w.text[0] = '\0';
    agent_data(&w, "s1", 1, 512);
    agent_data(&w, "s1", 1, 1);
    story(&w, "A data s1 512 corr tm\nA data s1 1 corr tm\n");
    agent_data(&w, "s1", 2, 1); /* rule 2: stale */
    agent_data(&w, "s7", 7, 1);
    story(&w, "");
    adapter_counters(w.a, &counters);
    cr_assert_eq(counters.records_stale, 2);
}

/* rule 23 */
Test(target, buffers_are_counted)
{
    for (int i = 0; i < 16; i++)
        agent_data(&w, "s1", 1, 10);
    w.text[0] = '\0';
    ask_release(&w, a, "s1", 17);
    cr_assert_str_eq(w.message, "n_buffers: 17, but 16 are held");
    ask_release(&w, a, "s1", 0);
    ask_release(&w, a, "s1", 6);
    ask_release(&w, a2, "s1", 11);
    ask_release(&w, b, "s1", 1);
    ask_release(&w, a2, "s1", 10);
    story(&w, "A #2 EINVAL/BUFFERS\nA #3 OK\n> h release_buffers s1\nA #4 OK\nA2 #5 EINVAL/BUFFERS\n"
              "B #6 EINVAL/NOT_OWNER\n> h release_buffers s1\nA2 #7 OK\n");
}

Test(target, agent_that_sends_more_than_the_buffers_hold_ends_the_session)
{
    for (int i = 0; i < 16; i++)
        agent_data(&w, "s1", 1, 10);
    w.text[0] = '\0';
    agent_data(&w, "s1", 1, 10);
    story(&w, "> h close s1\nlog SESSION_STOPPED s1\n");
    ask_start_target(&w, a, "iqn.initiator", "");
    agent_ok(&w, w.last_operation);
    w.text[0] = '\0';
    agent_data(&w, "s2", 2, 513);
    story(&w, "> h close s2\nlog SESSION_STOPPED s2\n");
}

Test(target, data_waits_while_the_stream_is_full_and_stop_frees_it)
{
    w.text[0] = '\0';
    adapter_blocked(w.a, a);
    agent_data(&w, "s1", 1, 5);
    story(&w, "");
    adapter_writable(w.a, a, w.now_ns);
    world_take(&w);
    story(&w, "A data s1 5 corr tm\n");
    adapter_blocked(w.a, a);
    agent_data(&w, "s1", 1, 6);
    ask_stop(&w, a, "s1"); /* SCIOSTOPTGT frees all buffers */
    adapter_writable(w.a, a, w.now_ns);
    world_take(&w);
    story(&w, "> h close s1\nlog SESSION_STOPPED s1\nA #2 OK\n");
}

/* rules 22, 23: BUFFERS_EXHAUSTED and BUFFERS_RESUMED are records of the session */
Test(target, exhaustion_is_pending_for_this_session_only)
{
    ask_start_target(&w, a, "iqn.other", "");
    agent_ok(&w, w.last_operation);
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__BUFFERS_EXHAUSTED,
                                      .lun = -1,
                                      .bits = -1,
                                      .session_id = "s1",
                                      .session_generation = 1});
    w.text[0] = '\0';
    ask_tm_event(&w, a, "s1", false);
    ask_tm_event(&w, a, "s2", false);
    story(&w, "A #3 OK pending 8\nA #4 OK pending 0\n");
}
