/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/hub.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "broker/core/mutant.h"

/* ---- where to begin */

static enum hub_start_result out_of_range(const struct hub_start *start, const struct hub_log *log, const char *why,
                                          char *err, size_t err_len)
{
    snprintf(err, err_len,
             "position %016" PRIx64 ":%" PRIu64 " %s; the log %016" PRIx64 " holds records %" PRIu64 "..%" PRIu64
             " (oldest..newest)",
             start->epoch, start->sequence, why, log->epoch, log->oldest, log->newest);
    return HUB_START_OUT_OF_RANGE;
}

static enum hub_start_result resume_at_oldest(const struct hub_start *start, const struct hub_log *log,
                                              uint64_t *out_cursor, struct hub_gap *out_gap)
{
    bool same_log = start->epoch == log->epoch;
    uint64_t before_oldest = log->oldest - 1;
    *out_gap = (struct hub_gap){
        .from_epoch = start->epoch,
        .from = start->sequence,
        .to = before_oldest,
        .count = same_log ? before_oldest - start->sequence : 0,
        .stage = HUB_STAGE_RETENTION,
        .reason = same_log ? "trimmed from the log before they were read" : "the position is of another log",
    };
    *out_cursor = before_oldest;
    return HUB_START_GAP;
}

enum hub_start_result hub_resolve_start(const struct hub_start *start, const struct hub_log *log, uint64_t *out_cursor,
                                        struct hub_gap *out_gap, char *err, size_t err_len)
{
    switch (start->kind) {
    case HUB_START_NOW: *out_cursor = log->newest; return HUB_START_OK;
    case HUB_START_OLDEST: *out_cursor = log->oldest - 1; return HUB_START_OK;
    case HUB_START_POSITION: break;
    }
    if (start->epoch != log->epoch) {
        if (start->resume_at_oldest)
            return resume_at_oldest(start, log, out_cursor, out_gap);
        return out_of_range(start, log, "is of another log", err, err_len);
    }
    if (start->sequence > log->newest)
        return out_of_range(start, log, "is newer than the newest record", err, err_len);
    if (start->sequence < log->oldest - 1) {
        if (start->resume_at_oldest)
            return resume_at_oldest(start, log, out_cursor, out_gap);
        return out_of_range(start, log, "is older than the oldest record kept", err, err_len);
    }
    *out_cursor = start->sequence - (MUTANT(206) && start->sequence >= log->oldest);
    return HUB_START_OK;
}

/* ---- what comes next */

void hub_begin(struct hub_reader *r, enum hub_policy policy, uint64_t lag_limit, uint64_t cursor,
               const struct hub_log *log, uint64_t now_ns)
{
    *r = (struct hub_reader){
        .policy = policy,
        .lag_limit = lag_limit ? lag_limit : HUB_DEFAULT_LAG_LIMIT,
        .cursor = cursor,
        .sync_at = log->newest,
        .within_ns = now_ns,
        .last_told_ns = now_ns,
    };
}

/* It asked for no more than was there when it began, and has looked at all of it. */
static bool is_through(const struct hub_reader *r)
{
    return r->stop_at_newest && (r->synced || r->cursor >= r->sync_at);
}

/* ns until it is late if it reads nothing more, 0 = it is; UINT64_MAX: never. Notes whether it is within its limit. */
static uint64_t late_wait_ns(struct hub_reader *r, uint64_t lag, bool has_room, uint64_t now_ns)
{
    if (lag <= r->lag_limit || r->is_level)
        r->within_ns = now_ns;
    r->is_level = lag == 0 && has_room;
    if (r->policy == HUB_LAG || !r->synced || r->stop_at_newest || lag <= r->lag_limit)
        return UINT64_MAX;
    uint64_t late_ns = now_ns - r->within_ns;
    return late_ns >= HUB_LATE_NS ? 0 : HUB_LATE_NS - late_ns;
}

