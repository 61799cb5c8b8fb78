/* SPDX-License-Identifier: Apache-2.0 */
/* What an agent publishes, event by event:
 *
 *   scanned, unless one like it was                  no: refused, and an EVENTS_LOST record takes its place
 *   its origin compared with the stream's            the same
 *   its number judged by dedupe                      a repeat is dropped; a hole becomes an EVENTS_LOST record first
 *   appended to the open transaction                 and acknowledged when that is on disk */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/service/adapter.h"
#include "broker/service/agent_session.h"
#include "broker/service/announce.h"
#include "broker/service/broker.h"
#include "proto/event_view.h"
#include "proto/registry.h"
#include "proto/wire.h"
#include "runtime/clock.h"

#define EVENT_FIELD_ORIGIN           8u
#define ORIGIN_FIELD_SOURCE_SEQUENCE 5u

/* origin.source_sequence of an event that was refused by its scan; `otherwise` when even that cannot be read. */
static uint64_t peek_source_sequence(const uint8_t *event, size_t len, uint64_t otherwise)
{
    const uint8_t *p = event, *end = event + len;
    struct wire_field field, inner;

    while (p && p < end && (p = wire_field_read(p, end, &field))) {
        if (field.number != EVENT_FIELD_ORIGIN || field.type != WIRE_BYTES)
            continue;
        const uint8_t *q = field.bytes, *q_end = field.bytes + field.len;
        while (q && q < q_end && (q = wire_field_read(q, q_end, &inner)))
            if (inner.number == ORIGIN_FIELD_SOURCE_SEQUENCE && inner.type == WIRE_VARINT && inner.value > 0)
                return inner.value;
    }
    return otherwise;
}

/* What the scan does not know: the event must be this agent's own. */
static int check_origin(const struct agent_session *s, const struct event_view *view, char *err, size_t err_len)
{
    if (view->host.len != strlen(s->agent->host) || memcmp(view->host.ptr, s->agent->host, view->host.len) != 0) {
        snprintf(err, err_len, "origin.host: is not %s, the agent of this stream", s->agent->host);
        return UV_EINVAL;
    }
    if (view->agent_epoch != s->epoch) {
        snprintf(err, err_len, "origin.agent_epoch: is %016" PRIx64 ", this stream's is %016" PRIx64, view->agent_epoch,
                 s->epoch);
        return UV_EINVAL;
    }
    if (view->source == SENSEBUS__V1__SOURCE__SOURCE_BROKER ||
        view->source == SENSEBUS__V1__SOURCE__SOURCE_SUBSCRIBER) {
        snprintf(err, err_len, "origin.source: %s is the broker's own",
                 view->source == SENSEBUS__V1__SOURCE__SOURCE_BROKER ? "SOURCE_BROKER" : "SOURCE_SUBSCRIBER");
        return UV_EINVAL;
    }
    return 0;
}

/* What only the broker knows: from an agent it would end somebody's registration, or an agent, in the eyes of whoever
 * reads it. */
static int check_code(const struct event_view *view, char *err, size_t err_len)
{
    switch (view->code) {
    case SENSEBUS__V1__CODE__AGENT_CONNECTED:
    case SENSEBUS__V1__CODE__AGENT_LOST:
    case SENSEBUS__V1__CODE__REGISTRATION_CANCELLED:
    case SENSEBUS__V1__CODE__BROKER_STOPPING:
        snprintf(err, err_len, "code: %s is the broker's own", registry_find(view->code)->name);
        return UV_EINVAL;
    default: return 0;
    }
}

static int tell_hole(struct agent_session *s, const struct dedupe_hole *hole)
{
    struct announce_loss loss = {
        .count = hole->n_missing,
        .first = hole->first,
        .last = hole->last,
        .reason = "a hole in the agent's source sequence",
    };
    int rc = announce_loss(s->broker, s->agent->host, &loss);
    if (!rc) {
        s->broker->counters.n_holes += hole->n_missing;
        uint64_t n_suppressed;
        if (log_limit_allow(&s->log_limit, clock_mono_ns() / 1000000, 10, &n_suppressed))
            log_warn("agent.hole", "host=%s first=%" PRIu64 " last=%" PRIu64 " more_before=%" PRIu64, s->agent->host,
                     hole->first, hole->last, n_suppressed);
        dedupe_take(s->source->dedupe, hole->last);
    }
    return rc;
}

