/* SPDX-License-Identifier: Apache-2.0 */
/* Against a tgtd that answers as the test says. */
#include "agent/target/tgtd.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/loop.h"
#include "tests/unit/agent/target/unix_server.h"

static struct test_loop loop;
static struct unix_server server;
static struct tgtd tgtd;
static unsigned n_snapshots, n_failures;
static size_t n_targets;
static bool gone, stopped;
static char reason[160];

/* How the server answers a whole question. */
static uint32_t answer_error, answer_len;
static const char *answer_text;
static size_t answer_step; /* bytes at a time, 0 = all at once */
static bool answer_hang_up, answer_nothing;

static void on_question(struct unix_server *s)
{
    uint8_t expected[TGTD_REQUEST_BYTES], bytes[512];
    size_t n = strlen(answer_text), step;

    if (s->n_received < TGTD_REQUEST_BYTES || answer_nothing)
        return;
    tgtd_request_show(expected);
    cr_assert_arr_eq(s->received, expected, sizeof expected);
    memcpy(bytes, &answer_error, 4);
    memcpy(bytes + 4, &answer_len, 4);
    memcpy(bytes + 8, answer_text, n);
    step = answer_step ? answer_step : n + 8;
    for (size_t at = 0; at < n + 8; at += step)
        unix_server_send(s, bytes + at, n + 8 - at < step ? n + 8 - at : step);
    if (answer_hang_up)
        unix_server_hang_up(s);
}

static void on_snapshot(void *data, struct snapshot *snapshot)
{
    (void)data;
    n_snapshots++;
    n_targets = snapshot->n_targets;
}

static void on_failed(void *data, bool is_gone, const char *why)
{
    (void)data;
    n_failures++;
    gone = is_gone;
    snprintf(reason, sizeof reason, "%s", why);
}

static const struct snapshot_ops ops = {.on_snapshot = on_snapshot, .on_failed = on_failed};

static void on_stopped(void *data)
{
    (void)data;
    stopped = true;
}

static void answer(const char *text)
{
    answer_text = text;
    answer_len = (uint32_t)strlen(text) + 8;
}

static void setup(void)
{
    test_loop_init(&loop);
    server.on_received = on_question;
    unix_server_start(&server, &loop.loop);
    answer("Target 1: iqn.t\n");
    cr_assert_eq(tgtd_start(&tgtd, &loop.loop, server.path, 10, &ops, NULL), 0);
}

static void teardown(void)
{
    tgtd_stop(&tgtd, on_stopped, NULL);
    if (!test_loop_until(&loop, &stopped))
        abort();
    unix_server_stop(&server);
    test_loop_deinit(&loop);
}

TestSuite(tgtd, .init = setup, .fini = teardown, .timeout = 60);

static bool has_snapshots(void *n)
{
    return n_snapshots >= *(unsigned *)n;
}

static bool has_failures(void *n)
{
    return n_failures >= *(unsigned *)n;
}

static void wait_snapshots(unsigned n)
{
    cr_assert(test_loop_until_true(&loop, has_snapshots, &n));
}

static void wait_failures(unsigned n)
{
    cr_assert(test_loop_until_true(&loop, has_failures, &n));
}

Test(tgtd, looks_again_and_again)
{
    wait_snapshots(3);
    cr_expect_eq(n_targets, 1);
    cr_expect_eq(n_failures, 0);
    answer("Target 1: iqn.t\nTarget 2: iqn.u\n");
    wait_snapshots(n_snapshots + 2);
    cr_expect_eq(n_targets, 2);
    cr_expect_geq(server.n_connections, 4);
}

Test(tgtd, an_answer_may_come_byte_by_byte)
{
    answer_step = 1;
    wait_snapshots(2);
    cr_expect_eq(n_targets, 1);
}

Test(tgtd, no_targets_is_an_answer)
{
    answer("");
    wait_snapshots(2);
    cr_expect_eq(n_targets, 0);
}

Test(tgtd, nobody_listening_is_gone_until_it_listens_again)
{
    wait_snapshots(1);
    unix_server_stop(&server);
    memset(server.directory, 0, sizeof server.directory);
    wait_failures(2);
    cr_expect(gone);
    cr_expect_not_null(strstr(reason, tgtd.path), "%s", reason);
}

Test(tgtd, a_connection_that_ends_early_is_a_failure_but_not_gone)
{
    answer_hang_up = true;
    answer_len += 100;
    wait_failures(2);
    cr_expect_not(gone);
    cr_expect_not_null(strstr(reason, "end of file"), "%s", reason);
    answer_hang_up = false;
    answer("Target 1: iqn.t\n");
    wait_snapshots(1);
}

Test(tgtd, an_error_and_nonsense_are_failures_and_say_which)
{
    answer_error = 4;
    wait_failures(2);
    cr_expect_not_null(strstr(reason, "error 4"), "%s", reason);
    answer_error = 0;
    answer_len = UINT32_MAX;
    wait_failures(n_failures + 2);
    cr_expect_not_null(strstr(reason, "impossible length"), "%s", reason);
    answer("hello\n");
    wait_failures(n_failures + 2);
    cr_expect_not_null(strstr(reason, "no list of targets"), "%s", reason);
    cr_expect_not(gone);
}

Test(tgtd, silence_is_given_up)
{
    answer_nothing = true;
    wait_failures(1);
    cr_expect_str_eq(reason, "no answer within 5 s");
    cr_expect_not(gone);
}

Test(tgtd, stops_in_the_middle_of_a_look)
{
    answer_nothing = true;
    while (server.n_connections == 0)
        uv_run(&loop.loop, UV_RUN_ONCE);
    cr_expect_eq(n_snapshots + n_failures, 0); /* the rest is the teardown's */
}

Test(tgtd, finds_its_socket)
{
    char out[TGTD_PATH_BYTES], longest[TGTD_PATH_BYTES + 1], base[128];

    unsetenv("TGT_IPC_SOCKET");
    cr_assert_eq(tgtd_find_socket("auto", out), 0);
    cr_expect_str_eq(out, "/var/run/tgtd/socket.0");
    setenv("TGT_IPC_SOCKET", server.path, 1);
    cr_assert_eq(tgtd_find_socket("auto", out), 0);
    cr_expect_str_eq(out, server.path, "it is there as it is named");
    snprintf(base, sizeof base, "%s-other", server.path);
    setenv("TGT_IPC_SOCKET", base, 1);
    cr_assert_eq(tgtd_find_socket("auto", out), 0);
    cr_expect_str_eq(out + strlen(out) - 8, "-other.0");
    cr_assert_eq(tgtd_find_socket("/a/socket.7", out), 0);
    cr_expect_str_eq(out, "/a/socket.7");
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    cr_expect_eq(tgtd_find_socket(longest, out), UV_ENAMETOOLONG);
}
