/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/storm.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/identify.h"
#include "agent/source/storm_key.h"
#include "sensebus/v1/code.pb-c.h"
#include "sensebus/v1/event.pb-c.h"
#include "tests/lib/failing_alloc.h"

#define CODE(name) SENSEBUS__V1__CODE__##name
#define MS         1000000ull

static struct record said(int64_t lun, uint32_t code, const char *name, uint64_t wall)
{
    return (struct record){
        .code = code,
        .source = SENSEBUS__V1__SOURCE__SOURCE_TRACE,
        .place = {.adapter = "host3", .controller = 3, .target = 0, .lun = lun},
        .wall_ns = wall,
        .boot_ns = wall,
        .native = {.name = name},
    };
}

static struct record sensed(int64_t lun, uint8_t ascq, const uint8_t *sense)
{
    struct record r = said(lun, CODE(PARAMETERS_CHANGED), "unit-attention", 1);

    (void)ascq;
    r.sense = sense;
    r.sense_len = 18;
    r.native.raw = sense;
    r.native.raw_len = 18;
    return r;
}

static struct storm *storm_of(struct storm_options options)
{
    struct storm *s = storm_new(&options);

    cr_assert_not_null(s);
    return s;
}

static enum storm_verdict take(struct storm *s, struct record r, uint64_t ms)
{
    return storm_take(s, &r, ms * MS);
}

static const char *comes(struct storm *s, uint64_t ms)
{
    static char text[4096];
    const struct record *r;
    size_t at = 0;

    text[0] = 0;
    while ((r = storm_next(s, ms * MS)))
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s lun %d x%d %d..%d", at ? "|" : "",
                               r->native.name ? r->native.name : "lost", (int)r->place.lun,
                               (int)(r->gap ? r->gap->count : r->count), (int)r->first_wall_ns, (int)r->wall_ns);
    return text;
}

Test(storm, the_first_is_told_at_once_and_the_others_as_one_with_count_and_times)
{
    struct storm *s = storm_of((struct storm_options){0});

    cr_assert_eq(take(s, said(1, CODE(LINK_ERROR), "a", 10), 0), STORM_TELL);
    cr_assert_eq(storm_deadline(s), UINT64_MAX, "nothing is held");
    for (unsigned i = 1; i <= 5; i++)
        cr_assert_eq(take(s, said(1, CODE(LINK_ERROR), "a", 10 + i), i), STORM_HELD);
    cr_assert_eq(storm_deadline(s), 1000 * MS);
    cr_assert_str_eq(comes(s, 999), "");
    cr_assert_str_eq(comes(s, 1000), "a lun 1 x5 11..15");
    cr_assert_eq(storm_deadline(s), UINT64_MAX);
    storm_free(s);
}

Test(storm, updates_come_after_twice_the_time_while_it_lasts_and_quiet_ends_it)
{
    struct storm *s = storm_of((struct storm_options){.hold_max_ms = 4000});
    char told[256] = "";
    uint64_t ms;

    cr_assert_eq(take(s, said(1, CODE(LINK_ERROR), "a", 0), 0), STORM_TELL);
    for (ms = 100; ms <= 20000; ms += 100) {
        cr_assert_eq(take(s, said(1, CODE(LINK_ERROR), "a", ms), ms), STORM_HELD);
        if (comes(s, ms)[0])
            snprintf(told + strlen(told), sizeof told - strlen(told), " %d", (int)ms);
    }
    cr_assert_str_eq(told, " 1000 3000 7000 11000 15000 19000");
    ms = 19000 + 4000;
    comes(s, ms);
    cr_assert_eq(take(s, said(1, CODE(LINK_ERROR), "a", ms), ms + 8000), STORM_TELL, "news again");
    storm_free(s);
}

