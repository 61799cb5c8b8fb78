/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/service/events.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/filter.h"
#include "broker/service/broker.h"
#include "broker/service/gate.h"
#include "broker/service/request.h"
#include "broker/service/subscription/subscription.h"
#include "proto/message.h"
#include "sensebus/v1/events.pb-c.h"

#define TURNS_PER_ITERATION 256u
/* So few have their turn in the commit itself, before its acknowledgement is written, and hear of it sooner. For many
 * that makes nobody faster: what comes in before their turn goes into the same writes. */
#define TURNS_AT_ONCE 32u

/* ------------------------------------------------------------------------------------------------ turns */

/* With `at_once` each subscription's records are on their way before the next has its turn. */
static void take_turns(struct events *e, bool at_once)
{
    struct subscription *s;
    size_t n = e->n_ready < TURNS_PER_ITERATION ? e->n_ready : TURNS_PER_ITERATION;

    for (; n > 0 && (s = TAILQ_FIRST(&e->ready)); n--) {
        TAILQ_REMOVE(&e->ready, s, ready);
        e->n_ready--;
        s->is_ready = false;
        subscription_turn(s);
        if (at_once)
            grpc_call_flush(s->call);
    }
    if (TAILQ_EMPTY(&e->ready)) {
        matcher_forget(&e->matcher);
        uv_idle_stop(&e->turns);
    }
}

static void on_turns(uv_idle_t *handle)
{
    take_turns(handle->data, false);
}

void subscription_ready(struct subscription *s)
{
    struct events *e = s->events;

    if (s->is_ready || s->state == SUBSCRIPTION_NEW || s->state == SUBSCRIPTION_OVER)
        return;
    subscription_wake(s, e->matcher.through);
    s->is_ready = true;
    TAILQ_INSERT_TAIL(&e->ready, s, ready);
    e->n_ready++;
    uv_idle_start(&e->turns, on_turns);
}

/* ------------------------------------------------------------------------------------------------ new records */

/* The class's users have a turn; no record up to `looked` matched. */
static void wake_class(struct matcher_class *class, uint64_t looked)
{
    struct subscription *s;

    while ((s = LIST_FIRST(&class->idle))) {
        subscription_wake(s, looked);
        subscription_ready(s);
    }
}

static void on_hit(void *data, struct matcher_class *class)
{
    wake_class(class, *(const uint64_t *)data);
}

/* Show the new records to the filters. Returns 0 or why it was not possible. */
static int look_at_new(struct events *e)
{
    struct journal *j = &e->broker->journal;
    struct journal_run run;

    while (e->matcher.through < j->newest) {
        int rc = journal_read(j, e->matcher.through + 1, j->newest, JOURNAL_BATCH_BYTES, &run);
        if (rc != JOURNAL_RUN)
            return rc < 0 ? rc : UV_EAGAIN;
        uint64_t looked = e->matcher.through;
        rc = matcher_look(&e->matcher, &run, on_hit, &looked);
        journal_run_release(&run);
        if (rc) {
            /* It counts as shown, but nobody knows what was in it. */
            e->matcher.through = looked;
            return rc;
        }
    }
    return 0;
}

void events_on_accepted(struct events *e, const struct event_view *event, known_id id, uint64_t sequence)
{
    matcher_note(&e->matcher, event, id, sequence);
}

void events_on_committed(struct events *e)
{
    uint64_t newest = e->broker->journal.newest;
    struct matcher_class *class;
    struct subscription *s;

    /* First those who get every record: nothing new was looked at for them, whatever the matcher gets done. */
    LIST_FOREACH(class, &e->matcher.unlimited, unlimited)
    wake_class(class, e->matcher.through);
    while ((s = LIST_FIRST(&e->watching))) {
        subscription_wake(s, e->matcher.through);
        subscription_ready(s);
    }
    if (e->matcher.index.n > 0 && look_at_new(e)) {
        /* Then each looks for itself. */
        uint64_t looked = e->matcher.through;
        TAILQ_FOREACH(s, &e->all, all)
        {
            subscription_wake(s, looked);
            subscription_ready(s);
        }
    }
    if (e->matcher.through < newest)
        matcher_pass(&e->matcher, newest);
    if (e->n_ready <= TURNS_AT_ONCE)
        take_turns(e, true);
}

/* ------------------------------------------------------------------------------------------------ Acknowledge */

/* Waits for its cursor's move to be on disk. */
struct acknowledge {
    struct commit_waiter waiter;
    struct grpc_call *call; /* NULL once it is gone */
    struct cursor_position position;
};

static void acknowledge_reply(struct grpc_call *call, const struct cursor_position *where)
{
    Sensebus__V1__AcknowledgeResponse response = SENSEBUS__V1__ACKNOWLEDGE_RESPONSE__INIT;
    Sensebus__V1__Position position = SENSEBUS__V1__POSITION__INIT;

    position.epoch = where->epoch;
    position.sequence = where->sequence;
    response.position = &position;
    request_reply(call, &response.base);
}

static void on_acknowledge_written(struct commit_waiter *waiter)
{
    struct acknowledge *a = (struct acknowledge *)((char *)waiter - offsetof(struct acknowledge, waiter));
    acknowledge_reply(a->call, &a->position);
}

static void on_acknowledge_close(struct grpc_call *call, void *data, int status, const char *message)
{
    struct acknowledge *a = data;

    (void)call, (void)status, (void)message;
    commit_forget(&a->waiter);
    free(a);
}

