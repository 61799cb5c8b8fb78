/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kernel/device_list.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "agent/message_parts.h"
#include "agent/source/identity.h"
#include "sensebus/v1/agents.pb-c.h"

/* ------------------------------------------------------------------------------------------------ entries */

/* Room for one more of `size` bytes. False when there is no memory. */
static bool grow(void **items, size_t n, size_t *cap, size_t size)
{
    size_t more = *cap ? 2 * *cap : 16;
    void *bigger;

    if (n < *cap)
        return true;
    bigger = realloc(*items, more * size);
    if (!bigger)
        return false;
    *items = bigger;
    *cap = more;
    return true;
}

struct listed_adapter *device_list_add_adapter(struct device_list *l)
{
    void *items = l->adapters;

    if (l->n_adapters == DEVICE_LIST_MAX_ADAPTERS) {
        l->cut = true;
        return NULL;
    }
    if (!grow(&items, l->n_adapters, &l->cap_adapters, sizeof *l->adapters))
        return NULL;
    l->adapters = items;
    memset(&l->adapters[l->n_adapters], 0, sizeof *l->adapters);
    return &l->adapters[l->n_adapters++];
}

struct listed_device *device_list_add(struct device_list *l)
{
    void *items = l->devices;

    if (l->n_devices == DEVICE_LIST_MAX_DEVICES) {
        l->cut = true;
        return NULL;
    }
    if (!grow(&items, l->n_devices, &l->cap_devices, sizeof *l->devices))
        return NULL;
    l->devices = items;
    memset(&l->devices[l->n_devices], 0, sizeof *l->devices);
    return &l->devices[l->n_devices++];
}

void device_list_drop(struct device_list *l)
{
    free(l->devices[--l->n_devices].message);
}

static int order(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int compare_adapters(const void *left, const void *right)
{
    const struct listed_adapter *a = left, *b = right;

    return order(a->host, b->host);
}

static int compare_places(const struct observation_place *a, const struct observation_place *b)
{
    int host = order(a->host, b->host), channel = order(a->channel, b->channel), target = order(a->target, b->target);

    return host ? host : channel ? channel : target ? target : order(a->lun, b->lun);
}

static int compare_devices(const void *left, const void *right)
{
    const struct listed_device *a = left, *b = right;

    return compare_places(&a->place, &b->place);
}

void device_list_finish(struct device_list *l)
{
    if (l->n_adapters)
        qsort(l->adapters, l->n_adapters, sizeof *l->adapters, compare_adapters);
    if (l->n_devices)
        qsort(l->devices, l->n_devices, sizeof *l->devices, compare_devices);
}

void device_list_free(struct device_list *l)
{
    while (l->n_devices)
        device_list_drop(l);
    free(l->devices);
    free(l->adapters);
    memset(l, 0, sizeof *l);
}

/* ------------------------------------------------------------------------------------------------ messages */

/* As InventoryDevice.state. What the kernel is doing with it for a moment ("blocked", "quiesce") is not ready. */
static const char *state_word(const char *state)
{
    return !state[0] ? "unknown" : strcmp(state, "running") == 0 ? "ready" : "not ready";
}

int device_list_describe(struct listed_device *entry, const struct kernel_device *device,
                         const struct device_size *size)
{
    Sensebus__V1__InventoryDevice m = SENSEBUS__V1__INVENTORY_DEVICE__INIT;
    Sensebus__V1__Address address = SENSEBUS__V1__ADDRESS__INIT;
    Sensebus__V1__Device d;
    char *names[IDENTITY_MAX_NAMES];
    uint8_t *bytes;

    message_device(&d, &device->identity, device->target_name, device->portal);
    d.transport = (Sensebus__V1__Transport)device->transport;
    for (size_t i = 0; i < device->n_names; i++)
        names[i] = (char *)device->names[i];
    d.kernel_names = names;
    d.n_kernel_names = device->n_names;
    address.adapter = (char *)device->adapter;
    address.controller = entry->place.host;
    address.bus = entry->place.channel;
    address.target = entry->place.target;
    address.lun = identity_lun_flat(entry->place.lun);
    address.lun_raw = identity_lun_raw(entry->place.lun);
    m.address = &address;
    m.device = &d;
    m.n_blocks = size->n_blocks;
    m.block_bytes = size->block_bytes;
    m.state = (char *)state_word(entry->state);
    bytes = malloc(sensebus__v1__inventory_device__get_packed_size(&m));
    if (!bytes)
        return UV_ENOMEM;
    free(entry->message);
    entry->named = device->n_names > 1;
    entry->message = bytes;
    entry->message_len = sensebus__v1__inventory_device__pack(&m, bytes);
    return 0;
}

int device_list_copy(struct listed_device *out, const struct listed_device *entry)
{
    uint8_t *bytes = malloc(entry->message_len);

    if (!bytes)
        return UV_ENOMEM;
    memcpy(bytes, entry->message, entry->message_len);
    *out = *entry;
    out->message = bytes;
    return 0;
}

/* ------------------------------------------------------------------------------------------------ questions */

const struct listed_device *device_list_at(const struct device_list *l, const struct observation_place *place)
{
    struct listed_device key = {.place = *place};

    return l->n_devices ? bsearch(&key, l->devices, l->n_devices, sizeof key, compare_devices) : NULL;
}

const struct listed_device *device_list_find(const struct device_list *l, int32_t host, int32_t channel, int32_t target,
                                             int64_t flat_lun)
{
    for (size_t i = 0; i < l->n_devices; i++) {
        const struct observation_place *p = &l->devices[i].place;

        if (p->host == host && (channel == -1 || p->channel == channel) && p->target == target &&
            identity_lun_flat(p->lun) == flat_lun)
            return &l->devices[i];
    }
    return NULL;
}

const struct listed_adapter *device_list_adapter(const struct device_list *l, const char *name)
{
    struct listed_adapter key = {.host = device_list_host(name)};

    return l->n_adapters && key.host >= 0 ? bsearch(&key, l->adapters, l->n_adapters, sizeof key, compare_adapters)
                                          : NULL;
}

uint64_t device_list_maximum_transfer(const struct device_list *l, int32_t host)
{
    uint64_t least = 0;

    for (size_t i = 0; i < l->n_devices; i++) {
        const struct listed_device *d = &l->devices[i];

        if (d->place.host == host && d->maximum_transfer_bytes && (!least || d->maximum_transfer_bytes < least))
            least = d->maximum_transfer_bytes;
    }
    return least;
}

bool device_list_same(const struct device_list *a, const struct device_list *b)
{
    if (a->n_adapters != b->n_adapters || a->n_devices != b->n_devices)
        return false;
    for (size_t i = 0; i < a->n_adapters; i++)
        if (a->adapters[i].host != b->adapters[i].host || strcmp(a->adapters[i].own_id, b->adapters[i].own_id) != 0)
            return false;
    for (size_t i = 0; i < a->n_devices; i++)
        if (a->devices[i].message_len != b->devices[i].message_len ||
            memcmp(a->devices[i].message, b->devices[i].message, a->devices[i].message_len) != 0)
            return false;
    return true;
}

int32_t device_list_host(const char *name)
{
    static const char prefix[] = "host";
    const char *digits = name + strlen(prefix);
    size_t len;
    long n;

    if (strncmp(name, prefix, strlen(prefix)) != 0)
        return -1;
    len = strspn(digits, "0123456789");
    if (len == 0 || len > 9 || digits[len] || (len > 1 && digits[0] == '0'))
        return -1;
    n = strtol(digits, NULL, 10);
    return (int32_t)n;
}
