/* SPDX-License-Identifier: Apache-2.0 */
/* What does a subscription get next? The delivery policy, without sockets, clocks and records.
 *
 * A reader looks at every record of the log in order; `cursor` is the last one it looked at. Invariant: between two
 * records on its stream, every record in the log was looked at, or a gap was announced that covers it. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HUB_DEFAULT_LAG_LIMIT 65536
/* At most one gap a second: what is lost meanwhile goes into the next one. */
#define HUB_GAP_INTERVAL_NS 1000000000ull
/* So long a reader may be more than its limit behind: one commit may bring more than that, and has to be read first. */
#define HUB_LATE_NS 250000000ull

/* The log as a reader sees it. Empty: oldest == newest + 1. */
struct hub_log {
    uint64_t epoch;
    uint64_t oldest; /* first sequence kept */
    uint64_t newest;
};

enum hub_policy { HUB_LAG, HUB_LIVE, HUB_DISCONNECT };

enum hub_start_kind {
    HUB_START_NOW,
    HUB_START_OLDEST,
    HUB_START_POSITION, /* behind {epoch, sequence}; also for a stored cursor */
};
struct hub_start {
    enum hub_start_kind kind;
    uint64_t epoch, sequence;
    bool resume_at_oldest; /* a position that is gone: go on at the oldest after a gap */
};

enum hub_start_result {
    HUB_START_OK,
    HUB_START_GAP,          /* announce *out_gap first */
    HUB_START_OUT_OF_RANGE, /* `err` names the position, the oldest and the newest */
};

enum hub_stage { HUB_STAGE_RETENTION = 5, HUB_STAGE_SUBSCRIPTION = 6 }; /* as enum LossStage */

/* Records from + 1 .. to are missing. */
struct hub_gap {
    uint64_t
        from_epoch; /* differs from the log's when a position of another log was resumed; then the count is unknown */
    uint64_t from, to;
    uint64_t count; /* to - from; 0 when unknown */
    enum hub_stage stage;
    const char *reason; /* constant text */
};

/* Where does a subscription begin? A position is good from oldest - 1 (all seen before what is kept) to newest. On OK
 * and GAP *out_cursor is the record before the first one to look at. */
enum hub_start_result hub_resolve_start(const struct hub_start *start, const struct hub_log *log, uint64_t *out_cursor,
                                        struct hub_gap *out_gap, char *err, size_t err_len);

struct hub_reader {
    enum hub_policy policy;
    uint64_t lag_limit;
    uint64_t cursor;     /* last record looked at */
    uint64_t sync_at;    /* newest when it began */
    bool synced;         /* Synced was sent */
    bool stop_at_newest; /* end when synced; what happens to records behind sync_at is nothing to it */
    bool is_level;       /* had room and nothing to look at when asked last: what is new came since */
    uint64_t within_ns;  /* when it was known to be within its limit, the last time */
    bool had_gap;
    uint64_t last_gap_ns;      /* monotonic */
    uint64_t mark_interval_ns; /* 0 = no marks */
    uint64_t last_told_ns;     /* when it last got an event, a gap or a mark */
};

/* Begin at `cursor` (hub_resolve_start). lag_limit 0 = default. Set `synced` afterwards when a snapshot takes the place
 * of catching up; set `stop_at_newest` and `mark_interval_ns` as asked. */
void hub_begin(struct hub_reader *r, enum hub_policy policy, uint64_t lag_limit, uint64_t cursor,
               const struct hub_log *log, uint64_t now_ns);

enum hub_action {
    HUB_IDLE,   /* nothing to do; ask again when a record is committed, or after wait_ns */
    HUB_SEND,   /* look at records first..last (as far as the reader has room), then hub_looked */
    HUB_GAP,    /* announce `gap`, then hub_gap_sent */
    HUB_SYNCED, /* send Synced(cursor), then hub_synced_sent */
    HUB_DONE,   /* stop_at_newest is reached: end with OK */
    HUB_END,    /* too slow, and it asked to be disconnected: Closed(cursor), end with RESOURCE_EXHAUSTED */
};
struct hub_step {
    enum hub_action action;
    uint64_t first, last; /* HUB_SEND */
    struct hub_gap gap;   /* HUB_GAP */
    uint64_t lag;         /* records behind the newest */
    uint64_t wait_ns;     /* without room or HUB_IDLE: ask again then, if nothing happens before; UINT64_MAX = never */
};
/* The next thing; without room for anything on its stream only HUB_END can be done. Ask after every commit, with room
 * or without.
 *
 * LIVE and DISCONNECT: too slow is who stays more than lag_limit behind for HUB_LATE_NS. Lag counts only once the
 * reader is synced: whoever starts far back may catch up at its own pace. */
struct hub_step hub_next(struct hub_reader *r, const struct hub_log *log, bool has_room, uint64_t now_ns);

/* Everything through `sequence` was looked at; `told` when some of it matched and was sent. */
void hub_looked(struct hub_reader *r, uint64_t sequence, bool told, uint64_t now_ns);
void hub_gap_sent(struct hub_reader *r, const struct hub_gap *gap, uint64_t now_ns);
void hub_synced_sent(struct hub_reader *r, uint64_t now_ns);

/* ns until a Mark(cursor) is due, 0 = now, UINT64_MAX = never. */
uint64_t hub_mark_wait_ns(const struct hub_reader *r, uint64_t now_ns);
void hub_mark_sent(struct hub_reader *r, uint64_t now_ns);
