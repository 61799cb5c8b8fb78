/* SPDX-License-Identifier: Apache-2.0 */
/* In the place of bpf_hook.c in a build without BPF (SENSEBUS_BPF=OFF). */
#include <stdio.h>
#include <uv.h>

#include "agent/source/trace/hook.h"

static bool possible(const char *sysfs_root, char *reason, size_t reason_len)
{
    (void)sysfs_root;
    snprintf(reason, reason_len, "this agent was built without it (SENSEBUS_BPF=OFF)");
    return false;
}

static int hook_open(const char *sysfs_root, struct hook **out_hook, char *reason, size_t reason_len)
{
    (void)out_hook;
    possible(sysfs_root, reason, reason_len);
    return UV_ENOTSUP;
}

/* Nothing else is called before an open that succeeded. */
const struct hook_api bpf_hook_api = {.name = "BPF", .possible = possible, .open = hook_open};
const struct hook_api bpf_target_api = {.name = "BPF", .possible = possible, .open = hook_open};
