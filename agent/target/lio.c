/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/target/lio.h"

#include <stdio.h>
#include <string.h>

#include "agent/target/lio_scan.h"

static void look(uv_timer_t *timer);

/* On the pool. */
static void on_work(uv_work_t *work)
{
    struct lio *l = work->data;

    l->rc = lio_scan(l->root, &l->snapshot, l->err, sizeof l->err);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct lio *l = handle->data;

    l->on_stopped(l->on_stopped_data);
}

static void on_looked(uv_work_t *work, int status)
{
    struct lio *l = work->data;

    (void)status;
    l->working = false;
    if (l->stopping) {
        uv_close((uv_handle_t *)&l->timer, on_timer_closed);
    } else {
        uv_timer_start(&l->timer, look, l->poll_ms, 0);
        if (l->rc == 0)
            l->ops->on_snapshot(l->data, &l->snapshot);
        else
            l->ops->on_failed(l->data, l->rc == UV_ENOENT, l->err);
    }
    snapshot_free(&l->snapshot);
}

static void look(uv_timer_t *timer)
{
    struct lio *l = timer->data;
    int rc = uv_queue_work(timer->loop, &l->work, on_work, on_looked);

    l->working = rc == 0;
    if (rc < 0) {
        uv_timer_start(&l->timer, look, l->poll_ms, 0);
        l->ops->on_failed(l->data, false, uv_strerror(rc));
    }
}

int lio_start(struct lio *l, uv_loop_t *loop, const char *root, uint32_t poll_ms, const struct snapshot_ops *ops,
              void *data)
{
    memset(l, 0, sizeof *l);
    if (strlen(root) >= sizeof l->root)
        return UV_ENAMETOOLONG;
    snprintf(l->root, sizeof l->root, "%s", root);
    l->ops = ops;
    l->data = data;
    l->poll_ms = poll_ms;
    l->work.data = l;
    uv_timer_init(loop, &l->timer);
    l->timer.data = l;
    uv_timer_start(&l->timer, look, 0, 0);
    return 0;
}

void lio_stop(struct lio *l, void (*cb)(void *data), void *data)
{
    l->stopping = true;
    l->on_stopped = cb;
    l->on_stopped_data = data;
    uv_timer_stop(&l->timer);
    if (!l->working)
        uv_close((uv_handle_t *)&l->timer, on_timer_closed);
}
