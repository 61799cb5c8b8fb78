/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/directory.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "sensebus/v1/admin.pb-c.h"
#include "sensebus/v1/agents.pb-c.h"

#define SECOND 1000000000ull

static struct directory d;
static char err[512], story[8192];

static void setup(void)
{
    directory_init(&d, 0, 0, 0);
    story[0] = err[0] = '\0';
}

static void teardown(void)
{
    directory_deinit(&d);
}

TestSuite(directory, .init = setup, .fini = teardown);

static Sensebus__V1__Hello make_hello(const char *host, uint64_t epoch, uint64_t instance)
{
    Sensebus__V1__Hello hello = SENSEBUS__V1__HELLO__INIT;
    hello.version = 1;
    hello.host = (char *)host;
    hello.boot_id = (char *)"boot";
    hello.agent_epoch = epoch;
    hello.instance = instance;
    hello.agent_version = (char *)"0.1.0";
    hello.oldest_source_sequence = 1;
    return hello;
}

static struct directory_agent *agent;
static void *old_stream;

static enum directory_verdict attach(const char *host, uint64_t instance, void *stream, uint64_t now_s)
{
    Sensebus__V1__Hello hello = make_hello(host, 5, instance);
    return directory_attach(&d, &hello, "192.0.2.1:5000", stream, now_s * SECOND, &agent, &old_stream, err, sizeof err);
}

Test(directory, hello_is_checked_member_by_member)
{
    char long_text[DIRECTORY_MAX_HOST + 2];
    memset(long_text, 'x', sizeof long_text);
    long_text[DIRECTORY_MAX_HOST + 1] = '\0';
    Sensebus__V1__Hello good = make_hello("host-1.example_A", 5, 6);
    cr_assert_eq(directory_check_hello(&good, err, sizeof err), 0);
    good.newest_source_sequence = 9;
    good.oldest_source_sequence = 10; /* an empty spool */
    cr_assert_eq(directory_check_hello(&good, err, sizeof err), 0);
    good.host = long_text + 1;
    cr_assert_eq(directory_check_hello(&good, err, sizeof err), 0);

    Sensebus__V1__Hello bad[10];
    for (size_t i = 0; i < 10; i++)
        bad[i] = make_hello("h", 5, 6);
    bad[0].version = 2;
    bad[1].host = (char *)"";
    bad[2].host = long_text;
    bad[3].host = (char *)"a/b";
    bad[4].boot_id = long_text;
    bad[5].agent_version = (char *)"\xff";
    bad[6].agent_epoch = 0;
    bad[7].instance = 0;
    bad[8].oldest_source_sequence = 2;
    bad[9].newest_source_sequence = UINT64_MAX;
    static const char *const says[] = {"Hello.version: 2",
                                       "Hello.host: 0 bytes",
                                       "Hello.host: 254 bytes",
                                       "Hello.host: byte 2",
                                       "Hello.boot_id",
                                       "Hello.agent_version",
                                       "Hello.agent_epoch",
                                       "Hello.instance",
                                       "Hello.oldest_source_sequence: 2",
                                       "Hello.newest_source_sequence"};
    for (size_t i = 0; i < 10; i++) {
        cr_assert_eq(directory_check_hello(&bad[i], err, sizeof err), UV_EINVAL, "%zu", i);
        cr_assert_not_null(strstr(err, says[i]), "%s", err);
    }
}

