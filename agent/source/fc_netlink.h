/* SPDX-License-Identifier: Apache-2.0 */
/* Fibre Channel ports as a source: NETLINK_SCSITRANSPORT group 4, what their drivers post: link up and down, loop
 * initialisation and reset, RSCN, FPIN, adapter and port changes, vendor events.
 *
 * It keeps no state: states of ports are polled by the sysfs source. Which of these a port tells is its driver's
 * choice; software FCoE tells of loop resets only. Needs CAP_NET_ADMIN; which namespaces: netlink.h. */
#pragma once

#include "agent/source/source.h"

extern const struct source_api fc_netlink_source;