/* Store the move and wait for it. */
static void acknowledge_move(struct broker *b, struct grpc_call *call, const char *name,
                             const struct cursor_position *next)
{
    static const struct grpc_call_ops ops = {.on_close = on_acknowledge_close};
    uint8_t value[CURSOR_VALUE_SIZE];
    struct acknowledge *a = calloc(1, sizeof *a);

    cursor_encode(next, value);
    /* In memory first: should the put find no memory, a new try finds the cursor there already and stores it then. */
    int rc = a ? cursor_store_set(&b->cursors, name, next) : UV_ENOMEM;
    if (!rc)
        rc = commit_put(&b->commit, JOURNAL_CURSORS, name, strlen(name), value, sizeof value);
    if (rc) {
        free(a);
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "%s",
                         rc == UV_ENOBUFS ? "too much waits for the disk" : "out of memory");
        return;
    }
    a->call = call;
    a->position = *next;
    a->waiter.cb = on_acknowledge_written;
    grpc_call_accept(call, &ops, a);
    commit_wait(&b->commit, &a->waiter);
}

static void take_acknowledge(struct broker *b, struct grpc_call *call, const Sensebus__V1__AcknowledgeRequest *r)
{
    struct cursor_position next;
    char err[256];

    if (cursor_check_name(r->cursor, err, sizeof err)) {
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "%s", err);
        return;
    }
    if (!r->position) {
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "AcknowledgeRequest.position: is missing");
        return;
    }
    if (!broker_accepting(b)) {
        grpc_call_finish(call, GRPC_UNAVAILABLE, "not accepting: %s", b->not_accepting);
        return;
    }
    next = (struct cursor_position){.epoch = r->position->epoch, .sequence = r->position->sequence};
    switch (cursor_judge(r->cursor, cursor_store_find(&b->cursors, r->cursor), &next, b->journal.epoch,
                         b->journal.newest, b->cursors.by_name.n, err, sizeof err)) {
    case CURSOR_MOVE: /* also when it is there already: the move may still be on its way to the disk */
    case CURSOR_SAME: acknowledge_move(b, call, r->cursor, &next); break;
    case CURSOR_BACKWARDS: grpc_call_finish(call, GRPC_FAILED_PRECONDITION, "%s", err); break;
    case CURSOR_OUT_OF_RANGE: grpc_call_finish(call, GRPC_OUT_OF_RANGE, "%s", err); break;
    case CURSOR_TOO_MANY: grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "%s", err); break;
    }
}

static void on_acknowledge(struct grpc_call *call, void *service, const uint8_t *bytes, size_t len)
{
    struct events *e = service;
    struct ProtobufCMessage *r = request_read(call, &sensebus__v1__acknowledge_request__descriptor, bytes, len);

    if (!r)
        return;
    take_acknowledge(e->broker, call, (Sensebus__V1__AcknowledgeRequest *)r);
    message_free(r);
}

/* ------------------------------------------------------------------------------------------------ GetStatus */

static void on_get_status(struct grpc_call *call, void *service, const uint8_t *bytes, size_t len)
{
    struct events *e = service;
    struct broker *b = e->broker;
    Sensebus__V1__GetStatusResponse *response;
    struct filter *filter = NULL;
    char err[256];
    Sensebus__V1__GetStatusRequest *r =
        (Sensebus__V1__GetStatusRequest *)request_read(call, &sensebus__v1__get_status_request__descriptor, bytes, len);

    if (!r)
        return;
    int rc = filter_new(r->filter, &filter, err, sizeof err);
    if (!rc)
        rc = status_page(&b->status, r, filter, b->journal.epoch, &response, err, sizeof err);
    filter_free(filter);
    message_free((struct ProtobufCMessage *)r);
    if (rc) {
        grpc_call_finish(call, rc == UV_ENOMEM ? GRPC_RESOURCE_EXHAUSTED : GRPC_INVALID_ARGUMENT, "%s",
                         rc == UV_ENOMEM ? "out of memory" : err);
        return;
    }
    request_reply(call, &response->base);
    sensebus__v1__get_status_response__free_unpacked(response, NULL);
}

/* ------------------------------------------------------------------------------------------------ start, stop */

static void start_acknowledge(struct grpc_call *call, void *service)
{
    if (gate_admit(((struct events *)service)->broker, call, GATE_READERS, NULL))
        grpc_unary_accept(call, service, on_acknowledge);
}

static void start_get_status(struct grpc_call *call, void *service)
{
    if (gate_admit(((struct events *)service)->broker, call, GATE_READERS, NULL))
        grpc_unary_accept(call, service, on_get_status);
}

int events_start(struct events *e, struct broker *broker)
{
    static const struct grpc_method methods[] = {
        {"/sensebus.v1.Events/Subscribe", subscription_accept},
        {"/sensebus.v1.Events/Acknowledge", start_acknowledge},
        {"/sensebus.v1.Events/GetStatus", start_get_status},
    };

    uint64_t seed;
    int rc = uv_random(NULL, NULL, &seed, sizeof seed, 0, NULL);

    if (rc)
        return rc;
    e->broker = broker;
    TAILQ_INIT(&e->all);
    TAILQ_INIT(&e->ready);
    LIST_INIT(&e->watching);
    matcher_init(&e->matcher, broker->journal.newest, seed);
    uv_idle_init(broker->loop, &e->turns);
    e->turns.data = e;
    e->turns_open = true;
    return grpc_server_add(broker->server, methods, sizeof methods / sizeof *methods, e);
}

void events_stop(struct events *e)
{
    if (!e->turns_open)
        return;
    assert(TAILQ_EMPTY(&e->all));
    e->turns_open = false;
    matcher_deinit(&e->matcher);
    uv_close((uv_handle_t *)&e->turns, NULL);
}