Test(directory, one_agent_a_host_is_attached)
{
    int first, second, third;
    cr_assert_eq(attach("h", 1, &first, 1000000000), DIRECTORY_ACCEPT);
    struct directory_agent *a = agent;
    cr_assert_eq(attach("h", 2, &second, 1000000001), DIRECTORY_REFUSE);
    cr_assert_str_eq(err, "another agent of host h is attached from 192.0.2.1:5000 since 2001-09-09T01:46:40Z "
                          "(instance 0000000000000001)");
    cr_assert_eq(attach("g", 2, &second, 1000000001), DIRECTORY_ACCEPT);
    cr_assert_eq(d.n_attached, 2);
    /* The same process comes again before its old connection was found dead. */
    cr_assert_eq(attach("h", 1, &third, 1000000002), DIRECTORY_REPLACE);
    cr_assert_eq(agent, a);
    cr_assert_eq(old_stream, &first);
    cr_assert_eq(d.n_attached, 2);
    /* The end of the old stream says nothing about the agent any more. */
    cr_assert_not(directory_leave(&d, a, &first, false, 1000000003 * SECOND));
    cr_assert_eq(a->state, DIRECTORY_ATTACHED);
    cr_assert(directory_leave(&d, a, &third, false, 1000000004 * SECOND));
    cr_assert_eq(a->state, DIRECTORY_LOST);
    cr_assert_not(directory_leave(&d, a, &third, true, 1000000005 * SECOND));
    cr_assert_eq(d.n_attached, 1);
    /* Now another instance may come: the agent was started again. */
    cr_assert_eq(attach("h", 2, &first, 1000000006), DIRECTORY_ACCEPT);
    cr_assert(directory_leave(&d, agent, &first, true, 1000000007 * SECOND));
    cr_assert_eq(agent->state, DIRECTORY_DETACHED);
    cr_assert_eq(agent->since_unix_ns, 1000000007 * SECOND);
}

Test(directory, agents_gone_longest_are_forgotten_first)
{
    int stream;
    directory_deinit(&d);
    directory_init(&d, 3, 0, 0);
    cr_assert_eq(attach("a", 1, &stream, 1), DIRECTORY_ACCEPT);
    cr_assert_eq(attach("b", 1, &stream, 2), DIRECTORY_ACCEPT);
    cr_assert_eq(attach("c", 1, &stream, 3), DIRECTORY_ACCEPT);
    cr_assert_eq(attach("d", 1, &stream, 4), DIRECTORY_FULL);
    cr_assert_str_eq(err, "3 agents are attached, which is as many as this broker takes");
    directory_leave(&d, directory_find(&d, "b"), &stream, true, 5 * SECOND);
    directory_leave(&d, directory_find(&d, "a"), &stream, true, 6 * SECOND);
    cr_assert_eq(attach("d", 1, &stream, 7), DIRECTORY_ACCEPT);
    cr_assert_null(directory_find(&d, "b"));
    cr_assert_not_null(directory_find(&d, "a"));
    cr_assert_eq(d.n_forgotten, 1);
    cr_assert_str_eq(d.last_forgotten, "b", "so that the store can forget it, too");
    cr_assert_eq(attach("a", 1, &stream, 8), DIRECTORY_ACCEPT); /* a known one needs no room */
}

/* ---- what agents say */

static int say_inventory_of(struct directory_agent *a, size_t n, const char *target_name)
{
    Sensebus__V1__Inventory message = SENSEBUS__V1__INVENTORY__INIT;
    Sensebus__V1__InventoryDevice *devices = calloc(n + 1, sizeof *devices);
    Sensebus__V1__InventoryDevice **list = calloc(n + 1, sizeof *list);
    Sensebus__V1__Address *addresses = calloc(n + 1, sizeof *addresses);
    Sensebus__V1__Device identity = SENSEBUS__V1__DEVICE__INIT;
    identity.target_name = (char *)target_name;
    for (size_t i = 0; i < n; i++) {
        sensebus__v1__inventory_device__init(&devices[i]);
        sensebus__v1__address__init(&addresses[i]);
        addresses[i].lun = (int64_t)(n - 1 - i); /* out of order */
        devices[i].address = &addresses[i];
        devices[i].device = &identity;
        devices[i].n_blocks = 1000 + i;
        list[i] = &devices[i];
    }
    message.devices = list;
    message.n_devices = n;
    int rc = directory_inventory(&d, a, &message, err, sizeof err);
    free(devices);
    free(list);
    free(addresses);
    return rc;
}

