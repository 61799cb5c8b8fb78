/* SPDX-License-Identifier: Apache-2.0 */
/* A request:  checked and unpacked, its address looked up, handed to the rules, their actions carried out.
 * A stream:   opened in the rules under its principal; closed there when the call is gone or was finished here.
 *   the peer closes its side   the open ends when its last request is answered
 *   its queue is full          the rules hold records back, requests are held here, until there is room
 *   it takes no replies        past the queue's bound the call ends: RESOURCE_EXHAUSTED
 * A stop:     the rules end everything; streams end once what was queued for them has left, or with the grace. */
#include "broker/service/adapter.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/access.h"
#include "broker/core/directory.h"
#include "broker/engine/commit.h"
#include "broker/service/announce.h"
#include "broker/service/gate.h"
#include "broker/service/operations.h"
#include "broker/service/place.h"
#include "broker/service/request.h"
#include "broker/service/sdi.h"
#include "proto/grpc/grpc.h"
#include "proto/message.h"
#include "runtime/clock.h"

#define ROLES         (ACCESS_READER | ACCESS_KERNEL | ACCESS_DEV_CONFIG | ACCESS_OPERATOR)
#define REASON_MAX    256
#define LINES_AT_ONCE 100  /* about sessions; the log of events has them all */
#define TAG_RESULT    0x0a /* AdapterReply.result */
#define FIELD_ID      2u   /* AdapterRequest.id */
#define STOP_REASON   "the broker is stopping"

/* One Adapter.Open. */
struct adapter_call {
    TAILQ_ENTRY(adapter_call) entry;     /* of open, ending or leaving */
    TAILQ_ENTRY(adapter_call) resumable; /* while is_resumable */
    struct adapter_service *service;
    struct grpc_call *call;
    struct adapter_stream *stream; /* NULL once it is closed in the rules */
    char principal[ACCESS_MAX_PRINCIPAL];
    bool over;    /* finished: on_close follows */
    bool blocked; /* the rules were told that the queue is full */
    bool paused, is_resumable, half_closed;
    size_t n_unanswered;
    uint8_t *held; /* requests that wait: each its length in four bytes, then the message */
    size_t held_at, held_len, held_cap;
};

static uint64_t now(void)
{
    return clock_mono_ns();
}

static void pump(struct adapter_service *f);

/* ------------------------------------------------------------------------------------------------ the end of a call */

__attribute__((format(printf, 3, 4))) static void call_end(struct adapter_call *c, int status, const char *format, ...)
{
    struct adapter_service *f = c->service;
    char reason[REASON_MAX];
    va_list args;

    if (c->over)
        return;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    c->over = true;
    if (c->is_resumable)
        TAILQ_REMOVE(&f->resumable, c, resumable);
    c->is_resumable = false;
    TAILQ_REMOVE(&f->open, c, entry);
    TAILQ_INSERT_TAIL(&f->ending, c, entry);
    grpc_call_finish(c->call, status, "%s", reason);
}

static void call_end_if_done(struct adapter_call *c)
{
    if (c->half_closed && c->n_unanswered == 0 && c->held_at == c->held_len)
        call_end(c, GRPC_OK, "%s", "");
}

/* After adapter_service_stop: everything that the rules had for this stream is in its queue. */
static void call_end_if_stopped(struct adapter_call *c)
{
    if (c->service->stopping && !c->blocked)
        call_end(c, GRPC_UNAVAILABLE, STOP_REASON);
}

/* ------------------------------------------------------------------------------------------------ requests */

static void take_request(struct adapter_call *c, const Sensebus__V1__AdapterRequest *request)
{
    struct adapter_service *f = c->service;
    struct place place = {0};
    int rc = place_of_request(f->outside.directory, request, &place);

    if (rc >= 0)
        rc = adapter_request(f->core, c->stream, request, rc == 0 ? &place.found : NULL, f->outside.commit->newest,
                             now(), clock_wall_ns());
    if (rc < 0)
        call_end(c, GRPC_RESOURCE_EXHAUSTED, "out of memory");
    place_deinit(&place);
}

