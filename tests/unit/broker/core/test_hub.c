/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/hub.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SECOND 1000000000ull
enum { LOG = 0xa, OTHER = 0xb };

/* The log holds 11..20. */
static const struct hub_log ten = {.epoch = LOG, .oldest = 11, .newest = 20};
static const struct hub_log empty = {.epoch = LOG, .oldest = 1, .newest = 0};

Test(hub, start_is_resolved_at_every_boundary)
{
    static const struct {
        const char *what;
        const struct hub_log *log;
        struct hub_start start;
        enum hub_start_result result;
        uint64_t cursor;
        const char *says;     /* of OUT_OF_RANGE */
        uint64_t from, count; /* of GAP; it ends at the cursor */
    } table[] = {
        {"now", &ten, {HUB_START_NOW}, HUB_START_OK, 20},
        {"oldest", &ten, {HUB_START_OLDEST}, HUB_START_OK, 10},
        {"newest", &ten, {HUB_START_POSITION, LOG, 20}, HUB_START_OK, 20},
        {"newest + 1", &ten, {HUB_START_POSITION, LOG, 21}, HUB_START_OUT_OF_RANGE, 0, "newer than the newest"},
        {"newest + 1, resume", &ten, {HUB_START_POSITION, LOG, 21, true}, HUB_START_OUT_OF_RANGE, 0, "newer"},
        {"oldest", &ten, {HUB_START_POSITION, LOG, 11}, HUB_START_OK, 11},
        {"oldest - 1", &ten, {HUB_START_POSITION, LOG, 10}, HUB_START_OK, 10},
        {"oldest - 2", &ten, {HUB_START_POSITION, LOG, 9}, HUB_START_OUT_OF_RANGE, 0, "older than the oldest"},
        {"oldest - 2, resume", &ten, {HUB_START_POSITION, LOG, 9, true}, HUB_START_GAP, 10, NULL, 9, 1},
        {"nothing seen", &ten, {HUB_START_POSITION, LOG, 0}, HUB_START_OUT_OF_RANGE, 0, "11..20"},
        {"nothing seen, resume", &ten, {HUB_START_POSITION, LOG, 0, true}, HUB_START_GAP, 10, NULL, 0, 10},
        {"other log",
         &ten,
         {HUB_START_POSITION, OTHER, 15},
         HUB_START_OUT_OF_RANGE,
         0,
         "000000000000000b:15 is of another"},
        {"other log, resume", &ten, {HUB_START_POSITION, OTHER, 15, true}, HUB_START_GAP, 10, NULL, 15, 0},
        {"other log, newer, resume", &ten, {HUB_START_POSITION, OTHER, 99, true}, HUB_START_GAP, 10, NULL, 99, 0},
        {"now, empty", &empty, {HUB_START_NOW}, HUB_START_OK, 0},
        {"oldest, empty", &empty, {HUB_START_OLDEST}, HUB_START_OK, 0},
        {"0, empty", &empty, {HUB_START_POSITION, LOG, 0}, HUB_START_OK, 0},
        {"1, empty", &empty, {HUB_START_POSITION, LOG, 1}, HUB_START_OUT_OF_RANGE, 0, "newer than the newest"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint64_t cursor = 0;
        struct hub_gap gap = {0};
        char err[256] = "";
        enum hub_start_result result = hub_resolve_start(&table[i].start, table[i].log, &cursor, &gap, err, sizeof err);
        cr_assert_eq(result, table[i].result, "%zu %s: %d", i, table[i].what, result);
        cr_assert_eq(cursor, table[i].cursor, "%zu %s: %" PRIu64, i, table[i].what, cursor);
        if (result == HUB_START_OUT_OF_RANGE)
            cr_assert_not_null(strstr(err, table[i].says), "%zu %s: %s", i, table[i].what, err);
        if (result == HUB_START_GAP) {
            cr_assert_eq(gap.from_epoch, table[i].start.epoch);
            cr_assert_eq(gap.from, table[i].from);
            cr_assert_eq(gap.to, cursor);
            cr_assert_eq(gap.count, table[i].count);
            cr_assert_eq(gap.stage, HUB_STAGE_RETENTION);
        }
    }
}

/* ---- stories: a reader, a log that grows and is trimmed, and what the reader gets */

static char story[4096];
static struct hub_reader reader;
static struct hub_log log_now;
static uint64_t now_ns;

__attribute__((format(printf, 1, 2))) static void tell(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t len = strlen(story);
    vsnprintf(story + len, sizeof story - len, format, args);
    va_end(args);
}

/* Do what the hub says until it has nothing to do, looking at no more than `room` records. */
static void run(uint64_t room)
{
    for (;;) {
        struct hub_step step = hub_next(&reader, &log_now, room > 0, now_ns);
        switch (step.action) {
        case HUB_IDLE:
            tell(step.wait_ns == UINT64_MAX ? "idle\n" : "idle for %" PRIu64 " ms\n", step.wait_ns / 1000000);
            return;
        case HUB_SEND:
            if (room == 0) {
                tell(step.wait_ns == UINT64_MAX ? "blocked\n" : "blocked for %" PRIu64 " ms\n", step.wait_ns / 1000000);
                return;
            }
            if (step.last - step.first + 1 > room)
                step.last = step.first + room - 1;
            room -= step.last - step.first + 1;
            tell("%" PRIu64 "..%" PRIu64 "\n", step.first, step.last);
            hub_looked(&reader, step.last, true, now_ns);
            break;
        case HUB_GAP:
            tell("gap %" PRIu64 "..%" PRIu64 " %s\n", step.gap.from + 1, step.gap.to,
                 step.gap.stage == HUB_STAGE_RETENTION ? "trimmed" : "skipped");
            cr_assert_eq(step.gap.count, step.gap.to - step.gap.from);
            hub_gap_sent(&reader, &step.gap, now_ns);
            break;
        case HUB_SYNCED:
            tell("synced %" PRIu64 "\n", reader.cursor);
            hub_synced_sent(&reader, now_ns);
            break;
        case HUB_DONE: tell("done\n"); return;
        case HUB_END: tell("end at %" PRIu64 ", lag %" PRIu64 "\n", reader.cursor, step.lag); return;
        }
    }
}

static void begin(enum hub_policy policy, uint64_t lag_limit, uint64_t cursor, uint64_t newest)
{
    story[0] = '\0';
    now_ns = 100 * SECOND;
    log_now = (struct hub_log){.epoch = LOG, .oldest = 1, .newest = newest};
    hub_begin(&reader, policy, lag_limit, cursor, &log_now, now_ns);
}

Test(hub, catches_up_says_synced_and_follows)
{
    begin(HUB_LAG, 0, 0, 5);
    log_now.newest = 7; /* two more before it read anything: synced comes exactly behind what was there at first */
    run(100);
    log_now.newest = 9;
    run(100);
    cr_assert_str_eq(story, "1..5\nsynced 5\n6..7\nidle\n"
                            "8..9\nidle\n");
}

Test(hub, start_at_newest_is_synced_at_once)
{
    begin(HUB_LAG, 0, 5, 5);
    run(100);
    cr_assert_str_eq(story, "synced 5\nidle\n");
}

Test(hub, stop_at_newest_ends_where_the_log_was)
{
    begin(HUB_LAG, 0, 2, 5);
    reader.stop_at_newest = true;
    log_now.newest = 9;
    run(100);
    cr_assert_str_eq(story, "3..5\nsynced 5\ndone\n");
}

/* Who had all that was there when it began misses nothing, and is not too slow, whatever becomes of the log. */
Test(hub, stop_at_newest_has_no_part_in_what_comes_later)
{
    static const enum hub_policy policies[] = {HUB_LAG, HUB_LIVE, HUB_DISCONNECT};

    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++) {
        begin(policies[i], 10, 0, 5);
        reader.stop_at_newest = true;
        hub_looked(&reader, 5, true, now_ns); /* and then there was no room for Synced */
        log_now = (struct hub_log){.epoch = LOG, .oldest = 51, .newest = 100};
        now_ns += 10 * SECOND;
        run(100);
        cr_assert_str_eq(story, "synced 5\ndone\n", "%zu: %s", i, story);

        begin(policies[i], 10, 0, 5);
        reader.stop_at_newest = true;
        hub_looked(&reader, 3, true, now_ns);
        log_now = (struct hub_log){.epoch = LOG, .oldest = 51, .newest = 100};
        now_ns += 10 * SECOND;
        run(100);
        cr_assert_str_eq(story, "gap 4..5 trimmed\nsynced 5\ndone\n", "%zu: %s", i, story);

        begin(policies[i], 10, 5, 5);
        reader.stop_at_newest = true;
        reader.synced = true; /* by a snapshot */
        log_now = (struct hub_log){.epoch = LOG, .oldest = 51, .newest = 100};
        now_ns += 10 * SECOND;
        run(100);
        cr_assert_str_eq(story, "done\n", "%zu: %s", i, story);
    }
}

