/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/service/agent_roll.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/service/agent_session.h"
#include "broker/service/announce.h"
#include "broker/service/broker.h"
#include "proto/message.h"
#include "sensebus/v1/agents.pb-c.h"

/* Attached when the log was closed. */
struct agent_expected {
    LIST_ENTRY(agent_expected) entry;
    uint64_t instance;
    char host[];
};

/* ------------------------------------------------------------------------------------------------ the store's list */

/* What the store keeps of an agent: enough to know after a restart whom to expect. */
void agent_roll_store(struct agent_roll *r, const struct directory_agent *agent, Sensebus__V1__AgentState state)
{
    Sensebus__V1__Agent message = SENSEBUS__V1__AGENT__INIT;

    message.host = (char *)agent->host;
    message.state = state;
    message.agent_epoch = agent->agent_epoch;
    message.instance = agent->instance;
    message.boot_id = (char *)agent->boot_id;
    message.agent_version = (char *)agent->version;
    message.peer = (char *)agent->peer;
    message.since_unix_ns = agent->since_unix_ns;
    size_t len = sensebus__v1__agent__get_packed_size(&message);
    uint8_t *bytes = malloc(len ? len : 1);
    int rc = bytes ? 0 : UV_ENOMEM;
    if (!rc) {
        sensebus__v1__agent__pack(&message, bytes);
        rc = commit_put(&r->broker->commit, JOURNAL_AGENTS, agent->host, strlen(agent->host), bytes, len);
        free(bytes);
    }
    if (rc)
        log_error("agent.state_not_stored", "host=%s reason=\"%s\"", agent->host, uv_strerror(rc));
}

void agent_roll_forget(struct agent_roll *r, const char *host)
{
    int rc = commit_put(&r->broker->commit, JOURNAL_AGENTS, host, strlen(host), NULL, 0);
    if (rc)
        log_warn("agent.state_kept", "host=%s reason=\"%s\"", host, uv_strerror(rc));
}

/* Put an agent of the stored list into the directory, as one that is not here. */
static int restore_agent(struct agent_roll *r, const Sensebus__V1__Agent *stored)
{
    Sensebus__V1__Hello hello = SENSEBUS__V1__HELLO__INIT;
    struct directory_agent *agent;
    void *old_stream;
    char err[REASON_MAX];

    hello.version = CONTRACT_VERSION;
    hello.host = stored->host;
    hello.boot_id = stored->boot_id;
    hello.agent_epoch = stored->agent_epoch;
    hello.instance = stored->instance;
    hello.agent_version = stored->agent_version;
    if (directory_check_hello(&hello, err, sizeof err))
        return UV_EINVAL;
    struct directory *d = &r->broker->directory;
    if (directory_attach(d, &hello, stored->peer, r, stored->since_unix_ns, &agent, &old_stream, err, sizeof err) !=
        DIRECTORY_ACCEPT)
        return UV_ENOMEM;
    bool was_attached = stored->state == SENSEBUS__V1__AGENT_STATE__AGENT_STATE_ATTACHED;
    bool in_order = stored->state == SENSEBUS__V1__AGENT_STATE__AGENT_STATE_DETACHED;
    directory_leave(d, agent, r, in_order, stored->since_unix_ns);
    if (!was_attached)
        return 0;
    size_t len = strlen(stored->host);
    struct agent_expected *expected = malloc(sizeof *expected + len + 1);
    if (!expected)
        return UV_ENOMEM;
    expected->instance = stored->instance;
    memcpy(expected->host, stored->host, len + 1);
    LIST_INSERT_HEAD(&r->expected, expected, entry);
    return 0;
}

static int on_stored_agent(void *data, const struct store_value *key, const struct store_value *value)
{
    Sensebus__V1__Agent *stored =
        (Sensebus__V1__Agent *)message_unpack(&sensebus__v1__agent__descriptor, value->data, value->len, 0);
    int rc = stored ? restore_agent(data, stored) : UV_EINVAL;

    message_free((struct ProtobufCMessage *)stored);
    if (rc == UV_EINVAL) {
        log_warn("agent.stored_state_damaged", "host=\"%.*s\"", (int)(key->len < 253 ? key->len : 253),
                 (const char *)key->data);
        rc = 0;
    }
    return rc;
}

