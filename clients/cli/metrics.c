/* SPDX-License-Identifier: Apache-2.0 */
/* metrics: what the broker counts, in the text format of Prometheus (exposition format 0.0.4). The samples of a family
 * stand together, so all pages of a list are there before the first is printed. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/cli/broker.h"
#include "clients/cli/cli.h"
#include "clients/cli/commands.h"
#include "clients/cli/output/answer.h"
#include "clients/cli/query/names.h"
#include "proto/message.h"
#include "sensebus/v1/admin.pb-c.h"

static const char USAGE[] = "usage: sensebus metrics\n"
                            "\n"
                            "Print what the broker counts in the text format of Prometheus: the broker and\n"
                            "its log, each agent and its sources, each subscription.\n"
                            "\n"
                            "Example, for the textfile collector of a node exporter:\n"
                            "  sensebus metrics >sensebus.prom.new && mv sensebus.prom.new sensebus.prom";

#define MAX_PAGES 4096u

struct pages {
    ProtobufCMessage **all;
    size_t n;
};

struct metrics {
    struct writer *out;
    ProtobufCMessage *broker;
    struct pages agents, subscriptions;
};

/* ------------------------------------------------------------------------------------------------ the format */

static void family(struct metrics *m, const char *name, const char *type, const char *help)
{
    writer_format(m->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A label's value: backslash, quote and line feed are escaped, as the format asks. Other control characters, which it
 * lets pass, do not reach a terminal: "\\x1b" in the output, which is \x1b to who reads it. */
static void label_value(struct metrics *m, const char *text)
{
    for (; *text; text++) {
        if (*text == '\n')
            writer_put(m->out, "\\n");
        else if ((unsigned char)*text < 0x20 || *text == 0x7f)
            writer_format(m->out, "\\\\x%02x", (unsigned char)*text);
        else
            writer_format(m->out, "%s%c", *text == '\\' || *text == '"' ? "\\" : "", *text);
    }
}

/* `first` of a sample's labels, or behind another. */
static void label(struct metrics *m, bool first, const char *name, const char *value)
{
    writer_format(m->out, "%s%s=\"", first ? "{" : ",", name);
    label_value(m, value);
    writer_put(m->out, "\"");
}

static void seconds(struct metrics *m, uint64_t unix_ns)
{
    writer_format(m->out, " %" PRIu64 ".%03u\n", unix_ns / 1000000000, (unsigned)(unix_ns / 1000000 % 1000));
}

static void number(struct metrics *m, uint64_t value)
{
    writer_format(m->out, " %" PRIu64 "\n", value);
}

/* The uint64_t at `offset` of a message. */
static uint64_t number_at(const void *message, size_t offset)
{
    uint64_t value;
    memcpy(&value, (const char *)message + offset, sizeof value);
    return value;
}

/* A family of one sample without labels. */
static void alone(struct metrics *m, const char *name, const char *help, uint64_t value)
{
    family(m, name, "gauge", help);
    writer_put(m->out, name);
    number(m, value);
}

/* ------------------------------------------------------------------------------------------------ the broker */

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), n = strlen(end);
    return len >= n && strcmp(text + len - n, end) == 0;
}

static void put_counter(struct metrics *m, const Sensebus__V1__Counter *c)
{
    writer_format(m->out, "# TYPE %s %s\n%s", c->name, ends_with(c->name, "_total") ? "counter" : "gauge", c->name);
    number(m, c->value);
}

