/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/pool.h"

#include <errno.h>
#include <stdlib.h>

#include "agent/kernel/reset.h"

/* What may hang at a time: a look of each that looks (kernel/kernel.h, source/sysfs.h, target/lio.h), as none begins
 * another one before that, and resets. Names are resolved on half of the threads at most: libuv's threadpool.c. */
#define LOOKS        3
#define THREADS      12
#define THREADS_TEXT "12"
_Static_assert(LOOKS + RESETS_MAX + (THREADS + 1) / 2 < THREADS, "one is left for the spool");

int pool_size(void)
{
    return setenv("UV_THREADPOOL_SIZE", THREADS_TEXT, 1) == 0 ? 0 : uv_translate_sys_error(errno);
}

static void on_over(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

void pool_end(struct pool_end *e, uv_loop_t *loop)
{
    e->loop = loop;
    uv_timer_init(loop, &e->timer);
    uv_timer_start(&e->timer, on_over, POOL_GRACE_MS, 0);
    uv_unref((uv_handle_t *)&e->timer); /* it keeps nobody who is done */
}

bool pool_ended(struct pool_end *e)
{
    uv_close((uv_handle_t *)&e->timer, NULL);
    uv_run(e->loop, UV_RUN_NOWAIT);
    return !uv_loop_alive(e->loop);
}
