/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/filter.h"
#include "sensebus/v1/events.pb-c.h"
#include "tests/lib/failing_alloc.h"

static char err[160];

/* Literals as protobuf-c wants them. */
#define STRINGS(...) ((char *[]){__VA_ARGS__})

static struct text text(const char *s)
{
    return (struct text){s, strlen(s)};
}

/* The event that most tests match against. */
static struct event_view lun_reset(void)
{
    struct event_view e = {.code = 203, .severity = 2, .mode = 1, .aix_bits = 4};
    e.host = text("node-7");
    e.address = (struct address_view){
        .present = true, .adapter = text("iscsi0"), .controller = -1, .bus = -1, .target = 3, .lun = 12};
    e.device = (struct device_view){.present = true,
                                    .vendor = text("IET"),
                                    .product = text("VIRTUAL-DISK"),
                                    .designator = text("naa.6001405aabbccdde"),
                                    .target_name = text("iqn.2026-01.org.example:t1"),
                                    .device_type = 0};
    return e;
}

static struct filter *compile(const Sensebus__V1__Filter *message)
{
    struct filter *f = NULL;
    cr_assert_eq(filter_new(message, &f, err, sizeof err), 0, "%s", err);
    return f;
}

static bool matches(const Sensebus__V1__Filter *message, const struct event_view *event)
{
    struct filter *f = compile(message);
    bool result = filter_matches(f, event);
    filter_free(f);
    return result;
}

Test(filter, nothing_asked_matches_everything)
{
    Sensebus__V1__Filter empty = SENSEBUS__V1__FILTER__INIT;
    struct event_view event = lun_reset(), bare = {.code = 901};
    struct filter *none = compile(NULL), *asked = compile(&empty);
    cr_assert(filter_matches_all(none) && filter_matches_all(asked));
    cr_assert(filter_matches(none, &event) && filter_matches(asked, &bare));
    cr_assert_str_eq(filter_key(none), filter_key(asked));
    filter_free(none);
    filter_free(asked);
    filter_free(NULL);
}

