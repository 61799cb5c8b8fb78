/* SPDX-License-Identifier: Apache-2.0 */
/* The story
 *
 * push: copy the observation. Find the oldest open event of its place that some rule makes one with it; else open
 *   another one, with every rule that knows it. With each piece that joins, rules that do not fit any more fall away.
 *   What a poll found, and what is the newest told of the place, becomes a confirmation.
 * settle: an event is ready when its window is over, when one of its rules waits for nobody, or when it has no rule.
 * next: the oldest ready event leaves, unless an older one of a place that holds its place, or is held by it, is open.
 *   Then it is what was told of its place.
 *
 * Full: the oldest is made ready, and leaves before anything else. */
#include "agent/source/merge.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "agent/source/merge_piece.h"
#include "agent/source/merge_rules.h"
#include "agent/source/merge_told.h"
#include "sensebus/v1/event.pb-c.h"

#define MAX_PIECES (RECORD_MAX_EVIDENCE + 1)

struct event {
    struct merged merged; /* first: what the caller gets */
    char detail[MERGE_DETAIL_BYTES];
    struct piece *pieces[MAX_PIECES]; /* in the order seen */
    size_t n_pieces, n_more;
    uint32_t code;                       /* of the pieces that have one: the first */
    uint32_t rules;                      /* set of indices: these hold for all pieces */
    uint64_t until_ns, wall_ns, boot_ns; /* the last two: the earliest told */
    size_t bytes;
    bool ready;
    struct event *next;
};

struct merge {
    uint64_t window_ns, confirmation_ns;
    struct merge_told told;
    size_t max_open;
    uint32_t armed;             /* set of sources */
    struct event *first, *last; /* by the time at which they began, and so by until_ns */
    struct merge_counts counts;
};

struct merge *merge_new(const struct merge_options *options)
{
    struct merge *m = calloc(1, sizeof *m);

    if (!m)
        return NULL;
    m->window_ns = (options->window_ms ? options->window_ms : MERGE_WINDOW_MS) * (uint64_t)1000000;
    m->confirmation_ns =
        (options->confirmation_ms ? options->confirmation_ms : MERGE_CONFIRMATION_MS) * (uint64_t)1000000;
    m->max_open = options->max_open ? options->max_open : MERGE_MAX_OPEN;
    return m;
}

static void event_free(struct event *e)
{
    for (size_t i = 0; i < e->n_pieces; i++)
        free(e->pieces[i]);
    free(e);
}

void merge_free(struct merge *m)
{
    if (!m)
        return;
    for (struct event *e = m->first, *next; e; e = next) {
        next = e->next;
        event_free(e);
    }
    free(m);
}

void merged_free(struct merged *e)
{
    if (e)
        event_free((struct event *)e);
}

/* ------------------------------------------------------------------------------------------------ places */

static bool part_overlaps(int64_t a, int64_t b)
{
    return a < 0 || b < 0 || a == b;
}

/* One holds the other. */
static bool overlap(const struct observation_place *a, const struct observation_place *b)
{
    return part_overlaps(a->host, b->host) && part_overlaps(a->channel, b->channel) &&
           part_overlaps(a->target, b->target) && part_overlaps(a->lun, b->lun);
}

static bool contradict(const char *a, const char *b)
{
    return a && b && strcmp(a, b) != 0;
}

/* What this host says of the units that it serves is not about the devices that it uses, also where these are the same
 * units: their numbers are others'. */
static bool same_side(const struct observation *a, const struct observation *b)
{
    return (a->source == SENSEBUS__V1__SOURCE__SOURCE_TARGET) == (b->source == SENSEBUS__V1__SOURCE__SOURCE_TARGET);
}

static bool same_thing(const struct observation *a, const struct observation *b)
{
    return same_side(a, b) && merge_same_place(&a->place, &b->place) && !contradict(a->target_name, b->target_name) &&
           !contradict(a->portal, b->portal) && !contradict(a->object, b->object);
}

/* ------------------------------------------------------------------------------------------------ rules */

