/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/target/watched.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "agent/coverage.h"
#include "agent/numbers.h"
#include "agent/record.h"
#include "runtime/clock.h"
#include "runtime/log.h"
#include "sensebus/v1/agents.pb-c.h"

static const char *const capabilities[] = {"event", "target-mode"};

/* ------------------------------------------------------------------------------------------------ records */

void watched_tell(const struct watched *w, struct record *record)
{
    record->wall_ns = clock_wall_ns();
    record->boot_ns = clock_boot_ns();
    w->ops->on_record(w->data, record);
}

/* -1 without one. */
static int32_t number_of(struct watched *w, const char *initiator)
{
    int32_t number = numbers_find(w->initiators, initiator);

    if (number < 0 && w->initiators->n < WATCHED_MAX_NUMBERED)
        number = numbers_get(w->initiators, initiator);
    return number < 0 ? -1 : number;
}

static void on_change(void *data, const struct snapshot_change *change)
{
    struct watched *w = data;
    struct change_text text;
    struct record record;
    int32_t number = change->nexus ? number_of(w, change->nexus->initiator) : -1;

    change_record(&w->source, change, number, &text, &record);
    watched_tell(w, &record);
}

static void tell_outage(struct watched *w, const struct snapshot_target *target, enum change_outage outage,
                        const char *reason)
{
    struct change_text text;
    struct record record;

    change_outage_record(&w->source, target, outage, reason, &text, &record);
    watched_tell(w, &record);
}

static void cover(struct watched *w, uint32_t state, const char *reason)
{
    struct coverage *c = w->coverage;
    uint64_t version = c->version;

    if (coverage_set(c, SENSEBUS__V1__SOURCE__SOURCE_TARGET, w->instance, state, reason) < 0)
        log_error("coverage.memory", "source=%s", w->instance);
    if (c->version == version)
        return;
    log_info("target.health", "source=%s state=%s reason=\"%s\"", w->instance,
             state == SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED      ? "armed"
             : state == SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_DEGRADED ? "degraded"
                                                                          : "off",
             reason);
    w->ops->on_coverage(w->data);
}

/* ------------------------------------------------------------------------------------------------ sources */

static bool same_targets(const struct snapshot *a, const struct snapshot *b)
{
    if (a->n_targets != b->n_targets)
        return false;
    for (size_t i = 0; i < a->n_targets; i++)
        if (a->targets[i].number != b->targets[i].number || strcmp(a->targets[i].name, b->targets[i].name) != 0)
            return false;
    return true;
}

/* Targets that were there before the outage and are there again. */
static void tell_back(struct watched *w, const struct snapshot *now)
{
    for (size_t i = 0; i < now->n_targets; i++)
        if (snapshot_find(&w->now, now->targets[i].number, now->targets[i].name))
            tell_outage(w, &now->targets[i], CHANGE_BACK, "");
}

/* Adapters have names as long as their targets are shown. */
static int name_adapters(struct watched *w, const struct snapshot *now)
{
    char(*names)[TARGET_MODE_ADAPTER_BYTES] = calloc(now->n_targets + 1, sizeof *names);

    if (!names)
        return UV_ENOMEM;
    for (size_t i = 0; i < now->n_targets; i++)
        change_adapter_name(&w->source, now->targets[i].number, names[i]);
    free(w->names);
    w->names = names;
    return 0;
}

void watched_snapshot(void *watched, struct snapshot *snapshot)
{
    struct watched *w = watched;
    bool adapters_changed;

    snapshot_settle_numbers(snapshot, &w->now); /* each is the name of an adapter */
    adapters_changed = !same_targets(&w->now, snapshot);
    if (name_adapters(w, snapshot) < 0) {
        watched_failed(w, false, "out of memory");
        return;
    }
    if (w->known && w->outage == WATCHED_GONE)
        tell_back(w, snapshot);
    if (w->known)
        snapshot_diff(&w->now, snapshot, on_change, w);
    snapshot_free(&w->now);
    w->now = *snapshot;
    *snapshot = (struct snapshot){0};
    w->known = true;
    w->outage = WATCHED_SEEN;
    watched_prove(w);
    if (w->now.cut)
        cover(w, SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_DEGRADED,
              "a part is left out: it cannot be read or understood, is said twice, or is beyond the agent's bounds");
    else
        cover(w, SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED, "");
    if (adapters_changed)
        w->ops->on_adapters(w->data);
}

/* Told once, and once more when it turns out worse. */
void watched_failed(void *watched, bool gone, const char *reason)
{
    struct watched *w = watched;
    enum watched_outage outage = gone ? WATCHED_GONE : WATCHED_UNREACHABLE;
    bool worse = outage > w->outage;

    if (worse)
        w->outage = outage;
    cover(w, SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF, reason);
    if (!worse)
        return;
    for (size_t i = 0; i < w->now.n_targets; i++)
        tell_outage(w, &w->now.targets[i], gone ? CHANGE_GONE : CHANGE_UNREACHABLE, reason);
    if (gone)
        snapshot_forget_nexuses(&w->now);
}

bool watched_has_looked(const struct watched *w)
{
    return !w->on || w->known || w->outage != WATCHED_SEEN;
}

void watched_prove(const struct watched *w)
{
    if (w->on && w->known && w->outage == WATCHED_SEEN)
        coverage_prove(w->coverage, SENSEBUS__V1__SOURCE__SOURCE_TARGET, w->instance, clock_wall_ns());
}

/* ------------------------------------------------------------------------------------------------ adapters */

bool watched_is_adapter(const struct watched *w, const char *name)
{
    size_t n = strlen(w->source.adapter_prefix);

    return strncmp(name, w->source.adapter_prefix, n) == 0 && name[n] && !name[n + strspn(name + n, "0123456789")];
}

bool watched_find(const struct watched *w, const char *name, size_t *out_index)
{
    for (size_t i = 0; i < w->now.n_targets; i++) {
        if (strcmp(w->names[i], name) != 0)
            continue;
        *out_index = i;
        return true;
    }
    return false;
}

void watched_adapter(const struct watched *w, size_t index, struct target_mode_adapter *out)
{
    const struct snapshot_target *target = &w->now.targets[index];

    out->name = w->names[index];
    out->own_id = target->name;
    out->controller = w->source.controller_base + target->number;
    out->capabilities = capabilities;
    out->n_capabilities = sizeof capabilities / sizeof capabilities[0];
}

bool watched_logged_in(const struct watched *w, size_t index, const char *initiator)
{
    const struct snapshot_target *target = &w->now.targets[index];

    for (size_t i = 0; i < target->n_nexuses; i++)
        if (strcmp(w->now.nexuses[target->first_nexus + i].initiator, initiator) == 0)
            return true;
    return false;
}

/* ------------------------------------------------------------------------------------------------ life */

void watched_start(struct watched *w)
{
    w->on = true;
    if (coverage_set(w->coverage, SENSEBUS__V1__SOURCE__SOURCE_TARGET, w->instance,
                     SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF, "not looked yet") < 0)
        log_error("coverage.memory", "source=%s", w->instance);
}

void watched_deinit(struct watched *w)
{
    snapshot_free(&w->now);
    free(w->names);
    w->names = NULL;
}
