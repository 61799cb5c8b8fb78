/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/identity_cache.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "runtime/table.h"
#include "sensebus/v1/code.pb-c.h"
#include "sensebus/v1/event.pb-c.h"

#define CODE(name) SENSEBUS__V1__CODE__##name
#define FOR_EVER   UINT64_MAX
#define YOUNG_NS   1000000000ull /* to the next look at what has just come */

struct version {
    struct kernel_device device;
    uint64_t from_ns, until_ns; /* FOR_EVER: it is there */
    bool read;                  /* sysfs told; else only that something is, or is not, there */
};

struct place_key { /* no holes: compared by its bytes */
    int64_t numbers[4];
};

struct slot {
    struct observation_place place;
    struct place_key key;
    struct version *versions[IDENTITY_MAX_VERSIONS]; /* the newest first */
    size_t n_versions;
    uint64_t read_ns; /* when sysfs was looked at, or was known to have nothing */
    uint64_t used;    /* in n_uses of the cache, when it was asked for last */
    bool stale;
    bool young; /* read within refresh_ns of its coming: its names may not have been there */
};

struct identity_cache {
    uint64_t keep_ns, refresh_ns;
    size_t max_places;
    struct table table; /* of slots, by place */
    struct slot **slots;
    size_t n_slots;
    uint64_t n_uses;
};

struct identity_cache *identity_cache_new(const struct identity_options *o)
{
    struct identity_cache *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->keep_ns = (o->keep_ms ? o->keep_ms : IDENTITY_KEEP_MS) * (uint64_t)1000000;
    c->refresh_ns = (o->refresh_ms ? o->refresh_ms : IDENTITY_REFRESH_MS) * (uint64_t)1000000;
    c->max_places = o->max_places ? o->max_places : IDENTITY_MAX_PLACES;
    table_init(&c->table, o->seed);
    c->slots = calloc(c->max_places, sizeof(struct slot *));
    if (!c->slots) {
        free(c);
        return NULL;
    }
    return c;
}

static void slot_free(struct slot *s)
{
    for (size_t i = 0; i < s->n_versions; i++)
        free(s->versions[i]);
    free(s);
}

void identity_cache_free(struct identity_cache *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n_slots; i++)
        slot_free(c->slots[i]);
    table_deinit(&c->table);
    free(c->slots);
    free(c);
}

size_t identity_cache_size(const struct identity_cache *c)
{
    return c->n_slots;
}

/* ------------------------------------------------------------------------------------------------ slots */

/* ------------------------------------------------------------------------------------------------ slots */

static struct place_key key_of(const struct observation_place *p)
{
    return (struct place_key){{p->host, p->channel, p->target, p->lun}};
}

static struct slot *find_slot(const struct identity_cache *c, const struct observation_place *place)
{
    struct place_key key = key_of(place);

    return table_get(&c->table, &key, sizeof key);
}

static void forget_oldest(struct identity_cache *c)
{
    size_t oldest = 0;

    for (size_t i = 1; i < c->n_slots; i++)
        if (c->slots[i]->used < c->slots[oldest]->used)
            oldest = i;
    table_remove(&c->table, &c->slots[oldest]->key, sizeof(struct place_key));
    slot_free(c->slots[oldest]);
    c->slots[oldest] = c->slots[--c->n_slots];
}

/* The slot of the place, made when there is none. NULL when there is no memory. */
static struct slot *need_slot(struct identity_cache *c, const struct observation_place *place)
{
    struct slot *s = find_slot(c, place);

    if (s)
        return s;
    s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    if (c->n_slots == c->max_places)
        forget_oldest(c);
    s->place = *place;
    s->key = key_of(place);
    s->stale = true;
    s->used = ++c->n_uses;
    if (table_add(&c->table, &s->key, sizeof s->key, s) < 0) {
        free(s);
        return NULL;
    }
    c->slots[c->n_slots++] = s;
    return s;
}

static bool part_holds(int64_t outer, int64_t inner)
{
    return outer < 0 || outer == inner;
}

static bool holds(const struct observation_place *outer, const struct observation_place *inner)
{
    return part_holds(outer->host, inner->host) && part_holds(outer->channel, inner->channel) &&
           part_holds(outer->target, inner->target) && part_holds(outer->lun, inner->lun);
}

/* ------------------------------------------------------------------------------------------------ versions */

static struct version *newest(const struct slot *s)
{
    return s->n_versions > 0 ? s->versions[0] : NULL;
}

static struct version *begin_version(struct slot *s, uint64_t from_ns)
{
    struct version *v = calloc(1, sizeof *v);

    if (!v)
        return NULL;
    if (s->n_versions == IDENTITY_MAX_VERSIONS)
        free(s->versions[--s->n_versions]);
    memmove(&s->versions[1], &s->versions[0], s->n_versions * sizeof *s->versions);
    s->versions[0] = v;
    s->n_versions++;
    v->from_ns = from_ns;
    v->until_ns = FOR_EVER;
    return v;
}

static void end_version(struct version *v, uint64_t until_ns)
{
    if (v && v->until_ns == FOR_EVER)
        v->until_ns = until_ns > v->from_ns ? until_ns : v->from_ns;
}

/* Is the device another one than `before`? */
static bool is_another(const struct kernel_device *before, const struct kernel_device *now)
{
    const struct identity *a = &before->identity, *b = &now->identity;

    return identity_differs(a, b) ||
           (a->known && b->known && (strcmp(a->vendor, b->vendor) != 0 || a->device_type != b->device_type)) ||
           (before->target_name[0] && now->target_name[0] && strcmp(before->target_name, now->target_name) != 0);
}

