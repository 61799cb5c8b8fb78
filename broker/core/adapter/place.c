/* SPDX-License-Identifier: Apache-2.0 */
/* Where sessions are: hosts, and units with their sessions. Whom does a record reach, who excludes whom?
 *
 * A unit is a place exactly: host, adapter, bus, target, lun. A record of scope LUN finds its unit by its hash, one of
 * a target or an adapter its group (group.c); only one of a host looks at all the sessions of the host. */
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/adapter/mutant.h"
#include "broker/core/adapter/state.h"
#include "proto/registry.h"

#define MAX_UNIT_KEY (MAX_HOST + 1 + MAX_ADAPTER_NAME + 1 + 16)

/* ---- hosts */

struct host *host_find(const struct adapter *a, const char *name, size_t len)
{
    return table_get(&a->hosts, name, len);
}

struct host *host_get(struct adapter *a, const char *name)
{
    struct host *host = host_find(a, name, strlen(name));
    if (host)
        return host_ref(host);
    host = calloc(1, sizeof *host);
    if (!host)
        return NULL;
    host->name = strdup(name);
    if (!host->name || table_add(&a->hosts, host->name, strlen(host->name), host) != 0) {
        free(host->name);
        free(host);
        return NULL;
    }
    host->n_refs = 1;
    TAILQ_INIT(&host->sessions);
    TAILQ_INIT(&host->operations);
    return host;
}

struct host *host_ref(struct host *host)
{
    host->n_refs++;
    return host;
}

void host_unref(struct adapter *a, struct host *host)
{
    if (--host->n_refs > 0)
        return;
    table_remove(&a->hosts, host->name, strlen(host->name));
    free(host->name);
    free(host);
}

/* ---- units */

int place_fill(struct session_place *place, const Sensebus__V1__DeviceAddress *address)
{
    size_t adapter_len = strlen(address->adapter), name_len = strlen(address->target_name);
    if (adapter_len > MAX_ADAPTER_NAME || name_len > MAX_TARGET_NAME)
        return UV_EINVAL;
    *place = (struct session_place){.bus = address->bus, .target = address->target, .lun = address->lun};
    memcpy(place->adapter, address->adapter, adapter_len + 1);
    memcpy(place->target_name, address->target_name, name_len + 1);
    return 0;
}

/* Length of the key, 0 when no session can have it. */
static size_t unit_key(char key[MAX_UNIT_KEY], struct text host, struct text adapter, int32_t bus, int32_t target,
                       int64_t lun)
{
    size_t n = host.len;
    if (host.len == 0 || host.len > MAX_HOST || adapter.len > MAX_ADAPTER_NAME)
        return 0;
    memcpy(key, host.ptr, host.len);
    key[n++] = '\0';
    if (adapter.len)
        memcpy(key + n, adapter.ptr, adapter.len);
    n += adapter.len;
    key[n++] = '\0';
    memcpy(key + n, &bus, sizeof bus);
    n += sizeof bus;
    memcpy(key + n, &target, sizeof target);
    n += sizeof target;
    memcpy(key + n, &lun, sizeof lun);
    return n + sizeof lun;
}

static struct text text_of(const char *string)
{
    return (struct text){string, strlen(string)};
}

static struct unit *unit_find(const struct adapter *a, const char *host, const struct session_place *place)
{
    char key[MAX_UNIT_KEY];
    size_t len = unit_key(key, text_of(host), text_of(place->adapter), place->bus, place->target, place->lun);
    return len ? table_get(&a->units, key, len) : NULL;
}

static struct unit *unit_get(struct adapter *a, const char *host, const struct session_place *place)
{
    struct unit *unit = unit_find(a, host, place);
    if (unit)
        return unit;
    char key[MAX_UNIT_KEY];
    size_t len = unit_key(key, text_of(host), text_of(place->adapter), place->bus, place->target, place->lun);
    unit = len ? calloc(1, sizeof *unit + len) : NULL;
    if (!unit)
        return NULL;
    memcpy(unit->key, key, len);
    unit->key_len = len;
    TAILQ_INIT(&unit->sessions);
    if (table_add(&a->units, unit->key, len, unit) != 0) {
        free(unit);
        return NULL;
    }
    return unit;
}

