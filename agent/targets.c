/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/targets.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/adapters.h"
#include "agent/chap.h"
#include "agent/inventory.h"
#include "agent/message_parts.h"
#include "agent/unit.h"
#include "runtime/log.h"
#include "sensebus/v1/agents.pb-c.h"

#define DISCOVERY_TIMEOUT_MS 10000
#define NUMBERS_FILE         "targets"
#define MAX_INVENTORY        65536

static void discover(struct discovery *d);

/* ------------------------------------------------------------------------------------------------ watches */

static void on_record(struct watch *w, void *data, const struct record *record)
{
    struct targets *t = data;

    (void)w;
    t->ops->on_record(t->data, record);
}

static void on_health(struct watch *w, void *data)
{
    static const uint32_t states[] = {
        [WATCH_OFF] = SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF,
        [WATCH_DEGRADED] = SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_DEGRADED,
        [WATCH_ARMED] = SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED,
    };
    static const char *const names[] = {[WATCH_OFF] = "off", [WATCH_DEGRADED] = "degraded", [WATCH_ARMED] = "armed"};
    struct targets *t = data;

    log_info("watch.health", "target=%s portal=%s state=%s reason=\"%s\"", w->target_name, w->portal, names[w->health],
             w->reason);
    if (coverage_set(t->options.coverage, SENSEBUS__V1__SOURCE__SOURCE_ISCSI, w->target_name, states[w->health],
                     w->reason) < 0)
        log_error("coverage.memory", "target=%s", w->target_name);
    t->ops->on_coverage(t->data);
    t->ops->on_inventory(t->data); /* without a session nobody knows the units' state */
}

static void on_inventory(struct watch *w, void *data)
{
    struct targets *t = data;

    (void)w;
    t->ops->on_inventory(t->data);
}

static void one_stopped(struct targets *t)
{
    if (--t->n_running == 0 && t->stopping && t->on_stopped)
        t->on_stopped(t->on_stopped_data);
}

static void on_watch_stopped(struct watch *w, void *data)
{
    (void)w;
    one_stopped(data);
}

static struct watch *find_watch(const struct targets *t, const char *name)
{
    for (size_t i = 0; i < t->n_watches; i++)
        if (strcmp(t->watches[i]->target_name, name) == 0)
            return t->watches[i];
    return NULL;
}

struct watch *targets_find(const struct targets *t, const char *name, int32_t number)
{
    if (name[0])
        return find_watch(t, name);
    for (size_t i = 0; i < t->n_watches; i++)
        if (t->watches[i]->options.alias == number)
            return t->watches[i];
    return NULL;
}

/* Those of them that are new. */
static int add_portals(struct watch *w, const struct target_url *url)
{
    int result = UV_EEXIST;

    for (size_t i = 0; i < url->n_portals; i++) {
        int rc = watch_add_portal(w, url->portals[i]);

        if (rc == UV_EEXIST)
            continue;
        if (rc == 0)
            log_info("targets.portal", "target=%s portal=%s number=%zu", w->target_name, url->portals[i], w->n_portals);
        else if (rc != UV_ENOSPC || !w->told_full)
            log_warn("targets.portal", "target=%s portal=%s is not used, reason=\"%s\"", w->target_name,
                     url->portals[i], rc == UV_ENOSPC ? "too many portals" : uv_strerror(rc));
        w->told_full = w->told_full || rc == UV_ENOSPC;
        if (rc == 0 || result != 0)
            result = rc;
    }
    return result;
}

int targets_add(struct targets *t, const struct target_url *url)
{
    static const struct watch_ops ops = {
        .on_record = on_record, .on_health = on_health, .on_inventory = on_inventory, .on_stopped = on_watch_stopped};
    const struct chap *chap = chap_list_find(t->options.chap, url->name);
    struct watch_options options = {
        .target_name = url->name,
        .portal = url->portals[0],
        .lun = url->lun,
        .adapter = ADAPTER_ISCSI,
        .initiator_name = t->options.initiator_name,
        .header_digest = t->options.header_digest,
        .poll_ms = t->options.poll_ms,
        .jitter_ms = t->options.jitter_ms,
        .compare_ms = t->options.compare_ms,
        .command_timeout_ms = t->options.command_timeout_ms,
        .counts = t->options.counts,
        .session_api = &iscsi_session_libiscsi,
    };
    struct watch *w = find_watch(t, url->name);
    int rc;

    if (w)
        return url->lun == w->options.lun ? add_portals(w, url) : UV_EEXIST;
    if (t->n_watches == TARGETS_MAX)
        return UV_ENOSPC;
    if (chap) {
        options.chap_user = chap->user;
        options.chap_secret = chap->secret;
        options.mutual_chap_user = chap->mutual_user;
        options.mutual_chap_secret = chap->mutual_secret;
    }
    options.alias = numbers_get(&t->numbers, url->name);
    if (options.alias < 0)
        return options.alias;
    rc = uv_random(NULL, NULL, &options.seed, sizeof options.seed, 0, NULL);
    if (rc < 0)
        return rc;
    w = malloc(sizeof *w);
    if (!w)
        return UV_ENOMEM;
    rc = watch_start(w, t->loop, &options, &ops, t);
    if (rc < 0) {
        free(w);
        return rc;
    }
    t->watches[t->n_watches++] = w;
    t->n_running++;
    log_info("targets.added", "target=%s portal=%s number=%d chap=%s", url->name, url->portals[0], options.alias,
             chap ? chap->user : "none");
    add_portals(w, url);
    on_health(w, t);
    return 0;
}

