/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/proto/grpc/pair.h"

static struct pair pair;
static struct pair *p = &pair;

static void setup(void)
{
    pair_init(p, NULL, NULL, "127.0.0.1:0");
}

static void teardown(void)
{
    pair_deinit(p);
}

TestSuite(call, .init = setup, .fini = teardown);

Test(call, unary_brings_the_reply_and_ok)
{
    struct probe client;
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
    struct probe client;
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

Test(call, messages_go_both_ways_in_order)
{
    struct probe client;
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
