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

#define MERGE_MAX_ROLES 8
#define MERGE_MAX_CODES 10

enum merge_patience {
    MERGE_WAIT, /* the event is held for it while its source is armed, until the window ends */
    MERGE_JOIN, /* taken when it comes while the event is open; nobody waits for it */
    MERGE_POLL, /* likewise, and when it comes later it confirms the event that was told */
};

struct merge_role {
    uint32_t source;  /* enum Source */
    const char *name; /* the native name must begin so; NULL = any */
    bool any_code;    /* also observations without a code, and with other codes of the rule */
    bool many;        /* any number of observations; else one, and the next is another condition */
    enum merge_patience patience;
    const char *alone; /* what is known when roles before this one are armed and silent: goes into the detail */
};

struct merge_rule {
    const char *name;
    uint32_t codes[MERGE_MAX_CODES]; /* that are this condition; 0 ends the list */
    struct merge_role roles[MERGE_MAX_ROLES];
    const char *why; /* for docs: one line */
};

size_t merge_rule_count(void);
const struct merge_rule *merge_rule_at(size_t i);
/* Index of the role of `o` in the rule, or -1. */
int merge_rule_role(const struct merge_rule *rule, const struct observation *o);
size_t merge_rule_roles(const struct merge_rule *rule);
