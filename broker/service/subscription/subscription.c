/* SPDX-License-Identifier: Apache-2.0 */
/* A turn:
 *
 *   SCAN      read backwards until enough matches are found (or the log ends), then open
 *   SNAPSHOT  send kept records in sequence order, then Synced, then follow from the snapshot's position
 *   FOLLOW    ask hub_next and do what it says: read and send, announce a gap, say Synced, end
 *
 * A turn ends when its share is used up (another turn is asked for), when the call's queue is full (on_writable asks
 * for one), or when there is nothing to do (the next commit or the timer asks for one). */
#include "broker/service/subscription/subscription.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/service/broker.h"
#include "broker/service/gate.h"
#include "broker/service/subscription/batch.h"
#include "broker/service/subscription/follow.h"
#include "broker/service/subscription/newest.h"
#include "broker/service/subscription/snapshot.h"
#include "broker/service/subscription/start.h"
#include "runtime/clock.h"
#include "sensebus/v1/events.pb-c.h"

#define TURN_BYTES      (240u * 1024)
#define SCAN_TURN_BYTES (1024u * 1024)

struct hub_log subscription_log(const struct subscription *s)
{
    const struct journal *j = &s->events->broker->journal;
    return (struct hub_log){.epoch = j->epoch, .oldest = j->oldest, .newest = j->newest};
}

/* ------------------------------------------------------------------------------------------------ waiting */

void subscription_wait(struct subscription *s, enum subscription_waiting what)
{
    if (s->wait != SUBSCRIPTION_WAITS_NOT)
        return;
    s->wait = what;
    if (what == SUBSCRIPTION_WAITS_FOR_MATCH)
        LIST_INSERT_HEAD(&s->matcher->idle, s, waiting);
    else
        LIST_INSERT_HEAD(&s->events->watching, s, waiting);
}

void subscription_wake(struct subscription *s, uint64_t looked)
{
    if (s->wait == SUBSCRIPTION_WAITS_NOT)
        return;
    LIST_REMOVE(s, waiting);
    if (s->wait == SUBSCRIPTION_WAITS_FOR_MATCH)
        hub_looked(&s->reader, looked, false, 0);
    s->wait = SUBSCRIPTION_WAITS_NOT;
}

uint64_t subscription_cursor(const struct subscription *s)
{
    return s->wait == SUBSCRIPTION_WAITS_FOR_MATCH ? s->events->matcher.through : s->reader.cursor;
}

/* ------------------------------------------------------------------------------------------------ the end */

void subscription_finish(struct subscription *s, int status, const char *reason)
{
    s->state = SUBSCRIPTION_OVER;
    grpc_call_finish(s->call, status, "%s", reason);
}

void subscription_send_failed(struct subscription *s, int rc)
{
    if (rc != UV_ECANCELED)
        subscription_finish(s, GRPC_RESOURCE_EXHAUSTED, uv_strerror(rc));
    s->state = SUBSCRIPTION_OVER;
}

void subscription_end(struct subscription *s, int status, const char *reason)
{
    Sensebus__V1__EventBatch batch = SENSEBUS__V1__EVENT_BATCH__INIT;
    Sensebus__V1__Closed closed = SENSEBUS__V1__CLOSED__INIT;
    Sensebus__V1__Position position;
    char message[256];

    if (s->state == SUBSCRIPTION_OVER)
        return;
    if (s->state != SUBSCRIPTION_FOLLOW) { /* nothing was delivered that could be resumed */
        subscription_finish(s, status, reason);
        return;
    }
    batch_position(&position, s, subscription_cursor(s));
    closed.position = &position;
    closed.reason = (char *)reason;
    batch.closed = &closed;
    if (batch_control(s, &batch))
        return;
    snprintf(message, sizeof message, "%s; resume from %016" PRIx64 ":%" PRIu64, reason, position.epoch,
             position.sequence);
    subscription_finish(s, status, message);
}

int subscription_unreadable_status(struct subscription *s, int rc)
{
    if (rc == UV_ENOMEM)
        return GRPC_RESOURCE_EXHAUSTED;
    if (log_limit_allow(&s->events->damaged_limit, clock_mono_ns() / 1000000, 10, NULL))
        log_error("log.unreadable", "reason=\"%s\" subscription=s%" PRIu64 " behind=%" PRIu64, uv_strerror(rc), s->id,
                  s->reader.cursor);
    return GRPC_DATA_LOSS;
}

