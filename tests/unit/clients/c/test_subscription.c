/* SPDX-License-Identifier: Apache-2.0 */
/* Stories: what the broker says goes in, what the owner hears comes out as one line of text each. */
#include "clients/c/subscription.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/clients/c/fake_broker.h"

#define EPOCH 77

struct story {
    struct fake_broker b;
    struct subscription *s;
    char heard[4096];
    const char *wanted;
    const char *close_on; /* close the subscription when this was heard */
};

__attribute__((format(printf, 2, 3))) static void hear(struct story *t, const char *format, ...)
{
    size_t len = strlen(t->heard);
    va_list args;
    va_start(args, format);
    vsnprintf(t->heard + len, sizeof t->heard - len, format, args);
    va_end(args);
    strncat(t->heard, "; ", sizeof t->heard - strlen(t->heard) - 1);
    if (t->close_on && strstr(t->heard + len, t->close_on)) {
        subscription_close(t->s);
        t->s = NULL;
    }
}

static void on_opened(void *data, const Sensebus__V1__Opened *opened, bool resumed)
{
    hear(data, "%s %" PRIu64, resumed ? "resumed" : "opened", opened->position->sequence);
}

static void on_event(void *data, const Sensebus__V1__Event *event)
{
    hear(data, "%" PRIu64, (uint64_t)event->sequence);
}

static void on_gap(void *data, const Sensebus__V1__Gap *gap)
{
    hear(data, "gap %" PRIu64, gap->count);
}

static void on_snapshot_begin(void *data, const Sensebus__V1__Position *position)
{
    hear(data, "snapshot %" PRIu64, position->sequence);
}

static void on_synced(void *data, const Sensebus__V1__Position *position)
{
    hear(data, "synced %" PRIu64, position->sequence);
}

static void on_batch_end(void *data)
{
    (void)data;
}

static void on_lost(void *data, const char *reason, uint32_t retry_ms)
{
    (void)reason;
    (void)retry_ms;
    struct story *t = data;
    /* How many tries fail before the broker is back is not the story. */
    if (!strstr(t->heard, "lost; ") || strcmp(t->heard + strlen(t->heard) - 6, "lost; ") != 0)
        hear(t, "lost");
}

static void on_fault(void *data, const char *text)
{
    hear(data, "fault: %s", text);
}

static void on_end(void *data, int status, const char *message)
{
    hear(data, "end %s: %s", grpc_status_name(status), message);
}

static const struct subscription_ops OPS = {.on_opened = on_opened,
                                            .on_event = on_event,
                                            .on_gap = on_gap,
                                            .on_snapshot_begin = on_snapshot_begin,
                                            .on_synced = on_synced,
                                            .on_batch_end = on_batch_end,
                                            .on_lost = on_lost,
                                            .on_fault = on_fault,
                                            .on_end = on_end};

static void begin_with(struct story *t, const Sensebus__V1__SubscribeRequest *request)
{
    fake_broker_init(&t->b);
    fake_broker_up(&t->b);
    const struct link_options link = {.address = t->b.address, .backoff = {.min_ms = 5, .max_ms = 20}};
    cr_assert_eq(subscription_open(&t->b.loop.loop, &link, request, &OPS, t, &t->s), 0);
    uint64_t epoch, sequence;
    cr_assert_not(subscription_position(t->s, &epoch, &sequence));
    fake_broker_wait_call(&t->b);
}

static void begin(struct story *t)
{
    Sensebus__V1__SubscribeRequest request = SENSEBUS__V1__SUBSCRIBE_REQUEST__INIT;
    Sensebus__V1__StartOldest oldest = SENSEBUS__V1__START_OLDEST__INIT;
    request.start_case = SENSEBUS__V1__SUBSCRIBE_REQUEST__START_OLDEST;
    request.oldest = &oldest;
    begin_with(t, &request);
}

static bool heard_wanted(void *data)
{
    struct story *t = data;
    return strstr(t->heard, t->wanted) != NULL;
}

static void until(struct story *t, const char *wanted)
{
    t->wanted = wanted;
    cr_assert(test_loop_until_true(&t->b.loop, heard_wanted, t), "waited for '%s', heard '%s'", wanted, t->heard);
}

static void expect_heard(struct story *t, const char *expected)
{
    cr_expect_str_eq(t->heard, expected, "heard    %s\nexpected %s", t->heard, expected);
}

static void finish(struct story *t)
{
    subscription_close(t->s);
    fake_broker_deinit(&t->b);
}

