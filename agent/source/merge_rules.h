/* SPDX-License-Identifier: Apache-2.0 */
/* Which observations are one condition: the rule table, as data. docs/sources.md prints it, a unit test keeps the two
 * equal.
 *
 * A rule has roles. An observation has the first role of a rule that its source, code and native name fit. Two
 * observations of one place are one condition when some rule has a role of its own for each. Roles stand in the order
 * in which they lead: the most exact hook first (sense before uevent before netlink state before polled state). Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/source/observation.h"

#define MERGE_MAX_RULES 32
#define MERGE_MAX_ROLES 8
#define MERGE_MAX_CODES 10

struct merge_role {
    uint32_t source;  /* enum Source; 0 ends the list */
    uint32_t code;    /* enum Code; 0 = any of the rule's */
    const char *name; /* the native name begins so; NULL = any */
    bool bare;        /* an observation without code: evidence only. Such a role has a name */
    bool weak;  /* no event while a source of the roles before it is armed, and silent: it tells less than they do */
    bool named; /* only what names an object, such as a remote port */
    bool many;  /* any number of observations; else one, and the next is another condition */
    bool poll;  /* what it finds when the event was told already only confirms it */
    bool wait;  /* the event is held for it while its source is armed, until the window ends */
    const char *alone; /* what it means when roles before this one are waited for and stay silent; NULL = nothing */
};

struct merge_rule {
    const char *name;
    uint32_t codes[MERGE_MAX_CODES]; /* 0 ends the list; none = every code that no other rule has for that source */
    bool same_code;                  /* the codes are told apart: only equal ones are one condition */
    const char *state; /* of rules whose codes tell different values of one state; NULL: each code is by itself */
    struct merge_role roles[MERGE_MAX_ROLES];
    const char *why; /* one line, for people */
};

size_t merge_rule_count(void);
const struct merge_rule *merge_rule_at(size_t i);
/* Index of the role of `o` in the rule, or -1. */
int merge_rule_role(const struct merge_rule *rule, const struct observation *o);
/* The rules that know `o`, as a set of indices: the last rule only when no other does. */
uint32_t merge_rules_of(const struct observation *o);
/* In one of its rules it is what a poll found. */
bool merge_is_poll(const struct observation *o);
