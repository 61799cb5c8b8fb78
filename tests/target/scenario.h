/* SPDX-License-Identifier: Apache-2.0 */
/* A scenario: orders with the time at which each is given. Pure.
 *
 * A line is a verb, or "after DURATION" and a verb: that long after the line before it was done. Empty lines and
 * comments are skipped. All of it is checked before anything is done. */
#pragma once

#include "tests/target/verb.h"

#define SCENARIO_MAX_STEPS 4096

struct scenario_step {
    uint64_t after_ms;
    int line; /* from 1 */
    struct verb verb;
};

struct scenario {
    struct scenario_step *steps;
    size_t n;
};

/* Returns 0; UV_EINVAL with `err` naming line and fault; UV_ENOMEM. */
int scenario_parse(struct scenario *s, const char *text, size_t len, char *err, size_t err_len);
void scenario_free(struct scenario *s);
