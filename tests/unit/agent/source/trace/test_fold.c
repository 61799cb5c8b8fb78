/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/trace/fold.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define MS 1000000ull

static struct trace_fold fold;
static char story[4096]; /* "target:lun x count" of each that left */

static void on_left(void *data, const struct trace_record *r, const struct trace_judgement *j, uint32_t count)
{
    size_t used = strlen(story);

    (void)data;
    (void)j;
    snprintf(story + used, sizeof story - used, "%d:%d x%u\n", r->place.target, (int)r->place.lun, count);
}

static struct trace_record failed(uint64_t ms, int lun, int retries)
{
    return (struct trace_record){.kind = TRACE_DONE,
                                 .mono_ns = ms * MS,
                                 .place = {0, 0, 0, lun},
                                 .result = 2,
                                 .retries = retries,
                                 .allowed = 5,
                                 .cdb = {0x28},
                                 .cdb_len = 10,
                                 .sense = {0x70, 0, 0xb, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x47, 3},
                                 .sense_len = 18};
}

static void add(const struct trace_record *r)
{
    struct trace_judgement j = trace_judge(r);

    trace_fold_add(&fold, r, &j, on_left, NULL);
}

static void begin(void)
{
    memset(&fold, 0, sizeof fold);
    story[0] = 0;
}
TestSuite(fold, .init = begin);

Test(fold, makes_one_of_the_retries_of_a_command)
{
    struct trace_record r;

    for (int i = 0; i < 3; i++) {
        r = failed(10 + (uint64_t)i * 5, 1, i);
        add(&r);
    }
    cr_expect_str_eq(story, "");
    cr_expect_eq(trace_fold_due(&fold), 20 * MS + TRACE_FOLD_QUIET_NS);
    trace_fold_flush(&fold, 20 * MS + TRACE_FOLD_QUIET_NS - 1, on_left, NULL);
    cr_expect_str_eq(story, "");
    trace_fold_flush(&fold, 20 * MS + TRACE_FOLD_QUIET_NS, on_left, NULL);
    cr_expect_str_eq(story, "0:1 x3\n");
    cr_expect_eq(trace_fold_due(&fold), UINT64_MAX);
}

Test(fold, tells_at_once_when_no_retry_is_left)
{
    for (int i = 0; i <= 5; i++) {
        struct trace_record r = failed(10, 1, i);

        add(&r);
    }
    cr_expect_str_eq(story, "0:1 x6\n");
}

Test(fold, keeps_units_commands_and_results_apart)
{
    struct trace_record a = failed(10, 1, 0), b = failed(11, 2, 0), c = failed(12, 1, 0), d = failed(13, 1, 0);

    c.cdb[5] = 9;
    d.sense[13] = 4;
    add(&a);
    add(&b);
    add(&c);
    add(&d);
    trace_fold_flush(&fold, UINT64_MAX, on_left, NULL);
    cr_expect_str_eq(story, "0:1 x1\n0:2 x1\n0:1 x1\n0:1 x1\n");
}

Test(fold, makes_one_of_all_commands_that_a_lost_path_fails)
{
    for (int i = 0; i < 100; i++) {
        struct trace_record r = failed(10, 1, i % 6);

        r.result = 0xe0000;
        r.sense_len = 0;
        memset(r.sense, 0, sizeof r.sense);
        r.cdb[5] = (uint8_t)i;
        add(&r);
    }
    trace_fold_flush(&fold, UINT64_MAX, on_left, NULL);
    cr_expect_str_eq(story, "0:1 x100\n");
}

Test(fold, does_not_hold_longer_than_it_may)
{
    for (uint64_t ms = 0; ms < 2200; ms += 100) {
        struct trace_record r = failed(ms, 1, 0);

        add(&r);
    }
    cr_expect_str_eq(story, "0:1 x20\n"); /* those of the first two seconds */
}

Test(fold, holds_no_unit_attention)
{
    struct trace_record r = failed(10, 1, 0);

    r.sense[2] = 6;
    add(&r);
    add(&r);
    cr_expect_str_eq(story, "0:1 x1\n0:1 x1\n");
}

