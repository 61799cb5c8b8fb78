/* SPDX-License-Identifier: Apache-2.0 */
/* The directory as messages: pages of agents and of devices. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/directory.h"
#include "broker/core/host_list.h"
#include "broker/core/list_page.h"
#include "sensebus/v1/admin.pb-c.h"

/* The sources of the last Coverage move into the message. */
static int set_sources(const struct directory_agent *a, Sensebus__V1__Agent *m)
{
    if (!a->coverage.bytes)
        return 0;
    Sensebus__V1__Coverage *coverage = sensebus__v1__coverage__unpack(NULL, a->coverage.len, a->coverage.bytes);
    if (!coverage)
        return UV_ENOMEM;
    m->sources = coverage->sources;
    m->n_sources = coverage->n_sources;
    coverage->sources = NULL;
    coverage->n_sources = 0;
    sensebus__v1__coverage__free_unpacked(coverage, NULL);
    return 0;
}

static int copy_commands(const Sensebus__V1__Heartbeat *heartbeat, Sensebus__V1__Agent *m)
{
    m->commands = calloc(heartbeat->n_commands + 1, sizeof(Sensebus__V1__Agent__CommandsEntry *));
    if (!m->commands)
        return UV_ENOMEM;
    for (size_t i = 0; i < heartbeat->n_commands; i++) {
        Sensebus__V1__Agent__CommandsEntry *entry = malloc(sizeof *entry);
        if (!entry)
            return UV_ENOMEM;
        sensebus__v1__agent__commands_entry__init(entry);
        m->commands[m->n_commands++] = entry;
        entry->value = heartbeat->commands[i]->value;
        if (list_set_text(&entry->key, heartbeat->commands[i]->key) != 0)
            return UV_ENOMEM;
    }
    return 0;
}

static int set_commands(const struct directory_agent *a, Sensebus__V1__Agent *m)
{
    if (!a->heartbeat.bytes)
        return 0;
    Sensebus__V1__Heartbeat *heartbeat = sensebus__v1__heartbeat__unpack(NULL, a->heartbeat.len, a->heartbeat.bytes);
    if (!heartbeat)
        return UV_ENOMEM;
    int rc = copy_commands(heartbeat, m);
    sensebus__v1__heartbeat__free_unpacked(heartbeat, NULL);
    return rc;
}

static int fill_agent(const struct directory_agent *a, Sensebus__V1__Agent *m)
{
    m->state = (Sensebus__V1__AgentState)a->state;
    m->agent_epoch = a->agent_epoch;
    m->instance = a->instance;
    m->since_unix_ns = a->since_unix_ns;
    m->committed_source_sequence = a->committed_source_sequence;
    m->newest_source_sequence = a->newest_source_sequence;
    m->last_event_unix_ns = a->last_event_unix_ns;
    m->n_devices = a->n_devices;
    m->n_events = a->n_events;
    m->n_duplicates = a->n_duplicates;
    m->n_refused = a->n_refused;
    m->n_dropped = a->n_dropped;
    int rc;
    if ((rc = list_set_text(&m->host, a->host)) != 0 || (rc = list_set_text(&m->boot_id, a->boot_id)) != 0 ||
        (rc = list_set_text(&m->agent_version, a->version)) != 0 || (rc = list_set_text(&m->peer, a->peer)) != 0 ||
        (rc = set_sources(a, m)) != 0)
        return rc;
    return set_commands(a, m);
}

static size_t index_behind(const struct directory *d, const char *host)
{
    size_t i = directory_seek(d, host);
    return i < d->n && strcmp(d->agents[i]->host, host) == 0 ? i + 1 : i;
}

static int fill_agents(const struct directory *d, const char *after, size_t size, Sensebus__V1__ListAgentsResponse *r)
{
    size_t bytes = 0;
    r->agents = calloc(size, sizeof(Sensebus__V1__Agent *));
    if (!r->agents)
        return UV_ENOMEM;
    for (size_t i = index_behind(d, after); i < d->n; i++) {
        const struct directory_agent *a = d->agents[i];
        size_t said = a->coverage.len + a->heartbeat.len + sizeof(Sensebus__V1__Agent);
        if (r->n_agents == size || (r->n_agents && bytes + said > LIST_PAGE_MAX_BYTES))
            return list_set_text(&r->next_page_token, r->agents[r->n_agents - 1]->host);
        Sensebus__V1__Agent *m = malloc(sizeof *m);
        if (!m)
            return UV_ENOMEM;
        sensebus__v1__agent__init(m);
        r->agents[r->n_agents++] = m;
        int rc = fill_agent(a, m);
        if (rc != 0)
            return rc;
        bytes += said;
    }
    return 0;
}

