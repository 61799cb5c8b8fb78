/* SPDX-License-Identifier: Apache-2.0 */
/* sensebus: the command line. Finds the command and hands over. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clients/cli/cli.h"
#include "clients/cli/commands.h"
#include "runtime/spelling.h"
#include "runtime/standard_files.h"

static const struct cli_command COMMANDS[] = {
    {"watch", "show events as they come", watch_run},
    {"get", "show the events that are kept, and end", get_run},
    {"status", "what happened last to each device", status_run},
    {"agents", "who reports, and how far behind", agents_run},
    {"devices", "the logical units that are watched", devices_run},
    {"wait", "wait until something holds, for scripts", wait_run},
    {"sessions", "open sessions of devices: whose, registered or not", sessions_run},
    {"register", "SCIOEVENT: open a session and print its events", register_run},
    {"ioc", "IOCINFO: what an adapter is and can", ioc_run},
    {"tm-event", "TMIOEVNT: what is pending on a session", tm_event_run},
    {"wait-pri", "POLLPRI: wait until something is pending", wait_pri_run},
    {"halt", "SCIOHALT: abort what runs on a logical unit", halt_run},
    {"reset", "SCIORESET: reset a logical unit or a target", reset_run},
    {"listen", "sdi_addevent: be called for driver events", listen_run},
    {"notify", "sdi_notifyevent: call the handlers of a driver event", notify_run},
    {"xaen", "sdi_xaen: tell the sessions of an adapter", xaen_run},
    {"end-session", "end somebody else's session", end_session_run},
    {"explain", "what a code or ASC/ASCQ means, and what to look at", explain_run},
    {"pki", "make a CA, and certificates for tls://", pki_run},
    {"store", "verify the log of a broker that is stopped", store_run},
    {"metrics", "what the broker counts, for Prometheus", metrics_run},
    {"health", "whether the broker is serving, for health checks", health_run},
    {"version", "of this program and of the broker", version_run},
};
enum { N_COMMANDS = sizeof COMMANDS / sizeof *COMMANDS };

static void print_help(FILE *out)
{
    fputs("usage: sensebus COMMAND [OPTIONS]\n\nCommands:\n", out);
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(out, "  %-11s %s\n", COMMANDS[i].name, COMMANDS[i].summary);
    fputs("\n"
          "'sensebus COMMAND -h' shows options and examples. The broker is " BROKER_ADDRESS_DEFAULT "\n"
          "unless --broker, SENSEBUS_BROKER or SENSEBUS_URL names another. tls:// before it\n"
          "needs --ca, --certificate and --key; without TLS, a broker beyond this machine\n"
          "needs --insecure.\n"
          "\n"
          "Exit codes: 0 ok, 1 failed, 2 usage, 3 cannot connect, 4 not authenticated,\n"
          "5 not authorised, 6 timeout, 7 gap under --strict, 8 damaged (store),\n"
          "9 conflict, 10 position gone, 130 interrupted.\n",
          out);
}

static const struct cli_command *find(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(COMMANDS[i].name, name) == 0)
            return &COMMANDS[i];
    return NULL;
}

static const char *nearest(const char *name)
{
    struct spelling_search search = {.word = name, .limit = 3, .fold = true};
    for (size_t i = 0; i < N_COMMANDS; i++)
        spelling_consider(&search, COMMANDS[i].name);
    return search.nearest;
}

int main(int argc, char **argv)
{
    static struct cli cli; /* large: two output buffers */
    standard_files_ensure();
    /* A reader that goes away is seen as EPIPE by who writes. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not become longer is a full disk */
    writer_init(&cli.out, STDOUT_FILENO, false);
    writer_init(&cli.err, STDERR_FILENO, false);
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    int code = cli_command_first(&cli, argc, argv);
    if (code >= 0)
        return code;
    const char *name = argv[1];
    if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return fflush(stdout) == 0 ? EXIT_OK : EXIT_FAILED;
    }
    if (strcmp(name, "--version") == 0)
        name = "version";
    const struct cli_command *command = find(name);
    if (!command) {
        const char *near = nearest(name);
        return near ? cli_usage(&cli, "unknown command '%.60s'; did you mean %s?", name, near)
                    : cli_usage(&cli, "unknown command '%.60s'; 'sensebus -h' lists them", name);
    }
    return command->run(&cli, argc - 1, argv + 1);
}
