/* SPDX-License-Identifier: Apache-2.0 */
/* From what the hooks of the kernel saw to records: merged (merge.h), named (identity_sysfs.h), calmed (calm.h).
 *
 * What is held on the way has the bounds of those three, and leaves at its deadline, or at the end. Devices are named
 * before anything happens to them, a few a turn, so that what is removed has a name. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct observation;
struct pipeline;
struct record;

struct pipeline_options {
    uv_loop_t *loop;
    const char *sysfs_root;
    uint32_t poll_ms;         /* of the source that polls: what it finds so much later is no news */
    uint32_t merge_window_ms; /* merge.h; 0 = its default */
};

/* `on_record` gets each record, valid until it returns; it may run before pipeline_push returned. Returns 0 or
 * UV_ENOMEM. */
int pipeline_start(const struct pipeline_options *options, void (*on_record)(void *data, const struct record *record),
                   void *data, struct pipeline **out_pipeline);
/* Everything that is held becomes a record, at once. `cb` runs from the loop, when the memory is gone. */
void pipeline_stop(struct pipeline *p, void (*cb)(void *data), void *data);

/* Events wait for what other armed sources say of them. */
void pipeline_set_armed(struct pipeline *p, uint32_t source, bool armed);
/* A record that another part of the agent made, of a place of the kernel's: calmed with the others. */
void pipeline_report(struct pipeline *p, const struct record *record);
/* Returns 0, or UV_ENOMEM: then it was not taken. */
int pipeline_push(struct pipeline *p, const struct observation *observation);
