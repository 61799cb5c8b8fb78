/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/sysfs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/source/sysfs_changes.h"
#include "agent/source/sysfs_scan.h"
#include "runtime/clock.h"
#include "sensebus/v1/agents.pb-c.h"

#define SYSFS SENSEBUS__V1__SOURCE__SOURCE_SYSFS

struct source {
    const struct source_ops *ops;
    void *data;
    char *root;
    uint32_t poll_ms;
    uv_timer_t timer;
    uv_work_t work;
    bool working, again, stopping, closed;
    bool has_known;
    struct sysfs_look known; /* the last look that went well */
    struct sysfs_look look;  /* of the work in progress, as the two below */
    int rc;
    char err[SOURCE_REASON_BYTES];
    uint64_t last_proof_ns;
    void (*on_stopped)(void *data);
    void *on_stopped_data;
};

static void look(uv_timer_t *timer);

/* ------------------------------------------------------------------------------------------------ looks */

/* On the pool. */
static void on_work(uv_work_t *work)
{
    struct source *s = work->data;

    s->rc = sysfs_scan(s->root, &s->look, s->err, sizeof s->err);
}

static uint32_t judge(int rc, const struct sysfs_look *seen, char reason[SOURCE_REASON_BYTES])
{
    reason[0] = 0;
    if (rc == 0 && seen->cut)
        snprintf(reason, SOURCE_REASON_BYTES, "only %d adapters, devices, ports and sessions are watched",
                 SYSFS_MAX_OBJECTS);
    return rc < 0      ? SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF
           : seen->cut ? SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_DEGRADED
                       : SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED;
}

static void source_free(struct source *s)
{
    sysfs_look_free(&s->known);
    free(s->root);
    free(s);
}

/* A look that is still on the pool has what it needs, and frees it when it returns. */
static void on_timer_closed(uv_handle_t *handle)
{
    struct source *s = handle->data;
    void (*cb)(void *) = s->on_stopped;
    void *data = s->on_stopped_data;

    s->closed = true;
    if (!s->working)
        source_free(s);
    cb(data);
}

/* What cannot be looked at keeps what was known: the next look tells the difference. */
static void finish_look(struct source *s)
{
    char reason[SOURCE_REASON_BYTES];
    uint32_t state = judge(s->rc, &s->look, reason);

    uv_timer_start(&s->timer, look, s->again ? 0 : s->poll_ms, 0);
    s->again = false;
    s->ops->on_coverage(s->data, SYSFS, state, s->rc < 0 ? s->err : reason);
    if (s->rc < 0)
        return;
    s->last_proof_ns = clock_wall_ns();
    if (sysfs_compare(s->has_known ? &s->known : NULL, &s->look, s->last_proof_ns, clock_boot_ns(),
                      s->ops->on_observation, s->data) < 0) {
        sysfs_look_free(&s->look);
        return;
    }
    sysfs_look_free(&s->known);
    s->known = s->look;
    s->look = (struct sysfs_look){0};
    s->has_known = true;
}

static void on_looked(uv_work_t *work, int status)
{
    struct source *s = work->data;

    (void)status;
    s->working = false;
    if (s->stopping) {
        sysfs_look_free(&s->look);
        if (s->closed)
            source_free(s);
        return;
    }
    finish_look(s);
}

static void look(uv_timer_t *timer)
{
    struct source *s = timer->data;
    int rc = uv_queue_work(timer->loop, &s->work, on_work, on_looked);

    s->working = rc == 0;
    if (rc < 0) {
        uv_timer_start(&s->timer, look, s->poll_ms, 0);
        s->ops->on_coverage(s->data, SYSFS, SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF, uv_strerror(rc));
    }
}

static void resync(struct source *s)
{
    if (s->working)
        s->again = true;
    else
        uv_timer_start(&s->timer, look, 0, 0);
}

static void heard(struct source *s, const struct observation *observation)
{
    if (s->has_known)
        sysfs_look_heard(&s->known, observation, s->working);
}

/* ------------------------------------------------------------------------------------------------ life */

static int start(const struct source_options *options, const struct source_ops *ops, void *data,
                 struct source **out_source)
{
    struct source *s = calloc(1, sizeof *s);

    if (!s || !(s->root = strdup(options->sysfs_root))) {
        free(s);
        return UV_ENOMEM;
    }
    s->ops = ops;
    s->data = data;
    s->poll_ms = options->poll_ms;
    s->work.data = s;
    uv_timer_init(options->loop, &s->timer);
    s->timer.data = s;
    uv_timer_start(&s->timer, look, 0, 0);
    *out_source = s;
    return 0;
}

static void stop(struct source *s, void (*cb)(void *data), void *data)
{
    s->stopping = true;
    s->on_stopped = cb;
    s->on_stopped_data = data;
    uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}

static uint64_t last_proof(const struct source *s)
{
    return s->last_proof_ns;
}

static uint32_t check(const struct source_options *options, char *reason, size_t reason_len)
{
    char words[SOURCE_REASON_BYTES], err[SOURCE_REASON_BYTES];
    struct sysfs_look seen = {0};
    int rc = sysfs_scan(options->sysfs_root, &seen, err, sizeof err);
    uint32_t state = judge(rc, &seen, words);

    snprintf(reason, reason_len, "%s", rc < 0 ? err : words);
    sysfs_look_free(&seen);
    return state;
}

const struct source_api sysfs_source = {
    .name = "sysfs",
    .source = SYSFS,
    .start = start,
    .stop = stop,
    .resync = resync,
    .heard = heard,
    .last_proof = last_proof,
    .check = check,
};