/* Not taken: say so to the agent and, in its place, to the log. */
static int refuse(struct agent_session *s, uint64_t previous, uint64_t sequence, const char *reason)
{
    struct dedupe_claim claim = {.sequence = sequence};
    struct dedupe_hole hole;
    const char *fault;
    enum dedupe_verdict verdict = dedupe_judge(s->source->dedupe, previous, &claim, &hole, &fault);
    uint64_t n_suppressed;
    int rc = 0;

    if (verdict == DEDUPE_REPEAT) { /* refused before, and replaced in the log */
        s->agent->n_duplicates++;
        s->broker->counters.n_duplicates++;
        return 0;
    }
    s->agent->n_refused++;
    s->broker->counters.n_refused++;
    if (log_limit_allow(&s->log_limit, clock_mono_ns() / 1000000, 10, &n_suppressed))
        log_warn("agent.event_refused", "host=%s source_sequence=%" PRIu64 " reason=\"%s\" more_before=%" PRIu64,
                 s->agent->host, sequence, reason, n_suppressed);
    if (verdict == DEDUPE_HOLE)
        rc = tell_hole(s, &hole);
    if (rc)
        return rc;
    bool placed = verdict != DEDUPE_INVALID;
    struct announce_loss loss = {.count = 1, .reason = reason};
    if (placed)
        loss.first = loss.last = sequence;
    rc = announce_loss(s->broker, s->agent->host, &loss);
    if (rc)
        return rc;
    if (placed)
        dedupe_take(s->source->dedupe, sequence);

    Sensebus__V1__BrokerMessage message = SENSEBUS__V1__BROKER_MESSAGE__INIT;
    Sensebus__V1__Refused refused = SENSEBUS__V1__REFUSED__INIT;
    refused.source_sequence = sequence;
    refused.reason = (char *)reason;
    message.message_case = SENSEBUS__V1__BROKER_MESSAGE__MESSAGE_REFUSED;
    message.refused = &refused;
    return session_send(s, &message);
}

/* Into the open transaction. What belongs to an open session gets its generation (semantics.md rule 2); what belongs to
 * none any more stays without, and reaches nobody's session. */
static int append(struct agent_session *s, const struct event_view *view, uint64_t now_ns, uint64_t *out_sequence)
{
    uint64_t generation = 0;
    uint32_t bits = event_aix_bits(view);

    if (view->session_id.len > 0)
        generation = adapter_service_generation(s->agents->adapter, view->host, view->session_id);
    if (generation == 0)
        return commit_append(&s->broker->commit, view->bytes, view->len, now_ns, bits, out_sequence);
    uint8_t *tagged = malloc(view->len + EVENT_GENERATION_BYTES);
    if (!tagged)
        return UV_ENOMEM;
    size_t len = event_write_generation(tagged, view->bytes, view->len, generation);
    int rc = commit_append(&s->broker->commit, tagged, len, now_ns, bits, out_sequence);
    free(tagged);
    return rc;
}

/* What the event says. If it is not known it is scanned into `room`, which *out_seen borrows then, without key or
 * id. */
static int see(struct known_events *known, const uint8_t *event, size_t len, struct event_view *room,
               struct known_event_match *out_seen, char *err, size_t err_len)
{
    static const struct event_limits limits = {.max_event_bytes = EVENT_MAX_BYTES};

    if (known_events_find(known, event, len, out_seen))
        return 0;
    *out_seen = (struct known_event_match){.view = room};
    int rc = event_scan(event, len, &limits, room, err, err_len);
    if (!rc)
        known_events_keep(known, room);
    return rc;
}

