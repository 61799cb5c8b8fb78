/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/iscsi_netlink.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/iscsi/pdu.h"
#include "proto/registry.h"
#include "sensebus/v1/agents.pb-c.h"
#include "sensebus/v1/event.pb-c.h"
#include "tests/lib/loop.h"
#include "tests/unit/agent/source/fake_netlink.h"
#include "tests/unit/agent/source/fake_sysfs.h"
#include "tests/unit/agent/source/netlink_samples.h"

#define TARGET  "iqn.2026-01.example:disks"
#define SESSION "platform/host3/session2/iscsi_session/session2"
#define CONNECT "platform/host3/session2/connection2:0/iscsi_connection/connection2:0"

static struct test_loop loop;
static struct fake_sysfs sysfs;
static struct source *source;
static char story[4096]; /* what was told */
static unsigned n_lost;
static bool armed, stopped;

/* "CODE native 1020.0 3:0:0:4 target portal: detail [sense]" */
static void on_observation(void *data, const struct observation *o)
{
    size_t len = strlen(story);
    int used = snprintf(story + len, sizeof story - len, "%s %s %u.%x %d:%d:%d:%d %s %s: %s",
                        o->code ? registry_find(o->code)->name : "-", o->native.name, o->native.code, o->native.subcode,
                        o->place.host, o->place.channel, o->place.target, (int)o->place.lun,
                        o->target_name ? o->target_name : "-", o->portal ? o->portal : "-", o->native.detail);

    (void)data;
    snprintf(story + len + used, sizeof story - len - (size_t)used, o->sense ? " [%02x/%02x];" : ";",
             o->sense ? o->sense[12] : 0, o->sense ? o->sense[13] : 0);
    cr_assert_eq(o->source, SENSEBUS__V1__SOURCE__SOURCE_ISCSI_NETLINK);
    cr_assert(o->wall_ns > 0 && o->boot_ns > 0 && !o->synthetic);
    /* No byte of struct iscsi_uevent, and of PDUs what the allow-list says. */
    for (size_t i = 0; i < o->native.raw_len; i++)
        cr_assert_neq(o->native.raw[i], 0xa5);
}

static void on_lost(void *data, uint32_t what, uint64_t from, uint64_t to, const char *reason)
{
    (void)data;
    (void)what;
    (void)from;
    (void)to;
    (void)reason;
    n_lost++;
}

static void on_coverage(void *data, uint32_t what, uint32_t state, const char *reason)
{
    (void)data;
    (void)what;
    (void)reason;
    armed = state == SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED;
}

static void on_doubt(void *data, uint32_t what)
{
    (void)data;
    (void)what;
}

static const struct source_ops ops = {
    .on_observation = on_observation, .on_lost = on_lost, .on_doubt = on_doubt, .on_coverage = on_coverage};

static void on_stopped(void *data)
{
    *(bool *)data = true;
}

static void add_session(const char *state)
{
    fake_sysfs_add(&sysfs, "iscsi_session", SESSION, "state", state);
    fake_sysfs_write(&sysfs, "devices/" SESSION "/targetname", TARGET);
    fake_sysfs_write(&sysfs, "devices/" SESSION "/tpgt", "1");
    fake_sysfs_write(&sysfs, "devices/" SESSION "/device/target3:0:0/uevent", "");
    fake_sysfs_add(&sysfs, "iscsi_connection", CONNECT, "persistent_address", "192.0.2.1");
    fake_sysfs_write(&sysfs, "devices/" CONNECT "/persistent_port", "3260");
}

static void start(void)
{
    struct source_options options = {.loop = &loop.loop, .sysfs_root = sysfs.root, .poll_ms = 10};

    fake_sysfs_write(&sysfs, "class/iscsi_transport/tcp", "");
    cr_assert_eq(iscsi_netlink_source.start(&options, &ops, NULL, &source), 0);
    cr_assert(test_loop_until(&loop, &armed));
    cr_assert(fake_netlink.group.protocol == 8 && fake_netlink.group.number == 1);
}

static void setup(void)
{
    test_loop_init(&loop);
    fake_sysfs_make(&sysfs);
}

static void teardown(void)
{
    if (source)
        iscsi_netlink_source.stop(source, on_stopped, &stopped);
    if (source)
        test_loop_until(&loop, &stopped);
    test_loop_deinit(&loop);
    fake_sysfs_remove(&sysfs);
}

TestSuite(iscsi_netlink, .init = setup, .fini = teardown);

static const char *tell(struct sample s)
{
    story[0] = 0;
    fake_netlink_send(0, s.bytes, s.len);
    return story;
}

#define LOGGED_IN sample_iscsi_pdu(2, PDU_LOGIN_RESPONSE, 0x87, 0, 0, "\xa5\xa5", 2)
#define WHERE     "3:-1:-1:-1 " TARGET " 192.0.2.1:3260,1: "

