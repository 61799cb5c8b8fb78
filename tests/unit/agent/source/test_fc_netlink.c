/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/fc_netlink.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "proto/registry.h"
#include "sensebus/v1/agents.pb-c.h"
#include "sensebus/v1/event.pb-c.h"
#include "tests/lib/loop.h"
#include "tests/unit/agent/source/fake_netlink.h"
#include "tests/unit/agent/source/fake_sysfs.h"
#include "tests/unit/agent/source/netlink_samples.h"
#include "tests/unit/agent/source/recorder.h"

static struct test_loop loop;
static struct fake_sysfs sysfs;
static struct recorder r;
static struct source *source;

static bool is_armed(void *data)
{
    (void)data;
    return r.state == SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED;
}

static void setup(void)
{
    struct source_options options = {.loop = &loop.loop, .sysfs_root = sysfs.root, .poll_ms = 10};

    test_loop_init(&loop);
    fake_sysfs_make(&sysfs);
    fake_sysfs_add(&sysfs, "fc_host", "pci/host5/fc_host/host5", "port_name", "0x2000001b32000005");
    cr_assert_eq(fc_netlink_source.start(&options, &recorder_ops, &r, &source), 0);
    cr_assert(test_loop_until_true(&loop, is_armed, NULL));
    cr_assert(fake_netlink.group.protocol == 18 && fake_netlink.group.number == 4);
}

static void teardown(void)
{
    fc_netlink_source.stop(source, recorder_stopped, &r);
    test_loop_until(&loop, &r.stopped);
    test_loop_deinit(&loop);
    fake_sysfs_remove(&sysfs);
}

TestSuite(fc_netlink, .init = setup, .fini = teardown);

/* What was told, one line each: "CODE native host: detail". */
static const char *tell(struct sample s)
{
    static char story[1024];
    size_t len = 0;

    recorder_clear(&r);
    fake_netlink_send(0x11, s.bytes, s.len);
    story[0] = 0;
    for (size_t i = 0; i < r.n; i++)
        len += (size_t)snprintf(story + len, sizeof story - len, "%s %s %x %d: %s\n",
                                registry_find(r.seen[i].o.code)->name, r.seen[i].name, r.seen[i].o.native.code,
                                r.seen[i].o.place.host, r.seen[i].detail);
    return story;
}

Test(fc_netlink, tells_events_with_the_name_of_the_port)
{
    static const uint32_t tags[] = {0x20001, 0x20004};

    cr_assert_str_eq(tell(sample_fc_lipreset()),
                     "LOOP_RESET FCH_EVT_LIPRESET 4 5: port naa.2000001b32000005 of host5\n");
    cr_assert_str_eq(tell(sample_fc(6, 1, 2, "\0\0\0\0", 4)), "LINK_UP FCH_EVT_LINKUP 2 6: port of host6\n");
    cr_assert_str_eq(tell(sample_fc(6, 1, 5, "\4\3\2\1", 4)),
                     "FABRIC_STATE_CHANGE FCH_EVT_RSCN 5 6: port of host6, page 01020304\n");
    cr_assert_str_eq(tell(sample_fc(6, 1, 0xffff, "vendor", 6)),
                     "VENDOR_SPECIFIC FCH_EVT_VENDOR_UNIQUE ffff 6: port of host6, vendor 0500e0c900000001\n");
    cr_assert_str_eq(tell(sample_fc_fpin(tags, 2)), "FPIN_LINK_INTEGRITY FCH_EVT_LINK_FPIN 501 3: port of host3\n"
                                                    "FPIN_CONGESTION FCH_EVT_LINK_FPIN 501 3: port of host3\n");
    cr_assert(r.seen[0].o.source == SENSEBUS__V1__SOURCE__SOURCE_FC_NETLINK && r.seen[0].o.place.lun == -1);
}

Test(fc_netlink, what_is_no_event_or_not_whole_tells_nothing)
{
    struct sample s = sample_fc_lipreset();

    for (size_t len = 0; len < s.len; len++) {
        struct sample cut = s;

        cut.len = len;
        cr_assert_str_eq(tell(cut), "", "%zu bytes", len);
    }
    s.bytes[1] = 2; /* another transport */
    cr_assert_str_eq(tell(s), "");
}
