/* SPDX-License-Identifier: Apache-2.0 */
/* Link up -> Subscribe -> Opened -> batches …
 *   the call ends with UNAVAILABLE: the channel is about to fall (on_link_up subscribes again), or the broker wants us
 * to come back later (the timer subscribes again); any other status: over. The request of a resumed stream is the first
 * one with its start replaced by the position, and without the snapshot. Until a snapshot is complete it is the first
 * one unchanged: nothing was handed on that it could follow, and the broker gives a snapshot only with the start `now`.
 */
#include "clients/c/subscription.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "clients/c/batch.h"
#include "clients/c/request.h"
#include "proto/event_view.h"
#include "sensebus/v1/events.pb-c.h"

#define PATH            "/sensebus.v1.Events/Subscribe"
#define RETRY_MS        500
#define MAX_EVENT_BYTES (65536 + 64) /* what an agent may send, and the broker's fields */

struct subscription {
    Sensebus__V1__SubscribeRequest *request;
    const struct subscription_ops *ops;
    void *data;
    struct link *link;
    struct grpc_call *call;
    uv_timer_t retry; /* runs while a call ended that should be started again */
    unsigned n_open;  /* of timer and call: memory is freed at zero */
    bool closed, ended;

    bool opened;        /* ever: epoch and sequence are known */
    bool stream_opened; /* this stream */
    bool in_snapshot, snapshot_done;
    bool expects_gap; /* the stream began behind the position: only a Gap may come next */
    uint64_t epoch, sequence;
};

/* ------------------------------------------------------------------------------------------------ memory */

static void release(struct subscription *s)
{
    if (--s->n_open > 0)
        return;
    sensebus__v1__subscribe_request__free_unpacked(s->request, NULL);
    free(s);
}

static void on_timer_closed(uv_handle_t *handle)
{
    release(handle->data);
}

void subscription_close(struct subscription *s)
{
    if (!s || s->closed)
        return;
    s->closed = true;
    link_close(s->link);
    s->link = NULL;
    uv_close((uv_handle_t *)&s->retry, on_timer_closed);
}

/* ------------------------------------------------------------------------------------------------ members of a batch
 */

__attribute__((format(printf, 2, 3))) static void fault(struct subscription *s, const char *format, ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    s->ops->on_fault(s->data, text);
}

static void end(struct subscription *s, int status, const char *message)
{
    if (s->ended)
        return;
    s->ended = true;
    if (s->call)
        grpc_call_cancel(s->call);
    s->ops->on_end(s->data, status, message);
}

/* Nothing more is to be handed on. */
static bool is_over(const struct subscription *s)
{
    return s->closed || s->ended;
}

static void advance(struct subscription *s, const Sensebus__V1__Position *p, const char *what)
{
    if (!p || p->epoch != s->epoch)
        fault(s, "%s without a position of this log", what);
    else if (p->sequence < s->sequence)
        fault(s, "%s at #%" PRIu64 " after #%" PRIu64, what, p->sequence, s->sequence);
    else
        s->sequence = p->sequence;
}

/* After a resume at a later place than asked, records are missing; a Gap must have said so before anything else. */
static void check_hole(struct subscription *s)
{
    if (!s->expects_gap)
        return;
    s->expects_gap = false;
    fault(s, "the broker resumed later than asked, without a gap: records may be missing");
}

/* Is there something to go on from? */
static bool goes_on(const struct subscription *s)
{
    return s->opened && (!s->request->snapshot || s->snapshot_done);
}

static void on_opened(struct subscription *s, const Sensebus__V1__Opened *opened)
{
    const Sensebus__V1__Position *p = opened->position;
    if (!p) {
        end(s, GRPC_INTERNAL, "the broker opened the stream without a position");
        return;
    }
    bool resumed = s->opened, follows = goes_on(s);
    if (follows && p->epoch != s->epoch) {
        end(s, GRPC_OUT_OF_RANGE, "the broker's log is another one than before: its positions mean something else");
        return;
    }
    s->stream_opened = true;
    s->expects_gap = follows && p->sequence > s->sequence;
    if (!follows) {
        s->opened = true;
        s->epoch = p->epoch;
        s->sequence = p->sequence;
    }
    s->ops->on_opened(s->data, opened, resumed);
}