static void expect_resume_at(struct story *t, uint64_t sequence)
{
    const Sensebus__V1__SubscribeRequest *r = t->b.request;
    cr_assert_eq(r->start_case, SENSEBUS__V1__SUBSCRIBE_REQUEST__START_POSITION);
    cr_expect_eq(r->position->epoch, EPOCH);
    cr_expect(r->resume_at_oldest, "what was trimmed meanwhile is a gap, not the end");
    cr_expect_eq(r->position->sequence, sequence);
}

/* ------------------------------------------------------------------------------------------------ stories */

Test(subscription, hands_on_what_comes)
{
    static struct story t;
    begin(&t);
    cr_expect_eq(t.b.request->start_case, SENSEBUS__V1__SUBSCRIBE_REQUEST__START_OLDEST);
    cr_expect_not(t.b.request->resume_at_oldest);
    fake_broker_opened(&t.b, EPOCH, 0);
    FAKE_EVENTS(&t.b, 1, 2, 5);
    fake_broker_gap(&t.b, EPOCH, 5, 9);
    FAKE_EVENTS(&t.b, 10);
    fake_broker_synced(&t.b, EPOCH, 12);
    until(&t, "synced");
    expect_heard(&t, "opened 0; 1; 2; 5; gap 4; 10; synced 12; ");
    uint64_t epoch, sequence;
    cr_expect(subscription_position(t.s, &epoch, &sequence));
    cr_expect_eq(epoch, EPOCH);
    cr_expect_eq(sequence, 12);
    finish(&t);
}

Test(subscription, resumes_behind_the_last_record_after_a_loss)
{
    static struct story t;
    begin(&t);
    fake_broker_opened(&t.b, EPOCH, 0);
    FAKE_EVENTS(&t.b, 1, 2);
    until(&t, "2; ");
    fake_broker_down(&t.b);
    until(&t, "lost");
    fake_broker_up(&t.b);
    fake_broker_wait_call(&t.b);
    expect_resume_at(&t, 2);
    fake_broker_opened(&t.b, EPOCH, 2);
    FAKE_EVENTS(&t.b, 3);
    until(&t, "3; ");
    expect_heard(&t, "opened 0; 1; 2; lost; resumed 2; 3; ");
    finish(&t);
}

Test(subscription, a_quiet_stream_resumes_where_it_was_opened)
{
    static struct story t;
    begin(&t);
    fake_broker_opened(&t.b, EPOCH, 41);
    until(&t, "opened");
    fake_broker_down(&t.b);
    until(&t, "lost");
    fake_broker_up(&t.b);
    fake_broker_wait_call(&t.b);
    expect_resume_at(&t, 41);
    finish(&t);
}

Test(subscription, lost_before_it_opened_it_asks_for_the_same_again)
{
    static struct story t;
    begin(&t);
    fake_broker_down(&t.b);
    until(&t, "lost");
    fake_broker_up(&t.b);
    fake_broker_wait_call(&t.b);
    cr_expect_eq(t.b.request->start_case, SENSEBUS__V1__SUBSCRIBE_REQUEST__START_OLDEST);
    finish(&t);
}

Test(subscription, a_call_ended_unavailable_is_started_again_on_the_same_connection)
{
    static struct story t;
    begin(&t);
    fake_broker_opened(&t.b, EPOCH, 0);
    FAKE_EVENTS(&t.b, 1);
    fake_broker_finish(&t.b, GRPC_UNAVAILABLE, "come back later");
    fake_broker_wait_call(&t.b);
    expect_resume_at(&t, 1);
    fake_broker_opened(&t.b, EPOCH, 1);
    until(&t, "resumed");
    expect_heard(&t, "opened 0; 1; lost; resumed 1; ");
    finish(&t);
}

Test(subscription, a_repeat_is_reported_and_left_out)
{
    static struct story t;
    begin(&t);
    fake_broker_opened(&t.b, EPOCH, 0);
    FAKE_EVENTS(&t.b, 1, 2, 2, 1, 3);
    until(&t, "3; ");
    expect_heard(&t, "opened 0; 1; 2; fault: event #2 came after #2 and was left out; "
                     "fault: event #1 came after #2 and was left out; 3; ");
    finish(&t);
}

