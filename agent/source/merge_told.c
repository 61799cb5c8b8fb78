/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/merge_told.h"

#include <stdio.h>
#include <string.h>

bool merge_same_place(const struct observation_place *a, const struct observation_place *b)
{
    return a->host == b->host && a->channel == b->channel && a->target == b->target && a->lun == b->lun;
}

static bool is_state_of(const struct merge_told_state *t, const struct observation *o, const struct merge_rule *rule)
{
    return t->told_ns > 0 && merge_same_place(&t->place, &o->place) &&
           (rule->state ? t->state && strcmp(t->state, rule->state) == 0 : !t->state && t->code == o->code) &&
           (!t->object[0] || !o->object || strncmp(t->object, o->object, sizeof t->object - 1) == 0);
}

static struct merge_told_state *find_told(struct merge_told *m, const struct observation *o,
                                          const struct merge_rule *rule)
{
    for (size_t i = 0; i < MERGE_MAX_TOLD; i++)
        if (is_state_of(&m->states[i], o, rule))
            return &m->states[i];
    return NULL;
}

/* A free one, else the oldest. */
static struct merge_told_state *find_room(struct merge_told *m)
{
    struct merge_told_state *oldest = &m->states[0];

    for (size_t i = 1; i < MERGE_MAX_TOLD && oldest->told_ns > 0; i++)
        if (m->states[i].told_ns < oldest->told_ns)
            oldest = &m->states[i];
    return oldest;
}

void merge_told_remember(struct merge_told *m, const struct merge_rule *rule, const struct observation *lead,
                         bool polled, uint64_t now_ns)
{
    struct merge_told_state *t = find_told(m, lead, rule);

    if (!t)
        t = find_room(m);
    *t = (struct merge_told_state){.place = lead->place,
                                   .state = rule->state,
                                   .code = lead->code,
                                   .told_ns = now_ns ? now_ns : 1,
                                   .polled = polled};
    snprintf(t->object, sizeof t->object, "%s", lead->object ? lead->object : "");
}

/* One of the codes of a rule whose codes are one condition is as good as another. */
static bool says_the_same(const struct merge_rule *rule, uint32_t a, uint32_t b)
{
    bool has_a = false, has_b = false;

    for (size_t i = 0; i < MERGE_MAX_CODES && rule->codes[i]; i++) {
        has_a = has_a || rule->codes[i] == a;
        has_b = has_b || rule->codes[i] == b;
    }
    return a == b || (!rule->same_code && has_a && has_b);
}

bool merge_told_confirms(struct merge_told *m, const struct observation *o, uint64_t now_ns, uint64_t for_ns)
{
    uint32_t rules = merge_is_poll(o) ? merge_rules_of(o) : 0;

    for (uint32_t i = 0; i < merge_rule_count(); i++) {
        const struct merge_rule *rule = merge_rule_at(i);
        struct merge_told_state *t = rules & 1u << i ? find_told(m, o, rule) : NULL;

        if (t && !t->polled && says_the_same(rule, t->code, o->code) && now_ns - t->told_ns < for_ns) {
            t->polled = true;
            return true;
        }
    }
    return false;
}