Test(filter, each_member_takes_and_leaves)
{
    static Sensebus__V1__Code reset[] = {402, 203}, other[] = {204};
    static uint32_t resets[] = {2}, links[] = {3, 4};
    static int32_t disk[] = {5, 0}, tape[] = {1}, unknown[] = {-1};
    static Sensebus__V1__Mode initiator[] = {1}, target[] = {2}, both[] = {3};
    struct event_view event = lun_reset();
    const struct {
        const char *what;
        Sensebus__V1__Filter filter;
        bool wanted;
    } rows[] = {
#define ROW(what, wanted, ...) {what, {PROTOBUF_C_MESSAGE_INIT(&sensebus__v1__filter__descriptor), __VA_ARGS__}, wanted}
        ROW("code", true, .codes = reset, .n_codes = 2),
        ROW("other code", false, .codes = other, .n_codes = 1),
        ROW("category", true, .categories = resets, .n_categories = 1),
        ROW("other category", false, .categories = links, .n_categories = 2),
        ROW("severity equal", true, .minimum_severity = 2),
        ROW("severity above", false, .minimum_severity = 3),
        ROW("host", true, .hosts = STRINGS("x", "node-7"), .n_hosts = 2),
        ROW("host glob", true, .hosts = STRINGS("node-?"), .n_hosts = 1),
        ROW("host prefix is no match", false, .hosts = STRINGS("node"), .n_hosts = 1),
        ROW("inquiry padded", true, .inquiry_prefixes = STRINGS("IET     VIRTUAL"), .n_inquiry_prefixes = 1),
        ROW("inquiry whole", true, .inquiry_prefixes = STRINGS("IET     VIRTUAL-DISK    "), .n_inquiry_prefixes = 1),
        ROW("inquiry empty", true, .inquiry_prefixes = STRINGS(""), .n_inquiry_prefixes = 1),
        ROW("inquiry not padded", false, .inquiry_prefixes = STRINGS("IETVIRTUAL"), .n_inquiry_prefixes = 1),
        ROW("inquiry case", false, .inquiry_prefixes = STRINGS("iet"), .n_inquiry_prefixes = 1),
        ROW("inquiry has no wildcards", false, .inquiry_prefixes = STRINGS("I*"), .n_inquiry_prefixes = 1),
        ROW("type", true, .device_types = disk, .n_device_types = 2),
        ROW("other type", false, .device_types = tape, .n_device_types = 1),
        ROW("unknown type", false, .device_types = unknown, .n_device_types = 1),
        ROW("designator", true, .designators = STRINGS("naa.6001405*"), .n_designators = 1),
        ROW("other designator", false, .designators = STRINGS("eui.*"), .n_designators = 1),
        ROW("target", true, .target_names = STRINGS("*:t1"), .n_target_names = 1),
        ROW("other target", false, .target_names = STRINGS("*:t2", "*:t"), .n_target_names = 2),
        ROW("mode", true, .modes = initiator, .n_modes = 1),
        ROW("other mode", false, .modes = target, .n_modes = 1),
        ROW("both modes", true, .modes = both, .n_modes = 1),
        ROW("bit", true, .any_aix_bits = 6),
        ROW("other bits", false, .any_aix_bits = 3),
        ROW("two that fit", true, .codes = reset, .n_codes = 2, .hosts = STRINGS("*"), .n_hosts = 1),
        ROW("one of two that fits", false, .codes = reset, .n_codes = 2, .hosts = STRINGS("b*"), .n_hosts = 1),
#undef ROW
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq(matches(&rows[i].filter, &event), rows[i].wanted, "%s", rows[i].what);
}

Test(filter, an_event_of_both_modes_matches_either)
{
    Sensebus__V1__Mode mode;
    Sensebus__V1__Filter filter = SENSEBUS__V1__FILTER__INIT;
    struct event_view event = {.code = 101, .mode = 3}, unsaid = {.code = 101};
    filter.modes = &mode;
    filter.n_modes = 1;
    for (mode = 1; mode <= 3; mode++) {
        cr_expect(matches(&filter, &event));
        cr_expect_not(matches(&filter, &unsaid));
    }
}

Test(filter, the_bits_of_lost_events_count)
{
    Sensebus__V1__Filter filter = SENSEBUS__V1__FILTER__INIT;
    struct event_view event = {.code = 901, .loss = {.present = true, .aix_bits = 4}};
    filter.any_aix_bits = 4;
    cr_expect(matches(&filter, &event));
}

Test(filter, an_event_without_device_matches_no_inquiry_but_the_empty_type)
{
    Sensebus__V1__Filter filter = SENSEBUS__V1__FILTER__INIT;
    struct event_view event = {.code = 902, .device = {.device_type = -1}};
    int32_t unknown[] = {-1};
    filter.inquiry_prefixes = STRINGS("");
    filter.n_inquiry_prefixes = 1;
    cr_expect_not(matches(&filter, &event));
    filter.n_inquiry_prefixes = 0;
    filter.device_types = unknown;
    filter.n_device_types = 1;
    cr_expect(matches(&filter, &event));
}

Test(filter, addresses_follow_the_original_wildcards)
{
    static const struct {
        const char *adapter;
        int32_t controller, bus, target;
        int64_t lun, last; /* last -2: not given */
        bool wanted;
    } rows[] = {
        {"", -1, -1, -1, -1, -2, true}, {"iscsi0", -1, -1, -1, -1, -2, true}, {"iscsi", -1, -1, -1, -1, -2, false},
        {"", -1, -1, 3, 12, -2, true},  {"", -1, -1, 3, 0, -2, false},        {"", -1, -1, 4, 12, -2, false},
        {"", -1, 0, 3, 12, -2, false},  {"", 0, -1, 3, 12, -2, false},        {"", -1, -1, -1, 10, 12, true},
        {"", -1, -1, -1, 12, 20, true}, {"", -1, -1, -1, 13, 20, false},      {"", -1, -1, -1, 0, 11, false},
        {"", -1, -1, -1, 12, 12, true}, {"iscsi0", -1, -1, 3, 12, -2, true},  {"", 0, 0, 0, 0, -2, false},
    };
    struct event_view event = lun_reset();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Sensebus__V1__Filter filter = SENSEBUS__V1__FILTER__INIT;
        Sensebus__V1__AddressPattern pattern = SENSEBUS__V1__ADDRESS_PATTERN__INIT, *patterns[] = {&pattern};
        pattern.adapter = (char *)rows[i].adapter;
        pattern.controller = rows[i].controller;
        pattern.bus = rows[i].bus;
        pattern.target = rows[i].target;
        pattern.lun = rows[i].lun;
        if (rows[i].last != -2) {
            pattern._lun_last_case = SENSEBUS__V1__ADDRESS_PATTERN___LUN_LAST_LUN_LAST;
            pattern.lun_last = rows[i].last;
        }
        filter.addresses = patterns;
        filter.n_addresses = 1;
        cr_expect_eq(matches(&filter, &event), rows[i].wanted, "row %zu", i);
    }
}

