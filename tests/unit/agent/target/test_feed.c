/* SPDX-License-Identifier: Apache-2.0 */
/* Against a target that sends what the test says. */
#include "agent/target/feed.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/loop.h"
#include "tests/unit/agent/target/unix_server.h"

static struct test_loop loop;
static struct unix_server server;
static struct feed feed;
static unsigned n_serves, n_first, n_again, n_down;
static uint8_t got[1 << 20];
static size_t n_got;
static bool hold, gone, stopped;
static char reason[160];
static bool says_serves = true;

static const uint8_t serves[] = {0, 0, 0, 7, FEED_SERVES, 5, 'i', 'q', 'n', '.', 't'};

static void on_connected(struct unix_server *s)
{
    if (says_serves)
        unix_server_send(s, serves, sizeof serves);
}

/* DATA with `len` bytes of value `fill`. */
static void send_data(uint8_t fill, size_t len)
{
    static uint8_t bytes[FEED_PREFIX_BYTES + FEED_MAX_BODY];
    size_t n = 13 + len;

    bytes[0] = 0;
    bytes[1] = (uint8_t)(n >> 16);
    bytes[2] = (uint8_t)(n >> 8);
    bytes[3] = (uint8_t)n;
    memcpy(bytes + 4, "\2\5iqn.t\5iqn.a", 13);
    memset(bytes + 17, fill, len);
    unix_server_send(&server, bytes, 4 + n);
}

static void on_serves(void *data, const struct feed_message *m)
{
    (void)data;
    cr_assert_eq(m->len, 6);
    n_serves++;
}

static bool on_data(void *data, const struct feed_message *m, bool first)
{
    (void)data;
    *(first ? &n_first : &n_again) += 1;
    if (hold)
        return false;
    cr_assert_leq(n_got + m->len, sizeof got);
    memcpy(got + n_got, m->data, m->len);
    n_got += m->len;
    return true;
}

static void on_down(void *data, bool is_gone, const char *why)
{
    (void)data;
    n_down++;
    gone = is_gone;
    snprintf(reason, sizeof reason, "%s", why);
}

static const struct feed_ops ops = {.on_serves = on_serves, .on_data = on_data, .on_down = on_down};

static void on_stopped(void *data)
{
    (void)data;
    stopped = true;
}

static void setup(void)
{
    signal(SIGPIPE, SIG_IGN); /* as the programs do */
    test_loop_init(&loop);
    server.on_connected = on_connected;
    unix_server_start(&server, &loop.loop);
    cr_assert_eq(feed_start(&feed, &loop.loop, server.path, &ops, NULL), 0);
}

static void teardown(void)
{
    feed_stop(&feed, on_stopped, NULL);
    if (!test_loop_until(&loop, &stopped))
        abort();
    unix_server_stop(&server);
    test_loop_deinit(&loop);
}

TestSuite(feed, .init = setup, .fini = teardown, .timeout = 60);

struct wanted {
    const unsigned *counter;
    unsigned n;
};

static bool reached(void *data)
{
    const struct wanted *w = data;

    return *w->counter >= w->n;
}

static void wait_for(const unsigned *counter, unsigned n)
{
    struct wanted w = {counter, n};

    cr_assert(test_loop_until_true(&loop, reached, &w));
}

static bool done_is(void *data)
{
    return server.n_received >= FEED_DONE_BYTES && server.received[server.n_received - 1] == *(uint8_t *)data;
}

static void wait_done(uint8_t n)
{
    cr_assert(test_loop_until_true(&loop, done_is, &n));
    cr_expect_eq(server.n_received % FEED_DONE_BYTES, 0);
}

Test(feed, data_is_handed_over_and_done)
{
    wait_for(&n_serves, 1);
    send_data('a', 1000);
    send_data('b', FEED_MAX_DATA);
    send_data('c', 0);
    wait_done(3);
    cr_expect_eq(n_got, 1000 + FEED_MAX_DATA);
    cr_expect_eq(got[999], 'a');
    cr_expect_eq(got[1000], 'b');
    cr_expect_eq(n_again, 0);
}

