/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/tcmu.h"

#include <linux/netlink.h>

#include "agent/source/netlink_source.h"
#include "agent/source/tcmu_message.h"
#include "runtime/clock.h"
#include "sensebus/v1/event.pb-c.h"

#define DETAIL_BYTES 240

struct source {
    struct netlink_source base;
};

static bool on_message(struct netlink_source *s, const struct netlink_message *message)
{
    struct tcmu_message m;
    char detail[DETAIL_BYTES];
    int rc = tcmu_parse(message->payload, message->len, &m);
    struct observation o = {
        .source = SENSEBUS__V1__SOURCE__SOURCE_TARGET,
        .place = {.host = -1, .channel = -1, .target = -1, .lun = -1},
        .wall_ns = clock_wall_ns(),
        .boot_ns = clock_boot_ns(),
    };

    if (rc == UV_ENOENT)
        return true;
    if (rc < 0)
        return false;
    tcmu_describe(&m, detail, sizeof detail);
    o.code = m.code;
    o.native = (struct record_native){
        .name = tcmu_command_name(m.command),
        .code = m.command,
        .raw = message->payload,
        .raw_len = message->len,
        .parameters = {m.minor},
        .n_parameters = 1,
        .detail = detail,
    };
    s->ops->on_observation(s->data, &o);
    return true;
}

/* ------------------------------------------------------------------------------------------------ life */

static const struct netlink_source_kind kind = {
    .name = "tcmu",
    .source = SENSEBUS__V1__SOURCE__SOURCE_TARGET,
    .bytes = sizeof(struct source),
    .group = {.protocol = NETLINK_GENERIC, .family = "TCM-USER", .name = "config"},
    .gate = "module/target_core_user",
    .absent = "target_core_user is not loaded: no backstore of LIO is served by a program here",
    .on_message = on_message,
};

static int start(const struct source_options *options, const struct source_ops *ops, void *data,
                 struct source **out_source)
{
    return netlink_source_start(&kind, options, ops, data, out_source);
}

static uint32_t check(const struct source_options *options, char *reason, size_t reason_len)
{
    return netlink_source_check(&kind, options, reason, reason_len);
}

const struct source_api tcmu_source = {
    .name = "tcmu",
    .source = SENSEBUS__V1__SOURCE__SOURCE_TARGET,
    .off_because =
        "off unless --source tcmu=on: a listener can make LIO wait for a handler that died (docs/sources.md)",
    .start = start,
    .stop = netlink_source_stop,
    .last_proof = netlink_source_last_proof,
    .check = check,
};
