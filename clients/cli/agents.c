/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "clients/cli/cli.h"
#include "clients/cli/commands.h"
#include "clients/cli/list.h"
#include "clients/cli/output/clock_text.h"
#include "clients/cli/output/table.h"
#include "clients/cli/query/names.h"
#include "proto/message.h"
#include "runtime/clock.h"
#include "sensebus/v1/admin.pb-c.h"

static const char USAGE[] = "usage: sensebus agents [-o FORMAT]\n"
                            "\n"
                            "List the agents that the broker knows: state, what they see, and how far behind\n"
                            "they are.\n"
                            "\n"
                            "Examples:\n"
                            "  sensebus agents\n"
                            "  sensebus agents -o wide          # with every source and why it is not armed\n"
                            "  sensebus agents -o ndjson";

static const char *const HEADINGS[] = {"HOST",    "STATE",   "SINCE",   "SOURCES",
                                       "DEVICES", "BACKLOG", "DROPPED", "LAST EVENT"};
enum { COLUMNS = sizeof HEADINGS / sizeof *HEADINGS };

static const char *state_name(Sensebus__V1__AgentState state)
{
    switch (state) {
    case SENSEBUS__V1__AGENT_STATE__AGENT_STATE_ATTACHED: return "attached";
    case SENSEBUS__V1__AGENT_STATE__AGENT_STATE_DETACHED: return "detached";
    case SENSEBUS__V1__AGENT_STATE__AGENT_STATE_LOST: return "LOST";
    default: return "?";
    }
}

static const char *source_state_name(Sensebus__V1__SourceState state)
{
    switch (state) {
    case SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_OFF: return "off";
    case SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_DEGRADED: return "degraded";
    case SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED: return "armed";
    default: return "?";
    }
}

static size_t count_armed(const Sensebus__V1__Agent *a)
{
    size_t n = 0;
    for (size_t i = 0; i < a->n_sources; i++)
        n += a->sources[i]->state == SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED;
    return n;
}

static void put_row(struct table *t, const Sensebus__V1__Agent *a)
{
    char since[CLOCK_TEXT_BYTES], last[CLOCK_TEXT_BYTES];
    uint64_t now_ns = clock_wall_ns();
    uint64_t newest = a->newest_source_sequence, committed = a->committed_source_sequence;
    table_cell(t, a->host);
    table_cell(t, state_name(a->state));
    table_cell(t, clock_text_ago(a->since_unix_ns, now_ns, since));
    table_cellf(t, "%zu/%zu", count_armed(a), a->n_sources);
    table_cellf(t, "%" PRIu64, a->n_devices);
    table_cellf(t, "%" PRIu64, newest > committed ? newest - committed : 0);
    table_cellf(t, "%" PRIu64, a->n_dropped);
    table_cell(t, clock_text_ago(a->last_event_unix_ns, now_ns, last));
}

static const char *const SOURCE_HEADINGS[] = {"HOST", "SOURCE", "OF", "STATE", "REASON"};
enum { SOURCE_COLUMNS = sizeof SOURCE_HEADINGS / sizeof *SOURCE_HEADINGS };

static void put_sources(struct table *t, const Sensebus__V1__Agent *a)
{
    for (size_t i = 0; i < a->n_sources; i++) {
        const Sensebus__V1__SourceCoverage *s = a->sources[i];
        table_cell(t, a->host);
        table_cell(t, names_word(NAMES_SOURCE, s->source));
        table_cell(t, s->instance);
        table_cell(t, source_state_name(s->state));
        table_cell(t, s->reason);
    }
}

static void put_page(struct list *l, struct table *agents, struct table *sources,
                     const Sensebus__V1__ListAgentsResponse *page)
{
    for (size_t i = 0; i < page->n_agents; i++) {
        if (format_is_json(l->format)) {
            objects_put(&l->objects, NULL, &page->agents[i]->base);
            continue;
        }
        put_row(agents, page->agents[i]);
        if (l->format == FORMAT_WIDE)
            put_sources(sources, page->agents[i]);
    }
}

static int ask_pages(struct list *l, struct table *agents, struct table *sources)
{
    Sensebus__V1__ListAgentsRequest request = SENSEBUS__V1__LIST_AGENTS_REQUEST__INIT;
    ProtobufCMessage *reply = NULL;
    int code;
    do {
        ProtobufCMessage *next = NULL;
        code = broker_ask(&l->broker, "/sensebus.v1.Admin/ListAgents", &request.base,
                          &sensebus__v1__list_agents_response__descriptor, &next);
        message_free(reply);
        reply = next;
        if (code != EXIT_OK)
            break;
        Sensebus__V1__ListAgentsResponse *page = (Sensebus__V1__ListAgentsResponse *)reply;
        put_page(l, agents, sources, page);
        request.page_token = page->next_page_token;
    } while (*request.page_token);
    message_free(reply);
    return code;
}

static int print_tables(struct list *l, const struct table *agents, const struct table *sources)
{
    bool complete = table_print(agents, &l->cli->out);
    if (l->format == FORMAT_WIDE) {
        writer_put(&l->cli->out, "\n");
        complete = table_print(sources, &l->cli->out) && complete;
    }
    if (complete)
        return EXIT_OK;
    cli_error(l->cli, "out of memory: the output is not complete");
    return EXIT_FAILED;
}

int agents_run(struct cli *cli, int argc, char **argv)
{
    struct list list = {0};
    struct option options[1 + CLI_OPTIONS];
    int n_operands;
    list_option(&list, options);
    cli_options(cli, options + 1);
    int code = cli_parse(cli, USAGE, options, 1 + CLI_OPTIONS, 1 + CLI_OPTIONS, argc, argv, &n_operands);
    if (code < 0)
        code = cli_no_operands(cli, n_operands, argv);
    if (code >= 0)
        return code;
    struct table agents, sources;
    table_init(&agents, HEADINGS, COLUMNS);
    table_init(&sources, SOURCE_HEADINGS, SOURCE_COLUMNS);
    code = list_begin(&list, cli);
    if (code == EXIT_OK)
        code = ask_pages(&list, &agents, &sources);
    if (code == EXIT_OK && !format_is_json(list.format))
        code = print_tables(&list, &agents, &sources);
    table_deinit(&agents);
    table_deinit(&sources);
    return list_end(&list, code);
}