/* One input to the rules: the actions are the caller's to carry out. */
static void take(struct adapter_call *c, const uint8_t *bytes, size_t len)
{
    static const ProtobufCMessageDescriptor *const descriptor = &sensebus__v1__adapter_request__descriptor;
    char err[REASON_MAX];

    c->n_unanswered++;
    struct adapter *core = c->service->core;
    struct ProtobufCMessage *m = NULL;
    int rc = 0;
    if (message_check(descriptor, bytes, len, err, sizeof err))
        rc = adapter_fault(core, c->stream, request_number(bytes, len, FIELD_ID), err);
    else if (!(m = message_unpack(descriptor, bytes, len, 0)))
        rc = adapter_no_room(core, c->stream, request_number(bytes, len, FIELD_ID),
                             "AdapterRequest: takes too much memory");
    else
        take_request(c, (Sensebus__V1__AdapterRequest *)m);
    if (rc)
        call_end(c, GRPC_RESOURCE_EXHAUSTED, "out of memory");
    message_free(m);
}

static bool can_take(const struct adapter_call *c)
{
    return !c->over && !c->blocked && c->n_unanswered < ADAPTER_MAX_UNANSWERED;
}

/* Of all streams of its principal. Asked for when one of them wants more, which is seldom. */
static size_t held_by_principal(const struct adapter_call *c)
{
    const struct adapter_call *other;
    size_t bytes = 0;

    TAILQ_FOREACH(other, &c->service->open, entry)
    if (strcmp(other->principal, c->principal) == 0)
        bytes += other->held_cap;
    return bytes;
}

/* Room for `need` bytes. Without it held_cap stays too small. */
static void grow_held(struct adapter_call *c, size_t need)
{
    size_t cap = 2 * need < ADAPTER_MAX_HELD_BYTES ? 2 * need : ADAPTER_MAX_HELD_BYTES;

    if (need > cap || held_by_principal(c) - c->held_cap + cap > ADAPTER_MAX_HELD_PRINCIPAL)
        return;
    uint8_t *held = realloc(c->held, cap);
    if (!held)
        return;
    c->held = held;
    c->held_cap = cap;
}

static void hold(struct adapter_call *c, const uint8_t *bytes, size_t len)
{
    size_t need = c->held_len - c->held_at + 4 + len;
    uint32_t prefix = (uint32_t)len;

    if (c->held_at > 0) {
        memmove(c->held, c->held + c->held_at, c->held_len - c->held_at);
        c->held_len -= c->held_at;
        c->held_at = 0;
    }
    if (need > c->held_cap)
        grow_held(c, need);
    if (need > c->held_cap) {
        call_end(c, GRPC_RESOURCE_EXHAUSTED,
                 "%zu bytes of requests wait (%zu on all streams of %s), and the replies are not read", c->held_len,
                 held_by_principal(c), c->principal);
        return;
    }
    memcpy(c->held + c->held_len, &prefix, 4);
    memcpy(c->held + c->held_len + 4, bytes, len);
    c->held_len = need;
}

static void make_resumable(struct adapter_call *c)
{
    if (!c->paused || c->is_resumable || !can_take(c))
        return;
    c->is_resumable = true;
    TAILQ_INSERT_TAIL(&c->service->resumable, c, resumable);
}

/* Let the first of them go on by one request; when none waits any more the peer may send again. */
static bool resume_one(struct adapter_service *f)
{
    struct adapter_call *c = TAILQ_FIRST(&f->resumable);

    if (!c)
        return false;
    TAILQ_REMOVE(&f->resumable, c, resumable);
    c->is_resumable = false;
    if (!can_take(c))
        return true;
    if (c->held_at == c->held_len) {
        free(c->held);
        c->held = NULL;
        c->held_at = c->held_len = c->held_cap = 0;
        c->paused = false;
        grpc_call_resume(c->call);
        call_end_if_done(c);
        return true;
    }
    uint32_t len;
    memcpy(&len, c->held + c->held_at, 4);
    const uint8_t *bytes = c->held + c->held_at + 4;
    c->held_at += 4 + (size_t)len;
    take(c, bytes, len);
    make_resumable(c);
    return true;
}