Test(storm, what_differs_in_key_is_not_equal)
{
    struct storm *s = storm_of((struct storm_options){0});
    struct identity one = {.known = true, .designator = "naa.1"}, two = {.known = true, .designator = "naa.2"};
    struct record r = said(1, CODE(LINK_ERROR), "a", 0);

    cr_assert_eq(take(s, r, 0), STORM_TELL);
    r.native.subcode = 1;
    cr_assert_eq(take(s, r, 0), STORM_TELL, "another native code");
    r.source = SENSEBUS__V1__SOURCE__SOURCE_SYSFS;
    cr_assert_eq(take(s, r, 0), STORM_TELL, "another source");
    r.code = CODE(DEVICE_WARNING);
    cr_assert_eq(take(s, r, 0), STORM_TELL, "another code");
    r.synthetic = true;
    cr_assert_eq(take(s, r, 0), STORM_TELL, "synthetic");
    r.place.lun = 2;
    cr_assert_eq(take(s, r, 0), STORM_TELL, "another unit");
    r.place.target_name = "iqn.t";
    cr_assert_eq(take(s, r, 0), STORM_TELL, "another target");
    r.place.identity = &one;
    cr_assert_eq(take(s, r, 0), STORM_TELL, "now it is known who it is");
    r.place.identity = &two;
    cr_assert_eq(take(s, r, 0), STORM_TELL, "another disk at the place");
    cr_assert_eq(take(s, r, 0), STORM_HELD);
    storm_free(s);
}

Test(storm, what_a_served_unit_told_another_initiator_is_not_equal)
{
    char name[] = "iqn.a";
    struct storm *s = storm_of((struct storm_options){0});
    struct record r = said(1, CODE(ALUA_STATE_CHANGED), "target_cmd_complete", 10);

    r.place.initiator = name;
    cr_assert_eq(take(s, r, 0), STORM_TELL);
    cr_assert_eq(take(s, r, 1), STORM_HELD);
    r.place.initiator = "iqn.b";
    cr_assert_eq(take(s, r, 2), STORM_TELL);
    name[4] = 'x'; /* borrowed only while it is taken */
    cr_assert_str_eq(comes(s, 1001), "target_cmd_complete lun 1 x1 10..10");
    storm_free(s);
}

Test(storm, distinct_senses_are_kept_and_what_does_not_fit_is_counted)
{
    struct storm *s = storm_of((struct storm_options){0});
    uint8_t sense[18] = {0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x2a, 0};
    const struct record *r;

    cr_assert_eq(take(s, sensed(1, 0, sense), 0), STORM_TELL);
    for (uint8_t i = 0; i < 20; i++) {
        sense[8] = i; /* COMMAND-SPECIFIC INFORMATION */
        cr_assert_eq(take(s, sensed(1, 0, sense), 1), STORM_HELD);
        cr_assert_eq(take(s, sensed(1, 0, sense), 1), STORM_HELD);
    }
    r = storm_next(s, 1000 * MS);
    cr_assert_eq(r->count, 40);
    cr_assert_eq(r->n_evidence, RECORD_MAX_EVIDENCE);
    cr_assert_eq(r->native.raw[8], 0);
    cr_assert_eq(r->evidence[0].raw[8], 1);
    cr_assert_eq(r->evidence[15].raw[8], 16);
    cr_assert_str_eq(r->native.detail, "and 6 more different native records", "3 senses, each said twice");
    cr_assert_null(storm_next(s, 1000 * MS));
    storm_free(s);
}

Test(storm, bits_are_or_ed)
{
    struct storm *s = storm_of((struct storm_options){0});
    struct record r = said(1, CODE(LINK_ERROR), "a", 0);

    take(s, r, 0);
    r.more_bits = 1;
    take(s, r, 0);
    r.more_bits = 4;
    take(s, r, 0);
    cr_assert_eq(storm_next(s, 1000 * MS)->more_bits, 5);
    storm_free(s);
}

Test(storm, what_carries_a_bit_waits_a_tenth)
{
    struct storm *s = storm_of((struct storm_options){.hold_max_ms = 4000});
    struct record r = said(2, CODE(LINK_ERROR), "a", 1);
    char told[256] = "";

    cr_assert_eq(take(s, said(1, CODE(POWER_ON_OR_RESET), "a", 0), 0), STORM_TELL);
    for (uint64_t ms = 10; ms <= 1200; ms += 10) {
        cr_assert_eq(take(s, said(1, CODE(POWER_ON_OR_RESET), "a", ms), ms), STORM_HELD);
        if (comes(s, ms)[0])
            snprintf(told + strlen(told), sizeof told - strlen(told), " %d", (int)ms);
    }
    cr_assert_str_eq(told, " 100 300 700 1100");
    storm_finish(s);
    comes(s, 1200);
    cr_assert_eq(take(s, r, 2000), STORM_TELL);
    cr_assert_eq(take(s, r, 2010), STORM_HELD);
    cr_assert_eq(storm_deadline(s), 3000 * MS);
    r.more_bits = 2;
    cr_assert_eq(take(s, r, 2020), STORM_HELD);
    cr_assert_eq(storm_deadline(s), 2120 * MS, "also when only a later one has it");
    storm_free(s);
}

