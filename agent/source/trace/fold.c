/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/trace/fold.h"

#include <string.h>

static bool same_place(const struct observation_place *a, const struct observation_place *b)
{
    return a->host == b->host && a->channel == b->channel && a->target == b->target && a->lun == b->lun;
}

static bool same_nexus(const struct trace_nexus *a, const struct trace_nexus *b)
{
    return strcmp(a->initiator, b->initiator) == 0 && strcmp(a->target, b->target) == 0 &&
           strcmp(a->group, b->group) == 0;
}

static bool same_sense(const struct trace_record *a, const struct trace_record *b)
{
    return a->sense_len == b->sense_len && memcmp(a->sense, b->sense, a->sense_len) == 0 && a->has_key == b->has_key &&
           a->key == b->key && a->asc == b->asc && a->ascq == b->ascq;
}

static bool has_sense(const struct trace_record *r)
{
    return r->sense_len > 0 || r->has_key;
}

/* When the device answers it is this command that failed, and its retries are it again; when the host does, it is the
 * path to the device, and all commands on it say the same. */
static bool same(const struct trace_record *a, const struct trace_record *b)
{
    bool answered = has_sense(a) || ((a->kind == TRACE_DONE || a->kind == TRACE_ANSWER) && (uint8_t)a->result != 0);

    if (a->kind != b->kind || a->result != b->result || !same_place(&a->place, &b->place) ||
        !same_nexus(&a->nexus, &b->nexus) || !same_sense(a, b))
        return false;
    return !answered || (a->cdb_len == b->cdb_len && memcmp(a->cdb, b->cdb, a->cdb_len) == 0);
}

static uint64_t due(const struct trace_folded *h)
{
    uint64_t quiet = h->last_ns + TRACE_FOLD_QUIET_NS, longest = h->record.mono_ns + TRACE_FOLD_LONGEST_NS;

    return quiet < longest ? quiet : longest;
}

static void leave(struct trace_folded *h, trace_fold_cb cb, void *data)
{
    struct trace_folded out = *h;

    h->count = 0;
    cb(data, &out.record, &out.judgement, out.count);
}

static struct trace_folded *oldest(struct trace_fold *f)
{
    struct trace_folded *found = NULL;

    for (size_t i = 0; i < TRACE_FOLD_MAX; i++) {
        struct trace_folded *h = &f->held[i];

        if (h->count > 0 && (!found || h->record.mono_ns < found->record.mono_ns))
            found = h;
    }
    return found;
}

static bool is_of(const struct trace_not_ready *s, const struct trace_record *r)
{
    return s->last_ns != 0 && same_place(&s->place, &r->place) && same_nexus(&s->nexus, &r->nexus);
}

/* The unit said the same not long ago. */
static bool is_repeated(struct trace_fold *f, const struct trace_record *r)
{
    struct trace_not_ready *slot = &f->states[0];
    uint8_t key = 0, asc = 0, ascq = 0;
    bool again;

    trace_sense_key(r, &key, &asc, &ascq);
    for (size_t i = 0; i < TRACE_FOLD_MAX; i++) {
        struct trace_not_ready *s = &f->states[i];

        if (is_of(s, r)) {
            slot = s;
            break;
        }
        if (s->last_ns < slot->last_ns) /* free, or silent for the longest time */
            slot = s;
    }
    again =
        is_of(slot, r) && slot->asc == asc && slot->ascq == ascq && r->mono_ns < slot->last_ns + TRACE_STATE_HOLD_NS;
    *slot = (struct trace_not_ready){r->place, r->nexus, asc, ascq, r->mono_ns ? r->mono_ns : 1};
    return again;
}

static void hold(struct trace_fold *f, const struct trace_record *r, const struct trace_judgement *j, trace_fold_cb cb,
                 void *data)
{
    struct trace_folded *slot = NULL;

    for (size_t i = 0; i < TRACE_FOLD_MAX; i++) {
        struct trace_folded *h = &f->held[i];

        if (h->count > 0 && same(&h->record, r)) {
            slot = h;
            break;
        }
        if (h->count == 0 && !slot)
            slot = h;
    }
    if (!slot) {
        slot = oldest(f);
        leave(slot, cb, data);
    }
    if (slot->count == 0)
        *slot = (struct trace_folded){.record = *r, .judgement = *j};
    if (slot->count < UINT32_MAX)
        slot->count++;
    if (r->mono_ns > slot->last_ns)
        slot->last_ns = r->mono_ns;
    if (has_sense(r) && r->allowed > 0 && r->retries >= r->allowed) /* the last attempt */
        leave(slot, cb, data);
}

void trace_fold_add(struct trace_fold *f, const struct trace_record *record, const struct trace_judgement *judgement,
                    trace_fold_cb cb, void *data)
{
    trace_fold_flush(f, record->mono_ns, cb, data);
    if (judgement->state && is_repeated(f, record))
        f->n_repeated++;
    else if (judgement->state || judgement->at_once)
        cb(data, record, judgement, 1);
    else
        hold(f, record, judgement, cb, data);
}

void trace_fold_flush(struct trace_fold *f, uint64_t now_ns, trace_fold_cb cb, void *data)
{
    for (;;) {
        struct trace_folded *next = NULL;

        for (size_t i = 0; i < TRACE_FOLD_MAX; i++) {
            struct trace_folded *h = &f->held[i];

            if (h->count > 0 && due(h) <= now_ns && (!next || h->record.mono_ns < next->record.mono_ns))
                next = h;
        }
        if (!next)
            return;
        leave(next, cb, data);
    }
}

uint64_t trace_fold_due(const struct trace_fold *f)
{
    uint64_t first = UINT64_MAX;

    for (size_t i = 0; i < TRACE_FOLD_MAX; i++)
        if (f->held[i].count > 0 && due(&f->held[i]) < first)
            first = due(&f->held[i]);
    return first;
}
