/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kernel/kernel.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/coverage.h"
#include "agent/kernel/device_scan.h"
#include "agent/record.h"
#include "runtime/log.h"
#include "sensebus/v1/code.pb-c.h"

#define PAUSE_MS  200 /* between two looks, however much the hooks tell */
#define MAX_STALE 64  /* devices to be read anew at the next look; when there are more, all are */
#define DEV       "/dev"

#define CODE(name)   SENSEBUS__V1__CODE__##name
#define SOURCE(name) SENSEBUS__V1__SOURCE__SOURCE_##name

struct stale {
    struct observation_place places[MAX_STALE];
    size_t n;
    bool all;
};

struct kernel {
    struct kernel_options options;
    char *root;
    const struct kernel_ops *ops;
    void *data;
    uv_timer_t timer; /* the next look */
    uv_work_t work;
    bool working, again, stopping, closed, looked, told_cut;
    struct device_list known; /* the last look that went well; not touched while another is made */
    struct device_list look;  /* of the work in progress, as the three below */
    struct stale stale_now;
    int rc;
    char err[256];
    int last_rc;
    struct stale stale; /* for the next look */
    struct resets resets;
    void (*on_stopped)(void *data);
    void *on_stopped_data;
};

static void look(uv_timer_t *timer);

/* ------------------------------------------------------------------------------------------------ looks */

/* On the pool. */
static void on_work(uv_work_t *work)
{
    struct kernel *k = work->data;
    const struct device_scan_known known = {
        .before = k->stale_now.all ? NULL : &k->known, .stale = k->stale_now.places, .n_stale = k->stale_now.n};

    k->rc = device_scan(k->root, &known, &k->look, k->err, sizeof k->err);
}

static void kernel_free(struct kernel *k)
{
    device_list_free(&k->known);
    free(k->root);
    free(k);
}

/* A look that is still on the pool has what it needs, and frees it when it returns. */
static void on_timer_closed(uv_handle_t *handle)
{
    struct kernel *k = handle->data;
    void (*cb)(void *) = k->on_stopped;
    void *data = k->on_stopped_data;

    k->closed = true;
    if (!k->working)
        kernel_free(k);
    if (cb)
        cb(data);
}

static void tell_cut(struct kernel *k)
{
    if (k->known.cut && !k->told_cut)
        log_warn("kernel.devices", "reason=\"more than %d adapters or %d devices: the others have no sessions\"",
                 DEVICE_LIST_MAX_ADAPTERS, DEVICE_LIST_MAX_DEVICES);
    k->told_cut = k->known.cut;
}

/* What cannot be looked at stays as it was known. */
static void finish_look(struct kernel *k)
{
    bool first = !kernel_has_looked(k), same;

    uv_timer_start(&k->timer, look, k->again ? PAUSE_MS : k->options.poll_ms, 0);
    k->again = false;
    if (k->rc < 0) {
        if (k->rc != k->last_rc)
            log_warn("kernel.look", "sysfs=%s reason=\"%s\"", k->root, k->err);
        k->last_rc = k->rc;
        k->stale.all = true;
        if (first)
            k->ops->on_changed(k->data);
        return;
    }
    k->last_rc = 0;
    same = k->looked && device_list_same(&k->known, &k->look);
    device_list_free(&k->known);
    k->known = k->look;
    k->look = (struct device_list){0};
    k->looked = true;
    tell_cut(k);
    if (same)
        return;
    log_debug("kernel.devices", "adapters=%zu devices=%zu", k->known.n_adapters, k->known.n_devices);
    k->ops->on_changed(k->data);
}

static void on_looked(uv_work_t *work, int status)
{
    struct kernel *k = work->data;

    (void)status;
    k->working = false;
    if (k->stopping) {
        device_list_free(&k->look);
        if (k->closed)
            kernel_free(k);
        return;
    }
    finish_look(k);
}

static void look(uv_timer_t *timer)
{
    struct kernel *k = timer->data;

    k->stale_now = k->stale;
    k->working = uv_queue_work(timer->loop, &k->work, on_work, on_looked) == 0;
    if (k->working)
        k->stale = (struct stale){0};
    else
        uv_timer_start(&k->timer, look, k->options.poll_ms, 0);
}

/* ------------------------------------------------------------------------------------------------ what hooks tell */

static bool changes_identity(uint32_t code)
{
    switch (code) {
    case CODE(CAPACITY_CHANGED):
    case CODE(INQUIRY_DATA_CHANGED):
    case CODE(MEDIUM_CHANGED): return true;
    default: return false;
    }
}

static bool changes_devices(uint32_t code)
{
    switch (code) {
    case CODE(DEVICE_ADDED):
    case CODE(DEVICE_REMOVED):
    case CODE(DEVICE_OFFLINE):
    case CODE(DEVICE_ONLINE):
    case CODE(ADAPTER_ADDED):
    case CODE(ADAPTER_REMOVED):
    case CODE(TARGET_REMOVED):
    case CODE(TARGET_ONLINE): return true;
    default: return changes_identity(code);
    }
}