Test(storm, one_bad_disk_is_limited_and_hides_no_other)
{
    struct storm *s = storm_of((struct storm_options){.burst = 5, .rate_per_s = 10});
    unsigned told = 0;

    for (uint32_t i = 0; i < 1000; i++) {
        struct record r = said(1, CODE(LINK_ERROR), "a", i);

        r.native.subcode = i % 20; /* always something else */
        told += take(s, r, i) == STORM_TELL;
        while (storm_next(s, i * MS))
            told++;
    }
    cr_assert_eq(take(s, said(2, CODE(LINK_ERROR), "a", 0), 1000), STORM_TELL, "the other may speak");
    cr_assert_leq(told, 5 + 10);
    cr_assert_geq(told, 10);
    cr_assert_gt(storm_count(s).limited, 0);
    storm_free(s);
}

Test(storm, limited_ones_are_told_as_tokens_come)
{
    struct storm *s = storm_of((struct storm_options){.burst = 1, .rate_per_s = 10});

    cr_assert_eq(take(s, said(1, CODE(LINK_ERROR), "a", 1), 0), STORM_TELL);
    cr_assert_eq(take(s, said(1, CODE(LINK_ERROR), "b", 2), 0), STORM_HELD);
    cr_assert_eq(take(s, said(1, CODE(LINK_ERROR), "c", 3), 0), STORM_HELD);
    cr_assert_eq(storm_deadline(s), 100 * MS);
    cr_assert_str_eq(comes(s, 100), "b lun 1 x1 2..2");
    cr_assert_eq(storm_deadline(s), 200 * MS);
    cr_assert_str_eq(comes(s, 200), "c lun 1 x1 3..3");
    storm_free(s);
}

Test(storm, the_last_state_told_is_the_last_state)
{
    struct storm *s = storm_of((struct storm_options){0});

    cr_assert_eq(take(s, said(1, CODE(DEVICE_OFFLINE), "off", 1), 0), STORM_TELL);
    cr_assert_eq(take(s, said(1, CODE(DEVICE_OFFLINE), "off", 2), 10), STORM_HELD);
    cr_assert_eq(take(s, said(1, CODE(DEVICE_ONLINE), "on", 3), 20), STORM_TELL);
    cr_assert_str_eq(comes(s, 20), "off lun 1 x1 2..2", "before the first of another kind");
    cr_assert_eq(take(s, said(1, CODE(DEVICE_ONLINE), "on", 4), 30), STORM_HELD);
    cr_assert_eq(take(s, said(1, CODE(DEVICE_OFFLINE), "off", 5), 40), STORM_HELD);
    cr_assert_str_eq(comes(s, 2000), "on lun 1 x1 4..4|off lun 1 x1 5..5");
    storm_free(s);
}

Test(storm, what_a_caller_asked_for_and_service_events_are_never_held)
{
    struct storm *s = storm_of((struct storm_options){0});
    struct record r = said(1, CODE(LUN_RESET), "reset", 1);

    take(s, said(1, CODE(LINK_ERROR), "a", 1), 0);
    take(s, said(1, CODE(LINK_ERROR), "a", 2), 0);
    r.origin_session = "s1";
    cr_assert_eq(take(s, r, 0), STORM_TELL);
    cr_assert_str_eq(comes(s, 0), "a lun 1 x1 2..2", "what was before it comes before it");
    cr_assert_eq(take(s, r, 0), STORM_TELL);
    cr_assert_eq(take(s, said(1, CODE(EVENTS_LOST), "lost", 1), 0), STORM_TELL);
    cr_assert_eq(take(s, said(1, CODE(EVENTS_LOST), "lost", 1), 0), STORM_TELL);
    storm_free(s);
}

