/* SPDX-License-Identifier: Apache-2.0 */
/* Thousands of random steps, and the invariants of adapter.h looked at in all that comes out. The model here is what a
 * subscriber can know: what it asked, what it was told, which records were raised. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sensebus/v1/code.pb-c.h"
#include "tests/lib/sample_event.h"
#include "tests/unit/broker/core/adapter/world.h"

enum { N_STREAMS = 4, N_UNITS = 3, MAX_SESSIONS = 4096, MAX_REQUESTS = 65536, MAX_FLIGHT = 4096 };

static struct world w;
static uint64_t seed;
static const char *const owners[N_STREAMS] = {"0", "1", "2", "3"};
static struct adapter_stream *streams[N_STREAMS]; /* 0 and 1 are alice's, 2 and 3 bob's */
static bool blocked[N_STREAMS];

/* By generation. */
static struct model_session {
    bool is_open, is_registered, was_registered, is_cancelled;
    int starter, listener;
    int64_t lun;
    uint8_t correlator;
    uint32_t pending, arrived, told;
    uint64_t last_sequence;
} sessions[MAX_SESSIONS];
static uint64_t n_sessions;

static struct model_request {
    request_kind kind;
    int stream;
    int64_t lun;
    uint64_t generation;
    uint8_t correlator;
    unsigned n_answers;
    bool is_given_up; /* its stream ended first */
} requests[MAX_REQUESTS];

static uint64_t flight[MAX_FLIGHT];
static unsigned n_flight;

static uint64_t pick(uint64_t n)
{
    return sample_random(&seed) % n;
}

static uint64_t generation_of(const char *id)
{
    return strtoull(id + 1, NULL, 16);
}

static void close_model(struct model_session *s)
{
    s->is_open = false;
}

static void on_result(struct world *world, const char *owner, const Sensebus__V1__Result *r)
{
    (void)world;
    struct model_request *q = &requests[r->id];
    cr_assert_eq(++q->n_answers, 1, "every-wait-ends: request %" PRIu64 " is answered again", r->id);
    cr_assert_eq(atoi(owner), q->stream);
    struct model_session *s = &sessions[q->generation];
    if (r->error != ERRNO(OK))
        return;
    switch (q->kind) {
    case ASK(START):
        q->generation = r->start->generation;
        cr_assert_gt(q->generation, 0);
        s = &sessions[q->generation];
        n_sessions = q->generation > n_sessions ? q->generation : n_sessions;
        *s = (struct model_session){.is_open = true, .starter = q->stream, .listener = -1, .lun = q->lun};
        cr_assert_eq(generation_of(r->start->session_id), q->generation);
        break;
    case ASK(EVENT):
        cr_assert_not(s->was_registered, "one-registration: s%" PRIx64, q->generation);
        cr_assert(s->is_open);
        cr_assert_eq(s->starter / 2, q->stream / 2); /* of the same principal */
        s->is_registered = s->was_registered = true;
        s->listener = q->stream;
        s->correlator = q->correlator;
        break;
    case ASK(TM_EVENT): cr_assert_eq(r->tm_event->events, s->pending); break;
    case ASK(STOP):
        cr_assert(s->is_open);
        cr_assert(!s->is_registered || s->is_cancelled || s->listener != q->stream, "no last record before the reply");
        close_model(s);
        break;
    default: break;
    }
}

