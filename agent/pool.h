/* SPDX-License-Identifier: Apache-2.0 */
/* libuv's pool, as this program uses it. Calls to the kernel run there because the kernel may keep them: a look at
 * sysfs or configfs, a reset. Some it keeps for ever.
 *
 * Whatever it keeps, one thread is left for the spool; and the end of the program waits POOL_GRACE_MS for such calls
 * and no longer. A call must own all that it touches, and its owner must be able to leave it behind. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#define POOL_GRACE_MS 2000

/* Before anything else of libuv is used: it reads the size once. Returns 0 or a negative errno. */
int pool_size(void);

/* The end of a loop. */
struct pool_end {
    uv_loop_t *loop;
    uv_timer_t timer;
};
/* Everything is closed but calls that are on the pool: uv_run ends when they have returned, after POOL_GRACE_MS at the
 * latest. The memory of `e` must stay until pool_ended. */
void pool_end(struct pool_end *e, uv_loop_t *loop);
/* After uv_run: true when all of them have returned, then nothing is open on the loop. Else the process must end by
 * _exit: libuv waits for its threads in exit(), and what the calls use must not be freed. */
bool pool_ended(struct pool_end *e);
