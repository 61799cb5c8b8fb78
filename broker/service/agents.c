/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a stream:
 *
 *   Hello            checked, attached in the directory, answered with Welcome; AGENT_CONNECTED goes to the log
 *   Publish          event by event: scanned, origin checked, judged by dedupe, appended to the open transaction
 *   transaction on disk   Ack through the newest of this agent in it
 *   Detach, then the end  the agent is DETACHED: no event
 *   the end, or silence   the agent is LOST: AGENT_LOST goes to the log
 *
 * While the log takes nothing (too much waits, or the disk is full) the stream is paused: no more flow-control window,
 * and what still arrives of the window granted before is held, in order. */
#include "broker/service/agents.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/mutant.h"
#include "broker/service/adapter.h"
#include "broker/service/agent_session.h"
#include "broker/service/announce.h"
#include "broker/service/broker.h"
#include "broker/service/gate.h"
#include "proto/message.h"
#include "proto/wire.h"
#include "runtime/clock.h"
#include "sensebus/v1/admin.pb-c.h"
#include "sensebus/v1/agents.pb-c.h"

#define WINDOW_EVENTS  65536u
#define HELD_MAX_BYTES (8u * 1024 * 1024) /* of one stream: more than any window of ours lets through */
#define HELD_MAX_ALL   (256u * 1024 * 1024)
#define FIELD_PUBLISH  2u

static uint64_t now_ms(void)
{
    return clock_mono_ns() / 1000000;
}

/* ------------------------------------------------------------------------------------------------ numberings */

static struct agent_source *source_open(struct agents *a, const Sensebus__V1__Hello *hello, int *out_rc)
{
    struct broker *b = a->broker;
    struct dedupe_agent *dedupe;
    struct dedupe_key evicted;
    struct agent_source *s;

    *out_rc = dedupe_open(&b->dedupe, hello->host, hello->agent_epoch, hello->oldest_source_sequence, b->commit.newest,
                          &dedupe, &evicted);
    if (*out_rc)
        return NULL;
    int rc = evicted.len > 0 ? commit_put(&b->commit, JOURNAL_DEDUPE, evicted.bytes, evicted.len, NULL, 0) : 0;
    if (rc)
        log_warn("agent.dedupe_entry_kept", "reason=\"%s\"", uv_strerror(rc));
    LIST_FOREACH(s, &a->sources, entry)
    {
        if (s->dedupe == dedupe) { /* its former stream left records on their way: it holds the entry already */
            dedupe_close(dedupe);
            return s;
        }
    }
    s = calloc(1, sizeof *s);
    if (!s) {
        dedupe_close(dedupe);
        *out_rc = UV_ENOMEM;
        return NULL;
    }
    s->dedupe = dedupe;
    s->sealed = dedupe->committed;
    LIST_INSERT_HEAD(&a->sources, s, entry);
    return s;
}

static void source_free(struct agent_source *s)
{
    dedupe_close(s->dedupe);
    LIST_REMOVE(s, entry);
    free(s);
}

static void source_free_if_done(struct agent_source *s)
{
    if (!s->session && s->dedupe->taken == s->dedupe->committed)
        source_free(s);
}

/* ------------------------------------------------------------------------------------------------ sending */

int session_send(struct agent_session *s, const Sensebus__V1__BrokerMessage *message)
{
    uint8_t small[512], *bytes = small;
    size_t len = sensebus__v1__broker_message__get_packed_size(message);

    if (len > sizeof small && !(bytes = malloc(len)))
        return UV_ENOMEM;
    sensebus__v1__broker_message__pack(message, bytes);
    struct slice slice = {.ptr = bytes, .len = len};
    int rc = grpc_call_send(s->call, &slice, 1);
    if (bytes != small)
        free(bytes);
    return rc;
}

void session_send_ack(struct agent_session *s)
{
    Sensebus__V1__BrokerMessage message = SENSEBUS__V1__BROKER_MESSAGE__INIT;
    Sensebus__V1__Ack ack = SENSEBUS__V1__ACK__INIT;

    ack.source_sequence = MUTANT(201) ? s->source->dedupe->taken : s->source->dedupe->committed;
    message.message_case = SENSEBUS__V1__BROKER_MESSAGE__MESSAGE_ACK;
    message.ack = &ack;
    s->ack_owed = !grpc_call_writable(s->call) || session_send(s, &message) != 0;
    if (!s->ack_owed)
        s->acked = ack.source_sequence;
    s->agent->committed_source_sequence = ack.source_sequence;
}