static void list_devices(uint32_t page_size, const char *host_pattern)
{
    char token[512] = "";
    story[0] = '\0';
    do {
        Sensebus__V1__ListDevicesRequest request = SENSEBUS__V1__LIST_DEVICES_REQUEST__INIT;
        Sensebus__V1__ListDevicesResponse *r;
        char *pattern = (char *)host_pattern;
        request.page_size = page_size;
        request.page_token = token;
        request.hosts = &pattern;
        request.n_hosts = host_pattern ? 1 : 0;
        cr_assert_eq(directory_list_devices(&d, &request, &r, err, sizeof err), 0);
        cr_assert_leq(r->n_devices, page_size ? page_size : 1000);
        for (size_t i = 0; i < r->n_devices; i++)
            sprintf(story + strlen(story), "%s%s:%" PRId64 " ", r->devices[i]->host,
                    r->devices[i]->agent_attached ? "" : "(gone)", r->devices[i]->device->address->lun);
        strcat(story, "| ");
        strcpy(token, r->next_page_token);
        sensebus__v1__list_devices_response__free_unpacked(r, NULL);
    } while (*token);
}

Test(directory, devices_are_listed_in_pages_by_host_and_path)
{
    int stream;
    cr_assert_eq(attach("b", 1, &stream, 1), DIRECTORY_ACCEPT);
    cr_assert_eq(say_inventory_of(agent, 3, "iqn.b"), 0);
    cr_assert_eq(attach("a", 1, &stream, 1), DIRECTORY_ACCEPT);
    cr_assert_eq(say_inventory_of(agent, 2, "iqn.a"), 0);
    directory_leave(&d, agent, &stream, false, 2 * SECOND);
    cr_assert_eq(attach("a-c", 1, &stream, 1), DIRECTORY_ACCEPT); /* sorts behind a's keys, though '-' is before '/' */
    cr_assert_eq(say_inventory_of(agent, 1, "iqn.c"), 0);
    list_devices(0, NULL);
    cr_assert_str_eq(story, "a(gone):0 a(gone):1 a-c:0 b:0 b:1 b:2 | ");
    list_devices(1, NULL);
    cr_assert_str_eq(story, "a(gone):0 | a(gone):1 | a-c:0 | b:0 | b:1 | b:2 | ");
    list_devices(2, NULL);
    cr_assert_str_eq(story, "a(gone):0 a(gone):1 | a-c:0 b:0 | b:1 b:2 | ");
    list_devices(4, NULL);
    cr_assert_str_eq(story, "a(gone):0 a(gone):1 a-c:0 b:0 | b:1 b:2 | ");
    list_devices(1, "a*");
    cr_assert_str_eq(story, "a(gone):0 | a(gone):1 | a-c:0 | ");
    list_devices(0, "nobody");
    cr_assert_str_eq(story, "| ");
}

Test(directory, page_token_of_a_forgotten_host_goes_on_behind_it)
{
    int stream;
    cr_assert_eq(attach("a-c", 1, &stream, 1), DIRECTORY_ACCEPT);
    cr_assert_eq(say_inventory_of(agent, 2, "iqn.c"), 0);
    Sensebus__V1__ListDevicesRequest request = SENSEBUS__V1__LIST_DEVICES_REQUEST__INIT;
    Sensebus__V1__ListDevicesResponse *r;
    request.page_token = (char *)"a/iqn.a/7";
    cr_assert_eq(directory_list_devices(&d, &request, &r, err, sizeof err), 0);
    cr_assert_eq(r->n_devices, 2);
    sensebus__v1__list_devices_response__free_unpacked(r, NULL);
}

Test(directory, inventory_replaces_the_one_before)
{
    int stream;
    cr_assert_eq(attach("h", 1, &stream, 1), DIRECTORY_ACCEPT);
    size_t bytes = d.bytes;
    cr_assert_eq(say_inventory_of(agent, 3, "iqn.a"), 0);
    cr_assert_eq(d.n_devices, 3);
    cr_assert_gt(d.bytes, bytes);
    cr_assert_eq(say_inventory_of(agent, 1, "iqn.a"), 0);
    cr_assert_eq(d.n_devices, 1);
    list_devices(0, NULL);
    cr_assert_str_eq(story, "h:0 | ");
    cr_assert_eq(say_inventory_of(agent, 0, "iqn.a"), 0);
    cr_assert_eq(d.bytes, bytes);
}