Test(storm, what_a_reporter_found_itself_is_never_held_and_begins_anew_what_it_is_about)
{
    struct storm *s = storm_of((struct storm_options){0});
    struct record unit = said(1, CODE(POWER_ON_OR_RESET), "a", 1), session = said(-1, CODE(NEXUS_LOST), "lost", 9);
    struct record other = said(1, CODE(POWER_ON_OR_RESET), "a", 1), found = said(1, CODE(DEVICE_ONLINE), "found", 9);

    other.place.target = 1;
    session.prompt = found.prompt = true;
    take(s, unit, 0);
    take(s, unit, 0);
    take(s, other, 0);
    take(s, other, 0);
    cr_assert_eq(take(s, session, 1), STORM_TELL);
    cr_assert_str_eq(comes(s, 1), "a lun 1 x1 1..1",
                     "what its unit said before comes before it; others have nothing "
                     "to do with it");
    cr_assert_eq(take(s, session, 1), STORM_TELL, "as often as it happens");
    cr_assert_eq(take(s, unit, 2), STORM_TELL, "the next session has its own first");
    cr_assert_eq(take(s, unit, 2), STORM_HELD);
    cr_assert_eq(take(s, other, 2), STORM_HELD);
    cr_assert_eq(take(s, said(-1, CODE(REPORTED_LUNS_CHANGED), "luns", 7), 3), STORM_TELL);
    cr_assert_eq(take(s, said(-1, CODE(REPORTED_LUNS_CHANGED), "luns", 8), 3), STORM_HELD);
    cr_assert_eq(take(s, found, 4), STORM_TELL);
    cr_assert_str_eq(comes(s, 4), "a lun 1 x1 1..1|luns lun -1 x1 8..8", "the cause before what was found");
    storm_free(s);
}

Test(storm, parameters_are_words_too_but_those_that_only_count)
{
    struct storm *s = storm_of((struct storm_options){.max_kinds = 2});
    struct record r = said(1, CODE(VENDOR_SPECIFIC), "async-message", 1);
    const struct record *told;

    r.native.n_parameters = 1;
    cr_assert_eq(take(s, r, 0), STORM_TELL);
    r.native.parameters[0] = 1;
    cr_assert_eq(take(s, r, 0), STORM_TELL, "it says something else");
    cr_assert_eq(take(s, r, 0), STORM_HELD);
    storm_finish(s);
    while ((told = storm_next(s, 0)))
        cr_assert_eq(told->native.parameters[0], 1);
    r.source = SENSEBUS__V1__SOURCE__SOURCE_FC_NETLINK;
    cr_assert_eq(take(s, r, 5000), STORM_TELL);
    r.native.parameters[0] = 2; /* the number of the message */
    cr_assert_eq(take(s, r, 5000), STORM_HELD);
    storm_free(s);
}

Test(storm, too_many_kinds_become_one_of_their_code_and_else_a_loss_that_says_how_many)
{
    struct storm *s = storm_of((struct storm_options){.burst = 1, .rate_per_s = 1, .max_kinds = 2});

    cr_assert_eq(take(s, said(1, CODE(LINK_ERROR), "a", 1), 0), STORM_TELL);
    cr_assert_eq(take(s, said(1, CODE(LINK_ERROR), "b", 2), 0), STORM_HELD);
    cr_assert_eq(take(s, said(1, CODE(LINK_ERROR), "c", 3), 0), STORM_HELD);
    cr_assert_eq(take(s, said(1, CODE(LINK_ERROR), "d", 4), 0), STORM_HELD, "with c");
    cr_assert_eq(take(s, said(1, CODE(LUN_RESET), "e", 5), 0), STORM_HELD, "lost");
    cr_assert_eq(take(s, said(1, CODE(BUS_RESET), "f", 6), 0), STORM_HELD, "lost");
    cr_assert_eq(storm_count(s).lost, 2);
    storm_finish(s);
    {
        const struct record *r = storm_next(s, 0);

        cr_assert_str_eq(r->native.name, "b");
        r = storm_next(s, 0);
        cr_assert_str_eq(r->native.name, "c");
        cr_assert_eq(r->count, 2);
        cr_assert_str_eq(r->evidence[0].name, "d");
        r = storm_next(s, 0);
        cr_assert_eq(r->code, CODE(EVENTS_LOST));
        cr_assert_eq(r->gap->count, 2);
        cr_assert_eq(r->gap->aix_bits, 4);
        cr_assert_eq(r->scope, SENSEBUS__V1__SCOPE__SCOPE_LUN);
        cr_assert_null(storm_next(s, 0));
    }
    storm_free(s);
}

