/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/proto/grpc/pair.h"

static struct pair pair;
static struct pair *p = &pair;
static struct probe client; /* still open in the teardown of some tests */

static void setup(void)
{
    pair_init(p, NULL, NULL, "127.0.0.1:0");
}

static void teardown(void)
{
    pair_deinit(p);
}

TestSuite(call, .init = setup, .fini = teardown);

/* Send `len` bytes in one part with an owner. */
static int send_long(struct probe *probe, size_t len)
{
    struct chunk *chunk = chunk_new(len);
    memset(chunk->bytes, 'x', len);
    struct slice part = {.owner = chunk, .ptr = chunk->bytes, .len = len};
    int rc = grpc_call_send(probe->call, &part, 1);
    chunk_unref(chunk);
    return rc;
}

Test(call, unary_brings_the_reply_and_ok)
{
    pair_start(p, &client, "/test/Unary", 0);
    cr_assert_eq(probe_send(&client, "hello"), 0);
    cr_assert_eq(grpc_call_half_close(client.call), 0);
    pair_until(p, &client.closed);
    cr_assert_eq(client.status, GRPC_OK, "%d %s", client.status, client.message);
    cr_assert_eq(client.n_messages, 1);
    cr_assert_str_eq(client.last, "hello");
}

Test(call, unary_refuses_none_and_two)
{
    pair_start(p, &client, "/test/Unary", 0);
    grpc_call_half_close(client.call);
    pair_until(p, &client.closed);
    cr_assert_eq(client.status, GRPC_INVALID_ARGUMENT);
    cr_assert_str_eq(client.message, "no request message");

    pair_start(p, &client, "/test/Unary", 0);
    probe_send(&client, "a");
    probe_send(&client, "b");
    grpc_call_half_close(client.call);
    pair_until(p, &client.closed);
    cr_assert_eq(client.status, GRPC_INVALID_ARGUMENT);
    cr_assert_str_eq(client.message, "more than one request message");
}

static uint64_t bytes_sent(void)
{
    struct grpc_server_counters c;
    grpc_server_counters(p->server, &c);
    return c.bytes_sent;
}

Test(call, flush_writes_without_a_turn_of_the_loop)
{
    struct probe *served = pair_call(p, &client, 0);
    probe_send(served, "first");
    pair_until_count(p, &client.n_messages, 1);
    uint64_t before = bytes_sent();
    probe_send(served, "second");
    cr_assert_eq(bytes_sent(), before);
    grpc_call_flush(served->call);
    cr_assert_gt(bytes_sent(), before);
    before = bytes_sent();
    grpc_call_flush(served->call); /* nothing is left */
    cr_assert_eq(bytes_sent(), before);
    pair_until_count(p, &client.n_messages, 2);
    cr_assert_str_eq(client.last, "second");

    /* The end goes out as well; the owner hears of it at the next turn. */
    grpc_call_finish(served->call, GRPC_OK, "done");
    grpc_call_flush(served->call);
    cr_assert_not(served->closed);
    pair_until(p, &client.closed);
    pair_until(p, &served->closed);
    cr_assert_str_eq(client.message, "done");
}

Test(call, flush_of_much_leaves_the_rest_to_the_turns)
{
    struct probe *served = pair_call(p, &client, 0);
    cr_assert_eq(send_long(served, 3 << 20), 0);
    grpc_call_flush(served->call);
    pair_until_count(p, &client.n_messages, 1);
    cr_assert_eq(client.n_bytes, 3 << 20);
}

/* Calls of one connection share its writes. */
Test(call, flush_leaves_a_connection_with_several_calls_alone)
{
    static struct probe other;
    struct probe *served = pair_call(p, &client, 0);
    pair_call(p, &other, 0);
    uint64_t before = bytes_sent();
    probe_send(served, "late");
    grpc_call_flush(served->call);
    cr_assert_eq(bytes_sent(), before);
    pair_until_count(p, &client.n_messages, 1);
}

static void echo_and_flush(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct slice part = {.ptr = bytes, .len = len};
    uint64_t before = bytes_sent();
    probe_ops.on_message(call, data, bytes, len);
    cr_assert_eq(grpc_call_send(call, &part, 1), 0);
    grpc_call_flush(call);
    cr_assert_eq(bytes_sent(), before);
}

Test(call, flush_within_a_callback_waits_for_its_end)
{
    p->server_ops.on_message = echo_and_flush;
    struct probe *served = pair_call(p, &client, 0);
    for (int i = 0; i < 3; i++)
        probe_send(&client, "again");
    pair_until_count(p, &client.n_messages, 3);
    cr_assert_eq(served->n_messages, 3);
}

