/* SPDX-License-Identifier: Apache-2.0 */
/* A turn:
 *
 *   SCAN      read backwards until enough matches are found (or the log ends), then open
 *   SNAPSHOT  send kept records in sequence order, then Synced, then follow from the snapshot's position
 *   FOLLOW    ask hub_next and do what it says: read and send, announce a gap, say Synced, end
 *
 * A turn ends when its share is used up (another turn is asked for), when the call's queue is full (on_writable asks
 * for one), or when there is nothing to do (the next commit or the timer asks for one). */
#include "broker/service/subscription.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/filter.h"
#include "broker/service/batch.h"
#include "broker/service/broker.h"
#include "broker/service/gate.h"
#include "broker/service/request.h"
#include "proto/message.h"
#include "proto/wire.h"
#include "runtime/clock.h"
#include "sensebus/v1/events.pb-c.h"

#define BATCH_BYTES     (64u * 1024)
#define TURN_BYTES      (256u * 1024)
#define SCAN_TURN_BYTES (1024u * 1024)
#define MARK_MIN_MS     100u
#define MARK_MAX_MS     3600000u

/* Records of a snapshot, in sequence order; each is held. */
struct snapshot_record {
    uint64_t sequence;
    struct chunk *bytes;
};
struct snapshot {
    uint64_t through;
    size_t n, cap, next;
    size_t bytes; /* as counted in events->snapshot_bytes */
    struct snapshot_record *records;
};

static struct broker *broker_of(const struct subscription *s)
{
    return s->events->broker;
}

static struct hub_log log_of(const struct subscription *s)
{
    const struct journal *j = &broker_of(s)->journal;
    return (struct hub_log){.epoch = j->epoch, .oldest = j->oldest, .newest = j->newest};
}

/* ------------------------------------------------------------------------------------------------ waiting */

static void wait_for(struct subscription *s, enum subscription_wait what)
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

static void finish(struct subscription *s, int status, const char *reason)
{
    s->state = SUBSCRIPTION_OVER;
    grpc_call_finish(s->call, status, "%s", reason);
}

/* A batch that could not be queued: the call is over anyway, or memory is out. */
void subscription_send_failed(struct subscription *s, int rc)
{
    if (rc != UV_ECANCELED)
        finish(s, GRPC_RESOURCE_EXHAUSTED, uv_strerror(rc));
    s->state = SUBSCRIPTION_OVER;
}