Test(filter, exclude_takes_away)
{
    Sensebus__V1__Code power_on = 204, reset = 203;
    Sensebus__V1__Filter filter = SENSEBUS__V1__FILTER__INIT, first = SENSEBUS__V1__FILTER__INIT,
                         second = SENSEBUS__V1__FILTER__INIT, *excludes[] = {&first, &second};
    struct event_view event = lun_reset();
    first.codes = &power_on;
    first.n_codes = 1;
    second.codes = &reset;
    second.n_codes = 1;
    second.hosts = STRINGS("node-8");
    second.n_hosts = 1;
    filter.exclude = excludes;
    filter.n_exclude = 2;
    cr_expect(matches(&filter, &event), "the second excludes another host only");
    second.hosts = STRINGS("node-7");
    cr_expect_not(matches(&filter, &event));
    struct filter *f = compile(&filter);
    cr_expect_not(filter_matches_all(f));
    filter_free(f);
}

static void expect_refused(const Sensebus__V1__Filter *filter, const char *fault)
{
    struct filter *f = NULL;
    err[0] = 0;
    cr_expect_eq(filter_new(filter, &f, err, sizeof err), UV_EINVAL, "%s", fault);
    cr_expect_str_eq(err, fault);
    cr_expect_null(f, "untouched");
}

static void expect_address_refused(Sensebus__V1__AddressPattern *pattern, const char *fault)
{
    Sensebus__V1__Filter filter = SENSEBUS__V1__FILTER__INIT;
    filter.addresses = &pattern;
    filter.n_addresses = 1;
    expect_refused(&filter, fault);
}

Test(filter, refuses_impossible_addresses_by_name)
{
    Sensebus__V1__AddressPattern pattern = SENSEBUS__V1__ADDRESS_PATTERN__INIT;
    pattern.bus = -2;
    expect_address_refused(&pattern, "filter: addresses[0]: numbers below -1 name nothing");
    pattern.bus = 0;
    pattern._lun_last_case = SENSEBUS__V1__ADDRESS_PATTERN___LUN_LAST_LUN_LAST;
    pattern.lun = 5;
    pattern.lun_last = 4;
    expect_address_refused(&pattern, "filter: addresses[0]: lun_last is below lun");
    pattern.lun = -1;
    expect_address_refused(&pattern, "filter: addresses[0]: lun_last needs a first lun");
    pattern.lun = 0;
    pattern.adapter = "\xff";
    expect_address_refused(&pattern, "filter: addresses[0]: adapter: not UTF-8");
}

