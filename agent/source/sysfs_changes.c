/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/sysfs_changes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "sensebus/v1/code.pb-c.h"
#include "sensebus/v1/event.pb-c.h"

#define CODE(name) SENSEBUS__V1__CODE__##name

/* What a state means: the code that tells it, or one of these. */
#define NOTHING 0u /* on the way to another; also what is not known to this build */
#define GOOD    1u

static const struct {
    const char *name;
    uint32_t added, removed;
} kinds[SYSFS_N_KINDS] = {
    [SYSFS_HOST] = {"scsi_host", CODE(ADAPTER_ADDED), CODE(ADAPTER_REMOVED)},
    [SYSFS_DEVICE] = {"scsi_device", CODE(DEVICE_ADDED), CODE(DEVICE_REMOVED)},
    [SYSFS_FC_HOST] = {"fc_host", 0, 0}, /* its adapter is told */
    [SYSFS_RPORT] = {"fc_remote_ports", CODE(TARGET_ONLINE), CODE(TARGET_REMOVED)},
    [SYSFS_SESSION] = {"iscsi_session", CODE(SESSION_STARTED), CODE(SESSION_STOPPED)},
};

/* drivers/scsi: sdev_states and shost_states of scsi_sysfs.c, fc_port_state_names of scsi_transport_fc.c,
 * iscsi_session_state_names of scsi_transport_iscsi.c. */
static const struct {
    enum sysfs_kind kind;
    const char *state;
    uint32_t condition;
} meanings[] = {
    {SYSFS_DEVICE, "running", GOOD},
    {SYSFS_DEVICE, "offline", CODE(DEVICE_OFFLINE)},
    {SYSFS_DEVICE, "transport-offline", CODE(DEVICE_OFFLINE)},
    {SYSFS_HOST, "running", GOOD},
    {SYSFS_HOST, "recovery", CODE(ADAPTER_SUSPENDED)},
    {SYSFS_FC_HOST, "Online", GOOD},
    {SYSFS_FC_HOST, "Linkdown", CODE(LINK_DOWN)},
    {SYSFS_FC_HOST, "Offline", CODE(PORT_OFFLINE)},
    {SYSFS_FC_HOST, "Blocked", CODE(PORT_OFFLINE)},
    {SYSFS_FC_HOST, "Bypassed", CODE(PORT_OFFLINE)},
    {SYSFS_FC_HOST, "Error", CODE(PORT_OFFLINE)},
    {SYSFS_FC_HOST, "Not Present", CODE(PORT_OFFLINE)},
    {SYSFS_FC_HOST, "Unknown", CODE(LINK_STATE_UNKNOWN)},
    {SYSFS_RPORT, "Online", GOOD},
    {SYSFS_RPORT, "Blocked", CODE(TARGET_OFFLINE)},
    {SYSFS_RPORT, "Offline", CODE(TARGET_OFFLINE)},
    {SYSFS_RPORT, "Not Present", CODE(TARGET_REMOVED)},
    {SYSFS_RPORT, "Deleted", CODE(TARGET_REMOVED)},
    {SYSFS_SESSION, "LOGGED_IN", GOOD},
    {SYSFS_SESSION, "FAILED", CODE(NEXUS_LOST)},
};

const char *sysfs_kind_name(enum sysfs_kind kind)
{
    return kinds[kind].name;
}

/* ------------------------------------------------------------------------------------------------ looks */

struct sysfs_object *sysfs_look_add(struct sysfs_look *look)
{
    if (look->n == SYSFS_MAX_OBJECTS) {
        look->cut = true;
        return NULL;
    }
    if (look->n == look->cap) {
        size_t cap = look->cap ? 2 * look->cap : 16;
        void *bigger = realloc(look->objects, cap * sizeof *look->objects);

        if (!bigger)
            return NULL;
        look->objects = bigger;
        look->cap = cap;
    }
    memset(&look->objects[look->n], 0, sizeof *look->objects);
    return &look->objects[look->n++];
}

void sysfs_look_drop(struct sysfs_look *look)
{
    free(look->objects[--look->n].target_name);
}