static void put_broker(struct metrics *m)
{
    const Sensebus__V1__GetBrokerResponse *b = (const Sensebus__V1__GetBrokerResponse *)m->broker;

    family(m, "sensebus_build_info", "gauge", "The broker that answered.");
    writer_put(m->out, "sensebus_build_info");
    label(m, true, "version", b->version);
    writer_put(m->out, "} 1\n");
    family(m, "sensebus_broker_start_time_seconds", "gauge", "When it was started, Unix time.");
    writer_put(m->out, "sensebus_broker_start_time_seconds");
    seconds(m, b->started_unix_ns);
    alone(m, "sensebus_broker_accepting", "1: the log takes events; 0: the disk is full, or the broker stops.",
          b->accepting ? 1 : 0);
    alone(m, "sensebus_store_bytes", "Of the log, in use.", b->log_bytes);
    alone(m, "sensebus_store_limit_bytes", "Of the log, at most.", b->log_bytes_limit);
    if (b->oldest && b->newest) {
        alone(m, "sensebus_store_newest_sequence", "Of the newest record.", b->newest->sequence);
        alone(m, "sensebus_store_records", "That are kept.", b->newest->sequence - b->oldest->sequence);
    }
    for (size_t i = 0; i < b->n_counters; i++)
        put_counter(m, b->counters[i]);
}

/* ------------------------------------------------------------------------------------------------ agents */

static void of_agent(struct metrics *m, const char *name, const Sensebus__V1__Agent *a)
{
    writer_put(m->out, name);
    label(m, true, "host", a->host);
}

static void agent_number(struct metrics *m, const char *name, const Sensebus__V1__Agent *a, uint64_t value)
{
    of_agent(m, name, a);
    writer_put(m->out, "}");
    number(m, value);
}

static void agent_time(struct metrics *m, const char *name, const Sensebus__V1__Agent *a, uint64_t unix_ns)
{
    of_agent(m, name, a);
    writer_put(m->out, "}");
    seconds(m, unix_ns);
}

static void agent_connected(struct metrics *m, const char *name, const Sensebus__V1__Agent *a)
{
    agent_number(m, name, a, a->state == SENSEBUS__V1__AGENT_STATE__AGENT_STATE_ATTACHED);
}

static void agent_since(struct metrics *m, const char *name, const Sensebus__V1__Agent *a)
{
    agent_time(m, name, a, a->since_unix_ns);
}

static void agent_backlog(struct metrics *m, const char *name, const Sensebus__V1__Agent *a)
{
    uint64_t newest = a->newest_source_sequence, committed = a->committed_source_sequence;
    agent_number(m, name, a, newest > committed ? newest - committed : 0);
}

static void agent_last_event(struct metrics *m, const char *name, const Sensebus__V1__Agent *a)
{
    if (a->last_event_unix_ns)
        agent_time(m, name, a, a->last_event_unix_ns);
}

static void agent_commands(struct metrics *m, const char *name, const Sensebus__V1__Agent *a)
{
    for (size_t i = 0; i < a->n_commands; i++) {
        of_agent(m, name, a);
        label(m, false, "command", a->commands[i]->key);
        writer_put(m->out, "}");
        number(m, a->commands[i]->value);
    }
}

/* A source is told once, whatever the agent says: the format has no two samples of the same labels. */
static bool is_repeated(const Sensebus__V1__Agent *a, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (a->sources[i]->source == a->sources[at]->source &&
            strcmp(a->sources[i]->instance, a->sources[at]->instance) == 0)
            return true;
    return false;
}

static void source_samples(struct metrics *m, const char *name, const Sensebus__V1__Agent *a,
                           Sensebus__V1__SourceState state)
{
    for (size_t i = 0; i < a->n_sources; i++) {
        const Sensebus__V1__SourceCoverage *s = a->sources[i];
        const char *word = names_word(NAMES_SOURCE, s->source);
        char digits[16];
        if (is_repeated(a, i))
            continue;
        snprintf(digits, sizeof digits, "%d", (int)s->source); /* of a newer agent */
        of_agent(m, name, a);
        label(m, false, "source", word ? word : digits);
        label(m, false, "instance", s->instance);
        writer_put(m->out, "}");
        number(m, s->state == state);
    }
}

static void agent_armed(struct metrics *m, const char *name, const Sensebus__V1__Agent *a)
{
    source_samples(m, name, a, SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED);
}

static void agent_degraded(struct metrics *m, const char *name, const Sensebus__V1__Agent *a)
{
    source_samples(m, name, a, SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_DEGRADED);
}