Test(filter, refuses_other_faults_by_name)
{
    Sensebus__V1__Filter filter = SENSEBUS__V1__FILTER__INIT, inner = SENSEBUS__V1__FILTER__INIT,
                         innermost = SENSEBUS__V1__FILTER__INIT, *inners[] = {&inner}, *innermosts[] = {&innermost};
    uint32_t zero = 0;
    Sensebus__V1__Mode mode = 4;
    char long_pattern[300];
    memset(long_pattern, 'x', sizeof long_pattern);
    long_pattern[257] = '\0';

    filter.categories = &zero;
    filter.n_categories = 1;
    expect_refused(&filter, "filter: categories[0]: 0 names nothing");
    filter.n_categories = 0;
    filter.minimum_severity = (Sensebus__V1__Severity)6;
    expect_refused(&filter, "filter: minimum_severity: not a severity");
    filter.minimum_severity = 0;
    filter.modes = &mode;
    filter.n_modes = 1;
    expect_refused(&filter, "filter: modes[0]: not a mode");
    filter.n_modes = 0;
    filter.hosts = STRINGS("a", long_pattern);
    filter.n_hosts = 2;
    expect_refused(&filter, "filter: hosts[1]: too long");
    filter.hosts = STRINGS("a", "\xc3");
    expect_refused(&filter, "filter: hosts[1]: not UTF-8");
    filter.n_hosts = 0;
    filter.inquiry_prefixes = STRINGS("1234567890123456789012345");
    filter.n_inquiry_prefixes = 1;
    expect_refused(&filter, "filter: inquiry_prefixes[0]: too long");
    filter.n_inquiry_prefixes = 0;
    filter.exclude = inners;
    filter.n_exclude = 1;
    expect_refused(&filter, "filter: exclude[0]: is empty: it would exclude every event");
    inner.hosts = STRINGS("\xff");
    inner.n_hosts = 1;
    expect_refused(&filter, "filter: exclude[0].hosts[0]: not UTF-8");
    inner.hosts = STRINGS("a");
    inner.exclude = innermosts;
    inner.n_exclude = 1;
    expect_refused(&filter, "filter: exclude[0]: has an exclude of its own");
}

Test(filter, lists_have_limits)
{
    static Sensebus__V1__Code codes[1025];
    static char *hosts[1025];
    static Sensebus__V1__Filter *excludes[65];
    Sensebus__V1__Filter filter = SENSEBUS__V1__FILTER__INIT, inner = SENSEBUS__V1__FILTER__INIT;
    struct event_view event = lun_reset();
    for (size_t i = 0; i < 1025; i++) {
        codes[i] = (Sensebus__V1__Code)(1225 - i);
        hosts[i] = "node-7";
    }
    for (size_t i = 0; i < 65; i++)
        excludes[i] = &inner;
    inner.minimum_severity = 5;
    filter.codes = codes;
    filter.hosts = hosts;
    filter.exclude = excludes;
    filter.n_codes = filter.n_hosts = 1024;
    filter.n_exclude = 64;
    cr_expect(matches(&filter, &event));
    filter.n_exclude = 65;
    expect_refused(&filter, "filter: exclude: more than 64 entries");
    filter.n_exclude = 0;
    filter.n_codes = 1025;
    expect_refused(&filter, "filter: codes: more than 1024 entries");
    filter.n_codes = 0;
    filter.n_hosts = 1025;
    expect_refused(&filter, "filter: hosts: more than 1024 entries");
    for (size_t i = 0; i < 1025; i++)
        hosts[i] = "*****";
    filter.n_hosts = 1024;
    expect_refused(&filter,
                   "filter: hosts: more than 4096 bytes of patterns with wildcards, with those of other members");
}

