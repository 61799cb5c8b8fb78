/* SPDX-License-Identifier: Apache-2.0 */
/* The options by which watch, get and wait say which events they want and how to print them. */
#pragma once

#include "clients/cli/follow.h"
#include "clients/cli/output/format.h"
#include "clients/cli/query/select.h"

struct cli;

struct event_options {
    struct selection selection;
    const char *where, *since, *output;
    uint64_t last;
    bool remedy, print_filter;
};

/* Room for the options of a command: these, the common ones, and a few of its own. */
enum { EVENT_OPTIONS = SELECT_COUNT + 6, EVENT_OPTIONS_HIDDEN = SELECT_COUNT };
void event_options(struct event_options *e, const char *since_help, struct option *out_options);
/* "--not NAME" for each selector; they go behind all shown options. */
void event_options_hidden(struct event_options *e, struct option *out_options);

/* Fill filter, where, since and last of `follow`; free with event_options_deinit, also after a failure. Returns -1 to
 * go on, else the exit code: a message, or the filter, was printed. */
int event_options_compile(const struct event_options *e, struct cli *cli, const char *default_since,
                          struct follow_options *follow, enum format *out_format);
/* Compile one --where expression; its error is printed with a mark under the column. -1 or the exit code. */
int event_options_where(struct cli *cli, const char *option, const char *text, struct where **out_where);
void event_options_deinit(struct follow_options *follow);