static int send_welcome(struct agent_session *s)
{
    Sensebus__V1__BrokerMessage message = SENSEBUS__V1__BROKER_MESSAGE__INIT;
    Sensebus__V1__Welcome welcome = SENSEBUS__V1__WELCOME__INIT;

    welcome.version = CONTRACT_VERSION;
    welcome.log_epoch = s->broker->journal.epoch;
    welcome.committed_source_sequence = s->source->dedupe->committed;
    welcome.maximum_message_bytes = PUBLISH_MAX_BYTES;
    welcome.maximum_event_bytes = EVENT_MAX_BYTES;
    welcome.window_events = WINDOW_EVENTS;
    welcome.heartbeat_ms = s->broker->options.heartbeat_ms;
    welcome.broker_version = (char *)SENSEBUS_VERSION;
    message.message_case = SENSEBUS__V1__BROKER_MESSAGE__MESSAGE_WELCOME;
    message.welcome = &welcome;
    return session_send(s, &message);
}

/* ------------------------------------------------------------------------------------------------ the end */

/* The agent is not attached any more. `reason` is for people. */
static void session_leave(struct agent_session *s, bool in_order, const char *reason)
{
    struct broker *b = s->broker;
    struct directory_agent *agent = s->agent;

    if (!agent)
        return;
    /* First, so that what goes on when its operations fail does not come here any more. */
    bool changed = directory_leave(&b->directory, agent, s, in_order, clock_wall_ns());
    operations_agent_gone(s, in_order);
    s->agent = NULL;
    s->source->session = NULL;
    source_free_if_done(s->source);
    s->source = NULL;
    if (!changed || b->state != BROKER_RUNNING) /* a stop of ours is no loss: the agent is expected back */
        return;
    if (in_order) {
        agent_roll_store(&s->agents->roll, agent, SENSEBUS__V1__AGENT_STATE__AGENT_STATE_DETACHED);
        log_info("agent.detached", "host=%s reason=\"%s\"", agent->host, reason);
        return;
    }
    char summary[2 * REASON_MAX + 64];
    snprintf(summary, sizeof summary, "agent %s is lost: %s", agent->host, reason);
    announce(b, SENSEBUS__V1__CODE__AGENT_LOST, agent->host, summary);
    agent_roll_store(&s->agents->roll, agent, SENSEBUS__V1__AGENT_STATE__AGENT_STATE_LOST);
    log_warn("agent.lost", "host=%s reason=\"%s\"", agent->host, reason);
}

static void session_drop_held(struct agent_session *s)
{
    struct held_message *m;
    while ((m = STAILQ_FIRST(&s->held))) {
        STAILQ_REMOVE_HEAD(&s->held, entry);
        free(m);
    }
    s->agents->held_bytes -= s->held_bytes;
    s->held_bytes = 0;
}

void session_fail(struct agent_session *s, int status, const char *format, ...)
{
    char reason[REASON_MAX];
    va_list args;

    if (s->state == SESSION_OVER)
        return;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    s->state = SESSION_OVER;
    log_info("agent.stream_ended", "peer=%s status=%s reason=\"%s\"", grpc_call_peer(s->call), grpc_status_name(status),
             reason);
    session_leave(s, s->detached, reason);
    session_drop_held(s);
    grpc_call_finish(s->call, status, "%s", reason);
}

/* ------------------------------------------------------------------------------------------------ Hello */

/* `unbroken`: the same agent, and nobody lost a session by its coming again; who did is told when to START again
 * (A19). */
static void connected(struct agent_session *s, bool unbroken)
{
    struct agents *a = s->agents;
    bool known = agent_roll_is_back(&a->roll, s->agent) || unbroken;
    char summary[REASON_MAX + 192];

    log_info("agent.attached", "host=%s peer=%s version=\"%s\" epoch=%016" PRIx64 " committed=%" PRIu64, s->agent->host,
             s->agent->peer, s->agent->version, s->epoch, s->source->dedupe->committed);
    if (!known) {
        snprintf(summary, sizeof summary, "agent %s is attached from %s", s->agent->host, s->agent->peer);
        announce(s->broker, SENSEBUS__V1__CODE__AGENT_CONNECTED, s->agent->host, summary);
    }
    agent_roll_store(&a->roll, s->agent, SENSEBUS__V1__AGENT_STATE__AGENT_STATE_ATTACHED);
}

