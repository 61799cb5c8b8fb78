/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/target/lio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/target/lio_scan.h"

/* All that the pool's thread touches. */
struct lio_look {
    uv_work_t work;
    struct lio *owner; /* NULL: it was left alone */
    char root[LIO_ROOT_BYTES];
    struct snapshot snapshot;
    int rc;
    char err[256];
};

static void look(uv_timer_t *timer);

/* On the pool. */
static void on_work(uv_work_t *work)
{
    struct lio_look *k = work->data;

    k->rc = lio_scan(k->root, &k->snapshot, k->err, sizeof k->err);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct lio *l = handle->data;

    l->on_stopped(l->on_stopped_data);
}

static void finish_look(struct lio *l, struct lio_look *k)
{
    l->look = NULL;
    uv_timer_start(&l->timer, look, l->poll_ms, 0);
    if (k->rc == 0)
        l->ops->on_snapshot(l->data, &k->snapshot);
    else
        l->ops->on_failed(l->data, k->rc == UV_ENOENT, k->err);
}

static void on_looked(uv_work_t *work, int status)
{
    struct lio_look *k = work->data;

    (void)status;
    if (k->owner)
        finish_look(k->owner, k);
    snapshot_free(&k->snapshot);
    free(k);
}

static void look(uv_timer_t *timer)
{
    struct lio *l = timer->data;
    struct lio_look *k = calloc(1, sizeof *k);
    int rc = UV_ENOMEM;

    if (k) {
        k->owner = l;
        k->work.data = k;
        memcpy(k->root, l->root, sizeof k->root);
        rc = uv_queue_work(timer->loop, &k->work, on_work, on_looked);
    }
    if (rc == 0) {
        l->look = k;
        return;
    }
    free(k);
    uv_timer_start(&l->timer, look, l->poll_ms, 0);
    l->ops->on_failed(l->data, false, uv_strerror(rc));
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
    uv_timer_init(loop, &l->timer);
    l->timer.data = l;
    uv_timer_start(&l->timer, look, 0, 0);
    return 0;
}

void lio_stop(struct lio *l, void (*cb)(void *data), void *data)
{
    l->on_stopped = cb;
    l->on_stopped_data = data;
    if (l->look)
        l->look->owner = NULL;
    l->look = NULL;
    uv_close((uv_handle_t *)&l->timer, on_timer_closed);
}
