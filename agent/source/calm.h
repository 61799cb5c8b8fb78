/* SPDX-License-Identifier: Apache-2.0 */
/* Storm control (storm.h) on the loop: records in, calmed records out, what is held when it is due.
 *
 * What became of a storm is logged with its key (storm.told), a few lines a second at most. */
#pragma once

#include <uv.h>

#include "agent/source/storm.h"

struct calm;

/* `on_record` gets each record, valid until it returns; it may run before calm_take or calm_stop returned. The seed of
 * the options is made here. Returns 0 or UV_ENOMEM. */
int calm_start(uv_loop_t *loop, const struct storm_options *options,
               void (*on_record)(void *data, const struct record *record), void *data, struct calm **out_calm);
/* The record stays the caller's. What must not be held is told before this returns, behind what it must not overtake.
 */
void calm_take(struct calm *c, const struct record *record);
/* Everything that is held is told, at once. `cb` runs from the loop, when the memory is gone. */
void calm_stop(struct calm *c, void (*cb)(void *data), void *data);
