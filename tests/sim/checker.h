/* SPDX-License-Identifier: Apache-2.0 */
/* Judges a history by the rules, without a look at the code that made it: sessions, registrations, places and pending
 * words are built up again here, from what went in and what came out.
 *
 * The names of the invariants are those of broker/core/adapter/adapter.h, docs/rules.md and the model. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/sim/history.h"

struct verdict {
    bool broken;
    size_t at;          /* entry of the history */
    char invariant[32]; /* "one-registration" */
    char text[400];
    /* What the run contained: a run in which nothing happens proves nothing. */
    uint32_t n_sessions, n_registrations, n_conflicts, n_records, n_lost, n_cancelled, n_waits_woken, n_resets, n_stale;
};

void check_history(const struct history *h, struct verdict *out);