/* What is not readable any more, because the device is on its way out, was true before. */
static void complete(struct kernel_device *now, const struct kernel_device *before)
{
    if (!now->identity.known)
        now->identity = before->identity;
    if (!now->identity.serial[0])
        memcpy(now->identity.serial, before->identity.serial, sizeof now->identity.serial);
    if (!now->identity.designator[0])
        memcpy(now->identity.designator, before->identity.designator, sizeof now->identity.designator);
    if (!now->target_name[0]) {
        memcpy(now->target_name, before->target_name, sizeof now->target_name);
        memcpy(now->portal, before->portal, sizeof now->portal);
    }
    if (!now->transport)
        now->transport = before->transport;
    if (now->n_names <= 1 && before->n_names > 1) {
        memcpy(now->names, before->names, sizeof now->names);
        now->n_names = before->n_names;
    }
}

/* ------------------------------------------------------------------------------------------------ look up */

const struct kernel_device *identity_cache_at(struct identity_cache *c, const struct observation_place *place,
                                              uint64_t boot_ns)
{
    struct slot *s = find_slot(c, place);
    const struct version *first = NULL, *was = NULL;

    if (!s)
        return NULL;
    s->used = ++c->n_uses;
    for (size_t i = 0; i < s->n_versions && !was; i++) {
        const struct version *v = s->versions[i];

        if (!v->read)
            continue;
        first = v;
        if (v->from_ns <= boot_ns)
            was = v;
    }
    if (!was)
        was = first;
    if (!was || (was->until_ns != FOR_EVER && boot_ns > was->until_ns && boot_ns - was->until_ns > c->keep_ns))
        return NULL;
    return &was->device;
}

bool identity_cache_wants(const struct identity_cache *c, const struct observation_place *place, uint64_t now_ns)
{
    const struct slot *s = find_slot(c, place);

    if (!s || s->stale)
        return true;
    return now_ns > s->read_ns && now_ns - s->read_ns >= (s->young ? YOUNG_NS : c->refresh_ns);
}

/* ------------------------------------------------------------------------------------------------ what sysfs says */

int identity_cache_put(struct identity_cache *c, const struct kernel_device *d, uint64_t now_ns)
{
    struct slot *s = need_slot(c, &d->place);
    struct version *v = s ? newest(s) : NULL;
    bool first = s && s->n_versions == 0;

    if (!s)
        return UV_ENOMEM;
    if (!v || v->until_ns != FOR_EVER || (v->read && is_another(&v->device, d))) {
        struct version *before = v;

        v = begin_version(s, first ? 0 : now_ns);
        if (!v)
            return UV_ENOMEM;
        end_version(before, now_ns);
    }
    if (v->read) {
        struct kernel_device now = *d;

        complete(&now, &v->device);
        v->device = now;
    } else {
        v->device = *d;
        v->read = true;
    }
    s->young = v->from_ns > 0 && now_ns < v->from_ns + c->refresh_ns;
    s->stale = false;
    s->read_ns = now_ns;
    return 0;
}

void identity_cache_absent(struct identity_cache *c, const struct observation_place *place, uint64_t now_ns)
{
    struct slot *s = need_slot(c, place);

    if (!s)
        return;
    end_version(newest(s), now_ns);
    s->stale = s->young = false;
    s->read_ns = now_ns;
}

/* ------------------------------------------------------------------------------------------------ what hooks say */

void identity_cache_added(struct identity_cache *c, const struct observation_place *place, uint64_t boot_ns)
{
    struct slot *s = need_slot(c, place);
    struct version *v;

    if (!s)
        return;
    s->stale = true;
    v = newest(s);
    if (v && !v->read && v->until_ns == FOR_EVER) {
        v->from_ns = boot_ns;
        return;
    }
    /* Without memory for that it is told apart only when sysfs says something else. */
    if (begin_version(s, boot_ns))
        end_version(v, boot_ns);
}

void identity_cache_removed(struct identity_cache *c, const struct observation_place *place, uint64_t boot_ns)
{
    for (size_t i = 0; i < c->n_slots; i++) {
        struct slot *s = c->slots[i];

        if (!holds(place, &s->place))
            continue;
        end_version(newest(s), boot_ns);
        s->stale = s->young = false;
        s->read_ns = boot_ns;
    }
}

void identity_cache_changed(struct identity_cache *c, const struct observation_place *place)
{
    for (size_t i = 0; i < c->n_slots; i++) {
        const struct version *v = newest(c->slots[i]);

        if (holds(place, &c->slots[i]->place) && (!v || v->until_ns == FOR_EVER))
            c->slots[i]->stale = true;
    }
}

void identity_cache_observe(struct identity_cache *c, const struct observation *o)
{
    if (o->place.host < 0)
        return;
    switch (o->code) {
    case CODE(DEVICE_ADDED):
    case CODE(ADAPTER_ADDED):
        if (o->source == SENSEBUS__V1__SOURCE__SOURCE_SYSFS) /* found later: since when is not known */
            identity_cache_changed(c, &o->place);
        else
            identity_cache_added(c, &o->place, o->boot_ns);
        break;
    case CODE(DEVICE_REMOVED):
    case CODE(ADAPTER_REMOVED): identity_cache_removed(c, &o->place, o->boot_ns); break;
    case CODE(TARGET_ONLINE):
    case CODE(SESSION_STARTED):
    case CODE(NEXUS_RESTORED):
    case CODE(DEVICE_ONLINE):
    case CODE(INQUIRY_DATA_CHANGED):
    case CODE(IDENTITY_CHANGED):
    case CODE(MICROCODE_CHANGED):
    case CODE(ADDRESS_CHANGED): identity_cache_changed(c, &o->place); break;
    default: break;
    }
}
