/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/service/subscription/start.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "broker/core/filter.h"
#include "broker/service/broker.h"
#include "broker/service/request.h"
#include "broker/service/subscription/follow.h"
#include "broker/service/subscription/newest.h"
#include "broker/service/subscription/snapshot.h"
#include "broker/service/subscription/subscription.h"
#include "proto/message.h"
#include "proto/wire.h"
#include "runtime/clock.h"
#include "sensebus/v1/events.pb-c.h"

#define MARK_MIN_MS 100u
#define MARK_MAX_MS 3600000u

/* A member that is out of its bounds. Returns 0, or UV_EINVAL with the call finished. */
static int check_bounds(struct subscription *s, const Sensebus__V1__SubscribeRequest *r)
{
    char err[160] = "";

    if (r->context.len > SUBSCRIPTION_MAX_CONTEXT)
        snprintf(err, sizeof err, "SubscribeRequest.context: %zu bytes, at most %u", r->context.len,
                 SUBSCRIPTION_MAX_CONTEXT);
    else if (r->mark_interval_ms != 0 && (r->mark_interval_ms < MARK_MIN_MS || r->mark_interval_ms > MARK_MAX_MS))
        snprintf(err, sizeof err, "SubscribeRequest.mark_interval_ms: %u, must be 0 or %u..%u", r->mark_interval_ms,
                 MARK_MIN_MS, MARK_MAX_MS);
    else if (r->start_case == SENSEBUS__V1__SUBSCRIBE_REQUEST__START_LAST &&
             (r->last == 0 || r->last > SUBSCRIPTION_MAX_LAST))
        snprintf(err, sizeof err, "SubscribeRequest.last: %" PRIu64 ", must be 1..%u", r->last, SUBSCRIPTION_MAX_LAST);
    else if (r->snapshot && r->start_case != SENSEBUS__V1__SUBSCRIBE_REQUEST__START__NOT_SET &&
             r->start_case != SENSEBUS__V1__SUBSCRIBE_REQUEST__START_NOW)
        snprintf(err, sizeof err,
                 "SubscribeRequest.snapshot: goes only with start now: it takes the place of the records before");
    else if (r->start_case == SENSEBUS__V1__SUBSCRIBE_REQUEST__START_CURSOR)
        cursor_check_name(r->cursor, err, sizeof err);
    if (!err[0])
        return 0;
    subscription_finish(s, GRPC_INVALID_ARGUMENT, err);
    return UV_EINVAL;
}

static void take_options(struct subscription *s, const Sensebus__V1__SubscribeRequest *r)
{
    switch (r->slow_reader_policy) {
    case SENSEBUS__V1__SLOW_READER_POLICY__SLOW_READER_POLICY_LIVE: s->policy = HUB_LIVE; break;
    case SENSEBUS__V1__SLOW_READER_POLICY__SLOW_READER_POLICY_DISCONNECT: s->policy = HUB_DISCONNECT; break;
    default: s->policy = HUB_LAG; break;
    }
    s->lag_limit = r->lag_limit;
    s->mark_interval_ns = (uint64_t)r->mark_interval_ms * 1000000;
    s->stop_at_newest = r->stop_at_newest;
    if (r->start_case == SENSEBUS__V1__SUBSCRIBE_REQUEST__START_CURSOR)
        snprintf(s->cursor, sizeof s->cursor, "%s", r->cursor);
    if (r->context.len > 0) { /* field 1 of a batch */
        s->correlator[0] = 0x0a;
        s->correlator_len = 1 + varint_write(s->correlator + 1, r->context.len);
        memcpy(s->correlator + s->correlator_len, r->context.data, r->context.len);
        s->correlator_len += r->context.len;
    }
}

static void start_at(struct subscription *s, const struct hub_start *start)
{
    struct hub_log log = subscription_log(s);
    struct hub_gap gap;
    uint64_t cursor;
    char err[256];
    enum hub_start_result result = hub_resolve_start(start, &log, &cursor, &gap, err, sizeof err);

    if (result == HUB_START_OUT_OF_RANGE) {
        subscription_finish(s, GRPC_OUT_OF_RANGE, err);
        return;
    }
    follow_open(s, cursor);
    if (result == HUB_START_GAP && s->state == SUBSCRIPTION_FOLLOW)
        follow_gap(s, &gap, clock_mono_ns());
}

/* The first record whose broker time is not before `since_ns`. */
static void start_since(struct subscription *s, uint64_t since_ns)
{
    uint64_t sequence;
    int rc = journal_find_time(&s->events->broker->journal, since_ns, &sequence);

    if (rc)
        subscription_finish(s, subscription_unreadable_status(s, rc), "cannot read the log");
    else
        follow_open(s, sequence - 1);
}

static void start(struct subscription *s, const Sensebus__V1__SubscribeRequest *r)
{
    struct hub_start where = {.kind = HUB_START_NOW, .resume_at_oldest = r->resume_at_oldest};
    const struct cursor_position *cursor;

    if (r->snapshot) {
        snapshot_start(s);
        return;
    }
    switch (r->start_case) {
    case SENSEBUS__V1__SUBSCRIBE_REQUEST__START_LAST: newest_start(s, r->last); return;
    case SENSEBUS__V1__SUBSCRIBE_REQUEST__START_SINCE_UNIX_NS: start_since(s, r->since_unix_ns); return;
    case SENSEBUS__V1__SUBSCRIBE_REQUEST__START_OLDEST: where.kind = HUB_START_OLDEST; break;
    case SENSEBUS__V1__SUBSCRIBE_REQUEST__START_POSITION:
        where.kind = HUB_START_POSITION;
        where.epoch = r->position->epoch;
        where.sequence = r->position->sequence;
        break;
    case SENSEBUS__V1__SUBSCRIBE_REQUEST__START_CURSOR:
        cursor = cursor_store_find(&s->events->broker->cursors, r->cursor);
        where.kind = cursor ? HUB_START_POSITION : HUB_START_OLDEST;
        if (cursor) {
            where.epoch = cursor->epoch;
            where.sequence = cursor->sequence;
        }
        break;
    default: break;
    }
    start_at(s, &where);
}

void start_subscription(struct subscription *s, const uint8_t *bytes, size_t len)
{
    struct filter *filter;
    char err[256];
    Sensebus__V1__SubscribeRequest *r = (Sensebus__V1__SubscribeRequest *)request_read(
        s->call, &sensebus__v1__subscribe_request__descriptor, bytes, len);
    if (!r) {
        s->state = SUBSCRIPTION_OVER;
        return;
    }
    if (check_bounds(s, r) == 0) {
        int rc = filter_new(r->filter, &filter, err, sizeof err);
        if (rc)
            subscription_finish(s, rc == UV_ENOMEM ? GRPC_RESOURCE_EXHAUSTED : GRPC_INVALID_ARGUMENT,
                                rc == UV_ENOMEM ? "out of memory" : err);
        else if ((rc = matcher_join(&s->events->matcher, filter, &s->matcher)))
            subscription_finish(s, GRPC_RESOURCE_EXHAUSTED,
                                rc == UV_ENOBUFS
                                    ? "SubscribeRequest.filter: the filters of all subscriptions take too much memory"
                                    : "out of memory");
    }
    if (s->state == SUBSCRIPTION_NEW) {
        take_options(s, r);
        start(s, r);
        log_debug("subscription.opened", "id=s%" PRIu64 " peer=%s", s->id, grpc_call_peer(s->call));
    }
    message_free((struct ProtobufCMessage *)r);
}