Test(call, messages_go_both_ways_in_order)
{
    struct probe *served = pair_call(p, &client, 0);
    char text[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(text, sizeof text, "%d", i);
        cr_assert_eq(probe_send(&client, text), 0);
        cr_assert_eq(probe_send(served, text), 0);
    }
    pair_until_count(p, &client.n_messages, 1000);
    pair_until_count(p, &served->n_messages, 1000);
    cr_assert_str_eq(client.last, "999");
    cr_assert_str_eq(served->last, "999");

    grpc_call_half_close(client.call);
    pair_until_count(p, &served->n_half_closes, 1);
    cr_assert_eq(probe_send(&client, "late"), UV_ECANCELED);
    grpc_call_finish(served->call, GRPC_OK, NULL);
    pair_until(p, &client.closed);
    pair_until(p, &served->closed);
    cr_assert_eq(client.status, GRPC_OK);
    cr_assert_eq(served->status, GRPC_OK);
}

Test(call, finish_delivers_what_is_queued_before_the_status)
{
    struct probe *served = pair_call(p, &client, 0);
    for (int i = 0; i < 30; i++)
        cr_assert_eq(send_long(served, 100000), 0);
    grpc_call_finish(served->call, GRPC_OUT_OF_RANGE, "position %d is gone – „x“", 7);
    grpc_call_finish(served->call, GRPC_OK, "the first finish counts");
    cr_assert_eq(probe_send(served, "late"), UV_ECANCELED);
    pair_until(p, &client.closed);
    cr_assert_eq(client.n_bytes, 3000000);
    cr_assert_eq(client.status, GRPC_OUT_OF_RANGE);
    cr_assert_str_eq(client.message, "position 7 is gone – „x“");
    pair_until(p, &served->closed);
    cr_assert_eq(served->status, GRPC_OUT_OF_RANGE);
}

Test(call, unknown_method_is_named)
{
    pair_start(p, &client, "/test/Nothing", 0);
    pair_until(p, &client.closed);
    cr_assert_eq(client.status, GRPC_UNIMPLEMENTED);
    cr_assert_str_eq(client.message, "unknown method /test/Nothing");
}

static void refuse_at_once(struct pair *pr, struct probe *probe)
{
    (void)pr;
    grpc_call_finish(probe->call, GRPC_PERMISSION_DENIED, "not you");
}

Test(call, may_be_refused_at_its_start)
{
    p->on_serve = refuse_at_once;
    pair_call(p, &client, 0);
    pair_until(p, &client.closed);
    cr_assert_eq(client.status, GRPC_PERMISSION_DENIED);
    cr_assert_str_eq(client.message, "not you");
}

Test(call, cancel_by_the_client_reaches_the_server)
{
    struct probe *served = pair_call(p, &client, 0);
    grpc_call_cancel(client.call);
    cr_assert_not(client.closed, "no callback before the function returns");
    cr_assert_eq(probe_send(&client, "late"), UV_ECANCELED);
    pair_until(p, &client.closed);
    pair_until(p, &served->closed);
    cr_assert_eq(client.status, GRPC_CANCELLED);
    cr_assert_eq(served->status, GRPC_CANCELLED);
    cr_assert_eq(client.n_closes, 1);
    cr_assert_eq(served->n_closes, 1);
}

Test(call, cancel_before_anything_was_sent)
{
    pair_start(p, &client, "/test/Call", 0);
    grpc_call_cancel(client.call);
    pair_until(p, &client.closed);
    cr_assert_eq(client.status, GRPC_CANCELLED);
    pair_start(p, &client, "/test/Unary", 0);
    probe_send(&client, "still alive");
    grpc_call_half_close(client.call);
    pair_until(p, &client.closed);
    cr_assert_eq(client.status, GRPC_OK);
}

Test(call, cancel_by_the_server_reaches_the_client)
{
    struct probe *served = pair_call(p, &client, 0);
    send_long(served, 3000000);
    grpc_call_cancel(served->call);
    pair_until(p, &served->closed);
    pair_until(p, &client.closed);
    cr_assert_eq(served->status, GRPC_CANCELLED);
    cr_assert_eq(client.status, GRPC_CANCELLED);
}

static uint64_t came_with_ms[PAIR_CALLS]; /* what was left of the deadline when the server had the call */

