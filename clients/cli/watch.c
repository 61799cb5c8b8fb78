/* SPDX-License-Identifier: Apache-2.0 */
/* watch: show events as they come. get: show what is kept, and end. */
#include "clients/cli/cli.h"
#include "clients/cli/commands.h"
#include "clients/cli/event_options.h"
#include "clients/cli/output/presenter.h"

static const char WATCH_USAGE[] = "usage: sensebus watch [SELECTORS] [--where EXPR] [--since POINT | --last N]\n"
                                  "                      [-o FORMAT]\n"
                                  "\n"
                                  "Show events as they come. A lost connection is dialled again and the stream\n"
                                  "resumed: no event comes twice, and none is missing without a gap being\n"
                                  "reported. Ctrl-C prints where to resume.\n"
                                  "\n"
                                  "Selectors: the same one twice is OR, different ones are AND, lists take commas;\n"
                                  "--not turns the next one round.\n"
                                  "\n"
                                  "Examples:\n"
                                  "  sensebus watch --severity warn\n"
                                  "  sensebus watch --code 'LUN_*,TARGET_RESET' --not --host 'test-*'\n"
                                  "  sensebus watch --addr '*:*:1:0-7' --where 'asc==0x29 && ascq!=0' -o ndjson\n"
                                  "  sensebus watch --since 5m --count 10 --strict\n"
                                  "  sensebus watch --since 9f3c21d4.884213";

static const char GET_USAGE[] = "usage: sensebus get [SELECTORS] [--where EXPR] [--since POINT | --last N]\n"
                                "                    [-o FORMAT]\n"
                                "\n"
                                "Show the events that are kept, from the oldest to what is the newest now, and\n"
                                "end.\n"
                                "\n"
                                "Selectors: the same one twice is OR, different ones are AND, lists take commas;\n"
                                "--not turns the next one round.\n"
                                "\n"
                                "Examples:\n"
                                "  sensebus get --since 2h --code 'RESERVATIONS_*' -o wide\n"
                                "  sensebus get --last 20 --severity error\n"
                                "  sensebus get -o json > events.json";

#define POINTS "5m, 2026-01-31T12:00:00Z, #884213 or EPOCH.SEQUENCE"

enum { OWN_OPTIONS = 4 };

/* Run both: `live` is watch. */
static int run(struct cli *cli, bool live, int argc, char **argv)
{
    struct event_options events = {0};
    struct follow_options follow = {.stop_at_newest = !live};
    struct option options[EVENT_OPTIONS + OWN_OPTIONS + CLI_OPTIONS + EVENT_OPTIONS_HIDDEN];
    event_options(&events, live ? "now, oldest, " POINTS " (default now)" : "oldest, " POINTS " (default oldest)",
                  options);
    size_t n = EVENT_OPTIONS;
    options[n++] = (struct option){.name = "count",
                                   .kind = OPTION_UINT,
                                   .value = &follow.count,
                                   .argument = "N",
                                   .min = 1,
                                   .help = "end after N events"};
    options[n++] = (struct option){.name = "strict",
                                   .kind = OPTION_FLAG,
                                   .value = &follow.strict,
                                   .help = "end with exit code 7 as soon as events are missing"};
    if (live) {
        options[n++] = (struct option){.name = "snapshot",
                                       .kind = OPTION_FLAG,
                                       .value = &follow.snapshot,
                                       .help = "the current status of the devices first"};
        options[n++] = (struct option){.name = "until-synced",
                                       .kind = OPTION_FLAG,
                                       .value = &follow.until_synced,
                                       .help = "end when everything up to now was shown"};
    }
    cli_options(cli, options + n);
    n += CLI_OPTIONS;
    event_options_hidden(&events, options + n);

    char err[160];
    int n_operands;
    argc = select_merge_not(argc, argv, err, sizeof err);
    if (argc < 0)
        return cli_usage(cli, "%s", err);
    int code =
        cli_parse(cli, live ? WATCH_USAGE : GET_USAGE, options, n, n + EVENT_OPTIONS_HIDDEN, argc, argv, &n_operands);
    if (code < 0)
        code = cli_no_operands(cli, n_operands, argv);
    enum format format;
    if (code < 0)
        code = event_options_compile(&events, cli, live ? "now" : "oldest", &follow, &format);
    if (code < 0) {
        struct presenter presenter;
        presenter_begin(&presenter, cli, format, events.remedy || format == FORMAT_WIDE);
        code = follow_run(cli, &follow, &presenter);
    }
    event_options_deinit(&follow);
    return code;
}

int watch_run(struct cli *cli, int argc, char **argv)
{
    return run(cli, true, argc, argv);
}

int get_run(struct cli *cli, int argc, char **argv)
{
    return run(cli, false, argc, argv);
}
