/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/fc_netlink.h"

#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>

#include "agent/source/fc_netlink_message.h"
#include "agent/source/netlink_source.h"
#include "runtime/clock.h"
#include "sensebus/v1/event.pb-c.h"

#define FC_GROUP     4 /* SCSI_NL_GRP_FC_EVENTS, which the kernel takes as the number of the group */
#define DETAIL_BYTES 160

struct source {
    struct netlink_source base;
};

/* "Port naa.2000001b32000001 of host3", and what the event has beside its name. */
static void describe(const struct netlink_source *s, const struct fc_netlink_message *m, char out[DETAIL_BYTES])
{
    char port[40];
    int used;

    if (netlink_source_read(s, port, sizeof port, "class/fc_host/host%u/port_name", m->host) < 0)
        used = snprintf(out, DETAIL_BYTES, "port of host%u", m->host);
    else
        used = snprintf(out, DETAIL_BYTES, "port naa.%s of host%u", strncmp(port, "0x", 2) == 0 ? port + 2 : port,
                        m->host);
    if (m->event == FC_EVENT_RSCN)
        snprintf(out + used, DETAIL_BYTES - (size_t)used, ", page %08x", m->word);
    else if (m->event == FC_EVENT_VENDOR_UNIQUE)
        snprintf(out + used, DETAIL_BYTES - (size_t)used, ", vendor %016llx", (unsigned long long)m->vendor_id);
}

static bool on_message(struct netlink_source *s, const struct netlink_message *message)
{
    uint32_t codes[FC_NETLINK_MAX_CODES];
    struct fc_netlink_message m;
    char detail[DETAIL_BYTES];
    int rc = fc_netlink_parse(message->type, message->payload, message->len, &m);
    size_t n;

    if (rc == UV_ENOENT)
        return true;
    if (rc < 0)
        return false;
    describe(s, &m, detail);
    n = fc_netlink_codes(&m, codes);
    for (size_t i = 0; i < n; i++) {
        struct observation o = {
            .source = SENSEBUS__V1__SOURCE__SOURCE_FC_NETLINK,
            .code = codes[i],
            .place = {.host = m.host, .channel = -1, .target = -1, .lun = -1},
            /* The kernel's own time is in whole seconds: the moment of reading is more exact. */
            .wall_ns = clock_wall_ns(),
            .boot_ns = clock_boot_ns(),
            .native = {.name = fc_netlink_event_name(m.event),
                       .code = m.event,
                       .subcode = m.word,
                       .raw = m.raw,
                       .raw_len = m.raw_len,
                       .parameters = {m.number, (uint32_t)m.seconds},
                       .n_parameters = 2,
                       .detail = detail},
        };

        s->ops->on_observation(s->data, &o);
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------ life */

static const struct netlink_source_kind kind = {
    .name = "fc-netlink",
    .source = SENSEBUS__V1__SOURCE__SOURCE_FC_NETLINK,
    .bytes = sizeof(struct source),
    .group = {.protocol = NETLINK_SCSITRANSPORT, .number = FC_GROUP},
    .gate = "class/fc_host",
    .absent = "scsi_transport_fc is not loaded: this host has had no Fibre Channel port since it started",
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

const struct source_api fc_netlink_source = {
    .name = "fc-netlink",
    .source = SENSEBUS__V1__SOURCE__SOURCE_FC_NETLINK,
    .start = start,
    .stop = netlink_source_stop,
    .last_proof = netlink_source_last_proof,
    .check = check,
};