static void look_and_accept(struct pair *pair_of, struct probe *served)
{
    came_with_ms[served - pair_of->served] = grpc_call_remaining_ms(served->call);
    grpc_call_accept(served->call, &pair_of->server_ops, served);
}

static bool is_open_or_over(void *served)
{
    return ((const struct probe *)served)->opened || client.closed;
}

/* The index of the server's side. A deadline that was over before the call was sent is tried again, twice as long. */
static unsigned call_with_deadline(uint32_t *out_ms)
{
    static struct probe behind[PAIR_CALLS];
    for (*out_ms = 200;; *out_ms *= 2) {
        unsigned n = p->n_served;
        cr_assert_lt(n, PAIR_CALLS - 2, "the server never has a call with a deadline");
        pair_start(p, &client, "/test/Call", *out_ms);
        cr_assert_leq(grpc_call_remaining_ms(client.call), *out_ms);
        cr_assert(test_loop_until_true(&p->loop, is_open_or_over, &p->served[n]));
        if (p->served[n].opened)
            return n;
        pair_call(p, &behind[n], 0); /* had it been sent it would have come before this */
        if (p->n_served == n + 2)
            return n;
    }
}

Test(call, deadline_ends_both_sides)
{
    uint32_t deadline_ms;
    p->on_serve = look_and_accept;
    unsigned n = call_with_deadline(&deadline_ms);
    cr_assert_leq(came_with_ms[n], deadline_ms);
    pair_until(p, &client.closed);
    pair_until(p, &p->served[n].closed);
    cr_assert_eq(client.status, GRPC_DEADLINE_EXCEEDED);
    cr_assert(p->served[n].status == GRPC_DEADLINE_EXCEEDED || p->served[n].status == GRPC_CANCELLED);
}

Test(call, without_a_deadline_there_is_none)
{
    struct probe *served = pair_call(p, &client, 0);
    cr_assert_eq(grpc_call_remaining_ms(served->call), UINT64_MAX);
}

Test(call, peers_are_named)
{
    struct probe *served = pair_call(p, &client, 0);
    cr_assert_eq(strncmp(grpc_call_peer(served->call), "127.0.0.1:", 10), 0);
    cr_assert_str_eq(grpc_call_peer(client.call), grpc_server_address(p->server, 0));
    cr_assert_str_eq(grpc_call_metadata(served->call, "content-type"), "application/grpc");
    cr_assert_null(grpc_call_metadata(served->call, "x-nothing"));
}

Test(call, plaintext_proves_nothing)
{
    const struct peer_identity *peer = grpc_call_identity(pair_call(p, &client, 0)->call);
    cr_assert_eq(peer->kind, PEER_PLAINTEXT);
    cr_assert_eq(peer->n_names, 1);
    cr_assert_str_eq(peer->names[0], "plaintext");
}

/* ------------------------------------------------------------------------------------------------ metadata */

static void start_with(const struct grpc_metadata *metadata, size_t n)
{
    struct grpc_call_options options = {.metadata = metadata, .n_metadata = n};
    client = (struct probe){0};
    cr_assert_eq(grpc_call_start_with(p->channel, "/test/Call", &options, &probe_ops, &client, &client.call), 0);
    pair_until(p, &p->served[0].opened);
}

Test(call, metadata_of_the_request_reaches_the_server)
{
    static const struct grpc_metadata metadata[] = {{"x-test", "seen"}, {"x-test", "again"}, {"x-bytes-bin", "CgsK"}};
    start_with(metadata, 3);
    cr_assert_str_eq(grpc_call_metadata(p->served[0].call, "x-test"), "seen");
    cr_assert_str_eq(grpc_call_metadata(p->served[0].call, "x-bytes-bin"), "CgsK");
}

Test(call, metadata_that_is_refused_starts_no_call)
{
    static char value[17000];
    static const struct grpc_metadata bad[] = {{"x-test", "good"}, {"Upper", "x"}};
    static const struct grpc_metadata long_one[] = {{"x-test", value}};
    struct grpc_call_options options = {.metadata = bad, .n_metadata = 2};
    struct grpc_call *call;
    memset(value, 'x', sizeof value - 1);
    cr_assert_eq(grpc_call_start_with(p->channel, "/test/Call", &options, &probe_ops, &client, &call), UV_EINVAL);
    options = (struct grpc_call_options){.metadata = long_one, .n_metadata = 1};
    cr_assert_eq(grpc_call_start_with(p->channel, "/test/Call", &options, &probe_ops, &client, &call), UV_E2BIG);
    pair_call(p, &client, 0);
    cr_assert_eq(p->n_served, 1);
}