/* ------------------------------------------------------------------------------------------------ turns */

void subscription_turn(struct subscription *s)
{
    size_t used = 0;

    subscription_wake(s, s->events->matcher.through);
    while (s->state != SUBSCRIPTION_OVER) {
        if (!grpc_call_writable(s->call)) {
            follow_blocked(s);
            return;
        }
        if (used >= (s->state == SUBSCRIPTION_SCAN ? SCAN_TURN_BYTES : TURN_BYTES)) {
            subscription_ready(s);
            return;
        }
        switch (s->state) {
        case SUBSCRIPTION_SCAN: used += newest_step(s); break;
        case SUBSCRIPTION_SNAPSHOT: used += snapshot_step(s); break;
        case SUBSCRIPTION_FOLLOW:
            if (!follow_step(s, &used))
                return;
            break;
        case SUBSCRIPTION_NEW:
        case SUBSCRIPTION_OVER: return;
        }
    }
}

/* ------------------------------------------------------------------------------------------------ the call */

static void on_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct subscription *s = data;

    (void)call;
    if (s->state == SUBSCRIPTION_OVER)
        return;
    if (s->state != SUBSCRIPTION_NEW) {
        subscription_finish(s, GRPC_INVALID_ARGUMENT, "Subscribe: takes one request");
        return;
    }
    start_subscription(s, bytes, len);
    if (s->state != SUBSCRIPTION_OVER)
        subscription_ready(s);
}

static void on_half_close(struct grpc_call *call, void *data)
{
    struct subscription *s = data;

    (void)call;
    if (s->state == SUBSCRIPTION_NEW)
        subscription_finish(s, GRPC_INVALID_ARGUMENT, "Subscribe: takes one request");
}

static void on_writable(struct grpc_call *call, void *data)
{
    (void)call;
    subscription_ready(data);
}

static void on_drain(struct grpc_call *call, void *data)
{
    (void)call;
    subscription_end(data, GRPC_UNAVAILABLE, "the broker is stopping");
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_close(struct grpc_call *call, void *data, int status, const char *message)
{
    struct subscription *s = data;

    (void)call;
    log_debug("subscription.closed", "id=s%" PRIu64 " status=%s reason=\"%s\" delivered=%" PRIu64, s->id,
              grpc_status_name(status), message, s->n_delivered);
    s->state = SUBSCRIPTION_OVER;
    s->call = NULL;
    snapshot_free(s);
    subscription_wake(s, 0);
    if (s->matcher)
        matcher_leave(s->matcher);
    if (s->is_ready) {
        TAILQ_REMOVE(&s->events->ready, s, ready);
        s->events->n_ready--;
    }
    TAILQ_REMOVE(&s->events->all, s, all);
    s->events->n_all--;
    reader_accounts_leave(&s->events->broker->readers, s->account);
    uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}

void subscription_accept(struct grpc_call *call, void *service)
{
    static const struct grpc_call_ops ops = {
        .on_message = on_message,
        .on_half_close = on_half_close,
        .on_writable = on_writable,
        .on_drain = on_drain,
        .on_close = on_close,
    };
    struct events *e = service;
    struct access_principal principal;
    struct reader_account *account;
    char err[ACCESS_MAX_PRINCIPAL + 200];

    if (!gate_admit(e->broker, call, GATE_READERS, &principal))
        return;
    if (e->n_all >= EVENTS_MAX_SUBSCRIPTIONS) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "%u subscriptions are open, no more are taken",
                         EVENTS_MAX_SUBSCRIPTIONS);
        return;
    }
    if (reader_accounts_enter(&e->broker->readers, principal.name, &account, err, sizeof err)) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "%s", err);
        return;
    }
    struct subscription *s = calloc(1, sizeof *s);
    if (!s) {
        reader_accounts_leave(&e->broker->readers, account);
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    s->events = e;
    s->call = call;
    s->account = account;
    s->id = ++e->next_id;
    s->since_unix_ns = clock_wall_ns();
    uv_timer_init(e->broker->loop, &s->timer);
    s->timer.data = s;
    TAILQ_INSERT_TAIL(&e->all, s, all);
    e->n_all++;
    grpc_call_accept(call, &ops, s);
    grpc_call_share(call, &account->budget);
    grpc_call_set_patient(call);
}