Test(iscsi_netlink, tells_the_life_of_a_session)
{
    start();
    cr_assert_str_eq(tell(sample_iscsi(106, 2, 3, 0)), "- CREATE_SESSION 106.0 3:-1:-1:-1 - -: ;");
    add_session("LOGGED_IN");
    cr_assert_str_eq(tell(LOGGED_IN), "SESSION_STARTED login-response 0.0 " WHERE "logged in;");
    cr_assert_str_eq(tell(sample_iscsi(102, 2, 0, 1020)),
                     "NEXUS_LOST CONN_ERROR 1020.0 " WHERE "TCP connection closed;");
    cr_assert_str_eq(tell(sample_iscsi_pdu(2, PDU_LOGIN_RESPONSE, 0, 2, 3, "\xa5", 1)),
                     "LOGIN_FAILED login-response 2.203 " WHERE "target not found;");
    cr_assert_str_eq(tell(LOGGED_IN), "NEXUS_RESTORED login-response 0.0 " WHERE "logged in;");
    cr_assert_str_eq(tell(sample_iscsi(105, 2, 3, 0)), "SESSION_STOPPED UNBIND_SESSION 105.0 " WHERE ";");
    fake_sysfs_delete(&sysfs, "class/iscsi_session/session2");
    cr_assert_str_eq(tell(sample_iscsi(104, 3, 2, 0)), "- DESTROY_SESSION 104.0 " WHERE ";");
}

Test(iscsi_netlink, tells_an_asynchronous_message_with_unit_and_sense)
{
    add_session("LOGGED_IN");
    start();
    cr_assert_str_eq(tell(sample_iscsi_async()), "REPORTED_LUNS_CHANGED async-message 0.5a 3:0:0:0 " TARGET
                                                 " 192.0.2.1:3260,1: SCSI asynchronous event [3f/0e];");
    cr_assert_str_eq(tell(sample_iscsi_pdu(2, PDU_ASYNC_MESSAGE, 0x80, 255, 9, "vendor", 6)),
                     "VENDOR_SPECIFIC async-message 255.9 " WHERE "vendor specific;");
}

Test(iscsi_netlink, knows_the_sessions_that_were_there_before)
{
    add_session("FAILED");
    start();
    cr_assert_str_eq(tell(sample_iscsi(102, 2, 0, 1011)), "- CONN_ERROR 1011.0 " WHERE "connection failed;");
    cr_assert_str_eq(tell(LOGGED_IN), "NEXUS_RESTORED login-response 0.0 " WHERE "logged in;");
}

Test(iscsi_netlink, after_a_loss_sysfs_says_what_the_next_message_means)
{
    add_session("LOGGED_IN");
    start();
    fake_netlink_lose("the kernel's queue was full");
    cr_assert_eq(n_lost, 1);
    fake_sysfs_write(&sysfs, "devices/" SESSION "/state", "FAILED");
    story[0] = 0;
    iscsi_netlink_source.resync(source);
    cr_assert_str_eq(story, "", "what is now is the sysfs source's to tell");
    cr_assert_str_eq(tell(LOGGED_IN), "NEXUS_RESTORED login-response 0.0 " WHERE "logged in;");
}

Test(iscsi_netlink, a_session_that_was_never_told_of_was_there)
{
    start();
    cr_assert_str_eq(tell(sample_iscsi(102, 9, 0, 1022)),
                     "NEXUS_LOST CONN_ERROR 1022.0 -1:-1:-1:-1 - -: NOP-Out was not answered;");
}

Test(iscsi_netlink, tells_links_of_adapters)
{
    start();
    cr_assert_str_eq(tell(sample_iscsi(110, 4, 0, 1)), "LINK_UP HOST_EVENT 110.1 4:-1:-1:-1 - -: ;");
    cr_assert_str_eq(tell(sample_iscsi(110, 4, 0, 2)), "LINK_DOWN HOST_EVENT 110.2 4:-1:-1:-1 - -: ;");
    cr_assert_str_eq(tell(sample_iscsi(108, 4, 0, 0)), "LINK_DOWN IF_DOWN 108.0 4:-1:-1:-1 - -: ;");
}

Test(iscsi_netlink, other_payloads_and_garbage_tell_nothing)
{
    struct sample s = sample_iscsi_async();

    start();
    cr_assert_str_eq(tell(sample_iscsi_pdu(2, PDU_TEXT_RESPONSE, 0x80, 0, 0, "CHAP_R=1", 8)), "");
    cr_assert_str_eq(tell(sample_iscsi_pdu(2, PDU_LOGIN_RESPONSE, 0x81, 0, 0, "CHAP_R=1", 8)), "");
    for (size_t len = 0; len < SAMPLE_UEVENT_BYTES + 48; len++) {
        s.len = len;
        cr_assert_str_eq(tell(s), "", "%zu bytes", len);
    }
}

Test(iscsi_netlink, writes_an_address_of_ipv6_in_brackets)
{
    add_session("LOGGED_IN");
    fake_sysfs_write(&sysfs, "devices/" CONNECT "/persistent_address", "2001:db8::1");
    fake_sysfs_write(&sysfs, "devices/" SESSION "/tpgt", "(null)");
    start();
    tell(sample_iscsi(102, 2, 0, 1020));
    cr_assert(strstr(story, " [2001:db8::1]:3260: "), "%s", story);
}
