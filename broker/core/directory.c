/* SPDX-License-Identifier: Apache-2.0 */
/* Who is attached and what was said. The lists are in directory_list.c. */
#include "broker/core/directory.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#include "broker/core/device_key.h"
#include "broker/core/member.h"
#include "sensebus/v1/agents.pb-c.h"

/* "2026-01-31T12:00:00Z" */
static void print_time(char out[32], uint64_t unix_ns)
{
    time_t seconds = (time_t)(unix_ns / 1000000000u);
    struct tm tm;
    if (!gmtime_r(&seconds, &tm) || strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        snprintf(out, 32, "?");
}

/* ---- agents, in order of their hosts */

void directory_init(struct directory *d, size_t max_agents, size_t max_devices, size_t max_bytes)
{
    memset(d, 0, sizeof *d);
    d->max_agents = max_agents ? max_agents : DIRECTORY_MAX_AGENTS;
    d->max_devices = max_devices ? max_devices : DIRECTORY_MAX_DEVICES;
    d->max_bytes = max_bytes ? max_bytes : DIRECTORY_MAX_BYTES;
}

static void free_devices(struct directory_device *devices, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(devices[i].key);
        free(devices[i].message.bytes);
    }
    free(devices);
}

static void free_agent(struct directory *d, struct directory_agent *a)
{
    d->bytes -= a->bytes;
    d->n_devices -= a->n_devices;
    free(a->coverage.bytes);
    free(a->heartbeat.bytes);
    free_devices(a->devices, a->n_devices);
    capabilities_deinit(&a->adapters);
    free(a);
}

void directory_deinit(struct directory *d)
{
    for (size_t i = 0; i < d->n; i++)
        free_agent(d, d->agents[i]);
    free(d->agents);
    memset(d, 0, sizeof *d);
}

size_t directory_seek(const struct directory *d, const char *host)
{
    size_t low = 0, high = d->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(d->agents[middle]->host, host) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct directory_agent *directory_find(const struct directory *d, const char *host)
{
    size_t i = directory_seek(d, host);
    return i < d->n && strcmp(d->agents[i]->host, host) == 0 ? d->agents[i] : NULL;
}

/* Forget the agent that has been gone longest; false when all are attached. */
static bool forget_one(struct directory *d)
{
    size_t oldest = d->n;
    for (size_t i = 0; i < d->n; i++) {
        const struct directory_agent *a = d->agents[i];
        if (a->state != DIRECTORY_ATTACHED && (oldest == d->n || a->since_unix_ns < d->agents[oldest]->since_unix_ns))
            oldest = i;
    }
    if (oldest == d->n)
        return false;
    snprintf(d->last_forgotten, sizeof d->last_forgotten, "%s", d->agents[oldest]->host);
    free_agent(d, d->agents[oldest]);
    d->n--;
    memmove(d->agents + oldest, d->agents + oldest + 1, (d->n - oldest) * sizeof(struct directory_agent *));
    d->n_forgotten++;
    return true;
}

static struct directory_agent *add_agent(struct directory *d, const char *host)
{
    if (d->n == d->cap) {
        size_t cap = d->cap ? 2 * d->cap : 16;
        struct directory_agent **agents = realloc(d->agents, cap * sizeof(struct directory_agent *));
        if (!agents)
            return NULL;
        d->agents = agents;
        d->cap = cap;
    }
    struct directory_agent *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    snprintf(a->host, sizeof a->host, "%s", host);
    size_t at = directory_seek(d, host);
    memmove(d->agents + at + 1, d->agents + at, (d->n - at) * sizeof(struct directory_agent *));
    d->agents[at] = a;
    d->n++;
    return a;
}

/* ---- attaching */

/* May `more` bytes take the place of `less`? */
static int check_bytes(const struct directory *d, size_t less, size_t more, const char *what, char *err, size_t err_len)
{
    if (more <= less || d->bytes - less + more <= d->max_bytes)
        return 0;
    snprintf(err, err_len, "%s: %zu bytes, and all agents together may say no more than %zu", what, more, d->max_bytes);
    return UV_ENOBUFS;
}

static void account(struct directory *d, struct directory_agent *a, size_t less, size_t more)
{
    a->bytes = a->bytes - less + more;
    d->bytes = d->bytes - less + more;
}

/* Takes what `fresh` holds. */
static void replace_adapters(struct directory *d, struct directory_agent *a, struct capabilities *fresh)
{
    account(d, a, a->adapters.bytes, fresh->bytes);
    capabilities_deinit(&a->adapters);
    a->adapters = *fresh;
}

int directory_check_hello(const Sensebus__V1__Hello *hello, char *err, size_t err_len)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t len = strlen(hello->host), good = strspn(hello->host, allowed);
    if (hello->version != 1)
        return member_invalid(err, err_len, "Hello.version: %u, this broker speaks 1", hello->version);
    if (len == 0 || len > DIRECTORY_MAX_HOST)
        return member_invalid(err, err_len, "Hello.host: %zu bytes, must be 1 to %d", len, DIRECTORY_MAX_HOST);
    if (good != len)
        return member_invalid(err, err_len, "Hello.host: byte %zu is not one of A-Z a-z 0-9 . _ -", good + 1);
    if (!member_text_valid(hello->boot_id, 0, DIRECTORY_MAX_TEXT))
        return member_invalid(err, err_len, "Hello.boot_id: longer than %d bytes or not UTF-8", DIRECTORY_MAX_TEXT);
    if (!member_text_valid(hello->agent_version, 0, DIRECTORY_MAX_TEXT))
        return member_invalid(err, err_len, "Hello.agent_version: longer than %d bytes or not UTF-8",
                              DIRECTORY_MAX_TEXT);
    if (hello->agent_epoch == 0)
        return member_invalid(err, err_len, "Hello.agent_epoch: 0");
    if (hello->instance == 0)
        return member_invalid(err, err_len, "Hello.instance: 0");
    if (hello->newest_source_sequence > INT64_MAX)
        return member_invalid(err, err_len, "Hello.newest_source_sequence: %" PRIu64 " is larger than 2^63 - 1",
                              hello->newest_source_sequence);
    if (hello->oldest_source_sequence > hello->newest_source_sequence + 1)
        return member_invalid(err, err_len, "Hello.oldest_source_sequence: %" PRIu64 " is beyond the newest, %" PRIu64,
                              hello->oldest_source_sequence, hello->newest_source_sequence);
    return capabilities_check(hello->adapters, hello->n_adapters, "Hello", err, err_len);
}

