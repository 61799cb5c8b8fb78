/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/filter.h"
#include "broker/engine/journal.h"
#include "broker/service/matcher.h"
#include "proto/event_view.h"
#include "sensebus/v1/event.pb-c.h"
#include "sensebus/v1/events.pb-c.h"
#include "tests/lib/failing_alloc.h"

static struct matcher m;
static struct matcher_class *hits[16];
static size_t n_hits;

static void setup(void)
{
    matcher_init(&m, 100, 42); /* the log holds 100 records when the broker starts */
}

static void teardown(void)
{
    matcher_deinit(&m);
}

TestSuite(matcher, .init = setup, .fini = teardown);

static void on_hit(void *data, struct matcher_class *class)
{
    (void)data;
    cr_assert_lt(n_hits, 16);
    hits[n_hits++] = class;
}

static struct matcher_class *join_filter(const Sensebus__V1__Filter *filter)
{
    struct matcher_class *c = NULL;
    struct filter *f = NULL;
    char err[160];

    cr_assert_eq(filter_new(filter, &f, err, sizeof err), 0, "%s", err);
    cr_assert_eq(matcher_join(&m, f, &c), 0);
    return c;
}

/* Who wants the records of a code; 0: all. */
static struct matcher_class *join(unsigned code)
{
    Sensebus__V1__Filter filter = SENSEBUS__V1__FILTER__INIT;
    Sensebus__V1__Code codes[] = {(Sensebus__V1__Code)code};

    filter.codes = codes;
    filter.n_codes = code ? 1 : 0;
    return join_filter(&filter);
}

/* A run of records with these codes, from `first` on. */
static struct journal_run make_run(uint64_t first, const unsigned *codes, size_t n)
{
    struct chunk *chunk = chunk_new(n * 256);

    for (size_t i = 0; i < n; i++) {
        Sensebus__V1__Event event = SENSEBUS__V1__EVENT__INIT;
        uint8_t bytes[128];
        event.code = (Sensebus__V1__Code)codes[i];
        event.summary = (char *)"a summary, so that a record has some length";
        cr_assert_lt(sensebus__v1__event__get_packed_size(&event), sizeof bytes);
        size_t len = sensebus__v1__event__pack(&event, bytes);
        chunk->len += record_write(chunk->bytes + chunk->len, bytes, len, first + i, 1);
    }
    return (struct journal_run){
        .chunk = chunk, .bytes = chunk->bytes, .len = chunk->len, .first = first, .last = first + n - 1};
}

static void look(uint64_t first, const unsigned *codes, size_t n)
{
    struct journal_run run = make_run(first, codes, n);
    n_hits = 0;
    cr_assert_eq(matcher_look(&m, &run, on_hit, NULL), 0);
    journal_run_release(&run);
}

/* The sequences of a slice's records as text: "101 103". */
static const char *sequences(const struct slice *records)
{
    static const struct event_limits limits = {.allow_broker_fields = true};
    static char text[256];
    const uint8_t *cursor = records->ptr, *event;
    struct event_view view;
    char err[128];
    size_t len, used = 0;

    text[0] = 0;
    while (records->len && records_next(&cursor, records->ptr + records->len, &event, &len)) {
        cr_assert_eq(event_scan(event, len, &limits, &view, err, sizeof err), 0, "%s", err);
        used += (size_t)snprintf(text + used, sizeof text - used, used ? " %u" : "%u", (unsigned)view.sequence);
    }
    return text;
}

static void assert_takes(struct matcher_class *c, uint64_t from, uint64_t through, size_t max_bytes, const char *wanted,
                         uint64_t wanted_last)
{
    struct slice records;
    uint64_t n, last;

    cr_assert_eq(matcher_take(c, from, through, max_bytes, &records, &n, &last), 0);
    cr_assert_str_eq(sequences(&records), wanted);
    cr_assert_eq(last, wanted_last, "last %u", (unsigned)last);
    chunk_unref(records.owner);
}

static bool is_remembered(struct matcher_class *c, uint64_t from)
{
    struct slice records;
    uint64_t n, last;
    int rc = matcher_take(c, from, UINT64_MAX, 65536, &records, &n, &last);

    if (rc == 0)
        chunk_unref(records.owner);
    return rc == 0;
}

