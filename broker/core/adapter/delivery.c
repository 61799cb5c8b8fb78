/* SPDX-License-Identifier: Apache-2.0 */
/* Records to sessions (semantics.md rules 16, 17, 21, 22, 24).
 *
 * Each record that a session sees sets its pending word and wakes its waits; when the session is registered the record
 * goes into the line of the listener. A line that does not move coalesces, session by session: behind the records that
 * it holds stands one EVENTS_LOST with the count and the OR of the bits of all that came after them. So the OR of what
 * is told is the OR of what arrived, in the order of the log. */
#include <stdlib.h>
#include <string.h>

#include "broker/core/adapter/mutant.h"
#include "broker/core/adapter/state.h"
#include "proto/registry.h"

/* ---- the line of a session */

static void add_lost(struct adapter_session *s, uint32_t events, uint64_t time_ns)
{
    if (s->lost.count++ == 0)
        s->lost.first_time_ns = time_ns;
    s->lost.last_time_ns = time_ns;
    if (!MUTANT(8))
        s->lost.events |= events;
    s->n_lost++;
    s->adapter->counters.records_lost++;
}

void delivery_lose(struct adapter_session *s, uint32_t events, uint64_t time_ns)
{
    add_lost(s, events, time_ns);
    if (s->send_lost.queue)
        return;
    s->send_lost.stream = s->listener;
    action_push_line(s->listener, &s->send_lost);
}

static bool is_full(const struct adapter_session *s, size_t len)
{
    const struct adapter_limits *limits = &s->adapter->limits;
    return s->listener->is_blocked && (s->n_queued >= limits->max_queued_records ||
                                       s->principal->queued_bytes + len > limits->max_queued_bytes_principal);
}

static void deliver(struct adapter_session *s, const struct event_view *view, uint32_t events, struct chunk *record)
{
    uint64_t time_ns = view->wall_time_ns ? view->wall_time_ns : view->broker_time_ns;
    /* Behind an EVENTS_LOST that still waits everything is lost: it must not overtake. */
    bool is_lost = !record || s->send_lost.queue || is_full(s, record->len);
    struct action *action = is_lost ? NULL : malloc(sizeof *action);
    if (!action) {
        delivery_lose(s, events, time_ns);
        return;
    }
    action_init(action, ACTION_RECORD, s, s->listener);
    action->bytes = chunk_ref(record);
    action->sequence = view->sequence;
    action->time_ns = time_ns;
    action->events = events;
    s->n_queued++;
    s->principal->queued_bytes += record->len;
    action_push_line(s->listener, action);
}

void delivery_cut(struct adapter_session *s)
{
    struct adapter_stream *stream = s->listener;
    for (struct action *action = TAILQ_FIRST(&stream->line), *next; action; action = next) {
        next = TAILQ_NEXT(action, next);
        if (action->session != s || (action->kind != ACTION_RECORD && action->kind != ACTION_LOST))
            continue;
        if (action->kind == ACTION_RECORD)
            add_lost(s, action->events, action->time_ns);
        action_drop(s->adapter, action);
    }
    if (s->lost.count == 0)
        return;
    s->send_lost.stream = stream;
    action_push(s->adapter, &s->send_lost);
}

/* ---- who sees what */

static bool is_for_mode(const struct adapter_session *s, uint32_t code_mode)
{
    bool other = (code_mode == SENSEBUS__V1__MODE__MODE_TARGET && s->mode == SENSEBUS__V1__MODE__MODE_INITIATOR) ||
                 (code_mode == SENSEBUS__V1__MODE__MODE_INITIATOR && s->mode == SENSEBUS__V1__MODE__MODE_TARGET);
    return !other || MUTANT(19);
}

void delivery_offer(struct adapter_session *s, const struct event_view *view, struct chunk *record, uint32_t code_mode)
{
    if (view->sequence <= s->since_sequence)
        return;
    if (!is_for_mode(s, code_mode)) {
        s->adapter->counters.records_wrong_mode++;
        return;
    }
    uint32_t events = event_aix_bits(view) & AIX_BITS;
    if (s->mode == SENSEBUS__V1__MODE__MODE_INITIATOR && !MUTANT(19))
        events &= ~AIX_BUFS_EXHAUSTED; /* rule 22 */
    s->seen |= events;
    if (events & AIX_BITS_FATAL)
        s->unit->had_errors = true;
    s->pending = MUTANT(4) && events ? events : s->pending | events;
    if (s->registration == REGISTRATION_LIVE && view->sequence > s->registered_sequence)
        deliver(s, view, events, record);
}

