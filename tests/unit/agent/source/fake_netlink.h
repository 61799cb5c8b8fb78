/* SPDX-License-Identifier: Apache-2.0 */
/* A netlink socket without a kernel, linked in the place of agent/source/netlink.c. */
#pragma once

#include "agent/source/netlink.h"

struct fake_netlink {
    int rc; /* what netlink_open and netlink_probe return */
    unsigned n_opened, n_closed;
    struct netlink_group group; /* of the last one opened */
};
extern struct fake_netlink fake_netlink;

/* The open one gets a message. */
void fake_netlink_send(uint16_t type, const void *payload, size_t len);
void fake_netlink_lose(const char *reason);
void fake_netlink_garble(void);
void fake_netlink_forge(void);