/* ------------------------------------------------------------------------------------------------ actions */

static void act_send(const struct adapter_action *a)
{
    struct adapter_call *c = a->owner;
    struct slice parts[2] = {{.owner = a->message, .ptr = a->message->bytes, .len = a->message->len}};
    size_t n = 1;

    if (c->over)
        return;
    if (a->tail)
        parts[n++] = (struct slice){.owner = a->tail, .ptr = a->tail->bytes, .len = a->tail->len};
    int rc = grpc_call_send(c->call, parts, n);
    if (rc == UV_ENOBUFS)
        call_end(c, GRPC_RESOURCE_EXHAUSTED, "%zu bytes of replies wait, and are not read",
                 grpc_call_queued_bytes(c->call));
    else if (rc && rc != UV_ECANCELED)
        call_end(c, GRPC_RESOURCE_EXHAUSTED, "out of memory");
    if (c->over)
        return;
    if (!c->blocked && !grpc_call_writable(c->call)) {
        c->blocked = true;
        adapter_blocked(c->service->core, c->stream);
    }
    if (a->message->len > 0 && a->message->bytes[0] == TAG_RESULT) {
        assert(c->n_unanswered > 0);
        c->n_unanswered--;
        make_resumable(c);
        call_end_if_done(c);
    }
}

static void act_forward(struct adapter_service *f, const struct adapter_action *a)
{
    char reason[REASON_MAX + 64];

    if (operations_forward(f->outside.directory, a, reason, sizeof reason))
        adapter_forward_failed(f->core, a, reason, now());
}

static void act_announce(struct adapter_service *f, const struct adapter_action *a)
{
    struct announce_session session = {
        .host = a->host,
        .session_id = a->session_id,
        .generation = a->generation,
        .mode = a->where.mode,
        .adapter = a->where.adapter,
        .target_name = a->where.target_name,
        .vendor = a->where.vendor,
        .product = a->where.product,
        .controller = a->where.controller,
        .bus = a->where.bus,
        .target = a->where.target,
        .device_type = a->where.device_type,
        .lun = a->where.lun,
        .summary = a->text,
    };
    uint64_t n_suppressed;

    announce_session(f->outside.broker, (Sensebus__V1__Code)a->code, &session);
    if (log_limit_allow(&f->session_limit, now() / 1000000, LINES_AT_ONCE, &n_suppressed))
        log_info("session.changed", "session=%s code=%" PRId32 " host=%s text=\"%s\" more_before=%" PRIu64,
                 a->session_id, a->code, a->host, a->text, n_suppressed);
}

static void act(struct adapter_service *f, struct adapter_action *a)
{
    switch (a->kind) {
    case ADAPTER_SEND: act_send(a); break;
    case ADAPTER_FORWARD: act_forward(f, a); break;
    case ADAPTER_ANNOUNCE: act_announce(f, a); break;
    case ADAPTER_SDI: sdi_service_device_event(f->outside.broker, a->code, a->host, &a->where); break;
    }
    chunk_unref(a->message);
    chunk_unref(a->tail);
}

/* ------------------------------------------------------------------------------------------------ the pump */

static bool close_one(struct adapter_service *f)
{
    struct adapter_call *c = TAILQ_FIRST(&f->ending);

    if (!c)
        return false;
    struct adapter_stream *stream = c->stream;
    c->stream = NULL;
    TAILQ_REMOVE(&f->ending, c, entry);
    TAILQ_INSERT_TAIL(&f->leaving, c, entry);
    adapter_close(f->core, stream, now());
    return true;
}

static void on_timer(uv_timer_t *timer)
{
    struct adapter_service *f = timer->data;

    adapter_tick(f->core, now());
    pump(f);
}

static void arm(struct adapter_service *f)
{
    uint64_t next = adapter_next_ns(f->core), at = now();

    if (!f->timer_open)
        return;
    if (next == UINT64_MAX)
        uv_timer_stop(&f->timer);
    else
        uv_timer_start(&f->timer, on_timer, next > at ? (next - at + 999999) / 1000000 : 0, 0);
}

