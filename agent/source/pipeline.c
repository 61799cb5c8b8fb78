/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/pipeline.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/source/calm.h"
#include "agent/source/identity_sysfs.h"
#include "agent/source/merge.h"
#include "agent/source/uevent_message.h"
#include "runtime/clock.h"
#include "runtime/log.h"
#include "sensebus/v1/code.pb-c.h"
#include "sensebus/v1/event.pb-c.h"

#define NAMES_PER_TURN 16
#define SETTLE_MS      3000 /* a new device has its disk and its map by then */

struct pipeline {
    struct merge *merge;
    struct identity_cache *identities;
    struct calm *calm;
    char *root;
    uv_timer_t deadline; /* of merge */
    uv_timer_t naming;
    struct observation_place *places; /* to be named */
    size_t n_places, n_named;
    int n_open;
    void (*on_stopped)(void *data);
    void *on_stopped_data;
};

/* ------------------------------------------------------------------------------------------------ names */

static void on_naming(uv_timer_t *timer);

/* The devices that there are. */
static void list_places(struct pipeline *p)
{
    char path[4096];
    struct dirent *entry;
    DIR *folder;

    snprintf(path, sizeof path, "%s/class/scsi_device", p->root);
    folder = opendir(path);
    p->n_places = p->n_named = 0;
    while (folder && p->n_places < IDENTITY_MAX_PLACES && (entry = readdir(folder))) {
        uevent_place(entry->d_name, &p->places[p->n_places]);
        p->n_places += p->places[p->n_places].lun >= 0;
    }
    if (folder)
        closedir(folder);
}

static void on_naming(uv_timer_t *timer)
{
    struct pipeline *p = timer->data;
    struct kernel_device fallback;

    if (p->n_named >= p->n_places)
        list_places(p);
    for (int i = 0; i < NAMES_PER_TURN && p->n_named < p->n_places; i++) {
        uint64_t now_ns = clock_boot_ns();

        identity_sysfs_find(p->identities, p->root, &p->places[p->n_named++], now_ns, now_ns, &fallback);
    }
    if (p->n_named < p->n_places)
        uv_timer_start(&p->naming, on_naming, 1, 0);
}

/* ------------------------------------------------------------------------------------------------ records */

static void tell(struct pipeline *p, const struct merged *e, uint64_t now_ns)
{
    const struct observation *lead = &e->lead;
    struct kernel_device fallback;
    struct identity_place place;
    struct record record;

    if (e->kind != MERGE_EVENT) {
        log_debug("source.held", "code=%" PRIu32 " source=%" PRIu32 " kind=%s", lead->code, lead->source,
                  e->kind == MERGE_CONFIRMATION ? "confirmation" : "evidence");
        return;
    }
    merged_record(e, &record);
    if (lead->source == SENSEBUS__V1__SOURCE__SOURCE_TARGET) {
        record.mode = SENSEBUS__V1__MODE__MODE_TARGET;
        record.place.initiator = lead->object;
    }
    if (lead->place.host >= 0) {
        identity_fill_place(&place,
                            identity_sysfs_find(p->identities, p->root, &lead->place, lead->boot_ns, now_ns, &fallback),
                            lead->target_name, lead->portal);
        record.place = place.place;
    }
    calm_take(p->calm, &record);
}

static void pump(struct pipeline *p);

static void on_deadline(uv_timer_t *timer)
{
    pump(timer->data);
}

/* Everything that is due, then wait for what is next. */
static void pump(struct pipeline *p)
{
    uint64_t now_ns = clock_boot_ns(), next_ns;
    struct merged *e;

    while ((e = merge_next(p->merge, now_ns))) {
        tell(p, e, now_ns);
        merged_free(e);
    }
    next_ns = merge_deadline(p->merge);
    if (next_ns == UINT64_MAX)
        uv_timer_stop(&p->deadline);
    else
        uv_timer_start(&p->deadline, on_deadline, next_ns > now_ns ? (next_ns - now_ns) / 1000000 + 1 : 0, 0);
}

