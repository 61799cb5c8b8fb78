/* SPDX-License-Identifier: Apache-2.0 */
/* The options and the frame of commands that ask once and print: status, agents, devices. */
#pragma once

#include <stdbool.h>

#include "clients/cli/broker.h"
#include "clients/cli/output/format.h"
#include "clients/cli/output/objects.h"

struct cli;
struct option;

struct list {
    struct cli *cli;
    struct broker broker;
    struct objects objects; /* JSON formats */
    enum format format;
    const char *output; /* -o as given */
};

/* The -o option. */
void list_option(struct list *l, struct option *out_option);
/* Behind cli_parse: check -o and connect. Returns EXIT_OK or the exit code; list_end in any case. */
int list_begin(struct list *l, struct cli *cli);
/* Complete the output. `code` is what the command came to; returns what it becomes. */
int list_end(struct list *l, int code);
