/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clients/c/broker_tls.h"
#include "clients/c/link.h"
#include "proto/grpc/grpc.h"

#define DEFAULT_CONNECT_MS 10000

void cli_options(struct cli *cli, struct option *o)
{
    cli->connect_ms = DEFAULT_CONNECT_MS;
    o[0] = (struct option){
        .name = "broker",
        .kind = OPTION_STRING,
        .value = &cli->broker_option,
        .argument = "ADDRESS",
        .env = "SENSEBUS_BROKER",
        .help = "tls://HOST:PORT; without TLS HOST:PORT, [IPV6]:PORT or unix:PATH (default " BROKER_ADDRESS_DEFAULT "; "
                "SENSEBUS_URL is used when SENSEBUS_BROKER is not set)"};
    o[1] = (struct option){.name = "timeout",
                           .kind = OPTION_DURATION,
                           .value = &cli->connect_ms,
                           .argument = "TIME",
                           .min = 1,
                           .max = 24 * 3600 * 1000,
                           .help = "for connecting and for each answer (default 10s)"};
    o[2] = (struct option){.name = "insecure",
                           .kind = OPTION_FLAG,
                           .value = &cli->insecure,
                           .env = "SENSEBUS_INSECURE",
                           .help = "connect beyond this machine, though the connection is not encrypted"};
    o[3] = (struct option){.name = "color",
                           .kind = OPTION_STRING,
                           .value = &cli->color_option,
                           .argument = "WHEN",
                           .help = "auto, always or never (default auto: on a terminal, unless NO_COLOR is set)"};
    o[4] = (struct option){
        .name = "utc", .kind = OPTION_FLAG, .value = &cli->utc, .help = "times in UTC instead of local time"};
    o[5] = (struct option){.name = "ca",
                           .kind = OPTION_STRING,
                           .value = &cli->files.authority,
                           .argument = "FILE",
                           .env = "SENSEBUS_CA",
                           .help = "for tls://: certificate of the CA that signed the broker's, PEM"};
    o[6] = (struct option){.name = "certificate",
                           .kind = OPTION_STRING,
                           .value = &cli->files.certificate,
                           .argument = "FILE",
                           .env = "SENSEBUS_CERTIFICATE",
                           .help = "for tls://: our certificate, PEM, with intermediate ones behind it"};
    o[7] = (struct option){.name = "key",
                           .kind = OPTION_STRING,
                           .value = &cli->files.key,
                           .argument = "FILE",
                           .env = "SENSEBUS_KEY",
                           .help = "for tls://: its private key, PEM (default: in the file of --certificate)"};
    o[8] = (struct option){.name = "server-name",
                           .kind = OPTION_STRING,
                           .value = &cli->server_name,
                           .argument = "NAME",
                           .env = "SENSEBUS_SERVER_NAME",
                           .help = "for tls://: name in the broker's certificate (default: the host of --broker)"};
}

/* ------------------------------------------------------------------------------------------------ messages */

__attribute__((format(printf, 2, 0))) static void put_message(struct cli *cli, const char *format, va_list args)
{
    char text[1024];
    vsnprintf(text, sizeof text, format, args);
    writer_flush(&cli->out);
    writer_put(&cli->err, "sensebus: ");
    writer_escaped(&cli->err, text);
    writer_put(&cli->err, "\n");
    writer_flush(&cli->err);
}

void cli_error(struct cli *cli, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    put_message(cli, format, args);
    va_end(args);
}

int cli_usage(struct cli *cli, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    put_message(cli, format, args);
    va_end(args);
    return EXIT_USAGE;
}

/* What to do about it, for the two reasons that mean a wrong address most of the time. */
static const char *way_out(const char *reason)
{
    if (strstr(reason, "connection refused") || strstr(reason, "no such file"))
        return "; start sensebus-broker there, or name another with --broker";
    if (strstr(reason, "HTTP/2") || strstr(reason, "no answer"))
        return "; does a broker listen there?";
    return "";
}

void cli_cannot_connect(struct cli *cli, const char *within, const char *reason)
{
    const char *plain = broker_address_plain(cli->broker);
    size_t len = strlen(plain);
    if (strncmp(reason, plain, len) == 0 && strncmp(reason + len, ": ", 2) == 0)
        reason += len + 2; /* once is enough */
    cli_error(cli, "cannot connect to %s%s: %s%s", cli->broker, within, reason, way_out(reason));
}

int cli_refused(struct cli *cli, int grpc_status, const char *message)
{
    int code = exit_from_status(grpc_status);
    cli_error(cli, "%s says %s: %s", cli->broker, grpc_status_name(grpc_status), message);
    if (code == EXIT_POSITION_GONE)
        cli_error(cli, "--since oldest begins with the oldest event that is kept");
    return code;
}

