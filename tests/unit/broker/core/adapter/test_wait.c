/* SPDX-License-Identifier: Apache-2.0 */
/* WAIT_PRI, rule 25. */
#include <criterion/criterion.h>
#include <string.h>

#include "sensebus/v1/code.pb-c.h"
#include "tests/unit/broker/core/adapter/world.h"

static struct world w;
static struct adapter_stream *a, *a2, *b;

static void begin(void)
{
    world_begin(&w, NULL);
    a = open_as(&w, "A", "alice", ACCESS_READER);
    a2 = open_as(&w, "A2", "alice", ACCESS_READER);
    b = open_as(&w, "B", "bob", ACCESS_READER);
    started(&w, a, 0);
    started(&w, a, 1);
    started(&w, b, 2);
}

static void end(void)
{
    world_end(&w);
}

TestSuite(wait, .init = begin, .fini = end);

/* rule 25: level-triggered, does not clear; one wait over many sessions */
Test(wait, returns_who_has_something)
{
    ask_wait(&w, a, -1, "s1", "s2", NULL);
    story(&w, "");
    unit_reset(&w, 2); /* not of these */
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__MEDIUM_CHANGED, .lun = 0, .bits = 0});
    story(&w, "");
    unit_reset(&w, 1);
    story(&w, "A #4 OK ready s2\n");
    ask_wait(&w, a, -1, "s1", "s2", NULL);
    story(&w, "A #5 OK ready s2\n");
    ask_tm_event(&w, a, "s2", false);
    ask_wait(&w, a, 0, "s1", "s2", NULL); /* POLLSYNC */
    story(&w, "A #6 OK pending 4\nA #7 OK\n");
}

Test(wait, ends_with_its_time)
{
    ask_wait(&w, a, 50, "s1", NULL);
    ask_wait(&w, a, 20, "s1", NULL);
    ask_wait(&w, a, INT64_MAX, "s1", NULL);
    cr_assert_eq(adapter_next_ns(w.a), 1020 * MS);
    tick_to(&w, 1030 * MS);
    story(&w, "A #5 OK\n");
    tick_to(&w, 1050 * MS);
    story(&w, "A #4 OK\n");
    cr_assert_eq(adapter_next_ns(w.a), UINT64_MAX);
    unit_reset(&w, 0);
    story(&w, "A #6 OK ready s1\n");
}

/* rule 25: no wait hangs */
Test(wait, wakes_when_a_session_closes)
{
    ask_wait(&w, a2, -1, "s1", "s2", NULL);
    ask_wait(&w, a, -1, "s1", "s1", NULL);
    ask_stop(&w, a, "s1");
    cr_assert_not_null(strstr(w.text, "A2 #4 OK closed s1\n"), "%s", w.text);
    cr_assert_not_null(strstr(w.text, "A #5 OK closed s1 closed s1\n"), "%s", w.text);
    w.text[0] = '\0';
    ask_wait(&w, a, -1, "s2", "s1", "never", NULL);
    story(&w, "A #7 OK closed never closed s1\n");
}

Test(wait, of_anothers_session_is_refused)
{
    ask_wait(&w, a, -1, "s1", "s3", NULL);
    ask_tm_event(&w, a, "s3", false);
    story(&w, "A #4 EINVAL/NOT_OWNER\nA #5 EINVAL/NOT_OWNER\n");
}

Test(wait, over_another_stream_of_the_principal_ends_with_that)
{
    ask_wait(&w, a2, 10, "s1", NULL);
    close_stream(&w, a2);
    unit_reset(&w, 0);
    tick_to(&w, 2000 * MS);
    story(&w, "");
    struct adapter_counters counters;
    adapter_counters(w.a, &counters);
    cr_assert_eq(counters.waits_open, 0);
}
