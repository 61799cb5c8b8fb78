/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/calm.h"

#include <inttypes.h>
#include <stdlib.h>

#include "agent/source/storm_key.h"
#include "runtime/clock.h"
#include "runtime/log.h"

#define LINES 10 /* at once; then one a second */

struct calm {
    struct storm *storm;
    uv_timer_t deadline;
    struct log_limit limit;
    void (*on_record)(void *data, const struct record *record);
    void *data;
    void (*on_stopped)(void *data);
    void *on_stopped_data;
};

static void log_told(struct calm *c, const struct record *r, uint64_t now_ns)
{
    char key[STORM_KEY_BYTES];

    if (r->count > 1 && log_limit_allow(&c->limit, now_ns / 1000000, LINES, NULL))
        log_info("storm.told", "count=%" PRIu64 " ms=%" PRIu64 " key=\"%s\"", r->count,
                 r->wall_ns > r->first_wall_ns ? (r->wall_ns - r->first_wall_ns) / 1000000 : 0, storm_key_text(r, key));
}

static void drain(struct calm *c, uint64_t now_ns)
{
    const struct record *r;

    while ((r = storm_next(c->storm, now_ns))) {
        log_told(c, r, now_ns);
        c->on_record(c->data, r);
    }
}

static void on_deadline(uv_timer_t *timer);

static void wait_for_next(struct calm *c, uint64_t now_ns)
{
    uint64_t next_ns = storm_deadline(c->storm);

    if (next_ns == UINT64_MAX)
        uv_timer_stop(&c->deadline);
    else
        uv_timer_start(&c->deadline, on_deadline, next_ns > now_ns ? (next_ns - now_ns) / 1000000 + 1 : 0, 0);
}

static void on_deadline(uv_timer_t *timer)
{
    struct calm *c = timer->data;
    uint64_t now_ns = clock_boot_ns();

    drain(c, now_ns);
    wait_for_next(c, now_ns);
}

void calm_take(struct calm *c, const struct record *record)
{
    uint64_t now_ns = clock_boot_ns();
    enum storm_verdict verdict = storm_take(c->storm, record, now_ns);

    drain(c, now_ns);
    if (verdict == STORM_TELL)
        c->on_record(c->data, record);
    wait_for_next(c, now_ns);
}

int calm_start(uv_loop_t *loop, const struct storm_options *options,
               void (*on_record)(void *data, const struct record *record), void *data, struct calm **out_calm)
{
    struct calm *c = calloc(1, sizeof *c);
    struct storm_options own = *options;

    if (!c)
        return UV_ENOMEM;
    uv_random(NULL, NULL, &own.seed, sizeof own.seed, 0, NULL); /* without it tables are only easier to fill */
    c->storm = storm_new(&own);
    if (!c->storm) {
        free(c);
        return UV_ENOMEM;
    }
    c->on_record = on_record;
    c->data = data;
    uv_timer_init(loop, &c->deadline);
    c->deadline.data = c;
    *out_calm = c;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct calm *c = handle->data;
    void (*cb)(void *) = c->on_stopped;
    void *data = c->on_stopped_data;

    storm_free(c->storm);
    free(c);
    cb(data);
}

void calm_stop(struct calm *c, void (*cb)(void *data), void *data)
{
    storm_finish(c->storm);
    drain(c, clock_boot_ns());
    c->on_stopped = cb;
    c->on_stopped_data = data;
    uv_close((uv_handle_t *)&c->deadline, on_closed);
}
