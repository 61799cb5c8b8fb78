/* SPDX-License-Identifier: Apache-2.0 */
/* Memory runs out at every allocation in turn: each call either happens or says so and changes nothing, and nothing
 * leaks. The linker puts the functions below in the place of the allocator for our own code. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/access.h"
#include "broker/core/dedupe.h"
#include "broker/core/device_key.h"
#include "broker/core/directory.h"
#include "broker/core/status.h"
#include "sensebus/v1/admin.pb-c.h"
#include "sensebus/v1/agents.pb-c.h"
#include "sensebus/v1/events.pb-c.h"

static bool armed;
static unsigned countdown; /* fails when it reaches 0 */
static unsigned n_failed;

static bool fails(void)
{
    if (!armed || --countdown > 0)
        return false;
    armed = false; /* once: the next try works */
    n_failed++;
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *string);
char *__real_strndup(const char *string, size_t max);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *string);
char *__wrap_strndup(const char *string, size_t max);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *string)
{
    return fails() ? NULL : __real_strdup(string);
}

char *__wrap_strndup(const char *string, size_t max)
{
    return fails() ? NULL : __real_strndup(string, max);
}

/* Run the story with the 1st, 2nd, … allocation failing until one run sees no failure. Each must tell the same. */
static void sweep(void (*story)(char *out))
{
    static char expected[4096], actual[4096];
    armed = false;
    *expected = '\0';
    story(expected);
    unsigned i = 0, failed_before;
    do {
        *actual = '\0';
        countdown = ++i;
        armed = true;
        failed_before = n_failed;
        story(actual);
        armed = false;
        cr_assert_str_eq(actual, expected, "allocation %u failed", i);
    } while (n_failed > failed_before);
    cr_assert_gt(i, 10); /* the allocator was really in our hands */
}

