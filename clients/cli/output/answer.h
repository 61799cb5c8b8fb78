/* SPDX-License-Identifier: Apache-2.0 */
/* One result in the form the user asked for: a message as JSON, or text that the command prints itself. */
#pragma once

#include <stdbool.h>

#include "clients/cli/output/format.h"

struct cli;
struct option;
struct ProtobufCMessage;

struct answer {
    const char *output; /* -o as given */
    enum format format;
};

/* The -o option. */
void answer_option(struct answer *a, struct option *out_option);
/* Behind parsing: -1, or the exit code. */
int answer_check(struct answer *a, struct cli *cli);
/* In JSON formats print `message`, and return true. */
bool answer_json(const struct answer *a, struct cli *cli, const struct ProtobufCMessage *message);
/* All is printed: `code`, or what went wrong with the output. */
int answer_end(struct cli *cli, int code);
