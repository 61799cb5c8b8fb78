/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions: START, START_TARGET, STOP and every other end (semantics.md rules 2, 3, 5, 6).
 *
 *   START checked -> OPENING, its place taken -> the agent is asked -> OPEN -> CLOSED
 *                                                  refused, too late -> forgotten, its place free again
 *
 * CLOSED is at once, for all: no index knows the session any more, its waits wake, its operations fail. What is left of
 * it are actions: the records in the line, the last one, the announcements. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/adapter/mutant.h"
#include "broker/core/adapter/state.h"

#define CASE(name) SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_##name

enum sdi_last_close { SDI_LASTCLOSE = 2, SDI_LASTCLOSE_ERR = 3 };

struct adapter_session *session_find(const struct adapter *a, const char *id, size_t len)
{
    struct adapter_session *s = table_get(&a->sessions_by_id, id, len);
    return s && s->state == SESSION_OPEN ? s : NULL;
}

bool session_is_of_host(const struct adapter_session *s, struct text host)
{
    return host.len && strlen(s->host->name) == host.len && memcmp(s->host->name, host.ptr, host.len) == 0;
}

uint64_t adapter_generation(const struct adapter *a, const char *session_id, size_t len)
{
    const struct adapter_session *s = session_find(a, session_id, len);
    return s ? s->generation : 0;
}

uint64_t adapter_generation_at(const struct adapter *a, struct text host, struct text session_id)
{
    const struct adapter_session *s = session_find(a, session_id.ptr, session_id.len);
    return s && session_is_of_host(s, host) ? s->generation : 0;
}

/* ---- life */

void session_ref(struct adapter_session *s)
{
    s->n_refs++;
}

static uint64_t target_cost(const struct adapter_session *s)
{
    return target_buffers_cost(s->buffer_bytes, s->n_buffers);
}

void session_unref(struct adapter_session *s)
{
    struct adapter *a = s->adapter;
    if (--s->n_refs > 0)
        return;
    assert(s->state == SESSION_CLOSED && !s->unit && !s->stream && !s->listener);
    s->principal->n_sessions--;
    s->principal->reserved_bytes -= target_cost(s);
    a->n_sessions--;
    principal_unref(s->principal);
    host_unref(a, s->host);
    chunk_unref(s->correlator);
    chunk_unref(s->data_correlator);
    free(s);
}

static void init_actions(struct adapter_session *s)
{
    action_init(&s->tell_started, ACTION_STARTED, s, NULL);
    action_init(&s->tell_stopped, ACTION_STOPPED, s, NULL);
    action_init(&s->tell_cancelled, ACTION_CANCELLED, s, NULL);
    action_init(&s->first_open, ACTION_FIRST_OPEN, s, NULL);
    action_init(&s->last_close_told, ACTION_LAST_CLOSE, s, NULL);
    action_init(&s->close, ACTION_CLOSE, s, NULL);
    action_init(&s->send_lost, ACTION_LOST, s, NULL);
    action_init(&s->send_final, ACTION_FINAL, s, NULL);
}

static void set_device(struct adapter_session *s, const Sensebus__V1__Device *device)
{
    if (!device)
        return;
    text_copy(s->vendor, sizeof s->vendor, device->vendor);
    text_copy(s->product, sizeof s->product, device->product);
    s->device_type = device->device_type;
    s->transport = device->transport;
}

/* In all indices, OPENING; NULL when memory is out. */
static struct adapter_session *session_new(struct ask *ask)
{
    struct adapter *a = ask->a;
    struct session_place place;
    struct adapter_session *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    bool is_target = ask->request->operation_case == CASE(START_TARGET);
    s->adapter = a;
    s->generation = a->next_generation;
    snprintf(s->id, sizeof s->id, "s%" PRIx64, s->generation);
    s->mode = is_target ? SENSEBUS__V1__MODE__MODE_TARGET : SENSEBUS__V1__MODE__MODE_INITIATOR;
    s->is_shared = !is_target && ask->request->start->shared;
    s->controller = ask->place->controller;
    s->device_type = -1;
    set_device(s, ask->place->device);
    s->capabilities = ask->place->capabilities;
    s->since_unix_ns = ask->wall_ns;
    s->n_refs = 1;
    TAILQ_INIT(&s->watches);
    TAILQ_INIT(&s->operations);
    init_actions(s);
    place_fill(&place, ask->place->address); /* checked */
    s->host = host_get(a, ask->place->address->host);
    if (!s->host)
        goto no_host;
    if (is_target && target_prepare(s, ask->request->start_target) != 0)
        goto no_buffers;
    if (unit_join(s, &place) != 0)
        goto no_buffers;
    if (table_add(&a->sessions_by_id, s->id, strlen(s->id), s) != 0)
        goto no_id;
    a->next_generation++;
    TAILQ_INSERT_TAIL(&a->sessions, s, all_next);
    TAILQ_INSERT_TAIL(&s->host->sessions, s, host_next);
    a->n_sessions++;
    s->principal = principal_ref(ask->stream->principal);
    s->principal->n_sessions++;
    s->principal->reserved_bytes += target_cost(s);
    return s;
no_id:
    unit_leave(s);
no_buffers:
    chunk_unref(s->data_correlator);
    host_unref(a, s->host);
no_host:
    free(s);
    return NULL;
}