static void refuse(const struct directory_agent *a, char *err, size_t err_len)
{
    char since[32];
    print_time(since, a->since_unix_ns);
    snprintf(err, err_len, "another agent of host %s is attached from %s since %s (instance %016" PRIx64 ")", a->host,
             a->peer, since, a->instance);
}

enum directory_verdict directory_attach(struct directory *d, const Sensebus__V1__Hello *hello, const char *peer,
                                        void *stream, uint64_t now_unix_ns, struct directory_agent **out_agent,
                                        void **out_old_stream, char *err, size_t err_len)
{
    assert(stream);
    struct directory_agent *a = directory_find(d, hello->host);
    bool is_attached = a && a->state == DIRECTORY_ATTACHED;
    if (is_attached && a->instance != hello->instance) {
        refuse(a, err, err_len);
        return DIRECTORY_REFUSE;
    }
    if (!a && d->n >= d->max_agents && !forget_one(d)) {
        snprintf(err, err_len, "%zu agents are attached, which is as many as this broker takes", d->n);
        return DIRECTORY_FULL;
    }
    struct capabilities adapters;
    if (capabilities_copy(hello->adapters, hello->n_adapters, &adapters))
        return DIRECTORY_NO_MEMORY;
    if (check_bytes(d, a ? a->adapters.bytes : 0, adapters.bytes, "Hello.adapters", err, err_len)) {
        capabilities_deinit(&adapters);
        return DIRECTORY_FULL;
    }
    if (!a && !(a = add_agent(d, hello->host))) {
        capabilities_deinit(&adapters);
        return DIRECTORY_NO_MEMORY;
    }
    replace_adapters(d, a, &adapters);
    *out_old_stream = is_attached ? a->stream : NULL;
    if (!is_attached)
        d->n_attached++;
    a->state = DIRECTORY_ATTACHED;
    a->has_told_devices = false;
    a->since_unix_ns = now_unix_ns;
    a->last_heard_unix_ns = now_unix_ns;
    a->agent_epoch = hello->agent_epoch;
    a->instance = hello->instance;
    a->newest_source_sequence = hello->newest_source_sequence;
    a->stream = stream;
    snprintf(a->boot_id, sizeof a->boot_id, "%s", hello->boot_id);
    snprintf(a->version, sizeof a->version, "%s", hello->agent_version);
    snprintf(a->peer, sizeof a->peer, "%s", peer);
    *out_agent = a;
    return is_attached ? DIRECTORY_REPLACE : DIRECTORY_ACCEPT;
}