static int by_name(const void *a, const void *b)
{
    const struct sysfs_object *left = a, *right = b;

    return left->kind != right->kind ? (left->kind < right->kind ? -1 : 1) : strcmp(left->name, right->name);
}

void sysfs_look_finish(struct sysfs_look *look)
{
    if (look->n > 1)
        qsort(look->objects, look->n, sizeof *look->objects, by_name);
}

void sysfs_look_free(struct sysfs_look *look)
{
    while (look->n > 0)
        sysfs_look_drop(look);
    free(look->objects);
    *look = (struct sysfs_look){0};
}

/* ------------------------------------------------------------------------------------------------ what others told */

/* What an event says of an object, if anything. */
struct word {
    enum sysfs_kind kind;
    char name[SYSFS_NAME_BYTES];
    bool comes, goes;
    uint32_t condition;
};

static bool is_about(struct word *w, enum sysfs_kind kind, const char *name)
{
    w->kind = kind;
    snprintf(w->name, sizeof w->name, "%s", name ? name : "");
    return name && strlen(name) < sizeof w->name;
}

static bool is_about_host(struct word *w, enum sysfs_kind kind, const struct observation *o)
{
    char name[SYSFS_NAME_BYTES];

    snprintf(name, sizeof name, "host%" PRId32, o->place.host);
    return is_about(w, kind, name);
}

static bool is_about_device(struct word *w, const struct observation *o)
{
    char name[2 * SYSFS_NAME_BYTES];

    snprintf(name, sizeof name, "%" PRId32 ":%" PRId32 ":%" PRId32 ":%" PRId64, o->place.host, o->place.channel,
             o->place.target, o->place.lun);
    return o->place.lun >= 0 && is_about(w, SYSFS_DEVICE, name);
}

static bool is_about_port(struct word *w, const struct observation *o)
{
    return o->object && strncmp(o->object, "rport-", strlen("rport-")) == 0 && is_about(w, SYSFS_RPORT, o->object);
}

static bool read_word(const struct observation *o, struct word *w)
{
    bool is_uevent = o->source == SENSEBUS__V1__SOURCE__SOURCE_UEVENT; /* which tells objects, and no states */

    *w = (struct word){.condition = NOTHING};
    w->comes = o->code == CODE(ADAPTER_ADDED) || o->code == CODE(DEVICE_ADDED) || o->code == CODE(SESSION_STARTED);
    w->goes = o->code == CODE(ADAPTER_REMOVED) || o->code == CODE(DEVICE_REMOVED) || o->code == CODE(SESSION_STOPPED);
    switch (o->code) {
    case CODE(ADAPTER_ADDED):
    case CODE(ADAPTER_REMOVED): return is_about_host(w, SYSFS_HOST, o);
    case CODE(DEVICE_ADDED):
    case CODE(DEVICE_REMOVED): return is_about_device(w, o);
    case CODE(DEVICE_OFFLINE): w->condition = o->code; return is_about_device(w, o);
    case CODE(DEVICE_ONLINE): w->condition = GOOD; return is_about_device(w, o);
    case CODE(LINK_DOWN):
    case CODE(PORT_OFFLINE): w->condition = o->code; return is_about_host(w, SYSFS_FC_HOST, o);
    case CODE(LINK_UP):
    case CODE(PORT_ONLINE): w->condition = GOOD; return is_about_host(w, SYSFS_FC_HOST, o);
    case CODE(SESSION_STARTED):
    case CODE(SESSION_STOPPED): return is_about(w, SYSFS_SESSION, o->object);
    case CODE(NEXUS_LOST): w->condition = o->code; return is_about(w, SYSFS_SESSION, o->object);
    case CODE(NEXUS_RESTORED): w->condition = GOOD; return is_about(w, SYSFS_SESSION, o->object);
    case CODE(TARGET_ONLINE):
        w->condition = GOOD;
        w->comes = is_uevent;
        return is_about_port(w, o);
    case CODE(TARGET_REMOVED):
        w->condition = o->code;
        w->goes = is_uevent;
        return is_about_port(w, o);
    default: return false;
    }
}