/* Returns how many sessions of the Adapter face ended with the stream. */
static size_t supersede(struct agent_session *old)
{
    size_t n = operations_agent_gone(old, false);

    old->agent = NULL;
    if (old->source) {
        old->source->session = NULL;
        source_free_if_done(old->source);
        old->source = NULL;
    }
    session_fail(old, GRPC_ABORTED, "superseded: the same agent attached again");
    return n;
}

static void take_hello(struct agent_session *s, const Sensebus__V1__Hello *hello)
{
    struct broker *b = s->broker;
    struct agent_session *old = NULL;
    char err[REASON_MAX];
    int rc;

    rc = directory_check_hello(hello, err, sizeof err);
    if (rc) {
        session_fail(s, rc == UV_ENOMEM ? GRPC_RESOURCE_EXHAUSTED : GRPC_INVALID_ARGUMENT, "%s", err);
        return;
    }
    if (!gate_admit_host(b, s->call, hello->host, err, sizeof err)) {
        session_fail(s, GRPC_PERMISSION_DENIED, "%s", err);
        return;
    }
    if (!broker_accepting(b)) {
        session_fail(s, GRPC_UNAVAILABLE, "not accepting: %s", b->not_accepting);
        return;
    }
    uint64_t n_forgotten = b->directory.n_forgotten;
    enum directory_verdict verdict = directory_attach(&b->directory, hello, grpc_call_peer(s->call), s, clock_wall_ns(),
                                                      &s->agent, (void **)&old, err, sizeof err);
    if (b->directory.n_forgotten != n_forgotten)
        agent_roll_forget(&s->agents->roll, b->directory.last_forgotten);
    if (verdict == DIRECTORY_REFUSE || verdict == DIRECTORY_FULL || verdict == DIRECTORY_NO_MEMORY) {
        s->agent = NULL;
        session_fail(s, verdict == DIRECTORY_REFUSE ? GRPC_ALREADY_EXISTS : GRPC_RESOURCE_EXHAUSTED, "%s",
                     verdict == DIRECTORY_NO_MEMORY ? "out of memory" : err);
        return;
    }
    bool unbroken = verdict == DIRECTORY_REPLACE && supersede(old) == 0;
    s->source = source_open(s->agents, hello, &rc);
    if (!s->source) {
        directory_leave(&b->directory, s->agent, s, false, clock_wall_ns());
        s->agent = NULL;
        session_fail(s, GRPC_RESOURCE_EXHAUSTED, "cannot remember another agent: %s", uv_strerror(rc));
        return;
    }
    s->source->session = s;
    s->state = SESSION_ATTACHED;
    s->epoch = hello->agent_epoch;
    s->expected = s->source->dedupe->committed + 1;
    s->acked = s->source->dedupe->committed;
    s->agent->committed_source_sequence = s->acked;
    s->agent->newest_source_sequence = hello->newest_source_sequence;
    connected(s, unbroken);
    if (send_welcome(s))
        session_fail(s, GRPC_RESOURCE_EXHAUSTED, "out of memory");
}

/* ------------------------------------------------------------------------------------------------ messages */

static void on_detach_written(struct commit_waiter *waiter)
{
    struct agent_session *s = (struct agent_session *)((char *)waiter - offsetof(struct agent_session, detach_written));
    grpc_call_finish(s->call, GRPC_OK, NULL);
}

/* Answered by the end of the stream, once it is on disk: a restart of ours then makes no loss of it. */
static void take_detach(struct agent_session *s, const Sensebus__V1__Detach *detach)
{
    s->detached = true;
    session_leave(s, true, detach->reason[0] ? detach->reason : "orderly");
    s->state = SESSION_OVER;
    s->detach_written.cb = on_detach_written;
    commit_wait(&s->broker->commit, &s->detach_written);
}

