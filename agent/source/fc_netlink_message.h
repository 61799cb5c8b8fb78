/* SPDX-License-Identifier: Apache-2.0 */
/* A message of NETLINK_SCSITRANSPORT group 4, parsed: struct fc_nl_event of the kernel (include/scsi/scsi_netlink_fc.h,
 * byte order of the host), and in it a Fabric Performance Impact Notification (FC-LS-5, big-endian).
 *
 * Whatever the bytes are, nothing outside of them is read. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* enum fc_host_event_code of include/scsi/scsi_transport_fc.h. */
enum fc_event {
    FC_EVENT_LIP = 0x1,
    FC_EVENT_LINK_UP = 0x2,
    FC_EVENT_LINK_DOWN = 0x3,
    FC_EVENT_LIP_RESET = 0x4,
    FC_EVENT_RSCN = 0x5,
    FC_EVENT_ADAPTER_CHANGE = 0x103,
    FC_EVENT_PORT_UNKNOWN = 0x200,
    FC_EVENT_PORT_OFFLINE = 0x201,
    FC_EVENT_PORT_ONLINE = 0x202,
    FC_EVENT_PORT_FABRIC = 0x204,
    FC_EVENT_LINK_UNKNOWN = 0x500,
    FC_EVENT_LINK_FPIN = 0x501,
    FC_EVENT_LINK_FPIN_ACK = 0x502,
    FC_EVENT_VENDOR_UNIQUE = 0xffff,
};

struct fc_netlink_message {
    uint64_t seconds; /* since 1970 */
    uint64_t vendor_id;
    uint16_t host;
    uint32_t number;     /* of all events of all FC hosts */
    uint32_t event;      /* enum fc_event, or another number */
    const uint8_t *data; /* points into the message */
    size_t data_len;
    uint32_t word;      /* the first four bytes of the data, which is all that most events have */
    const uint8_t *raw; /* the event without padding */
    size_t raw_len;
};

/* `type` as in struct nlmsghdr. Returns 0; UV_ENOENT for a whole message that is no event of FC; or UV_EINVAL when it
 * is not whole. Only with 0 *out is touched. */
int fc_netlink_parse(uint16_t type, const uint8_t *bytes, size_t len, struct fc_netlink_message *out);

#define FC_NETLINK_MAX_CODES 4
/* What it is: one code, or for a notification with several descriptors one for each kind of them, each once. Returns
 * how many, at least 1. */
size_t fc_netlink_codes(const struct fc_netlink_message *m, uint32_t out_codes[FC_NETLINK_MAX_CODES]);
/* The kernel's name: "FCH_EVT_LIPRESET". */
const char *fc_netlink_event_name(uint32_t event);