Test(subscription, a_broker_that_resumes_too_early_shows_nothing_twice)
{
    static struct story t;
    begin(&t);
    fake_broker_opened(&t.b, EPOCH, 0);
    FAKE_EVENTS(&t.b, 1, 2);
    fake_broker_finish(&t.b, GRPC_UNAVAILABLE, "");
    fake_broker_wait_call(&t.b);
    fake_broker_opened(&t.b, EPOCH, 0);
    FAKE_EVENTS(&t.b, 1, 2, 3);
    until(&t, "3; ");
    expect_heard(&t, "opened 0; 1; 2; lost; resumed 0; fault: event #1 came after #2 and was left out; "
                     "fault: event #2 came after #2 and was left out; 3; ");
    finish(&t);
}

Test(subscription, a_resume_with_a_hole_needs_a_gap)
{
    static struct story t;
    begin(&t);
    fake_broker_opened(&t.b, EPOCH, 0);
    FAKE_EVENTS(&t.b, 1);
    fake_broker_finish(&t.b, GRPC_UNAVAILABLE, "");
    fake_broker_wait_call(&t.b);
    fake_broker_opened(&t.b, EPOCH, 5);
    fake_broker_gap(&t.b, EPOCH, 1, 5);
    FAKE_EVENTS(&t.b, 6);
    until(&t, "6; ");
    expect_heard(&t, "opened 0; 1; lost; resumed 5; gap 4; 6; ");
    t.heard[0] = 0;
    fake_broker_finish(&t.b, GRPC_UNAVAILABLE, "");
    fake_broker_wait_call(&t.b);
    fake_broker_opened(&t.b, EPOCH, 9);
    FAKE_EVENTS(&t.b, 10);
    until(&t, "10; ");
    expect_heard(&t, "lost; resumed 9; fault: the broker resumed later than asked, without a gap: records may be "
                     "missing; 10; ");
    finish(&t);
}

Test(subscription, another_log_ends_it)
{
    static struct story t;
    begin(&t);
    fake_broker_opened(&t.b, EPOCH, 0);
    fake_broker_finish(&t.b, GRPC_UNAVAILABLE, "");
    fake_broker_wait_call(&t.b);
    fake_broker_opened(&t.b, EPOCH + 1, 0);
    until(&t, "end");
    cr_expect(strstr(t.heard, "end OUT_OF_RANGE: the broker's log is another one"), "%s", t.heard);
    finish(&t);
}

Test(subscription, a_final_status_ends_it)
{
    static const int statuses[] = {GRPC_OK,
                                   GRPC_OUT_OF_RANGE,
                                   GRPC_PERMISSION_DENIED,
                                   GRPC_UNAUTHENTICATED,
                                   GRPC_INVALID_ARGUMENT,
                                   GRPC_RESOURCE_EXHAUSTED};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        static struct story t;
        t = (struct story){0};
        begin(&t);
        fake_broker_opened(&t.b, EPOCH, 0);
        fake_broker_finish(&t.b, statuses[i], "enough");
        until(&t, "end");
        char expected[100];
        snprintf(expected, sizeof expected, "opened 0; end %s: %s; ", grpc_status_name(statuses[i]),
                 statuses[i] == GRPC_OK ? "" : "enough");
        if (statuses[i] == GRPC_OK)
            cr_expect(strstr(t.heard, "opened 0; end OK: "), "%s", t.heard);
        else
            expect_heard(&t, expected);
        test_loop_for(&t.b.loop, 50);
        cr_expect_eq(t.b.n_calls, 1);
        finish(&t);
    }
}

static void send_snapshot_begin(struct story *t, uint64_t sequence)
{
    Sensebus__V1__EventBatch batch = SENSEBUS__V1__EVENT_BATCH__INIT;
    Sensebus__V1__SnapshotBegin begin = SENSEBUS__V1__SNAPSHOT_BEGIN__INIT;
    Sensebus__V1__Position at = SENSEBUS__V1__POSITION__INIT;
    at.epoch = EPOCH;
    at.sequence = sequence;
    begin.position = &at;
    batch.snapshot_begin = &begin;
    fake_broker_send(&t->b, &batch);
}

