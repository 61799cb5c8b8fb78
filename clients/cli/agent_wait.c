/* SPDX-License-Identifier: Apache-2.0 */
/* Link up -> ListAgents, page by page -> satisfied: done; not: ask again after ASK_MS. A lost link dials again by
 * itself. */
#include "clients/cli/agent_wait.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/c/link.h"
#include "clients/c/unary.h"
#include "clients/cli/cli.h"
#include "proto/message.h"
#include "sensebus/v1/admin.pb-c.h"

#define ASK_MS 200

struct agent_wait {
    struct cli *cli;
    enum agent_condition condition;
    const char *host;
    uv_loop_t loop;
    struct link *link;
    uv_timer_t ask_timer, deadline_timer;
    char *page_token; /* of the page asked for; NULL: the first */
    bool stopped, asking, answered;
    int code;
    char missing[300]; /* why not yet */
};

static void stop(struct agent_wait *w, int code)
{
    if (w->stopped)
        return;
    w->stopped = true;
    w->code = code;
    link_close(w->link);
    w->link = NULL;
    uv_close((uv_handle_t *)&w->ask_timer, NULL);
    uv_close((uv_handle_t *)&w->deadline_timer, NULL);
}

/* ------------------------------------------------------------------------------------------------ the condition */

/* How much the hooks of a host's kernel see is a matter of what was granted to the agent, and not of waiting. */
static bool is_hook(Sensebus__V1__Source source)
{
    return source == SENSEBUS__V1__SOURCE__SOURCE_UEVENT || source == SENSEBUS__V1__SOURCE__SOURCE_TRACE ||
           source == SENSEBUS__V1__SOURCE__SOURCE_ISCSI_NETLINK || source == SENSEBUS__V1__SOURCE__SOURCE_FC_NETLINK ||
           source == SENSEBUS__V1__SOURCE__SOURCE_SYSFS;
}

static bool is_synced(struct agent_wait *w, const Sensebus__V1__Agent *a)
{
    size_t n_armed = 0;
    for (size_t i = 0; i < a->n_sources; i++) {
        const Sensebus__V1__SourceCoverage *s = a->sources[i];
        bool is_target = s->source == SENSEBUS__V1__SOURCE__SOURCE_ISCSI;
        n_armed += s->state == SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED;
        if ((s->state == SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_DEGRADED && !is_hook(s->source)) ||
            (is_target && s->state != SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED)) {
            snprintf(w->missing, sizeof w->missing, "agent %.80s: source %.80s is not armed: %.80s", a->host,
                     s->instance, s->reason);
            return false;
        }
    }
    if (n_armed == 0)
        snprintf(w->missing, sizeof w->missing, "agent %.80s has no source armed", a->host);
    else if (a->newest_source_sequence > a->committed_source_sequence)
        snprintf(w->missing, sizeof w->missing, "agent %.80s is %" PRIu64 " events behind", a->host,
                 a->newest_source_sequence - a->committed_source_sequence);
    else
        return true;
    return false;
}

static bool is_satisfied(struct agent_wait *w, const Sensebus__V1__Agent *a)
{
    if (w->host && strcmp(w->host, a->host) != 0)
        return false;
    if (a->state != SENSEBUS__V1__AGENT_STATE__AGENT_STATE_ATTACHED) {
        snprintf(w->missing, sizeof w->missing, "agent %.80s is not attached", a->host);
        return false;
    }
    return w->condition == AGENT_ATTACHED || is_synced(w, a);
}

/* ------------------------------------------------------------------------------------------------ asking */

static void on_answer(void *data, int status, const char *message, struct ProtobufCMessage *reply);

static void ask(struct agent_wait *w)
{
    struct grpc_channel *channel = link_channel(w->link);
    if (!channel || w->asking)
        return;
    Sensebus__V1__ListAgentsRequest request = SENSEBUS__V1__LIST_AGENTS_REQUEST__INIT;
    if (w->page_token)
        request.page_token = w->page_token;
    int rc = unary_call(channel, "/sensebus.v1.Admin/ListAgents", (uint32_t)w->cli->connect_ms, &request.base,
                        &sensebus__v1__list_agents_response__descriptor, on_answer, w);
    w->asking = rc == 0;
}