static bool has_role(const struct event *e, const struct merge_rule *rule, int role)
{
    for (size_t i = 0; i < e->n_pieces; i++)
        if (merge_rule_role(rule, &e->pieces[i]->seen) == role)
            return true;
    return false;
}

/* The rules of the event that hold with `o`, too. */
static uint32_t rules_with(const struct event *e, const struct observation *o)
{
    uint32_t rules = 0;

    for (size_t i = 0; i < e->n_pieces; i++)
        if (!same_thing(&e->pieces[i]->seen, o))
            return 0;
    for (uint32_t i = 0; i < merge_rule_count(); i++) {
        const struct merge_rule *rule = merge_rule_at(i);
        int role = e->rules & 1u << i ? merge_rule_role(rule, o) : -1;

        if (role < 0 || (rule->same_code && e->code && o->code && e->code != o->code))
            continue;
        if (rule->roles[role].many || !has_role(e, rule, role))
            rules |= 1u << i;
    }
    return rules;
}

static bool is_armed(const struct merge *m, uint32_t source)
{
    return source < 32 && m->armed & 1u << source;
}

static bool waits(const struct merge *m, const struct event *e, const struct merge_rule *rule)
{
    for (int i = 0; i < MERGE_MAX_ROLES && rule->roles[i].source; i++)
        if (rule->roles[i].wait && is_armed(m, rule->roles[i].source) && !has_role(e, rule, i))
            return true;
    return false;
}

static bool is_complete(const struct merge *m, const struct event *e)
{
    if (e->rules == 0)
        return true;
    if (e->code == 0) /* evidence waits for its event */
        return false;
    for (uint32_t i = 0; i < merge_rule_count(); i++)
        if (e->rules & 1u << i && !waits(m, e, merge_rule_at(i)))
            return true;
    return false;
}

static void settle(const struct merge *m, struct event *e)
{
    e->ready = e->ready || is_complete(m, e);
}

void merge_set_armed(struct merge *m, uint32_t source, bool armed)
{
    assert(source < 32);
    if (armed)
        m->armed |= 1u << source;
    else
        m->armed &= ~(1u << source);
    for (struct event *e = m->first; e; e = e->next)
        settle(m, e);
}

static const struct merge_rule *rule_of(const struct event *e)
{
    for (uint32_t i = 0; i < merge_rule_count(); i++)
        if (e->rules & 1u << i)
            return merge_rule_at(i);
    return NULL;
}

/* ------------------------------------------------------------------------------------------------ push */

/* The last of the pieces that stand in a role of many: what to leave out when there is no room. */
static size_t find_spare(const struct event *e)
{
    const struct merge_rule *rule = rule_of(e);

    for (size_t i = e->n_pieces; i-- > 0;) {
        int role = merge_rule_role(rule, &e->pieces[i]->seen);

        if (rule->roles[role].many)
            return i;
    }
    assert(0 && "there are fewer roles of one than pieces");
    return e->n_pieces - 1;
}

static void drop_piece(struct merge *m, struct event *e, size_t i)
{
    size_t bytes = e->pieces[i]->bytes;

    free(e->pieces[i]);
    memmove(&e->pieces[i], &e->pieces[i + 1], (e->n_pieces - i - 1) * sizeof *e->pieces);
    e->n_pieces--;
    e->n_more++;
    e->bytes -= bytes;
    m->counts.open_bytes -= bytes;
}

static void add_piece(struct merge *m, struct event *e, struct piece *p, uint32_t rules)
{
    bool full = e->n_pieces == MAX_PIECES;
    const struct observation *o = &p->seen;

    e->rules = rules;
    if (e->code == 0)
        e->code = o->code;
    if (e->n_pieces == 0 || o->boot_ns < e->boot_ns) {
        e->boot_ns = o->boot_ns;
        e->wall_ns = o->wall_ns;
    }
    m->counts.open_bytes += p->bytes;
    e->bytes += p->bytes;
    if (full)
        drop_piece(m, e, find_spare(e));
    e->pieces[e->n_pieces++] = p;
}