static void set_both(struct pair *pr, struct probe *probe)
{
    grpc_call_accept(probe->call, &pr->server_ops, probe);
    cr_assert_eq(grpc_call_set_initial(probe->call, "x-initial", "first"), 0);
    cr_assert_eq(grpc_call_set_trailing(probe->call, "x-trailing", "last"), 0);
}

Test(call, metadata_of_the_answer_comes_at_both_ends)
{
    p->on_serve = set_both;
    struct probe *served = pair_call(p, &client, 0);
    cr_assert_eq(probe_send(served, "message"), 0);
    cr_assert_eq(grpc_call_set_initial(served->call, "x-late", "x"), UV_EALREADY);
    pair_until_count(p, &client.n_messages, 1);
    cr_assert_str_eq(grpc_call_metadata(client.call, "x-initial"), "first");
    cr_assert_null(grpc_call_trailer(client.call, "x-trailing"));
    cr_assert_eq(grpc_call_set_trailing(served->call, "x-second", "x"), 0);
    grpc_call_finish(served->call, GRPC_OK, NULL);
    cr_assert_eq(grpc_call_set_trailing(served->call, "x-late", "x"), UV_EALREADY);
    pair_until(p, &client.closed);
    cr_assert_str_eq(client.trailing, "last");
    cr_assert_eq(client.status, GRPC_OK);
}

static void refuse_with_metadata(struct pair *pr, struct probe *probe)
{
    set_both(pr, probe);
    grpc_call_finish(probe->call, GRPC_NOT_FOUND, "nothing there");
}

Test(call, metadata_comes_with_a_refusal)
{
    p->on_serve = refuse_with_metadata;
    pair_call(p, &client, 0);
    pair_until(p, &client.closed);
    cr_assert_eq(client.status, GRPC_NOT_FOUND);
    cr_assert_str_eq(client.message, "nothing there");
    cr_assert_str_eq(client.initial, "first");
    cr_assert_str_eq(client.trailing, "last");
}

Test(call, metadata_of_the_answer_is_checked_and_bounded)
{
    static char value[16000];
    struct probe *served = pair_call(p, &client, 0);
    memset(value, 'x', sizeof value - 1);
    cr_assert_eq(grpc_call_set_trailing(served->call, "grpc-status", "0"), UV_EINVAL);
    cr_assert_eq(grpc_call_set_trailing(served->call, "x-trailing", "line\nbreak"), UV_EINVAL);
    cr_assert_eq(grpc_call_set_trailing(served->call, "x-long", value), 0);
    cr_assert_eq(grpc_call_set_trailing(served->call, "x-longer", value), UV_E2BIG);
    cr_assert_eq(grpc_call_set_trailing(served->call, "x-trailing", "last"), 0);
    grpc_call_finish(served->call, GRPC_OK, NULL);
    pair_until(p, &client.closed);
    cr_assert_eq(client.status, GRPC_OK, "%s", client.message);
    cr_assert_str_eq(client.trailing, "last");
}

Test(call, metadata_may_be_as_long_as_the_limits_say)
{
    static char value[30000];
    struct grpc_limits limits = {.max_header_bytes = 64 << 10};
    const struct grpc_metadata metadata[] = {{"x-long", value}, {"x-longer", value}, {"x-last", "seen"}};
    struct grpc_call_options options = {.metadata = metadata, .n_metadata = 3};
    pair_deinit(p);
    pair_init(p, &limits, &limits, "127.0.0.1:0");
    memset(value, '~', sizeof value - 1);
    client = (struct probe){0};
    cr_assert_eq(grpc_call_start_with(p->channel, "/test/Call", &options, &probe_ops, &client, &client.call), 0);
    pair_until(p, &p->served[0].opened);
    cr_assert_str_eq(grpc_call_metadata(p->served[0].call, "x-last"), "seen");
    cr_assert_eq(grpc_call_set_trailing(p->served[0].call, "x-long", value), 0);
    cr_assert_eq(grpc_call_set_trailing(p->served[0].call, "x-longer", value), 0);
    cr_assert_eq(grpc_call_set_trailing(p->served[0].call, "x-trailing", "last"), 0);
    grpc_call_finish(p->served[0].call, GRPC_OK, NULL);
    pair_until(p, &client.closed);
    cr_assert_eq(client.status, GRPC_OK, "%s", client.message);
    cr_assert_str_eq(client.trailing, "last");
}