/* ------------------------------------------------------------------------------------------------ discovery */

static void set_discovery(struct discovery *d, uint32_t state, const char *reason)
{
    struct targets *t = d->targets;
    uint64_t version = t->options.coverage->version;

    if (coverage_set(t->options.coverage, SENSEBUS__V1__SOURCE__SOURCE_ISCSI, d->instance, state, reason) < 0)
        log_error("coverage.memory", "discovery=%s", d->portal);
    if (t->options.coverage->version == version)
        return;
    if (state == SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED)
        log_info("discovery.answered", "portal=%s", d->portal);
    else
        log_warn("discovery.failed", "portal=%s reason=\"%s\"", d->portal, reason);
    t->ops->on_coverage(t->data);
}

/* "address:port,tpgt" -> "address:port". */
static bool take_discovered(struct discovery *d, const struct iscsi_discovered *found)
{
    struct target_url url = {.lun = -1, .n_portals = 1};
    char portal[TARGET_PORTAL_BYTES], err[128];
    struct watch *w;
    int rc;

    if (!target_name_valid(found->target_name))
        return false;
    snprintf(url.name, sizeof url.name, "%s", found->target_name);
    snprintf(portal, sizeof portal, "%s", found->portal);
    portal[strcspn(portal, ",")] = 0;
    if (target_portal_parse(portal, url.portals[0], err, sizeof err) < 0)
        snprintf(url.portals[0], sizeof url.portals[0], "%s", d->portal); /* none, or nonsense: where we asked */
    w = find_watch(d->targets, url.name);
    rc = w ? add_portals(w, &url) : targets_add(d->targets, &url);
    if (rc < 0 && rc != UV_EEXIST && !w)
        log_error("targets.add", "target=%s reason=\"%s\"", url.name, uv_strerror(rc));
    return true;
}

static void on_discover(uv_timer_t *timer)
{
    discover(timer->data);
}

static void on_discovered(void *data, int status, const char *text, const struct iscsi_discovered *found, size_t n)
{
    struct discovery *d = data;
    size_t n_bad = 0;
    char reason[128];

    d->running = NULL;
    d->answered = true;
    if (status < 0) {
        set_discovery(d, SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF, text ? text : uv_strerror(status));
    } else {
        for (size_t i = 0; i < n; i++)
            if (!take_discovered(d, &found[i]))
                n_bad++;
        snprintf(reason, sizeof reason, "%zu target names are malformed", n_bad);
        set_discovery(d,
                      n_bad ? SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_DEGRADED
                            : SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED,
                      n_bad ? reason : "");
    }
    uv_timer_start(&d->timer, on_discover, d->targets->options.discover_interval_ms, 0);
}

static void discover(struct discovery *d)
{
    struct targets *t = d->targets;
    const struct chap *chap = chap_list_find(t->options.chap, "discovery");
    struct iscsi_session_options options = {
        .initiator_name = t->options.initiator_name,
        .portal = d->portal,
        .header_digest = t->options.header_digest,
    };
    int rc;

    if (chap) {
        options.chap_user = chap->user;
        options.chap_secret = chap->secret;
        options.mutual_chap_user = chap->mutual_user;
        options.mutual_chap_secret = chap->mutual_secret;
    }
    rc = iscsi_discovery_start(t->loop, &options, DISCOVERY_TIMEOUT_MS, on_discovered, d, &d->running);
    if (rc < 0) {
        d->running = NULL;
        on_discovered(d, rc, uv_strerror(rc), NULL, 0);
    }
}

int targets_discover(struct targets *t, const char *portal)
{
    struct discovery *d;

    if (t->n_discoveries == TARGETS_MAX_DISCOVERY)
        return UV_ENOSPC;
    d = &t->discoveries[t->n_discoveries++];
    d->targets = t;
    snprintf(d->portal, sizeof d->portal, "%s", portal);
    snprintf(d->instance, sizeof d->instance, "discovery %s", portal);
    uv_timer_init(t->loop, &d->timer);
    d->timer.data = d;
    uv_timer_start(&d->timer, on_discover, 0, 0);
    t->n_running++;
    return 0;
}

/* ------------------------------------------------------------------------------------------------ inventory */

bool targets_have_looked(const struct targets *t)
{
    for (size_t i = 0; i < t->n_discoveries; i++)
        if (!t->discoveries[i].answered)
            return false;
    for (size_t i = 0; i < t->n_watches; i++)
        if (!t->watches[i]->looked)
            return false;
    return true;
}

static size_t count_units(const struct targets *t)
{
    size_t n = 0;

    for (size_t i = 0; i < t->n_watches; i++)
        n += t->watches[i]->n_units;
    return n < MAX_INVENTORY ? n : MAX_INVENTORY;
}