Test(matcher, only_classes_that_match_are_hit)
{
    struct matcher_class *all = join(0), *a = join(203), *b = join(204), *again = join(203);
    const unsigned codes[] = {203, 402, 203};

    cr_assert_eq(a, again);
    look(101, codes, 3);
    cr_assert_eq(n_hits, 1);
    cr_assert_eq(hits[0], a);
    assert_takes(a, 101, 103, 65536, "101 103", 103);
    assert_takes(a, 102, 103, 65536, "103", 103);
    assert_takes(b, 101, 103, 65536, "", 103);
    cr_assert_not(is_remembered(all, 101)); /* takes the run itself */
    matcher_leave(all), matcher_leave(a), matcher_leave(b), matcher_leave(again);
}

Test(matcher, takes_no_more_than_asked)
{
    struct matcher_class *a = join(203);
    const unsigned codes[] = {203, 402, 203, 203, 402};

    look(101, codes, 5);
    assert_takes(a, 101, 105, 1, "101", 102); /* one at least */
    assert_takes(a, 103, 105, 1, "103", 103);
    assert_takes(a, 104, 105, 1, "104", 105);
    assert_takes(a, 101, 103, 65536, "101 103", 103); /* not behind `through` */
    assert_takes(a, 101, 105, 65536, "101 103", 103); /* what is kept serves again */
    assert_takes(a, 104, 200, 65536, "104", 105);
    matcher_leave(a);
}

Test(matcher, remembers_over_several_commits_until_told_to_forget)
{
    struct matcher_class *a = join(203);
    const unsigned codes[] = {203, 402, 203};

    look(101, codes, 3);
    look(104, codes, 3);
    cr_assert_eq(n_hits, 1); /* told again in each run */
    assert_takes(a, 101, 106, 65536, "101 103 104 106", 106);
    cr_assert_not(is_remembered(a, 100));
    cr_assert_not(is_remembered(a, 107));
    matcher_forget(&m);
    cr_assert_not(is_remembered(a, 104));
    look(107, codes, 3);
    cr_assert_not(is_remembered(a, 106));
    assert_takes(a, 107, 109, 65536, "107 109", 109);
    matcher_pass(&m, 150);
    look(151, codes, 3);
    assert_takes(a, 151, 153, 65536, "151 153", 153);
    matcher_leave(a);
}

Test(matcher, a_class_knows_nothing_of_records_before_it)
{
    struct matcher_class *a = join(203), *late;
    const unsigned codes[] = {203, 204};

    look(101, codes, 2);
    late = join(204);
    cr_assert_not(is_remembered(late, 101)); /* 102 matches it: it must look for itself */
    look(103, codes, 2);
    cr_assert_not(is_remembered(late, 102));
    assert_takes(late, 103, 104, 65536, "104", 104);
    matcher_leave(a);
    look(105, codes, 2); /* hits of a class that left are gone with it */
    assert_takes(late, 103, 106, 65536, "104 106", 106);
    matcher_leave(late);
}

Test(matcher, forgets_before_it_holds_too_much)
{
    struct matcher_class *a = join(203);
    const unsigned codes[] = {203};

    for (unsigned i = 0; i < MATCHER_MAX_RUNS; i++)
        look(101 + i, codes, 1);
    cr_assert(is_remembered(a, 101));
    look(101 + MATCHER_MAX_RUNS, codes, 1);
    cr_assert_not(is_remembered(a, 101));
    cr_assert(is_remembered(a, 101 + MATCHER_MAX_RUNS));
    matcher_leave(a);
}

Test(matcher, records_that_are_not_what_they_should_be_are_not_remembered)
{
    struct matcher_class *a = join(203);
    const unsigned codes[] = {203, 203};
    struct journal_run run = make_run(101, codes, 2);

    run.last = 105;
    cr_assert_eq(matcher_look(&m, &run, on_hit, NULL), UV_EINVAL);
    cr_assert_not(is_remembered(a, 101));
    journal_run_release(&run);
    matcher_leave(a);
}

Test(matcher, out_of_memory_remembers_nothing)
{
    struct matcher_class *a = join(203);
    const unsigned codes[] = {203, 402, 203};
    struct slice records;
    uint64_t n, last, first = 101;
    unsigned i = 0;

    for (bool failed = true; failed; i++, first += 3) {
        struct journal_run run = make_run(first, codes, 3);
        failing_alloc_after(i);
        int rc = matcher_look(&m, &run, on_hit, NULL);
        if (rc == 0)
            rc = matcher_take(a, first, first + 2, 65536, &records, &n, &last);
        failed = failing_alloc_stop();
        cr_assert_eq(rc, failed ? UV_ENOMEM : 0, "allocation %u", i);
        if (!failed) {
            cr_assert_eq(n, 2);
            chunk_unref(records.owner);
        }
        journal_run_release(&run);
        matcher_forget(&m);
    }
    cr_assert_geq(i, 2);
    matcher_leave(a);
}