/* Out of all indices. The reference stays. */
static void leave(struct adapter_session *s)
{
    struct adapter *a = s->adapter;
    s->state = SESSION_CLOSED;
    table_remove(&a->sessions_by_id, s->id, strlen(s->id));
    TAILQ_REMOVE(&a->sessions, s, all_next);
    TAILQ_REMOVE(&s->host->sessions, s, host_next);
    unit_leave(s);
}

void session_abandon(struct adapter_session *s, bool tell_agent)
{
    assert(s->state == SESSION_OPENING);
    leave(s);
    if (tell_agent)
        action_push(s->adapter, &s->close);
    session_unref(s);
}

/* ---- START */

void session_start(struct ask *ask, struct reply *reply)
{
    Sensebus__V1__Operation message = SENSEBUS__V1__OPERATION__INIT;
    Sensebus__V1__Start start = SENSEBUS__V1__START__INIT;
    Sensebus__V1__StartTarget start_target = SENSEBUS__V1__START_TARGET__INIT;
    Sensebus__V1__DeviceAddress address;
    struct adapter_session *s = session_new(ask);
    if (s) {
        session_address(s, &address);
        if (ask->request->operation_case == CASE(START)) {
            start.address = &address;
            start.shared = s->is_shared;
            message.operation_case = SENSEBUS__V1__OPERATION__OPERATION_OPEN;
            message.open = &start;
        } else { /* the correlator stays here: agents have no use for it */
            start_target.address = &address;
            start_target.buffer_bytes = s->buffer_bytes;
            start_target.n_buffers = s->n_buffers;
            message.operation_case = SENSEBUS__V1__OPERATION__OPERATION_OPEN_TARGET;
            message.open_target = &start_target;
        }
        if (operation_new(ask, s->host, s, &message, reply))
            return;
        session_abandon(s, false);
    }
    reply_error(ask->a, reply, ERRNO_(ENOMEM), DETAIL_(NONE), "no memory for a session");
}

static bool somebody_has_it(const struct adapter_session *s)
{
    const struct adapter_session *other;
    TAILQ_FOREACH(other, &s->unit->sessions, unit_next)
    {
        if (other != s && other->state == SESSION_OPEN && other->mode == s->mode)
            return true;
    }
    return false;
}

static int write_started(struct reply *reply, const struct adapter_session *s, Sensebus__V1__Device *reached)
{
    Sensebus__V1__Result result = SENSEBUS__V1__RESULT__INIT;
    Sensebus__V1__StartResult start = SENSEBUS__V1__START_RESULT__INIT;
    Sensebus__V1__DeviceAddress address;
    session_address(s, &address);
    start.session_id = (char *)s->id;
    start.generation = s->generation;
    start.already_started = somebody_has_it(s);
    start.reached = reached;
    start.address = &address;
    result.value_case = SENSEBUS__V1__RESULT__VALUE_START;
    result.start = &start;
    return reply_write(reply, &result);
}

/* Where the agent says the session is. False: the operation was ended. */
static bool move_to(struct operation *op, const Sensebus__V1__DeviceAddress *address, unsigned capabilities)
{
    struct adapter_session *s = op->session;
    struct session_place place;
    if (!address || !*address->adapter)
        return true; /* it is where we asked for */
    if (place_fill(&place, address) != 0) {
        operation_undo(op, ERRNO_(EIO), DETAIL_(NONE), "the agent's address has names that are too long");
        return false;
    }
    if (!*place.target_name)
        memcpy(place.target_name, s->place.target_name, sizeof place.target_name);
    if (unit_conflict(s->adapter, s->host->name, &place, s->mode, s->is_shared, s)) {
        operation_undo(op, ERRNO_(EINVAL), DETAIL_(ALREADY_STARTED),
                       "the agent found the device at a place that is started already");
        return false;
    }
    if (unit_join(s, &place) != 0) {
        operation_undo(op, ERRNO_(ENOMEM), DETAIL_(NONE), "no memory for the session");
        return false;
    }
    s->capabilities = capabilities;
    return true;
}

