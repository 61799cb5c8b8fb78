/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/filter_index.h"
#include "sensebus/v1/events.pb-c.h"
#include "tests/lib/chance.h"
#include "tests/lib/failing_alloc.h"

static char err[160];
static struct filter_index ix;

/* A filter in the index, and how often the last search found it. */
struct owner {
    struct filter *filter;
    struct filter_entry *entry;
    unsigned n_found;
};

static void on_found(void *data, void *owner)
{
    (*(size_t *)data)++;
    ((struct owner *)owner)->n_found++;
}

static size_t find(const struct event_view *event, size_t *out_n_found)
{
    *out_n_found = 0;
    return filter_index_find(&ix, event, on_found, out_n_found);
}

static struct filter *compile(const Sensebus__V1__Filter *message)
{
    struct filter *f = NULL;
    cr_assert_eq(filter_new(message, &f, err, sizeof err), 0, "%s", err);
    return f;
}

static void add(struct owner *o, const Sensebus__V1__Filter *message)
{
    *o = (struct owner){.filter = compile(message)};
    cr_assert_eq(filter_index_add(&ix, o->filter, o, &o->entry), 0);
}

static void drop(struct owner *o)
{
    filter_index_remove(&ix, o->entry);
    filter_free(o->filter);
    o->filter = NULL;
}

static struct text text(const char *s)
{
    return (struct text){s, strlen(s)};
}

static void setup(void)
{
    filter_index_init(&ix, 42);
}

static void teardown(void)
{
    filter_index_deinit(&ix);
}

TestSuite(filter_index, .init = setup, .fini = teardown);

/* ---- random filters and events out of a small world, so that they meet often */

static struct chance luck;

static unsigned pick(unsigned n)
{
    return chance_below(&luck, n);
}

static bool chance(unsigned percent)
{
    return chance_percent(&luck, percent);
}

static const char *const hosts[] = {"", "node-1", "node-2", "node-3", "node-*", "n?de-1"};
static const char *const names[] = {"", "naa.1", "naa.2", "naa.3", "naa.*", "*2"};
static const char *const adapters[] = {"", "iscsi0", "fc1"};
static const char *const vendors[] = {"", "IET", "SENSEBUS", "IET     VIRTUAL"};

#define MAX_TEXTS     20 /* more than short lists that are combined have */
#define MAX_ADDRESSES 3

/* A message of filters together with what it points to. */
struct random_filter {
    Sensebus__V1__Filter message, exclude, *excludes[1];
    Sensebus__V1__Code codes[MAX_TEXTS], excluded_code;
    uint32_t categories[2];
    int32_t device_types[2];
    Sensebus__V1__Mode modes[2];
    char *hosts[MAX_TEXTS], *designators[MAX_TEXTS], *target_names[MAX_TEXTS], *inquiry_prefixes[2];
    Sensebus__V1__AddressPattern addresses[MAX_ADDRESSES], *address_pointers[MAX_ADDRESSES];
};

/* How long shall a list be? Mostly short; with values named twice. */
static size_t pick_length(unsigned percent)
{
    if (!chance(percent))
        return 0;
    return chance(10) ? 10 + pick(MAX_TEXTS - 10) : 1 + pick(3);
}

static size_t pick_texts(const char *const *from, unsigned n_from, char **to)
{
    size_t n = pick_length(40);
    /* Mostly without the wildcards at the end. */
    for (size_t i = 0; i < n; i++)
        to[i] = (char *)from[pick(chance(95) ? n_from - 2 : n_from)];
    return n;
}

static int32_t pick_number(void)
{
    return chance(40) ? -1 : (int32_t)pick(3);
}