/* The devices of a record that changes who they are. */
static void mark_stale(struct kernel *k, const struct record *r)
{
    for (size_t i = 0; i < k->known.n_devices; i++) {
        const struct observation_place *p = &k->known.devices[i].place;

        if (p->host != r->place.controller || p->target != r->place.target)
            continue;
        if (k->stale.n < MAX_STALE)
            k->stale.places[k->stale.n++] = *p;
        else
            k->stale.all = true;
    }
}

void kernel_heard(struct kernel *k, const struct record *r)
{
    if (k->stopping || !r->place.kernel || r->mode == SENSEBUS__V1__MODE__MODE_TARGET || !changes_devices(r->code))
        return;
    if (changes_identity(r->code))
        mark_stale(k, r);
    if (k->working)
        k->again = true;
    else if (uv_timer_get_due_in(&k->timer) > PAUSE_MS)
        uv_timer_start(&k->timer, look, PAUSE_MS, 0);
}

/* ------------------------------------------------------------------------------------------------ questions */

bool kernel_has_looked(const struct kernel *k)
{
    return k->looked || k->last_rc < 0;
}

const struct device_list *kernel_devices(const struct kernel *k)
{
    return &k->known;
}

const char *kernel_sysfs_root(const struct kernel *k)
{
    return k->root;
}

bool kernel_allows_reset(const struct kernel *k)
{
    return k->options.allow_reset;
}

const char *const *kernel_capabilities(const struct kernel *k, size_t *out_n)
{
    static const char *const offers[] = {"event", "reset-lun", "reset-target"};

    *out_n = k->options.allow_reset ? sizeof offers / sizeof *offers : 1;
    return offers;
}

bool kernel_sees_events(const struct kernel *k, char *reason, size_t reason_len)
{
    static const struct {
        uint32_t source;
        const char *name;
    } hooks[] = {{SOURCE(UEVENT), "uevent"}, {SOURCE(SYSFS), "sysfs"}};
    size_t used = 0;

    reason[0] = 0;
    for (size_t i = 0; i < k->options.coverage->n; i++) {
        const struct coverage_entry *e = &k->options.coverage->entries[i];

        for (size_t h = 0; h < sizeof hooks / sizeof *hooks; h++) {
            if (e->source != hooks[h].source)
                continue;
            if (e->state != SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF)
                return true;
            if (used < reason_len)
                used += (size_t)snprintf(reason + used, reason_len - used, "%s%s: %.80s", used ? "; " : "",
                                         hooks[h].name, e->reason);
        }
    }
    if (used == 0)
        snprintf(reason, reason_len, "uevent and sysfs are not started yet");
    return false;
}

int kernel_inventory(const struct kernel *k, struct kernel_inventory *out)
{
    *out = (struct kernel_inventory){.items = calloc(k->known.n_devices + 1, sizeof *out->items)};
    if (!out->items)
        return UV_ENOMEM;
    for (size_t i = 0; i < k->known.n_devices; i++) {
        const struct listed_device *d = &k->known.devices[i];
        Sensebus__V1__InventoryDevice *m = sensebus__v1__inventory_device__unpack(NULL, d->message_len, d->message);

        if (!m) {
            kernel_inventory_free(out);
            return UV_ENOMEM;
        }
        out->items[out->n++] = m;
    }
    return 0;
}

void kernel_inventory_free(struct kernel_inventory *inventory)
{
    for (size_t i = 0; i < inventory->n; i++)
        sensebus__v1__inventory_device__free_unpacked(inventory->items[i], NULL);
    free(inventory->items);
    *inventory = (struct kernel_inventory){0};
}

int kernel_reset(struct kernel *k, const struct observation_place *place, int mode, reset_cb cb, void *data)
{
    return resets_begin(&k->resets, k->timer.loop, k->root, DEV, place, mode, cb, data);
}

/* ------------------------------------------------------------------------------------------------ life */

int kernel_start(uv_loop_t *loop, const struct kernel_options *options, const struct kernel_ops *ops, void *data,
                 struct kernel **out_kernel)
{
    struct kernel *k = calloc(1, sizeof *k);

    if (!k || !(k->root = strdup(options->sysfs_root))) {
        free(k);
        return UV_ENOMEM;
    }
    k->options = *options;
    k->options.sysfs_root = k->root;
    k->ops = ops;
    k->data = data;
    k->work.data = k;
    uv_timer_init(loop, &k->timer);
    k->timer.data = k;
    uv_timer_start(&k->timer, look, 0, 0);
    *out_kernel = k;
    return 0;
}

void kernel_stop(struct kernel *k, void (*cb)(void *data), void *data)
{
    if (!k)
        return;
    k->stopping = true;
    k->on_stopped = cb;
    k->on_stopped_data = data;
    resets_cancel(&k->resets);
    uv_close((uv_handle_t *)&k->timer, on_timer_closed);
}
