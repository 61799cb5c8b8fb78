/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/target/snapshot.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "agent/identify.h"

/* ------------------------------------------------------------------------------------------------ filling */

/* Room for one more of `n`, at most `max`. Returns 0, UV_ENOMEM, or UV_ENOSPC. */
static int make_room(void **items, size_t n, size_t *cap, size_t max, size_t item_bytes)
{
    size_t wanted = *cap ? 2 * *cap : 8;
    void *bigger;

    if (n < *cap)
        return 0;
    if (n >= max)
        return UV_ENOSPC;
    if (wanted > max)
        wanted = max;
    bigger = realloc(*items, wanted * item_bytes);
    if (!bigger)
        return UV_ENOMEM;
    *items = bigger;
    *cap = wanted;
    return 0;
}

/* Names are shown, logged and matched: no control characters. */
static void copy_text(const char *text, size_t len, char *out, size_t cap)
{
    identify_text((const uint8_t *)text, len, out, cap);
    for (char *p = out; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
}

/* Beyond a bound is no error: the rest is as good as before. */
static int left_out(struct snapshot *s, int rc)
{
    if (rc != UV_ENOSPC)
        return rc;
    s->cut = true;
    return 0;
}

int snapshot_add_target(struct snapshot *s, int32_t number, const char *name, size_t name_len)
{
    struct snapshot_target *t;
    int rc = number < 0 || number > SNAPSHOT_MAX_NUMBER ? UV_ENOSPC
                                                        : make_room((void **)&s->targets, s->n_targets, &s->cap_targets,
                                                                    SNAPSHOT_MAX_TARGETS, sizeof *s->targets);

    s->skip = rc < 0 ? SNAPSHOT_SKIP_TARGET : SNAPSHOT_SKIP_NOTHING;
    if (rc < 0)
        return left_out(s, rc);
    t = &s->targets[s->n_targets++];
    memset(t, 0, sizeof *t);
    t->number = number;
    t->online = true;
    t->first_nexus = s->n_nexuses;
    t->first_lun = s->n_luns;
    copy_text(name, name_len, t->name, sizeof t->name);
    return 0;
}

static struct snapshot_target *last_target(struct snapshot *s)
{
    if (s->n_targets > 0 && s->skip != SNAPSHOT_SKIP_TARGET)
        return &s->targets[s->n_targets - 1];
    s->cut = true;
    return NULL;
}

int snapshot_add_nexus(struct snapshot *s, uint64_t id)
{
    struct snapshot_target *t = last_target(s);
    int rc;

    if (!t)
        return 0;
    rc = make_room((void **)&s->nexuses, s->n_nexuses, &s->cap_nexuses, SNAPSHOT_MAX_NEXUSES, sizeof *s->nexuses);
    s->skip = rc < 0 ? SNAPSHOT_SKIP_PART : SNAPSHOT_SKIP_NOTHING;
    if (rc < 0)
        return left_out(s, rc);
    s->nexuses[s->n_nexuses++] = (struct snapshot_nexus){.id = id};
    t->n_nexuses++;
    return 0;
}

int snapshot_add_lun(struct snapshot *s, uint64_t lun, bool online)
{
    struct snapshot_target *t = last_target(s);
    int rc;

    if (!t)
        return 0;
    rc = lun > SNAPSHOT_MAX_LUN
             ? UV_ENOSPC
             : make_room((void **)&s->luns, s->n_luns, &s->cap_luns, SNAPSHOT_MAX_LUNS, sizeof *s->luns);
    s->skip = rc < 0 ? SNAPSHOT_SKIP_PART : SNAPSHOT_SKIP_NOTHING;
    if (rc < 0)
        return left_out(s, rc);
    s->luns[s->n_luns++] = (struct snapshot_lun){.lun = (uint32_t)lun, .online = online};
    t->n_luns++;
    return 0;
}

void snapshot_set_target_online(struct snapshot *s, bool online)
{
    struct snapshot_target *t = last_target(s);

    if (t)
        t->online = online;
}

static struct snapshot_nexus *last_nexus(struct snapshot *s)
{
    struct snapshot_target *t = last_target(s);

    return t && t->n_nexuses > 0 && s->skip == SNAPSHOT_SKIP_NOTHING ? &s->nexuses[s->n_nexuses - 1] : NULL;
}

void snapshot_set_initiator(struct snapshot *s, const char *name, size_t len)
{
    struct snapshot_nexus *nexus = last_nexus(s);

    if (nexus)
        copy_text(name, len, nexus->initiator, sizeof nexus->initiator);
}

void snapshot_set_address(struct snapshot *s, const char *address, size_t len)
{
    struct snapshot_nexus *nexus = last_nexus(s);

    if (nexus && !nexus->address[0])
        copy_text(address, len, nexus->address, sizeof nexus->address);
}

void snapshot_set_lun_online(struct snapshot *s, bool online)
{
    struct snapshot_target *t = last_target(s);

    if (t && t->n_luns > 0 && s->skip == SNAPSHOT_SKIP_NOTHING)
        s->luns[s->n_luns - 1].online = online;
}

/* ------------------------------------------------------------------------------------------------ order */

static int compare_targets(const void *a, const void *b)
{
    const struct snapshot_target *x = a, *y = b;

    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int compare_nexuses(const void *a, const void *b)
{
    const struct snapshot_nexus *x = a, *y = b;

    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return strcmp(x->initiator, y->initiator);
}

static int compare_luns(const void *a, const void *b)
{
    const struct snapshot_lun *x = a, *y = b;

    return x->lun == y->lun ? 0 : x->lun < y->lun ? -1 : 1;
}

/* Sort `n` items and keep the first of equal ones. Returns how many are left. */
static size_t sort_once(struct snapshot *s, void *items, size_t n, size_t bytes,
                        int (*compare)(const void *, const void *))
{
    uint8_t *list = items;
    size_t kept = 0;

    if (n == 0)
        return 0;
    qsort(list, n, bytes, compare);
    for (size_t i = 1; i < n; i++)
        if (compare(list + kept * bytes, list + i * bytes) == 0)
            s->cut = true;
        else if (++kept != i)
            memcpy(list + kept * bytes, list + i * bytes, bytes);
    return kept + 1;
}

void snapshot_finish(struct snapshot *s)
{
    for (size_t i = 0; i < s->n_targets; i++) {
        struct snapshot_target *t = &s->targets[i];

        if (t->n_nexuses > 0)
            t->n_nexuses = sort_once(s, s->nexuses + t->first_nexus, t->n_nexuses, sizeof *s->nexuses, compare_nexuses);
        if (t->n_luns > 0)
            t->n_luns = sort_once(s, s->luns + t->first_lun, t->n_luns, sizeof *s->luns, compare_luns);
    }
    s->n_targets = sort_once(s, s->targets, s->n_targets, sizeof *s->targets, compare_targets);
}

void snapshot_renumber(struct snapshot *s, int32_t (*number)(void *data, const struct snapshot_target *target),
                       void *data)
{
    size_t kept = 0;

    for (size_t i = 0; i < s->n_targets; i++) {
        s->targets[kept] = s->targets[i];
        s->targets[kept].number = number(data, &s->targets[i]);
        if (s->targets[kept].number >= 0)
            kept++;
        else
            s->cut = true;
    }
    s->n_targets = sort_once(s, s->targets, kept, sizeof *s->targets, compare_targets);
}

void snapshot_settle_numbers(struct snapshot *s, const struct snapshot *before)
{
    size_t kept = 0;

    for (size_t i = 0; i < s->n_targets; i++) {
        const struct snapshot_target *t = &s->targets[i];

        if (kept == 0 || s->targets[kept - 1].number != t->number) {
            s->targets[kept++] = *t;
            continue;
        }
        s->cut = true;
        if (snapshot_find(before, t->number, t->name))
            s->targets[kept - 1] = *t;
    }
    s->n_targets = kept;
}

void snapshot_free(struct snapshot *s)
{
    free(s->targets);
    free(s->nexuses);
    free(s->luns);
    memset(s, 0, sizeof *s);
}

const struct snapshot_target *snapshot_find(const struct snapshot *s, int32_t number, const char *name)
{
    for (size_t i = 0; i < s->n_targets; i++)
        if (s->targets[i].number == number && strcmp(s->targets[i].name, name) == 0)
            return &s->targets[i];
    return NULL;
}

void snapshot_forget_nexuses(struct snapshot *s)
{
    for (size_t i = 0; i < s->n_targets; i++)
        s->targets[i].n_nexuses = 0;
}

/* ------------------------------------------------------------------------------------------------ difference */

struct diff {
    const struct snapshot *before, *now;
    void (*on_change)(void *data, const struct snapshot_change *change);
    void *data;
};

/* Of one target; NULL when it has none, for there may be no list at all. */
static const struct snapshot_nexus *nexuses_of(const struct snapshot *s, const struct snapshot_target *t)
{
    return t->n_nexuses > 0 ? s->nexuses + t->first_nexus : NULL;
}

static const struct snapshot_lun *luns_of(const struct snapshot *s, const struct snapshot_target *t)
{
    return t->n_luns > 0 ? s->luns + t->first_lun : NULL;
}

static void tell_target(const struct diff *d, enum snapshot_change_kind kind, const struct snapshot_target *t)
{
    d->on_change(d->data, &(struct snapshot_change){.kind = kind, .target = t});
}

static void tell_nexus(const struct diff *d, enum snapshot_change_kind kind, const struct snapshot_target *t,
                       const struct snapshot_nexus *nexus)
{
    d->on_change(d->data, &(struct snapshot_change){.kind = kind, .target = t, .nexus = nexus});
}

static void tell_lun(const struct diff *d, enum snapshot_change_kind kind, const struct snapshot_target *t,
                     const struct snapshot_lun *lun)
{
    d->on_change(d->data, &(struct snapshot_change){.kind = kind, .target = t, .lun = lun});
}

/* The nexuses of `a` that `b` does not have. Both lists are in order. */
static void tell_missing_nexuses(const struct diff *d, enum snapshot_change_kind kind,
                                 const struct snapshot_target *target, const struct snapshot_nexus *a, size_t n_a,
                                 const struct snapshot_nexus *b, size_t n_b)
{
    for (size_t i = 0, k = 0; i < n_a; i++) {
        while (k < n_b && compare_nexuses(&b[k], &a[i]) < 0)
            k++;
        if (k == n_b || compare_nexuses(&b[k], &a[i]) != 0)
            tell_nexus(d, kind, target, &a[i]);
    }
}

static void diff_luns(const struct diff *d, const struct snapshot_target *was, const struct snapshot_target *is)
{
    const struct snapshot_lun *a = luns_of(d->before, was), *b = luns_of(d->now, is);
    size_t i = 0, k = 0;

    while (i < was->n_luns || k < is->n_luns) {
        if (k == is->n_luns || (i < was->n_luns && a[i].lun < b[k].lun)) {
            tell_lun(d, SNAPSHOT_LUN_REMOVED, is, &a[i++]);
        } else if (i == was->n_luns || b[k].lun < a[i].lun) {
            tell_lun(d, SNAPSHOT_LUN_ADDED, is, &b[k++]);
        } else {
            if (a[i].online != b[k].online)
                tell_lun(d, b[k].online ? SNAPSHOT_LUN_ONLINE : SNAPSHOT_LUN_OFFLINE, is, &b[k]);
            i++, k++;
        }
    }
}

static void diff_target(const struct diff *d, const struct snapshot_target *was, const struct snapshot_target *is)
{
    static const struct snapshot_target nothing;
    const struct snapshot_target *target = is ? is : was;
    bool same = was && is;

    was = was ? was : &nothing;
    is = is ? is : &nothing;
    tell_missing_nexuses(d, SNAPSHOT_LOGOUT, target, nexuses_of(d->before, was), was->n_nexuses, nexuses_of(d->now, is),
                         is->n_nexuses);
    if (is == &nothing)
        tell_target(d, SNAPSHOT_TARGET_REMOVED, target);
    if (was == &nothing)
        tell_target(d, SNAPSHOT_TARGET_ADDED, target);
    if (same) {
        if (was->online != is->online)
            tell_target(d, is->online ? SNAPSHOT_TARGET_ONLINE : SNAPSHOT_TARGET_OFFLINE, target);
        diff_luns(d, was, is);
    }
    tell_missing_nexuses(d, SNAPSHOT_LOGIN, target, nexuses_of(d->now, is), is->n_nexuses, nexuses_of(d->before, was),
                         was->n_nexuses);
}

/* Which of the two is told first: negative, `was` alone; 0, both as one. Who lost its number goes before who has it. */
static int order_of(const struct snapshot_target *was, const struct snapshot_target *is)
{
    if (was->number != is->number)
        return was->number < is->number ? -1 : 1;
    return strcmp(was->name, is->name) == 0 ? 0 : -1;
}

void snapshot_diff(const struct snapshot *before, const struct snapshot *now,
                   void (*on_change)(void *data, const struct snapshot_change *change), void *data)
{
    struct diff d = {.before = before, .now = now, .on_change = on_change, .data = data};
    size_t i = 0, k = 0;

    while (i < before->n_targets || k < now->n_targets) {
        int order = k == now->n_targets      ? -1
                    : i == before->n_targets ? 1
                                             : order_of(&before->targets[i], &now->targets[k]);

        diff_target(&d, order <= 0 ? &before->targets[i] : NULL, order >= 0 ? &now->targets[k] : NULL);
        i += order <= 0;
        k += order >= 0;
    }
}