static void unit_release(struct adapter *a, struct unit *unit)
{
    if (!TAILQ_EMPTY(&unit->sessions))
        return;
    table_remove(&a->units, unit->key, unit->key_len);
    free(unit);
}

void unit_leave(struct adapter_session *s)
{
    struct unit *unit = s->unit;
    if (!unit)
        return;
    groups_move(s, (struct group *[N_GROUPS]){NULL});
    TAILQ_REMOVE(&unit->sessions, s, unit_next);
    s->unit = NULL;
    unit_release(s->adapter, unit);
}

int unit_join(struct adapter_session *s, const struct session_place *place)
{
    struct unit *unit = unit_get(s->adapter, s->host->name, place);
    struct group *groups[N_GROUPS];
    if (!unit)
        return UV_ENOMEM;
    if (!groups_find(s->adapter, s->host->name, place, groups)) {
        unit_release(s->adapter, unit);
        return UV_ENOMEM;
    }
    groups_move(s, groups);
    if (unit != s->unit) {
        struct unit *old = s->unit;
        if (old) {
            TAILQ_REMOVE(&old->sessions, s, unit_next);
            unit_release(s->adapter, old);
        }
        TAILQ_INSERT_TAIL(&unit->sessions, s, unit_next);
        s->unit = unit;
    }
    s->place = *place;
    return 0;
}

struct adapter_session *unit_conflict(const struct adapter *a, const char *host, const struct session_place *place,
                                      Sensebus__V1__Mode mode, bool is_shared, const struct adapter_session *except)
{
    struct unit *unit = unit_find(a, host, place);
    struct adapter_session *s;
    if (!unit)
        return NULL;
    TAILQ_FOREACH(s, &unit->sessions, unit_next)
    {
        if (s == except || s->mode != mode || (s->is_shared && is_shared))
            continue;
        if (MUTANT(16) && s->state == SESSION_OPENING)
            continue;
        /* In target mode the remote initiator is what is started. */
        if (mode != SENSEBUS__V1__MODE__MODE_TARGET || strcmp(s->place.target_name, place->target_name) == 0)
            return s;
    }
    return NULL;
}

/* ---- whom a record reaches */

static bool same_text(const char *string, struct text text)
{
    return strlen(string) == text.len && (text.len == 0 || memcmp(string, text.ptr, text.len) == 0);
}

bool place_is_on_adapter(const struct adapter_session *s, const struct event_view *view)
{
    return view->address.present && same_text(s->place.adapter, view->address.adapter);
}

/* The alias, or the name where the record has no alias. */
static bool same_target(const struct adapter_session *s, const struct event_view *view)
{
    if (!place_is_on_adapter(s, view))
        return false;
    if (view->address.target >= 0)
        return s->place.target == view->address.target && s->place.bus == view->address.bus;
    return view->device.present && view->device.target_name.len &&
           same_text(s->place.target_name, view->device.target_name);
}

/* What the record is about; where it does not say, what its code is about. */
static uint32_t scope_of(const struct event_view *view)
{
    const struct registry_entry *entry = registry_find(view->code);
    if (view->scope != SENSEBUS__V1__SCOPE__SCOPE_UNSPECIFIED)
        return view->scope;
    if (entry)
        return entry->scope;
    return view->address.lun >= 0 ? SENSEBUS__V1__SCOPE__SCOPE_LUN : SENSEBUS__V1__SCOPE__SCOPE_ADAPTER;
}

static bool covers(uint32_t scope, const struct event_view *view, const struct adapter_session *s)
{
    switch (scope) {
    case SENSEBUS__V1__SCOPE__SCOPE_LUN:
        return same_target(s, view) && (s->place.lun == view->address.lun || MUTANT(15));
    case SENSEBUS__V1__SCOPE__SCOPE_TARGET:
    case SENSEBUS__V1__SCOPE__SCOPE_SESSION:
    case SENSEBUS__V1__SCOPE__SCOPE_CONNECTION: return same_target(s, view);
    case SENSEBUS__V1__SCOPE__SCOPE_BUS: /* -1: of the only one, or of all */
        return place_is_on_adapter(s, view) && (view->address.bus < 0 || s->place.bus == view->address.bus);
    case SENSEBUS__V1__SCOPE__SCOPE_HOST:
    case SENSEBUS__V1__SCOPE__SCOPE_BROKER: return true;
    default: return place_is_on_adapter(s, view);
    }
}