static void on_event_bytes(struct subscription *s, const uint8_t *bytes, size_t len)
{
    const struct event_limits limits = {.max_event_bytes = MAX_EVENT_BYTES, .allow_broker_fields = true};
    struct event_view view;
    char why[160];
    if (event_scan(bytes, len, &limits, &view, why, sizeof why) < 0) {
        fault(s, "an event that does not decode was left out: %s", why);
        return;
    }
    if (!s->in_snapshot) {
        check_hole(s);
        if (is_over(s))
            return;
        if (view.sequence <= s->sequence) {
            fault(s, "event #%" PRIu64 " came after #%" PRIu64 " and was left out", view.sequence, s->sequence);
            return;
        }
    }
    ProtobufCMessage *event = message_unpack(&sensebus__v1__event__descriptor, bytes, len, 0);
    if (!event) {
        fault(s, "event #%" PRIu64 " was left out: out of memory", view.sequence);
        return;
    }
    if (!s->in_snapshot)
        s->sequence = view.sequence;
    s->ops->on_event(s->data, (const Sensebus__V1__Event *)event);
    message_free(event);
}

static void on_gap(struct subscription *s, const Sensebus__V1__Gap *gap)
{
    s->expects_gap = false;
    if (gap->to)
        advance(s, gap->to, "a gap");
    if (!is_over(s))
        s->ops->on_gap(s->data, gap);
}

static void on_snapshot_begin(struct subscription *s, const Sensebus__V1__SnapshotBegin *begin)
{
    s->in_snapshot = true;
    if (begin->position)
        s->ops->on_snapshot_begin(s->data, begin->position);
}

static void on_synced(struct subscription *s, const Sensebus__V1__Synced *synced)
{
    if (s->in_snapshot)
        s->snapshot_done = true;
    s->in_snapshot = false;
    advance(s, synced->position, "a synced");
    if (!is_over(s) && synced->position)
        s->ops->on_synced(s->data, synced->position);
}

static void on_control(struct subscription *s, enum batch_member member, const ProtobufCMessage *m)
{
    switch (member) {
    case BATCH_GAP: on_gap(s, (const Sensebus__V1__Gap *)m); break;
    case BATCH_OPENED: on_opened(s, (const Sensebus__V1__Opened *)m); break;
    case BATCH_SNAPSHOT_BEGIN: on_snapshot_begin(s, (const Sensebus__V1__SnapshotBegin *)m); break;
    case BATCH_SYNCED: on_synced(s, (const Sensebus__V1__Synced *)m); break;
    case BATCH_MARK: advance(s, ((const Sensebus__V1__Mark *)m)->position, "a mark"); break;
    case BATCH_CLOSED: advance(s, ((const Sensebus__V1__Closed *)m)->position, "a closed"); break;
    case BATCH_CORRELATOR:
    case BATCH_EVENT: break;
    }
}

static void on_control_bytes(struct subscription *s, enum batch_member member, const uint8_t *bytes, size_t len)
{
    static const ProtobufCMessageDescriptor *const types[] = {
        [BATCH_GAP] = &sensebus__v1__gap__descriptor,
        [BATCH_OPENED] = &sensebus__v1__opened__descriptor,
        [BATCH_SNAPSHOT_BEGIN] = &sensebus__v1__snapshot_begin__descriptor,
        [BATCH_SYNCED] = &sensebus__v1__synced__descriptor,
        [BATCH_MARK] = &sensebus__v1__mark__descriptor,
        [BATCH_CLOSED] = &sensebus__v1__closed__descriptor,
    };
    ProtobufCMessage *message = message_unpack(types[member], bytes, len, 0);
    if (!message) {
        end(s, GRPC_INTERNAL, "the broker sent a control message that does not decode");
        return;
    }
    on_control(s, member, message);
    message_free(message);
}

static void on_member(struct subscription *s, enum batch_member member, const uint8_t *bytes, size_t len)
{
    if (member == BATCH_CORRELATOR)
        return;
    if (member != BATCH_OPENED && !s->stream_opened)
        end(s, GRPC_INTERNAL, "the broker began the stream without saying where");
    else if (member == BATCH_EVENT)
        on_event_bytes(s, bytes, len);
    else
        on_control_bytes(s, member, bytes, len);
}

/* ------------------------------------------------------------------------------------------------ call */

static void on_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    (void)call;
    struct subscription *s = data;
    const uint8_t *cursor = bytes, *stop = bytes + len, *member_bytes;
    size_t member_len;
    enum batch_member member;
    enum batch_result result = BATCH_END;
    while (!is_over(s) && (result = batch_next(&cursor, stop, &member, &member_bytes, &member_len)) == BATCH_NEXT)
        on_member(s, member, member_bytes, member_len);
    if (!is_over(s) && result == BATCH_MALFORMED)
        end(s, GRPC_INTERNAL, "the broker sent a batch that does not decode");
    if (!s->closed)
        s->ops->on_batch_end(s->data);
}