static void pick_address(Sensebus__V1__AddressPattern *a)
{
    sensebus__v1__address_pattern__init(a);
    a->adapter = (char *)adapters[pick(3)];
    a->controller = chance(80) ? -1 : pick_number();
    a->bus = chance(80) ? -1 : pick_number();
    a->target = pick_number();
    a->lun = pick_number();
    if (a->lun >= 0 && chance(30)) {
        a->_lun_last_case = SENSEBUS__V1__ADDRESS_PATTERN___LUN_LAST_LUN_LAST;
        a->lun_last = a->lun + (int32_t)pick(2);
    }
}

static Sensebus__V1__Code pick_code(void)
{
    return (Sensebus__V1__Code)(100 * (1 + pick(3)) + 1 + pick(3));
}

static void pick_exclude(struct random_filter *r)
{
    sensebus__v1__filter__init(&r->exclude);
    r->excluded_code = pick_code();
    r->exclude.codes = &r->excluded_code;
    r->exclude.n_codes = 1;
    r->exclude.minimum_severity = (Sensebus__V1__Severity)pick(3);
    r->excludes[0] = &r->exclude;
    r->message.exclude = r->excludes;
    r->message.n_exclude = 1;
}

static const Sensebus__V1__Filter *random_filter(struct random_filter *r)
{
    Sensebus__V1__Filter *m = &r->message;

    sensebus__v1__filter__init(m);
    m->codes = r->codes;
    m->n_codes = pick_length(25);
    for (size_t i = 0; i < m->n_codes; i++)
        r->codes[i] = pick_code();
    m->categories = r->categories;
    for (m->n_categories = 0; m->n_categories < 2 && chance(15); m->n_categories++)
        r->categories[m->n_categories] = 1 + pick(3);
    m->device_types = r->device_types;
    for (m->n_device_types = 0; m->n_device_types < 2 && chance(15); m->n_device_types++)
        r->device_types[m->n_device_types] = (int32_t)pick(3) - 1;
    m->modes = r->modes;
    for (m->n_modes = 0; m->n_modes < 2 && chance(10); m->n_modes++)
        r->modes[m->n_modes] = (Sensebus__V1__Mode)(1 + pick(3));
    m->hosts = r->hosts;
    m->n_hosts = pick_texts(hosts, 6, r->hosts);
    m->designators = r->designators;
    m->n_designators = pick_texts(names, 6, r->designators);
    m->target_names = r->target_names;
    m->n_target_names = pick_texts(names, 6, r->target_names);
    m->inquiry_prefixes = r->inquiry_prefixes;
    for (m->n_inquiry_prefixes = 0; m->n_inquiry_prefixes < 2 && chance(10); m->n_inquiry_prefixes++)
        r->inquiry_prefixes[m->n_inquiry_prefixes] = (char *)vendors[pick(4)];
    m->addresses = r->address_pointers;
    for (m->n_addresses = 0; m->n_addresses < MAX_ADDRESSES && chance(40); m->n_addresses++) {
        pick_address(&r->addresses[m->n_addresses]);
        r->address_pointers[m->n_addresses] = &r->addresses[m->n_addresses];
    }
    m->minimum_severity = chance(20) ? (Sensebus__V1__Severity)pick(4) : 0;
    m->any_aix_bits = chance(10) ? pick(8) : 0;
    if (chance(20))
        pick_exclude(r);
    return m;
}

static struct event_view random_event(void)
{
    struct event_view e = {
        .code = (uint32_t)pick_code(), .severity = pick(4), .mode = pick(4), .aix_bits = chance(50) ? pick(8) : 0};

    e.host = text(hosts[pick(4)]);
    e.address = (struct address_view){.controller = -1, .bus = -1, .target = -1, .lun = -1};
    e.device.device_type = -1;
    if (chance(80)) {
        e.address.present = true;
        e.address.adapter = text(adapters[pick(3)]);
        e.address.controller = pick_number();
        e.address.bus = pick_number();
        e.address.target = pick_number();
        e.address.lun = pick_number();
    }
    if (chance(70)) {
        e.device.present = true;
        e.device.device_type = (int32_t)pick(3) - 1;
        e.device.vendor = text(vendors[pick(3)]);
        e.device.designator = text(names[pick(4)]);
        e.device.target_name = text(names[pick(4)]);
    }
    return e;
}