struct agent_family {
    const char *name, *type, *help;
    void (*samples)(struct metrics *m, const char *name, const Sensebus__V1__Agent *a); /* NULL: the number itself */
    size_t offset;                                                                      /* of it in the agent */
};

static void put_family(struct metrics *m, const struct agent_family *f)
{
    family(m, f->name, f->type, f->help);
    for (size_t p = 0; p < m->agents.n; p++) {
        const Sensebus__V1__ListAgentsResponse *page = (const Sensebus__V1__ListAgentsResponse *)m->agents.all[p];
        for (size_t i = 0; i < page->n_agents; i++) {
            const Sensebus__V1__Agent *a = page->agents[i];
            if (f->samples)
                f->samples(m, f->name, a);
            else
                agent_number(m, f->name, a, number_at(a, f->offset));
        }
    }
}

static void put_agents(struct metrics *m)
{
    static const struct agent_family families[] = {
        {"sensebus_agent_connected", "gauge", "1: its stream is open.", agent_connected, 0},
        {"sensebus_agent_since_timestamp_seconds", "gauge", "Since when it is so.", agent_since, 0},
        {"sensebus_agent_backlog_events", "gauge", "That the agent has and the log has not.", agent_backlog, 0},
        {"sensebus_agent_last_event_timestamp_seconds", "gauge", "Of its newest event.", agent_last_event, 0},
        {"sensebus_agent_devices", "gauge", "That it watches.", NULL, offsetof(Sensebus__V1__Agent, n_devices)},
        {"sensebus_agent_events_total", "counter", "Taken since the broker started.", NULL,
         offsetof(Sensebus__V1__Agent, n_events)},
        {"sensebus_agent_events_refused_total", "counter", "That broke the contract.", NULL,
         offsetof(Sensebus__V1__Agent, n_refused)},
        {"sensebus_agent_events_dropped_total", "counter", "Lost at the agent, its spool was full.", NULL,
         offsetof(Sensebus__V1__Agent, n_dropped)},
        {"sensebus_agent_commands_total", "counter", "That it sent to targets, by itself or asked.", agent_commands, 0},
        {"sensebus_source_armed", "gauge", "1: this source of the agent sees all that it can.", agent_armed, 0},
        {"sensebus_source_degraded", "gauge", "1: it sees less than it should; neither: it is off.", agent_degraded, 0},
    };
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        put_family(m, &families[i]);
}

/* ------------------------------------------------------------------------------------------------ subscriptions */

static void put_subscription(struct metrics *m, const char *name, size_t offset, const Sensebus__V1__Subscription *s)
{
    writer_put(m->out, name);
    label(m, true, "id", s->id);
    label(m, false, "peer", s->peer);
    label(m, false, "cursor", s->cursor);
    writer_put(m->out, "}");
    number(m, number_at(s, offset));
}

/* `offset`: of a uint64_t in each subscription. */
static void each_subscription(struct metrics *m, const char *name, const char *type, const char *help, size_t offset)
{
    family(m, name, type, help);
    for (size_t p = 0; p < m->subscriptions.n; p++) {
        const Sensebus__V1__ListSubscriptionsResponse *page =
            (const Sensebus__V1__ListSubscriptionsResponse *)m->subscriptions.all[p];
        for (size_t i = 0; i < page->n_subscriptions; i++)
            put_subscription(m, name, offset, page->subscriptions[i]);
    }
}

static void put_subscriptions(struct metrics *m)
{
    each_subscription(m, "sensebus_subscription_lag_events", "gauge", "Records behind the newest.",
                      offsetof(Sensebus__V1__Subscription, lag));
    each_subscription(m, "sensebus_subscription_queued_bytes", "gauge", "That wait for the subscriber.",
                      offsetof(Sensebus__V1__Subscription, queued_bytes));
    each_subscription(m, "sensebus_subscription_delivered_total", "counter", "Records.",
                      offsetof(Sensebus__V1__Subscription, n_delivered));
    each_subscription(m, "sensebus_subscription_gaps_total", "counter", "Gaps that it was told.",
                      offsetof(Sensebus__V1__Subscription, n_gaps));
}