Test(call, metadata_of_a_call_that_is_over_is_refused)
{
    struct probe *served = pair_call(p, &client, 0);
    grpc_call_cancel(served->call);
    cr_assert_eq(grpc_call_set_initial(served->call, "x-initial", "x"), UV_ECANCELED);
    cr_assert_eq(grpc_call_set_trailing(served->call, "x-trailing", "x"), UV_ECANCELED);
}

/* ------------------------------------------------------------------------------------------------ back-pressure */

Test(call, queue_is_bounded_and_says_when_there_is_room)
{
    struct probe *served = pair_call(p, &client, 0);
    unsigned n = 0;
    grpc_call_pause(client.call);
    while (send_long(served, 100000) == 0)
        n++;
    cr_assert_eq(n, 41, "4 MiB");
    cr_assert_not(grpc_call_writable(served->call));
    test_loop_for(&p->loop, 50);
    cr_assert_lt(client.n_bytes, 4000000, "a paused client grants no more than its window");
    cr_assert_eq(served->n_writables, 0);
    grpc_call_resume(client.call);
    pair_until_count(p, &client.n_messages, n);
    pair_until_count(p, &served->n_writables, 1);
    cr_assert(grpc_call_writable(served->call));
    cr_assert_eq(grpc_call_queued_bytes(served->call), 0);
}

Test(call, calls_that_share_a_budget_have_one_message_each_when_it_is_used_up)
{
    static struct grpc_budget budget = {.max_queued_bytes = 100000};
    static struct probe stuck;
    struct probe *reading_end = pair_call(p, &client, 0), *stuck_end = pair_call(p, &stuck, 0);
    grpc_call_share(reading_end->call, &budget);
    grpc_call_share(stuck_end->call, &budget);
    grpc_call_pause(stuck.call);
    cr_assert(grpc_call_writable(stuck_end->call));
    for (int i = 0; i < 30; i++)
        cr_assert_eq(send_long(stuck_end, 100000), 0);
    cr_assert_eq(budget.queued_bytes, grpc_call_queued_bytes(stuck_end->call));
    for (unsigned i = 1; i <= 3; i++) {
        cr_assert(grpc_call_writable(reading_end->call), "nothing of its own waits");
        cr_assert_eq(send_long(reading_end, 1000), 0);
        cr_assert_not(grpc_call_writable(reading_end->call));
        pair_until_count(p, &reading_end->n_writables, i);
    }
    grpc_call_cancel(stuck.call);
    pair_until(p, &stuck_end->closed);
    cr_assert_eq(budget.queued_bytes, 0);
    cr_assert_eq(send_long(reading_end, 1000), 0);
    cr_assert(grpc_call_writable(reading_end->call));
    pair_until_count(p, &client.n_messages, 4);
}

Test(call, one_message_longer_than_the_queue_is_taken)
{
    struct probe *served = pair_call(p, &client, 0);
    cr_assert_eq(send_long(served, (4u << 20) - 1), 0);
    cr_assert_eq(probe_send(served, "more"), UV_ENOBUFS);
    pair_until_count(p, &client.n_messages, 1);
    cr_assert_eq(client.n_bytes, (4u << 20) - 1);
}

Test(call, paused_call_leaves_the_connection_to_others)
{
    static struct probe paused[8];
    for (int i = 0; i < 8; i++) {
        struct probe *served = pair_call(p, &paused[i], 0);
        grpc_call_pause(paused[i].call);
        cr_assert_eq(send_long(served, 3000000), 0);
    }
    test_loop_for(&p->loop, 50);
    struct probe *served = pair_call(p, &client, 0);
    cr_assert_eq(send_long(served, 3000000), 0);
    pair_until_count(p, &client.n_messages, 1);
}

Test(call, message_over_the_limit_names_both_sizes)
{
    struct probe *served = pair_call(p, &client, 0);
    send_long(&client, 5000000);
    pair_until(p, &client.closed);
    cr_assert_eq(client.status, GRPC_RESOURCE_EXHAUSTED);
    cr_assert_str_eq(client.message, "message of 5000000 bytes exceeds the limit of 4194304 bytes");
    pair_until(p, &served->closed);
    struct probe *second = pair_call(p, &client, 0);
    send_long(second, 5000000);
    pair_until(p, &client.closed);
    cr_assert_eq(client.status, GRPC_RESOURCE_EXHAUSTED, "a client refuses too");
    pair_until(p, &second->closed);
}

enum { UPLOADS = 10 };