static struct sysfs_object *find(const struct sysfs_look *look, enum sysfs_kind kind, const char *name)
{
    struct sysfs_object key = {.kind = kind};

    snprintf(key.name, sizeof key.name, "%s", name);
    return look->n ? bsearch(&key, look->objects, look->n, sizeof key, by_name) : NULL;
}

/* Without memory, or when it is full, it is not known: a look finds it. */
static struct sysfs_object *insert(struct sysfs_look *known, const struct word *w, const struct observation *o)
{
    bool cut = known->cut;
    struct sysfs_object *new = sysfs_look_add(known), object = {.kind = w->kind, .place = o->place};

    known->cut = cut;
    if (!new)
        return NULL;
    memcpy(object.name, w->name, sizeof object.name);
    for (; new > known->objects &&by_name(new - 1, &object) > 0; new --)
        *new = *(new - 1);
    *new = object;
    return new;
}

static void take_out(struct sysfs_look *known, struct sysfs_object *o)
{
    size_t after = known->n - (size_t)(o - known->objects) - 1;

    free(o->target_name);
    memmove(o, o + 1, after * sizeof *o);
    known->n--;
}

void sysfs_look_heard(struct sysfs_look *known, const struct observation *o, bool looking)
{
    struct sysfs_object *object;
    struct word word;

    if (!read_word(o, &word))
        return;
    object = find(known, word.kind, word.name);
    if (!object && (word.comes || (word.goes && looking)))
        object = insert(known, &word, o);
    if (!object)
        return;
    if (word.goes && !looking) {
        take_out(known, object);
        return;
    }
    if (word.comes && object->gone)
        object->inode = 0; /* it is another one */
    object->gone = word.goes;
    object->heard = looking;
    if (word.condition)
        object->condition = word.condition;
}

/* What was told while `now` was made is newer than it. Returns 0 or UV_ENOMEM. */
static int prefer_heard(const struct sysfs_look *before, struct sysfs_look *now)
{
    size_t n = now->n;

    for (size_t i = 0; i < before->n; i++) {
        const struct sysfs_object *a = &before->objects[i];
        struct sysfs_look sorted = {.objects = now->objects, .n = n};
        struct sysfs_object *b = a->heard ? find(&sorted, a->kind, a->name) : NULL;

        if (!a->heard || (a->gone && !b))
            continue;
        if (b) {
            b->condition = a->condition;
            b->gone = a->gone;
        } else if ((b = sysfs_look_add(now))) {
            *b = *a;
            b->target_name = NULL; /* the next look reads it */
        } else if (!now->cut) {
            return UV_ENOMEM;
        } else {
            continue;
        }
        b->heard = true;
    }
    if (now->n > n)
        sysfs_look_finish(now);
    return 0;
}

/* ------------------------------------------------------------------------------------------------ compare */

struct teller {
    uint64_t wall_ns, boot_ns;
    void (*tell)(void *data, const struct observation *observation);
    void *data;
};

static void tell(const struct teller *t, const struct sysfs_object *o, uint32_t code, const char *words)
{
    char detail[SYSFS_DETAIL_BYTES];
    struct observation observation = {
        .source = SENSEBUS__V1__SOURCE__SOURCE_SYSFS,
        .code = code,
        .place = o->place,
        .wall_ns = t->wall_ns,
        .boot_ns = t->boot_ns,
        .native = {.name = "state", .detail = detail},
        .target_name = o->target_name,
        .object = o->kind == SYSFS_RPORT || o->kind == SYSFS_SESSION ? o->name : NULL,
        .synthetic = true,
    };

    snprintf(detail, sizeof detail, "%s %s: %s", kinds[o->kind].name, o->name, words);
    t->tell(t->data, &observation);
}

static uint32_t meaning(const struct sysfs_object *o)
{
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (meanings[i].kind == o->kind && strcmp(meanings[i].state, o->state) == 0)
            return meanings[i].condition;
    return NOTHING;
}