Test(hub, snapshot_takes_the_place_of_synced)
{
    begin(HUB_LAG, 0, 5, 5);
    reader.synced = true;
    log_now.newest = 6;
    run(100);
    cr_assert_str_eq(story, "6..6\nidle\n");
}

Test(hub, lagging_reader_gets_a_gap_when_retention_passes_it)
{
    begin(HUB_LAG, 10, 0, 5);
    run(3);
    log_now = (struct hub_log){.epoch = LOG, .oldest = 4, .newest = 100}; /* its next one is just kept */
    run(0);
    log_now.oldest = 51;
    run(10);
    cr_assert_str_eq(story, "1..3\nblocked\n"
                            "blocked\n"
                            "gap 4..50 trimmed\nsynced 50\n51..60\nblocked\n");
}

Test(hub, gaps_come_at_most_once_a_second_and_cover_everything)
{
    begin(HUB_LAG, 0, 0, 0);
    log_now = (struct hub_log){.epoch = LOG, .oldest = 11, .newest = 20};
    run(5);
    log_now = (struct hub_log){.epoch = LOG, .oldest = 31, .newest = 40};
    now_ns += SECOND / 4;
    run(5);
    log_now = (struct hub_log){.epoch = LOG, .oldest = 51, .newest = 60};
    now_ns += SECOND * 3 / 4 - 1;
    run(5);
    now_ns += 1;
    run(5);
    cr_assert_str_eq(story, "gap 1..10 trimmed\nsynced 10\n11..15\nblocked\n"
                            "idle for 750 ms\n"
                            "idle for 0 ms\n"
                            "gap 16..50 trimmed\n51..55\nblocked\n");
}

