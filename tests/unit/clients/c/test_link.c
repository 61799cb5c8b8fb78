/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/c/link.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/unit/clients/c/fake_broker.h"

struct watcher {
    struct link *link;
    bool up, down;
    unsigned n_ups, n_downs;
    uint32_t retry_ms[16];
    char reason[256];
    bool close_on_up, close_on_down;
};

static void on_up(struct link *link, void *data)
{
    struct watcher *w = data;
    w->up = true;
    w->n_ups++;
    cr_assert_not_null(link_channel(link));
    if (w->close_on_up)
        link_close(link);
}

static void on_down(struct link *link, void *data, const char *reason, uint32_t retry_ms)
{
    struct watcher *w = data;
    cr_assert_null(link_channel(link));
    w->up = false;
    w->down = true;
    if (w->n_downs < 16)
        w->retry_ms[w->n_downs] = retry_ms;
    w->n_downs++;
    snprintf(w->reason, sizeof w->reason, "%s", reason);
    if (w->close_on_down)
        link_close(link);
}

static const struct link_ops OPS = {.on_up = on_up, .on_down = on_down};

static void open_link(struct fake_broker *b, struct watcher *w, bool once)
{
    const struct link_options options = {.address = b->address, .once = once, .backoff = {.min_ms = 10, .max_ms = 200}};
    cr_assert_eq(link_open(&b->loop.loop, &options, &OPS, w, &w->link), 0);
    cr_assert_eq(w->n_ups + w->n_downs, 0, "no callback before link_open returned");
    cr_assert_null(link_channel(w->link));
}

Test(link, comes_up_and_comes_back_after_a_loss)
{
    struct fake_broker b;
    struct watcher w = {0};
    fake_broker_init(&b);
    fake_broker_up(&b);
    open_link(&b, &w, false);
    cr_assert(test_loop_until(&b.loop, &w.up));
    fake_broker_down(&b);
    cr_assert(test_loop_until(&b.loop, &w.down));
    cr_expect_geq(w.retry_ms[0], 5);
    cr_expect_leq(w.retry_ms[0], 200);
    cr_expect_neq(w.reason[0], 0);
    fake_broker_up(&b);
    cr_assert(test_loop_until(&b.loop, &w.up));
    cr_expect_eq(w.n_ups, 2);
    link_close(w.link);
    fake_broker_deinit(&b);
}

static bool failed_often(void *data)
{
    return ((struct watcher *)data)->n_downs >= 8;
}

Test(link, waits_longer_each_time_while_nobody_is_there)
{
    struct fake_broker b;
    struct watcher w = {0};
    fake_broker_init(&b);
    open_link(&b, &w, false);
    cr_assert(test_loop_until_true(&b.loop, failed_often, &w));
    cr_expect_leq(w.retry_ms[0], 10);
    cr_expect_geq(w.retry_ms[7], 100, "at least half of the longest");
    cr_expect_leq(w.retry_ms[7], 200);
    fake_broker_up(&b);
    cr_assert(test_loop_until(&b.loop, &w.up));
    link_close(w.link);
    fake_broker_deinit(&b);
}

Test(link, once_does_not_dial_again)
{
    struct fake_broker b;
    struct watcher w = {0};
    fake_broker_init(&b);
    open_link(&b, &w, true);
    cr_assert(test_loop_until(&b.loop, &w.down));
    cr_expect_eq(w.retry_ms[0], UINT32_MAX);
    fake_broker_up(&b);
    test_loop_for(&b.loop, 100);
    cr_expect_eq(w.n_ups, 0);
    link_close(w.link);
    fake_broker_deinit(&b);
}

Test(link, may_be_closed_in_its_callbacks)
{
    struct fake_broker b;
    struct watcher up = {.close_on_up = true}, down = {.close_on_down = true};
    fake_broker_init(&b);
    open_link(&b, &down, false);
    cr_assert(test_loop_until(&b.loop, &down.down));
    fake_broker_up(&b);
    open_link(&b, &up, false);
    cr_assert(test_loop_until(&b.loop, &up.up));
    test_loop_for(&b.loop, 100);
    cr_expect_eq(up.n_ups + up.n_downs, 1, "nothing came after link_close");
    cr_expect_eq(down.n_ups + down.n_downs, 1);
    fake_broker_deinit(&b);
}

Test(link, may_be_closed_while_dialling)
{
    struct fake_broker b;
    struct watcher w = {0};
    fake_broker_init(&b);
    fake_broker_up(&b);
    open_link(&b, &w, false);
    link_close(w.link);
    test_loop_for(&b.loop, 50);
    cr_expect_eq(w.n_ups + w.n_downs, 0);
    fake_broker_deinit(&b);
}

Test(link, a_wrong_address_is_refused_at_once)
{
    struct fake_broker b;
    struct watcher w = {0};
    fake_broker_init(&b);
    const struct link_options options = {.address = "no port"};
    cr_expect_eq(link_open(&b.loop.loop, &options, &OPS, &w, &w.link), UV_EINVAL);
    fake_broker_deinit(&b);
}

Test(link, plaintext_stays_on_this_machine_unless_insecure)
{
    static const char *const beyond[] = {"192.0.2.1:7070", "[2001:db8::1]:7070", "broker.invalid:7070", "0.0.0.0:7070"};
    struct fake_broker b;
    struct watcher w = {0};
    fake_broker_init(&b);
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++) {
        struct link_options options = {.address = beyond[i], .once = true};
        cr_expect_eq(link_open(&b.loop.loop, &options, &OPS, &w, &w.link), UV_EACCES, "%s", beyond[i]);
        options.insecure = true;
        cr_assert_eq(link_open(&b.loop.loop, &options, &OPS, &w, &w.link), 0, "%s", beyond[i]);
        link_close(w.link);
    }
    cr_expect_eq(w.n_ups + w.n_downs, 0);
    fake_broker_deinit(&b);
}
