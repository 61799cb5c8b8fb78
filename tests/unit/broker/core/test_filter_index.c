/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/filter_index.h"
#include "sensebus/v1/events.pb-c.h"
#include "tests/lib/failing_alloc.h"

#define MAX_FILTERS 64

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

static unsigned random_state = 1;

static unsigned pick(unsigned n)
{
    random_state = random_state * 1103515245 + 12345;
    return (random_state >> 16) % n;
}

static bool chance(unsigned percent)
{
    return pick(100) < percent;
}

static const char *const hosts[] = {"", "node-1", "node-2", "node-3", "node-*", "n?de-1"};
static const char *const names[] = {"", "naa.1", "naa.2", "naa.3", "naa.*", "*2"};
static const char *const adapters[] = {"", "iscsi0", "fc1"};

/* A message of filters together with what it points to. */
struct random_filter {
    Sensebus__V1__Filter message, exclude, *excludes[1];
    Sensebus__V1__Code codes[3];
    uint32_t categories[2];
    char *hosts[2], *designators[3], *target_names[2];
    Sensebus__V1__AddressPattern addresses[2], *address_pointers[2];
};

static size_t pick_texts(const char *const *from, unsigned n_from, char **to, unsigned max)
{
    size_t n = chance(40) ? 1 + pick(max) : 0;
    /* Mostly without the wildcards at the end. */
    for (size_t i = 0; i < n; i++)
        to[i] = (char *)from[pick(chance(80) ? n_from - 2 : n_from)];
    return n;
}

static void pick_address(Sensebus__V1__AddressPattern *a)
{
    sensebus__v1__address_pattern__init(a);
    a->adapter = (char *)adapters[pick(3)];
    a->controller = a->bus = -1;
    a->target = (int32_t)pick(4) - 1;
    a->lun = (int32_t)pick(4) - 1;
    if (a->lun >= 0 && chance(30)) {
        a->_lun_last_case = SENSEBUS__V1__ADDRESS_PATTERN___LUN_LAST_LUN_LAST;
        a->lun_last = a->lun + (int32_t)pick(2);
    }
}

static const Sensebus__V1__Filter *random_filter(struct random_filter *r)
{
    Sensebus__V1__Filter *m = &r->message;

    sensebus__v1__filter__init(m);
    m->codes = r->codes;
    for (m->n_codes = 0; m->n_codes < 3 && chance(25); m->n_codes++)
        r->codes[m->n_codes] = (Sensebus__V1__Code)(100 * (1 + pick(3)) + 1 + pick(3));
    m->categories = r->categories;
    for (m->n_categories = 0; m->n_categories < 2 && chance(15); m->n_categories++)
        r->categories[m->n_categories] = 1 + pick(3);
    m->hosts = r->hosts;
    m->n_hosts = pick_texts(hosts, 6, r->hosts, 2);
    m->designators = r->designators;
    m->n_designators = pick_texts(names, 6, r->designators, 3);
    m->target_names = r->target_names;
    m->n_target_names = pick_texts(names, 6, r->target_names, 2);
    m->addresses = r->address_pointers;
    for (m->n_addresses = 0; m->n_addresses < 2 && chance(25); m->n_addresses++) {
        pick_address(&r->addresses[m->n_addresses]);
        r->address_pointers[m->n_addresses] = &r->addresses[m->n_addresses];
    }
    m->minimum_severity = chance(20) ? (Sensebus__V1__Severity)pick(4) : 0;
    if (chance(20)) {
        sensebus__v1__filter__init(&r->exclude);
        r->exclude.minimum_severity = (Sensebus__V1__Severity)(1 + pick(3));
        r->excludes[0] = &r->exclude;
        m->exclude = r->excludes;
        m->n_exclude = 1;
    }
    return m;
}

static struct event_view random_event(void)
{
    struct event_view e = {.code = 100 * (1 + pick(3)) + 1 + pick(3), .severity = pick(4), .mode = 1};

    e.host = text(hosts[pick(4)]);
    e.address = (struct address_view){.controller = -1, .bus = -1, .target = -1, .lun = -1};
    e.device.device_type = -1;
    if (chance(80)) {
        e.address.present = true;
        e.address.adapter = text(adapters[pick(3)]);
        e.address.target = (int32_t)pick(4) - 1;
        e.address.lun = (int64_t)pick(4) - 1;
    }
    if (chance(70)) {
        e.device.present = true;
        e.device.designator = text(names[pick(4)]);
        e.device.target_name = text(names[pick(4)]);
    }
    return e;
}

Test(filter_index, finds_what_evaluating_every_filter_finds)
{
    struct owner owners[MAX_FILTERS] = {0};
    size_t n_matches = 0;

    for (unsigned round = 0; round < 4000; round++) {
        struct random_filter r;
        struct owner *changed = &owners[pick(MAX_FILTERS)];
        if (changed->filter)
            drop(changed);
        else
            add(changed, random_filter(&r));

        struct event_view event = random_event();
        size_t n_found;
        for (size_t i = 0; i < MAX_FILTERS; i++)
            owners[i].n_found = 0;
        find(&event, &n_found);
        n_matches += n_found;
        for (size_t i = 0; i < MAX_FILTERS; i++) {
            if (owners[i].filter)
                cr_assert_eq(owners[i].n_found, filter_matches(owners[i].filter, &event) ? 1 : 0,
                             "round %u: %s found %u times", round, filter_key(owners[i].filter), owners[i].n_found);
        }
    }
    cr_assert_gt(n_matches, 4000); /* the worlds do meet */
    for (size_t i = 0; i < MAX_FILTERS; i++)
        if (owners[i].filter)
            drop(&owners[i]);
}

/* ---- cost */

static char designators[1000][32];
static struct owner many[1000];

Test(filter_index, cost_does_not_grow_with_filters_that_do_not_match)
{
    struct event_view event = {.code = 203};
    size_t n_found;

    for (size_t i = 0; i < 1000; i++) {
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
    for (size_t i = 0; i < 1000; i++)
        drop(&many[i]);
}

Test(filter_index, stands_where_it_is_least_crowded)
{
    struct event_view event = {.code = 203};
    size_t n_found;

    /* Hosts come before codes, but here all name one host. */
    for (size_t i = 0; i < 1000; i++) {
        Sensebus__V1__Filter m = SENSEBUS__V1__FILTER__INIT;
        Sensebus__V1__Code code = (Sensebus__V1__Code)(1 + i);
        char *host = (char *)"node-1";
        m.codes = &code;
        m.hosts = &host;
        m.n_codes = m.n_hosts = 1;
        add(&many[i], &m);
    }
    event.host = text("node-1");
    cr_assert_leq(find(&event, &n_found), 2);
    cr_assert_eq(n_found, 1);
    for (size_t i = 0; i < 1000; i++)
        drop(&many[i]);
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
