/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/sources.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/coverage.h"
#include "agent/record.h"
#include "agent/source/fc_netlink.h"
#include "agent/source/iscsi_netlink.h"
#include "agent/source/pipeline.h"
#include "agent/source/sysfs.h"
#include "agent/source/tcmu.h"
#include "agent/source/trace/trace.h"
#include "agent/source/uevent.h"
#include "runtime/clock.h"
#include "runtime/log.h"
#include "sensebus/v1/agents.pb-c.h"
#include "sensebus/v1/code.pb-c.h"

#define PAUSE_MS 1000 /* between two losses that are told, and two resyncs */

const struct source_api *const sources_list[] = {
    &uevent_source, &trace_source_api, &iscsi_netlink_source, &fc_netlink_source,
    &sysfs_source,  &tcmu_source,      &answers_source_api,
};

/* What a member lost, and nobody was told yet. */
struct loss {
    bool told;
    uint64_t from_wall_ns, to_wall_ns, boot_ns;
    char reason[SOURCE_REASON_BYTES];
};

struct member {
    struct sources *owner;
    const struct source_api *api;
    struct source *source; /* NULL = off */
    struct loss loss;
};

struct sources {
    const struct sources_ops *ops;
    void *data;
    struct coverage *coverage;
    struct pipeline *pipeline;
    struct member members[SOURCES_MAX];
    size_t n_members;
    uv_timer_t pause; /* runs: something is due, or was a moment ago */
    bool resync_due, stopping;
    int n_open;
    void (*on_stopped)(void *data);
    void *on_stopped_data;
};

size_t sources_count(void)
{
    return sizeof sources_list / sizeof *sources_list;
}

int sources_find(const char *name)
{
    for (size_t i = 0; i < sources_count(); i++)
        if (strcmp(sources_list[i]->name, name) == 0)
            return (int)i;
    return -1;
}

const char *sources_off_reason(const struct source_api *api)
{
    return api->off_because ? api->off_because : "turned off by --source";
}

const char *sources_instance(const struct source_api *api)
{
    return api->source == SENSEBUS__V1__SOURCE__SOURCE_TARGET ? api->name : "";
}

/* ------------------------------------------------------------------------------------------------ losses */

/* How many of them would have been events is not known. */
static void tell_loss(struct member *m)
{
    char reason[SOURCE_REASON_BYTES + 96];
    struct loss *loss = &m->loss;
    struct record_gap gap = {.stage = SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_KERNEL, .at_least = true, .reason = reason};
    struct record record = {
        .code = SENSEBUS__V1__CODE__EVENTS_LOST,
        .source = m->api->source,
        .scope = SENSEBUS__V1__SCOPE__SCOPE_HOST,
        .mode = SENSEBUS__V1__MODE__MODE_BOTH,
        .place = {.controller = -1, .target = -1, .lun = -1},
        .wall_ns = loss->to_wall_ns,
        .boot_ns = loss->boot_ns,
        .gap = &gap,
    };

    snprintf(reason, sizeof reason, "%s: %s (within %" PRIu64 " ms)", m->api->name, loss->reason,
             (loss->to_wall_ns - loss->from_wall_ns) / 1000000 + 1);
    log_warn("source.lost", "source=%s reason=\"%s\"", m->api->name, reason);
    *loss = (struct loss){.told = true};
    m->owner->ops->on_record(m->owner->data, &record);
}

static void tell_losses(struct sources *s)
{
    for (size_t i = 0; i < s->n_members; i++)
        if (!s->members[i].loss.told)
            tell_loss(&s->members[i]);
}

static bool is_due(const struct sources *s)
{
    for (size_t i = 0; i < s->n_members; i++)
        if (!s->members[i].loss.told)
            return true;
    return s->resync_due;
}

static void on_pause(uv_timer_t *timer)
{
    struct sources *s = timer->data;

    if (!is_due(s))
        return;
    tell_losses(s);
    s->resync_due = false;
    for (size_t i = 0; i < s->n_members; i++)
        if (s->members[i].source && s->members[i].api->resync)
            s->members[i].api->resync(s->members[i].source);
    uv_timer_start(&s->pause, on_pause, PAUSE_MS, 0);
}

/* From the loop, and not from inside a source. */
static void ask_resync(struct sources *s)
{
    s->resync_due = true;
    if (!s->stopping && !uv_is_active((uv_handle_t *)&s->pause))
        uv_timer_start(&s->pause, on_pause, 0, 0);
}

static void lose(struct member *m, uint64_t from_wall_ns, uint64_t to_wall_ns, const char *reason)
{
    struct loss *loss = &m->loss;

    if (loss->told || from_wall_ns < loss->from_wall_ns)
        loss->from_wall_ns = from_wall_ns;
    if (loss->told || to_wall_ns > loss->to_wall_ns)
        loss->to_wall_ns = to_wall_ns;
    if (loss->from_wall_ns > loss->to_wall_ns) /* the clock was set */
        loss->from_wall_ns = loss->to_wall_ns;
    loss->boot_ns = clock_boot_ns();
    loss->told = false;
    snprintf(loss->reason, sizeof loss->reason, "%s", reason);
    ask_resync(m->owner);
}