struct inventory_part {
    Sensebus__V1__InventoryDevice message;
    Sensebus__V1__Address address;
    Sensebus__V1__Device device;
};

static void fill_unit(const struct watch *w, const struct unit *u, struct inventory_part *part)
{
    const struct identity *id = &u->identity;
    Sensebus__V1__InventoryDevice *m = &part->message;
    Sensebus__V1__Address *a = &part->address;
    Sensebus__V1__Device *d = &part->device;

    sensebus__v1__inventory_device__init(m);
    sensebus__v1__address__init(a);
    message_device(d, id, w->target_name, w->portal);
    a->adapter = (char *)ADAPTER_ISCSI;
    a->bus = -1;
    a->target = w->options.alias;
    a->lun = u->lun;
    a->lun_raw = inventory_lun_raw(u->lun);
    m->address = a;
    m->device = d;
    m->n_blocks = id->n_blocks;
    m->block_bytes = id->block_bytes;
    m->maximum_transfer_blocks = id->maximum_transfer_blocks;
    m->state = (char *)(w->health == WATCH_OFF ? "unknown" : unit_state_name(u));
}

int targets_encode_inventory(const struct targets *t, Sensebus__V1__InventoryDevice *const *more, size_t n_more,
                             const struct adapter_list *adapters, uint8_t **out_bytes, size_t *out_len)
{
    Sensebus__V1__AgentMessage message = SENSEBUS__V1__AGENT_MESSAGE__INIT;
    Sensebus__V1__Inventory inventory = SENSEBUS__V1__INVENTORY__INIT;
    size_t cap = count_units(t), n = 0;
    struct inventory_part *parts = calloc(cap + 1, sizeof *parts);
    Sensebus__V1__InventoryDevice **list = calloc(cap + n_more + 1, sizeof *list);
    uint8_t *bytes = NULL;

    for (size_t i = 0; parts && list && i < t->n_watches; i++) {
        const struct watch *w = t->watches[i];

        for (size_t k = 0; k < w->n_units && n < cap; k++) {
            if (w->units[k]->absent)
                continue;
            fill_unit(w, w->units[k], &parts[n]);
            list[n] = &parts[n].message;
            n++;
        }
    }
    for (size_t i = 0; parts && list && i < n_more; i++)
        list[n++] = more[i];
    if (parts && list) {
        inventory.n_devices = n;
        inventory.devices = list;
        inventory.n_adapters = adapters->n;
        inventory.adapters = adapters->items;
        message.message_case = SENSEBUS__V1__AGENT_MESSAGE__MESSAGE_INVENTORY;
        message.inventory = &inventory;
        bytes = malloc(sensebus__v1__agent_message__get_packed_size(&message));
    }
    if (bytes) {
        *out_len = sensebus__v1__agent_message__pack(&message, bytes);
        *out_bytes = bytes;
    }
    free(parts);
    free(list);
    return bytes ? 0 : UV_ENOMEM;
}

void targets_prove(struct targets *t)
{
    for (size_t i = 0; i < t->n_watches; i++)
        coverage_prove(t->options.coverage, SENSEBUS__V1__SOURCE__SOURCE_ISCSI, t->watches[i]->target_name,
                       t->watches[i]->last_proof_ns);
}

/* ------------------------------------------------------------------------------------------------ life */

int targets_init(struct targets *t, uv_loop_t *loop, const struct targets_options *options,
                 const struct targets_ops *ops, void *data)
{
    int rc;

    memset(t, 0, sizeof *t);
    t->loop = loop;
    t->options = *options;
    t->ops = ops;
    t->data = data;
    rc = numbers_load(&t->numbers, t->options.state_directory, NUMBERS_FILE, TARGETS_MAX, true);
    if (rc < 0)
        targets_deinit(t);
    return rc;
}

static void on_discovery_closed(uv_handle_t *handle)
{
    struct discovery *d = handle->data;

    one_stopped(d->targets);
}

static void on_pause_closed(uv_handle_t *handle)
{
    one_stopped(handle->data);
}

void targets_stop(struct targets *t, void (*cb)(void *data), void *data)
{
    t->stopping = true;
    t->on_stopped = cb;
    t->on_stopped_data = data;
    t->n_running++;
    uv_timer_init(t->loop, &t->pause);
    t->pause.data = t;
    uv_close((uv_handle_t *)&t->pause, on_pause_closed);
    for (size_t i = 0; i < t->n_discoveries; i++) {
        struct discovery *d = &t->discoveries[i];

        if (d->running)
            iscsi_discovery_cancel(d->running);
        d->running = NULL;
        uv_close((uv_handle_t *)&d->timer, on_discovery_closed);
    }
    for (size_t i = 0; i < t->n_watches; i++)
        watch_stop(t->watches[i]);
}

void targets_deinit(struct targets *t)
{
    assert(t->n_running == 0);
    for (size_t i = 0; i < t->n_watches; i++) {
        watch_deinit(t->watches[i]);
        free(t->watches[i]);
    }
    numbers_free(&t->numbers);
    memset(t, 0, sizeof *t);
}