/* The directory forgets those that are gone longest: so does the store, once, at a start. */
static int on_maybe_stale_agent(void *data, const struct store_value *key, const struct store_value *value)
{
    struct agent_roll *r = data;
    char host[DIRECTORY_MAX_HOST + 1];

    (void)value;
    if (key->len <= DIRECTORY_MAX_HOST) {
        memcpy(host, key->data, key->len);
        host[key->len] = 0;
        if (directory_find(&r->broker->directory, host))
            return 0;
    }
    int rc = commit_put(&r->broker->commit, JOURNAL_AGENTS, key->data, key->len, NULL, 0);
    return rc == UV_ENOBUFS ? 0 : rc; /* the others at the next start */
}

/* ------------------------------------------------------------------------------------------------ whom to expect */

static struct agent_expected *expected_find(struct agent_roll *r, const char *host)
{
    struct agent_expected *e;
    LIST_FOREACH(e, &r->expected, entry)
    if (strcmp(e->host, host) == 0)
        return e;
    return NULL;
}

static void expected_drop(struct agent_expected *e)
{
    LIST_REMOVE(e, entry);
    free(e);
}

static void on_grace_over(uv_timer_t *timer)
{
    struct agent_roll *r = timer->data;
    struct agent_expected *e;
    char summary[REASON_MAX + 128];

    if (r->broker->state != BROKER_RUNNING)
        return;
    if (!broker_accepting(r->broker)) {
        r->grace_owed = true;
        log_info("agent.grace_prolonged", "reason=\"%s\"", r->broker->not_accepting);
        return;
    }
    while ((e = LIST_FIRST(&r->expected))) {
        snprintf(summary, sizeof summary, "agent %s did not come back after the broker started", e->host);
        announce(r->broker, SENSEBUS__V1__CODE__AGENT_LOST, e->host, summary);
        struct directory_agent *agent = directory_find(&r->broker->directory, e->host);
        if (agent)
            agent_roll_store(r, agent, SENSEBUS__V1__AGENT_STATE__AGENT_STATE_LOST);
        log_warn("agent.lost", "host=%s reason=\"not back after the start\"", e->host);
        expected_drop(e);
    }
}

bool agent_roll_is_back(struct agent_roll *r, const struct directory_agent *agent)
{
    struct agent_expected *e = expected_find(r, agent->host);
    bool is_same = e && e->instance == agent->instance;

    if (e)
        expected_drop(e);
    return is_same;
}

void agent_roll_on_room(struct agent_roll *r)
{
    if (!r->grace_owed || !broker_accepting(r->broker))
        return;
    r->grace_owed = false;
    uv_timer_start(&r->grace, on_grace_over, r->broker->options.agent_grace_ms, 0);
}

/* ------------------------------------------------------------------------------------------------ start, stop */

int agent_roll_start(struct agent_roll *r, struct broker *broker)
{
    r->broker = broker;
    uv_timer_init(broker->loop, &r->grace);
    r->grace.data = r;
    r->grace_open = true;
    int rc = journal_each(&broker->journal, JOURNAL_AGENTS, on_stored_agent, r);
    if (!rc)
        rc = journal_each(&broker->journal, JOURNAL_AGENTS, on_maybe_stale_agent, r);
    if (!rc && !LIST_EMPTY(&r->expected))
        uv_timer_start(&r->grace, on_grace_over, broker->options.agent_grace_ms, 0);
    return rc;
}

void agent_roll_stop(struct agent_roll *r)
{
    if (!r->grace_open)
        return;
    r->grace_open = false;
    uv_close((uv_handle_t *)&r->grace, NULL);
}

void agent_roll_deinit(struct agent_roll *r)
{
    struct agent_expected *e;
    while ((e = LIST_FIRST(&r->expected)))
        expected_drop(e);
}
