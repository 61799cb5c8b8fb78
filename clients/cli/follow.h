/* SPDX-License-Identifier: Apache-2.0 */
/* Follow a subscription and present what it brings, until there is a reason to stop: the work of watch, get and wait.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "clients/cli/query/since.h"

struct cli;
struct presenter;
struct where;
struct Sensebus__V1__Filter;

struct follow_options {
    struct Sensebus__V1__Filter *filter; /* NULL: everything */
    struct where *where;                 /* NULL: everything */
    struct since since;
    uint64_t last;  /* instead of `since` when not 0 */
    uint64_t count; /* stop after this many events shown; 0 = never */
    bool snapshot, stop_at_newest, until_synced, strict;

    bool heedless;       /* go on when nobody reads the output any more: the exit code is the answer */
    bool patient;        /* keep dialling a broker that is not there yet */
    uint64_t timeout_ms; /* for everything; 0 = none */
};

/* Returns an exit code; messages are printed. The presenter was begun and is ended here. */
int follow_run(struct cli *cli, const struct follow_options *options, struct presenter *presenter);
