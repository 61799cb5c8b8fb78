/* SPDX-License-Identifier: Apache-2.0 */
/* LIO's backstores in user space (TCMU) as a source: generic netlink family TCM-USER, group "config": what was added,
 * removed or changed. Needs no capability, and sees all network namespaces.
 *
 * A caution. The kernel takes any listener for a program that serves backstores: where such a program has told the
 * kernel that it answers these messages (tcmu-runner does) and then dies, the kernel waits for its answer to the next
 * removal or change as long as somebody still listens, and lets it pass when nobody does (tcmu_netlink_event_send of
 * target_core_user.c). So this source is off until it is asked for; the program's next start, or
 * /sys/module/target_core_user/parameters/reset_netlink, ends such a wait. */
#pragma once

#include "agent/source/source.h"

extern const struct source_api tcmu_source;