Test(fold, says_not_ready_once_while_it_lasts)
{
    struct trace_record r = failed(0, 1, 0), other;

    r.sense[2] = 2;
    r.sense[12] = 4;
    for (uint64_t s = 0; s < 600; s += 5) { /* what a path checker hears */
        r.mono_ns = s * 1000 * MS;
        add(&r);
    }
    cr_expect_str_eq(story, "0:1 x1\n");
    cr_expect_eq(fold.n_repeated, 119);
    other = r;
    other.sense[13] = 0xb; /* another reason */
    add(&other);
    r.place.lun = 2; /* another unit */
    add(&r);
    other.mono_ns += TRACE_STATE_HOLD_NS; /* was not asked for long */
    add(&other);
    cr_expect_str_eq(story, "0:1 x1\n0:1 x1\n0:2 x1\n0:1 x1\n");
}

Test(fold, lets_the_oldest_go_when_it_is_full)
{
    for (int i = 0; i <= TRACE_FOLD_MAX; i++) {
        struct trace_record r = failed((uint64_t)i + 1, i, 0);

        add(&r);
    }
    cr_expect_str_eq(story, "0:0 x1\n");
}

Test(fold, counts_every_record_it_took)
{
    uint32_t seed = 7;
    unsigned left = 0, count;

    for (int i = 0; i < 1000; i++) {
        struct trace_record r;

        seed = seed * 1664525 + 1013904223;
        r = failed((uint64_t)i, (int)(seed >> 24) % 80, 0);
        story[0] = 0;
        add(&r);
        for (const char *line = story; sscanf(line, "%*d:%*d x%u", &count) == 1; line = strchr(line, '\n') + 1)
            left += count;
    }
    story[0] = 0;
    trace_fold_flush(&fold, UINT64_MAX, on_left, NULL);
    for (const char *line = story; sscanf(line, "%*d:%*d x%u", &count) == 1; line = strchr(line, '\n') + 1)
        left += count;
    cr_expect_eq(left, 1000);
}

/* Through a hook that does not tell the sense: a unit attention and a medium error look alike. */
Test(fold, keeps_commands_apart_whose_sense_is_not_told)
{
    struct trace_record a = failed(10, 1, 0), b;

    a.sense_len = 0;
    memset(a.sense, 0, sizeof a.sense);
    b = a;
    b.cdb[0] = 0;
    add(&a);
    add(&b);
    add(&a);
    trace_fold_flush(&fold, UINT64_MAX, on_left, NULL);
    cr_expect_str_eq(story, "0:1 x2\n0:1 x1\n");
}

static struct trace_record told(uint64_t ms, const char *initiator, const char *target, uint8_t key, uint8_t asc)
{
    struct trace_record r = failed(ms, 1, -1);

    r.kind = TRACE_ANSWER;
    r.place = (struct observation_place){-1, -1, -1, 1};
    r.allowed = -1;
    r.sense[2] = key;
    r.sense[12] = asc;
    snprintf(r.nexus.initiator, sizeof r.nexus.initiator, "%s", initiator);
    snprintf(r.nexus.target, sizeof r.nexus.target, "%s", target);
    return r;
}

Test(fold, keeps_initiators_and_targets_apart)
{
    static const char *const nexuses[][2] = {{"a", "t"}, {"b", "t"}, {"a", "u"}, {"a", "t"}};
    struct trace_record r;

    for (size_t i = 0; i < 4; i++) {
        r = told(10 + i, nexuses[i][0], nexuses[i][1], 3, 0x11);
        add(&r);
    }
    trace_fold_flush(&fold, UINT64_MAX, on_left, NULL);
    cr_expect_str_eq(story, "-1:1 x2\n-1:1 x1\n-1:1 x1\n");
}

Test(fold, tells_each_initiator_once_that_the_unit_is_not_ready)
{
    struct trace_record r;

    for (size_t i = 0; i < 6; i++) {
        r = told(10 + i, i % 2 ? "a" : "b", "t", 2, 4);
        add(&r);
    }
    cr_expect_str_eq(story, "-1:1 x1\n-1:1 x1\n");
    cr_expect_eq(fold.n_repeated, 4);
}