/* 0 when a gap may be told now. */
static uint64_t gap_wait_ns(const struct hub_reader *r, uint64_t now_ns)
{
    if (!r->had_gap || now_ns - r->last_gap_ns >= HUB_GAP_INTERVAL_NS)
        return 0;
    return HUB_GAP_INTERVAL_NS - (now_ns - r->last_gap_ns);
}

static struct hub_step gap_step(const struct hub_reader *r, const struct hub_log *log, uint64_t to,
                                enum hub_stage stage, const char *reason)
{
    if (r->stop_at_newest && to > r->sync_at) /* it misses nothing of what came later */
        to = r->sync_at;
    return (struct hub_step){
        .action = HUB_GAP,
        .lag = log->newest - r->cursor,
        .gap = {.from_epoch = log->epoch,
                .from = r->cursor,
                .to = to,
                .count = to - r->cursor,
                .stage = stage,
                .reason = reason},
    };
}

struct hub_step hub_next(struct hub_reader *r, const struct hub_log *log, bool has_room, uint64_t now_ns)
{
    struct hub_step step = {.action = HUB_IDLE, .lag = log->newest - r->cursor, .wait_ns = UINT64_MAX};
    bool is_trimmed = r->cursor + 1 < log->oldest && !is_through(r);
    uint64_t until_late_ns = late_wait_ns(r, step.lag, has_room, now_ns);
    bool is_late = until_late_ns == 0;
    if (r->policy == HUB_DISCONNECT && (is_late || (is_trimmed && r->synced))) {
        step.action = HUB_END;
        return step;
    }
    if (is_trimmed || is_late) {
        uint64_t wait_ns = gap_wait_ns(r, now_ns);
        if (wait_ns == 0 && is_late)
            return gap_step(r, log, log->newest, HUB_STAGE_SUBSCRIPTION, "the subscriber reads too slowly");
        if (wait_ns == 0)
            return gap_step(r, log, log->oldest - 1, HUB_STAGE_RETENTION, "trimmed from the log before they were read");
        if (is_trimmed) {
            step.wait_ns = wait_ns;
            return step;
        }
        /* Late, but it had a gap just now: go on reading, the next gap will cover what is left. */
    }
    if (!r->synced && r->cursor >= r->sync_at) {
        step.action = HUB_SYNCED;
    } else if (r->synced && r->stop_at_newest) {
        step.action = HUB_DONE;
    } else if (r->cursor < log->newest) {
        step.action = HUB_SEND;
        step.first = r->cursor + 1;
        step.last = !r->synced && r->sync_at < log->newest ? r->sync_at : log->newest;
        if (r->policy == HUB_DISCONNECT)
            step.wait_ns = until_late_ns;
    }
    return step;
}

void hub_looked(struct hub_reader *r, uint64_t sequence, bool told, uint64_t now_ns)
{
    if (sequence > r->cursor)
        r->cursor = sequence;
    if (told)
        r->last_told_ns = now_ns;
}

void hub_gap_sent(struct hub_reader *r, const struct hub_gap *gap, uint64_t now_ns)
{
    if (gap->to > r->cursor)
        r->cursor = gap->to;
    r->had_gap = true;
    r->last_gap_ns = now_ns;
    r->within_ns = now_ns;
    r->last_told_ns = now_ns;
}

void hub_synced_sent(struct hub_reader *r, uint64_t now_ns)
{
    r->synced = true;
    r->within_ns = now_ns;
    r->last_told_ns = now_ns;
}

/* ---- marks */

uint64_t hub_mark_wait_ns(const struct hub_reader *r, uint64_t now_ns)
{
    if (!r->mark_interval_ns)
        return UINT64_MAX;
    uint64_t quiet_ns = now_ns - r->last_told_ns;
    return quiet_ns >= r->mark_interval_ns ? 0 : r->mark_interval_ns - quiet_ns;
}

void hub_mark_sent(struct hub_reader *r, uint64_t now_ns)
{
    r->last_told_ns = now_ns;
}