void session_started(struct operation *op, const Sensebus__V1__OperationResult *result, unsigned capabilities,
                     uint64_t log_newest)
{
    struct adapter *a = op->adapter;
    struct adapter_session *s = op->session;
    struct adapter_stream *stream = op->stream;
    struct reply *reply = op->reply;
    if (result->value_case != SENSEBUS__V1__OPERATION_RESULT__VALUE_OPEN) {
        operation_undo(op, ERRNO_(EIO), DETAIL_(NONE), "the agent's answer lacks its value");
        return;
    }
    if (!move_to(op, result->open->address, capabilities))
        return;
    set_device(s, result->open->reached);
    s->controller = result->open->controller;
    s->major = result->open->adapter_major;
    s->minor = result->open->adapter_minor;
    if (write_started(reply, s, result->open->reached) != 0) {
        operation_undo(op, ERRNO_(ENOMEM), DETAIL_(NONE), "no memory for the answer");
        return;
    }
    operation_free(op);
    s->state = SESSION_OPEN;
    s->since_sequence = log_newest;
    s->stream = stream;
    TAILQ_INSERT_TAIL(&stream->sessions, s, stream_next);
    a->counters.sessions_open++;
    a->counters.sessions_started++;
    reply_push(a, reply);
    action_push(a, &s->tell_started);
    if (s->mode == SENSEBUS__V1__MODE__MODE_INITIATOR && s->unit->n_open++ == 0)
        action_push(a, &s->first_open);
}

/* ---- the end */

static const char *const end_names[] = {
    [END_STOP] = "STOP",
    [END_STREAM] = "STREAM_ENDED",
    [END_AGENT_LOST] = "AGENT_LOST",
    [END_AGENT_DETACHED] = "AGENT_DETACHED",
    [END_DEVICE_REMOVED] = "DEVICE_REMOVED",
    [END_TARGET_REMOVED] = "TARGET_REMOVED",
    [END_ADAPTER_REMOVED] = "ADAPTER_REMOVED",
    [END_OPERATOR] = "OPERATOR",
    [END_BROKER] = "BROKER_STOPPING",
    [END_NO_MEMORY] = "NO_MEMORY",
    [END_AGENT_FAULT] = "AGENT_FAULT",
};

static void leave_device(struct adapter_session *s, enum end_kind kind)
{
    struct unit *unit = s->unit;
    bool is_error = unit->had_errors || kind == END_AGENT_LOST || kind == END_DEVICE_REMOVED ||
                    kind == END_TARGET_REMOVED || kind == END_ADAPTER_REMOVED;
    if (s->mode != SENSEBUS__V1__MODE__MODE_INITIATOR || --unit->n_open > 0)
        return;
    s->last_close = is_error ? SDI_LASTCLOSE_ERR : SDI_LASTCLOSE;
    unit->had_errors = false;
    action_push(s->adapter, &s->last_close_told);
}

/* The last record, behind everything that waits; for the subscriber's own STOP at once. */
static void end_registration(struct adapter_session *s, enum end_kind kind, const struct adapter_stream *asker)
{
    struct adapter *a = s->adapter;
    struct adapter_stream *listener = s->listener;
    bool is_own = kind == END_STOP && listener == asker;
    if (s->registration != REGISTRATION_LIVE)
        return;
    if (is_own)
        delivery_cut(s);
    registration_spend(s);
    if (!listener->is_closing && !MUTANT(14)) {
        s->send_final.stream = listener;
        if (is_own)
            action_push(a, &s->send_final);
        else
            action_push_line(listener, &s->send_final);
    }
    action_push(a, &s->tell_cancelled);
}

void session_end(struct adapter_session *s, enum end_kind kind, const char *reason, const struct adapter_stream *asker)
{
    struct adapter *a = s->adapter;
    assert(s->state == SESSION_OPEN);
    s->reason_name = end_names[kind];
    text_copy(s->reason, sizeof s->reason, reason && *reason ? reason : s->reason_name);
    leave_device(s, kind);
    leave(s);
    while (!TAILQ_EMPTY(&s->operations))
        operation_fail(TAILQ_FIRST(&s->operations), ERRNO_(EIO), DETAIL_(NONE), "session %s ended: %s", s->id,
                       s->reason);
    waits_wake(s);
    end_registration(s, kind, asker);
    if (kind == END_STOP)
        target_free_buffers(s);
    TAILQ_REMOVE(&s->stream->sessions, s, stream_next);
    s->stream = NULL;
    if (kind != END_AGENT_LOST && kind != END_AGENT_DETACHED)
        action_push(a, &s->close);
    action_push(a, &s->tell_stopped);
    a->counters.sessions_open--;
    session_unref(s);
}

void session_stop(struct ask *ask, struct reply *reply)
{
    session_end(ask->session, END_STOP, NULL, ask->stream);
    reply_ok(ask->a, reply);
}

int adapter_end_session(struct adapter *a, const char *session_id, const char *reason, uint64_t now_ns,
                        struct adapter_ended *out)
{
    a->now_ns = now_ns;
    struct adapter_session *s = session_find(a, session_id, strlen(session_id));
    if (!s)
        return UV_ENOENT;
    out->generation = s->generation;
    out->was_registered = s->registration == REGISTRATION_LIVE;
    text_copy(out->principal, sizeof out->principal, s->principal->name);
    session_end(s, END_OPERATOR, reason, NULL);
    return 0;
}