Test(directory, of_two_devices_with_one_path_the_later_counts)
{
    int stream;
    cr_assert_eq(attach("h", 1, &stream, 1), DIRECTORY_ACCEPT);
    Sensebus__V1__Inventory message = SENSEBUS__V1__INVENTORY__INIT;
    Sensebus__V1__InventoryDevice devices[3], *list[3];
    for (size_t i = 0; i < 3; i++) {
        sensebus__v1__inventory_device__init(&devices[i]);
        devices[i].n_blocks = i;
        list[i] = &devices[i];
    }
    message.n_devices = 3;
    message.devices = list;
    cr_assert_eq(directory_inventory(&d, agent, &message, err, sizeof err), 0);
    cr_assert_eq(agent->n_devices, 1);
    Sensebus__V1__ListDevicesRequest request = SENSEBUS__V1__LIST_DEVICES_REQUEST__INIT;
    Sensebus__V1__ListDevicesResponse *r;
    cr_assert_eq(directory_list_devices(&d, &request, &r, err, sizeof err), 0);
    cr_assert_eq(r->devices[0]->device->n_blocks, 2);
    sensebus__v1__list_devices_response__free_unpacked(r, NULL);
}

/* Multipath: one unit of one target, which the host's kernel reaches through several adapters. */
Test(directory, ways_to_one_device_stay_apart)
{
    static const struct {
        const char *adapter;
        int32_t bus, target;
    } WAYS[] = {{"iscsi0", -1, 3}, {"host3", 0, 0}, {"host4", 0, 0}, {"host4", 0, 1}, {"host3", 0, 0}};
    enum { N = sizeof WAYS / sizeof *WAYS };
    int stream;
    cr_assert_eq(attach("h", 1, &stream, 1), DIRECTORY_ACCEPT);
    Sensebus__V1__Inventory message = SENSEBUS__V1__INVENTORY__INIT;
    Sensebus__V1__InventoryDevice devices[N], *list[N];
    Sensebus__V1__Address addresses[N];
    Sensebus__V1__Device identity = SENSEBUS__V1__DEVICE__INIT;
    identity.target_name = (char *)"naa.5006";
    for (size_t i = 0; i < N; i++) {
        sensebus__v1__inventory_device__init(&devices[i]);
        sensebus__v1__address__init(&addresses[i]);
        addresses[i].adapter = (char *)WAYS[i].adapter;
        addresses[i].bus = WAYS[i].bus;
        addresses[i].target = WAYS[i].target;
        devices[i].address = &addresses[i];
        devices[i].device = &identity;
        list[i] = &devices[i];
    }
    message.n_devices = N;
    message.devices = list;
    cr_assert_eq(directory_inventory(&d, agent, &message, err, sizeof err), 0);
    cr_assert_eq(agent->n_devices, 4); /* host3 was there twice */
    for (size_t i = 0; i < 4; i++)
        cr_expect(directory_is_on_path(agent->devices[i].key, "h/naa.5006/0"), "%s", agent->devices[i].key);
    cr_expect_not(directory_is_on_path(agent->devices[1].key, "h/naa.500"));
    cr_expect_not(directory_is_on_path("h/naa.5006/01", "h/naa.5006/0"));
    list_devices(1, NULL);
    cr_assert_str_eq(story, "h:0 | h:0 | h:0 | h:0 | ");
}