/* Carry out what the rules want, until nothing is left: also what follows from ending calls and from requests that were
 * held. */
static void pump(struct adapter_service *f)
{
    struct adapter_action action;

    if (f->pumping)
        return;
    f->pumping = true;
    do
        while (adapter_take(f->core, &action))
            act(f, &action);
    while (close_one(f) || resume_one(f));
    f->pumping = false;
    arm(f);
}

/* ------------------------------------------------------------------------------------------------ callbacks */

static void on_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct adapter_call *c = data;

    if (c->over || c->service->stopping)
        return;
    if (c->paused || !can_take(c)) {
        if (!c->paused)
            grpc_call_pause(call);
        c->paused = true;
        hold(c, bytes, len);
    } else {
        take(c, bytes, len);
    }
    pump(c->service);
}

static void on_half_close(struct grpc_call *call, void *data)
{
    struct adapter_call *c = data;

    (void)call;
    c->half_closed = true;
    call_end_if_done(c);
    pump(c->service);
}

static void on_writable(struct grpc_call *call, void *data)
{
    struct adapter_call *c = data;

    (void)call;
    if (c->over)
        return;
    if (c->blocked) {
        c->blocked = false;
        adapter_writable(c->service->core, c->stream, now());
        pump(c->service);
    }
    make_resumable(c);
    call_end_if_stopped(c);
    pump(c->service);
}

static void on_drain(struct grpc_call *call, void *data)
{
    (void)call;
    call_end_if_stopped(data);
    pump(((struct adapter_call *)data)->service);
}

static void on_close(struct grpc_call *call, void *data, int status, const char *message)
{
    struct adapter_call *c = data;
    struct adapter_service *f = c->service;

    (void)call, (void)status, (void)message;
    if (c->is_resumable)
        TAILQ_REMOVE(&f->resumable, c, resumable);
    if (c->over && c->stream)
        TAILQ_REMOVE(&f->ending, c, entry);
    else if (c->over)
        TAILQ_REMOVE(&f->leaving, c, entry);
    else
        TAILQ_REMOVE(&f->open, c, entry);
    if (c->stream)
        adapter_close(f->core, c->stream, now());
    free(c->held);
    free(c);
    pump(f);
}

/* Finished streams of a principal, which are still here because their last words are not read. */
static size_t n_ended_of(const struct adapter_service *f, const char *principal)
{
    const struct adapter_call *c;
    size_t n = 0;

    TAILQ_FOREACH(c, &f->leaving, entry)
    n += strcmp(c->principal, principal) == 0;
    return n;
}

static void on_open(struct grpc_call *call, void *service)
{
    static const struct grpc_call_ops ops = {
        .on_message = on_message,
        .on_half_close = on_half_close,
        .on_writable = on_writable,
        .on_drain = on_drain,
        .on_close = on_close,
    };
    struct adapter_service *f = service;
    struct access_principal principal;
    char err[REASON_MAX];
    int rc;

    if (!gate_admit(f->outside.broker, call, ROLES, &principal))
        return;
    if (f->stopping) {
        grpc_call_finish(call, GRPC_UNAVAILABLE, STOP_REASON);
        return;
    }
    if (n_ended_of(f, principal.name) >= ADAPTER_MAX_ENDED_PRINCIPAL) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED,
                         "%u streams of %s have ended, and their last replies are not read",
                         ADAPTER_MAX_ENDED_PRINCIPAL, principal.name);
        return;
    }
    struct adapter_call *c = calloc(1, sizeof *c);
    if (!c) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    c->stream = adapter_open(f->core, principal.name, principal.roles, c, &rc, err, sizeof err);
    if (!c->stream) {
        free(c);
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "%s", rc == UV_ENOMEM ? "out of memory" : err);
        return;
    }
    c->service = f;
    c->call = call;
    snprintf(c->principal, sizeof c->principal, "%s", principal.name);
    TAILQ_INSERT_TAIL(&f->open, c, entry);
    grpc_call_accept(call, &ops, c);
}