/* Rule 23: while nothing can be taken nothing is read, and nothing is lost. */
Test(feed, holds_off_and_goes_on_where_it_was)
{
    wait_for(&n_serves, 1);
    hold = true;
    for (int i = 0; i < 8; i++)
        send_data((uint8_t)('a' + i), FEED_MAX_DATA);
    wait_for(&n_first, 1);
    test_loop_for(&loop, 50);
    cr_expect_eq(n_first, 1, "the next one waits");
    cr_expect_gt(uv_stream_get_write_queue_size((uv_stream_t *)&server.connection), FEED_MAX_DATA,
                 "the target feels it");
    cr_expect_eq(server.n_received, 0, "nothing is done");
    feed_continue(&feed);
    wait_for(&n_again, 1);
    cr_expect_eq(n_first, 1, "still held");
    hold = false;
    feed_continue(&feed);
    wait_done(8);
    cr_expect_eq(n_got, 8 * FEED_MAX_DATA);
    for (size_t i = 0; i < 8; i++)
        cr_expect_eq(got[i * FEED_MAX_DATA], 'a' + i);
}

Test(feed, to_continue_without_need_does_nothing)
{
    feed_continue(&feed);
    wait_for(&n_serves, 1);
    feed_continue(&feed);
    send_data('a', 5);
    wait_done(1);
    cr_expect_eq(n_first, 1);
}

Test(feed, comes_back_after_the_end_and_counts_afresh)
{
    wait_for(&n_serves, 1);
    send_data('a', 5);
    wait_done(1);
    unix_server_hang_up(&server);
    wait_for(&n_down, 1);
    cr_expect(gone);
    wait_for(&n_serves, 2);
    send_data('b', 5);
    wait_done(1);
}

/* Each return is an event for every target it serves. */
Test(feed, a_target_that_comes_and_falls_is_dialled_ever_more_rarely)
{
    for (unsigned i = 1; i <= 4; i++) {
        wait_for(&n_serves, i);
        unix_server_hang_up(&server);
        wait_for(&n_down, i);
        cr_expect_eq(feed.backoff.n_failures, i);
    }
}

Test(feed, a_held_message_is_forgotten_with_its_connection)
{
    wait_for(&n_serves, 1);
    hold = true;
    send_data('a', 5);
    wait_for(&n_first, 1);
    unix_server_hang_up(&server);
    hold = false;
    feed_continue(&feed);
    wait_for(&n_serves, 2);
    send_data('a', 5);
    wait_for(&n_first, 2);
}

Test(feed, what_breaks_the_protocol_ends_the_connection)
{
    static const uint8_t huge[] = {0x7f, 0, 0, 0}, bad[] = {0, 0, 0, 2, FEED_DATA, 0};

    wait_for(&n_serves, 1);
    unix_server_send(&server, huge, sizeof huge);
    wait_for(&n_down, 1);
    cr_expect_not(gone);
    cr_expect_not_null(strstr(reason, "impossible length"), "%s", reason);
    wait_for(&n_serves, 2);
    unix_server_send(&server, bad, sizeof bad);
    wait_for(&n_down, 2);
    cr_expect_not_null(strstr(reason, "DATA"), "%s", reason);
}

Test(feed, the_first_message_must_be_serves)
{
    says_serves = false;
    wait_for(&server.n_connections, 1);
    send_data('a', 5);
    wait_for(&n_down, 1);
    cr_expect_not_null(strstr(reason, "SERVES"), "%s", reason);
    cr_expect_eq(n_first, 0);
}

Test(feed, nobody_listening_is_gone)
{
    wait_for(&n_serves, 1);
    unix_server_stop(&server);
    memset(server.directory, 0, sizeof server.directory);
    wait_for(&n_down, 2);
    cr_expect(gone);
    cr_expect_not_null(strstr(reason, feed.path), "%s", reason);
}

Test(feed, stops_while_it_holds_off)
{
    wait_for(&n_serves, 1);
    hold = true;
    send_data('a', FEED_MAX_DATA);
    send_data('b', FEED_MAX_DATA);
    wait_for(&n_first, 1);
}
