/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at LIO's configfs tree, over and over, on the pool: configfs announces nothing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "agent/target/snapshot.h"

#define LIO_ROOT_BYTES 1024

struct lio {
    const struct snapshot_ops *ops;
    void *data;
    char root[LIO_ROOT_BYTES];
    uint32_t poll_ms;
    bool stopping, working;
    uv_timer_t timer;
    uv_work_t work;
    struct snapshot snapshot; /* of the work in progress, as the two below */
    int rc;
    char err[256];
    void (*on_stopped)(void *data);
    void *on_stopped_data;
};

/* The first look is at once. `root` is copied. Returns 0 or UV_ENAMETOOLONG; then nothing stays. */
int lio_start(struct lio *l, uv_loop_t *loop, const char *root, uint32_t poll_ms, const struct snapshot_ops *ops,
              void *data);
/* `cb` runs from the loop, when a look in progress has ended; nothing else is told any more. */
void lio_stop(struct lio *l, void (*cb)(void *data), void *data);