int directory_list_agents(const struct directory *d, const Sensebus__V1__ListAgentsRequest *request,
                          Sensebus__V1__ListAgentsResponse **out_response, char *err, size_t err_len)
{
    size_t size;
    int rc = list_page_size(request->page_size, "ListAgentsRequest", &size, err, err_len);
    if (rc != 0)
        return rc;
    Sensebus__V1__ListAgentsResponse *r = malloc(sizeof *r);
    if (!r)
        return UV_ENOMEM;
    sensebus__v1__list_agents_response__init(r);
    rc = fill_agents(d, request->page_token, size, r);
    if (rc != 0) {
        sensebus__v1__list_agents_response__free_unpacked(r, NULL);
        return rc;
    }
    *out_response = r;
    return 0;
}

static int add_device(const struct directory_agent *a, const struct directory_device *device,
                      Sensebus__V1__ListDevicesResponse *r)
{
    Sensebus__V1__ListedDevice *m = malloc(sizeof *m);
    if (!m)
        return UV_ENOMEM;
    sensebus__v1__listed_device__init(m);
    r->devices[r->n_devices++] = m;
    m->agent_attached = a->state == DIRECTORY_ATTACHED;
    m->device = sensebus__v1__inventory_device__unpack(NULL, device->message.len, device->message.bytes);
    return m->device ? list_set_text(&m->host, a->host) : UV_ENOMEM;
}

/* Index of the first device of the agent behind the key. */
static size_t device_behind(const struct directory_agent *a, const char *key)
{
    size_t low = 0, high = a->n_devices;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(a->devices[middle].key, key) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The page token is the key of the last device; its host goes up to the first '/' (hosts have none). */
static size_t first_agent(const struct directory *d, const char *token)
{
    char host[DIRECTORY_MAX_HOST + 1];
    size_t len = strcspn(token, "/");
    if (len > DIRECTORY_MAX_HOST)
        len = DIRECTORY_MAX_HOST;
    memcpy(host, token, len);
    host[len] = '\0';
    return directory_seek(d, host);
}

static bool is_key_of(const char *key, const char *host)
{
    size_t len = strlen(host);
    return strncmp(key, host, len) == 0 && (key[len] == '/' || key[len] == '\0');
}

static int fill_devices(const struct directory *d, const Sensebus__V1__ListDevicesRequest *request, size_t size,
                        Sensebus__V1__ListDevicesResponse *r)
{
    const char *token = request->page_token, *last = NULL;
    size_t bytes = 0;
    r->devices = calloc(size, sizeof(Sensebus__V1__ListedDevice *));
    if (!r->devices)
        return UV_ENOMEM;
    for (size_t i = first_agent(d, token); i < d->n; i++) {
        const struct directory_agent *a = d->agents[i];
        if (!host_list_has(request->hosts, request->n_hosts, a->host))
            continue;
        for (size_t k = is_key_of(token, a->host) ? device_behind(a, token) : 0; k < a->n_devices; k++) {
            const struct directory_device *device = &a->devices[k];
            if (r->n_devices == size || (r->n_devices && bytes + device->message.len > LIST_PAGE_MAX_BYTES))
                return list_set_text(&r->next_page_token, last);
            int rc = add_device(a, device, r);
            if (rc != 0)
                return rc;
            last = device->key;
            bytes += device->message.len + strlen(device->key);
        }
    }
    return 0;
}

int directory_list_devices(const struct directory *d, const Sensebus__V1__ListDevicesRequest *request,
                           Sensebus__V1__ListDevicesResponse **out_response, char *err, size_t err_len)
{
    size_t size;
    int rc = list_page_size(request->page_size, "ListDevicesRequest", &size, err, err_len);
    if (rc == 0)
        rc = host_list_check(request->hosts, request->n_hosts, "ListDevicesRequest.hosts", err, err_len);
    if (rc != 0)
        return rc;
    Sensebus__V1__ListDevicesResponse *r = malloc(sizeof *r);
    if (!r)
        return UV_ENOMEM;
    sensebus__v1__list_devices_response__init(r);
    rc = fill_devices(d, request, size, r);
    if (rc != 0) {
        sensebus__v1__list_devices_response__free_unpacked(r, NULL);
        return rc;
    }
    *out_response = r;
    return 0;
}