/* Last words, with the place to go on from. */
static void end(struct subscription *s, int status, const char *reason)
{
    Sensebus__V1__EventBatch batch = SENSEBUS__V1__EVENT_BATCH__INIT;
    Sensebus__V1__Closed closed = SENSEBUS__V1__CLOSED__INIT;
    Sensebus__V1__Position position;
    char message[256];

    if (s->state == SUBSCRIPTION_OVER)
        return;
    if (s->state != SUBSCRIPTION_FOLLOW) { /* nothing was delivered that could be resumed */
        finish(s, status, reason);
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
    finish(s, status, message);
}

/* The log cannot be read at all, which is worse than a damaged range: with what status does the call end? */
static int unreadable_status(struct subscription *s, int rc)
{
    if (rc == UV_ENOMEM)
        return GRPC_RESOURCE_EXHAUSTED;
    if (log_limit_allow(&s->events->damaged_limit, clock_mono_ns() / 1000000, 10, NULL))
        log_error("log.unreadable", "reason=\"%s\" subscription=s%" PRIu64 " behind=%" PRIu64, uv_strerror(rc), s->id,
                  s->reader.cursor);
    return GRPC_DATA_LOSS;
}

/* ------------------------------------------------------------------------------------------------ snapshot */

static int by_sequence(const void *a, const void *b)
{
    const struct snapshot_record *x = a, *y = b;
    return x->sequence < y->sequence ? -1 : x->sequence > y->sequence;
}

static bool record_matches(const struct subscription *s, const struct chunk *record)
{
    struct journal_run run = {.bytes = record->bytes, .len = record->len};
    return filter_matches_all(s->matcher->filter) || matcher_nth(s->matcher, &run, 0) != 0;
}

static void snapshot_free(struct subscription *s)
{
    struct snapshot *snapshot = s->snapshot;

    if (!snapshot)
        return;
    for (size_t i = snapshot->next; i < snapshot->n; i++)
        chunk_unref(snapshot->records[i].bytes);
    s->events->snapshot_bytes -= snapshot->bytes;
    free(snapshot->records);
    free(snapshot);
    s->snapshot = NULL;
}

static int snapshot_add(struct subscription *s, const struct status_last *last)
{
    struct snapshot *snapshot = s->snapshot;
    size_t bytes = sizeof *snapshot->records + last->record->len;

    if (s->events->snapshot_bytes + bytes > EVENTS_MAX_SNAPSHOT_BYTES)
        return UV_ENOBUFS;
    if (snapshot->n == snapshot->cap) {
        size_t cap = snapshot->cap ? 2 * snapshot->cap : 64;
        struct snapshot_record *records = realloc(snapshot->records, cap * sizeof *records);
        if (!records)
            return UV_ENOMEM;
        snapshot->records = records;
        snapshot->cap = cap;
    }
    snapshot->records[snapshot->n++] =
        (struct snapshot_record){.sequence = last->sequence, .bytes = chunk_ref(last->record)};
    snapshot->bytes += bytes;
    s->events->snapshot_bytes += bytes;
    return 0;
}

/* Hold every kept record that matches. On failure what was taken stays until snapshot_free. */
static int snapshot_take(struct subscription *s)
{
    const struct status *status = &broker_of(s)->status;
    const struct status_device *device;
    int rc = 0;

    s->snapshot = calloc(1, sizeof *s->snapshot);
    if (!s->snapshot)
        return UV_ENOMEM;
    s->snapshot->through = status->through;
    for (size_t i = 0; !rc && (device = status_at(status, i)); i++)
        for (size_t k = 0; !rc && k < device->n_last; k++)
            if (record_matches(s, device->last[k].record))
                rc = snapshot_add(s, &device->last[k]);
    if (!rc && s->snapshot->n > 0)
        qsort(s->snapshot->records, s->snapshot->n, sizeof *s->snapshot->records, by_sequence);
    return rc;
}

static void begin_follow(struct subscription *s, uint64_t cursor, bool synced)
{
    struct hub_log log = log_of(s);
    uint64_t now_ns = clock_mono_ns();

    hub_begin(&s->reader, s->policy, s->lag_limit, cursor, &log, now_ns);
    s->reader.synced = synced;
    s->reader.stop_at_newest = s->stop_at_newest;
    s->reader.mark_interval_ns = s->mark_interval_ns;
    s->state = SUBSCRIPTION_FOLLOW;
}

/* One batch of the snapshot, or its end. Returns the bytes sent. */
static size_t snapshot_step(struct subscription *s)
{
    struct snapshot *snapshot = s->snapshot;
    size_t len = 0, n = 0;

    if (snapshot->next == snapshot->n) {
        uint64_t through = snapshot->through;
        snapshot_free(s);
        if (batch_synced(s, through) == 0)
            begin_follow(s, through, true);
        return 0;
    }
    while (snapshot->next + n < snapshot->n) {
        size_t more = snapshot->records[snapshot->next + n].bytes->len;
        if (n > 0 && len + more > BATCH_BYTES)
            break;
        len += more;
        n++;
    }
    struct chunk *chunk = chunk_new(len);
    if (!chunk) {
        end(s, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        struct chunk *record = snapshot->records[snapshot->next++].bytes;
        memcpy(chunk->bytes + chunk->len, record->bytes, record->len);
        chunk->len += record->len;
        chunk_unref(record);
    }
    struct slice slice = {.owner = chunk, .ptr = chunk->bytes, .len = chunk->len};
    s->n_delivered += n;
    broker_of(s)->counters.n_delivered += n;
    batch_records(s, &slice, 1);
    chunk_unref(chunk);
    return len;
}

/* ------------------------------------------------------------------------------------------------ newest N */

static void open_at(struct subscription *s, uint64_t cursor)
{
    if (batch_opened(s, cursor) == 0)
        begin_follow(s, cursor, false);
}

/* Look at one stored value further back. Returns the bytes looked at. */
static size_t scan_step(struct subscription *s)
{
    struct journal *j = &broker_of(s)->journal;
    struct journal_run run;
    uint64_t n;
    uint32_t bits;

    if (s->scan_at < j->oldest || s->scan_at == 0) {
        open_at(s, j->oldest - 1);
        return 0;
    }
    int rc = journal_read_around(j, s->scan_at, &run);
    if (rc == JOURNAL_DAMAGED) {
        s->scan_at = run.first - 1;
        return 0;
    }
    if (rc == JOURNAL_TRIMMED)
        return 0;
    if (rc != JOURNAL_RUN) {
        finish(s, unreadable_status(s, rc), "cannot read the log");
        return 0;
    }
    size_t len = run.len;
    matcher_count(s->matcher, &run, &n, &bits);
    if (s->scan_found + n >= s->scan_wanted) {
        uint64_t first = matcher_nth(s->matcher, &run, s->scan_found + n - s->scan_wanted);
        open_at(s, first - 1);
    } else {
        s->scan_found += n;
        s->scan_at = run.first - 1;
    }
    journal_run_release(&run);
    return len;
}

/* ------------------------------------------------------------------------------------------------ following */

static void skip_begin(struct subscription *s, const struct hub_gap *gap)
{
    s->skip =
        (struct skip){.active = true, .from = gap->from, .to = gap->to, .at = gap->from + 1, .reason = gap->reason};
}

/* Everything is counted: announce it, unless nothing that matches was left out. */
static void skip_end(struct subscription *s, uint64_t now_ns)
{
    const struct skip *skip = &s->skip;
    struct hub_gap gap = {.from = skip->from, .to = skip->to};
    struct gap_content content = {
        .stage = HUB_STAGE_SUBSCRIPTION,
        .from_epoch = broker_of(s)->journal.epoch,
        .from = skip->from,
        .to = skip->to,
        .count = skip->count,
        .at_least = skip->at_least,
        .aix_bits = skip->aix_bits,
        .reason = skip->reason,
    };

    s->skip.active = false;
    if (skip->count == 0 && !skip->at_least)
        hub_looked(&s->reader, skip->to, false, now_ns);
    else if (batch_gap(s, &content) == 0)
        hub_gap_sent(&s->reader, &gap, now_ns);
}

/* Count some more. Returns the bytes looked at. */
static size_t skip_step(struct subscription *s, uint64_t now_ns)
{
    struct journal *j = &broker_of(s)->journal;
    struct skip *skip = &s->skip;
    struct journal_run run;
    uint64_t n;
    uint32_t bits;
    size_t len = 0;

    if (skip->at > skip->to) {
        skip_end(s, now_ns);
        return 0;
    }
    int rc = journal_read(j, skip->at, skip->to, BATCH_BYTES, &run);
    if (rc == JOURNAL_RUN) {
        matcher_count(s->matcher, &run, &n, &bits);
        skip->count += n;
        skip->aix_bits |= bits;
        skip->at = run.last + 1;
        len = run.len;
        journal_run_release(&run);
        return len;
    }
    skip->at_least = true;
    if (rc == JOURNAL_DAMAGED) {
        skip->at = run.last + 1;
    } else if (rc == JOURNAL_TRIMMED) {
        skip->aix_bits |= j->trimmed_bits;
        skip->at = j->oldest;
    } else {
        skip->at = skip->to + 1;
    }
    return 0;
}

static void follow_gap(struct subscription *s, const struct hub_gap *gap, uint64_t now_ns)
{
    struct gap_content content = {
        .stage = gap->stage,
        .from_epoch = gap->from_epoch,
        .from = gap->from,
        .to = gap->to,
        .count = gap->count,
        .at_least = gap->count == 0 || !filter_matches_all(s->matcher->filter),
        .aix_bits = broker_of(s)->journal.trimmed_bits,
        .reason = gap->reason,
    };
    if (gap->stage == HUB_STAGE_SUBSCRIPTION)
        skip_begin(s, gap);
    else if (batch_gap(s, &content) == 0)
        hub_gap_sent(&s->reader, gap, now_ns);
}

static void follow_damaged(struct subscription *s, const struct journal_run *damage, uint64_t now_ns)
{
    struct gap_content content = {
        .stage = SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_STORE,
        .from_epoch = broker_of(s)->journal.epoch,
        .from = damage->first - 1,
        .to = damage->last,
        .count = damage->last - damage->first + 1,
        .at_least = !filter_matches_all(s->matcher->filter),
        .reason = "damaged on disk",
    };
    if (log_limit_allow(&s->events->damaged_limit, now_ns / 1000000, 10, NULL))
        log_error("log.damaged", "first=%" PRIu64 " last=%" PRIu64, damage->first, damage->last);
    if (batch_gap(s, &content) == 0)
        hub_looked(&s->reader, damage->last, true, now_ns);
}

/* What was looked at through `last` goes out; *records is used up. */
static void follow_sent(struct subscription *s, const struct slice *records, uint64_t n, uint64_t last, uint64_t now_ns)
{
    if (records->len > 0 && batch_records(s, records, 1) == 0) {
        s->n_delivered += n;
        broker_of(s)->counters.n_delivered += n;
    }
    chunk_unref(records->owner);
    if (s->state == SUBSCRIPTION_FOLLOW)
        hub_looked(&s->reader, last, n > 0, now_ns);
}

/* Send what is left of the way to the newest, where every record matches: the runs of several stored values make one
 * batch. `first` is the first of them, used up. Returns the bytes sent. */
static size_t follow_all(struct subscription *s, const struct hub_step *step, struct journal_run *first,
                         uint64_t now_ns)
{
    struct journal_run runs[BATCH_MAX_SLICES];
    struct slice parts[BATCH_MAX_SLICES];
    size_t n = 0, len = 0;
    uint64_t last;

    runs[0] = *first;
    do {
        parts[n] = (struct slice){.owner = runs[n].chunk, .ptr = runs[n].bytes, .len = runs[n].len};
        len += runs[n].len;
        last = runs[n++].last;
        if (n == BATCH_MAX_SLICES || last == step->last || len >= BATCH_BYTES)
            break;
        if (journal_read(&broker_of(s)->journal, last + 1, step->last, BATCH_BYTES - len, &runs[n]) != JOURNAL_RUN)
            break; /* the next step says why */
        if (runs[n].len > BATCH_BYTES - len) {
            journal_run_release(&runs[n]);
            break;
        }
    } while (true);
    if (batch_records(s, parts, n) == 0) {
        uint64_t n_records = last - step->first + 1;
        s->n_delivered += n_records;
        broker_of(s)->counters.n_delivered += n_records;
        hub_looked(&s->reader, last, true, now_ns);
    }
    while (n > 0)
        journal_run_release(&runs[--n]);
    return len;
}

/* Send matches of the next records, read from the log. Returns the bytes looked at. */
static size_t follow_read(struct subscription *s, const struct hub_step *step, uint64_t now_ns)
{
    struct journal_run run;
    struct slice records;
    uint64_t n;
    int rc = journal_read(&broker_of(s)->journal, step->first, step->last, BATCH_BYTES, &run);

    if (rc == JOURNAL_DAMAGED) {
        follow_damaged(s, &run, now_ns);
        return 0;
    }
    if (rc == JOURNAL_TRIMMED || rc == JOURNAL_CAUGHT_UP)
        return 0; /* the log changed under us: hub_next sees it */
    if (rc != JOURNAL_RUN) {
        end(s, unreadable_status(s, rc), "cannot read the log");
        return 0;
    }
    if (filter_matches_all(s->matcher->filter))
        return follow_all(s, step, &run, now_ns);
    size_t len = run.len;
    rc = matcher_run(s->matcher, &run, &records, &n);
    if (rc)
        end(s, GRPC_RESOURCE_EXHAUSTED, "out of memory");
    else
        follow_sent(s, &records, n, run.last, now_ns);
    journal_run_release(&run);
    return len;
}

/* Send matches of the next records: those that the matcher has found already, or else from the log. Returns the bytes
 * looked at. */
static size_t follow_send(struct subscription *s, const struct hub_step *step, uint64_t now_ns)
{
    struct slice records;
    uint64_t n, last;
    int rc = matcher_take(s->matcher, step->first, step->last, BATCH_BYTES, &records, &n, &last);

    if (rc == UV_ENOENT)
        return follow_read(s, step, now_ns);
    if (rc) {
        end(s, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return 0;
    }
    size_t len = records.len;
    follow_sent(s, &records, n, last, now_ns);
    return len;
}

static void on_timer(uv_timer_t *timer)
{
    subscription_ready(timer->data);
}

/* Nothing to do now: wait for a commit, or for the time of the next gap or mark. Returns false when a mark was due and
 * sent. */
static bool follow_idle(struct subscription *s, const struct hub_step *step, uint64_t now_ns)
{
    uint64_t mark_ns = hub_mark_wait_ns(&s->reader, now_ns);

    if (mark_ns == 0) {
        if (batch_mark(s, s->reader.cursor) == 0)
            hub_mark_sent(&s->reader, now_ns);
        return false;
    }
    uint64_t wait_ns = mark_ns < step->wait_ns ? mark_ns : step->wait_ns;
    if (wait_ns != UINT64_MAX)
        uv_timer_start(&s->timer, on_timer, wait_ns / 1000000 + 1, 0);
    bool is_at_newest = s->reader.cursor == s->events->matcher.through;
    wait_for(s, is_at_newest ? SUBSCRIPTION_WAITS_FOR_MATCH : SUBSCRIPTION_WAITS_FOR_COMMIT);
    return true;
}

/* Returns false when there is nothing to do until something happens. */
static bool follow_step(struct subscription *s, size_t *used)
{
    struct hub_log log = log_of(s);
    uint64_t now_ns = clock_mono_ns();
    char reason[128];

    if (s->skip.active) {
        *used += skip_step(s, now_ns);
        return true;
    }
    struct hub_step step = hub_next(&s->reader, &log, now_ns);
    switch (step.action) {
    case HUB_IDLE: return !follow_idle(s, &step, now_ns);
    case HUB_SEND: *used += follow_send(s, &step, now_ns); break;
    case HUB_GAP: follow_gap(s, &step.gap, now_ns); break;
    case HUB_SYNCED:
        if (batch_synced(s, s->reader.cursor) == 0)
            hub_synced_sent(&s->reader, now_ns);
        break;
    case HUB_DONE: finish(s, GRPC_OK, ""); break;
    case HUB_END:
        broker_of(s)->counters.n_slow_ended++;
        snprintf(reason, sizeof reason, "reads too slowly: %" PRIu64 " records behind", step.lag);
        end(s, GRPC_RESOURCE_EXHAUSTED, reason);
        break;
    }
    return true;
}

/* With a full queue the only thing left to do is to give up, for those who asked for it. */
static void blocked(struct subscription *s)
{
    size_t used = 0;
    struct hub_log log = log_of(s);

    if (s->state != SUBSCRIPTION_FOLLOW || s->policy != HUB_DISCONNECT)
        return;
    if (hub_next(&s->reader, &log, clock_mono_ns()).action == HUB_END)
        follow_step(s, &used);
    else
        wait_for(s, SUBSCRIPTION_WAITS_FOR_COMMIT);
}

void subscription_turn(struct subscription *s)
{
    size_t used = 0;

    subscription_wake(s, s->events->matcher.through);
    while (s->state != SUBSCRIPTION_OVER) {
        if (!grpc_call_writable(s->call)) {
            blocked(s);
            return;
        }
        if (used >= (s->state == SUBSCRIPTION_SCAN ? SCAN_TURN_BYTES : TURN_BYTES)) {
            subscription_ready(s);
            return;
        }
        switch (s->state) {
        case SUBSCRIPTION_SCAN: used += scan_step(s); break;
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

/* ------------------------------------------------------------------------------------------------ the request */

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
    finish(s, GRPC_INVALID_ARGUMENT, err);
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

static void start_snapshot(struct subscription *s)
{
    int rc = snapshot_take(s);

    if (rc) {
        finish(s, GRPC_RESOURCE_EXHAUSTED,
               rc == UV_ENOBUFS ? "SubscribeRequest.snapshot: too many snapshots are under way" : "out of memory");
        snapshot_free(s);
        return;
    }
    s->state = SUBSCRIPTION_SNAPSHOT;
    if (batch_opened(s, s->snapshot->through) == 0)
        batch_snapshot_begin(s, s->snapshot->through);
}

static void start_last(struct subscription *s, uint64_t last)
{
    struct hub_log log = log_of(s);
    uint64_t n_kept = log.newest + 1 - log.oldest;

    if (filter_matches_all(s->matcher->filter)) {
        open_at(s, log.newest - (last < n_kept ? last : n_kept));
        return;
    }
    s->scan_wanted = last;
    s->scan_at = log.newest;
    s->state = SUBSCRIPTION_SCAN;
}

static void start_at(struct subscription *s, const struct hub_start *start)
{
    struct hub_log log = log_of(s);
    struct hub_gap gap;
    uint64_t cursor;
    char err[256];
    enum hub_start_result result = hub_resolve_start(start, &log, &cursor, &gap, err, sizeof err);

    if (result == HUB_START_OUT_OF_RANGE) {
        finish(s, GRPC_OUT_OF_RANGE, err);
        return;
    }
    open_at(s, cursor);
    if (result == HUB_START_GAP && s->state == SUBSCRIPTION_FOLLOW)
        follow_gap(s, &gap, clock_mono_ns());
}

/* The first record whose broker time is not before `since_ns`. */
static void start_since(struct subscription *s, uint64_t since_ns)
{
    uint64_t sequence;
    int rc = journal_find_time(&broker_of(s)->journal, since_ns, &sequence);

    if (rc)
        finish(s, unreadable_status(s, rc), "cannot read the log");
    else
        open_at(s, sequence - 1);
}

static void start(struct subscription *s, const Sensebus__V1__SubscribeRequest *r)
{
    struct hub_start where = {.kind = HUB_START_NOW, .resume_at_oldest = r->resume_at_oldest};
    const struct cursor_position *cursor;

    if (r->snapshot) {
        start_snapshot(s);
        return;
    }
    switch (r->start_case) {
    case SENSEBUS__V1__SUBSCRIBE_REQUEST__START_LAST: start_last(s, r->last); return;
    case SENSEBUS__V1__SUBSCRIBE_REQUEST__START_SINCE_UNIX_NS: start_since(s, r->since_unix_ns); return;
    case SENSEBUS__V1__SUBSCRIBE_REQUEST__START_OLDEST: where.kind = HUB_START_OLDEST; break;
    case SENSEBUS__V1__SUBSCRIBE_REQUEST__START_POSITION:
        where.kind = HUB_START_POSITION;
        where.epoch = r->position->epoch;
        where.sequence = r->position->sequence;
        break;
    case SENSEBUS__V1__SUBSCRIBE_REQUEST__START_CURSOR:
        cursor = cursor_store_find(&broker_of(s)->cursors, r->cursor);
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

static void on_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct subscription *s = data;
    struct filter *filter;
    char err[256];

    if (s->state == SUBSCRIPTION_OVER)
        return;
    if (s->state != SUBSCRIPTION_NEW) {
        finish(s, GRPC_INVALID_ARGUMENT, "Subscribe: takes one request");
        return;
    }
    Sensebus__V1__SubscribeRequest *r =
        (Sensebus__V1__SubscribeRequest *)request_read(call, &sensebus__v1__subscribe_request__descriptor, bytes, len);
    if (!r) {
        s->state = SUBSCRIPTION_OVER;
        return;
    }
    if (check_bounds(s, r) == 0) {
        int rc = filter_new(r->filter, &filter, err, sizeof err);
        if (rc)
            finish(s, rc == UV_ENOMEM ? GRPC_RESOURCE_EXHAUSTED : GRPC_INVALID_ARGUMENT,
                   rc == UV_ENOMEM ? "out of memory" : err);
        else if ((rc = matcher_join(&s->events->matcher, filter, &s->matcher)))
            finish(s, GRPC_RESOURCE_EXHAUSTED,
                   rc == UV_ENOBUFS ? "SubscribeRequest.filter: the filters of all subscriptions take too much memory"
                                    : "out of memory");
    }
    if (s->state == SUBSCRIPTION_NEW) {
        take_options(s, r);
        start(s, r);
        log_debug("subscription.opened", "id=s%" PRIu64 " peer=%s", s->id, grpc_call_peer(call));
    }
    message_free((struct ProtobufCMessage *)r);
    if (s->state != SUBSCRIPTION_OVER)
        subscription_ready(s);
}

static void on_half_close(struct grpc_call *call, void *data)
{
    struct subscription *s = data;

    (void)call;
    if (s->state == SUBSCRIPTION_NEW)
        finish(s, GRPC_INVALID_ARGUMENT, "Subscribe: takes one request");
}

static void on_writable(struct grpc_call *call, void *data)
{
    (void)call;
    subscription_ready(data);
}

static void on_drain(struct grpc_call *call, void *data)
{
    (void)call;
    end(data, GRPC_UNAVAILABLE, "the broker is stopping");
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

    if (!gate_admit(e->broker, call, GATE_READERS, NULL))
        return;
    if (e->n_all >= EVENTS_MAX_SUBSCRIPTIONS) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "%u subscriptions are open, no more are taken",
                         EVENTS_MAX_SUBSCRIPTIONS);
        return;
    }
    struct subscription *s = calloc(1, sizeof *s);
    if (!s) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    s->events = e;
    s->call = call;
    s->id = ++e->next_id;
    s->since_unix_ns = clock_wall_ns();
    uv_timer_init(e->broker->loop, &s->timer);
    s->timer.data = s;
    TAILQ_INSERT_TAIL(&e->all, s, all);
    e->n_all++;
    grpc_call_accept(call, &ops, s);
}