void pipeline_set_armed(struct pipeline *p, uint32_t source, bool armed)
{
    merge_set_armed(p->merge, source, armed);
    pump(p);
}

/* Names come from targets and their configuration: any bytes. */
static const char *clean(const char *text, char *out, size_t cap)
{
    if (!text)
        return NULL;
    identify_text((const uint8_t *)text, strlen(text), out, cap);
    return out;
}

int pipeline_push(struct pipeline *p, const struct observation *o)
{
    char target_name[IDENTITY_TARGET_BYTES], portal[IDENTITY_PORTAL_BYTES];
    struct observation seen = *o;
    int rc;

    seen.target_name = clean(o->target_name, target_name, sizeof target_name);
    seen.portal = clean(o->portal, portal, sizeof portal);
    identity_sysfs_resolve(p->root, &seen);
    identity_cache_observe(p->identities, &seen);
    if (seen.code == SENSEBUS__V1__CODE__DEVICE_ADDED && p->n_named >= p->n_places)
        uv_timer_start(&p->naming, on_naming, SETTLE_MS, 0);
    rc = merge_push(p->merge, &seen, clock_boot_ns());
    pump(p);
    return rc;
}

void pipeline_report(struct pipeline *p, const struct record *record)
{
    calm_take(p->calm, record);
}

/* ------------------------------------------------------------------------------------------------ life */

static void pipeline_free(struct pipeline *p)
{
    merge_free(p->merge);
    identity_cache_free(p->identities);
    free(p->places);
    free(p->root);
    free(p);
}

int pipeline_start(const struct pipeline_options *options, void (*on_record)(void *data, const struct record *record),
                   void *data, struct pipeline **out_pipeline)
{
    struct merge_options merge = {.window_ms = options->merge_window_ms, .confirmation_ms = 3 * options->poll_ms};
    struct pipeline *p = calloc(1, sizeof *p);
    uint64_t seed = 0;

    if (!p)
        return UV_ENOMEM;
    if (merge.confirmation_ms < MERGE_CONFIRMATION_MS)
        merge.confirmation_ms = MERGE_CONFIRMATION_MS;
    uv_random(NULL, NULL, &seed, sizeof seed, 0, NULL); /* without it tables are only easier to fill */
    p->merge = merge_new(&merge);
    p->identities = identity_cache_new(&(struct identity_options){.seed = seed});
    p->places = calloc(IDENTITY_MAX_PLACES, sizeof *p->places);
    p->root = strdup(options->sysfs_root);
    if (!p->merge || !p->identities || !p->places || !p->root ||
        calm_start(options->loop, &(struct storm_options){0}, on_record, data, &p->calm) < 0) {
        pipeline_free(p);
        return UV_ENOMEM;
    }
    uv_timer_init(options->loop, &p->deadline);
    uv_timer_init(options->loop, &p->naming);
    p->deadline.data = p->naming.data = p;
    p->n_open = 3;
    uv_timer_start(&p->naming, on_naming, 0, 0);
    *out_pipeline = p;
    return 0;
}

static void one_closed(void *data)
{
    struct pipeline *p = data;
    void (*cb)(void *) = p->on_stopped;
    void *cb_data = p->on_stopped_data;

    if (--p->n_open > 0)
        return;
    pipeline_free(p);
    cb(cb_data);
}

static void on_timer_closed(uv_handle_t *handle)
{
    one_closed(handle->data);
}

void pipeline_stop(struct pipeline *p, void (*cb)(void *data), void *data)
{
    merge_finish(p->merge);
    pump(p);
    p->on_stopped = cb;
    p->on_stopped_data = data;
    calm_stop(p->calm, one_closed, p);
    uv_close((uv_handle_t *)&p->deadline, on_timer_closed);
    uv_close((uv_handle_t *)&p->naming, on_timer_closed);
}