Test(hub, live_reader_skips_to_newest_when_it_stays_beyond_its_limit)
{
    begin(HUB_LIVE, 10, 0, 0);
    run(100);
    log_now.newest = 10; /* exactly the limit */
    run(0);
    now_ns += 10 * SECOND;
    run(0);
    log_now.newest = 11; /* one more */
    run(0);
    now_ns += HUB_LATE_NS - 1;
    run(0);
    now_ns += 1;
    run(1);
    log_now.newest = 40; /* and again: it reads on, and skips when a second has passed since the gap */
    now_ns += HUB_LATE_NS;
    run(5);
    now_ns += HUB_LATE_NS;
    run(5);
    now_ns += SECOND - 2 * HUB_LATE_NS;
    run(5);
    cr_assert_str_eq(story, "synced 0\nidle\n"
                            "blocked\n"
                            "blocked\n"
                            "blocked\n"
                            "blocked\n"
                            "gap 1..11 skipped\nidle\n"
                            "12..16\nblocked\n"
                            "17..21\nblocked\n"
                            "gap 22..40 skipped\nidle\n");
}

Test(hub, live_reader_may_catch_up_first)
{
    begin(HUB_LIVE, 10, 0, 1000);
    run(1000);
    cr_assert_str_eq(story, "1..1000\nsynced 1000\nidle\n");
}

Test(hub, disconnecting_reader_ends_when_it_stays_beyond_its_limit)
{
    begin(HUB_DISCONNECT, 10, 0, 1000);
    run(1000); /* far behind at first is no fault */
    log_now.newest = 1010;
    run(0);
    now_ns += 10 * SECOND;
    run(0);
    log_now.newest = 1011;
    run(0);
    now_ns += HUB_LATE_NS;
    run(0);
    cr_assert_str_eq(story, "1..1000\nsynced 1000\nidle\n"
                            "blocked\n"
                            "blocked\n"
                            "blocked for 250 ms\n"
                            "end at 1000, lag 11\n");
}

/* What comes in one commit may be more than the limit: nobody is late before he could read it. */
Test(hub, who_reads_on_is_not_late_however_much_comes_at_once)
{
    static const enum hub_policy policies[] = {HUB_DISCONNECT, HUB_LIVE};

    for (size_t i = 0; i < 2; i++) {
        begin(policies[i], 10, 0, 0);
        run(100);
        now_ns += 10 * SECOND; /* a quiet time */
        log_now.newest = 1000;
        run(400);
        now_ns += HUB_LATE_NS - 1;
        run(1000);
        now_ns += 10 * SECOND;
        log_now.newest = 2000; /* and again: the one before was read */
        run(0);
        now_ns += HUB_LATE_NS - 1;
        run(2000);
        cr_assert_str_eq(story, i == 0 ? "synced 0\nidle\n"
                                         "1..400\nblocked for 250 ms\n"
                                         "401..1000\nidle\n"
                                         "blocked for 250 ms\n"
                                         "1001..2000\nidle\n"
                                       : "synced 0\nidle\n"
                                         "1..400\nblocked\n"
                                         "401..1000\nidle\n"
                                         "blocked\n"
                                         "1001..2000\nidle\n");
    }
}

