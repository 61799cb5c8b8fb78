/* SPDX-License-Identifier: Apache-2.0 */
/* The source that stands at the kernel's own trace points: commands that failed, with their sense and transport result,
 * timeouts, error handlers that begin, states of devices.
 *
 * Armed through BPF; where that is not allowed, degraded through tracefs; else off. What is missing and what to grant
 * is in its coverage. It waits for scsi_mod, which may be loaded later, and tries again by itself. While it is armed
 * through BPF it holds scsi_mod, which therefore cannot be unloaded. It sees nothing of commands of the kernel's error
 * handler and of drivers' own: their unit attentions come as uevents. */
#pragma once

#include "agent/source/source.h"

extern const struct source_api trace_source_api;

/* Likewise at the trace point target_cmd_complete of target_core_mod (LIO): what this host, as a target, tells its
 * initiators with CHECK CONDITION, judged as the sense that a host gets. Its place is target and LUN as on the wire,
 * its source TARGET: merging keeps it apart from what an initiator on this same host hears of it. */
extern const struct source_api answers_source_api;
