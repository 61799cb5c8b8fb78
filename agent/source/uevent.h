/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's uevents (NETLINK_KOBJECT_UEVENT, group 1), read from the kernel itself: no udevd is needed.
 *
 * Only what the kernel sent counts: any process with CAP_NET_ADMIN may send to the group. A full receive buffer
 * (ENOBUFS) is a loss. A gap in SEQNUM alone is a doubt: the numbers count the uevents of all network namespaces, also
 * those that are not sent here. */
#pragma once

#include "agent/source/source.h"

extern const struct source_api uevent_source;
