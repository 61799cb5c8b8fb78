/* SPDX-License-Identifier: Apache-2.0 */
/* The newest value of each state that was told of a place: so that a poll, which finds it later, tells nothing again.
 * At most MERGE_MAX_TOLD: when full the oldest is forgotten. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/source/merge.h"
#include "agent/source/merge_rules.h"

#define MERGE_TOLD_OBJECT_BYTES 40

struct merge_told_state {
    struct observation_place place;
    const char *state; /* of the rule; NULL = the code is the state */
    uint32_t code;
    char object[MERGE_TOLD_OBJECT_BYTES]; /* "" = not told */
    uint64_t told_ns;                     /* 0 = free */
    bool polled;                          /* a poll has seen it, too */
};

/* Zeroed is empty. */
struct merge_told {
    struct merge_told_state states[MERGE_MAX_TOLD];
};

/* An event of this rule is told. */
void merge_told_remember(struct merge_told *m, const struct merge_rule *rule, const struct observation *lead,
                         bool polled, uint64_t now_ns);
/* A poll found what is the newest told, not longer than `for_ns` ago, and no poll did before. */
bool merge_told_confirms(struct merge_told *m, const struct observation *o, uint64_t now_ns, uint64_t for_ns);

bool merge_same_place(const struct observation_place *a, const struct observation_place *b);
