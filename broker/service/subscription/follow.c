/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/service/subscription/follow.h"

#include <inttypes.h>
#include <stdio.h>

#include "broker/core/filter.h"
#include "broker/core/mutant.h"
#include "broker/service/broker.h"
#include "broker/service/subscription/batch.h"
#include "broker/service/subscription/subscription.h"
#include "runtime/clock.h"

void follow_begin(struct subscription *s, uint64_t cursor, bool synced)
{
    struct hub_log log = subscription_log(s);
    uint64_t now_ns = clock_mono_ns();

    hub_begin(&s->reader, s->policy, s->lag_limit, cursor, &log, now_ns);
    s->reader.synced = synced;
    s->reader.stop_at_newest = s->stop_at_newest;
    s->reader.mark_interval_ns = s->mark_interval_ns;
    s->state = SUBSCRIPTION_FOLLOW;
}

void follow_open(struct subscription *s, uint64_t cursor)
{
    if (batch_opened(s, cursor) == 0)
        follow_begin(s, cursor, false);
}

void follow_gap(struct subscription *s, const struct hub_gap *gap, uint64_t now_ns)
{
    struct gap_content content = {
        .stage = gap->stage,
        .from_epoch = gap->from_epoch,
        .from = gap->from,
        .to = gap->to,
        .count = gap->count,
        .at_least = gap->count == 0 || !filter_matches_all(s->matcher->filter),
        .aix_bits = s->events->broker->journal.trimmed_bits,
        .reason = gap->reason,
    };
    if (gap->stage == HUB_STAGE_SUBSCRIPTION)
        skip_begin(s, gap);
    else if (MUTANT(211) || batch_gap(s, &content) == 0)
        hub_gap_sent(&s->reader, gap, now_ns);
}

static void follow_damaged(struct subscription *s, const struct journal_run *damage, uint64_t now_ns)
{
    struct gap_content content = {
        .stage = SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_STORE,
        .from_epoch = s->events->broker->journal.epoch,
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
        s->events->broker->counters.n_delivered += n;
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
        if (journal_read(&s->events->broker->journal, last + 1, step->last, BATCH_BYTES - len, &runs[n]) != JOURNAL_RUN)
            break; /* the next step says why */
        if (runs[n].len > BATCH_BYTES - len) {
            journal_run_release(&runs[n]);
            break;
        }
    } while (true);
    if (batch_records(s, parts, n) == 0) {
        uint64_t n_records = last - step->first + 1;
        s->n_delivered += n_records;
        s->events->broker->counters.n_delivered += n_records;
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
    int rc = journal_read(&s->events->broker->journal, step->first, step->last, BATCH_BYTES, &run);

    if (rc == JOURNAL_DAMAGED) {
        follow_damaged(s, &run, now_ns);
        return 0;
    }
    if (rc == JOURNAL_TRIMMED || rc == JOURNAL_CAUGHT_UP)
        return 0; /* the log changed under us: hub_next sees it */
    if (rc != JOURNAL_RUN) {
        subscription_end(s, subscription_unreadable_status(s, rc), "cannot read the log");
        return 0;
    }
    if (filter_matches_all(s->matcher->filter))
        return follow_all(s, step, &run, now_ns);
    size_t len = run.len;
    rc = matcher_run(s->matcher, &run, &records, &n);
    if (rc)
        subscription_end(s, GRPC_RESOURCE_EXHAUSTED, "out of memory");
    else
        follow_sent(s, &records, n, run.last + (MUTANT(213) && run.last < step->last), now_ns);
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
        subscription_end(s, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return 0;
    }
    size_t len = records.len;
    if (MUTANT(205) && s->n_delivered > 100)
        records.len = 0;
    follow_sent(s, &records, n, last, now_ns);
    return len;
}

/* Say how far it has looked, if it has heard nothing for so long. Returns whether that was due. */
static bool follow_mark(struct subscription *s, uint64_t now_ns)
{
    if (hub_mark_wait_ns(&s->reader, now_ns) > 0)
        return false;
    if (batch_mark(s, s->reader.cursor + MUTANT(209)) == 0)
        hub_mark_sent(&s->reader, now_ns);
    return true;
}

static void on_timer(uv_timer_t *timer)
{
    subscription_ready(timer->data);
}

/* Nothing to do now: wait for a commit, or for the time of the next gap or mark. Returns false when a mark was due and
 * sent. */
static bool follow_idle(struct subscription *s, const struct hub_step *step, uint64_t now_ns)
{
    if (follow_mark(s, now_ns))
        return false;
    uint64_t mark_ns = hub_mark_wait_ns(&s->reader, now_ns);
    uint64_t wait_ns = mark_ns < step->wait_ns ? mark_ns : step->wait_ns;
    if (wait_ns != UINT64_MAX)
        uv_timer_start(&s->timer, on_timer, wait_ns / 1000000 + 1, 0);
    bool is_at_newest = s->reader.cursor == s->events->matcher.through;
    subscription_wait(s, is_at_newest ? SUBSCRIPTION_WAITS_FOR_MATCH : SUBSCRIPTION_WAITS_FOR_COMMIT);
    return true;
}

/* Do what the hub says. Returns as follow_step. */
static bool follow_do(struct subscription *s, const struct hub_step *step, size_t *used, uint64_t now_ns)
{
    char reason[128];

    switch (step->action) {
    case HUB_IDLE: return !follow_idle(s, step, now_ns);
    case HUB_SEND:
        *used += follow_send(s, step, now_ns);
        if (s->state == SUBSCRIPTION_FOLLOW)
            follow_mark(s, now_ns);
        break;
    case HUB_GAP: follow_gap(s, &step->gap, now_ns); break;
    case HUB_SYNCED:
        if (batch_synced(s, s->reader.cursor) == 0)
            hub_synced_sent(&s->reader, now_ns);
        break;
    case HUB_DONE: subscription_finish(s, GRPC_OK, ""); break;
    case HUB_END:
        s->events->broker->counters.n_slow_ended++;
        snprintf(reason, sizeof reason, "reads too slowly: %" PRIu64 " records behind", step->lag);
        subscription_end(s, GRPC_RESOURCE_EXHAUSTED, reason);
        break;
    }
    return true;
}

bool follow_step(struct subscription *s, size_t *used)
{
    struct hub_log log = subscription_log(s);
    uint64_t now_ns = clock_mono_ns();

    if (s->skip.active) {
        *used += skip_step(s, now_ns);
        return true;
    }
    struct hub_step step = hub_next(&s->reader, &log, true, now_ns);
    return follow_do(s, &step, used, now_ns);
}

void follow_blocked(struct subscription *s)
{
    size_t used = 0;
    struct hub_log log = subscription_log(s);
    uint64_t now_ns = clock_mono_ns();

    if (s->state != SUBSCRIPTION_FOLLOW || s->policy == HUB_LAG || s->skip.active)
        return;
    struct hub_step step = hub_next(&s->reader, &log, false, now_ns);
    if (step.action == HUB_END) {
        follow_do(s, &step, &used, now_ns);
    } else if (s->policy == HUB_DISCONNECT) {
        if (step.wait_ns != UINT64_MAX)
            uv_timer_start(&s->timer, on_timer, step.wait_ns / 1000000 + 1, 0);
        subscription_wait(s, SUBSCRIPTION_WAITS_FOR_COMMIT);
    }
}
