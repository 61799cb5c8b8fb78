/* SPDX-License-Identifier: Apache-2.0 */
/* The one interface of every source of the host's own kernel: start, stop, coverage, resync (events are pushed).
 *
 * A source may be absent, or lose its hook while it runs: then its coverage says OFF or DEGRADED and why, and how to
 * get it; it never ends the agent. It tries again by itself where that can help (a module that is loaded later).
 * Everything runs on the loop; no callback comes before start() returned. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "agent/source/observation.h"

struct source; /* each source's own */

#define SOURCE_REASON_BYTES 256

struct source_ops {
    /* Valid until it returns. */
    void (*on_observation)(void *data, const struct observation *observation);
    /* The hook lost an unknown number of events between the two wall times: told as EVENTS_LOST, and every source is
     * asked to resync. `reason` in words. */
    void (*on_lost)(void *data, uint32_t source, uint64_t from_wall_ns, uint64_t to_wall_ns, const char *reason);
    /* Perhaps something was lost: every source is asked to resync, and nothing is told unless that finds something. */
    void (*on_doubt)(void *data, uint32_t source);
    /* state is enum SourceState; `reason` says why it is not ARMED and what to grant or load, "" else. */
    void (*on_coverage)(void *data, uint32_t source, uint32_t state, const char *reason);
};

struct source_options {
    uv_loop_t *loop;
    const char *sysfs_root; /* "/sys", another in tests */
    uint32_t poll_ms;       /* of sources that poll */
};

struct source_api {
    const char *name; /* as in the configuration and in `sensebus-agent check`: "uevent" */
    uint32_t source;  /* enum Source */
    /* Why it is off until the configuration turns it on; NULL: it is on until that turns it off. */
    const char *off_because;
    /* Arm, as far as this host lets us. Only UV_ENOMEM fails: everything else is coverage. */
    int (*start)(const struct source_options *options, const struct source_ops *ops, void *data,
                 struct source **out_source);
    /* Nothing comes any more once this returned; `cb` runs from the loop when the memory is gone, but for that of a
     * call on the pool, which the kernel may keep for ever: it frees its own when it returns. */
    void (*stop)(struct source *s, void (*cb)(void *data), void *data);
    /* Something was lost, here or elsewhere: compare what is with what was known, and tell the difference as synthetic
     * observations. NULL where a source has no state to compare. */
    void (*resync)(struct source *s);
    /* Another source saw this: its own picture is as new from now on, so that a resync finds what was lost after it.
     * NULL where a source has no state to compare. */
    void (*heard)(struct source *s, const struct observation *observation);
    /* While it is DEGRADED: does it still tell what merging waits for (sense)? NULL: it does. */
    bool (*awaited)(const struct source *s);
    /* Wall time of the last proof that it sees anything; 0 = never. */
    uint64_t (*last_proof)(const struct source *s);
    /* What could be armed here and now, without arming it: for
     * `sensebus-agent check`. Writes the reason and returns enum SourceState. */
    uint32_t (*check)(const struct source_options *options, char *reason, size_t reason_len);
};