/* Filters come and go; SENSEBUS_SEED=n for another world than usual. */
static void live(unsigned rounds, unsigned n_filters, unsigned seed)
{
    struct owner *owners = calloc(n_filters, sizeof *owners);
    size_t n_matches = 0;

    luck = chance_from(seed);
    for (unsigned round = 0; round < rounds; round++) {
        struct random_filter r;
        struct owner *changed = &owners[pick(n_filters)];
        if (changed->filter)
            drop(changed);
        else
            add(changed, random_filter(&r));

        struct event_view event = random_event(), later = event;
        later.count = chance_next(&luck);
        later.source_sequence = chance_next(&luck);
        later.wall_time_ns = chance_next(&luck);
        size_t n_found;
        for (size_t i = 0; i < n_filters; i++)
            owners[i].n_found = 0;
        size_t n = find(&event, &n_found);
        cr_assert_leq(n, ix.n, "seed %u, round %u: evaluated twice", seed, round);
        cr_assert_leq(ix.n_shapes, FILTER_INDEX_SHAPES + FILTER_N_FIELDS);
        n_matches += n_found;
        for (size_t i = 0; i < n_filters; i++) {
            if (!owners[i].filter)
                continue;
            cr_assert_eq(owners[i].n_found, filter_matches(owners[i].filter, &event) ? 1 : 0,
                         "seed %u, round %u: %s found %u times", seed, round, filter_key(owners[i].filter),
                         owners[i].n_found);
            cr_assert_eq(filter_matches(owners[i].filter, &later), filter_matches(owners[i].filter, &event));
        }
    }
    cr_assert_gt(n_matches, rounds / 2, "the worlds do not meet"); /* or nothing was tested */
    for (size_t i = 0; i < n_filters; i++)
        if (owners[i].filter)
            drop(&owners[i]);
    cr_assert_eq(ix.n_shapes, 0);
    free(owners);
}