Test(matcher, out_of_memory_joins_nothing)
{
    Sensebus__V1__Filter message = SENSEBUS__V1__FILTER__INIT;
    Sensebus__V1__Code codes[] = {203};
    struct matcher_class *c = NULL;
    char err[160];
    unsigned i = 0;

    message.codes = codes;
    message.n_codes = 1;
    for (bool failed = true; failed; i++) {
        struct filter *f = NULL;
        cr_assert_eq(filter_new(&message, &f, err, sizeof err), 0);
        failing_alloc_after(i);
        int rc = matcher_join(&m, f, &c);
        failed = failing_alloc_stop();
        cr_assert_eq(rc, failed ? UV_ENOMEM : 0, "allocation %u", i);
        cr_assert_eq(m.index.n, failed ? 0 : 1);
    }
    matcher_leave(c);
}

/* ---- what is noted at acceptance */

static void note_known(uint64_t sequence, unsigned code, known_id id)
{
    struct event_view view = {.code = code};
    matcher_note(&m, &view, id, sequence);
}

static void note(uint64_t sequence, unsigned code)
{
    note_known(sequence, code, 0);
}

/* Records that are committed as 402: whoever gets them by another code gets them from notes. */
static void look_at_others(uint64_t first, size_t n)
{
    unsigned codes[8];

    cr_assert_leq(n, 8);
    for (size_t i = 0; i < n; i++)
        codes[i] = 402;
    look(first, codes, n);
}

Test(matcher, noted_records_are_not_looked_at_again)
{
    struct matcher_class *a = join(203), *b = join(204), *other = join(402);

    note(101, 204);
    note(102, 203);
    note(103, 901);
    note(104, 203);
    note(105, 901);
    note(106, 901);
    look_at_others(101, 4);
    cr_assert_eq(n_hits, 2);
    look_at_others(105, 2);
    cr_assert_eq(n_hits, 0);
    assert_takes(a, 101, 106, 65536, "102 104", 106);
    assert_takes(b, 101, 106, 65536, "101", 106);
    assert_takes(other, 101, 106, 65536, "", 106);
    matcher_leave(a), matcher_leave(b), matcher_leave(other);
}

/* What is looked up shows: events that are not what their number says. */
Test(matcher, who_wants_a_remembered_event_is_looked_up_once)
{
    enum { KNOWN = KNOWN_EVENTS + 7, NOBODYS = KNOWN_EVENTS + 8 };
    struct matcher_class *a = join(203), *other = join(402);

    note_known(101, 203, KNOWN);
    note_known(102, 901, KNOWN);
    note_known(103, 901, NOBODYS);
    note_known(104, 203, NOBODYS);
    note(105, 203);
    look_at_others(101, 5);
    assert_takes(a, 101, 105, 65536, "101 102 105", 105);
    assert_takes(other, 101, 105, 65536, "", 105);
    note_known(106, 901, KNOWN + KNOWN_EVENTS); /* another one is in its place */
    note_known(107, 203, KNOWN + KNOWN_EVENTS);
    note_known(108, 203, KNOWN);
    look_at_others(106, 3);
    assert_takes(a, 106, 108, 65536, "108", 108);
    matcher_leave(a), matcher_leave(other);
}

Test(matcher, who_wants_a_remembered_event_is_looked_up_again_when_filters_change)
{
    enum { KNOWN = 3 * KNOWN_EVENTS };
    Sensebus__V1__Filter filter = SENSEBUS__V1__FILTER__INIT;
    uint32_t two[] = {2};
    struct matcher_class *a = join(203), *b, *many;

    note_known(101, 203, KNOWN);
    look_at_others(101, 1);
    assert_takes(a, 101, 101, 65536, "101", 101);
    b = join(901);
    note_known(102, 901, KNOWN);
    look_at_others(102, 1);
    assert_takes(a, 102, 102, 65536, "", 102);
    assert_takes(b, 102, 102, 65536, "102", 102);
    matcher_leave(b);
    note_known(103, 203, KNOWN);
    look_at_others(103, 1);
    assert_takes(a, 103, 103, 65536, "103", 103);
    filter.categories = two;
    filter.n_categories = 1;
    many = join_filter(&filter);
    note_known(104, 203, KNOWN); /* two want it: that is not kept */
    note_known(105, 901, KNOWN);
    look_at_others(104, 2);
    assert_takes(a, 104, 105, 65536, "104", 105);
    assert_takes(many, 104, 105, 65536, "104", 105);
    matcher_leave(a), matcher_leave(many);
}