bool directory_leave(struct directory *d, struct directory_agent *a, const void *stream, bool in_order,
                     uint64_t now_unix_ns)
{
    if (a->state != DIRECTORY_ATTACHED || a->stream != stream)
        return false;
    a->state = in_order ? DIRECTORY_DETACHED : DIRECTORY_LOST;
    a->since_unix_ns = now_unix_ns;
    a->stream = NULL;
    d->n_attached--;
    return true;
}

/* ---- what agents say */

static int pack(const ProtobufCMessage *message, struct directory_blob *out)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = malloc(len ? len : 1);
    if (!bytes)
        return UV_ENOMEM;
    protobuf_c_message_pack(message, bytes);
    *out = (struct directory_blob){.bytes = bytes, .len = len};
    return 0;
}

static int replace_blob(struct directory *d, struct directory_agent *a, struct directory_blob *blob,
                        const ProtobufCMessage *message, const char *what, char *err, size_t err_len)
{
    struct directory_blob fresh;
    size_t len = protobuf_c_message_get_packed_size(message);
    if (len > DIRECTORY_MAX_SAID_BYTES)
        return member_invalid(err, err_len, "%s: %zu bytes, at most %zu", what, len, DIRECTORY_MAX_SAID_BYTES);
    int rc = check_bytes(d, blob->len, len, what, err, err_len);
    if (rc == 0)
        rc = pack(message, &fresh);
    if (rc != 0)
        return rc;
    account(d, a, blob->len, fresh.len);
    free(blob->bytes);
    *blob = fresh;
    return 0;
}

int directory_coverage(struct directory *d, struct directory_agent *a, const Sensebus__V1__Coverage *message, char *err,
                       size_t err_len)
{
    if (message->n_sources > DIRECTORY_MAX_SOURCES)
        return member_invalid(err, err_len, "Coverage.sources: %zu entries, at most %d", message->n_sources,
                              DIRECTORY_MAX_SOURCES);
    return replace_blob(d, a, &a->coverage, &message->base, "Coverage", err, err_len);
}

int directory_heartbeat(struct directory *d, struct directory_agent *a, const Sensebus__V1__Heartbeat *message,
                        uint64_t now_unix_ns, char *err, size_t err_len)
{
    if (message->n_commands > DIRECTORY_MAX_COMMANDS)
        return member_invalid(err, err_len, "Heartbeat.commands: %zu entries, at most %d", message->n_commands,
                              DIRECTORY_MAX_COMMANDS);
    int rc = replace_blob(d, a, &a->heartbeat, &message->base, "Heartbeat", err, err_len);
    if (rc != 0)
        return rc;
    a->newest_source_sequence = message->newest_source_sequence;
    a->n_dropped = message->dropped;
    a->last_heard_unix_ns = now_unix_ns;
    return 0;
}

static struct text as_text(const char *string)
{
    return (struct text){string, strlen(string)};
}

/* A kernel may reach one unit of a target in several ways (multipath): the path is the same, the way is not. Keys hold
 * no control characters but this one, so devices on one path stand side by side. */
#define WAY_MARK '\x01'

static char *add_way(const char *key, const Sensebus__V1__Address *address)
{
    char way[32];
    size_t len = strlen(key), adapter_len = strlen(address->adapter);
    int n = snprintf(way, sizeof way, ":%" PRId32 ":%" PRId32, address->bus, address->target);
    char *whole = malloc(len + 1 + adapter_len + (size_t)n + 1);
    if (!whole)
        return NULL;
    memcpy(whole, key, len);
    whole[len] = WAY_MARK;
    memcpy(whole + len + 1, address->adapter, adapter_len);
    memcpy(whole + len + 1 + adapter_len, way, (size_t)n + 1);
    return whole;
}

bool directory_is_on_path(const char *key, const char *path)
{
    size_t len = strlen(path);
    return strncmp(key, path, len) == 0 && (key[len] == '\0' || key[len] == WAY_MARK);
}

static char *make_key(const char *host, const Sensebus__V1__InventoryDevice *device)
{
    struct address_view address = {0};
    struct device_view identity = {0};
    if (device->address) {
        address = (struct address_view){
            .adapter = as_text(device->address->adapter),
            .bus = device->address->bus,
            .target = device->address->target,
            .lun = device->address->lun,
            .present = true,
        };
    }
    if (device->device) {
        identity.target_name = as_text(device->device->target_name);
        identity.present = true;
    }
    char key[DEVICE_KEY_SIZE];
    device_key_write(key, as_text(host), &address, &identity);
    bool has_ways = identity.target_name.len && address.present && address.bus >= 0 && address.target >= 0;
    return has_ways ? add_way(key, device->address) : strdup(key);
}

