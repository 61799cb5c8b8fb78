/* SPDX-License-Identifier: Apache-2.0 */
/* Wait for the state of an agent, by asking the broker again and again. */
#pragma once

#include <stdint.h>

struct cli;

enum agent_condition {
    AGENT_ATTACHED,
    /* Attached, at least one source armed, none degraded, no iSCSI target off, and everything it saw on the broker's
       disk. */
    AGENT_SYNCED,
};

/* `host` NULL: any agent. `timeout_ms` 0: no limit. Returns an exit code; messages are printed. */
int agent_wait_run(struct cli *cli, enum agent_condition condition, const char *host, uint64_t timeout_ms);