static void on_event(struct world *world, const char *owner, const Sensebus__V1__AdapterEvent *e)
{
    (void)world;
    struct model_session *s = &sessions[e->generation];
    cr_assert_eq(generation_of(e->session_id), e->generation);
    cr_assert(s->was_registered, "no-stale: s%" PRIx64 " never registered", e->generation);
    cr_assert_not(s->is_cancelled, "no-stale: a record behind the last one of s%" PRIx64, e->generation);
    cr_assert_eq(s->listener, atoi(owner));
    cr_assert_eq(e->_correlator_case != 0, s->correlator != 0, "bit-identical");
    if (s->correlator) {
        cr_assert_eq(e->correlator.len, s->correlator - 1u);
        for (size_t i = 0; i < e->correlator.len; i++)
            cr_assert_eq(e->correlator.data[i], (uint8_t)(i * s->correlator), "bit-identical");
    }
    s->told |= e->events;
    if (e->record->sequence) {
        cr_assert_gt(e->record->sequence, s->last_sequence, "in-order");
        s->last_sequence = e->record->sequence;
    }
    if (e->record->code == SENSEBUS__V1__CODE__REGISTRATION_CANCELLED) {
        s->is_cancelled = true;
        cr_assert_eq(s->told, s->arrived, "bits-kept: told %x of %x", s->told, s->arrived);
    }
}

static void on_forward(struct world *world, const Sensebus__V1__Operation *op)
{
    (void)world;
    if (op->operation_case != SENSEBUS__V1__OPERATION__OPERATION_CLOSE && n_flight < MAX_FLIGHT)
        flight[n_flight++] = op->id;
}

/* ---- steps */

static struct model_request *next_request(request_kind kind, int stream, uint64_t generation)
{
    struct model_request *q = &requests[w.next_id + 1];
    *q = (struct model_request){.kind = kind, .stream = stream, .generation = generation};
    return q;
}

static uint64_t some_session(char id[24])
{
    uint64_t back = pick(4), generation = n_sessions > back ? n_sessions - back : pick(3);
    snprintf(id, 24, "s%" PRIx64, generation);
    return generation;
}

static void step_request(int stream)
{
    char id[24];
    uint8_t bytes[256];
    uint64_t generation = some_session(id);
    struct model_session *s = &sessions[generation];
    switch (pick(9)) {
    case 0:
    case 1: {
        int64_t lun = (int64_t)pick(N_UNITS);
        next_request(ASK(START), stream, 0)->lun = lun;
        ask_start(&w, streams[stream], lun, pick(3) > 0);
        break;
    }
    case 2:
    case 3:
    case 4: {
        uint8_t correlator = (uint8_t)pick(6);
        for (unsigned i = 0; i < 256; i++)
            bytes[i] = (uint8_t)(i * correlator);
        next_request(ASK(EVENT), stream, generation)->correlator = correlator;
        ask_event(&w, streams[stream], id, correlator ? bytes : NULL, correlator ? correlator - 1u : 0);
        break;
    }
    case 5: {
        bool peek = pick(2);
        next_request(ASK(TM_EVENT), stream, generation);
        ask_tm_event(&w, streams[stream], id, peek);
        if (w.error == 0 && !peek)
            s->pending = 0;
        break;
    }
    case 6:
        next_request(ASK(WAIT_PRI), stream, generation);
        ask_wait(&w, streams[stream], (int64_t)pick(3) - 1, id, NULL);
        break;
    case 7:
        next_request(ASK(TEST_UNIT_READY), stream, generation);
        ask_tur(&w, streams[stream], id, pick(2));
        break;
    default:
        if (pick(3))
            return;
        next_request(ASK(STOP), stream, generation);
        ask_stop(&w, streams[stream], id);
        break;
    }
}

static void step_agent(void)
{
    if (!n_flight)
        return;
    unsigned i = (unsigned)pick(n_flight);
    uint64_t operation = flight[i];
    flight[i] = flight[--n_flight];
    if (pick(4))
        agent_ok(&w, operation);
    else
        agent_fails(&w, operation, ERRNO(EIO));
}

