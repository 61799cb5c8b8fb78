/* SPDX-License-Identifier: Apache-2.0 */
/* Memory runs out at every allocation in turn: each request is answered all the same, a registration hears of every bit
 * and of its end, and nothing leaks. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "sensebus/v1/code.pb-c.h"
#include "tests/lib/failing_alloc.h"
#include "tests/unit/broker/core/adapter/world.h"

static struct world w;
static unsigned n_answers[1000];
static unsigned n_ends;
static uint32_t bits_told;
static char session[32]; /* of the last START that was answered OK */

static void on_result(struct world *world, const char *owner, const Sensebus__V1__Result *result)
{
    (void)world;
    (void)owner;
    cr_assert_lt(result->id, sizeof n_answers / sizeof *n_answers);
    n_answers[result->id]++;
    if (result->value_case == SENSEBUS__V1__RESULT__VALUE_START)
        snprintf(session, sizeof session, "%s", result->start->session_id);
}

static void on_event(struct world *world, const char *owner, const Sensebus__V1__AdapterEvent *event)
{
    (void)world;
    (void)owner;
    bits_told |= event->events;
    cr_assert_eq(event->_correlator_case, SENSEBUS__V1__ADAPTER_EVENT___CORRELATOR_CORRELATOR);
    cr_assert_eq(event->correlator.len, 2);
    n_ends += event->record->code == SENSEBUS__V1__CODE__REGISTRATION_CANCELLED;
}

/* START until it is answered OK: only memory can be the reason when it is not. */
static void start(struct adapter_stream *stream, int64_t lun, bool shared)
{
    for (int i = 0; i < 3; i++) {
        ask_start(&w, stream, lun, shared);
        if (w.error != ERRNO(ENOMEM) || !n_answers[w.next_id])
            agent_ok(&w, w.last_operation);
        if (n_answers[w.next_id] && w.error == 0)
            return;
        cr_assert_eq(w.error, ERRNO(ENOMEM), "%s", w.message);
    }
    cr_assert_fail("never started");
}

static void register_it(struct adapter_stream *stream)
{
    for (int i = 0; i < 3; i++) {
        ask_event(&w, stream, session, "\0a", 2);
        if (!n_answers[w.next_id])
            agent_ok(&w, w.last_operation);
        if (w.error == 0)
            return;
        cr_assert_eq(w.error, ERRNO(ENOMEM), "%s", w.message);
    }
    cr_assert_fail("never registered");
}

#define UNTIL_MEMORY(call)                                                                                             \
    do {                                                                                                               \
        call;                                                                                                          \
    } while (n_answers[w.next_id] && w.error == ERRNO(ENOMEM))

static void whole_story(void)
{
    memset(n_answers, 0, sizeof n_answers);
    n_ends = 0;
    bits_told = 0;
    w.fails_sometimes = true;
    w.is_quiet = true;
    w.on_result = on_result;
    w.on_event = on_event;
    struct adapter_stream *a = open_as(&w, "A", "alice", ACCESS_ALL), *a2 = open_as(&w, "A2", "alice", ACCESS_ALL);
    UNTIL_MEMORY(ask_iocinfo(&w, a));
    agent_ok(&w, w.last_operation);
    start(a, 0, true);
    register_it(a2);
    char first[32];
    strcpy(first, session);
    UNTIL_MEMORY(ask_wait(&w, a, 1000, first, NULL));
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__LUN_RESET, .bits = 4});
    UNTIL_MEMORY(ask_wait(&w, a, 0, first, NULL));
    UNTIL_MEMORY(ask_tm_event(&w, a, first, false));
    adapter_blocked(w.a, a2);
    for (int i = 0; i < 4; i++)
        record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__LUN_RESET, .bits = i == 3 ? 2 : 0});
    adapter_writable(w.a, a2, w.now_ns);
    world_take(&w);
    UNTIL_MEMORY(ask_halt(&w, a, first));
    agent_ok(&w, w.last_operation);
    UNTIL_MEMORY(ask_tur(&w, a, first, true));
    agent_ok(&w, w.last_operation);
    UNTIL_MEMORY(ask_reset(&w, a, first, true));
    agent_ok_after(&w, w.last_operation, w.next_sequence + 1);
    record_comes(&w, &(struct record){.code = SENSEBUS__V1__CODE__LUN_RESET, .bits = 1});
    UNTIL_MEMORY(ask_stop(&w, a, first));
    cr_assert_eq(n_ends, 1);
    cr_assert_eq(bits_told, 7, "%u", bits_told);
    for (int i = 0; i < 3; i++) { /* data that cannot be kept ends the session */
        do
            ask_start_target(&w, a, "iqn.initiator", "tm");
        while (n_answers[w.next_id] && w.error == ERRNO(ENOMEM));
        agent_ok(&w, w.last_operation);
        uint64_t generation = adapter_generation(w.a, session, strlen(session));
        if (!generation)
            continue;
        agent_data(&w, session, generation, 100);
        UNTIL_MEMORY(ask_release(&w, a, session, 1));
        if (w.error == 0)
            break;
        cr_assert_eq(w.detail, DETAIL(NOT_STARTED));
    }
    cr_assert_eq(w.error, 0, "%s", w.message);
    start(a2, 5, false);
    register_it(a2);
    ask_inquiry(&w, a2, session, false);
    adapter_fault(w.a, a2, 999, "not a request");
    adapter_agent_gone(w.a, "h", false, w.now_ns);
    world_take(&w);
    cr_assert_eq(n_ends, 2);
    for (uint64_t id = 1; id <= w.next_id; id++)
        cr_assert_eq(n_answers[id], 1, "request %lu was answered %u times", (unsigned long)id, n_answers[id]);
    cr_assert_eq(n_answers[999], 1);
}