Test(directory, bounds_are_named_and_leave_things_as_they_were)
{
    int stream;
    directory_deinit(&d);
    directory_init(&d, 0, 10, 3000);
    cr_assert_eq(attach("a", 1, &stream, 1), DIRECTORY_ACCEPT);
    cr_assert_eq(say_inventory_of(agent, 8, "iqn"), 0);
    cr_assert_eq(attach("b", 1, &stream, 1), DIRECTORY_ACCEPT);
    cr_assert_eq(say_inventory_of(agent, 2, "iqn"), 0);
    cr_assert_eq(say_inventory_of(agent, 3, "iqn"), UV_ENOBUFS);
    cr_assert_str_eq(err, "Inventory: 3 devices, and all agents together may have no more than 10");
    cr_assert_eq(agent->n_devices, 2);
    char name[3001];
    memset(name, 'n', 3000);
    name[3000] = '\0';
    cr_assert_eq(say_inventory_of(agent, 1, name), UV_ENOBUFS);
    cr_assert_not_null(strstr(err, "no more than 3000"), "%s", err);
    cr_assert_eq(agent->n_devices, 2);
    cr_assert_eq(say_inventory_of(agent, DIRECTORY_MAX_AGENT_DEVICES + 1, "iqn"), UV_EINVAL);
    cr_assert_str_eq(err, "Inventory.devices: 65537, at most 65536");

    Sensebus__V1__Coverage coverage = SENSEBUS__V1__COVERAGE__INIT;
    coverage.n_sources = DIRECTORY_MAX_SOURCES + 1; /* refused before it is looked at */
    cr_assert_eq(directory_coverage(&d, agent, &coverage, err, sizeof err), UV_EINVAL);
    Sensebus__V1__Heartbeat heartbeat = SENSEBUS__V1__HEARTBEAT__INIT;
    heartbeat.n_commands = DIRECTORY_MAX_COMMANDS + 1;
    cr_assert_eq(directory_heartbeat(&d, agent, &heartbeat, 0, err, sizeof err), UV_EINVAL);
}

/* A stock client takes messages of 4 MiB: one agent must not be able to make the lists unreadable. */
Test(directory, what_one_agent_says_fits_into_a_list)
{
    int stream;
    static char text[2 * 1024 * 1024];
    Sensebus__V1__Coverage coverage = SENSEBUS__V1__COVERAGE__INIT;
    Sensebus__V1__SourceCoverage source = SENSEBUS__V1__SOURCE_COVERAGE__INIT, *sources = &source;
    memset(text, 't', sizeof text - 1);
    cr_assert_eq(attach("a", 1, &stream, 1), DIRECTORY_ACCEPT);
    source.instance = text;
    coverage.sources = &sources;
    coverage.n_sources = 1;
    cr_assert_eq(directory_coverage(&d, agent, &coverage, err, sizeof err), UV_EINVAL);
    cr_assert_not_null(strstr(err, "at most 1048576"), "%s", err);
    text[66000] = '\0';
    cr_assert_eq(say_inventory_of(agent, 1, text), UV_EINVAL);
    cr_assert_not_null(strstr(err, "at most 65536"), "%s", err);
    cr_assert_eq(agent->n_devices, 0);
}

