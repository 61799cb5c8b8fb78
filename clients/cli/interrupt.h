/* SPDX-License-Identifier: Apache-2.0 */
/* Ctrl-C (SIGINT) and SIGTERM for a command that waits: while its loop runs the first one is told to the command, so
 * that it can complete its output; the second ends the process at once, even when output is blocked. The exit code is
 * EXIT_INTERRUPTED. */
#pragma once

#include <uv.h>

struct interrupt {
    uv_async_t async;
    void (*cb)(void *data);
    void *data;
};

/* One at a time in a process. `cb` runs on the loop. */
int interrupt_start(struct interrupt *i, uv_loop_t *loop, void (*cb)(void *data), void *data);
/* The first signal, too, ends the process at once: nothing is to be completed yet. */
void interrupt_at_once(void);
/* The handle closes when the loop runs on. From here on as after interrupt_at_once. */
void interrupt_stop(struct interrupt *i);
