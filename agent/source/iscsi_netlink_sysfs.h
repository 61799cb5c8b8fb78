/* SPDX-License-Identifier: Apache-2.0 */
/* What sysfs says of the kernel's iSCSI sessions. */
#pragma once

#include "agent/source/iscsi_netlink_sessions.h"

struct netlink_source;

/* Host, target, target name and portal of the session, as far as sysfs has them now; what it does not have stays as it
 * is. `cid` is the connection whose portal it is. */
void iscsi_netlink_learn(const struct netlink_source *s, uint32_t cid, struct iscsi_kernel_session *session);
/* The sessions that are there, each with its phase and names; what is known of those that are gone is forgotten. */
void iscsi_netlink_learn_all(const struct netlink_source *s, struct iscsi_sessions *sessions);