static void on_retry(uv_timer_t *timer);

static void on_close(struct grpc_call *call, void *data, int status, const char *message)
{
    (void)call;
    struct subscription *s = data;
    s->call = NULL;
    if (!is_over(s)) {
        if (status == GRPC_UNAVAILABLE) {
            uv_timer_start(&s->retry, on_retry, RETRY_MS, 0);
            s->ops->on_lost(s->data, message, RETRY_MS);
        } else {
            end(s, status, message);
        }
    }
    release(s);
}

static void subscribe(struct subscription *s, struct grpc_channel *channel)
{
    static const struct grpc_call_ops ops = {.on_message = on_message, .on_close = on_close};
    Sensebus__V1__Position position = SENSEBUS__V1__POSITION__INIT;
    Sensebus__V1__SubscribeRequest request = *s->request; /* shares everything with the original */
    if (goes_on(s)) {
        position.epoch = s->epoch;
        position.sequence = s->sequence;
        request.start_case = SENSEBUS__V1__SUBSCRIBE_REQUEST__START_POSITION;
        request.position = &position;
        request.snapshot = false;
        /* What was trimmed in the meantime comes as a Gap; only the first start is refused. */
        request.resume_at_oldest = true;
    }
    s->in_snapshot = s->stream_opened = s->expects_gap = false;
    int rc = request_start(channel, PATH, 0, &request.base, &ops, s, &s->call);
    if (rc == 0) {
        s->n_open++;
        return;
    }
    s->call = NULL;
    uv_timer_start(&s->retry, on_retry, RETRY_MS, 0);
    s->ops->on_lost(s->data, uv_strerror(rc), RETRY_MS);
}

static void on_retry(uv_timer_t *timer)
{
    struct subscription *s = timer->data;
    struct grpc_channel *channel = link_channel(s->link);
    if (channel && !s->call && !s->ended)
        subscribe(s, channel);
}

/* ------------------------------------------------------------------------------------------------ link */

static void on_link_up(struct link *link, void *data)
{
    struct subscription *s = data;
    uv_timer_stop(&s->retry);
    if (!s->call && !s->ended)
        subscribe(s, link_channel(link));
}

static void on_link_down(struct link *link, void *data, const char *reason, uint32_t retry_ms)
{
    (void)link;
    struct subscription *s = data;
    uv_timer_stop(&s->retry);
    if (!s->ended)
        s->ops->on_lost(s->data, reason, retry_ms);
}

/* ------------------------------------------------------------------------------------------------ open */

static Sensebus__V1__SubscribeRequest *copy_request(const Sensebus__V1__SubscribeRequest *request)
{
    size_t len = sensebus__v1__subscribe_request__get_packed_size(request);
    uint8_t *bytes = malloc(len ? len : 1);
    if (!bytes)
        return NULL;
    sensebus__v1__subscribe_request__pack(request, bytes);
    Sensebus__V1__SubscribeRequest *copy = sensebus__v1__subscribe_request__unpack(NULL, len, bytes);
    free(bytes);
    return copy;
}

int subscription_open(uv_loop_t *loop, const struct link_options *link_options,
                      const Sensebus__V1__SubscribeRequest *request, const struct subscription_ops *ops, void *data,
                      struct subscription **out_subscription)
{
    static const struct link_ops link_ops = {.on_up = on_link_up, .on_down = on_link_down};
    struct subscription *s = calloc(1, sizeof *s);
    if (!s)
        return UV_ENOMEM;
    s->request = copy_request(request);
    if (!s->request) {
        free(s);
        return UV_ENOMEM;
    }
    s->ops = ops;
    s->data = data;
    s->n_open = 1;
    uv_timer_init(loop, &s->retry);
    s->retry.data = s;
    int rc = link_open(loop, link_options, &link_ops, s, &s->link);
    if (rc < 0) {
        subscription_close(s);
        return rc;
    }
    *out_subscription = s;
    return 0;
}

bool subscription_position(const struct subscription *s, uint64_t *out_epoch, uint64_t *out_sequence)
{
    if (!s->opened)
        return false;
    *out_epoch = s->epoch;
    *out_sequence = s->sequence;
    return true;
}