Test(storm, whoever_would_have_heard_of_what_is_lost_hears_of_the_loss)
{
    static const struct {
        struct record_place place;
        uint32_t mode, scope;
    } table[] = {
        {{.adapter = "host3", .target = 0, .lun = 1}, 0, SENSEBUS__V1__SCOPE__SCOPE_LUN},
        {{.adapter = "iscsi0", .target = -1, .lun = 1, .target_name = "iqn.a"}, 0, SENSEBUS__V1__SCOPE__SCOPE_LUN},
        {{.adapter = "host3", .target = 0, .lun = -1}, 0, SENSEBUS__V1__SCOPE__SCOPE_TARGET},
        {{.adapter = "host3", .target = -1, .lun = -1}, 0, SENSEBUS__V1__SCOPE__SCOPE_ADAPTER},
        {{.adapter = "tgt1", .target = -1, .lun = 4, .target_name = "iqn.b"},
         SENSEBUS__V1__MODE__MODE_TARGET,
         SENSEBUS__V1__SCOPE__SCOPE_ADAPTER},
        {{.target = -1, .lun = -1}, 0, SENSEBUS__V1__SCOPE__SCOPE_HOST},
    };

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct storm *s = storm_of((struct storm_options){.burst = 1, .rate_per_s = 1, .max_kinds = 1});
        struct record r = said(1, CODE(LINK_ERROR), "a", 1);
        const struct record *told;
        uint32_t n_losses = 0;

        r.place = table[i].place;
        r.mode = table[i].mode;
        take(s, r, 0);
        r.native.name = "b";
        take(s, r, 0);
        r.code = CODE(LUN_RESET);
        take(s, r, 0);
        cr_assert_eq(storm_count(s).lost, 1, "%zu", i);
        storm_finish(s);
        while ((told = storm_next(s, 0))) {
            if (told->code != CODE(EVENTS_LOST))
                continue;
            n_losses++;
            cr_assert_eq(told->scope, table[i].scope, "%zu: %u", i, told->scope);
            cr_assert_eq(told->mode, SENSEBUS__V1__MODE__MODE_BOTH);
        }
        cr_assert_eq(n_losses, 1);
        storm_free(s);
    }
}

Test(storm, when_too_many_devices_speak_the_quietest_tells_what_it_holds_and_is_forgotten)
{
    struct storm *s = storm_of((struct storm_options){.max_devices = 2});

    take(s, said(1, CODE(LINK_ERROR), "a", 1), 0);
    take(s, said(1, CODE(LINK_ERROR), "a", 2), 1);
    take(s, said(2, CODE(LINK_ERROR), "a", 3), 2);
    cr_assert_eq(take(s, said(3, CODE(LINK_ERROR), "a", 4), 3), STORM_TELL);
    cr_assert_str_eq(comes(s, 3), "a lun 1 x1 2..2");
    cr_assert_eq(storm_count(s).devices, 2);
    storm_free(s);
}

Test(storm, memory_is_bounded_by_telling_early)
{
    struct storm *s = storm_of((struct storm_options){.burst = 1, .rate_per_s = 1});
    static uint8_t raw[RECORD_MAX_RAW];
    uint64_t out = 0;

    for (uint32_t i = 0; i < 3000; i++) {
        struct record r = said(i % 1000, CODE(LINK_ERROR), "a", i);

        r.native.raw = raw;
        r.native.raw_len = sizeof raw;
        r.native.subcode = i / 1000;
        out += take(s, r, 0) == STORM_TELL;
        while (storm_next(s, 0))
            out++;
        cr_assert_leq(storm_count(s).held_bytes, STORM_MAX_BYTES);
    }
    storm_finish(s);
    while (storm_next(s, 0))
        out++;
    cr_assert_eq(out, 3000);
    storm_free(s);
}

Test(storm, a_held_record_needs_nothing_of_the_caller_and_keeps_everything)
{
    struct storm *s = storm_of((struct storm_options){0});
    struct identity *id = calloc(1, sizeof *id);
    char *names = strdup("3:0:0:1"), *adapter = strdup("host3"), *target = strdup("iqn.t"), *words = strdup("words");
    const char **list = malloc(sizeof *list);
    struct record_kernel kernel = {.transport = 1, .bus = 0, .lun_raw = 1, .names = list, .n_names = 1};
    struct record_native evidence = {.name = "SDEV_UA", .detail = words};
    struct record r = said(1, CODE(LINK_ERROR), "a", 1);
    const struct record *told;

    list[0] = names;
    strcpy(id->designator, "naa.1");
    r.place.adapter = adapter, r.place.target_name = target, r.place.identity = id, r.place.kernel = &kernel;
    r.evidence = &evidence, r.n_evidence = 1;
    take(s, r, 0);
    take(s, r, 0);
    free(id), free(names), free(adapter), free(target), free(words), free(list);
    memset(&kernel, 0xff, sizeof kernel);
    told = storm_next(s, 1000 * MS);
    cr_assert_str_eq(told->place.adapter, "host3");
    cr_assert_str_eq(told->place.target_name, "iqn.t");
    cr_assert_str_eq(told->place.identity->designator, "naa.1");
    cr_assert_str_eq(told->place.kernel->names[0], "3:0:0:1");
    cr_assert_str_eq(told->evidence[0].detail, "words");
    cr_assert_eq(told->n_evidence, 1);
    storm_free(s);
}