Test(out_of_memory, every_request_is_answered_and_every_registration_told)
{
    unsigned n = 0;
    for (bool failed = true; failed; n++) {
        world_begin(&w, NULL);
        failing_alloc_after(n);
        whole_story();
        failed = failing_alloc_stop();
        world_end(&w);
    }
    cr_assert_gt(n, 60); /* the allocator was really in our hands */
}

Test(out_of_memory, machine_and_lists_say_so)
{
    unsigned n = 0;
    for (bool failed = true; failed; n++) {
        failing_alloc_after(n);
        struct adapter *a = adapter_new(NULL, 1, 1);
        failed = failing_alloc_stop();
        cr_assert_eq(a == NULL, failed);
        adapter_free(a);
    }
    world_begin(&w, NULL);
    struct adapter_stream *stream = open_as(&w, "A", "alice", ACCESS_ALL);
    started(&w, stream, 0);
    started(&w, stream, 1);
    n = 0;
    for (bool failed = true; failed; n++) {
        Sensebus__V1__ListSessionsRequest request = SENSEBUS__V1__LIST_SESSIONS_REQUEST__INIT;
        Sensebus__V1__ListSessionsResponse *response = NULL;
        char err[64];
        request.page_size = 1;
        failing_alloc_after(n);
        int rc = adapter_list(w.a, &request, &response, err, sizeof err);
        failed = failing_alloc_stop();
        cr_assert_eq(rc, failed ? UV_ENOMEM : 0);
        if (rc == 0)
            sensebus__v1__list_sessions_response__free_unpacked(response, NULL);
    }
    cr_assert_gt(n, 5);
    world_end(&w);
}

/* More requests than the reserve holds, and never any memory: what was answered was answered once. */
Test(out_of_memory, reserve_is_used_again)
{
    world_begin(&w, NULL);
    struct adapter_stream *stream = open_as(&w, "A", "alice", ACCESS_ALL);
    for (unsigned i = 0; i < 100; i++) {
        failing_alloc_after(0);
        ask_stop(&w, stream, "s9");
        failing_alloc_stop();
        cr_assert_eq(w.n_replies, i + 1);
        cr_assert_eq(w.detail, DETAIL(NOT_STARTED));
    }
    world_end(&w);
}

/* rule: every-wait-ends. What can never be answered is told to the caller, who ends the stream. */
Test(out_of_memory, request_beyond_the_reserve_is_not_passed_over_in_silence)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    unsigned n_taken = 0;
    world_begin(&w, NULL);
    struct adapter_stream *stream = open_as(&w, "A", "alice", ACCESS_ALL);
    w.take_nothing = true;
    for (unsigned i = 0; i < 100; i++) {
        failing_alloc_after(0);
        int rc = i % 2 ? adapter_request(w.a, stream, &request, NULL, 0, w.now_ns, w.wall_ns)
                       : adapter_fault(w.a, stream, 1, "not a request");
        failing_alloc_stop();
        cr_assert_eq(rc, n_taken < 64 ? 0 : UV_ENOMEM);
        n_taken += rc == 0;
    }
    w.take_nothing = false;
    world_take(&w);
    cr_assert_eq(w.n_replies, 64);
    world_end(&w);
}

/* What cannot be written stays in its place, and is tried again soon. */
Test(out_of_memory, loss_that_cannot_be_told_is_told_later)
{
    struct adapter_limits limits = {.max_queued_records = 1};
    struct adapter_action action;
    world_begin(&w, &limits);
    struct adapter_stream *stream = open_as(&w, "A", "alice", ACCESS_ALL);
    started(&w, stream, 0);
    registered(&w, stream, "s1");
    adapter_blocked(w.a, stream);
    unit_reset(&w, 0);
    unit_reset(&w, 0);
    adapter_writable(w.a, stream, w.now_ns);
    failing_alloc_after(0); /* the record: it folds into the loss behind it, which is told at once */
    world_take(&w);
    cr_assert(failing_alloc_stop());
    story(&w, "A event s1 EVENTS_LOST 2 bits 4 corr ab\n");
    adapter_blocked(w.a, stream);
    unit_reset(&w, 0);
    unit_reset(&w, 0);
    adapter_writable(w.a, stream, w.now_ns);
    cr_assert(adapter_take(w.a, &action));
    chunk_unref(action.message);
    chunk_unref(action.tail);
    failing_alloc_after(0); /* the loss itself */
    cr_assert_not(adapter_take(w.a, &action));
    cr_assert(failing_alloc_stop());
    cr_assert_eq(adapter_next_ns(w.a), w.now_ns + 10 * MS);
    tick_to(&w, w.now_ns + 10 * MS);
    story(&w, "A event s1 EVENTS_LOST 1 bits 4 corr ab\n");
    cr_assert_eq(adapter_next_ns(w.a), UINT64_MAX);
    world_end(&w);
}