Test(directory, agents_are_listed_with_what_they_said)
{
    int stream;
    cr_assert_eq(attach("h", 9, &stream, 3), DIRECTORY_ACCEPT);
    Sensebus__V1__Coverage coverage = SENSEBUS__V1__COVERAGE__INIT;
    Sensebus__V1__SourceCoverage source = SENSEBUS__V1__SOURCE_COVERAGE__INIT, *sources = &source;
    source.instance = (char *)"iqn.a";
    source.state = SENSEBUS__V1__SOURCE_STATE__SOURCE_STATE_ARMED;
    coverage.sources = &sources;
    coverage.n_sources = 1;
    Sensebus__V1__Heartbeat heartbeat = SENSEBUS__V1__HEARTBEAT__INIT;
    Sensebus__V1__Heartbeat__CommandsEntry entry = SENSEBUS__V1__HEARTBEAT__COMMANDS_ENTRY__INIT, *entries = &entry;
    entry.key = (char *)"TEST UNIT READY";
    entry.value = 17;
    heartbeat.commands = &entries;
    heartbeat.n_commands = 1;
    heartbeat.newest_source_sequence = 44;
    heartbeat.dropped = 2;
    for (int i = 0; i < 2; i++) { /* said again, it takes the place of what was said before */
        cr_assert_eq(directory_coverage(&d, agent, &coverage, err, sizeof err), 0);
        cr_assert_eq(directory_heartbeat(&d, agent, &heartbeat, 4 * SECOND, err, sizeof err), 0);
    }
    cr_assert_eq(say_inventory_of(agent, 3, "iqn.a"), 0);
    agent->committed_source_sequence = 40;

    Sensebus__V1__ListAgentsRequest request = SENSEBUS__V1__LIST_AGENTS_REQUEST__INIT;
    Sensebus__V1__ListAgentsResponse *r;
    cr_assert_eq(directory_list_agents(&d, &request, &r, err, sizeof err), 0);
    cr_assert_eq(r->n_agents, 1);
    const Sensebus__V1__Agent *a = r->agents[0];
    cr_assert_str_eq(a->host, "h");
    cr_assert_eq(a->state, SENSEBUS__V1__AGENT_STATE__AGENT_STATE_ATTACHED);
    cr_assert_eq(a->agent_epoch, 5);
    cr_assert_eq(a->instance, 9);
    cr_assert_str_eq(a->boot_id, "boot");
    cr_assert_str_eq(a->agent_version, "0.1.0");
    cr_assert_str_eq(a->peer, "192.0.2.1:5000");
    cr_assert_eq(a->since_unix_ns, 3 * SECOND);
    cr_assert_eq(a->committed_source_sequence, 40);
    cr_assert_eq(a->newest_source_sequence, 44);
    cr_assert_eq(a->n_dropped, 2);
    cr_assert_eq(a->n_devices, 3);
    cr_assert_eq(a->n_sources, 1);
    cr_assert_str_eq(a->sources[0]->instance, "iqn.a");
    cr_assert_eq(a->n_commands, 1);
    cr_assert_str_eq(a->commands[0]->key, "TEST UNIT READY");
    cr_assert_eq(a->commands[0]->value, 17);
    sensebus__v1__list_agents_response__free_unpacked(r, NULL);
}

Test(directory, lists_take_no_more_hosts_than_a_person_would_name)
{
    static char *many[257];
    Sensebus__V1__ListDevicesRequest request = SENSEBUS__V1__LIST_DEVICES_REQUEST__INIT;
    Sensebus__V1__ListDevicesResponse *r;
    for (size_t i = 0; i < 257; i++)
        many[i] = (char *)"*x";
    request.hosts = many;
    request.n_hosts = 257;
    cr_assert_eq(directory_list_devices(&d, &request, &r, err, sizeof err), UV_EINVAL);
    cr_assert_str_eq(err, "ListDevicesRequest.hosts: 257 entries, at most 256");
}

Test(directory, agents_are_listed_in_pages_by_name)
{
    static const char *const hosts[] = {"delta", "alpha", "echo", "charlie", "bravo"};
    int stream;
    for (size_t i = 0; i < 5; i++)
        cr_assert_eq(attach(hosts[i], 1, &stream, 1), DIRECTORY_ACCEPT);
    char token[256] = "";
    do {
        Sensebus__V1__ListAgentsRequest request = SENSEBUS__V1__LIST_AGENTS_REQUEST__INIT;
        Sensebus__V1__ListAgentsResponse *r;
        request.page_size = 2;
        request.page_token = token;
        cr_assert_eq(directory_list_agents(&d, &request, &r, err, sizeof err), 0);
        for (size_t i = 0; i < r->n_agents; i++)
            sprintf(story + strlen(story), "%s ", r->agents[i]->host);
        strcat(story, "| ");
        strcpy(token, r->next_page_token);
        sensebus__v1__list_agents_response__free_unpacked(r, NULL);
    } while (*token);
    cr_assert_str_eq(story, "alpha bravo | charlie delta | echo | ");

    Sensebus__V1__ListAgentsRequest request = SENSEBUS__V1__LIST_AGENTS_REQUEST__INIT;
    Sensebus__V1__ListAgentsResponse *r;
    request.page_size = 10001;
    cr_assert_eq(directory_list_agents(&d, &request, &r, err, sizeof err), UV_EINVAL);
    cr_assert_str_eq(err, "ListAgentsRequest.page_size: 10001, at most 10000");
}