Test(subscription, a_snapshot_may_have_any_order_and_begins_again_after_a_loss)
{
    static struct story t;
    Sensebus__V1__SubscribeRequest request = SENSEBUS__V1__SUBSCRIBE_REQUEST__INIT;
    request.snapshot = true;
    begin_with(&t, &request);
    fake_broker_opened(&t.b, EPOCH, 9);
    send_snapshot_begin(&t, 9);
    FAKE_EVENTS(&t.b, 7, 3, 7);
    fake_broker_finish(&t.b, GRPC_UNAVAILABLE, "");
    fake_broker_wait_call(&t.b);
    cr_expect(t.b.request->snapshot, "it was not complete");
    cr_expect_neq(t.b.request->start_case, SENSEBUS__V1__SUBSCRIBE_REQUEST__START_POSITION, "the broker refuses both");
    fake_broker_opened(&t.b, EPOCH + 1, 4); /* also of another log: nothing of the old one was news */
    send_snapshot_begin(&t, 4);
    FAKE_EVENTS(&t.b, 4, 3);
    fake_broker_finish(&t.b, GRPC_UNAVAILABLE, "");
    fake_broker_wait_call(&t.b);
    cr_expect(t.b.request->snapshot, "it was not complete");
    fake_broker_opened(&t.b, EPOCH, 9);
    send_snapshot_begin(&t, 9);
    FAKE_EVENTS(&t.b, 7, 3);
    fake_broker_synced(&t.b, EPOCH, 9);
    FAKE_EVENTS(&t.b, 10);
    fake_broker_finish(&t.b, GRPC_UNAVAILABLE, "");
    fake_broker_wait_call(&t.b);
    cr_expect_not(t.b.request->snapshot, "it was complete");
    expect_resume_at(&t, 10);
    expect_heard(&t,
                 "opened 9; snapshot 9; 7; 3; 7; lost; resumed 4; snapshot 4; 4; 3; lost; resumed 9; snapshot 9; 7; 3; "
                 "synced 9; 10; lost; ");
    finish(&t);
}

Test(subscription, an_event_that_does_not_decode_is_left_out_and_reported)
{
    /* A host name that is not UTF-8. */
    static const uint8_t bytes[] = {0x12, 10, 0x20, 203, 1, 0x42, 5, 0x0a, 3, 'a', 0xff, 'b'};
    static struct story t;
    begin(&t);
    fake_broker_opened(&t.b, EPOCH, 0);
    fake_broker_send_bytes(&t.b, bytes, sizeof bytes);
    FAKE_EVENTS(&t.b, 2);
    until(&t, "2; ");
    cr_expect(strstr(t.heard, "fault: an event that does not decode was left out: origin.host"), "%s", t.heard);
    finish(&t);
}

Test(subscription, garbage_ends_it)
{
    static const struct {
        uint8_t bytes[8];
        size_t len;
    } cases[] = {{{0x12, 9, 1}, 3}, {{0xff, 0xff, 0xff}, 3}, {{0x1a, 2, 0x0a, 9}, 4}, {{0x3a, 1, 0xff}, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static struct story t;
        t = (struct story){0};
        begin(&t);
        fake_broker_opened(&t.b, EPOCH, 0);
        fake_broker_send_bytes(&t.b, cases[i].bytes, cases[i].len);
        until(&t, "end INTERNAL");
        finish(&t);
    }
}

Test(subscription, events_before_opened_end_it)
{
    static struct story t;
    begin(&t);
    FAKE_EVENTS(&t.b, 1);
    until(&t, "end INTERNAL: the broker began the stream without saying where");
    finish(&t);
}

Test(subscription, may_be_closed_in_every_callback)
{
    static const char *const moments[] = {"opened", "1; ", "gap", "synced", "fault", "lost", "end"};
    for (size_t i = 0; i < sizeof moments / sizeof *moments; i++) {
        static struct story t;
        t = (struct story){.close_on = moments[i]};
        begin(&t);
        fake_broker_opened(&t.b, EPOCH, 0);
        FAKE_EVENTS(&t.b, 1, 1, 2);
        fake_broker_gap(&t.b, EPOCH, 2, 3);
        fake_broker_synced(&t.b, EPOCH, 3);
        fake_broker_finish(&t.b, i == 5 ? GRPC_UNAVAILABLE : GRPC_ABORTED, "x");
        until(&t, moments[i]);
        cr_expect_null(t.s);
        size_t len = strlen(t.heard);
        test_loop_for(&t.b.loop, 30);
        cr_expect_eq(strlen(t.heard), len, "heard after close: %s", t.heard);
        finish(&t);
    }
}

Test(subscription, may_be_closed_before_anything_came)
{
    static struct story t;
    Sensebus__V1__SubscribeRequest request = SENSEBUS__V1__SUBSCRIBE_REQUEST__INIT;
    fake_broker_init(&t.b);
    fake_broker_up(&t.b);
    const struct link_options link = {.address = t.b.address};
    cr_assert_eq(subscription_open(&t.b.loop.loop, &link, &request, &OPS, &t, &t.s), 0);
    finish(&t);
    expect_heard(&t, "");
}
