/* SPDX-License-Identifier: Apache-2.0 */
/* The SCSI devices of the host's own kernel, for sessions of the Adapter face that only observe.
 *
 * Each adapter of the kernel ("host3") is an adapter of the agent. What there is comes from sysfs: looked at when it
 * starts, every poll_ms, and at once when a hook tells that something came, went or changed. Events come from the hooks
 * (agent/source); nothing is sent to a device, except a reset where the configuration allows that.
 *
 * Everything runs on the loop and nothing blocks it. Bounds: DEVICE_LIST_MAX_…, RESETS_MAX. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "agent/kernel/device_list.h"
#include "agent/kernel/reset.h"
#include "sensebus/v1/agents.pb-c.h"

struct coverage;
struct kernel;
struct record;

struct kernel_options {
    const char *sysfs_root;          /* "/sys", another in tests */
    uint32_t poll_ms;                /* between two looks */
    bool allow_reset;                /* SG_SCSI_RESET for callers who may */
    const struct coverage *coverage; /* borrowed: what the hooks see */
};

struct kernel_ops {
    /* Devices or adapters changed, or the first look has failed. */
    void (*on_changed)(void *data);
};

/* Returns 0 or UV_ENOMEM. Options are copied but for what is borrowed. */
int kernel_start(uv_loop_t *loop, const struct kernel_options *options, const struct kernel_ops *ops, void *data,
                 struct kernel **out_kernel);
/* Resets that are being done end with UV_ECANCELED before this returns, and nothing comes any more; `cb` runs from the
 * loop, when nothing that was borrowed is needed any more. The kernel may keep a look for ever: none is waited for, it
 * frees its memory when it returns. NULL is accepted only without `cb`. */
void kernel_stop(struct kernel *k, void (*cb)(void *data), void *data);
/* A hook saw this: look again where it changes what there is. Any record may be given. */
void kernel_heard(struct kernel *k, const struct record *record);

/* A look has ended, well or not. */
bool kernel_has_looked(const struct kernel *k);
/* What the last look showed; empty before the first. Valid until the next turn of the loop. */
const struct device_list *kernel_devices(const struct kernel *k);
const char *kernel_sysfs_root(const struct kernel *k);
bool kernel_allows_reset(const struct kernel *k);
/* What an adapter can, as IocInfoResult.capabilities. */
const char *const *kernel_capabilities(const struct kernel *k, size_t *out_n);
/* Does a hook tell when a device goes? Without one a session could outlive its device. When none does, `reason` says of
 * each why not. */
bool kernel_sees_events(const struct kernel *k, char *reason, size_t reason_len);
/* Messages of all devices, for an inventory. Returns 0 or UV_ENOMEM; free with kernel_inventory_free. */
struct kernel_inventory {
    Sensebus__V1__InventoryDevice **items;
    size_t n;
};
int kernel_inventory(const struct kernel *k, struct kernel_inventory *out);
void kernel_inventory_free(struct kernel_inventory *inventory);

/* As resets_begin, with the kernel's own places. */
int kernel_reset(struct kernel *k, const struct observation_place *place, int mode, reset_cb cb, void *data);
