/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/target/runner.h"

#include <assert.h>

#define ASK_AGAIN_MS 10

void runner_init(struct runner *r, struct server *server, void (*on_done)(struct runner *r, enum orders_result result),
                 void *data)
{
    *r = (struct runner){.server = server, .on_done = on_done, .data = data};
    uv_timer_init(server->loop, &r->timer);
}

static void on_turn(uv_timer_t *timer)
{
    struct runner *r = (struct runner *)((char *)timer - offsetof(struct runner, timer));
    enum orders_result result = orders_run(r->server, &r->verb, &r->answer);
    uint64_t now = uv_now(r->server->loop);

    if (r->deadline_ms == 0)
        r->deadline_ms = r->verb.ms < UINT64_MAX - now ? now + r->verb.ms : UINT64_MAX;
    if (result == ORDERS_LATER && now < r->deadline_ms) {
        uv_timer_start(&r->timer, on_turn, ASK_AGAIN_MS, 0);
        return;
    }
    r->busy = false;
    r->on_done(r, result);
}

void runner_start(struct runner *r, const struct verb *verb, uint64_t after_ms)
{
    assert(!r->busy);
    r->busy = true;
    r->verb = *verb;
    r->deadline_ms = 0;
    uv_timer_start(&r->timer, on_turn, after_ms, 0);
}

void runner_close(struct runner *r, uv_close_cb on_closed)
{
    uv_close((uv_handle_t *)&r->timer, on_closed);
}
