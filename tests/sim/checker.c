/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/checker.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/access.h"
#include "sensebus/v1/adapter.pb-c.h"
#include "sensebus/v1/agents.pb-c.h"

#define MAX_STREAMS   4096
#define MAX_SESSIONS  8192
#define MAX_PENDING   4096
#define MAX_AT_AGENTS 1024

typedef Sensebus__V1__AdapterRequest Request; /* short names for generated types, in this file */
typedef Sensebus__V1__Result Result;

#define REQUEST_IS(r, KIND) ((r)->operation_case == SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_##KIND)
#define FAILED(r, ERROR, DETAIL)                                                                                       \
    ((r)->error == SENSEBUS__V1__ERRNO__ERRNO_##ERROR &&                                                               \
     (r)->detail == SENSEBUS__V1__EINVAL_DETAIL__EINVAL_DETAIL_##DETAIL)

struct stream {
    bool open, blocked;
    char principal[64];
    unsigned roles;
};

/* A request that is not answered yet. */
struct pending {
    uint32_t stream;
    Request *request;
    uint64_t since_ns;
    uint32_t n_resumes; /* of the session, when it was asked */
    bool may_run;       /* a command: not halted, or carries resume */
    bool registered;    /* a RESET of whoever registered */
};

struct seen {
    uint64_t sequence;
    uint32_t bits;
    bool own_reset; /* the record of a RESET that was asked for on this session */
    bool delivered;
};

struct registration {
    bool any, over; /* one was accepted; it ended */
    uint32_t stream;
    uint64_t from; /* sees what comes behind */
    bool has_correlator;
    uint8_t correlator[256];
    size_t correlator_len;
    struct seen *seen; /* what it has to hear of */
    size_t n_seen, cap_seen;
    uint64_t newest_delivered, n_delivered, n_lost;
    uint64_t n_own_resets, n_resets_answered;
    uint32_t bits_delivered, bits_lost;
    bool cancelled; /* heard the last record */
    bool owed;      /* must still hear it */
};

struct session {
    char id[64];
    uint64_t generation;
    uint32_t stream;
    char principal[64], host[16], adapter[16];
    int32_t bus, target;
    int64_t lun;
    bool target_mode, shared, open, halted;
    uint64_t from;
    uint32_t word; /* pending bits */
    uint32_t n_resumes;
    struct registration r;
};

/* A session that the broker told an agent to open, and has not told it to close. */
struct at_agent {
    char id[64], host[16];
    uint64_t operation;
};

struct checker {
    const struct history *h;
    struct verdict *v;
    size_t at;
    struct stream *streams;
    struct session *sessions;
    size_t n_sessions;
    struct pending *pending;
    size_t n_pending;
    struct at_agent at_agents[MAX_AT_AGENTS];
    size_t n_at_agents;
    uint64_t result_from; /* newest sequence of the log at the result that is being dealt with */
    bool stopped;
};

__attribute__((format(printf, 3, 4))) static void broken(struct checker *c, const char *invariant, const char *format,
                                                         ...)
{
    va_list args;

    if (c->v->broken)
        return;
    c->v->broken = true;
    c->v->at = c->at;
    snprintf(c->v->invariant, sizeof c->v->invariant, "%s", invariant);
    va_start(args, format);
    vsnprintf(c->v->text, sizeof c->v->text, format, args);
    va_end(args);
}

static struct session *session_find(struct checker *c, const char *id)
{
    for (size_t i = c->n_sessions; i-- > 0;)
        if (strcmp(c->sessions[i].id, id) == 0)
            return &c->sessions[i];
    return NULL;
}

static const char *request_session(const Request *r)
{
    switch (r->operation_case) {
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_STOP: return r->stop->session_id;
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_HALT: return r->halt->session_id;
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_RESET: return r->reset->session_id;
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_EVENT: return r->event->session_id;
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_TM_EVENT: return r->tm_event->session_id;
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_INQUIRY: return r->inquiry->session_id;
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_TEST_UNIT_READY: return r->test_unit_ready->session_id;
    default: return NULL;
    }
}

/* ------------------------------------------------------------------------------------------------ ends */

/* Everything that was to be heard of was delivered, or announced as lost, with all its bits. */
static void check_complete(struct checker *c, const struct session *s)
{
    const struct registration *r = &s->r;
    uint32_t bits = 0;

    for (size_t i = 0; i < r->n_seen; i++)
        bits |= r->seen[i].bits;
    if (r->n_delivered + r->n_lost != r->n_seen)
        broken(c, "bits-kept",
               "session %s: %zu records arrived, %" PRIu64 " were delivered and %" PRIu64 " announced as lost", s->id,
               r->n_seen, r->n_delivered, r->n_lost);
    else if ((r->bits_delivered | r->bits_lost) != bits)
        broken(c, "bits-kept", "session %s: bits %x arrived, %x were delivered and %x announced as lost", s->id, bits,
               r->bits_delivered, r->bits_lost);
}

/* The session is over. Whoever registered hears of it, unless its stream is gone. */
static void session_over(struct checker *c, struct session *s)
{
    struct registration *r = &s->r;

    s->open = false;
    if (r->any && !r->over) {
        r->over = true;
        if (c->streams[r->stream].open && !r->cancelled)
            r->owed = true;
    }
}

static void on_close(struct checker *c, uint32_t stream)
{
    c->streams[stream].open = false;
    for (size_t i = 0; i < c->n_sessions; i++) {
        struct session *s = &c->sessions[i];
        if (s->r.any && s->r.stream == stream) {
            s->r.over = true;
            s->r.owed = false;
        }
        if (s->open && s->stream == stream)
            session_over(c, s);
    }
    for (size_t i = 0; i < c->n_pending;) {
        if (c->pending[i].stream == stream) {
            sensebus__v1__adapter_request__free_unpacked(c->pending[i].request, NULL);
            c->pending[i] = c->pending[--c->n_pending];
        } else {
            i++;
        }
    }
}

/* By session id, or by operation; all of a host when neither is given. */
static void forget_at_agent(struct checker *c, const char *host, const char *id, uint64_t operation)
{
    for (size_t i = 0; i < c->n_at_agents;) {
        const struct at_agent *a = &c->at_agents[i];
        bool hit =
            strcmp(a->host, host) == 0 && (!id || strcmp(a->id, id) == 0) && (!operation || a->operation == operation);
        if (hit)
            c->at_agents[i] = c->at_agents[--c->n_at_agents];
        else
            i++;
    }
}

static void on_host_gone(struct checker *c, const char *host)
{
    for (size_t i = 0; i < c->n_sessions; i++)
        if (c->sessions[i].open && strcmp(c->sessions[i].host, host) == 0)
            session_over(c, &c->sessions[i]);
}

/* ------------------------------------------------------------------------------------------------ records */

static bool concerns(const struct session *s, const Sensebus__V1__Event *e)
{
    const Sensebus__V1__Address *a = e->address;

    if (!e->origin || strcmp(e->origin->host, s->host) != 0)
        return false; /* nobody speaks for another host's sessions */
    if (e->session_id[0])
        return strcmp(e->session_id, s->id) == 0;
    switch (e->scope) {
    case SENSEBUS__V1__SCOPE__SCOPE_LUN:
        return a && strcmp(a->adapter, s->adapter) == 0 && a->bus == s->bus && a->target == s->target &&
               a->lun == s->lun;
    case SENSEBUS__V1__SCOPE__SCOPE_TARGET:
    case SENSEBUS__V1__SCOPE__SCOPE_SESSION:
    case SENSEBUS__V1__SCOPE__SCOPE_CONNECTION:
        return a && strcmp(a->adapter, s->adapter) == 0 && a->bus == s->bus && a->target == s->target;
    case SENSEBUS__V1__SCOPE__SCOPE_HOST:
    case SENSEBUS__V1__SCOPE__SCOPE_BROKER: return true;
    default: return a && strcmp(a->adapter, s->adapter) == 0;
    }
}

static bool fits_mode(const struct session *s, const Sensebus__V1__Event *e)
{
    if (s->target_mode)
        return e->mode != SENSEBUS__V1__MODE__MODE_INITIATOR;
    return e->mode != SENSEBUS__V1__MODE__MODE_TARGET;
}

static void note_seen(struct session *s, const Sensebus__V1__Event *e)
{
    struct registration *r = &s->r;

    if (r->n_seen == r->cap_seen) {
        r->cap_seen = r->cap_seen ? 2 * r->cap_seen : 64;
        r->seen = realloc(r->seen, r->cap_seen * sizeof *r->seen);
        if (!r->seen)
            abort();
    }
    r->seen[r->n_seen++] =
        (struct seen){.sequence = e->sequence, .bits = e->aix_bits, .own_reset = strcmp(e->origin_session, s->id) == 0};
}

static void on_record(struct checker *c, const struct history_entry *entry)
{
    Sensebus__V1__Event *e = sensebus__v1__event__unpack(NULL, entry->len, entry->bytes);
    bool anybody = false;

    if (!e)
        abort();
    for (size_t i = 0; i < c->n_sessions; i++) {
        struct session *s = &c->sessions[i];
        if (!s->open || e->sequence <= s->from || !concerns(s, e) || !fits_mode(s, e))
            continue;
        anybody = true;
        s->word |= e->aix_bits;
        if (s->r.any && !s->r.over && e->sequence > s->r.from)
            note_seen(s, e);
        if (e->code == SENSEBUS__V1__CODE__DEVICE_REMOVED && !e->session_id[0])
            session_over(c, s);
    }
    c->v->n_stale += e->session_id[0] && !anybody;
    sensebus__v1__event__free_unpacked(e, NULL);
}

static void on_lost(struct checker *c, struct session *s, const Sensebus__V1__AdapterEvent *event)
{
    s->r.n_lost += event->record->loss->count;
    s->r.bits_lost |= event->record->loss->aix_bits;
    c->v->n_lost += (uint32_t)event->record->loss->count;
    if (event->events != event->record->loss->aix_bits)
        broken(c, "bits-kept", "session %s: EVENTS_LOST says events %x and loss %x", s->id, event->events,
               event->record->loss->aix_bits);
}

static void on_cancelled(struct checker *c, struct session *s)
{
    if (s->open)
        broken(c, "cancelled-last", "session %s is open, and its registration is cancelled", s->id);
    s->r.cancelled = true;
    s->r.owed = false;
    c->v->n_cancelled++;
    check_complete(c, s);
}

static void on_own_record(struct checker *c, struct session *s, const Sensebus__V1__AdapterEvent *event)
{
    struct registration *r = &s->r;
    uint64_t sequence = event->record->sequence;

    if (sequence <= r->newest_delivered)
        broken(c, "in-order", "session %s: record %" PRIu64 " after record %" PRIu64, s->id, sequence,
               r->newest_delivered);
    r->newest_delivered = sequence;
    for (size_t i = 0; i < r->n_seen; i++) {
        if (r->seen[i].sequence != sequence)
            continue;
        r->seen[i].delivered = true;
        r->n_delivered++;
        r->n_own_resets += r->seen[i].own_reset;
        r->bits_delivered |= event->events;
        c->v->n_records++;
        if (event->events != r->seen[i].bits)
            broken(c, "bits-kept", "session %s: record %" PRIu64 " has bits %x and was delivered with %x", s->id,
                   sequence, r->seen[i].bits, event->events);
        return;
    }
    broken(c, "no-stale", "session %s heard of record %" PRIu64 ", which is not its own or came after its end", s->id,
           sequence);
}

static void on_event(struct checker *c, uint32_t stream, const Sensebus__V1__AdapterEvent *event)
{
    struct session *s = session_find(c, event->session_id);

    if (!s || event->generation != s->generation) {
        broken(c, "no-stale", "an event of session %s, generation %" PRIu64 ", which was never started",
               event->session_id, event->generation);
        return;
    }
    const struct registration *r = &s->r;
    if (!r->any || r->stream != stream) {
        broken(c, "no-stale", "session %s: an event for a stream that did not register", s->id);
        return;
    }
    if (r->cancelled) {
        broken(c, "cancelled-last", "session %s: an event behind the cancellation", s->id);
        return;
    }
    bool has = event->_correlator_case == SENSEBUS__V1__ADAPTER_EVENT___CORRELATOR_CORRELATOR;
    if (has != r->has_correlator ||
        (has && (event->correlator.len != r->correlator_len ||
                 (r->correlator_len && memcmp(event->correlator.data, r->correlator, r->correlator_len) != 0))))
        broken(c, "bit-identical", "session %s: the correlator is not the one registered", s->id);
    if (!event->record)
        broken(c, "no-stale", "session %s: an event without a record", s->id);
    else if (event->record->sequence == 0 && event->record->code == SENSEBUS__V1__CODE__EVENTS_LOST &&
             event->record->loss)
        on_lost(c, s, event);
    else if (event->record->sequence == 0 && event->record->code == SENSEBUS__V1__CODE__REGISTRATION_CANCELLED)
        on_cancelled(c, s);
    else
        on_own_record(c, s, event);
}

/* ------------------------------------------------------------------------------------------------ answers */

static bool same_place(const struct session *s, const Sensebus__V1__DeviceAddress *a, bool target_mode)
{
    return s->target_mode == target_mode && strcmp(s->host, a->host) == 0 && strcmp(s->adapter, a->adapter) == 0 &&
           s->bus == a->bus && s->target == a->target && s->lun == a->lun;
}

static void on_started(struct checker *c, const struct pending *p, const Sensebus__V1__StartResult *started)
{
    const Request *r = p->request;
    bool target_mode = REQUEST_IS(r, START_TARGET), shared = !target_mode && r->start->shared;
    const struct stream *stream = &c->streams[p->stream];

    if (target_mode && !(stream->roles & ACCESS_KERNEL))
        broken(c, "rule-1", "START_TARGET was accepted from %s, who is not in role kernel", stream->principal);
    if (session_find(c, started->session_id))
        broken(c, "no-stale", "session id %s was given out twice", started->session_id);
    for (size_t i = 0; i < c->n_sessions; i++) {
        const struct session *s = &c->sessions[i];
        if (s->generation == started->generation)
            broken(c, "no-stale", "generation %" PRIu64 " was given out twice", started->generation);
        if (!s->shared && !shared && same_place(s, started->address, target_mode) &&
            s->generation > started->generation)
            broken(c, "no-stale", "session %s has generation %" PRIu64 ", after %" PRIu64 " at the same place",
                   started->session_id, started->generation, s->generation);
        if (s->open && same_place(s, started->address, target_mode) && !(s->shared && shared))
            broken(c, "rule-3", "session %s was started beside session %s, and not both are shared",
                   started->session_id, s->id);
    }
    if (c->n_sessions == MAX_SESSIONS)
        abort();
    struct session *s = &c->sessions[c->n_sessions++];
    *s = (struct session){.generation = started->generation,
                          .stream = p->stream,
                          .target_mode = target_mode,
                          .shared = shared,
                          .open = true,
                          .from = c->result_from};
    snprintf(s->id, sizeof s->id, "%s", started->session_id);
    snprintf(s->principal, sizeof s->principal, "%s", stream->principal);
    snprintf(s->host, sizeof s->host, "%s", started->address->host);
    snprintf(s->adapter, sizeof s->adapter, "%s", started->address->adapter);
    s->bus = started->address->bus;
    s->target = started->address->target;
    s->lun = started->address->lun;
    c->v->n_sessions++;
}

static void on_registered(struct checker *c, const struct pending *p, struct session *s)
{
    const Sensebus__V1__RegisterEvent *asked = p->request->event;
    struct registration *r = &s->r;

    if (r->any) {
        broken(c, "one-registration", "session %s: a second registration was accepted", s->id);
        return;
    }
    if (!(c->streams[p->stream].roles & ACCESS_KERNEL))
        broken(c, "rule-1", "EVENT was accepted from %s, who is not in role kernel", c->streams[p->stream].principal);
    if ((asked->mode == SENSEBUS__V1__MODE__MODE_TARGET) != s->target_mode)
        broken(c, "A3", "session %s: EVENT was accepted in the other mode", s->id);
    *r = (struct registration){.any = true, .stream = p->stream, .from = c->result_from};
    r->has_correlator = asked->_correlator_case == SENSEBUS__V1__REGISTER_EVENT___CORRELATOR_CORRELATOR;
    if (r->has_correlator) {
        r->correlator_len = asked->correlator.len;
        if (r->correlator_len)
            memcpy(r->correlator, asked->correlator.data, asked->correlator.len);
    }
    c->v->n_registrations++;
}

/* Whoever registered hears of a reset of its own before the reply: as a record, or among those announced as lost. */
static void on_reset_done(struct checker *c, const struct pending *p, struct session *s)
{
    struct registration *r = &s->r;

    c->v->n_resets++;
    if (!p->registered)
        return;
    r->n_resets_answered++;
    if (r->n_own_resets + r->n_lost < r->n_resets_answered)
        broken(c, "rule-15", "session %s: the reply to RESET came before its record", s->id);
}

static void on_waited(struct checker *c, const struct pending *p, const Sensebus__V1__WaitPriResult *w)
{
    const Sensebus__V1__WaitPri *asked = p->request->wait_pri;
    uint64_t waited_ms = (c->h->entries[c->at].now_ns - p->since_ns) / 1000000;

    for (size_t i = 0; i < asked->n_session_ids; i++) {
        const struct session *s = session_find(c, asked->session_ids[i]);
        bool is_open = s && s->open, is_ready = is_open && s->word, says_ready = false, says_closed = false;
        for (size_t k = 0; k < w->n_ready; k++)
            says_ready |= strcmp(w->ready[k], asked->session_ids[i]) == 0;
        for (size_t k = 0; k < w->n_closed; k++)
            says_closed |= strcmp(w->closed[k], asked->session_ids[i]) == 0;
        if (says_ready != is_ready)
            broken(c, "rule-25", "WAIT_PRI says %s of session %s, whose word is %x", says_ready ? "ready" : "not ready",
                   asked->session_ids[i], is_open ? s->word : 0);
        /* Of several that end together the first ends the wait; the next wait tells the others. */
        if (says_closed ? is_open : !is_open && w->n_closed == 0)
            broken(c, "rule-25", "WAIT_PRI says %s of session %s", says_closed ? "closed" : "open",
                   asked->session_ids[i]);
    }
    c->v->n_waits_woken += (w->n_ready || w->n_closed) && waited_ms;
    if (w->n_ready == 0 && w->n_closed == 0 && !c->stopped &&
        (asked->timeout_ms < 0 || waited_ms < (uint64_t)asked->timeout_ms))
        broken(c, "rule-25", "WAIT_PRI ended with nothing after %" PRIu64 " ms of %" PRId64, waited_ms,
               asked->timeout_ms);
}

static void on_success(struct checker *c, const struct pending *p, const Result *result)
{
    const Request *r = p->request;
    const char *id = request_session(r);
    struct session *s = id ? session_find(c, id) : NULL;

    if (r->version != 1 || r->reserved1 || r->reserved2)
        broken(c, "rule-8", "a request of version %u with reserved %u was accepted", r->version, r->reserved1);
    /* A STOP ends its own session; a RESET was done, and its answer waited for records of a slow stream. */
    if (id && (!s || (!s->open && !REQUEST_IS(r, STOP) && !REQUEST_IS(r, RESET)))) {
        broken(c, "rule-2", "session \"%s\" is not open, and an operation on it was accepted", id);
        return;
    }
    if (s && strcmp(s->principal, c->streams[p->stream].principal) != 0)
        broken(c, "A1", "session %s of %s obeyed %s", s->id, s->principal, c->streams[p->stream].principal);
    if (REQUEST_IS(r, START) || REQUEST_IS(r, START_TARGET)) {
        if (result->value_case != SENSEBUS__V1__RESULT__VALUE_START)
            broken(c, "rule-2", "START was accepted without a session");
        else
            on_started(c, p, result->start);
    } else if (REQUEST_IS(r, EVENT)) {
        on_registered(c, p, s);
    } else if (REQUEST_IS(r, TM_EVENT)) {
        uint32_t events = result->value_case == SENSEBUS__V1__RESULT__VALUE_TM_EVENT ? result->tm_event->events : 0;
        if (events != s->word)
            broken(c, "rule-24", "session %s: TM_EVENT says %x, what arrived is %x", s->id, events, s->word);
        if (!r->tm_event->peek)
            s->word = 0;
    } else if (REQUEST_IS(r, STOP)) {
        if (s->open)
            broken(c, "A1", "session %s was stopped by %s, who may not", s->id, c->streams[p->stream].principal);
        if (s->r.owed && s->r.stream == p->stream && !c->streams[p->stream].blocked)
            broken(c, "cancelled-last", "session %s: STOP was answered before the cancellation", s->id);
    } else if (REQUEST_IS(r, HALT)) {
        s->halted = s->n_resumes == p->n_resumes;
    } else if (REQUEST_IS(r, RESET)) {
        on_reset_done(c, p, s);
    } else if (REQUEST_IS(r, WAIT_PRI) && result->value_case == SENSEBUS__V1__RESULT__VALUE_WAIT_PRI) {
        on_waited(c, p, result->wait_pri);
    }
}

/* Somebody else is on the way to the same thing. */
static bool another_pending(const struct checker *c, const struct pending *p, const char *session)
{
    for (size_t i = 0; i < c->n_pending; i++) {
        const struct pending *q = &c->pending[i];
        const char *id = request_session(q->request);
        if (q != p && q->request->operation_case == p->request->operation_case &&
            (!session || (id && strcmp(id, session) == 0)))
            return true;
    }
    return false;
}

static bool start_pending_or_open(const struct checker *c, const struct pending *p)
{
    const Sensebus__V1__DeviceAddress *a =
        REQUEST_IS(p->request, START) ? p->request->start->address : p->request->start_target->address;

    for (size_t i = 0; i < c->n_sessions; i++)
        if (c->sessions[i].open && strcmp(c->sessions[i].host, a->host) == 0)
            return true;
    return another_pending(c, p, NULL);
}

/* An error is as wrong as a success when there is no reason for it. */
static void on_failure(struct checker *c, const struct pending *p, const Result *result)
{
    const Request *r = p->request;
    const char *id = request_session(r);
    const struct session *s = id ? session_find(c, id) : NULL;
    bool is_open = s && s->open;

    if (FAILED(result, EINVAL, ALREADY_REGISTERED)) {
        c->v->n_conflicts++;
        if (!s || (!s->r.any && !another_pending(c, p, id)))
            broken(c, "rule-4", "session %s: ALREADY_REGISTERED, and nobody is or was", id ? id : "");
    }
    if (FAILED(result, EINVAL, NOT_STARTED) && is_open)
        broken(c, "rule-2", "session %s is open, and NOT_STARTED was said", id);
    if (FAILED(result, EINVAL, NOT_OWNER) && s && strcmp(s->principal, c->streams[p->stream].principal) == 0)
        broken(c, "A1", "session %s: its own principal is NOT_OWNER", s->id);
    if (FAILED(result, EINVAL, ALREADY_STARTED) && !start_pending_or_open(c, p))
        broken(c, "rule-3", "ALREADY_STARTED, and nothing is started or about to be on that host");
    if (result->error == SENSEBUS__V1__ERRNO__ERRNO_EPERM && (c->streams[p->stream].roles & ACCESS_KERNEL))
        broken(c, "rule-1", "%s is in role kernel, and got EPERM", c->streams[p->stream].principal);
    if (result->error == SENSEBUS__V1__ERRNO__ERRNO_OK)
        broken(c, "every-wait-ends", "a failure without an error");
}

static void check_halted(struct checker *c, const struct pending *p, const Result *result)
{
    const Request *r = p->request;
    bool command = REQUEST_IS(r, INQUIRY) || REQUEST_IS(r, TEST_UNIT_READY);
    struct session *s = command ? session_find(c, request_session(r)) : NULL;

    if (s && s->halted && result->error == SENSEBUS__V1__ERRNO__ERRNO_OK && !p->may_run)
        broken(c, "rule-14", "session %s is halted, and a command without resume was done", s->id);
}

static void on_result_reply(struct checker *c, uint32_t stream, const Result *result)
{
    for (size_t i = 0; i < c->n_pending; i++) {
        struct pending *p = &c->pending[i];
        if (p->stream != stream || p->request->id != result->id)
            continue;
        check_halted(c, p, result);
        if (result->error == SENSEBUS__V1__ERRNO__ERRNO_OK)
            on_success(c, p, result);
        else
            on_failure(c, p, result);
        sensebus__v1__adapter_request__free_unpacked(p->request, NULL);
        *p = c->pending[--c->n_pending];
        return;
    }
    broken(c, "every-wait-ends", "stream %u: an answer to request %" PRIu64 ", which is not open", stream, result->id);
}

static void on_send(struct checker *c, const struct history_entry *e)
{
    Sensebus__V1__AdapterReply *reply = sensebus__v1__adapter_reply__unpack(NULL, e->len, e->bytes);

    if (!reply) {
        broken(c, "every-wait-ends", "a reply that does not decode");
        return;
    }
    if (!c->streams[e->stream].open)
        broken(c, "no-stale", "something was sent on stream %u, which is over", e->stream);
    else if (reply->body_case == SENSEBUS__V1__ADAPTER_REPLY__BODY_RESULT)
        on_result_reply(c, e->stream, reply->result);
    else if (reply->body_case == SENSEBUS__V1__ADAPTER_REPLY__BODY_EVENT)
        on_event(c, e->stream, reply->event);
    sensebus__v1__adapter_reply__free_unpacked(reply, NULL);
}

/* ------------------------------------------------------------------------------------------------ inputs */

static bool may_stop(const struct checker *c, const struct pending *p, const struct session *s)
{
    const struct stream *stream = &c->streams[p->stream];

    return p->request->version == 1 && !p->request->reserved1 && !p->request->reserved2 &&
           strcmp(s->principal, stream->principal) == 0 && (!s->target_mode || (stream->roles & ACCESS_KERNEL));
}

static void on_request(struct checker *c, const struct history_entry *e)
{
    struct pending p = {.stream = e->stream, .since_ns = e->now_ns};

    if (c->n_pending == MAX_PENDING)
        abort();
    p.request = sensebus__v1__adapter_request__unpack(NULL, e->len, e->bytes);
    if (!p.request)
        abort();
    const Request *r = p.request;
    if ((REQUEST_IS(r, INQUIRY) && r->inquiry->resume) ||
        (REQUEST_IS(r, TEST_UNIT_READY) && r->test_unit_ready->resume)) {
        struct session *s = session_find(c, request_session(r));
        p.may_run = true;
        if (s) {
            s->halted = false;
            s->n_resumes++;
        }
    }
    if (REQUEST_IS(r, INQUIRY) || REQUEST_IS(r, TEST_UNIT_READY)) {
        const struct session *s = session_find(c, request_session(r));
        p.may_run |= !s || !s->halted;
    }
    if (REQUEST_IS(r, HALT)) {
        const struct session *s = session_find(c, r->halt->session_id);
        p.n_resumes = s ? s->n_resumes : 0;
    }
    if (REQUEST_IS(r, RESET)) {
        const struct session *s = session_find(c, r->reset->session_id);
        p.registered = s && s->open && s->r.any && !s->r.over && s->r.stream == e->stream;
    }
    c->pending[c->n_pending++] = p;
    if (REQUEST_IS(r, STOP)) { /* takes effect at once, before its answer */
        struct session *s = session_find(c, r->stop->session_id);
        if (s && s->open && may_stop(c, &p, s))
            session_over(c, s);
    }
}

static void on_forward(struct checker *c, const struct history_entry *e)
{
    Sensebus__V1__BrokerMessage *message = sensebus__v1__broker_message__unpack(NULL, e->len, e->bytes);

    if (!message || message->message_case != SENSEBUS__V1__BROKER_MESSAGE__MESSAGE_OPERATION) {
        broken(c, "rule-4", "what goes to the agent does not decode");
    } else {
        const Sensebus__V1__Operation *o = message->operation;
        if (o->operation_case == SENSEBUS__V1__OPERATION__OPERATION_OPEN ||
            o->operation_case == SENSEBUS__V1__OPERATION__OPERATION_OPEN_TARGET) {
            if (c->n_at_agents == MAX_AT_AGENTS)
                abort();
            struct at_agent *a = &c->at_agents[c->n_at_agents++];
            snprintf(a->id, sizeof a->id, "%s", o->session_id);
            snprintf(a->host, sizeof a->host, "%s", e->text);
            a->operation = o->id;
        }
        if (o->operation_case == SENSEBUS__V1__OPERATION__OPERATION_CLOSE)
            forget_at_agent(c, e->text, o->session_id, 0);
    }
    if (message)
        sensebus__v1__broker_message__free_unpacked(message, NULL);
}

/* What the agent refused to open is not open there. */
static void on_agent_result(struct checker *c, const struct history_entry *e)
{
    Sensebus__V1__OperationResult *result = sensebus__v1__operation_result__unpack(NULL, e->len, e->bytes);

    if (!result)
        abort();
    if (result->error != SENSEBUS__V1__ERRNO__ERRNO_OK)
        forget_at_agent(c, e->text, NULL, result->id);
    sensebus__v1__operation_result__free_unpacked(result, NULL);
}

static void check_at_agents(struct checker *c)
{
    for (size_t i = 0; i < c->n_at_agents; i++) {
        const struct session *s = session_find(c, c->at_agents[i].id);
        if (!s || !s->open)
            broken(c, "rule-5", "session %s is over, and the agent of %s was not told to close it", c->at_agents[i].id,
                   c->at_agents[i].host);
    }
}

/* Between two inputs everything that could be said was said. */
static void check_rest(struct checker *c)
{
    for (size_t i = 0; i < c->n_pending; i++) {
        const struct pending *p = &c->pending[i];
        if (!REQUEST_IS(p->request, WAIT_PRI))
            continue;
        for (size_t k = 0; k < p->request->wait_pri->n_session_ids; k++) {
            const struct session *s = session_find(c, p->request->wait_pri->session_ids[k]);
            if (s && s->open && s->word)
                broken(c, "rule-25", "WAIT_PRI sleeps, and the word of session %s is %x", s->id, s->word);
            if (!s || !s->open)
                broken(c, "every-wait-ends", "WAIT_PRI sleeps on session \"%s\", which is not open",
                       p->request->wait_pri->session_ids[k]);
        }
    }
    for (size_t i = 0; i < c->n_sessions; i++)
        if (c->sessions[i].r.owed && !c->streams[c->sessions[i].r.stream].blocked)
            broken(c, "cancelled-last", "session %s is over, and whoever registered was not told", c->sessions[i].id);
}

static void on_entry(struct checker *c, const struct history_entry *e)
{
    struct session *s;

    if (e->kind != HISTORY_SEND && e->kind != HISTORY_FORWARD)
        check_rest(c);
    c->result_from = e->kind == HISTORY_RESULT || e->kind == HISTORY_REQUEST ? e->a : c->result_from;
    switch (e->kind) {
    case HISTORY_OPEN:
        if (e->stream >= MAX_STREAMS)
            abort();
        c->streams[e->stream] = (struct stream){.open = true, .roles = (unsigned)e->a};
        snprintf(c->streams[e->stream].principal, sizeof c->streams[0].principal, "%s", e->text);
        break;
    case HISTORY_CLOSE: on_close(c, e->stream); break;
    case HISTORY_REQUEST: on_request(c, e); break;
    case HISTORY_AGENT_GONE:
        on_host_gone(c, e->text);
        forget_at_agent(c, e->text, NULL, 0);
        break;
    case HISTORY_RECORD: on_record(c, e); break;
    case HISTORY_BLOCKED: c->streams[e->stream].blocked = true; break;
    case HISTORY_WRITABLE: c->streams[e->stream].blocked = false; break;
    case HISTORY_END_SESSION:
        if ((s = session_find(c, e->text)) && s->open)
            session_over(c, s);
        break;
    case HISTORY_STOP:
        check_at_agents(c);
        c->stopped = true;
        for (size_t i = 0; i < c->n_sessions; i++)
            if (c->sessions[i].open)
                session_over(c, &c->sessions[i]);
        break;
    case HISTORY_SEND: on_send(c, e); break;
    case HISTORY_RESULT: on_agent_result(c, e); break;
    case HISTORY_FORWARD: on_forward(c, e); break;
    case HISTORY_DELIVERED:
    case HISTORY_TICK: break;
    }
}

static void check_end(struct checker *c)
{
    c->at = c->h->n ? c->h->n - 1 : 0;
    check_rest(c);
    if (c->n_pending)
        broken(c, "every-wait-ends", "stream %u: request %" PRIu64 " was never answered", c->pending[0].stream,
               c->pending[0].request->id);
}

void check_history(const struct history *h, struct verdict *out)
{
    struct checker c = {.h = h, .v = out};

    *out = (struct verdict){0};
    c.streams = calloc(MAX_STREAMS, sizeof *c.streams);
    c.sessions = calloc(MAX_SESSIONS, sizeof *c.sessions);
    c.pending = calloc(MAX_PENDING, sizeof *c.pending);
    if (!c.streams || !c.sessions || !c.pending)
        abort();
    for (c.at = 0; c.at < h->n && !out->broken; c.at++)
        on_entry(&c, &h->entries[c.at]);
    if (!out->broken)
        check_end(&c);
    for (size_t i = 0; i < c.n_pending; i++)
        sensebus__v1__adapter_request__free_unpacked(c.pending[i].request, NULL);
    for (size_t i = 0; i < c.n_sessions; i++)
        free(c.sessions[i].r.seen);
    free(c.streams);
    free(c.sessions);
    free(c.pending);
}