Test(filter, the_whole_has_limits_too)
{
    static char *hosts[1024], *stars[1024];
    static Sensebus__V1__Filter *excludes[17];
    Sensebus__V1__Filter filter = SENSEBUS__V1__FILTER__INIT, inner = SENSEBUS__V1__FILTER__INIT;
    struct event_view event = lun_reset();
    for (size_t i = 0; i < 1024; i++) {
        hosts[i] = "node-8";
        stars[i] = "**";
    }
    for (size_t i = 0; i < 17; i++)
        excludes[i] = &inner;
    inner.hosts = hosts;
    inner.n_hosts = 1024;
    filter.exclude = excludes;
    filter.n_exclude = 16;
    cr_expect(matches(&filter, &event));
    filter.n_exclude = 17;
    expect_refused(&filter, "filter: exclude[16].hosts: more than 16384 entries, with those of the other members");
    filter.n_exclude = 2;
    inner.hosts = stars;
    cr_expect_not(matches(&filter, &event));
    filter.designators = STRINGS("*");
    filter.n_designators = 1;
    expect_refused(&filter, "filter: exclude[1].hosts: more than 4096 bytes of patterns with wildcards, with those of "
                            "other members");
}

Test(filter, a_filter_that_nothing_can_match_matches_nothing)
{
    Sensebus__V1__Code reset = 203;
    uint32_t links = 3;
    Sensebus__V1__Mode mode = 1;
    Sensebus__V1__AddressPattern pattern = SENSEBUS__V1__ADDRESS_PATTERN__INIT, *patterns[] = {&pattern};
    Sensebus__V1__Filter filter = SENSEBUS__V1__FILTER__INIT, inner = SENSEBUS__V1__FILTER__INIT, *inners[] = {&inner};
    struct event_view event = lun_reset(), bare = {.code = 203, .device.device_type = -1};
    filter.codes = &reset;
    filter.n_codes = 1;
    filter.categories = &links; /* another category than the code's */
    filter.n_categories = 1;
    cr_expect_not(matches(&filter, &event));
    filter.n_categories = 0;
    inner.codes = &reset; /* takes away what the filter takes */
    inner.n_codes = 1;
    filter.exclude = inners;
    filter.n_exclude = 1;
    cr_expect_not(matches(&filter, &event));
    filter.n_exclude = 0;
    filter.modes = &mode; /* an event without a mode is of none */
    filter.n_modes = 1;
    cr_expect_not(matches(&filter, &bare));
    filter.n_modes = 0;
    pattern.adapter = "iscsi0"; /* and one without an address is at none */
    filter.addresses = patterns;
    filter.n_addresses = 1;
    cr_expect_not(matches(&filter, &bare));
}

Test(filter, empty_and_longest_values_are_compared_as_they_are)
{
    static char longest[257], wild[257], name[1024];
    Sensebus__V1__AddressPattern pattern = SENSEBUS__V1__ADDRESS_PATTERN__INIT, *patterns[] = {&pattern};
    Sensebus__V1__Filter filter = SENSEBUS__V1__FILTER__INIT;
    struct event_view event = lun_reset(), bare = {.code = 203};
    memset(longest, 'x', 256);
    memset(wild, 'x', 255);
    wild[255] = '*';
    memset(name, 'x', sizeof name);
    filter.target_names = STRINGS("");
    filter.n_target_names = 1;
    cr_expect_not(matches(&filter, &event));
    cr_expect(matches(&filter, &bare));
    filter.target_names = STRINGS(longest);
    cr_expect_not(matches(&filter, &bare));
    event.device.target_name = (struct text){name, 256};
    cr_expect(matches(&filter, &event));
    event.device.target_name.len = 1024;
    cr_expect_not(matches(&filter, &event));
    filter.target_names = STRINGS(wild);
    cr_expect(matches(&filter, &event));
    filter.n_target_names = 0;
    pattern.adapter = longest;
    pattern.controller = pattern.bus = pattern.target = INT32_MAX;
    pattern.lun = 0;
    pattern._lun_last_case = SENSEBUS__V1__ADDRESS_PATTERN___LUN_LAST_LUN_LAST;
    pattern.lun_last = INT64_MAX;
    filter.addresses = patterns;
    filter.n_addresses = 1;
    event.address = (struct address_view){.present = true,
                                          .adapter = {name, 256},
                                          .controller = INT32_MAX,
                                          .bus = INT32_MAX,
                                          .target = INT32_MAX,
                                          .lun = INT64_MAX};
    cr_expect(matches(&filter, &event));
    event.address.lun = -1;
    cr_expect_not(matches(&filter, &event));
}