struct indexed_device {
    struct directory_device device;
    size_t index;
};

static int compare_devices(const void *left, const void *right)
{
    const struct indexed_device *a = left, *b = right;
    int order = strcmp(a->device.key, b->device.key);
    return order ? order : (a->index > b->index) - (a->index < b->index);
}

static void free_indexed(struct indexed_device *devices, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(devices[i].device.key);
        free(devices[i].device.message.bytes);
    }
    free(devices);
}

static int copy_inventory(const char *host, const Sensebus__V1__Inventory *message, struct indexed_device **out)
{
    struct indexed_device *devices = calloc(message->n_devices + 1, sizeof *devices);
    if (!devices)
        return UV_ENOMEM;
    for (size_t i = 0; i < message->n_devices; i++) {
        const Sensebus__V1__Address *address = message->devices[i]->address;
        devices[i].index = i;
        devices[i].device.bus = address ? address->bus : -1;
        devices[i].device.target = address ? address->target : -1;
        devices[i].device.lun = address ? address->lun : -1;
        devices[i].device.key = make_key(host, message->devices[i]);
        if (!devices[i].device.key || pack(&message->devices[i]->base, &devices[i].device.message) != 0) {
            free_indexed(devices, message->n_devices);
            return UV_ENOMEM;
        }
    }
    qsort(devices, message->n_devices, sizeof *devices, compare_devices);
    *out = devices;
    return 0;
}

/* Of equal keys the last stays; returns how many stay. The others are freed. */
static size_t unite_equal_keys(struct indexed_device *devices, size_t n, struct directory_device *out)
{
    size_t n_out = 0;
    for (size_t i = 0; i < n; i++) {
        if (n_out && strcmp(out[n_out - 1].key, devices[i].device.key) == 0) {
            n_out--;
            free(out[n_out].key);
            free(out[n_out].message.bytes);
        }
        out[n_out++] = devices[i].device;
    }
    return n_out;
}

static size_t devices_bytes(const struct directory_device *devices, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += sizeof devices[i] + strlen(devices[i].key) + 1 + devices[i].message.len;
    return bytes;
}

int directory_inventory(struct directory *d, struct directory_agent *a, const Sensebus__V1__Inventory *message,
                        char *err, size_t err_len)
{
    if (message->n_devices > DIRECTORY_MAX_AGENT_DEVICES)
        return member_invalid(err, err_len, "Inventory.devices: %zu, at most %d", message->n_devices,
                              DIRECTORY_MAX_AGENT_DEVICES);
    for (size_t i = 0; i < message->n_devices; i++) {
        size_t len = protobuf_c_message_get_packed_size(&message->devices[i]->base);
        if (len > DIRECTORY_MAX_DEVICE_BYTES)
            return member_invalid(err, err_len, "Inventory.devices: entry %zu has %zu bytes, at most %zu", i, len,
                                  DIRECTORY_MAX_DEVICE_BYTES);
    }
    int rc = capabilities_check(message->adapters, message->n_adapters, "Inventory", err, err_len);
    if (rc != 0)
        return rc;
    struct directory_device *devices = calloc(message->n_devices + 1, sizeof *devices);
    struct indexed_device *indexed = NULL;
    struct capabilities adapters = {0};
    if (!devices || (message->n_adapters > 0 && capabilities_copy(message->adapters, message->n_adapters, &adapters)) ||
        copy_inventory(a->host, message, &indexed) != 0) {
        capabilities_deinit(&adapters);
        free(devices);
        return UV_ENOMEM;
    }
    size_t n = unite_equal_keys(indexed, message->n_devices, devices);
    free(indexed);
    size_t less = devices_bytes(a->devices, a->n_devices), more = devices_bytes(devices, n);
    rc = check_bytes(d, less, more + adapters.bytes, "Inventory", err, err_len);
    if (rc == 0 && n > a->n_devices && d->n_devices - a->n_devices + n > d->max_devices) {
        snprintf(err, err_len, "Inventory: %zu devices, and all agents together may have no more than %zu", n,
                 d->max_devices);
        rc = UV_ENOBUFS;
    }
    if (rc != 0) {
        capabilities_deinit(&adapters);
        free_devices(devices, n);
        return rc;
    }
    if (message->n_adapters > 0)
        replace_adapters(d, a, &adapters);
    account(d, a, less, more);
    d->n_devices = d->n_devices - a->n_devices + n;
    free_devices(a->devices, a->n_devices);
    a->devices = devices;
    a->n_devices = n;
    a->has_told_devices = true;
    return 0;
}
