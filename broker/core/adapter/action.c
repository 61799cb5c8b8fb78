/* SPDX-License-Identifier: Apache-2.0 */
/* Actions: in which order the caller gets them, and how each is written out.
 *
 * First what is in the machine's queue, in order: replies, forwards, announcements. Then the lines of the streams that
 * are not blocked, one action of each stream in turn. A line is pulled, not pushed: a stream that becomes blocked while
 * the caller takes gets no further record.
 *
 * Without memory an action stays where it is and is tried again (adapter_next_ns); a record of the log folds into what
 * its session lost instead. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/adapter/mutant.h"
#include "broker/core/adapter/state.h"

/* ---- queues */

void action_init(struct action *action, enum action_kind kind, struct adapter_session *session,
                 struct adapter_stream *stream)
{
    *action = (struct action){.kind = kind, .session = session, .stream = stream};
}

void stream_settle(struct adapter_stream *stream)
{
    bool ready = !stream->is_blocked && !stream->is_closing && !TAILQ_EMPTY(&stream->line);
    if (ready == stream->is_ready)
        return;
    if (ready)
        TAILQ_INSERT_TAIL(&stream->adapter->ready, stream, ready_next);
    else
        TAILQ_REMOVE(&stream->adapter->ready, stream, ready_next);
    stream->is_ready = ready;
}

static void enter(struct action *action, struct action_queue *queue)
{
    assert(!action->queue);
    action->queue = queue;
    if (action->session)
        session_ref(action->session);
}

void action_push(struct adapter *a, struct action *action)
{
    enter(action, &a->actions);
    TAILQ_INSERT_TAIL(&a->actions, action, next);
}

void action_push_line(struct adapter_stream *stream, struct action *action)
{
    enter(action, &stream->line);
    if (MUTANT(9) && action->kind == ACTION_RECORD)
        TAILQ_INSERT_HEAD(&stream->line, action, next);
    else
        TAILQ_INSERT_TAIL(&stream->line, action, next);
    stream_settle(stream);
}

/* Out of its queue; the session's reference stays. */
static void leave(struct action *action)
{
    struct action_queue *queue = action->queue;
    TAILQ_REMOVE(queue, action, next);
    action->queue = NULL;
    if (action->stream && queue == &action->stream->line)
        stream_settle(action->stream);
    if (action->kind == ACTION_RECORD) {
        action->session->n_queued--;
        action->session->principal->queued_bytes -= action->bytes->len;
    }
}

/* It has left its queue: give back what it holds. */
static void release(struct adapter *a, struct action *action)
{
    struct adapter_session *session = action->session;
    struct host *host = action->host;
    switch (action->kind) {
    case ACTION_REPLY: reply_free(a, (struct reply *)action); break;
    case ACTION_FORWARD:
    case ACTION_RECORD:
    case ACTION_DATA:
        chunk_unref(action->bytes);
        free(action);
        break;
    default: break; /* embedded in the session */
    }
    if (host)
        host_unref(a, host);
    if (session)
        session_unref(session);
}

void action_drop(struct adapter *a, struct action *action)
{
    leave(action);
    release(a, action);
}

void actions_drop_stream(struct adapter *a, struct adapter_stream *stream)
{
    struct action *action, *next;
    for (action = TAILQ_FIRST(&a->actions); action; action = next) {
        next = TAILQ_NEXT(action, next);
        if (action->stream == stream)
            action_drop(a, action);
    }
    while ((action = TAILQ_FIRST(&stream->line)))
        action_drop(a, action);
}

static struct action *next_action(const struct adapter *a)
{
    struct action *action = TAILQ_FIRST(&a->actions);
    if (action)
        return action;
    struct adapter_stream *stream = TAILQ_FIRST(&a->ready);
    return stream ? TAILQ_FIRST(&stream->line) : NULL;
}

/* ---- writing out */

static bool write_send(struct action *action, struct chunk *message, struct chunk *tail, struct adapter_action *out)
{
    if (!message)
        return false;
    out->kind = ADAPTER_SEND;
    out->stream = action->stream;
    out->owner = action->stream->owner;
    out->message = message;
    out->tail = tail;
    out->is_record = action->kind != ACTION_REPLY && action->kind != ACTION_DATA;
    return true;
}

static bool write_record(struct action *action, struct adapter_action *out)
{
    struct adapter_session *s = action->session;
    if (!write_send(action, record_head(s, action->events, action->bytes->len), NULL, out))
        return false;
    out->tail = chunk_ref(action->bytes);
    s->n_delivered++;
    s->adapter->counters.records_delivered++;
    return true;
}

static bool write_lost(struct action *action, struct adapter_action *out)
{
    if (!write_send(action, record_lost(action->session), NULL, out))
        return false;
    action->session->lost = (struct lost){0};
    return true;
}

static void write_session(const struct adapter_session *s, struct adapter_action *out)
{
    text_copy(out->host, sizeof out->host, s->host->name);
    text_copy(out->session_id, sizeof out->session_id, s->id);
    out->generation = s->generation;
    text_copy(out->where.adapter, sizeof out->where.adapter, s->place.adapter);
    text_copy(out->where.target_name, sizeof out->where.target_name, s->place.target_name);
    text_copy(out->where.vendor, sizeof out->where.vendor, s->vendor);
    text_copy(out->where.product, sizeof out->where.product, s->product);
    out->where.controller = s->controller;
    out->where.bus = s->place.bus;
    out->where.target = s->place.target;
    out->where.device_type = s->device_type;
    out->where.lun = s->place.lun;
    out->where.mode = s->mode;
}

