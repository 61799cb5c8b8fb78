/* SPDX-License-Identifier: Apache-2.0 */
/* On the kernel's own routing sockets, which every Linux has and anybody may ask. */
#include "agent/source/netlink.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/loop.h"

struct question {
    struct nlmsghdr header;
    struct ifinfomsg link;
};

static struct test_loop loop;
static struct netlink *n;
static unsigned n_messages, n_lost, n_malformed, n_forged;
static uint16_t type;
static bool heard, lost, closed, close_when_heard;

static void on_closed(void *data)
{
    *(bool *)data = true;
}

static void on_message(void *data, const struct netlink_message *message)
{
    (void)data;
    n_messages++;
    type = message->type;
    cr_assert_geq(message->len, sizeof(struct ifinfomsg));
    heard = true;
    if (close_when_heard)
        netlink_close(n, on_closed, &closed);
}

static void on_lost(void *data, const char *reason)
{
    (void)data;
    cr_assert_str_eq(reason, "the kernel's queue was full");
    n_lost++;
    lost = true;
}

static void on_malformed(void *data, size_t len)
{
    (void)data;
    (void)len;
    n_malformed++;
}

static void on_forged(void *data, uint32_t port, uint64_t total)
{
    (void)data;
    cr_assert(port != 0 && total == ++n_forged);
}

static const struct netlink_ops ops = {
    .on_message = on_message, .on_lost = on_lost, .on_malformed = on_malformed, .on_forged = on_forged};

static void setup(void)
{
    static const struct netlink_group group = {.protocol = NETLINK_ROUTE};

    test_loop_init(&loop);
    cr_assert_eq(netlink_open(&loop.loop, &group, &ops, NULL, &n), 0);
}

static void teardown(void)
{
    if (!closed)
        netlink_close(n, on_closed, &closed);
    test_loop_until(&loop, &closed);
    test_loop_deinit(&loop);
}

TestSuite(netlink, .init = setup, .fini = teardown);

/* The kernel answers with one link, the loopback device, or with all. */
static void ask(bool all)
{
    struct question q = {
        .header = {.nlmsg_len = sizeof q,
                   .nlmsg_type = RTM_GETLINK,
                   .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | (all ? NLM_F_DUMP : 0))},
        .link = {.ifi_index = 1},
    };

    cr_assert_eq(netlink_send(n, &q, sizeof q), 0);
}

Test(netlink, hands_on_what_the_kernel_sends)
{
    ask(false);
    cr_assert(test_loop_until(&loop, &heard));
    cr_assert(type == RTM_NEWLINK && n_messages == 1);
    heard = false;
    ask(true); /* ends with a message of netlink itself, which is not handed on */
    cr_assert(test_loop_until(&loop, &heard));
    test_loop_for(&loop, 1);
    cr_assert(type == RTM_NEWLINK && n_malformed == 0 && n_lost == 0);
}

Test(netlink, tells_that_messages_were_lost_and_goes_on)
{
    cr_assert_eq(netlink_set_receive_bytes(n, 4096), 0);
    for (int i = 0; i < 64; i++)
        ask(false);
    cr_assert(test_loop_until(&loop, &lost));
    cr_assert_eq(n_lost, 1);
    n_messages = 0;
    heard = false;
    ask(false);
    cr_assert(test_loop_until(&loop, &heard));
}

Test(netlink, drops_what_another_process_sends)
{
    struct question q = {.header = {.nlmsg_len = sizeof q, .nlmsg_type = RTM_NEWLINK}};
    /* The first socket of a process has its number as the port. */
    struct sockaddr_nl to = {.nl_family = AF_NETLINK, .nl_pid = (uint32_t)getpid()};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    ssize_t sent = sendto(fd, &q, sizeof q, 0, (struct sockaddr *)&to, sizeof to);

    close(fd);
    if (sent < 0 && errno == EPERM)
        cr_skip_test("this process may not send to others on this protocol");
    cr_assert_eq(sent, sizeof q);
    ask(false);
    cr_assert(test_loop_until(&loop, &heard));
    cr_assert(n_messages == 1 && n_forged == 1);
}

Test(netlink, nothing_comes_once_it_is_closed)
{
    close_when_heard = true;
    for (int i = 0; i < 8; i++)
        ask(true);
    cr_assert(test_loop_until(&loop, &closed));
    cr_assert_eq(n_messages, 1);
}

Test(netlink, finds_the_groups_of_generic_families_by_name)
{
    static const struct {
        struct netlink_group group;
        int rc;
    } cases[] = {
        {{.protocol = NETLINK_GENERIC, .family = "nlctrl", .name = "notify"}, 0},
        {{.protocol = NETLINK_GENERIC, .family = "nlctrl", .name = "config"}, UV_ENOENT},
        {{.protocol = NETLINK_GENERIC, .family = "no-such-one", .name = "config"}, UV_ENOENT},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_assert_eq(netlink_probe(&cases[i].group), cases[i].rc, "case %zu", i);
}

Test(netlink, finds_out_where_the_kernel_does_not_listen)
{
    /* This protocol is for processes among themselves. */
    static const struct netlink_group nobody = {.protocol = NETLINK_USERSOCK}, unknown = {.protocol = 31};

    cr_assert_eq(netlink_probe(&nobody), UV_ECONNREFUSED);
    cr_assert_lt(netlink_probe(&unknown), 0);
}