Test(filter, values_named_twice_are_kept_once)
{
    static Sensebus__V1__Code codes[1024];
    static char *hosts[1024];
    Sensebus__V1__Filter filter = SENSEBUS__V1__FILTER__INIT;
    struct event_view event = lun_reset();
    for (size_t i = 0; i < 1024; i++) {
        codes[i] = i % 2 ? 203 : 402;
        hosts[i] = i % 3 == 0 ? "node-7" : i % 3 == 1 ? "node-8" : "n*";
    }
    filter.codes = codes;
    filter.n_codes = 1024;
    filter.hosts = hosts;
    filter.n_hosts = 2; /* without the pattern */
    struct filter *f = compile(&filter);
    cr_expect_eq(filter_n_values(f, FILTER_CODE), 2);
    cr_expect_eq(filter_n_values(f, FILTER_HOST), 2);
    cr_expect(filter_matches(f, &event));
    filter_free(f);
    filter.n_hosts = 1024;
    f = compile(&filter);
    cr_expect_eq(filter_n_values(f, FILTER_HOST), 0, "a pattern may match any host");
    event.host = text("nowhere");
    cr_expect(filter_matches(f, &event));
    event.host = text("elsewhere");
    cr_expect_not(filter_matches(f, &event));
    filter_free(f);
}

Test(filter, equal_filters_have_equal_keys_and_others_have_not)
{
    Sensebus__V1__Filter a = SENSEBUS__V1__FILTER__INIT, b = SENSEBUS__V1__FILTER__INIT;
    a.hosts = STRINGS("x", "y");
    b.hosts = STRINGS("x", "y");
    a.n_hosts = b.n_hosts = 2;
    struct filter *first = compile(&a), *second = compile(&b);
    cr_expect_str_eq(filter_key(first), filter_key(second));
    filter_free(second);
    b.hosts = STRINGS("x\",\"y");
    b.n_hosts = 1;
    second = compile(&b);
    cr_expect_str_neq(filter_key(first), filter_key(second));
    filter_free(first);
    filter_free(second);
}

Test(filter, running_out_of_memory_anywhere_is_an_error_and_leaks_nothing)
{
    uint32_t resets[] = {2};
    Sensebus__V1__AddressPattern pattern = SENSEBUS__V1__ADDRESS_PATTERN__INIT, *patterns[] = {&pattern};
    Sensebus__V1__Filter filter = SENSEBUS__V1__FILTER__INIT, inner = SENSEBUS__V1__FILTER__INIT, *inners[] = {&inner};
    pattern.adapter = "iscsi0";
    filter.categories = resets;
    filter.n_categories = 1;
    filter.hosts = inner.hosts = STRINGS("a", "b*");
    filter.n_hosts = inner.n_hosts = 2;
    filter.addresses = patterns;
    filter.n_addresses = 1;
    filter.exclude = inners;
    filter.n_exclude = 1;
    unsigned n = 0;
    for (bool failed = true; failed; n++) {
        struct filter *f = NULL;
        failing_alloc_after(n);
        int rc = filter_new(&filter, &f, err, sizeof err);
        failed = failing_alloc_stop();
        cr_assert_eq(rc, failed ? UV_ENOMEM : 0, "allocation %u", n);
        if (failed)
            cr_assert_str_eq(err, "filter: out of memory");
        filter_free(f);
    }
    cr_assert_gt(n, 10);
}
