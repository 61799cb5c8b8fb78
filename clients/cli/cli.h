/* SPDX-License-Identifier: Apache-2.0 */
/* What every command has: output, messages, and the options that mean the same everywhere. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clients/c/broker_address.h"
#include "clients/cli/exit.h"
#include "clients/cli/output/writer.h"
#include "runtime/options.h"
#include "runtime/tls.h"

struct link_options;

struct cli {
    struct writer out, err;            /* standard output and standard error */
    char broker[BROKER_ADDRESS_BYTES]; /* complete and checked */
    uint64_t connect_ms;
    bool insecure;           /* plaintext beyond this machine is allowed */
    struct tls_context *tls; /* when the broker is a tls:// one */
    const char *server_name;
    struct tls_files files;
    bool utc;

    const char *broker_option, *color_option; /* as given */
};

struct cli_command {
    const char *name, *summary;
    int (*run)(struct cli *cli, int argc, char **argv);
};

/* Options of all commands that talk to a broker. */
enum { CLI_OPTIONS = 9 };
void cli_options(struct cli *cli, struct option *out_options);
/* To dial the broker that cli_parse found: all but `limits` and `once`. */
struct link_options cli_link(const struct cli *cli);
/* Options may stand before the command too: moves the command to argv[1], in front of them. Returns -1 to go on, else
 * the exit code. */
int cli_command_first(struct cli *cli, int argc, char **argv);

/* The command line of one command. `usage` begins --help; options behind `n_shown` work but are not shown there.
 * Returns -1 to go on, else the exit code: --help was printed, or what was wrong. */
int cli_parse(struct cli *cli, const char *usage, const struct option *options, size_t n_shown, size_t n_options,
              int argc, char **argv, int *out_n_operands);
/* Operands where there must be none. Returns -1 or EXIT_USAGE. */
int cli_no_operands(struct cli *cli, int n_operands, char **argv);

/* "sensebus: …" on standard error, behind everything already printed. Text from outside is escaped. */
void cli_error(struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "cannot connect to BROKER…: REASON", with the way out when nobody is there. `within`: " within …", or "". */
void cli_cannot_connect(struct cli *cli, const char *within, const char *reason);
/* "BROKER says STATUS: MESSAGE", with the way out when a position is gone. Returns the exit code. */
int cli_refused(struct cli *cli, int grpc_status, const char *message);
/* The same as cli_error, and EXIT_USAGE. */
int cli_usage(struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