static void step_record(void)
{
    bool is_bus = pick(4) == 0, is_removal = !is_bus && pick(40) == 0;
    struct record record = {
        .code = is_removal ? SENSEBUS__V1__CODE__DEVICE_REMOVED : SENSEBUS__V1__CODE__LUN_RESET,
        .scope = is_bus ? 6 : 1,
        .lun = (int64_t)pick(N_UNITS),
        .bits = (int)(pick(2) ? 1u << pick(3) : pick(8)),
    };
    uint64_t oldest = n_sessions > 200 ? n_sessions - 200 : 1;
    for (uint64_t g = oldest; g <= n_sessions; g++) {
        struct model_session *s = &sessions[g];
        if (!s->is_open || (!is_bus && s->lun != record.lun))
            continue;
        s->pending |= (uint32_t)record.bits;
        if (s->is_registered)
            s->arrived |= (uint32_t)record.bits;
        if (is_removal)
            close_model(s);
    }
    record_comes(&w, &record);
}

static void step_stream(int stream)
{
    switch (pick(30)) {
    case 0: /* it ends, another begins */
        for (uint64_t g = 1; g <= n_sessions; g++) {
            if (sessions[g].starter == stream)
                close_model(&sessions[g]);
            if (sessions[g].listener == stream) { /* nobody hears any more */
                sessions[g].is_registered = false;
                sessions[g].listener = -1;
            }
        }
        for (uint64_t i = 1; i <= w.next_id; i++)
            requests[i].is_given_up |= requests[i].stream == stream;
        adapter_close(w.a, streams[stream], w.now_ns);
        streams[stream] = open_as(&w, owners[stream], stream < 2 ? "alice" : "bob", ACCESS_ALL);
        blocked[stream] = false;
        world_take(&w);
        break;
    case 1:
        if (pick(4))
            return;
        for (uint64_t g = 1; g <= n_sessions; g++)
            close_model(&sessions[g]);
        adapter_agent_gone(w.a, "h", pick(2), w.now_ns);
        world_take(&w);
        break;
    default:
        if (blocked[stream])
            adapter_writable(w.a, streams[stream], w.now_ns);
        else
            adapter_blocked(w.a, streams[stream]);
        blocked[stream] = !blocked[stream];
        world_take(&w);
        break;
    }
}

static void run(uint64_t first_seed, unsigned n_steps)
{
    struct adapter_limits limits = {.max_queued_records = 4};
    seed = first_seed;
    world_begin(&w, &limits);
    w.is_quiet = true;
    w.on_result = on_result;
    w.on_event = on_event;
    w.on_forward = on_forward;
    memset(sessions, 0, sizeof sessions);
    memset(requests, 0, sizeof requests);
    n_sessions = n_flight = 0;
    for (int i = 0; i < N_STREAMS; i++) {
        streams[i] = open_as(&w, owners[i], i < 2 ? "alice" : "bob", ACCESS_ALL);
        blocked[i] = false;
    }
    for (unsigned i = 0; i < n_steps && n_sessions < MAX_SESSIONS - 8; i++) {
        switch (pick(10)) {
        case 0:
        case 1:
        case 2:
        case 3: step_request((int)pick(N_STREAMS)); break;
        case 4:
        case 5:
        case 6: step_agent(); break;
        case 7:
        case 8: step_record(); break;
        default:
            if (pick(20) == 0)
                tick_to(&w, w.now_ns + pick(60) * 1000 * MS);
            else
                step_stream((int)pick(N_STREAMS));
            break;
        }
    }
    for (int i = 0; i < N_STREAMS; i++)
        adapter_writable(w.a, streams[i], w.now_ns);
    adapter_stop(w.a, "BROKER_STOPPING", w.now_ns);
    world_take(&w);
    for (uint64_t i = 1; i <= w.next_id; i++)
        cr_assert(requests[i].n_answers == 1 || requests[i].is_given_up, "every-wait-ends: request %" PRIu64, i);
    for (uint64_t g = 1; g <= n_sessions; g++)
        cr_assert(!sessions[g].is_registered || sessions[g].is_cancelled, "cancelled-last: s%" PRIx64, g);
    world_end(&w);
}

Test(random, invariants_hold)
{
    for (uint64_t i = 1; i <= 20; i++)
        run(i * 0x9e3779b97f4a7c15, 3000);
}
