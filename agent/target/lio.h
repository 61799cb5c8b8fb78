/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at LIO's configfs tree, over and over, on the pool: configfs announces nothing. */
#pragma once

#include <stdint.h>
#include <uv.h>

#include "agent/target/snapshot.h"

#define LIO_ROOT_BYTES 1024

struct lio_look;

struct lio {
    const struct snapshot_ops *ops;
    void *data;
    char root[LIO_ROOT_BYTES];
    uint32_t poll_ms;
    uv_timer_t timer;
    struct lio_look *look; /* the one on the pool, or NULL */
    void (*on_stopped)(void *data);
    void *on_stopped_data;
};

/* The first look is at once. `root` is copied. Returns 0 or UV_ENAMETOOLONG; then nothing stays. */
int lio_start(struct lio *l, uv_loop_t *loop, const char *root, uint32_t poll_ms, const struct snapshot_ops *ops,
              void *data);
/* Nothing is told any more. `cb` runs from the loop, when the memory of `l` is not needed any more: the kernel may keep
 * a look for ever, none is waited for. */
void lio_stop(struct lio *l, void (*cb)(void *data), void *data);
