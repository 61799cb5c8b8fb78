/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/access.h"

#define MAX_DELAY_MS  40u
#define MAX_COMMIT_MS 10u

/* ------------------------------------------------------------------------------------------------ virtual time */

static bool before(const struct timed *a, const struct timed *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

void world_at(struct world *w, uint64_t at_ns, struct timed event, const void *bytes, size_t len)
{
    if (w->n_queue == w->cap_queue) {
        w->cap_queue = w->cap_queue ? 2 * w->cap_queue : 256;
        w->queue = realloc(w->queue, w->cap_queue * sizeof *w->queue);
        if (!w->queue)
            abort();
    }
    event.at_ns = at_ns;
    event.order = w->order++;
    event.len = len;
    event.bytes = NULL;
    if (len) {
        event.bytes = malloc(len);
        if (!event.bytes)
            abort();
        memcpy(event.bytes, bytes, len);
    }
    size_t i = w->n_queue++;
    while (i > 0 && before(&event, &w->queue[(i - 1) / 2])) {
        w->queue[i] = w->queue[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->queue[i] = event;
}

static struct timed queue_take(struct world *w)
{
    struct timed first = w->queue[0], last = w->queue[--w->n_queue];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= w->n_queue)
            break;
        if (child + 1 < w->n_queue && before(&w->queue[child + 1], &w->queue[child]))
            child++;
        if (!before(&w->queue[child], &last))
            break;
        w->queue[i] = w->queue[child];
        i = child;
    }
    w->queue[i] = last;
    return first;
}

void world_send(struct world *w, struct wire *wire, struct timed event, const void *bytes, size_t len)
{
    uint64_t at_ns = w->now_ns + chance_below(&w->chance, MAX_DELAY_MS * 1000) * 1000ull;

    if (at_ns <= wire->last_ns)
        at_ns = wire->last_ns + 1;
    wire->last_ns = at_ns;
    world_at(w, at_ns, event, bytes, len);
}

/* ------------------------------------------------------------------------------------------------ the rules' actions
 */

static uint32_t host_number(const char *host)
{
    return host[1] == '1';
}

static void on_send(struct world *w, const struct adapter_action *action)
{
    struct sim_subscriber *s = action->owner;
    size_t len = action->message->len + (action->tail ? action->tail->len : 0);
    uint8_t *bytes = malloc(len ? len : 1);

    if (!bytes)
        abort();
    memcpy(bytes, action->message->bytes, action->message->len);
    if (action->tail)
        memcpy(bytes + action->message->len, action->tail->bytes, action->tail->len);
    history_add(&w->history, HISTORY_SEND, w->now_ns, s->serial, NULL, bytes, len);
    struct timed arrives = {.kind = EVENT_REPLY_ARRIVES, .who = (uint32_t)(s - w->subscribers), .serial = s->serial};
    world_send(w, &s->to_subscriber, arrives, bytes, len);
    free(bytes);
}

static void on_forward(struct world *w, const struct adapter_action *action)
{
    uint32_t host = host_number(action->host);
    struct sim_agent *a = &w->agents[host];

    history_add(&w->history, HISTORY_FORWARD, w->now_ns, 0, action->host, action->message->bytes, action->message->len);
    if (!a->attached) {
        adapter_forward_failed(w->adapter, action, "no agent is attached", w->now_ns);
        return;
    }
    struct timed arrives = {.kind = EVENT_OPERATION_ARRIVES, .who = host, .serial = a->serial};
    world_send(w, &a->to_agent, arrives, action->message->bytes, action->message->len);
}

static void schedule_tick(struct world *w)
{
    uint64_t next_ns = adapter_next_ns(w->adapter);
    struct timed tick = {.kind = EVENT_TICK};

    if (next_ns == UINT64_MAX || (w->tick_at_ns > w->now_ns && w->tick_at_ns <= next_ns))
        return;
    w->tick_at_ns = next_ns > w->now_ns ? next_ns : w->now_ns + 1;
    world_at(w, w->tick_at_ns, tick, NULL, 0);
}

void world_pump(struct world *w)
{
    struct adapter_action action;

    while (adapter_take(w->adapter, &action)) {
        if (action.kind == ADAPTER_SEND)
            on_send(w, &action);
        else if (action.kind == ADAPTER_FORWARD)
            on_forward(w, &action);
        chunk_unref(action.message);
        chunk_unref(action.tail);
    }
    schedule_tick(w);
}

/* ------------------------------------------------------------------------------------------------ what players know */

void world_know(struct world *w, const char *session_id)
{
    snprintf(w->known[w->n_known++ % MAX_KNOWN], sizeof w->known[0], "%s", session_id);
}

const char *world_any_session(struct world *w)
{
    if (w->n_known == 0 || chance_percent(&w->chance, 2))
        return chance_percent(&w->chance, 50) ? "" : "s0123";
    size_t n = w->n_known < MAX_KNOWN ? w->n_known : MAX_KNOWN;
    size_t recent = chance_percent(&w->chance, 80) && n > 4 ? 4 : n;
    return w->known[(w->n_known - 1 - chance_below(&w->chance, (uint32_t)recent)) % MAX_KNOWN];
}

/* ------------------------------------------------------------------------------------------------ the broker's inputs
 */

static bool is_served(const char *adapter)
{
    return strcmp(adapter, "tgt1") == 0;
}

static unsigned capabilities_of(const char *adapter)
{
    return ADAPTER_CAN_EVENT | ADAPTER_CAN_HALT | ADAPTER_CAN_RESET_LUN | ADAPTER_CAN_RESET_TARGET |
           (is_served(adapter) ? ADAPTER_CAN_TARGET_MODE : 0);
}

/* The inventory of the simulated hosts: two targets with two units each, and one target that is served there. */
static void resolve(struct world *w, const Sensebus__V1__DeviceAddress *asked, Sensebus__V1__DeviceAddress *full,
                    Sensebus__V1__Device *device, struct adapter_place *out)
{
    *out = (struct adapter_place){.state = ADAPTER_PLACE_UNKNOWN};
    if (!asked || asked->host[0] != 'h')
        return;
    if (!w->agents[host_number(asked->host)].attached) {
        out->state = ADAPTER_PLACE_NO_AGENT;
        return;
    }
    bool served = is_served(asked->adapter);
    if (!served && (asked->target < 0 || asked->target >= N_TARGETS || asked->lun < 0 || asked->lun >= N_LUNS))
        return;
    *full = *asked;
    if (served) {
        full->bus = 0;
        full->target = 7;
    }
    sensebus__v1__device__init(device);
    device->transport = SENSEBUS__V1__TRANSPORT__TRANSPORT_ISCSI;
    out->state = ADAPTER_PLACE_OK;
    out->address = full;
    out->device = device;
    out->capabilities = capabilities_of(asked->adapter);
    out->own_id = served ? "iqn.served" : "iqn.own";
}

static const Sensebus__V1__DeviceAddress *asked_address(const Sensebus__V1__AdapterRequest *request)
{
    switch (request->operation_case) {
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_START: return request->start->address;
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_START_TARGET: return request->start_target->address;
    default: return NULL;
    }
}

static void on_request(struct world *w, const struct timed *e)
{
    struct sim_subscriber *s = &w->subscribers[e->who];
    Sensebus__V1__DeviceAddress full;
    Sensebus__V1__Device device;
    struct adapter_place place;

    if (!s->open || s->serial != e->serial)
        return;
    Sensebus__V1__AdapterRequest *request = sensebus__v1__adapter_request__unpack(NULL, e->len, e->bytes);
    if (!request)
        abort();
    const Sensebus__V1__DeviceAddress *asked = asked_address(request);
    if (asked)
        resolve(w, asked, &full, &device, &place);
    struct history_entry *h = history_add(&w->history, HISTORY_REQUEST, w->now_ns, s->serial, NULL, e->bytes, e->len);
    h->a = w->n_log;
    h->b = asked && place.state == ADAPTER_PLACE_OK;
    adapter_request(w->adapter, s->stream, request, asked ? &place : NULL, w->n_log, w->now_ns, w->now_ns);
    sensebus__v1__adapter_request__free_unpacked(request, NULL);
}

static void on_stream_ends(struct world *w, const struct timed *e)
{
    struct sim_subscriber *s = &w->subscribers[e->who];

    if (!s->open || s->serial != e->serial)
        return;
    history_add(&w->history, HISTORY_CLOSE, w->now_ns, s->serial, NULL, NULL, 0);
    adapter_close(w->adapter, s->stream, w->now_ns);
    s->open = false;
    s->stream = NULL;
}

static void on_stream_flow(struct world *w, const struct timed *e, bool blocked)
{
    struct sim_subscriber *s = &w->subscribers[e->who];

    if (!s->open || s->serial != e->serial || s->blocked == blocked)
        return;
    s->blocked = blocked;
    history_add(&w->history, blocked ? HISTORY_BLOCKED : HISTORY_WRITABLE, w->now_ns, s->serial, NULL, NULL, 0);
    if (blocked)
        adapter_blocked(w->adapter, s->stream);
    else
        adapter_writable(w->adapter, s->stream, w->now_ns);
}

static void on_result(struct world *w, const struct timed *e)
{
    struct sim_agent *a = &w->agents[e->who];

    if (!a->attached || a->serial != e->serial)
        return;
    Sensebus__V1__OperationResult *result = sensebus__v1__operation_result__unpack(NULL, e->len, e->bytes);
    if (!result)
        abort();
    uint64_t after = result->after_source_sequence ? a->newest_taken : 0;
    struct history_entry *h = history_add(&w->history, HISTORY_RESULT, w->now_ns, 0, a->host, e->bytes, e->len);
    h->a = w->n_log;
    h->b = after;
    const Sensebus__V1__DeviceAddress *found =
        result->value_case == SENSEBUS__V1__OPERATION_RESULT__VALUE_OPEN ? result->open->address : NULL;
    adapter_result(w->adapter, a->host, result, found ? capabilities_of(found->adapter) : 0, after, w->n_log,
                   w->now_ns);
    sensebus__v1__operation_result__free_unpacked(result, NULL);
}

/* The broker takes a record in: it gets the next sequence, and is committed a little later. */
static void on_record(struct world *w, const struct timed *e)
{
    struct sim_agent *a = &w->agents[e->who];
    uint8_t tagged[4096], framed[4096 + 64];
    struct event_limits limits = {0};
    struct event_view view;
    char err[128];

    if (!a->attached || a->serial != e->serial)
        return;
    if (event_scan(e->bytes, e->len, &limits, &view, err, sizeof err)) {
        fprintf(stderr, "the simulated agent made an event that is none: %s\n", err);
        abort();
    }
    memcpy(tagged, e->bytes, e->len);
    size_t len = e->len;
    uint64_t generation =
        view.session_id.len ? adapter_generation(w->adapter, view.session_id.ptr, view.session_id.len) : 0;
    if (generation)
        len = event_write_generation(tagged, e->bytes, e->len, generation);
    if (w->n_log == w->cap_log) {
        w->cap_log = w->cap_log ? 2 * w->cap_log : 256;
        w->log = realloc(w->log, w->cap_log * sizeof *w->log);
        if (!w->log)
            abort();
    }
    uint64_t sequence = w->n_log + 1;
    size_t framed_len = record_write(framed, tagged, len, sequence, w->now_ns);
    const uint8_t *cursor = framed, *event;
    size_t event_len;
    if (!records_next(&cursor, framed + framed_len, &event, &event_len))
        abort();
    struct chunk *record = chunk_new(event_len);
    if (!record)
        abort();
    memcpy(record->bytes, event, event_len);
    record->len = event_len;
    w->log[w->n_log++] = (struct record_on_its_way){.record = record};
    a->newest_taken = sequence;
    struct timed commit = {.kind = EVENT_COMMIT, .a = sequence};
    world_at(w, w->now_ns + (1 + chance_below(&w->chance, MAX_COMMIT_MS)) * MS, commit, NULL, 0);
}

/* A commit covers everything through its sequence. */
static void on_commit(struct world *w, uint64_t sequence)
{
    struct event_limits limits = {.allow_broker_fields = true};
    struct event_view view;
    char err[128];

    if (sequence <= w->n_committed)
        return;
    while (w->n_committed < sequence) {
        struct chunk *record = w->log[w->n_committed++].record;
        if (event_scan(record->bytes, record->len, &limits, &view, err, sizeof err))
            abort();
        history_add(&w->history, HISTORY_RECORD, w->now_ns, 0, NULL, record->bytes, record->len);
        adapter_record(w->adapter, &view, record, w->now_ns);
        world_pump(w);
    }
    struct history_entry *h = history_add(&w->history, HISTORY_DELIVERED, w->now_ns, 0, NULL, NULL, 0);
    h->a = sequence;
    adapter_delivered(w->adapter, sequence, w->now_ns);
}

/* ------------------------------------------------------------------------------------------------ life and death */

static void on_agent_dies(struct world *w, uint32_t host)
{
    struct sim_agent *a = &w->agents[host];
    struct timed next = {.kind = EVENT_AGENT_DIES, .who = host};
    struct timed gone = {.kind = EVENT_AGENT_GONE, .who = host, .serial = a->serial};
    struct timed back = {.kind = EVENT_AGENT_RETURNS, .who = host};

    if (w->ending)
        return;
    world_at(w, w->now_ns + (500 + chance_below(&w->chance, 6000)) * MS, next, NULL, 0);
    if (!a->alive)
        return;
    a->alive = false;
    if (chance_percent(&w->chance, 70)) /* else its next life comes before the broker noticed */
        world_at(w, w->now_ns + chance_below(&w->chance, 300) * MS, gone, NULL, 0);
    world_at(w, w->now_ns + chance_below(&w->chance, 800) * MS, back, NULL, 0);
}

static void agent_gone(struct world *w, uint32_t host)
{
    struct sim_agent *a = &w->agents[host];

    if (!a->attached)
        return;
    a->attached = false;
    history_add(&w->history, HISTORY_AGENT_GONE, w->now_ns, 0, a->host, NULL, 0);
    adapter_agent_gone(w->adapter, a->host, chance_percent(&w->chance, 30), w->now_ns);
    world_pump(w);
}

/* The same host attaches again: a connection that is still there is superseded. */
static void agent_returns(struct world *w, uint32_t host)
{
    struct sim_agent *a = &w->agents[host];

    agent_gone(w, host);
    a->alive = a->attached = true;
    a->serial = ++w->next_serial;
    a->to_agent = a->to_broker = (struct wire){0};
    a->n_devices = 0;
    memset(a->devices, 0, sizeof a->devices);
}

static void operator_acts(struct world *w)
{
    struct timed next = {.kind = EVENT_OPERATOR_ACTS};
    struct adapter_ended ended;

    if (w->ending)
        return;
    world_at(w, w->now_ns + (200 + chance_below(&w->chance, 3000)) * MS, next, NULL, 0);
    const char *session = world_any_session(w);
    if (adapter_generation(w->adapter, session, strlen(session)) == 0)
        return;
    history_add(&w->history, HISTORY_END_SESSION, w->now_ns, 0, session, NULL, 0);
    if (adapter_end_session(w->adapter, session, "takeover", w->now_ns, &ended))
        abort(); /* it was there a moment ago */
}

/* ------------------------------------------------------------------------------------------------ the run */

static void step(struct world *w, const struct timed *e)
{
    struct sim_agent *a = &w->agents[e->who % N_HOSTS];

    switch (e->kind) {
    case EVENT_SUBSCRIBER_ACTS:
        if (!w->ending)
            subscriber_acts(w, e->who);
        break;
    case EVENT_REQUEST_ARRIVES: on_request(w, e); break;
    case EVENT_REPLY_ARRIVES:
        if (w->subscribers[e->who].open && w->subscribers[e->who].serial == e->serial)
            subscriber_hears(w, e->who, e->bytes, e->len);
        break;
    case EVENT_STREAM_ENDS: on_stream_ends(w, e); break;
    case EVENT_STREAM_BLOCKED: on_stream_flow(w, e, true); break;
    case EVENT_STREAM_WRITABLE: on_stream_flow(w, e, false); break;
    case EVENT_OPERATION_ARRIVES:
        if (a->alive && a->serial == e->serial)
            agent_operation(w, e->who, e->bytes, e->len);
        break;
    case EVENT_RESULT_ARRIVES: on_result(w, e); break;
    case EVENT_RECORD_ARRIVES: on_record(w, e); break;
    case EVENT_COMMIT: on_commit(w, e->a); break;
    case EVENT_DEVICE_RAISES: agent_raises(w, e->who); break;
    case EVENT_AGENT_DIES: on_agent_dies(w, e->who); break;
    case EVENT_AGENT_GONE:
        if (a->serial == e->serial)
            agent_gone(w, e->who);
        break;
    case EVENT_AGENT_RETURNS: agent_returns(w, e->who); break;
    case EVENT_OPERATOR_ACTS: operator_acts(w); break;
    case EVENT_TICK:
        history_add(&w->history, HISTORY_TICK, w->now_ns, 0, NULL, NULL, 0);
        adapter_tick(w->adapter, w->now_ns);
        break;
    }
    world_pump(w);
}

static void run_until(struct world *w, uint64_t end_ns)
{
    while (w->n_queue > 0 && w->queue[0].at_ns < end_ns) {
        struct timed e = queue_take(w);
        w->now_ns = e.at_ns;
        step(w, &e);
        free(e.bytes);
    }
}

static void begin(struct world *w, uint64_t seed)
{
    static const struct {
        const char *principal;
        unsigned roles;
    } subscribers[N_SUBSCRIBERS] = {
        {"alice", ACCESS_READER | ACCESS_KERNEL},
        {"alice", ACCESS_READER | ACCESS_KERNEL},
        {"bob", ACCESS_READER | ACCESS_KERNEL},
        {"carol", ACCESS_READER | ACCESS_DEV_CONFIG},
        {"dave", ACCESS_READER},
    };
    /* Small bounds are met often. */
    static const struct adapter_limits limits = {.max_sessions_principal = 12,
                                                 .max_waits_principal = 6,
                                                 .max_operations_principal = 12,
                                                 .max_queued_records = 4};

    *w = (struct world){.chance = chance_from(seed), .now_ns = MS};
    w->adapter = adapter_new(&limits, seed, 1);
    if (!w->adapter)
        abort();
    for (uint32_t host = 0; host < N_HOSTS; host++) {
        struct timed raises = {.kind = EVENT_DEVICE_RAISES, .who = host};
        struct timed dies = {.kind = EVENT_AGENT_DIES, .who = host};
        snprintf(w->agents[host].host, sizeof w->agents[host].host, "h%u", host);
        agent_returns(w, host);
        world_at(w, MS, raises, NULL, 0);
        world_at(w, (1000 + chance_below(&w->chance, 6000)) * MS, dies, NULL, 0);
    }
    for (uint32_t i = 0; i < N_SUBSCRIBERS; i++) {
        struct timed acts = {.kind = EVENT_SUBSCRIBER_ACTS, .who = i};
        w->subscribers[i].principal = subscribers[i].principal;
        w->subscribers[i].roles = subscribers[i].roles;
        world_at(w, chance_below(&w->chance, 100) * MS, acts, NULL, 0);
    }
    struct timed operator= {.kind = EVENT_OPERATOR_ACTS};
    world_at(w, 1000 * MS, operator, NULL, 0);
}

void world_run(struct world *w, uint64_t seed, uint32_t seconds)
{
    begin(w, seed);
    run_until(w, seconds * 1000 * MS);
    w->ending = true;
    run_until(w, (seconds + 40) * 1000 * MS); /* longer than any deadline: what is on its way arrives */
    history_add(&w->history, HISTORY_STOP, w->now_ns, 0, NULL, NULL, 0);
    adapter_stop(w->adapter, "the broker is stopping", w->now_ns);
    world_pump(w);
    run_until(w, UINT64_MAX);
}

void world_free(struct world *w)
{
    adapter_free(w->adapter);
    for (size_t i = 0; i < w->n_log; i++)
        chunk_unref(w->log[i].record);
    for (size_t i = 0; i < w->n_queue; i++)
        free(w->queue[i].bytes);
    free(w->log);
    free(w->queue);
    history_free(&w->history);
}