static void on_list_sessions(struct grpc_call *call, void *service, const uint8_t *bytes, size_t len)
{
    struct adapter_service *f = service;
    Sensebus__V1__ListSessionsResponse *response;
    char err[REASON_MAX];
    struct ProtobufCMessage *r = request_read(call, &sensebus__v1__list_sessions_request__descriptor, bytes, len);

    if (!r)
        return;
    int rc = adapter_list(f->core, (Sensebus__V1__ListSessionsRequest *)r, &response, err, sizeof err);
    message_free(r);
    if (rc == UV_ENOMEM) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
    } else if (rc) {
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "%s", err);
    } else {
        request_reply(call, &response->base);
        sensebus__v1__list_sessions_response__free_unpacked(response, NULL);
    }
}

static void start_list_sessions(struct grpc_call *call, void *service)
{
    struct adapter_service *f = service;

    if (gate_admit(f->outside.broker, call, ROLES, NULL))
        grpc_unary_accept(call, service, on_list_sessions);
}

/* ------------------------------------------------------------------------------------------------ the log */

/* An EVENTS_LOST record that is not in the log, for the sessions of one host. How many of what was lost were its events
 * nobody knows: 0 at least. */
static void tell_lost(struct adapter_service *f, const char *host, const Sensebus__V1__Loss *loss, uint64_t sequence)
{
    static const struct event_limits limits = {.allow_broker_fields = true};
    Sensebus__V1__Event event = SENSEBUS__V1__EVENT__INIT;
    Sensebus__V1__Origin origin = SENSEBUS__V1__ORIGIN__INIT;
    struct event_view view;
    char err[REASON_MAX];

    origin.host = (char *)host;
    origin.source = SENSEBUS__V1__SOURCE__SOURCE_BROKER;
    event.sequence = sequence;
    event.code = SENSEBUS__V1__CODE__EVENTS_LOST;
    event.severity = SENSEBUS__V1__SEVERITY__SEVERITY_ERROR;
    event.scope = SENSEBUS__V1__SCOPE__SCOPE_HOST;
    event.mode = SENSEBUS__V1__MODE__MODE_BOTH;
    event.origin = &origin;
    event.broker_time_unix_ns = event.wall_time_unix_ns = clock_wall_ns();
    event.aix_bits = loss->aix_bits;
    event.loss = (Sensebus__V1__Loss *)loss;
    event.summary = loss->reason;
    size_t len = sensebus__v1__event__get_packed_size(&event);
    struct chunk *record = chunk_new(len);
    if (!record) {
        log_error("session.loss_not_told", "host=%s sequence=%" PRIu64, host, sequence);
        return;
    }
    record->len = sensebus__v1__event__pack(&event, record->bytes);
    if (event_scan(record->bytes, record->len, &limits, &view, err, sizeof err) == 0)
        adapter_record(f->core, &view, record, now());
    chunk_unref(record);
    pump(f);
}

void adapter_service_lost(struct adapter_service *f, uint64_t first, uint64_t last, uint32_t stage, uint32_t bits,
                          const char *reason)
{
    const struct directory *d = f->outside.directory;
    Sensebus__V1__Loss loss = SENSEBUS__V1__LOSS__INIT;
    char told[REASON_MAX];

    if (!f->core || last <= f->delivered)
        return;
    f->delivered = last;
    if (!adapter_service_listens(f))
        return;
    f->n_lost_ranges++;
    loss.stage = (Sensebus__V1__LossStage)stage;
    loss.at_least = true;
    loss.aix_bits = bits;
    loss.reason = told;
    snprintf(told, sizeof told, "%s: %" PRIu64 " records of all hosts", reason, last - first + 1);
    log_error("session.records_not_told", "first=%" PRIu64 " last=%" PRIu64 " reason=\"%s\"", first, last, reason);
    for (size_t i = 0; i < d->n; i++) /* sessions are of agents that are attached */
        if (d->agents[i]->state == DIRECTORY_ATTACHED)
            tell_lost(f, d->agents[i]->host, &loss, last);
}