static void take_other(struct agent_session *s, const Sensebus__V1__AgentMessage *m)
{
    struct directory *d = &s->broker->directory;
    char err[REASON_MAX];
    int rc = 0;

    if (m->message_case == SENSEBUS__V1__AGENT_MESSAGE__MESSAGE_HELLO) {
        if (s->state == SESSION_NEW)
            take_hello(s, m->hello);
        else
            session_fail(s, GRPC_INVALID_ARGUMENT, "hello: comes once");
        return;
    }
    if (s->state == SESSION_NEW) {
        session_fail(s, GRPC_INVALID_ARGUMENT, "hello: must come first");
        return;
    }
    switch (m->message_case) {
    case SENSEBUS__V1__AGENT_MESSAGE__MESSAGE_COVERAGE:
        rc = directory_coverage(d, s->agent, m->coverage, err, sizeof err);
        break;
    case SENSEBUS__V1__AGENT_MESSAGE__MESSAGE_INVENTORY:
        rc = directory_inventory(d, s->agent, m->inventory, err, sizeof err);
        break;
    case SENSEBUS__V1__AGENT_MESSAGE__MESSAGE_HEARTBEAT:
        rc = directory_heartbeat(d, s->agent, m->heartbeat, clock_wall_ns(), err, sizeof err);
        break;
    case SENSEBUS__V1__AGENT_MESSAGE__MESSAGE_DETACH: take_detach(s, m->detach); return;
    case SENSEBUS__V1__AGENT_MESSAGE__MESSAGE_OPERATION_RESULT: operations_take_result(s, m->operation_result); return;
    case SENSEBUS__V1__AGENT_MESSAGE__MESSAGE_TARGET_RECEIVED: operations_take_received(s, m->target_received); return;
    default: session_fail(s, GRPC_INVALID_ARGUMENT, "AgentMessage: has none of its members"); return;
    }
    if (rc == UV_ENOMEM)
        session_fail(s, GRPC_RESOURCE_EXHAUSTED, "out of memory");
    else if (rc)
        session_fail(s, rc == UV_ENOBUFS ? GRPC_RESOURCE_EXHAUSTED : GRPC_INVALID_ARGUMENT, "%s", err);
}

static void take_message(struct agent_session *s, const uint8_t *bytes, size_t len)
{
    struct wire_field field;
    char err[REASON_MAX];

    /* The frequent one is not unpacked: its events are scanned where they lie. */
    if (len > 0 && wire_field_read(bytes, bytes + len, &field) == bytes + len && field.number == FIELD_PUBLISH &&
        field.type == WIRE_BYTES) {
        if (s->state == SESSION_NEW)
            session_fail(s, GRPC_INVALID_ARGUMENT, "hello: must come first");
        else
            publish_take(s, field.bytes, field.len);
        if (MUTANT(201) && s->state == SESSION_ATTACHED)
            session_send_ack(s);
        return;
    }
    if (message_check(&sensebus__v1__agent_message__descriptor, bytes, len, err, sizeof err)) {
        session_fail(s, GRPC_INVALID_ARGUMENT, "%s", err);
        return;
    }
    struct ProtobufCMessage *m = message_unpack(&sensebus__v1__agent_message__descriptor, bytes, len, 0);
    if (!m)
        session_fail(s, GRPC_RESOURCE_EXHAUSTED, "AgentMessage: takes too much memory");
    else if (request_check_known(m, err, sizeof err))
        session_fail(s, GRPC_INVALID_ARGUMENT, "%s", err);
    else
        take_other(s, (Sensebus__V1__AgentMessage *)m);
    message_free(m);
}

static void hold(struct agent_session *s, const uint8_t *bytes, size_t len)
{
    struct held_message *m = NULL;
    size_t cost = sizeof *m + len;

    if (s->held_bytes + cost <= HELD_MAX_BYTES && s->agents->held_bytes + cost <= HELD_MAX_ALL)
        m = malloc(cost);
    if (!m) {
        session_fail(s, GRPC_RESOURCE_EXHAUSTED, "the log takes nothing now, and %zu bytes wait (%zu of all agents)",
                     s->held_bytes, s->agents->held_bytes);
        return;
    }
    m->len = len;
    memcpy(m->bytes, bytes, len);
    STAILQ_INSERT_TAIL(&s->held, m, entry);
    s->held_bytes += cost;
    s->agents->held_bytes += cost;
}

