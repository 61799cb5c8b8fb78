/* SPDX-License-Identifier: Apache-2.0 */
/* wait: an event, or the state of an agent. */
#include <string.h>

#include "clients/cli/agent_wait.h"
#include "clients/cli/cli.h"
#include "clients/cli/commands.h"
#include "clients/cli/event_options.h"
#include "clients/cli/output/presenter.h"
#include "clients/cli/query/where.h"

static const char USAGE[] = "usage: sensebus wait --for CONDITION [--timeout TIME]\n"
                            "\n"
                            "Wait until something holds, for scripts: exit code 0 when it does, 6 when the\n"
                            "time is over. A broker that is not there yet is dialled until then.\n"
                            "\n"
                            "Conditions:\n"
                            "  synced                any agent, or the one of --agent, is attached, sees all\n"
                            "                        that it was told to watch, and is not behind\n"
                            "  agent [HOST]          any agent, or the one of HOST, is attached\n"
                            "  [event:] EXPR         an event comes for which EXPR holds, and is printed;\n"
                            "                        'sensebus explain where' tells what EXPR may be\n"
                            "\n"
                            "Examples:\n"
                            "  sensebus wait --for synced --agent db-07 --timeout 20s\n"
                            "  sensebus wait --for 'event: asc==0x3f && ascq==0x0e && lun==3' --timeout 2s\n"
                            "  sensebus wait --for 'code==LUN_RESET' --since oldest  # one that came will do";

enum { OWN_OPTIONS = 2 };

struct wait {
    const char *condition, *agent;
    uint64_t timeout_ms;
    struct event_options events;
};

/* The rest of `text` behind `word`, spaces skipped; NULL when it begins with something else. */
static const char *behind(const char *text, const char *word)
{
    size_t len = strlen(word);
    if (strncmp(text, word, len) != 0)
        return NULL;
    text += len;
    return text + strspn(text, " ");
}

static bool is_event_option_given(const struct event_options *e)
{
    for (size_t i = 0; i < SELECT_COUNT; i++)
        if (e->selection.wanted[i].n || e->selection.unwanted[i].n)
            return true;
    return e->where || e->since || e->output || e->last || e->remedy || e->print_filter;
}

static int wait_event(struct cli *cli, struct wait *w, const char *expression)
{
    struct follow_options follow = {.count = 1, .heedless = true, .patient = true, .timeout_ms = w->timeout_ms};
    enum format format;
    int code = -1;
    if (w->agent)
        return cli_usage(cli, "--agent belongs to 'synced' and 'agent'; select events with --host");
    if (w->events.where)
        return cli_usage(cli, "--where: the expression is in --for already");
    code = event_options_compile(&w->events, cli, "now", &follow, &format);
    if (code < 0)
        code = event_options_where(cli, "--for", expression, &follow.where);
    if (code < 0) {
        struct presenter presenter;
        presenter_begin(&presenter, cli, format, w->events.remedy || format == FORMAT_WIDE);
        code = follow_run(cli, &follow, &presenter);
    }
    event_options_deinit(&follow);
    return code;
}

static int wait_agent(struct cli *cli, struct wait *w, enum agent_condition condition, const char *host)
{
    if (is_event_option_given(&w->events))
        return cli_usage(cli, "selectors, --since, -o and the like belong to waiting for an event");
    return agent_wait_run(cli, condition, host && *host ? host : w->agent, w->timeout_ms);
}

static int dispatch(struct cli *cli, struct wait *w)
{
    const char *text = w->condition, *rest;
    if (!text)
        return cli_usage(cli, "--for is missing: what to wait for; -h shows examples");
    text += strspn(text, " ");
    if (strcmp(text, "synced") == 0)
        return wait_agent(cli, w, AGENT_SYNCED, NULL);
    if (strcmp(text, "agent") == 0)
        return wait_agent(cli, w, AGENT_ATTACHED, NULL);
    rest = behind(text, "agent ");
    if (rest && w->agent)
        return cli_usage(cli, "the agent is named twice: in --for and by --agent");
    if (rest)
        return wait_agent(cli, w, AGENT_ATTACHED, rest);
    rest = behind(text, "event:");
    return wait_event(cli, w, rest ? rest : text);
}

/* --where is for the others: here it is refused with a hint, and not shown. It moves behind the shown ones. */
static void hide_where(struct option *options, size_t *n_shown)
{
    size_t at = 0;
    while (strcmp(options[at].name, "where") != 0)
        at++;
    const struct option where = options[at];
    memmove(options + at, options + at + 1, (--*n_shown - at) * sizeof *options);
    options[*n_shown] = where;
}

int wait_run(struct cli *cli, int argc, char **argv)
{
    struct wait w = {0};
    struct option options[OWN_OPTIONS + EVENT_OPTIONS + CLI_OPTIONS + EVENT_OPTIONS_HIDDEN];
    size_t n = 0;
    options[n++] = (struct option){.name = "for",
                                   .kind = OPTION_STRING,
                                   .value = &w.condition,
                                   .argument = "CONDITION",
                                   .help = "synced, agent [HOST], or [event:] EXPR"};
    options[n++] = (struct option){.name = "agent",
                                   .kind = OPTION_STRING,
                                   .value = &w.agent,
                                   .argument = "HOST",
                                   .help = "the agent that must be there or synced (default any)"};
    event_options(&w.events,
                  "for events: now, oldest, 5m, 2026-01-31T12:00:00Z, #884213 or EPOCH.SEQUENCE (default now)",
                  options + n);
    n += EVENT_OPTIONS;
    cli_options(cli, options + n);
    /* Here --timeout is for the whole wait. */
    for (size_t i = n; i < n + CLI_OPTIONS; i++) {
        if (strcmp(options[i].name, "timeout") == 0) {
            options[i].value = &w.timeout_ms;
            options[i].help = "for the whole wait (default: no limit)";
            options[i].max = 0;
        }
    }
    n += CLI_OPTIONS;
    event_options_hidden(&w.events, options + n);
    hide_where(options, &n);

    char err[160];
    int n_operands;
    argc = select_merge_not(argc, argv, err, sizeof err);
    if (argc < 0)
        return cli_usage(cli, "%s", err);
    int code = cli_parse(cli, USAGE, options, n, n + 1 + EVENT_OPTIONS_HIDDEN, argc, argv, &n_operands);
    if (code < 0)
        code = cli_no_operands(cli, n_operands, argv);
    return code >= 0 ? code : dispatch(cli, &w);
}
