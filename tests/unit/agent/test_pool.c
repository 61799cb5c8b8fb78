/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/pool.h"

#include <criterion/criterion.h>
#include <stdbool.h>

#include "agent/kernel/reset.h"

#define MAY_HANG (3 + RESETS_MAX)

static uv_loop_t loop;
static uv_work_t hanging[MAY_HANG], work;
static uv_sem_t go;
static bool worked;

static void setup(void)
{
    cr_assert_eq(pool_size(), 0);
    uv_loop_init(&loop);
    uv_sem_init(&go, 0);
}

TestSuite(pool, .init = setup);

static void on_hang(uv_work_t *request)
{
    (void)request;
    uv_sem_wait(&go);
}

static void on_work(uv_work_t *request)
{
    (void)request;
}

static void on_worked(uv_work_t *request, int status)
{
    (void)request;
    cr_assert_eq(status, 0);
    worked = true;
}

static void hang(int n)
{
    for (int i = 0; i < n; i++)
        cr_assert_eq(uv_queue_work(&loop, &hanging[i], on_hang, NULL), 0);
}

static void let_go(int n)
{
    for (int i = 0; i < n; i++)
        uv_sem_post(&go);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

Test(pool, has_a_thread_left_when_all_hang_that_may)
{
    hang(MAY_HANG);
    cr_assert_eq(uv_queue_work(&loop, &work, on_work, on_worked), 0);
    for (int i = 0; i < MAY_HANG + 1 && !worked; i++)
        uv_run(&loop, UV_RUN_ONCE);
    cr_assert(worked);
    let_go(MAY_HANG);
}

Test(pool, the_end_waits_for_what_returns)
{
    struct pool_end end;

    cr_assert_eq(uv_queue_work(&loop, &work, on_work, on_worked), 0);
    pool_end(&end, &loop);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert(worked);
    cr_assert(pool_ended(&end));
    cr_assert_eq(uv_loop_close(&loop), 0);
}

Test(pool, the_end_does_not_wait_for_what_hangs)
{
    struct pool_end end;

    hang(1);
    pool_end(&end, &loop);
    uv_run(&loop, UV_RUN_DEFAULT); /* returns */
    cr_assert_not(pool_ended(&end));
    let_go(1);
}