/* Too much is open: the oldest that is not ready goes early. */
static void make_room(struct merge *m)
{
    size_t open = m->counts.open, bytes = m->counts.open_bytes;

    for (struct event *e = m->first; e && (open > m->max_open || bytes > MERGE_MAX_BYTES); e = e->next) {
        if (!e->ready) {
            e->ready = true;
            e->merged.early = true;
            m->counts.early++;
        }
        open--;
        bytes -= e->bytes;
    }
}

/* The oldest open event that `o` belongs to. What is ready, and waits for its turn, takes what polls find. */
static struct event *find_event(struct merge *m, const struct observation *o, uint64_t now_ns, uint32_t *out_rules)
{
    bool poll = merge_is_poll(o);

    for (struct event *e = m->first; e; e = e->next) {
        bool open = now_ns < e->until_ns && (poll || !e->ready);

        if (open && e->merged.kind == MERGE_EVENT && (*out_rules = rules_with(e, o)) != 0)
            return e;
    }
    return NULL;
}

static struct event *open_event(struct merge *m, const struct observation *o, uint64_t now_ns, uint32_t *out_rules)
{
    struct event *e = calloc(1, sizeof *e);

    if (!e)
        return NULL;
    *out_rules = merge_rules_of(o);
    if (merge_told_confirms(&m->told, o, now_ns, m->confirmation_ns)) {
        e->merged.kind = MERGE_CONFIRMATION;
        e->ready = true;
    }
    e->until_ns = now_ns + m->window_ns;
    e->bytes = sizeof *e;
    *(m->last ? &m->last->next : &m->first) = e;
    m->last = e;
    m->counts.open++;
    m->counts.open_bytes += e->bytes;
    return e;
}

int merge_push(struct merge *m, const struct observation *o, uint64_t now_ns)
{
    struct piece *p = piece_new(o);
    struct event *e;
    uint32_t rules;

    if (!p)
        return UV_ENOMEM;
    e = find_event(m, o, now_ns, &rules);
    if (!e)
        e = open_event(m, o, now_ns, &rules);
    if (!e) {
        free(p);
        return UV_ENOMEM;
    }
    add_piece(m, e, p, rules);
    m->counts.observations++;
    settle(m, e);
    make_room(m);
    return 0;
}

/* ------------------------------------------------------------------------------------------------ next */

/* The piece whose role leads: the first that has a code when there is no rule. */
static size_t find_lead(const struct event *e)
{
    const struct merge_rule *rule = rule_of(e);
    size_t best = 0;
    int best_role = MERGE_MAX_ROLES;

    for (size_t i = 0; i < e->n_pieces && rule; i++) {
        const struct observation *o = &e->pieces[i]->seen;
        int role = merge_rule_role(rule, o);

        if ((o->code != 0 || e->code == 0) && role < best_role) {
            best = i;
            best_role = role;
        }
    }
    return best;
}