/* ------------------------------------------------------------------------------------------------ parsing */

static int set_color(struct cli *cli)
{
    enum color_mode mode = COLOR_AUTO;
    const char *text = cli->color_option ? cli->color_option : "auto";
    if (strcmp(text, "always") == 0)
        mode = COLOR_ALWAYS;
    else if (strcmp(text, "never") == 0)
        mode = COLOR_NEVER;
    else if (strcmp(text, "auto") != 0)
        return cli_usage(cli, "--color: '%.40s' is none of auto, always, never", text);
    cli->out.color = writer_wants_color(mode, STDOUT_FILENO);
    cli->err.color = writer_wants_color(mode, STDERR_FILENO);
    return -1;
}

static int set_broker(struct cli *cli)
{
    const char *text = cli->broker_option;
    char err[512];
    if (!text || !*text)
        text = getenv("SENSEBUS_URL");
    if (!text || !*text)
        text = BROKER_ADDRESS_DEFAULT;
    if (broker_address_complete(text, cli->insecure, cli->broker, err, sizeof err) < 0)
        return cli_usage(cli, "--broker: %s", err);
    if (broker_tls_load(cli->broker, &cli->files, cli->server_name, &cli->tls, err, sizeof err) < 0)
        return cli_usage(cli, "%s", err);
    return -1;
}

struct link_options cli_link(const struct cli *cli)
{
    return (struct link_options){.address = cli->broker,
                                 .connect_ms = (uint32_t)cli->connect_ms,
                                 .insecure = cli->insecure,
                                 .tls = cli->tls,
                                 .server_name = cli->server_name};
}

/* Commands that work offline show no --broker, and do not care what it or the environment says. */
static bool has_option(const struct option *options, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(options[i].name, name) == 0)
            return true;
    return false;
}

int cli_parse(struct cli *cli, const char *usage, const struct option *options, size_t n_shown, size_t n_options,
              int argc, char **argv, int *out_n_operands)
{
    char err[512];
    switch (options_parse(options, n_options, argc, argv, out_n_operands, err, sizeof err)) {
    case OPTIONS_HELP:
        options_print_help(stdout, usage, options, n_shown);
        return fflush(stdout) == 0 ? EXIT_OK : EXIT_FAILED;
    case OPTIONS_ERROR: return cli_usage(cli, "%s", err);
    case OPTIONS_OK: break;
    }
    int code = set_color(cli);
    return code >= 0 || !has_option(options, n_shown, "broker") ? code : set_broker(cli);
}

int cli_no_operands(struct cli *cli, int n_operands, char **argv)
{
    return n_operands == 0 ? -1 : cli_usage(cli, "'%.80s' is not expected here; -h shows how to use this", argv[1]);
}

static bool is_command(const char *argument)
{
    return argument[0] != '-' || strcmp(argument, "-h") == 0 || strcmp(argument, "--help") == 0 ||
           strcmp(argument, "--version") == 0;
}

/* The option that `argument` gives, NULL when it is none of them; *out_alone: its value comes in the next argument. */
static const struct option *find_option(const struct option *options, size_t n, const char *argument, bool *out_alone)
{
    size_t len = strcspn(argument, "=");
    for (size_t i = 0; i < n; i++) {
        const struct option *o = &options[i];
        if (len == strlen(o->name) + 2 && strncmp(argument, "--", 2) == 0 &&
            strncmp(argument + 2, o->name, len - 2) == 0) {
            *out_alone = o->kind != OPTION_FLAG && argument[len] == 0;
            return o;
        }
    }
    return NULL;
}

int cli_command_first(struct cli *cli, int argc, char **argv)
{
    struct option options[CLI_OPTIONS];
    int at = 1;
    cli_options(cli, options);
    while (at < argc && !is_command(argv[at])) {
        bool alone;
        const struct option *o = find_option(options, CLI_OPTIONS, argv[at], &alone);
        if (!o)
            return cli_usage(
                cli, "'%.60s' goes behind the command: sensebus COMMAND [OPTIONS]; 'sensebus -h' lists them", argv[at]);
        if (alone && at + 1 == argc)
            return cli_usage(cli, "--%s: needs a value (%s)", o->name, o->argument);
        at += alone ? 2 : 1;
    }
    if (at >= argc)
        return cli_usage(cli, "the command is missing; 'sensebus -h' lists them");
    char *command = argv[at];
    memmove(argv + 2, argv + 1, (size_t)(at - 1) * sizeof *argv);
    argv[1] = command;
    return -1;
}