Test(storm, the_key_can_be_printed)
{
    static const uint8_t sense[18] = {0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x2a, 1};
    struct identity id = {.known = true, .designator = "naa.6001405"};
    struct record r = sensed(4, 0, sense);
    char buf[STORM_KEY_BYTES];

    r.place.target_name = "iqn.t\x1b[0m";
    r.place.identity = &id;
    cr_assert_str_eq(storm_key_text(&r, buf), "PARAMETERS_CHANGED TRACE host3/0/4 iqn.t?[0m naa.6001405 6/2A/01");
    r = said(-1, CODE(LINK_ERROR), "x", 0);
    cr_assert_str_eq(storm_key_text(&r, buf), "LINK_ERROR TRACE host3/0 x 0/0");
}

/* ------------------------------------------------------------------------------------------------ at random */

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

static uint64_t conditions(const struct record *r)
{
    return r->gap ? r->gap->count : r->count > 1 ? r->count : 1;
}

/* What leaves, by device: nothing older follows. */
struct seen {
    uint64_t out, last[8];
};

static void leave(struct seen *seen, const struct record *r)
{
    seen->out += conditions(r);
    if (r->gap)
        return;
    cr_assert_geq(r->wall_ns, seen->last[r->place.lun], "lun %d", (int)r->place.lun);
    seen->last[r->place.lun] = r->wall_ns;
    cr_assert_leq(r->n_evidence, RECORD_MAX_EVIDENCE);
}

static void run(uint32_t seed, bool faults)
{
    static const uint32_t codes[] = {CODE(LINK_ERROR), CODE(DEVICE_OFFLINE), CODE(DEVICE_ONLINE), CODE(LUN_RESET),
                                     CODE(AGENT_CONNECTED)};
    struct storm_options options = {.burst = 1 + seed % 7,
                                    .rate_per_s = 1 + seed % 50,
                                    .max_devices = seed % 3 ? 8 : 3,
                                    .max_kinds = seed % 2 ? 32 : 4,
                                    .seed = seed};
    struct storm *s = storm_new(&options);
    struct seen seen = {0};
    uint32_t random = seed;
    uint64_t in = 0, ms = 0;
    const struct record *r;

    cr_assert_not_null(s);
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t pick = next_random(&random) % 5;
        struct record one = said(next_random(&random) % 8, codes[pick], "x", i + 1);
        uint8_t sense[18] = {0x70, 0, 6, 0, 0, 0, 0, 10};

        sense[13] = (uint8_t)(next_random(&random) % 3);
        sense[8] = (uint8_t)(next_random(&random) % 40);
        if (next_random(&random) % 2) {
            one.sense = sense;
            one.sense_len = sizeof sense;
        }
        one.native.subcode = next_random(&random) % 3;
        one.count = next_random(&random) % 4;
        in += conditions(&one);
        if (faults && next_random(&random) % 4 == 0)
            failing_alloc_after(next_random(&random) % 4);
        if (storm_take(s, &one, ms * MS) == STORM_TELL) {
            failing_alloc_stop();
            while ((r = storm_next(s, ms * MS)))
                leave(&seen, r);
            leave(&seen, &one);
        }
        failing_alloc_stop();
        ms += next_random(&random) % 100;
        while ((r = storm_next(s, ms * MS)))
            leave(&seen, r);
        cr_assert_gt(storm_deadline(s), ms * MS);
    }
    storm_finish(s);
    while ((r = storm_next(s, ms * MS)))
        leave(&seen, r);
    cr_assert_eq(seen.out, in, "seed %u", seed);
    cr_assert_eq(storm_count(s).held_bytes, 0);
    cr_assert_eq(storm_deadline(s), UINT64_MAX);
    storm_free(s);
}

Test(storm, whatever_comes_the_counts_that_leave_are_those_that_came_and_each_device_keeps_its_order)
{
    for (uint32_t seed = 1; seed <= 24; seed++)
        run(seed, false);
}

Test(storm, also_without_memory)
{
    for (uint32_t seed = 1; seed <= 16; seed++)
        run(seed, true);
}