/* ------------------------------------------------------------------------------------------------ what sources say */

static void on_observation(void *data, const struct observation *observation)
{
    struct member *m = data;

    for (size_t i = 0; i < m->owner->n_members; i++) {
        const struct member *other = &m->owner->members[i];

        if (other != m && other->source && other->api->heard)
            other->api->heard(other->source, observation);
    }
    if (pipeline_push(m->owner->pipeline, observation) < 0)
        lose(m, observation->wall_ns, observation->wall_ns, "the agent is out of memory");
}

static void on_lost(void *data, uint32_t source, uint64_t from_wall_ns, uint64_t to_wall_ns, const char *reason)
{
    (void)source;
    lose(data, from_wall_ns, to_wall_ns, reason);
}

static void on_doubt(void *data, uint32_t source)
{
    struct member *m = data;

    (void)source;
    ask_resync(m->owner);
}

static const char *state_name(uint32_t state)
{
    switch (state) {
    case SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED: return "armed";
    case SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_DEGRADED: return "degraded";
    default: return "off";
    }
}

static void cover(struct member *m, uint32_t state, const char *reason)
{
    struct sources *s = m->owner;
    uint64_t before = s->coverage->version;

    if (coverage_set(s->coverage, m->api->source, sources_instance(m->api), state, reason) < 0)
        log_error("source.memory", "source=%s", m->api->name);
    if (s->coverage->version == before)
        return;
    log_info("source.coverage", "source=%s state=%s reason=\"%s\"", m->api->name, state_name(state), reason);
    s->ops->on_coverage(s->data);
}

static void on_coverage(void *data, uint32_t source, uint32_t state, const char *reason)
{
    struct member *m = data;

    bool awaited = state != SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF;

    if (state == SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_DEGRADED && m->api->awaited)
        awaited = m->api->awaited(m->source);
    cover(m, state, reason);
    pipeline_set_armed(m->owner->pipeline, source, awaited);
}

static const struct source_ops member_ops = {
    .on_observation = on_observation, .on_lost = on_lost, .on_doubt = on_doubt, .on_coverage = on_coverage};

/* ------------------------------------------------------------------------------------------------ life */

static void one_stopped(void *data)
{
    struct sources *s = data;
    void (*cb)(void *) = s->on_stopped;
    void *cb_data = s->on_stopped_data;

    if (--s->n_open > 0)
        return;
    free(s);
    cb(cb_data);
}

static void on_timer_closed(uv_handle_t *handle)
{
    one_stopped(handle->data);
}

static int start_member(struct sources *s, const struct sources_options *options, size_t index)
{
    const struct source_api *const *list = options->list ? options->list : sources_list;
    struct source_options own = {.loop = s->pause.loop, .sysfs_root = options->sysfs_root, .poll_ms = options->poll_ms};
    struct member *m = &s->members[s->n_members++];

    *m = (struct member){.owner = s, .api = list[index], .loss.told = true};
    if (options->off & 1u << index) {
        cover(m, SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF, sources_off_reason(m->api));
        return 0;
    }
    return m->api->start(&own, &member_ops, m, &m->source);
}

static void nobody_waits(void *data)
{
    (void)data;
}

int sources_start(uv_loop_t *loop, const struct sources_options *options, const struct sources_ops *ops, void *data,
                  struct sources **out_sources)
{
    struct pipeline_options pipeline = {
        .loop = loop,
        .sysfs_root = options->sysfs_root,
        .poll_ms = options->poll_ms,
        .merge_window_ms = options->merge_window_ms,
    };
    size_t n = options->list ? options->n_list : sources_count();
    struct sources *s = calloc(1, sizeof *s);
    int rc;

    if (!s)
        return UV_ENOMEM;
    s->ops = ops;
    s->data = data;
    s->coverage = options->coverage;
    rc = pipeline_start(&pipeline, ops->on_record, data, &s->pipeline);
    if (rc < 0) {
        free(s);
        return rc;
    }
    uv_timer_init(loop, &s->pause);
    s->pause.data = s;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = start_member(s, options, i);
    if (rc < 0)
        sources_stop(s, nobody_waits, NULL);
    else
        *out_sources = s;
    return rc;
}

void sources_stop(struct sources *s, void (*cb)(void *data), void *data)
{
    s->stopping = true;
    s->on_stopped = cb;
    s->on_stopped_data = data;
    s->n_open = 2;
    for (size_t i = 0; i < s->n_members; i++) {
        if (!s->members[i].source)
            continue;
        s->n_open++;
        s->members[i].api->stop(s->members[i].source, one_stopped, s);
    }
    tell_losses(s);
    pipeline_stop(s->pipeline, one_stopped, s);
    uv_close((uv_handle_t *)&s->pause, on_timer_closed);
}

void sources_report(struct sources *s, const struct record *record)
{
    pipeline_report(s->pipeline, record);
}

void sources_prove(struct sources *s)
{
    for (size_t i = 0; i < s->n_members; i++) {
        const struct member *m = &s->members[i];

        if (m->source && !s->stopping)
            coverage_prove(s->coverage, m->api->source, sources_instance(m->api), m->api->last_proof(m->source));
    }
}