static struct adapter_session *open_in_unit(struct adapter_session *s)
{
    while (s && s->state != SESSION_OPEN)
        s = TAILQ_NEXT(s, unit_next);
    return s;
}

static void each_of_unit(struct adapter *a, const struct event_view *view,
                         void (*each)(struct adapter_session *s, void *data), void *data)
{
    char key[MAX_UNIT_KEY];
    size_t len =
        unit_key(key, view->host, view->address.adapter, view->address.bus, view->address.target, view->address.lun);
    struct unit *unit = len ? table_get(&a->units, key, len) : NULL;
    if (!unit)
        return;
    for (struct adapter_session *s = open_in_unit(TAILQ_FIRST(&unit->sessions)), *next; s; s = next) {
        next = open_in_unit(TAILQ_NEXT(s, unit_next));
        each(s, data);
    }
}

/* Those of the group that the record covers. */
static void each_of_group(struct adapter *a, const struct event_view *view, enum group_kind kind, uint32_t scope,
                          void (*each)(struct adapter_session *s, void *data), void *data)
{
    const struct group_at at = {.host = view->host,
                                .adapter = view->address.adapter,
                                .target_name = view->device.present ? view->device.target_name : (struct text){"", 0},
                                .bus = view->address.bus,
                                .target = view->address.target};
    struct group *group = view->address.present ? group_find(a, kind, &at) : NULL;
    if (!group)
        return;
    for (struct adapter_session *s = TAILQ_FIRST(&group->sessions), *next; s; s = next) {
        next = TAILQ_NEXT(s, group_next[kind]); /* the group goes with its last session */
        if (s->state == SESSION_OPEN && covers(scope, view, s))
            each(s, data);
    }
}

static void each_of_host(struct adapter *a, const struct event_view *view,
                         void (*each)(struct adapter_session *s, void *data), void *data)
{
    struct host *host = view->host.len ? host_find(a, view->host.ptr, view->host.len) : NULL;
    if (!host)
        return;
    host_ref(host);
    for (struct adapter_session *s = TAILQ_FIRST(&host->sessions), *next; s; s = next) {
        next = TAILQ_NEXT(s, host_next);
        if (s->state == SESSION_OPEN)
            each(s, data);
    }
    host_unref(a, host);
}

void place_each(struct adapter *a, const struct event_view *view, void (*each)(struct adapter_session *s, void *data),
                void *data)
{
    enum group_kind of_target = view->address.target >= 0 ? GROUP_TARGET : GROUP_NAME;
    uint32_t scope = scope_of(view);
    switch (scope) {
    case SENSEBUS__V1__SCOPE__SCOPE_LUN:
        if (view->address.present && view->address.target >= 0 && !MUTANT(15)) {
            each_of_unit(a, view, each, data);
            return;
        }
        __attribute__((fallthrough));
    case SENSEBUS__V1__SCOPE__SCOPE_TARGET:
    case SENSEBUS__V1__SCOPE__SCOPE_SESSION:
    case SENSEBUS__V1__SCOPE__SCOPE_CONNECTION: each_of_group(a, view, of_target, scope, each, data); return;
    case SENSEBUS__V1__SCOPE__SCOPE_HOST:
    case SENSEBUS__V1__SCOPE__SCOPE_BROKER: each_of_host(a, view, each, data); return;
    default: each_of_group(a, view, GROUP_ADAPTER, scope, each, data); return;
    }
}

/* ---- whom an SDI address touches */

static bool touches(int32_t controller, int32_t bus, int32_t target, int64_t lun, const struct adapter_session *s)
{
    return s->state == SESSION_OPEN && s->controller == controller && (bus == -1 || s->place.bus == bus) &&
           (target == -1 || s->place.target == target) && (lun == -1 || s->place.lun == lun);
}

void adapter_touched(const struct adapter *a, const char *host, int32_t controller, int32_t bus, int32_t target,
                     int64_t lun, void (*each)(void *data, const char *host, const char *adapter, int32_t bus),
                     void *data)
{
    const struct adapter_session *s;
    TAILQ_FOREACH(s, &a->sessions, all_next)
    {
        bool host_fits = !host || !*host || strcmp(host, s->host->name) == 0;
        if (host_fits && touches(controller, bus, target, lun, s))
            each(data, s->host->name, s->place.adapter, s->place.bus);
    }
}