/* Try again when memory was out, as callers do. */
#define RETRY(call)                                                                                                    \
    do {                                                                                                               \
        int rc_ = (call);                                                                                              \
        if (rc_ == UV_ENOMEM)                                                                                          \
            rc_ = (call);                                                                                              \
        cr_assert_eq(rc_, 0, "%s: %s", #call, uv_strerror(rc_));                                                       \
    } while (0)

/* ---- access */

static void access_story(char *out)
{
    char *hosts[] = {"a-*", "b-*", "c-*"}, err[128];
    struct access a = {.rules = NULL};
    struct access_rule agent = {
        .identity = "plaintext", .name = "n", .roles = ACCESS_AGENT, .hosts = hosts, .n_hosts = 3};
    struct access_rule reader = {.identity = "uri:*", .roles = ACCESS_READER};
    RETRY(access_add(&a, &agent, err, sizeof err));
    RETRY(access_add(&a, &reader, err, sizeof err));
    RETRY(access_add(&a, &agent, err, sizeof err));
    for (size_t i = 0; i < a.n_rules; i++)
        out += sprintf(out, "%s %s %zu\n", a.rules[i].identity, a.rules[i].name ? a.rules[i].name : "-",
                       a.rules[i].n_hosts);
    access_deinit(&a);
}

Test(out_of_memory, a_rule_is_added_whole_or_not_at_all)
{
    sweep(access_story);
}

/* ---- status */

static size_t make_event(uint64_t sequence, uint8_t out[512])
{
    Sensebus__V1__Event e = SENSEBUS__V1__EVENT__INIT;
    Sensebus__V1__Origin origin = SENSEBUS__V1__ORIGIN__INIT;
    Sensebus__V1__Address address = SENSEBUS__V1__ADDRESS__INIT;
    origin.host = (char *)"h";
    origin.agent_epoch = 1;
    origin.source_sequence = sequence;
    address.adapter = (char *)"a";
    address.lun = (int64_t)(sequence % 4);
    e.origin = &origin;
    e.address = &address;
    e.sequence = sequence;
    e.code = (Sensebus__V1__Code)(201 + sequence % 5);
    e.scope = SENSEBUS__V1__SCOPE__SCOPE_LUN;
    e.summary = (char *)"summary";
    return sensebus__v1__event__pack(&e, out);
}

static void status_story(char *out)
{
    static uint8_t rows[8][4096];
    size_t lengths[8], n = 0;
    char keys[8][64], err[128];
    struct status s, again;
    status_init(&s, 1, 3, 0); /* one too few: devices are forgotten and come again */
    for (uint64_t sequence = 1; sequence <= 30; sequence++) {
        uint8_t bytes[512];
        struct event_view view;
        struct event_limits limits = {.allow_broker_fields = true};
        size_t len = make_event(sequence, bytes);
        cr_assert_eq(event_scan(bytes, len, &limits, &view, err, sizeof err), 0, "%s", err);
        RETRY(status_fold(&s, &view));
    }
    Sensebus__V1__GetStatusRequest request = SENSEBUS__V1__GET_STATUS_REQUEST__INIT;
    Sensebus__V1__GetStatusResponse *r = NULL;
    RETRY(status_page(&s, &request, NULL, 1, &r, err, sizeof err));
    for (size_t i = 0; i < r->n_devices; i++)
        out += sprintf(out, "%s %lu %zu %s\n", r->devices[i]->key, (unsigned long)r->devices[i]->n_events,
                       r->devices[i]->n_last, r->devices[i]->last[0]->summary);
    sensebus__v1__get_status_response__free_unpacked(r, NULL);
    uint64_t through;
    status_checkpoint_begin(&s, 100, &through);
    const struct status_device *d;
    TAILQ_FOREACH(d, &s.flight, flight)
    {
        if (d->gone)
            continue;
        strcpy(keys[n], d->key);
        lengths[n] = status_encoded_size(d);
        status_encode(d, rows[n++]);
    }
    status_checkpoint_end(&s, true);
    status_deinit(&s);
    status_init(&again, 1, 3, 0);
    for (size_t i = 0; i < n; i++)
        RETRY(status_load(&again, keys[i], strlen(keys[i]), rows[i], lengths[i]));
    RETRY(status_loaded(&again, through));
    out += sprintf(out, "%zu through %lu\n", again.n, (unsigned long)again.through);
    status_deinit(&again);
}

Test(out_of_memory, status_folds_later_what_it_could_not_fold)
{
    sweep(status_story);
}

/* Records first..first + 9 as a run of the log. */
static int fold_run(struct status *s, uint64_t first)
{
    static uint8_t bytes[10][512];
    int rc = 0;
    for (uint64_t i = 0; !rc && i < 10; i++) {
        struct event_view view;
        struct event_limits limits = {.allow_broker_fields = true};
        struct status_note note;
        char key[DEVICE_KEY_SIZE], err[128];
        size_t len = make_event(first + i, bytes[i]);
        cr_assert_eq(event_scan(bytes[i], len, &limits, &view, err, sizeof err), 0, "%s", err);
        status_note_make(&view, first + i, key, &note);
        rc = status_fold_late(s, &note, bytes[i], len);
    }
    int failed = status_settle(s);
    return rc ? rc : failed;
}

static void late_story(char *out)
{
    struct status s;
    status_init(&s, 1, 3, 0);
    for (uint64_t first = 1; first < 100; first += 10)
        RETRY(fold_run(&s, first));
    for (size_t i = 0; i < s.n; i++) {
        const struct status_device *d = status_at(&s, i);
        out += sprintf(out, "%s %lu %x:", d->key, (unsigned long)d->n_events, d->pending_aix_bits);
        for (uint32_t k = 0; k < d->n_last; k++)
            out += sprintf(out, " %u@%lux%lu", d->last[k].code, (unsigned long)d->last[k].sequence,
                           (unsigned long)d->last[k].count);
        out += sprintf(out, "\n");
    }
    sprintf(out, "through %lu, %lu forgotten\n", (unsigned long)s.through, (unsigned long)s.n_evicted);
    status_deinit(&s);
}

Test(out_of_memory, status_folds_a_run_later_and_nothing_of_it_twice)
{
    sweep(late_story);
}

/* What a checkpoint says is folded is what a restart does not fold again. */
Test(out_of_memory, a_checkpoint_behind_a_run_that_failed_names_nothing_that_is_not_folded)
{
    unsigned failed_before, n_refused = 0;
    armed = false;
    for (unsigned i = 1; failed_before = n_failed, i < 100; i++) {
        struct status s;
        uint64_t through;
        status_init(&s, 1, 0, 0);
        cr_assert_eq(fold_run(&s, 1), 0);
        status_checkpoint_begin(&s, 100, &through);
        status_checkpoint_end(&s, true);
        countdown = i;
        armed = true;
        n_refused += fold_run(&s, 11) == UV_ENOMEM;
        armed = false;
        for (size_t n = 1; n > 0;) {
            n = status_checkpoint_begin(&s, 1, &through);
            cr_assert_leq(through, s.through, "allocation %u failed", i);
            status_checkpoint_end(&s, true);
        }
        status_deinit(&s);
        if (n_failed == failed_before)
            break;
    }
    cr_assert_gt(n_refused, 3);
}

/* ---- dedupe */

static void dedupe_story(char *out)
{
    struct dedupe d, again;
    struct dedupe_agent *agents[20];
    struct dedupe_key evicted;
    uint8_t value[DEDUPE_VALUE_SIZE];
    dedupe_init(&d, 1, 15);
    dedupe_init(&again, 1, 15);
    for (uint64_t i = 0; i < 20; i++) {
        RETRY(dedupe_open(&d, "h", i + 1, 1, i, &agents[i], &evicted));
        out += sprintf(out, "%zu evicted\n", evicted.len);
        dedupe_take(agents[i], i);
        dedupe_commit(&d, agents[i], i, i);
        dedupe_encode(agents[i], i, i, value);
        if (i >= 5)
            RETRY(dedupe_load(&again, agents[i]->key.bytes, agents[i]->key.len, value, sizeof value));
        dedupe_close(agents[i]);
    }
    RETRY(dedupe_loaded(&again));
    sprintf(out, "%zu and %zu pairs\n", d.by_key.n, again.by_key.n);
    dedupe_deinit(&d);
    dedupe_deinit(&again);
}

Test(out_of_memory, dedupe_opens_later_what_it_could_not_open)
{
    sweep(dedupe_story);
}

/* ---- directory */

static void directory_story(char *out)
{
    struct directory d;
    char err[256];
    int stream;
    directory_init(&d, 0, 0, 0);
    Sensebus__V1__Inventory inventory = SENSEBUS__V1__INVENTORY__INIT;
    Sensebus__V1__InventoryDevice devices[3], *list[3];
    Sensebus__V1__Address addresses[3];
    for (int i = 0; i < 3; i++) {
        sensebus__v1__inventory_device__init(&devices[i]);
        sensebus__v1__address__init(&addresses[i]);
        addresses[i].adapter = (char *)"a";
        addresses[i].lun = 2 - i / 2;
        devices[i].address = &addresses[i];
        list[i] = &devices[i];
    }
    inventory.devices = list;
    inventory.n_devices = 3;
    char *can[] = {(char *)"event", (char *)"halt"};
    Sensebus__V1__AdapterCapabilities adapters[2], *adapter_list[2] = {&adapters[0], &adapters[1]};
    for (int i = 0; i < 2; i++) {
        sensebus__v1__adapter_capabilities__init(&adapters[i]);
        adapters[i].adapter = i ? (char *)"a" : (char *)"b";
        adapters[i].capabilities = can;
        adapters[i].n_capabilities = 2;
    }
    inventory.adapters = adapter_list;
    inventory.n_adapters = 2;
    Sensebus__V1__Coverage coverage = SENSEBUS__V1__COVERAGE__INIT;
    Sensebus__V1__SourceCoverage source = SENSEBUS__V1__SOURCE_COVERAGE__INIT, *sources = &source;
    coverage.sources = &sources;
    coverage.n_sources = 1;
    Sensebus__V1__Heartbeat heartbeat = SENSEBUS__V1__HEARTBEAT__INIT;
    Sensebus__V1__Heartbeat__CommandsEntry entry = SENSEBUS__V1__HEARTBEAT__COMMANDS_ENTRY__INIT, *entries = &entry;
    entry.key = (char *)"INQUIRY";
    entry.value = 3;
    heartbeat.commands = &entries;
    heartbeat.n_commands = 1;
    for (char host[2] = "a"; *host < 'e'; (*host)++) {
        Sensebus__V1__Hello hello = SENSEBUS__V1__HELLO__INIT;
        hello.host = host;
        hello.boot_id = (char *)"boot";
        hello.instance = 1;
        hello.adapters = adapter_list;
        hello.n_adapters = 2;
        struct directory_agent *a = NULL;
        void *old = NULL;
        enum directory_verdict verdict = DIRECTORY_NO_MEMORY;
        for (int i = 0; i < 2 && verdict == DIRECTORY_NO_MEMORY; i++)
            verdict = directory_attach(&d, &hello, "peer", &stream, 1, &a, &old, err, sizeof err);
        cr_assert_eq(verdict, DIRECTORY_ACCEPT);
        RETRY(directory_inventory(&d, a, &inventory, err, sizeof err));
        RETRY(directory_coverage(&d, a, &coverage, err, sizeof err));
        RETRY(directory_heartbeat(&d, a, &heartbeat, 1, err, sizeof err));
    }
    Sensebus__V1__ListAgentsRequest agents_request = SENSEBUS__V1__LIST_AGENTS_REQUEST__INIT;
    Sensebus__V1__ListAgentsResponse *agents = NULL;
    RETRY(directory_list_agents(&d, &agents_request, &agents, err, sizeof err));
    for (size_t i = 0; i < agents->n_agents; i++)
        out += sprintf(out, "%s %s %zu %s\n", agents->agents[i]->host, agents->agents[i]->boot_id,
                       agents->agents[i]->n_sources, agents->agents[i]->commands[0]->key);
    sensebus__v1__list_agents_response__free_unpacked(agents, NULL);
    Sensebus__V1__ListDevicesRequest devices_request = SENSEBUS__V1__LIST_DEVICES_REQUEST__INIT;
    Sensebus__V1__ListDevicesResponse *listed = NULL;
    RETRY(directory_list_devices(&d, &devices_request, &listed, err, sizeof err));
    for (size_t i = 0; i < listed->n_devices; i++)
        out += sprintf(out, "%s %ld\n", listed->devices[i]->host, (long)listed->devices[i]->device->address->lun);
    sensebus__v1__list_devices_response__free_unpacked(listed, NULL);
    directory_deinit(&d);
}

Test(out_of_memory, directory_takes_later_what_it_could_not_take)
{
    sweep(directory_story);
}