Test(matcher, notes_hold_for_the_same_filters_only)
{
    struct matcher_class *a = join(203), *b, *all;

    note(101, 203);
    all = join(0); /* has no part in it */
    look_at_others(101, 1);
    assert_takes(a, 101, 101, 65536, "101", 101);
    note(102, 203);
    b = join(402);
    look_at_others(102, 1);
    assert_takes(a, 102, 102, 65536, "", 102);
    assert_takes(b, 102, 102, 65536, "102", 102);
    note(103, 203);
    matcher_leave(a);
    look_at_others(103, 1);
    assert_takes(b, 103, 103, 65536, "103", 103);
    matcher_leave(b), matcher_leave(all);
}

Test(matcher, records_between_notes_are_looked_at)
{
    struct matcher_class *a = join(203), *other = join(402);

    note(101, 203);
    note(103, 203); /* 102 is the broker's own: notes begin again when 101 is committed */
    look_at_others(101, 3);
    assert_takes(a, 101, 103, 65536, "101", 103);
    assert_takes(other, 101, 103, 65536, "102 103", 103);
    note(105, 203);
    note(106, 901);
    look_at_others(104, 3);
    assert_takes(a, 104, 106, 65536, "105", 106);
    assert_takes(other, 104, 106, 65536, "104", 106);
    note(107, 203);
    note(108, 203);
    matcher_pass(&m, 107); /* was not needed */
    look_at_others(108, 1);
    assert_takes(a, 108, 108, 65536, "108", 108);
    note(109, 203);
    matcher_pass(&m, 200);
    note(201, 203);
    look_at_others(201, 1);
    assert_takes(a, 201, 201, 65536, "201", 201);
    matcher_leave(a), matcher_leave(other);
}

Test(matcher, a_record_that_cannot_be_noted_is_looked_at)
{
    struct matcher_class *a = join(203), *other = join(402);

    failing_alloc_after(0);
    note(101, 203);
    cr_assert(failing_alloc_stop());
    note(102, 203);
    look_at_others(101, 2);
    assert_takes(a, 101, 102, 65536, "102", 102);
    assert_takes(other, 101, 102, 65536, "101", 102);
    /* As many as there may be, and one more. */
    for (uint64_t i = 0; i <= MATCHER_MAX_NOTED; i++)
        note(103 + i, 203);
    matcher_pass(&m, 102 + MATCHER_MAX_NOTED);
    look_at_others(103 + MATCHER_MAX_NOTED, 1);
    assert_takes(a, 103 + MATCHER_MAX_NOTED, 103 + MATCHER_MAX_NOTED, 65536, "", 103 + MATCHER_MAX_NOTED);
    matcher_leave(a), matcher_leave(other);
}

Test(matcher, of_what_is_remembered_the_older_half_goes)
{
    struct matcher_class *a = join(203), *b = join(204), *rare = join(205);
    const unsigned codes[] = {203, 402, 204}, with_rare[] = {203, 205, 204};
    uint64_t first = 101;

    /* Somebody has taken the first ones, and somebody asks for too little at a time. */
    look(first, with_rare, 3);
    assert_takes(a, first, first + 2, 65536, "101", 103);
    assert_takes(rare, first, first + 2, 65536, "102", 103);
    first += 3;
    for (unsigned i = 1; i < MATCHER_MAX_RUNS; i++, first += 3)
        look(first, codes, 3);
    assert_takes(b, 101, first, 1, "103", 105);
    cr_assert(is_remembered(a, 101));
    look(first, codes, 3);
    first += 3;

    uint64_t half = 101 + 3 * (MATCHER_MAX_RUNS / 2);
    char wanted[32];
    cr_assert_not(is_remembered(a, half - 1));
    cr_assert_not(is_remembered(b, half - 1));
    snprintf(wanted, sizeof wanted, "%u", (unsigned)half);
    assert_takes(a, half, first - 1, 1, wanted, half + 2);
    snprintf(wanted, sizeof wanted, "%u", (unsigned)half + 2);
    assert_takes(b, half, first - 1, 1, wanted, half + 4);
    snprintf(wanted, sizeof wanted, "%u", (unsigned)first - 3);
    assert_takes(a, first - 3, first - 1, 65536, wanted, first - 1);
    assert_takes(rare, half, first - 1, 65536, "", first - 1);
    /* And on and on. */
    for (unsigned i = 0; i < 3 * MATCHER_MAX_RUNS; i++, first += 3)
        look(first, codes, 3);
    snprintf(wanted, sizeof wanted, "%u", (unsigned)first - 1);
    assert_takes(b, first - 3, first - 1, 65536, wanted, first - 1);
    matcher_leave(a), matcher_leave(b), matcher_leave(rare);
}