static unsigned n_refused(const struct probe *probes)
{
    unsigned n = 0;
    for (unsigned i = 0; i < UPLOADS; i++)
        n += probes[i].status == GRPC_RESOURCE_EXHAUSTED;
    return n;
}

static bool two_are_refused(void *data)
{
    return n_refused(data) >= 2;
}

Test(call, unfinished_requests_of_a_connection_are_bounded)
{
    static struct probe unary[UPLOADS];
    for (unsigned i = 0; i < UPLOADS; i++) {
        pair_start(p, &unary[i], "/test/Unary", 0);
        cr_assert_eq(send_long(&unary[i], 4000000), 0);
    }
    cr_assert(test_loop_until_true(&p->loop, two_are_refused, unary), "40 MB against 8 * 4 MiB");
    for (unsigned i = 0; i < UPLOADS; i++) {
        if (!unary[i].closed)
            grpc_call_half_close(unary[i].call);
    }
    for (unsigned i = 0; i < UPLOADS; i++)
        pair_until(p, &unary[i].closed);
    cr_assert_lt(n_refused(unary), UPLOADS / 2 + 1, "%u", n_refused(unary));

    pair_start(p, &client, "/test/Unary", 0);
    probe_send(&client, "there is room again");
    grpc_call_half_close(client.call);
    pair_until(p, &client.closed);
    cr_assert_eq(client.status, GRPC_OK, "%s", client.message);
}

/* A client that gives no window lets each of its calls hold a reply: they share a bound. */
Test(call, replies_that_are_not_read_are_bounded_for_a_connection)
{
    static struct probe unary[UPLOADS];
    const struct grpc_limits limits = {.max_unary_bytes = 6 << 20};
    unsigned n_ok = 0;
    pair_deinit(p);
    pair_init(p, &limits, NULL, "127.0.0.1:0");
    for (unsigned i = 0; i < UPLOADS; i++) {
        pair_start(p, &unary[i], "/test/Unary", 0);
        grpc_call_pause(unary[i].call);
        cr_assert_eq(send_long(&unary[i], 3000000), 0);
        grpc_call_half_close(unary[i].call);
    }
    cr_assert(test_loop_until_true(&p->loop, two_are_refused, unary));
    bool before_the_work = false;
    for (unsigned i = 0; i < UPLOADS; i++)
        before_the_work |= strstr(unary[i].message, "replies that are not read hold") == unary[i].message;
    cr_assert(before_the_work, "the second was refused before its reply was made");
    for (unsigned i = 0; i < UPLOADS; i++) {
        if (!unary[i].closed)
            grpc_call_resume(unary[i].call);
    }
    for (unsigned i = 0; i < UPLOADS; i++) {
        pair_until(p, &unary[i].closed);
        n_ok += unary[i].status == GRPC_OK && unary[i].n_bytes == 3000000;
    }
    cr_assert_eq(n_ok + n_refused(unary), UPLOADS);
    cr_assert_geq(n_ok, 2, "%u", n_ok);

    pair_start(p, &client, "/test/Unary", 0);
    probe_send(&client, "there is room again");
    grpc_call_half_close(client.call);
    pair_until(p, &client.closed);
    cr_assert_eq(client.status, GRPC_OK, "%s", client.message);
}

/* ------------------------------------------------------------------------------------------------ endings */

Test(call, closing_the_channel_ends_its_calls_with_cancelled)
{
    struct probe *served = pair_call(p, &client, 0);
    grpc_channel_close(p->channel);
    p->channel = NULL;
    cr_assert_not(client.closed);
    pair_until(p, &client.closed);
    pair_until(p, &served->closed);
    cr_assert_eq(client.status, GRPC_CANCELLED);
    cr_assert_eq(served->status, GRPC_UNAVAILABLE);
    cr_assert_eq(p->n_downs, 0);
}

Test(call, losing_the_server_ends_calls_before_the_channel_is_down)
{
    struct probe *served = pair_call(p, &client, 0);
    send_long(served, 3000000);
    grpc_server_close(p->server, NULL, NULL);
    p->server = NULL;
    p->server_closed = true;
    p->watched = &client;
    pair_until(p, &p->down);
    cr_assert(p->closed_before_down);
    cr_assert_eq(client.status, GRPC_UNAVAILABLE);
    cr_assert(p->down_reason[0]);
    pair_until(p, &served->closed);
    struct grpc_call *call;
    cr_assert_eq(grpc_call_start(p->channel, "/test/Call", 0, &probe_ops, &client, &call), UV_ENOTCONN);
}
