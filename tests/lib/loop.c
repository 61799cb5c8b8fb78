/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/loop.h"

#include <stdio.h>
#include <stdlib.h>

enum { LIMIT_MS = 60000, LOOK_MS = 10 };

static void on_guard(uv_timer_t *guard)
{
    struct test_loop *t = guard->data;
    t->late = uv_now(&t->loop) >= t->limit_ms;
}

static void start_guard(struct test_loop *t, unsigned ms)
{
    t->late = false;
    uv_update_time(&t->loop);
    t->limit_ms = uv_now(&t->loop) + ms;
    uv_timer_start(&t->guard, on_guard, ms < LOOK_MS ? ms : LOOK_MS, LOOK_MS);
}

void test_loop_init(struct test_loop *t)
{
    if (uv_loop_init(&t->loop) != 0)
        abort();
    uv_timer_init(&t->loop, &t->guard);
    t->guard.data = t;
}

static bool is_set(void *flag)
{
    return *(const bool *)flag;
}

bool test_loop_until(struct test_loop *t, const bool *flag)
{
    return test_loop_until_true(t, is_set, (void *)flag);
}

bool test_loop_until_true(struct test_loop *t, bool (*condition)(void *data), void *data)
{
    start_guard(t, LIMIT_MS);
    while (!condition(data) && !t->late)
        uv_run(&t->loop, UV_RUN_ONCE);
    uv_timer_stop(&t->guard);
    return condition(data);
}

void test_loop_for(struct test_loop *t, unsigned ms)
{
    start_guard(t, ms);
    while (!t->late)
        uv_run(&t->loop, UV_RUN_ONCE);
}

void test_loop_deinit(struct test_loop *t)
{
    start_guard(t, LIMIT_MS);
    uv_unref((uv_handle_t *)&t->guard);
    while (uv_loop_alive(&t->loop) && !t->late)
        uv_run(&t->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&t->guard, NULL);
    uv_run(&t->loop, UV_RUN_NOWAIT);
    if (uv_loop_close(&t->loop) != 0) {
        fprintf(stderr, "handles left on the loop:\n");
        uv_print_all_handles(&t->loop, stderr);
        abort();
    }
}
