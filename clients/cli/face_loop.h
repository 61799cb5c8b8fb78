/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for what a handle of libsensebus has to tell: until a callback says that it is enough, an interrupt, the loss
 * of the connection, or a reader of our output that went away. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "clients/cli/interrupt.h"

struct face;

struct face_loop {
    struct face *face;
    uv_loop_t loop;
    uv_poll_t poll;
    uv_timer_t reader_check;
    struct interrupt interrupt;
    int code;                 /* -1, from before the first callback on: go on */
    int (*flush)(void *data); /* after each batch; 0, or why nothing could be written */
    void *data;
};

/* Run the callbacks as things come. Callbacks of the library stop it with face_loop_stop. Returns the exit code; what
 * went wrong was printed. `l` is zeroed, but for `code`. */
int face_loop_run(struct face_loop *l, struct face *face, int (*flush)(void *data), void *data);
/* Enough: the loop ends behind the callback, with this code unless it has one already. */
void face_loop_stop(struct face_loop *l, int code);