static void session_pause(struct agent_session *s)
{
    if (!s->paused)
        grpc_call_pause(s->call);
    s->paused = true;
}

/* Take what was held, as far as the log has room, then let the agent send again. */
static void session_resume(struct agent_session *s)
{
    struct held_message *m;

    while (s->state != SESSION_OVER && (m = STAILQ_FIRST(&s->held)) && !commit_full(&s->broker->commit)) {
        STAILQ_REMOVE_HEAD(&s->held, entry);
        s->held_bytes -= sizeof *m + m->len;
        s->agents->held_bytes -= sizeof *m + m->len;
        take_message(s, m->bytes, m->len);
        free(m);
    }
    if (s->state == SESSION_OVER || !STAILQ_EMPTY(&s->held) || !s->paused)
        return;
    s->paused = false;
    s->heard_ms = now_ms();
    grpc_call_resume(s->call);
}

/* ------------------------------------------------------------------------------------------------ callbacks */

static void on_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct agent_session *s = data;

    (void)call;
    if (s->state == SESSION_OVER || s->broker->state != BROKER_RUNNING)
        return;
    s->heard_ms = now_ms();
    /* A Hello is always answered: take_hello says why when nothing is taken. */
    if (s->state == SESSION_ATTACHED && (s->paused || commit_full(&s->broker->commit))) {
        session_pause(s);
        hold(s, bytes, len);
        return;
    }
    take_message(s, bytes, len);
    if (s->state == SESSION_ATTACHED && commit_full(&s->broker->commit))
        session_pause(s);
}

static void on_half_close(struct grpc_call *call, void *data)
{
    struct agent_session *s = data;

    (void)call;
    session_fail(s, GRPC_OK, "the agent closed its side");
}

static void on_writable(struct grpc_call *call, void *data)
{
    struct agent_session *s = data;

    (void)call;
    if (s->state == SESSION_ATTACHED && s->ack_owed)
        session_send_ack(s);
}

static void on_drain(struct grpc_call *call, void *data)
{
    struct agent_session *s = data;

    if (s->state == SESSION_OVER) /* said Detach: the disk did not take it in time */
        grpc_call_finish(call, GRPC_UNAVAILABLE, "the broker is stopping");
    session_fail(s, GRPC_UNAVAILABLE, "the broker is stopping");
}

static void on_close(struct grpc_call *call, void *data, int status, const char *message)
{
    struct agent_session *s = data;
    char reason[REASON_MAX];

    (void)call;
    snprintf(reason, sizeof reason, "stream ended: %s%s%s", grpc_status_name(status), message[0] ? ": " : "", message);
    session_leave(s, false, reason);
    session_drop_held(s);
    commit_forget(&s->detach_written);
    TAILQ_REMOVE(&s->agents->sessions, s, entry);
    free(s);
}

static void on_attach(struct grpc_call *call, void *service)
{
    static const struct grpc_call_ops ops = {
        .on_message = on_message,
        .on_half_close = on_half_close,
        .on_writable = on_writable,
        .on_drain = on_drain,
        .on_close = on_close,
    };
    struct agents *a = service;

    if (!gate_admit(a->broker, call, ACCESS_AGENT, NULL))
        return;
    struct agent_session *s = calloc(1, sizeof *s);
    if (!s) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    s->agents = a;
    s->broker = a->broker;
    s->call = call;
    s->heard_ms = now_ms();
    STAILQ_INIT(&s->held);
    operations_init(s);
    TAILQ_INSERT_TAIL(&a->sessions, s, entry);
    grpc_call_accept(call, &ops, s);
}

/* Nobody is silent whom we do not listen to: paused streams are left alone. And where we were held up ourselves (the
 * machine slept, the process was stopped), what came meanwhile has not been read yet: everybody gets that time on top.
 */
