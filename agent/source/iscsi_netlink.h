/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's iSCSI initiator as a source: NETLINK_ISCSI group 1, a second listener beside iscsid, which is not
 * disturbed. Sessions that begin, end, are lost and come back; logins that fail; asynchronous messages with their
 * sense; links of adapters that offload iSCSI.
 *
 * It sees nothing of unit attentions (uevents and tracepoints do) and of what the kernel keeps to itself: rejects, and
 * PDUs of adapters that log in by themselves. Needs CAP_NET_ADMIN; which namespaces: netlink.h. */
#pragma once

#include "agent/source/source.h"

extern const struct source_api iscsi_netlink_source;