Test(hub, time_without_room_counts_before_the_limit_is_passed)
{
    begin(HUB_DISCONNECT, 10, 0, 0);
    run(100);
    log_now.newest = 5;
    run(3); /* two are left, and there is no room */
    now_ns += 10 * SECOND;
    log_now.newest = 1000; /* nobody looked at it meanwhile */
    run(0);
    cr_assert_str_eq(story, "synced 0\nidle\n"
                            "1..3\nblocked\n"
                            "end at 3, lag 997\n");
}

Test(hub, who_comes_within_its_limit_again_has_its_time_again)
{
    begin(HUB_DISCONNECT, 10, 0, 0);
    run(100);
    log_now.newest = 20;
    run(5);
    now_ns += HUB_LATE_NS - 1;
    run(5); /* ten behind */
    now_ns += HUB_LATE_NS - 1;
    log_now.newest = 25;
    run(0);
    now_ns += 1;
    run(0);
    cr_assert_str_eq(story, "synced 0\nidle\n"
                            "1..5\nblocked for 250 ms\n"
                            "6..10\nblocked\n"
                            "blocked for 0 ms\n"
                            "end at 10, lag 15\n");
}

Test(hub, disconnecting_reader_ends_when_retention_passes_it)
{
    begin(HUB_DISCONNECT, 0, 5, 5);
    run(0);
    log_now = (struct hub_log){.epoch = LOG, .oldest = 8, .newest = 9};
    run(10);
    cr_assert_str_eq(story, "synced 5\nidle\nend at 5, lag 4\n");
}

Test(hub, limits_from_none_to_the_largest)
{
    static const struct {
        uint64_t limit, stays, ends;
    } table[] = {
        {0, HUB_DEFAULT_LAG_LIMIT, HUB_DEFAULT_LAG_LIMIT + 1}, /* not given */
        {1, 1, 2},
        {HUB_DEFAULT_LAG_LIMIT + 1, HUB_DEFAULT_LAG_LIMIT + 1, HUB_DEFAULT_LAG_LIMIT + 2},
        {UINT64_MAX, UINT64_MAX - 1, 0}, /* never */
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        begin(HUB_DISCONNECT, table[i].limit, 0, 0);
        run(0);
        log_now.newest = table[i].stays;
        run(0);
        now_ns += 10 * SECOND;
        run(0);
        cr_assert_str_eq(story, "synced 0\nidle\nblocked\nblocked\n", "%zu: %s", i, story);
        if (!table[i].ends)
            continue;
        log_now.newest = table[i].ends;
        now_ns += HUB_LATE_NS;
        run(0);
        cr_assert_not_null(strstr(story, "end at 0, lag"), "%zu: %s", i, story);
    }
}

Test(hub, marks_are_due_after_quiet_intervals)
{
    begin(HUB_LAG, 0, 5, 5);
    cr_assert_eq(hub_mark_wait_ns(&reader, now_ns + 1000 * SECOND), UINT64_MAX);
    reader.mark_interval_ns = 10 * SECOND;
    cr_assert_eq(hub_mark_wait_ns(&reader, now_ns), 10 * SECOND);
    now_ns += 9 * SECOND;
    cr_assert_eq(hub_mark_wait_ns(&reader, now_ns), SECOND);
    hub_looked(&reader, 6, false, now_ns); /* nothing matched: still quiet */
    cr_assert_eq(hub_mark_wait_ns(&reader, now_ns), SECOND);
    now_ns += SECOND;
    cr_assert_eq(hub_mark_wait_ns(&reader, now_ns), 0);
    hub_mark_sent(&reader, now_ns);
    cr_assert_eq(hub_mark_wait_ns(&reader, now_ns), 10 * SECOND);
    now_ns += 5 * SECOND;
    hub_looked(&reader, 7, true, now_ns);
    cr_assert_eq(hub_mark_wait_ns(&reader, now_ns), 10 * SECOND);
}
