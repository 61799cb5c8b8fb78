/* SPDX-License-Identifier: Apache-2.0 */
/* The one interface of the ways into the kernel's trace points: BPF (bpf_hook.c) and tracefs (tracefs_hook.c); each for
 * those of SCSI, and for that of the host's own target (LIO). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/source/trace/decode.h"

#define HOOK_REASON_BYTES 160
#define HOOK_MAX_READ     256 /* records in one turn */

/* The record is valid until it returns. */
typedef void (*hook_record_cb)(void *data, const struct trace_record *record);

struct hook; /* each hook's own */

struct hook_api {
    const char *name;
    /* Could it be armed? Touches nothing. `reason` says why not, and what to grant. */
    bool (*possible)(const char *sysfs_root, char *reason, size_t reason_len);
    /* Arm it. Returns 0, UV_ENOMEM, or another error with the reason in words. */
    int (*open)(const char *sysfs_root, struct hook **out_hook, char *reason, size_t reason_len);
    /* Readable when there are records, as long as there are. Stays the hook's. */
    int (*fd)(const struct hook *h);
    /* Hand over what is there, at most about HOOK_MAX_READ. */
    void (*read)(struct hook *h, hook_record_cb cb, void *data);
    /* Records that were lost since the hook is open; where the kernel does not count them, at least one for each loss.
     */
    uint64_t (*lost)(struct hook *h);
    bool (*tells_sense)(const struct hook *h);
    /* What it cannot see here and what to grant for that; "" when it sees everything. */
    const char *(*blind)(const struct hook *h);
    void (*close)(struct hook *h);
};

extern const struct hook_api bpf_hook_api, tracefs_hook_api, bpf_target_api, tracefs_target_api;
