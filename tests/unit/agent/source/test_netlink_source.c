/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/netlink_source.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "runtime/clock.h"
#include "sensebus/v1/agents.pb-c.h"
#include "sensebus/v1/event.pb-c.h"
#include "tests/lib/loop.h"
#include "tests/unit/agent/source/fake_netlink.h"
#include "tests/unit/agent/source/fake_sysfs.h"
#include "tests/unit/agent/source/recorder.h"

#define OFF   SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF
#define ARMED SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED

struct source {
    struct netlink_source base;
};

static struct test_loop loop;
static struct fake_sysfs sysfs;
static struct recorder r;
static struct source_options options;
static struct source *source;
static unsigned n_armed, n_freed;
static bool understood;

static void on_armed(struct netlink_source *s)
{
    (void)s;
    n_armed++;
}

static bool on_message(struct netlink_source *s, const struct netlink_message *message)
{
    (void)s;
    (void)message;
    return understood;
}

static void deinit(struct netlink_source *s)
{
    (void)s;
    n_freed++;
}

static const struct netlink_source_kind kind = {
    .name = "a-netlink",
    .source = SENSEBUS__V1__SOURCE__SOURCE_FC_NETLINK,
    .bytes = sizeof(struct source),
    .group = {.protocol = 18, .number = 4},
    .gate = "class/fc_host",
    .absent = "the module is not loaded",
    .on_armed = on_armed,
    .on_message = on_message,
    .deinit = deinit,
};

static void setup(void)
{
    test_loop_init(&loop);
    fake_sysfs_make(&sysfs);
    options = (struct source_options){.loop = &loop.loop, .sysfs_root = sysfs.root, .poll_ms = 10};
    cr_assert_eq(netlink_source_start(&kind, &options, &recorder_ops, &r, &source), 0);
    cr_assert(r.n_coverage == 0 && fake_netlink.n_opened == 0);
}

static void teardown(void)
{
    netlink_source_stop(source, recorder_stopped, &r);
    test_loop_until(&loop, &r.stopped);
    test_loop_deinit(&loop);
    fake_sysfs_remove(&sysfs);
    if (n_freed != 1 || fake_netlink.n_closed != fake_netlink.n_opened)
        abort();
}

TestSuite(netlink_source, .init = setup, .fini = teardown);

static bool is_state(void *data)
{
    return r.state == *(uint32_t *)data;
}

static bool is_opened_twice(void *data)
{
    (void)data;
    return fake_netlink.n_opened == 2;
}

static void wait_for(uint32_t state)
{
    cr_assert(test_loop_until_true(&loop, is_state, &state));
}

static void load_module(void)
{
    fake_sysfs_write(&sysfs, "class/fc_host/anything", "");
}

Test(netlink_source, opens_nothing_until_its_module_is_there)
{
    char reason[SOURCE_REASON_BYTES];

    wait_for(OFF);
    test_loop_for(&loop, 50);
    cr_assert(r.n_coverage == 1 && fake_netlink.n_opened == 0);
    cr_assert_str_eq(r.reason, "the module is not loaded");
    cr_assert_eq(netlink_source_check(&kind, &options, reason, sizeof reason), OFF);
    cr_assert_str_eq(reason, "the module is not loaded");
    load_module();
    wait_for(ARMED);
    cr_assert(fake_netlink.n_opened == 1 && n_armed == 1 && fake_netlink.group.number == 4);
    cr_assert_str_eq(r.reason, "");
    cr_assert_eq(netlink_source_check(&kind, &options, reason, sizeof reason), ARMED);
    cr_assert_str_eq(reason, "");
}

Test(netlink_source, says_what_is_in_its_way_and_what_helps)
{
    static const struct {
        int rc;
        const char *word;
    } cases[] = {
        {UV_EPERM, "CAP_NET_ADMIN"},      {UV_EACCES, "CAP_NET_ADMIN"},   {UV_ECONNREFUSED, "network namespace"},
        {UV_EPROTONOSUPPORT, "protocol"}, {UV_ENOENT, "generic netlink"}, {UV_ENOMEM, "not enough memory"},
    };

    load_module();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char reason[SOURCE_REASON_BYTES];

        fake_netlink.rc = cases[i].rc;
        cr_assert_eq(netlink_source_check(&kind, &options, reason, sizeof reason), OFF);
        cr_assert(strstr(reason, cases[i].word), "%s", reason);
        cr_assert_lt(strlen(reason), SOURCE_REASON_BYTES - 1, "it is cut");
    }
    fake_netlink.rc = UV_EPERM;
    wait_for(OFF);
    cr_assert(strstr(r.reason, "CAP_NET_ADMIN"));
    fake_netlink.rc = 0;
    wait_for(ARMED);
}