static void say(struct event *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* More words for the detail, cut where there is no room. */
static void say(struct event *e, const char *format, ...)
{
    size_t used = strlen(e->detail);
    va_list args;

    if (used > 0 && used + 3 < sizeof e->detail) {
        memcpy(e->detail + used, "; ", 3);
        used += 2;
    }
    va_start(args, format);
    vsnprintf(e->detail + used, sizeof e->detail - used, format, args);
    va_end(args);
}

/* The role of the lead when more exact hooks that would have told it are silent, else NULL. */
static const struct merge_role *alone(const struct merge *m, const struct event *e, const struct observation *lead)
{
    const struct merge_rule *rule = rule_of(e);
    int role = rule ? merge_rule_role(rule, lead) : 0;

    for (int i = 0; rule && i < role; i++)
        if (rule->roles[i].wait && is_armed(m, rule->roles[i].source) && !has_role(e, rule, i))
            return &rule->roles[role];
    return NULL;
}

/* What the leading hook does not know, another one may. */
static void complete(struct observation *lead, const struct observation *o)
{
    if (!lead->sense && o->sense) {
        lead->sense = o->sense;
        lead->sense_len = o->sense_len;
    }
    if (!lead->target_name)
        lead->target_name = o->target_name;
    if (!lead->portal)
        lead->portal = o->portal;
    if (!lead->object)
        lead->object = o->object;
    lead->synthetic = lead->synthetic && o->synthetic;
}

static bool has_poll(const struct event *e)
{
    for (size_t i = 0; i < e->n_pieces; i++)
        if (merge_is_poll(&e->pieces[i]->seen))
            return true;
    return false;
}

static void finish(struct merge *m, struct event *e, uint64_t now_ns)
{
    size_t lead = find_lead(e);
    const struct merge_rule *rule = rule_of(e);
    struct merged *out = &e->merged;
    const struct merge_role *silence = alone(m, e, &e->pieces[lead]->seen);

    out->rule = rule ? rule->name : "";
    out->lead = e->pieces[lead]->seen;
    out->n_more = e->n_more;
    for (size_t i = 0; i < e->n_pieces; i++) {
        if (i == lead)
            continue;
        out->evidence[out->n_evidence++] = e->pieces[i]->seen.native;
        complete(&out->lead, &e->pieces[i]->seen);
    }
    out->lead.wall_ns = e->wall_ns;
    out->lead.boot_ns = e->boot_ns;
    if (e->code == 0 || (out->kind == MERGE_EVENT && silence && silence->weak))
        out->kind = MERGE_EVIDENCE;
    *(out->kind == MERGE_EVENT          ? &m->counts.events
      : out->kind == MERGE_CONFIRMATION ? &m->counts.confirmations
                                        : &m->counts.evidence_only) += 1;
    if (out->kind == MERGE_EVENT && rule)
        merge_told_remember(&m->told, rule, &out->lead, has_poll(e), now_ns);

    if ((silence && silence->alone) || e->n_more > 0) {
        if (out->lead.native.detail)
            say(e, "%s", out->lead.native.detail);
        if (silence && silence->alone)
            say(e, "%s", silence->alone);
        if (e->n_more > 0)
            say(e, "and %zu more native records of it", e->n_more);
        out->lead.native.detail = e->detail;
    }
}

static bool is_behind(const struct merge *m, const struct event *e)
{
    for (const struct event *before = m->first; before != e; before = before->next)
        if (same_side(&before->pieces[0]->seen, &e->pieces[0]->seen) &&
            overlap(&before->pieces[0]->seen.place, &e->pieces[0]->seen.place))
            return true;
    return false;
}

struct merged *merge_next(struct merge *m, uint64_t now_ns)
{
    for (struct event *e = m->first, *before = NULL; e; before = e, e = e->next) {
        e->ready = e->ready || e->until_ns <= now_ns;
        if (!e->ready || is_behind(m, e))
            continue;
        *(before ? &before->next : &m->first) = e->next;
        if (m->last == e)
            m->last = before;
        m->counts.open--;
        m->counts.open_bytes -= e->bytes;
        finish(m, e, now_ns);
        return &e->merged;
    }
    return NULL;
}

uint64_t merge_deadline(const struct merge *m)
{
    for (const struct event *e = m->first; e; e = e->next)
        if (e->ready && !is_behind(m, e))
            return 0;
    return m->first ? m->first->until_ns : UINT64_MAX;
}

void merge_finish(struct merge *m)
{
    for (struct event *e = m->first; e; e = e->next)
        e->ready = true;
}

struct merge_counts merge_count(const struct merge *m)
{
    return m->counts;
}

void merged_record(const struct merged *e, struct record *out)
{
    const struct observation *o = &e->lead;

    *out = (struct record){
        .code = o->code,
        .source = o->source,
        .place = {.controller = o->place.host,
                  .target = o->place.target,
                  .lun = o->place.lun,
                  .target_name = o->target_name,
                  .portal = o->portal},
        .wall_ns = o->wall_ns,
        .boot_ns = o->boot_ns,
        .native = o->native,
        .evidence = e->evidence,
        .n_evidence = e->n_evidence,
        .sense = o->sense,
        .sense_len = o->sense_len,
        .synthetic = o->synthetic,
        .count = o->count,
        .first_wall_ns = o->wall_ns,
    };
}