static Sensebus__V1__AdapterCapabilities make_adapter(const char *name, const char *own_id)
{
    Sensebus__V1__AdapterCapabilities a = SENSEBUS__V1__ADAPTER_CAPABILITIES__INIT;
    a.adapter = (char *)name;
    a.own_id = (char *)own_id;
    return a;
}

Test(directory, adapters_are_those_of_hello_until_an_inventory_names_some)
{
    Sensebus__V1__AdapterCapabilities first = make_adapter("iscsi0", "me"), second = make_adapter("tgt1", ""),
                                      *hello_list[] = {&first}, *inventory_list[] = {&second};
    Sensebus__V1__Hello hello = make_hello("h", 5, 6);
    Sensebus__V1__Inventory inventory = SENSEBUS__V1__INVENTORY__INIT;
    int stream, stream2;

    hello.adapters = hello_list;
    hello.n_adapters = 1;
    cr_assert_eq(directory_check_hello(&hello, err, sizeof err), 0);
    cr_assert_eq(directory_attach(&d, &hello, "p", &stream, SECOND, &agent, &old_stream, err, sizeof err),
                 DIRECTORY_ACCEPT);
    cr_assert_not_null(capabilities_find(&agent->adapters, "iscsi0"));
    size_t bytes = d.bytes;
    cr_assert_eq(directory_inventory(&d, agent, &inventory, err, sizeof err), 0);
    cr_assert_not_null(capabilities_find(&agent->adapters, "iscsi0"));
    inventory.adapters = inventory_list;
    inventory.n_adapters = 1;
    cr_assert_eq(directory_inventory(&d, agent, &inventory, err, sizeof err), 0);
    cr_assert_null(capabilities_find(&agent->adapters, "iscsi0"));
    cr_assert_not_null(capabilities_find(&agent->adapters, "tgt1"));
    cr_assert_eq(d.bytes, bytes);
    second.adapter = (char *)"";
    cr_assert_eq(directory_inventory(&d, agent, &inventory, err, sizeof err), UV_EINVAL);
    cr_assert_not_null(strstr(err, "Inventory.adapters"));
    cr_assert_not_null(capabilities_find(&agent->adapters, "tgt1"));

    hello.n_adapters = 0; /* it attaches again, and can do nothing now */
    cr_assert_eq(directory_attach(&d, &hello, "p", &stream2, SECOND, &agent, &old_stream, err, sizeof err),
                 DIRECTORY_REPLACE);
    cr_assert_eq(agent->adapters.n, 0);
    hello.n_adapters = 1;
    first.adapter = (char *)"";
    cr_assert_eq(directory_check_hello(&hello, err, sizeof err), UV_EINVAL);
    cr_assert_not_null(strstr(err, "Hello.adapters"));
}

Test(directory, adapters_count_against_the_bound_of_all_that_is_said)
{
    Sensebus__V1__AdapterCapabilities first = make_adapter("iscsi0", "me"), *list[] = {&first};
    Sensebus__V1__Hello hello = make_hello("h", 5, 6);
    int stream;

    directory_deinit(&d);
    directory_init(&d, 0, 0, sizeof(struct capabilities_adapter));
    hello.adapters = list;
    hello.n_adapters = 1;
    cr_assert_eq(directory_attach(&d, &hello, "p", &stream, SECOND, &agent, &old_stream, err, sizeof err),
                 DIRECTORY_FULL);
    cr_assert_not_null(strstr(err, "Hello.adapters"));
    cr_assert_eq(d.n, 0);
}