static void on_ask_timer(uv_timer_t *timer)
{
    ask(timer->data);
}

static void ask_later(struct agent_wait *w)
{
    uv_timer_start(&w->ask_timer, on_ask_timer, ASK_MS, ASK_MS);
}

static void set_page_token(struct agent_wait *w, const char *token)
{
    free(w->page_token);
    w->page_token = token && *token ? strdup(token) : NULL;
}

static void on_page(struct agent_wait *w, const Sensebus__V1__ListAgentsResponse *page)
{
    bool first = !w->page_token;
    if (first && w->host)
        snprintf(w->missing, sizeof w->missing, "agent %.80s is not known to the broker", w->host);
    else if (first)
        snprintf(w->missing, sizeof w->missing, "the broker knows no agent");
    for (size_t i = 0; i < page->n_agents; i++) {
        if (is_satisfied(w, page->agents[i])) {
            stop(w, EXIT_OK);
            return;
        }
    }
    set_page_token(w, page->next_page_token);
    if (w->page_token)
        ask(w);
    else
        ask_later(w);
}

static void on_answer(void *data, int status, const char *message, struct ProtobufCMessage *reply)
{
    struct agent_wait *w = data;
    w->asking = false;
    if (!w->stopped && status == GRPC_OK) {
        w->answered = true;
        on_page(w, (Sensebus__V1__ListAgentsResponse *)reply);
    } else if (!w->stopped) {
        set_page_token(w, NULL);
        if (status == GRPC_UNAVAILABLE || status == GRPC_DEADLINE_EXCEEDED) {
            ask_later(w);
        } else {
            cli_error(w->cli, "%s says %s: %s", w->cli->broker, grpc_status_name(status), message);
            stop(w, exit_from_status(status));
        }
    }
    message_free(reply);
}

static void on_up(struct link *link, void *data)
{
    (void)link;
    ask(data);
}

static void on_down(struct link *link, void *data, const char *reason, uint32_t retry_ms)
{
    (void)link;
    (void)retry_ms;
    struct agent_wait *w = data;
    uv_timer_stop(&w->ask_timer);
    if (!w->answered)
        snprintf(w->missing, sizeof w->missing, "%s", reason);
}

static void on_deadline(uv_timer_t *timer)
{
    struct agent_wait *w = timer->data;
    if (w->answered) {
        cli_error(w->cli, "timeout: %s", w->missing);
        stop(w, EXIT_TIMEOUT);
    } else {
        cli_cannot_connect(w->cli, " within the time", *w->missing ? w->missing : "no answer");
        stop(w, EXIT_CONNECT);
    }
}

int agent_wait_run(struct cli *cli, enum agent_condition condition, const char *host, uint64_t timeout_ms)
{
    static const struct link_ops ops = {.on_up = on_up, .on_down = on_down};
    struct agent_wait w = {.cli = cli, .condition = condition, .host = host};
    const struct link_options options = cli_link(cli);
    int rc = uv_loop_init(&w.loop);
    if (rc < 0) {
        cli_error(cli, "cannot start: %s", uv_strerror(rc));
        return EXIT_FAILED;
    }
    uv_timer_init(&w.loop, &w.ask_timer);
    uv_timer_init(&w.loop, &w.deadline_timer);
    w.ask_timer.data = w.deadline_timer.data = &w;
    if (timeout_ms)
        uv_timer_start(&w.deadline_timer, on_deadline, timeout_ms, 0);
    rc = link_open(&w.loop, &options, &ops, &w, &w.link);
    if (rc < 0) {
        w.link = NULL;
        cli_error(cli, "cannot dial %s: %s", cli->broker, uv_strerror(rc));
        stop(&w, rc == UV_EINVAL ? EXIT_USAGE : EXIT_FAILED);
    }
    uv_run(&w.loop, UV_RUN_DEFAULT);
    uv_loop_close(&w.loop);
    free(w.page_token);
    return w.code;
}
