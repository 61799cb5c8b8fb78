/* SPDX-License-Identifier: Apache-2.0 */
/* Ctrl-C (SIGINT) and SIGTERM for a command that runs a loop: the first one is told to the command, so that it can
 * complete its output; the second ends the process at once, even when output is blocked. */
#pragma once

#include <uv.h>

struct interrupt {
    uv_async_t async;
    void (*cb)(void *data);
    void *data;
};

/* One at a time in a process. `cb` runs on the loop. */
int interrupt_start(struct interrupt *i, uv_loop_t *loop, void (*cb)(void *data), void *data);
/* The handle closes when the loop runs on. */
void interrupt_stop(struct interrupt *i);