void adapter_service_record(struct adapter_service *f, const struct event_view *view)
{
    if (!f->core || view->sequence <= f->delivered)
        return;
    f->delivered = view->sequence;
    if (!adapter_service_listens(f))
        return;
    struct chunk *record = chunk_new(view->len);
    if (record) {
        memcpy(record->bytes, view->bytes, view->len);
        record->len = view->len;
    } else {
        log_error("session.record_not_told", "sequence=%" PRIu64 " reason=\"out of memory\"", view->sequence);
    }
    adapter_record(f->core, view, record, now());
    chunk_unref(record);
    pump(f);
}

void adapter_service_delivered(struct adapter_service *f)
{
    if (!f->core)
        return;
    adapter_delivered(f->core, f->delivered, now());
    pump(f);
}

/* ------------------------------------------------------------------------------------------------ agents, operators */

void adapter_service_result(struct adapter_service *f, const char *host, const Sensebus__V1__OperationResult *result,
                            bool after_events)
{
    uint64_t newest = f->outside.commit->newest;
    const Sensebus__V1__DeviceAddress *found =
        result->value_case == SENSEBUS__V1__OPERATION_RESULT__VALUE_OPEN ? result->open->address : NULL;
    unsigned capabilities = found ? place_capabilities(f->outside.directory, host, found->adapter) : 0;

    adapter_result(f->core, host, result, capabilities, after_events ? newest : 0, newest, now());
    pump(f);
}

void adapter_service_received(struct adapter_service *f, const char *host, const Sensebus__V1__TargetReceived *message)
{
    adapter_target_received(f->core, host, message, now());
    pump(f);
}

uint64_t adapter_service_generation(const struct adapter_service *f, struct text host, struct text session_id)
{
    return adapter_generation_at(f->core, host, session_id);
}

size_t adapter_service_agent_gone(struct adapter_service *f, const char *host, bool in_order)
{
    if (!f->core)
        return 0;
    size_t n = adapter_agent_gone(f->core, host, in_order, now());
    pump(f);
    return n;
}

int adapter_service_end_session(struct adapter_service *f, const char *session_id, const char *reason,
                                struct adapter_ended *out)
{
    int rc = adapter_end_session(f->core, session_id, reason, now(), out);

    pump(f);
    return rc;
}

/* ------------------------------------------------------------------------------------------------ start, stop */

int adapter_service_start(struct adapter_service *f, const struct adapter_outside *outside,
                          const struct adapter_limits *limits, uint64_t newest, uint64_t newest_time_ns)
{
    static const struct grpc_method methods[] = {
        {"/sensebus.v1.Adapter/Open", on_open},
        {"/sensebus.v1.Adapter/ListSessions", start_list_sessions},
    };
    uint64_t seed;

    *f = (struct adapter_service){.outside = *outside, .delivered = newest};
    TAILQ_INIT(&f->open);
    TAILQ_INIT(&f->ending);
    TAILQ_INIT(&f->leaving);
    TAILQ_INIT(&f->resumable);
    int rc = uv_random(NULL, NULL, &seed, sizeof seed, 0, NULL);
    if (rc)
        return rc;
    f->core = adapter_new(limits, seed, adapter_first_generation(clock_wall_ns(), newest_time_ns));
    if (!f->core)
        return UV_ENOMEM;
    uv_timer_init(outside->loop, &f->timer);
    f->timer.data = f;
    f->timer_open = true;
    return grpc_server_add(outside->server, methods, sizeof methods / sizeof *methods, f);
}

void adapter_service_stop(struct adapter_service *f)
{
    struct adapter_call *c, *next;

    f->stopping = true;
    adapter_stop(f->core, STOP_REASON, now());
    pump(f);
    for (c = TAILQ_FIRST(&f->open); c; c = next) {
        next = TAILQ_NEXT(c, entry);
        call_end_if_stopped(c);
    }
    pump(f);
}

void adapter_service_close(struct adapter_service *f)
{
    if (!f->timer_open)
        return;
    f->timer_open = false;
    uv_close((uv_handle_t *)&f->timer, NULL);
}

void adapter_service_deinit(struct adapter_service *f)
{
    if (f->core)
        adapter_free(f->core);
    f->core = NULL;
}