static bool write_announce(const struct action *action, struct adapter_action *out)
{
    const struct adapter_session *s = action->session;
    char text[2 * ADAPTER_MAX_REASON + 64];
    out->kind = ADAPTER_ANNOUNCE;
    write_session(s, out);
    switch (action->kind) {
    case ACTION_STARTED:
        out->code = SENSEBUS__V1__CODE__SESSION_STARTED;
        snprintf(text, sizeof text, "session %s started by %s", s->id, s->principal->name);
        break;
    case ACTION_STOPPED:
        out->code = SENSEBUS__V1__CODE__SESSION_STOPPED;
        snprintf(text, sizeof text, "session %s of %s ended: %s", s->id, s->principal->name, s->reason);
        break;
    default:
        out->code = SENSEBUS__V1__CODE__REGISTRATION_CANCELLED;
        snprintf(text, sizeof text, "registration of %s for session %s cancelled: %s", s->principal->name, s->id,
                 *s->reason ? s->reason : "STREAM_ENDED");
        break;
    }
    text_copy(out->text, sizeof out->text, text);
    return true;
}

static bool write_forward(const struct host *host, struct chunk *message, bool must_arrive, struct adapter_action *out)
{
    if (!message)
        return false;
    out->kind = ADAPTER_FORWARD;
    out->must_arrive = must_arrive;
    out->message = message;
    text_copy(out->host, sizeof out->host, host->name);
    return true;
}

static struct chunk *encode_close(const struct action *action)
{
    struct adapter_session *s = action->session;
    Sensebus__V1__CloseOperation close = SENSEBUS__V1__CLOSE_OPERATION__INIT;
    Sensebus__V1__Operation message = SENSEBUS__V1__OPERATION__INIT;
    message.id = s->adapter->next_operation;
    message.session_id = s->id;
    message.generation = s->generation;
    message.deadline_ms = ADAPTER_DEFAULT_DEADLINE_MS;
    message.operation_case = SENSEBUS__V1__OPERATION__OPERATION_CLOSE;
    message.close = &close;
    struct chunk *bytes = forward_encode(&message);
    if (bytes)
        s->adapter->next_operation++;
    return bytes;
}

static bool write_sdi(const struct action *action, int32_t event_type, struct adapter_action *out)
{
    out->kind = ADAPTER_SDI;
    out->code = event_type;
    write_session(action->session, out);
    return true;
}

/* False when memory is out. Each message in *out is a reference of its own. */
static bool write_out(struct action *action, struct adapter_action *out)
{
    memset(out, 0, sizeof *out);
    switch (action->kind) {
    case ACTION_REPLY: {
        const struct reply *reply = (const struct reply *)action;
        return write_send(action, action->bytes ? chunk_ref(action->bytes) : reply_encode(reply), NULL, out);
    }
    case ACTION_RECORD: return write_record(action, out);
    case ACTION_LOST: return write_lost(action, out);
    case ACTION_FINAL: return write_send(action, record_final(action->session), NULL, out);
    case ACTION_DATA: return write_send(action, chunk_ref(action->bytes), NULL, out);
    case ACTION_FORWARD: return write_forward(action->host, chunk_ref(action->bytes), action->must_arrive, out);
    case ACTION_CLOSE: return write_forward(action->session->host, encode_close(action), true, out);
    case ACTION_STARTED:
    case ACTION_STOPPED:
    case ACTION_CANCELLED: return write_announce(action, out);
    case ACTION_FIRST_OPEN: return write_sdi(action, 1, out);
    case ACTION_LAST_CLOSE: return write_sdi(action, action->session->last_close, out);
    }
    return false;
}

/* A record that cannot be written: its bits go on in what the session lost, in its place in the line. */
static void fold_record(struct adapter *a, struct action *action)
{
    struct adapter_session *s = action->session;
    if (!s->send_lost.queue) {
        s->send_lost.queue = action->queue;
        s->send_lost.stream = action->stream;
        session_ref(s);
        TAILQ_INSERT_AFTER(action->queue, action, &s->send_lost, next);
    }
    delivery_lose(s, action->events, action->time_ns);
    action_drop(a, action);
}

bool adapter_take(struct adapter *a, struct adapter_action *out)
{
    struct action *action;
    a->is_starved = false;
    while ((action = next_action(a))) {
        struct adapter_stream *stream = action->stream;
        if (write_out(action, out)) {
            bool was_in_line = stream && action->queue == &stream->line;
            leave(action);
            release(a, action);
            if (was_in_line && stream->is_ready) { /* the next stream's turn */
                TAILQ_REMOVE(&a->ready, stream, ready_next);
                TAILQ_INSERT_TAIL(&a->ready, stream, ready_next);
            }
            return true;
        }
        if (action->kind != ACTION_RECORD) {
            a->is_starved = true;
            return false;
        }
        fold_record(a, action);
    }
    return false;
}
