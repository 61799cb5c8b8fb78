/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/c/unary.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "clients/c/link.h"
#include "proto/message.h"
#include "sensebus/v1/admin.pb-c.h"
#include "tests/unit/clients/c/fake_broker.h"

struct answer {
    struct link *link;
    bool up, done;
    int status;
    char message[200], version[20];
    bool has_reply;
};

static void on_answer(void *data, int status, const char *message, struct ProtobufCMessage *reply)
{
    struct answer *a = data;
    cr_assert_not(a->done, "exactly once");
    a->done = true;
    a->status = status;
    a->has_reply = reply != NULL;
    snprintf(a->message, sizeof a->message, "%s", message);
    if (reply)
        snprintf(a->version, sizeof a->version, "%s", ((Sensebus__V1__GetBrokerResponse *)reply)->version);
    message_free(reply);
}

static void on_up(struct link *link, void *data)
{
    (void)link;
    ((struct answer *)data)->up = true;
}

static void on_down(struct link *link, void *data, const char *reason, uint32_t retry_ms)
{
    (void)link;
    (void)reason;
    (void)retry_ms;
    ((struct answer *)data)->up = false;
}

static const struct link_ops OPS = {.on_up = on_up, .on_down = on_down};

static void begin(struct fake_broker *b, struct answer *a)
{
    const struct link_options options = {.address = b->address, .once = true};
    cr_assert_eq(link_open(&b->loop.loop, &options, &OPS, a, &a->link), 0);
    cr_assert(test_loop_until(&b->loop, &a->up));
    Sensebus__V1__GetBrokerRequest request = SENSEBUS__V1__GET_BROKER_REQUEST__INIT;
    cr_assert_eq(unary_call(link_channel(a->link), "/sensebus.v1.Admin/GetBroker", 5000, &request.base,
                            &sensebus__v1__get_broker_response__descriptor, on_answer, a),
                 0);
    cr_assert_not(a->done);
}

static struct answer ask(unsigned n_replies, int status, bool garbage)
{
    struct fake_broker b;
    struct answer a = {0};
    fake_broker_init(&b);
    b.n_replies = n_replies;
    b.status = status;
    b.garbage = garbage;
    fake_broker_up(&b);
    begin(&b, &a);
    cr_assert(test_loop_until(&b.loop, &a.done));
    link_close(a.link);
    fake_broker_deinit(&b);
    return a;
}

Test(unary, one_reply_is_the_answer)
{
    struct answer a = ask(1, 0, false);
    cr_expect_eq(a.status, GRPC_OK, "%s", a.message);
    cr_expect_str_eq(a.version, "7.7");
}

Test(unary, a_status_is_handed_on)
{
    struct answer a = ask(0, GRPC_PERMISSION_DENIED, false);
    cr_expect_eq(a.status, GRPC_PERMISSION_DENIED);
    cr_expect_str_eq(a.message, "not you");
    cr_expect_not(a.has_reply);
}

Test(unary, a_reply_before_a_failure_does_not_count)
{
    struct answer a = ask(1, GRPC_ABORTED, false);
    cr_expect_eq(a.status, GRPC_ABORTED);
    cr_expect_not(a.has_reply);
}

Test(unary, none_or_two_replies_are_the_brokers_mistake)
{
    cr_expect_eq(ask(0, 0, false).status, GRPC_INTERNAL);
    cr_expect_eq(ask(2, 0, false).status, GRPC_INTERNAL);
}

Test(unary, a_reply_that_does_not_decode_is_the_brokers_mistake)
{
    cr_expect_eq(ask(1, 0, true).status, GRPC_INTERNAL);
}

Test(unary, a_link_closed_under_it_ends_it)
{
    struct fake_broker b;
    struct answer a = {0};
    fake_broker_init(&b);
    fake_broker_up(&b);
    begin(&b, &a);
    link_close(a.link);
    cr_assert_not(a.done, "not before link_close returned");
    cr_assert(test_loop_until(&b.loop, &a.done));
    cr_expect_eq(a.status, GRPC_CANCELLED);
    fake_broker_deinit(&b);
}