Test(filter_index, finds_what_evaluating_every_filter_finds)
{
    const char *given = getenv("SENSEBUS_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : 1;

    /* Few at a time; and so many that the shapes do not suffice. */
    for (unsigned i = 0; i < 4; i++)
        live(2000, 16, seed + i);
    live(3000, 512, seed + 4);
}

/* ---- cost */

#define MANY 1000

static char designators[MANY][32];
static struct owner many[2 * MANY];

Test(filter_index, cost_does_not_grow_with_filters_that_do_not_match)
{
    struct event_view event = {.code = 203};
    size_t n_found;

    for (size_t i = 0; i < MANY; i++) {
        Sensebus__V1__Filter m = SENSEBUS__V1__FILTER__INIT;
        char *designator = designators[i], *host = (char *)"node-1";
        snprintf(designators[i], sizeof designators[i], "naa.%zu", i);
        m.designators = &designator;
        m.hosts = &host; /* the same for all: not what they stand under */
        m.n_designators = m.n_hosts = 1;
        add(&many[i], &m);
    }
    event.host = text("node-1");
    event.device.designator = text("naa.77");
    cr_assert_eq(find(&event, &n_found), 1);
    cr_assert_eq(n_found, 1);
    cr_assert_eq(many[77].n_found, 1);
    event.device.designator = text("naa.none");
    cr_assert_eq(find(&event, &n_found), 0);
    for (size_t i = 0; i < MANY; i++)
        drop(&many[i]);
}

/* One address pattern each; returns how many filters an event at target 7, LUN 7 of iscsi0 on node-1 meets. */
static size_t meet_addresses(void (*make)(size_t i, Sensebus__V1__AddressPattern *p), size_t *out_n_found)
{
    struct event_view event = {.code = 203};

    for (size_t i = 0; i < MANY; i++) {
        Sensebus__V1__Filter m = SENSEBUS__V1__FILTER__INIT;
        Sensebus__V1__AddressPattern pattern = SENSEBUS__V1__ADDRESS_PATTERN__INIT, *pointer = &pattern;
        char *host = (char *)"node-1";
        pattern.controller = pattern.bus = pattern.target = -1;
        pattern.lun = -1;
        make(i, &pattern);
        m.addresses = &pointer;
        m.hosts = &host;
        m.n_addresses = m.n_hosts = 1;
        add(&many[i], &m);
    }
    event.host = text("node-1");
    event.address = (struct address_view){.present = true, .adapter = text("iscsi0"), .target = 7, .lun = 7};
    size_t n = find(&event, out_n_found);
    for (size_t i = 0; i < MANY; i++)
        drop(&many[i]);
    return n;
}

static void make_target(size_t i, Sensebus__V1__AddressPattern *p)
{
    p->target = (int32_t)i;
}

static void make_unit_of_a_target(size_t i, Sensebus__V1__AddressPattern *p)
{
    p->adapter = (char *)"iscsi0";
    p->target = 7;
    p->lun = (int64_t)i;
}

/* The same targets and the same LUNs again and again: each pair once. */
static void make_grid(size_t i, Sensebus__V1__AddressPattern *p)
{
    p->target = (int32_t)(i % 30);
    p->lun = (int64_t)(i / 30);
}

Test(filter_index, addresses_are_found_by_what_they_name_together)
{
    size_t n_found;

    cr_assert_eq(meet_addresses(make_target, &n_found), 1);
    cr_assert_eq(n_found, 1);
    cr_assert_eq(meet_addresses(make_unit_of_a_target, &n_found), 1);
    cr_assert_eq(n_found, 1);
    cr_assert_eq(meet_addresses(make_grid, &n_found), 1);
    cr_assert_eq(n_found, 1);
}

/* Lists of 20 hosts and of 20 designators: too long to be combined. */
static void add_long_lists(struct owner *o, unsigned first_host, unsigned first_designator)
{
    static char host_texts[20][32], designator_texts[20][32];
    Sensebus__V1__Filter m = SENSEBUS__V1__FILTER__INIT;
    char *host_list[20], *designator_list[20];

    for (unsigned i = 0; i < 20; i++) {
        snprintf(host_texts[i], sizeof host_texts[i], "node-%u", first_host + i);
        snprintf(designator_texts[i], sizeof designator_texts[i], "naa.%u", first_designator + i);
        host_list[i] = host_texts[i];
        designator_list[i] = designator_texts[i];
    }
    m.hosts = host_list;
    m.designators = designator_list;
    m.n_hosts = m.n_designators = 20;
    add(o, &m);
}

Test(filter_index, stands_where_it_is_least_crowded)
{
    struct event_view event = {.code = 203};
    size_t n_found;

    /* Designators come before hosts, but here all name the same. */
    for (unsigned i = 0; i < MANY; i++)
        add_long_lists(&many[i], 20 * i, 0);
    event.host = text("node-45");
    event.device.designator = text("naa.3");
    cr_assert_leq(find(&event, &n_found), 2);
    cr_assert_eq(n_found, 1);
    for (unsigned i = 0; i < MANY; i++)
        drop(&many[i]);
}

Test(filter_index, moves_when_the_crowd_does)
{
    enum { N = 40, CROWD = 50 };
    static char texts[20 * N][16];
    static char *hosts_of_all[20 * N];
    struct event_view event = {.code = 203};
    size_t n_found;

    /* A crowd under each host, so that those who could stand there stand under the same designators. */
    for (unsigned i = 0; i < 20 * N; i++) {
        snprintf(texts[i], sizeof texts[i], "node-%u", i);
        hosts_of_all[i] = texts[i];
    }
    for (unsigned i = 0; i < CROWD; i++) {
        Sensebus__V1__Filter m = SENSEBUS__V1__FILTER__INIT;
        m.hosts = hosts_of_all;
        m.n_hosts = 20 * N;
        add(&many[N + i], &m);
    }
    for (unsigned i = 0; i < N; i++)
        add_long_lists(&many[i], 20 * i, 0);
    event.host = text("elsewhere");
    event.device.designator = text("naa.3");
    cr_assert_geq(find(&event, &n_found), N - 2);
    for (unsigned i = 0; i < CROWD; i++)
        drop(&many[N + i]);
    cr_assert_leq(find(&event, &n_found), 2);
    event.host = text("node-45");
    cr_assert_leq(find(&event, &n_found), 3);
    cr_assert_eq(n_found, 1);
    for (unsigned i = 0; i < N; i++)
        drop(&many[i]);
}

Test(filter_index, long_lists_take_no_more_places_than_entries)
{
    static char texts[1024][16];
    static char *hosts_of_all[1024];
    static Sensebus__V1__Code codes[1024];
    Sensebus__V1__Filter m = SENSEBUS__V1__FILTER__INIT;
    struct owner o = {0};

    for (unsigned i = 0; i < 1024; i++) {
        snprintf(texts[i], sizeof texts[i], "node-%u", i);
        hosts_of_all[i] = texts[i];
        codes[i] = (Sensebus__V1__Code)(1 + i);
    }
    m.hosts = hosts_of_all;
    m.codes = codes;
    m.n_hosts = m.n_codes = 1024;
    o.filter = compile(&m);
    failing_alloc_after(1024 + 100);
    cr_assert_eq(filter_index_add(&ix, o.filter, &o, &o.entry), 0);
    cr_assert_not(failing_alloc_stop());
    drop(&o);
}

Test(filter_index, an_event_is_looked_up_in_few_shapes_whatever_is_asked)
{
    struct event_view event = {.code = 203};
    unsigned n = 0;
    size_t n_found;

    /* Each set of members once: the designator's turn is the lowest bit, and so on. */
    for (unsigned set = 1; set < 1u << 9; set++) {
        Sensebus__V1__Filter m = SENSEBUS__V1__FILTER__INIT;
        Sensebus__V1__AddressPattern pattern = SENSEBUS__V1__ADDRESS_PATTERN__INIT, *pointer = &pattern;
        char *designator = (char *)"naa.1", *name = (char *)"iqn.1", *host = (char *)"node-1";
        Sensebus__V1__Code code = (Sensebus__V1__Code)204;
        int32_t type = 5;
        m.designators = &designator;
        m.n_designators = set & 1;
        m.target_names = &name;
        m.n_target_names = set >> 1 & 1;
        m.hosts = &host;
        m.n_hosts = set >> 2 & 1;
        m.codes = &code;
        m.n_codes = set >> 3 & 1;
        m.device_types = &type;
        m.n_device_types = set >> 4 & 1;
        pattern.controller = pattern.bus = -1;
        pattern.bus = set >> 5 & 1 ? 1 : -1;
        pattern.target = set >> 6 & 1 ? 1 : -1;
        pattern.lun = set >> 7 & 1 ? 1 : -1;
        pattern.adapter = (char *)(set >> 8 & 1 ? "iscsi0" : "");
        m.addresses = &pointer;
        m.n_addresses = set >> 5 ? 1 : 0;
        add(&many[n++], &m);
        cr_assert_leq(ix.n_shapes, FILTER_INDEX_SHAPES + FILTER_N_FIELDS);
    }
    cr_assert_eq(find(&event, &n_found), 0);
    /* When most have gone there is room: each of the rest is looked up by all that it names. */
    unsigned rest = n - 40;
    for (unsigned i = 0; i < rest; i++)
        drop(&many[i]);
    event.device.designator = text("naa.1");
    event.host = text("node-1");
    cr_assert_eq(find(&event, &n_found), 0);
    while (n > rest)
        drop(&many[--n]);
}

Test(filter_index, contradictions_are_never_evaluated)
{
    struct event_view event = {.code = 203};
    struct owner o;
    size_t n_found;
    Sensebus__V1__Filter m = SENSEBUS__V1__FILTER__INIT;
    Sensebus__V1__Code code = (Sensebus__V1__Code)203;
    uint32_t category = 4;

    m.codes = &code;
    m.categories = &category;
    m.n_codes = m.n_categories = 1;
    add(&o, &m);
    cr_assert_eq(find(&event, &n_found), 0);
    drop(&o);
}

Test(filter_index, address_patterns_that_overlap_are_found_once)
{
    Sensebus__V1__AddressPattern patterns[3], *pointers[3];
    struct event_view event = {.code = 203};
    Sensebus__V1__Filter m = SENSEBUS__V1__FILTER__INIT;
    struct owner o;
    size_t n_found;

    for (unsigned i = 0; i < 3; i++) {
        sensebus__v1__address_pattern__init(&patterns[i]);
        patterns[i].controller = patterns[i].bus = -1;
        patterns[i].target = 7;
        patterns[i].lun = i == 1 ? 7 : -1; /* the first and the last are the same */
        pointers[i] = &patterns[i];
    }
    m.addresses = pointers;
    m.n_addresses = 3;
    add(&o, &m);
    event.address = (struct address_view){.present = true, .target = 7, .lun = 7};
    cr_assert_eq(find(&event, &n_found), 1);
    cr_assert_eq(n_found, 1);
    event.address.target = 8;
    cr_assert_eq(find(&event, &n_found), 0);
    drop(&o);
}

Test(filter_index, a_value_named_twice_is_found_once)
{
    Sensebus__V1__Filter m = SENSEBUS__V1__FILTER__INIT;
    Sensebus__V1__Code codes[] = {203, 402, 203};
    struct event_view event = {.code = 203};
    struct owner o;
    size_t n_found;

    m.codes = codes;
    m.n_codes = 3;
    add(&o, &m);
    cr_assert_eq(find(&event, &n_found), 1);
    cr_assert_eq(n_found, 1);
    drop(&o);
    cr_assert_eq(find(&event, &n_found), 0);
}

Test(filter_index, a_long_value_of_an_event_equals_none)
{
    Sensebus__V1__Filter m = SENSEBUS__V1__FILTER__INIT;
    static char long_name[1025];
    char *name = (char *)"naa.1";
    struct event_view event = {.code = 203};
    struct owner o;
    size_t n_found;

    memset(long_name, 'n', 1024);
    m.designators = &name;
    m.n_designators = 1;
    add(&o, &m);
    event.device.designator = text(long_name);
    cr_assert_eq(find(&event, &n_found), 0);
    drop(&o);
}

/* ---- memory */

Test(filter_index, out_of_memory_adds_nothing)
{
    Sensebus__V1__Filter m = SENSEBUS__V1__FILTER__INIT;
    char *names3[] = {(char *)"naa.1", (char *)"naa.2", (char *)"naa.3"};
    struct event_view event = {.code = 203};
    struct owner o = {0};
    size_t n_found;
    unsigned n = 0;

    m.designators = names3;
    m.n_designators = 3;
    o.filter = compile(&m);
    event.device.designator = text("naa.1");
    for (bool failed = true; failed; n++) {
        failing_alloc_after(n);
        int rc = filter_index_add(&ix, o.filter, &o, &o.entry);
        failed = failing_alloc_stop();
        cr_assert_eq(rc, failed ? UV_ENOMEM : 0, "allocation %u", n);
        cr_assert_eq(find(&event, &n_found), failed ? 0 : 1);
    }
    cr_assert_gt(n, 3);
    drop(&o);
}
