/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/sysfs_changes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

void sysfs_compare(const struct sysfs_look *before, struct sysfs_look *now, uint64_t wall_ns, uint64_t boot_ns,
                   void (*tell_one)(void *data, const struct observation *observation), void *data)
{
    struct teller t = {wall_ns, boot_ns, tell_one, data};

    if (!before) {
        for (size_t i = 0; i < now->n; i++)
            now->objects[i].condition = meaning(&now->objects[i]);
        return;
    }
    /* Of a look that does not show all it is not known what is missing. */
    for (enum pass pass = before->cut || now->cut ? STATES : REMOVED; pass < N_PASSES; pass++) {
        for (size_t i = 0, j = 0; i < before->n || j < now->n;) {
            const struct sysfs_object *a;
            struct sysfs_object *b;
            bool same;

            next_pair(before, now, &i, &j, &a, &b);
            same = a && b && a->inode == b->inode;
            if (pass == REMOVED && a && !same)
                tell_removed(&t, a);
            else if (pass == ADDED && b && !same)
                tell_added(&t, b);
            else if (pass == STATES && b)
                compare_state(&t, same ? a : NULL, b);
        }
    }
}