Test(netlink_source, notices_that_its_module_is_another_one_or_gone)
{
    char old[128], new[128];

    load_module();
    wait_for(ARMED);
    fake_sysfs_write(&sysfs, "class/other/anything", ""); /* while the old one is there: another inode */
    snprintf(old, sizeof old, "%s/class/fc_host", sysfs.root);
    snprintf(new, sizeof new, "%s/class/other", sysfs.root);
    fake_sysfs_delete(&sysfs, "class/fc_host/anything");
    cr_assert_eq(rename(new, old), 0);
    cr_assert(test_loop_until_true(&loop, is_opened_twice, NULL));
    cr_assert(n_armed == 2 && r.state == ARMED);
    fake_sysfs_delete(&sysfs, "class/fc_host");
    wait_for(OFF);
    cr_assert_str_eq(r.reason, "the module is not loaded");
}

Test(netlink_source, loss_lies_between_the_last_message_and_now)
{
    uint64_t before, heard;

    load_module();
    wait_for(ARMED);
    cr_assert_eq(netlink_source_last_proof(source), 0);
    before = clock_wall_ns();
    understood = true;
    fake_netlink_send(0x11, "", 0);
    heard = netlink_source_last_proof(source);
    cr_assert(before <= heard && heard <= clock_wall_ns());
    fake_netlink_lose("why");
    cr_assert_eq(r.n_lost, 1);
    cr_assert_str_eq(r.lost_reason, "why");
    cr_assert(r.lost_from == heard && r.lost_to >= heard && r.lost_to <= clock_wall_ns());
    fake_netlink_lose("why");
    cr_assert_geq(r.lost_from, heard);
}

Test(netlink_source, goes_on_after_what_it_does_not_understand)
{
    load_module();
    wait_for(ARMED);
    understood = false;
    fake_netlink_send(0x11, "", 0);
    fake_netlink_garble();
    cr_assert(r.n_lost == 0 && r.state == ARMED);
    cr_assert_eq(r.n_doubts, 2, "it may have told something");
}

Test(netlink_source, what_is_forged_proves_nothing_and_changes_nothing)
{
    load_module();
    wait_for(ARMED);
    fake_netlink_forge();
    cr_assert_eq(netlink_source_last_proof(source), 0);
    cr_assert(r.n == 0 && r.n_lost == 0 && r.n_doubts == 0 && r.state == ARMED);
}

Test(netlink_source, reads_one_line_of_a_file)
{
    const struct netlink_source *s = &source->base;
    char text[8], path[NETLINK_SOURCE_PATH_BYTES], longer[1200];

    fake_sysfs_write(&sysfs, "class/a/b", "one");
    cr_assert_eq(netlink_source_read(s, text, sizeof text, "class/%s/b", "a"), 0);
    cr_assert_str_eq(text, "one");
    fake_sysfs_write(&sysfs, "class/a/b", "longer than it may be");
    cr_assert_eq(netlink_source_read(s, text, sizeof text, "class/a/b"), 0);
    cr_assert_str_eq(text, "longer ");
    fake_sysfs_write(&sysfs, "class/a/b", "(null)");
    cr_assert_eq(netlink_source_read(s, text, sizeof text, "class/a/b"), UV_ENXIO);
    cr_assert_str_eq(text, "");
    fake_sysfs_write(&sysfs, "class/a/b", "");
    cr_assert_eq(netlink_source_read(s, text, sizeof text, "class/a/b"), UV_ENXIO);
    cr_assert_eq(netlink_source_read(s, text, sizeof text, "class/a/c"), UV_ENOENT);
    cr_assert_eq(netlink_source_read(s, text, sizeof text, "class/a"), UV_EISDIR);
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    cr_assert_eq(netlink_source_path(s, path, "class/%s", longer), UV_ENAMETOOLONG);
    cr_assert_eq(netlink_source_read(s, text, sizeof text, "class/%s", longer), UV_ENAMETOOLONG);
}