/* How it is told that all is well again. */
static uint32_t recovery(enum sysfs_kind kind, uint32_t before)
{
    switch (kind) {
    case SYSFS_DEVICE: return CODE(DEVICE_ONLINE);
    case SYSFS_HOST: return CODE(ADAPTER_RESUMED);
    case SYSFS_FC_HOST: return before == CODE(LINK_DOWN) ? CODE(LINK_UP) : CODE(PORT_ONLINE);
    case SYSFS_RPORT: return CODE(TARGET_ONLINE);
    default: return CODE(NEXUS_RESTORED);
    }
}

/* `before` NULL: it was not there. */
static void compare_state(const struct teller *t, const struct sysfs_object *before, struct sysfs_object *now)
{
    uint32_t old = before ? before->condition : NOTHING, condition = meaning(now);
    char words[2 * SYSFS_STATE_BYTES + 8];

    now->condition = condition == NOTHING ? old : condition;
    if (now->condition == old || (old == NOTHING && condition == GOOD))
        return;
    if (before)
        snprintf(words, sizeof words, "%s, was %s", now->state, before->state);
    else
        snprintf(words, sizeof words, "%s", now->state);
    tell(t, now, condition == GOOD ? recovery(now->kind, old) : condition, words);
}

static void tell_removed(const struct teller *t, const struct sysfs_object *o)
{
    uint32_t code = kinds[o->kind].removed;

    if (code && o->condition != code) /* a remote port that is not present was told already */
        tell(t, o, code, "is gone");
}

static void tell_added(const struct teller *t, const struct sysfs_object *o)
{
    if (kinds[o->kind].added)
        tell(t, o, kinds[o->kind].added, "is there");
}

/* The next pair of the two sorted lists; NULL where there is none. */
static void next_pair(const struct sysfs_look *before, const struct sysfs_look *now, size_t *i, size_t *j,
                      const struct sysfs_object **out_before, struct sysfs_object **out_now)
{
    const struct sysfs_object *a = *i < before->n ? &before->objects[*i] : NULL;
    struct sysfs_object *b = *j < now->n ? &now->objects[*j] : NULL;
    int order = !a ? 1 : !b ? -1 : by_name(a, b);

    *out_before = order <= 0 ? a : NULL;
    *out_now = order >= 0 ? b : NULL;
    *i += order <= 0;
    *j += order >= 0;
}

enum pass { REMOVED, ADDED, STATES, N_PASSES };

static void compare_pair(const struct teller *t, enum pass pass, const struct sysfs_object *a, struct sysfs_object *b)
{
    bool same = a && b && (a->inode == b->inode || !a->inode || !b->inode);

    if (pass == REMOVED && a && !same)
        tell_removed(t, a);
    else if (pass == ADDED && b && !same)
        tell_added(t, b);
    else if (pass == STATES && b)
        compare_state(t, same ? a : NULL, b);
}

int sysfs_compare(const struct sysfs_look *before, struct sysfs_look *now, uint64_t wall_ns, uint64_t boot_ns,
                  void (*tell_one)(void *data, const struct observation *observation), void *data)
{
    struct teller t = {wall_ns, boot_ns, tell_one, data};
    int rc;

    if (!before) {
        for (size_t i = 0; i < now->n; i++)
            now->objects[i].condition = meaning(&now->objects[i]);
        return 0;
    }
    rc = prefer_heard(before, now);
    if (rc < 0)
        return rc;
    /* Of a look that does not show all it is not known what is missing. */
    for (enum pass pass = before->cut || now->cut ? STATES : REMOVED; pass < N_PASSES; pass++) {
        for (size_t i = 0, j = 0; i < before->n || j < now->n;) {
            const struct sysfs_object *a;
            struct sysfs_object *b;

            next_pair(before, now, &i, &j, &a, &b);
            if (!(a && a->heard) && !(b && b->heard))
                compare_pair(&t, pass, a && !a->gone ? a : NULL, b);
        }
    }
    for (size_t i = 0; i < now->n; i++)
        now->objects[i].heard = false;
    return 0;
}