struct offer {
    const struct event_view *view;
    struct chunk *record;
    uint32_t code_mode;
};

static void on_covered(struct adapter_session *s, void *data)
{
    const struct offer *offer = data;
    delivery_offer(s, offer->view, offer->record, offer->code_mode);
}

/* Once every word is set: a wait over several sessions tells all that one record made ready. */
static void on_offered(struct adapter_session *s, void *data)
{
    (void)data;
    if (s->pending)
        waits_wake(s);
}

/* How the record ends a session that it reaches. The units of a served target come and go inside a target-mode session,
 * which is of the target: it ends with its adapter alone. */
static bool is_removed(const struct adapter_session *s, const struct event_view *view, enum end_kind *out_kind)
{
    bool is_initiator = s->mode == SENSEBUS__V1__MODE__MODE_INITIATOR;
    switch (view->code) {
    case SENSEBUS__V1__CODE__DEVICE_REMOVED: *out_kind = END_DEVICE_REMOVED; return is_initiator;
    case SENSEBUS__V1__CODE__TARGET_REMOVED: *out_kind = END_TARGET_REMOVED; return is_initiator;
    case SENSEBUS__V1__CODE__ADAPTER_REMOVED: /* of the scope of a host: it reaches its other adapters too */
        *out_kind = END_ADAPTER_REMOVED;
        return place_is_on_adapter(s, view);
    default: return false;
    }
}

static void on_removed(struct adapter_session *s, void *data)
{
    const struct event_view *view = data;
    enum end_kind kind;
    if (view->sequence > s->since_sequence && is_removed(s, view, &kind))
        session_end(s, kind, NULL, NULL);
}

/* What adapter.h lets the caller put into the log about sessions: nobody's news. */
static bool is_announcement(const struct event_view *view)
{
    return view->source == SENSEBUS__V1__SOURCE__SOURCE_BROKER && view->session_id.len &&
           (view->code == SENSEBUS__V1__CODE__SESSION_STARTED || view->code == SENSEBUS__V1__CODE__SESSION_STOPPED ||
            view->code == SENSEBUS__V1__CODE__REGISTRATION_CANCELLED);
}

/* The session that the record is tagged with; NULL when that is gone, or another agent's (rule 2). */
static struct adapter_session *tagged(const struct adapter *a, const struct event_view *view)
{
    struct adapter_session *s = session_find(a, view->session_id.ptr, view->session_id.len);
    bool is_stale = !s || !session_is_of_host(s, view->host) ||
                    (view->session_generation && view->session_generation != s->generation);
    return is_stale ? NULL : s;
}

bool adapter_record(struct adapter *a, const struct event_view *view, struct chunk *record, uint64_t now_ns)
{
    a->now_ns = now_ns;
    if (a->counters.sessions_open == 0)
        return false;
    if (is_announcement(view))
        return true;
    const struct registry_entry *entry = registry_find(view->code);
    struct offer offer = {view, record, entry ? entry->mode : SENSEBUS__V1__MODE__MODE_BOTH};
    if (view->session_id.len) {
        struct adapter_session *s = tagged(a, view);
        if (s) {
            delivery_offer(s, view, record, offer.code_mode);
            on_offered(s, NULL);
        } else {
            a->counters.records_stale++;
        }
        if (s || !MUTANT(3))
            return true;
    }
    place_each(a, view, on_covered, &offer);
    if (a->counters.waits_open)
        place_each(a, view, on_offered, NULL);
    if (view->code == SENSEBUS__V1__CODE__DEVICE_REMOVED || view->code == SENSEBUS__V1__CODE__TARGET_REMOVED ||
        view->code == SENSEBUS__V1__CODE__ADAPTER_REMOVED)
        place_each(a, view, on_removed, (void *)view);
    return true;
}

/* ---- TM_EVENT (rule 24, A7) */

void pending_ask(struct ask *ask, struct reply *reply)
{
    Sensebus__V1__Result result = SENSEBUS__V1__RESULT__INIT;
    Sensebus__V1__TmEventResult tm_event = SENSEBUS__V1__TM_EVENT_RESULT__INIT;
    tm_event.events = ask->session->pending;
    result.value_case = SENSEBUS__V1__RESULT__VALUE_TM_EVENT;
    result.tm_event = &tm_event;
    if (reply_write(reply, &result) != 0) {
        reply_error(ask->a, reply, ERRNO_(ENOMEM), DETAIL_(NONE), "no memory for the answer");
        return;
    }
    if (!ask->request->tm_event->peek || MUTANT(5))
        ask->session->pending = 0;
    reply_push(ask->a, reply);
}