/* What the status needs of it once it is committed, unless sessions need all of it. */
static void note(struct agent_session *s, const struct known_event_match *seen, uint64_t sequence)
{
    if (adapter_service_listens(s->agents->adapter))
        return;
    if (seen->key_len > 0)
        status_notes_add_known(&s->broker->notes, seen->view, seen->key, seen->key_len, sequence);
    else
        status_notes_add(&s->broker->notes, seen->view, sequence);
}

/* The next one follows this number, unless it cannot be a number: those behind a bad event go on. */
static void pass(struct agent_session *s, uint64_t sequence, uint64_t *previous)
{
    if (sequence > INT64_MAX)
        return;
    *previous = sequence;
    s->expected = sequence + 1;
}

/* One event of a Publish. *previous is the source sequence of the one before it in the message. Returns 0, or a
 * negative errno when the event was not taken for want of room: the stream has to end. */
static int take_event(struct agent_session *s, const uint8_t *event, size_t len, uint64_t now_ns, uint64_t *previous)
{
    struct event_view room;
    struct known_event_match seen;
    struct dedupe_hole hole;
    const char *fault;
    char err[REASON_MAX];
    uint64_t sequence;

    int rc = see(&s->broker->known, event, len, &room, &seen, err, sizeof err);
    const struct event_view *view = seen.view;
    if (rc || check_origin(s, view, err, sizeof err) || check_code(view, err, sizeof err)) {
        sequence = peek_source_sequence(event, len, s->expected);
        rc = refuse(s, *previous, sequence, err);
        pass(s, sequence, previous);
        return rc;
    }
    struct dedupe_claim claim = {.sequence = view->source_sequence};
    if (view->code == SENSEBUS__V1__CODE__EVENTS_LOST && view->loss.present) {
        claim.loss_first = view->loss.first_source_sequence;
        claim.loss_last = view->loss.last_source_sequence;
    }
    switch (dedupe_judge(s->source->dedupe, *previous, &claim, &hole, &fault)) {
    case DEDUPE_INVALID: rc = refuse(s, *previous, view->source_sequence, fault); break;
    case DEDUPE_REPEAT:
        s->agent->n_duplicates++;
        s->broker->counters.n_duplicates++;
        break;
    case DEDUPE_HOLE:
        rc = tell_hole(s, &hole);
        if (rc)
            break;
        __attribute__((fallthrough));
    case DEDUPE_FRESH:
        rc = append(s, view, now_ns, &sequence);
        if (rc)
            break;
        note(s, &seen, sequence);
        events_on_accepted(&s->broker->events, view, seen.id, sequence);
        dedupe_take(s->source->dedupe, view->source_sequence);
        s->agent->n_events++;
        s->agent->last_event_unix_ns = now_ns;
        s->broker->counters.n_events++;
        break;
    }
    pass(s, view->source_sequence, previous);
    return rc;
}

void publish_take(struct agent_session *s, const uint8_t *bytes, size_t len)
{
    const uint8_t *cursor = bytes, *end = bytes + len, *event;
    uint64_t previous = 0, now_ns = clock_wall_ns();
    size_t event_len;

    if (len > PUBLISH_MAX_BYTES) {
        session_fail(s, GRPC_RESOURCE_EXHAUSTED, "publish: %zu bytes, at most %u", len, PUBLISH_MAX_BYTES);
        return;
    }
    while (records_next(&cursor, end, &event, &event_len)) {
        int rc = take_event(s, event, event_len, now_ns, &previous);
        if (rc) { /* nothing is lost: the agent sends again what was not acknowledged */
            session_fail(s, GRPC_RESOURCE_EXHAUSTED, "publish: cannot take more now: %s", uv_strerror(rc));
            return;
        }
    }
    if (cursor < end) {
        session_fail(s, GRPC_INVALID_ARGUMENT, "publish: not a list of events at byte %zu", (size_t)(cursor - bytes));
        return;
    }
    operations_records_taken(s);
    if (s->state != SESSION_ATTACHED)
        return;
    /* Only repeats: no transaction will follow that brings an acknowledgement. */
    const struct dedupe_agent *d = s->source->dedupe;
    if (d->taken == d->committed)
        session_send_ack(s);
}