/* ------------------------------------------------------------------------------------------------ asking */

static void pages_free(struct pages *p)
{
    for (size_t i = 0; i < p->n; i++)
        message_free(p->all[i]);
    free(p->all);
}

/* Takes the page over. */
static int pages_add(struct cli *cli, struct pages *p, ProtobufCMessage *page)
{
    ProtobufCMessage **all = p->n < MAX_PAGES ? realloc(p->all, (p->n + 1) * sizeof *all) : NULL;
    if (!all) {
        message_free(page);
        cli_error(cli, p->n < MAX_PAGES ? "out of memory" : "the broker's list does not end");
        return EXIT_FAILED;
    }
    p->all = all;
    all[p->n++] = page;
    return EXIT_OK;
}

/* A list of the Admin service, all of it. */
struct listing {
    const char *path;
    ProtobufCMessage *request;
    char **page_token; /* in the request */
    const ProtobufCMessageDescriptor *response;
    size_t next_page_token; /* offset in the response */
};

static int ask_pages(struct broker *b, const struct listing *l, struct pages *p)
{
    int code;
    do {
        ProtobufCMessage *page = NULL;
        code = broker_ask(b, l->path, l->request, l->response, &page);
        if (code == EXIT_OK)
            code = pages_add(b->cli, p, page);
        if (code == EXIT_OK)
            memcpy(l->page_token, (const char *)page + l->next_page_token, sizeof *l->page_token);
    } while (code == EXIT_OK && **l->page_token);
    return code;
}

static int ask(struct broker *b, struct metrics *m)
{
    Sensebus__V1__GetBrokerRequest request = SENSEBUS__V1__GET_BROKER_REQUEST__INIT;
    Sensebus__V1__ListAgentsRequest agents = SENSEBUS__V1__LIST_AGENTS_REQUEST__INIT;
    Sensebus__V1__ListSubscriptionsRequest subscriptions = SENSEBUS__V1__LIST_SUBSCRIPTIONS_REQUEST__INIT;
    const struct listing list_agents = {"/sensebus.v1.Admin/ListAgents", &agents.base, &agents.page_token,
                                        &sensebus__v1__list_agents_response__descriptor,
                                        offsetof(Sensebus__V1__ListAgentsResponse, next_page_token)},
                         list_subscriptions = {"/sensebus.v1.Admin/ListSubscriptions", &subscriptions.base,
                                               &subscriptions.page_token,
                                               &sensebus__v1__list_subscriptions_response__descriptor,
                                               offsetof(Sensebus__V1__ListSubscriptionsResponse, next_page_token)};
    int code = broker_ask(b, "/sensebus.v1.Admin/GetBroker", &request.base,
                          &sensebus__v1__get_broker_response__descriptor, &m->broker);
    if (code == EXIT_OK)
        code = ask_pages(b, &list_agents, &m->agents);
    if (code == EXIT_OK)
        code = ask_pages(b, &list_subscriptions, &m->subscriptions);
    return code;
}

static void print(struct metrics *m)
{
    put_broker(m);
    put_agents(m);
    put_subscriptions(m);
}

int metrics_run(struct cli *cli, int argc, char **argv)
{
    struct metrics metrics = {.out = &cli->out};
    struct option options[CLI_OPTIONS];
    struct broker broker;
    int n_operands;
    cli_options(cli, options);
    int code = cli_parse(cli, USAGE, options, CLI_OPTIONS, CLI_OPTIONS, argc, argv, &n_operands);
    if (code < 0)
        code = cli_no_operands(cli, n_operands, argv);
    if (code >= 0)
        return code;
    code = broker_connect(&broker, cli);
    if (code == EXIT_OK)
        code = ask(&broker, &metrics);
    broker_close(&broker);
    if (code == EXIT_OK)
        print(&metrics);
    message_free(metrics.broker);
    pages_free(&metrics.agents);
    pages_free(&metrics.subscriptions);
    return answer_end(cli, code);
}
