/* SPDX-License-Identifier: Apache-2.0 */
/* The targets that are watched: those of the configuration, and those that discovery finds.
 *
 * A target is watched once, by its name, until the agent ends; portals where it is found later are tried when those
 * known before fail. Each keeps its number (the target id in addresses) over restarts: the numbers live in a file of
 * the state directory. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "agent/command.h"
#include "agent/coverage.h"
#include "agent/numbers.h"
#include "agent/target_url.h"
#include "agent/watch.h"

#define TARGETS_MAX           256
#define TARGETS_MAX_DISCOVERY 16

struct Sensebus__V1__InventoryDevice;
struct adapter_list;
struct chap_list;

struct targets_options {
    const char *state_directory;
    const char *initiator_name;
    const struct chap_list *chap;
    bool header_digest;
    uint32_t poll_ms, jitter_ms, compare_ms, command_timeout_ms, discover_interval_ms;
    struct command_counts *counts;
    struct coverage *coverage;
};

struct targets_ops {
    void (*on_record)(void *data, const struct record *record);
    /* Coverage, or what is in the inventory, changed. */
    void (*on_coverage)(void *data);
    void (*on_inventory)(void *data);
};

struct discovery {
    struct targets *targets;
    char portal[TARGET_PORTAL_BYTES];
    char instance[TARGET_PORTAL_BYTES + 16]; /* in coverage */
    struct iscsi_discovery *running;
    uv_timer_t timer;
    bool answered; /* with targets, or with a failure */
};

struct targets {
    uv_loop_t *loop;
    struct targets_options options;
    const struct targets_ops *ops;
    void *data;
    struct watch *watches[TARGETS_MAX];
    size_t n_watches;
    struct discovery discoveries[TARGETS_MAX_DISCOVERY];
    size_t n_discoveries;
    struct numbers numbers; /* of the names of targets */
    bool stopping;
    uv_timer_t pause; /* stopping ends from the loop, also without targets */
    size_t n_running; /* watches and discovery timers not closed yet */
    void (*on_stopped)(void *data);
    void *on_stopped_data;
};

/* Read the numbers. Returns 0 or a negative errno. */
int targets_init(struct targets *t, uv_loop_t *loop, const struct targets_options *options,
                 const struct targets_ops *ops, void *data);
/* A target that is watched already gets the portals that are new; UV_EEXIST when none is, or another LUN is wanted.
 * UV_ENOSPC beyond TARGETS_MAX, or TARGET_MAX_PORTALS; UV_ENOMEM. */
int targets_add(struct targets *t, const struct target_url *url);
/* Ask `portal` for its targets, now and every discover_interval_ms. */
int targets_discover(struct targets *t, const char *portal);
/* Each target has listed its logical units or could not be reached, and each discovery has ended, at least once.
 * on_coverage or on_inventory is called when that becomes true. */
bool targets_have_looked(const struct targets *t);
/* The target of this name, or of this number when the name is empty; NULL when it is not watched. */
struct watch *targets_find(const struct targets *t, const char *name, int32_t number);
/* The AgentMessage with all logical units, these `more` devices behind them, and these adapters. Returns 0 or
 * UV_ENOMEM.
 */
int targets_encode_inventory(const struct targets *t, struct Sensebus__V1__InventoryDevice *const *more, size_t n_more,
                             const struct adapter_list *adapters, uint8_t **out_bytes, size_t *out_len);
/* Bring the proofs of life in the coverage up to date. */
void targets_prove(struct targets *t);
/* Log out everywhere; `cb` runs when all are stopped. */
void targets_stop(struct targets *t, void (*cb)(void *data), void *data);
void targets_deinit(struct targets *t);