static void on_tick(uv_timer_t *timer)
{
    struct agents *a = timer->data;
    struct agent_session *s, *next;
    uint64_t limit_ms = 3 * (uint64_t)a->broker->options.heartbeat_ms, now = now_ms();
    uint64_t due_ms = a->ticked_ms + uv_timer_get_repeat(timer), late_ms = now > due_ms ? now - due_ms : 0;

    a->ticked_ms = now;
    for (s = TAILQ_FIRST(&a->sessions); s; s = next) {
        next = TAILQ_NEXT(s, entry);
        s->heard_ms = now - s->heard_ms > late_ms ? s->heard_ms + late_ms : now;
        if (s->state != SESSION_OVER && !s->paused && now - s->heard_ms > limit_ms)
            session_fail(s, GRPC_DEADLINE_EXCEEDED, "silent for %" PRIu64 " ms", now - s->heard_ms);
    }
}

/* ------------------------------------------------------------------------------------------------ the commit engine */

int agents_on_seal(struct agents *a, struct journal_write *w, uint64_t through)
{
    struct journal_write part = {0};
    struct agent_source *s;
    uint8_t value[DEDUPE_VALUE_SIZE];

    LIST_FOREACH(s, &a->sources, entry)
    {
        if (s->dedupe->taken == s->dedupe->committed)
            continue;
        dedupe_encode(s->dedupe, s->dedupe->taken, through, value);
        int rc =
            journal_write_put(&part, JOURNAL_DEDUPE, s->dedupe->key.bytes, s->dedupe->key.len, value, sizeof value);
        if (rc) {
            journal_write_deinit(&part); /* it is tried again and again: nothing may stay behind each time */
            return rc;
        }
        s->sealed = s->dedupe->taken;
    }
    journal_write_join(w, &part);
    return 0;
}

void agents_on_committed(struct agents *a, uint64_t through)
{
    struct agent_source *s, *next;

    for (s = LIST_FIRST(&a->sources); s; s = next) {
        next = LIST_NEXT(s, entry);
        if (s->sealed > s->dedupe->committed)
            dedupe_commit(&a->broker->dedupe, s->dedupe, s->sealed, through);
        if (s->session && s->session->state == SESSION_ATTACHED && s->session->acked < s->dedupe->committed)
            session_send_ack(s->session);
        source_free_if_done(s);
    }
}

void agents_pause(struct agents *a)
{
    struct agent_session *s;
    TAILQ_FOREACH(s, &a->sessions, entry)
    if (s->state == SESSION_ATTACHED)
        session_pause(s);
}

void agents_resume(struct agents *a)
{
    struct agent_session *s, *last = TAILQ_LAST(&a->sessions, agent_sessions);

    agent_roll_on_room(&a->roll);
    /* Who was heard goes to the end of the line: with more agents than there is room for, each has its turn. */
    while ((s = TAILQ_FIRST(&a->sessions)) && !commit_full(&a->broker->commit)) {
        session_resume(s);
        TAILQ_REMOVE(&a->sessions, s, entry);
        TAILQ_INSERT_TAIL(&a->sessions, s, entry);
        if (s == last)
            break;
    }
}

/* ------------------------------------------------------------------------------------------------ start, stop */

int agents_start(struct agents *a, struct broker *broker, struct adapter_service *adapter)
{
    static const struct grpc_method methods[] = {{"/sensebus.v1.Agents/Attach", on_attach}};
    uint64_t tick_ms = broker->options.heartbeat_ms / 2 > 50 ? broker->options.heartbeat_ms / 2 : 50;

    a->broker = broker;
    a->adapter = adapter;
    TAILQ_INIT(&a->sessions);
    uv_timer_init(broker->loop, &a->tick);
    a->tick.data = a;
    a->tick_open = true;
    int rc = agent_roll_start(&a->roll, broker);
    if (rc)
        return rc;
    a->ticked_ms = now_ms();
    uv_timer_start(&a->tick, on_tick, tick_ms, tick_ms);
    return grpc_server_add(broker->server, methods, sizeof methods / sizeof *methods, a);
}

void agents_stop(struct agents *a)
{
    agent_roll_stop(&a->roll);
    if (!a->tick_open)
        return;
    a->tick_open = false;
    uv_close((uv_handle_t *)&a->tick, NULL);
}

void agents_deinit(struct agents *a)
{
    struct agent_source *s;

    assert(TAILQ_EMPTY(&a->sessions));
    agent_roll_deinit(&a->roll);
    while ((s = LIST_FIRST(&a->sources)))
        source_free(s);
}
