/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/service/place.h"

#include <string.h>
#include <uv.h>

#include "broker/core/device_key.h"
#include "broker/core/directory.h"
#include "sensebus/v1/agents.pb-c.h"

/* What a request asks for: members that it does not have are empty. */
struct wanted {
    const char *host, *adapter, *target_name;
    int32_t bus, target;
    int64_t lun;
};

static unsigned capability_bits(const struct capabilities_adapter *adapter)
{
    static const struct {
        const char *name;
        enum adapter_capability bit;
    } names[] = {
        {"event", ADAPTER_CAN_EVENT},
        {"halt", ADAPTER_CAN_HALT},
        {"reset-lun", ADAPTER_CAN_RESET_LUN},
        {"reset-target", ADAPTER_CAN_RESET_TARGET},
        {"target-mode", ADAPTER_CAN_TARGET_MODE},
    };
    unsigned bits = 0;

    for (size_t i = 0; adapter && i < sizeof names / sizeof *names; i++)
        if (capabilities_has(adapter, names[i].name))
            bits |= names[i].bit;
    return bits;
}

unsigned place_capabilities(const struct directory *d, const char *host, const char *adapter)
{
    const struct directory_agent *agent = directory_find(d, host);

    return agent ? capability_bits(capabilities_find(&agent->adapters, adapter)) : 0;
}

/* It is here: fill in what the adapter is and can. */
static void settle(struct place *p, const struct directory_agent *agent, const char *adapter)
{
    const struct capabilities_adapter *known = capabilities_find(&agent->adapters, adapter);

    p->address.host = (char *)agent->host;
    p->address.adapter = (char *)adapter;
    p->found.state = ADAPTER_PLACE_OK;
    p->found.address = &p->address;
    p->found.capabilities = capability_bits(known);
    p->found.diagnostics = known && capabilities_has(known, "diagnostics");
    p->found.own_id = known && known->own_id[0] ? known->own_id : NULL;
}

/* ------------------------------------------------------------------------------------------------ adapters */

/* The adapter of that name; without a name the only one that can what is asked (NULL: anything). */
static void find_adapter(struct place *p, const struct directory_agent *agent, const char *name, const char *can)
{
    const struct capabilities_adapter *found = name[0] ? capabilities_find(&agent->adapters, name) : NULL;
    size_t n = found ? 1 : 0;

    for (size_t i = 0; !name[0] && i < agent->adapters.n; i++) {
        const struct capabilities_adapter *adapter = &agent->adapters.adapters[i];
        if (can && !capabilities_has(adapter, can))
            continue;
        found = adapter;
        n++;
    }
    p->found.state = n == 0 ? ADAPTER_PLACE_UNKNOWN : ADAPTER_PLACE_AMBIGUOUS;
    if (n == 1)
        settle(p, agent, found->name);
}

/* ------------------------------------------------------------------------------------------------ devices */

static bool bus_matches(int32_t device, int32_t wanted)
{
    return wanted == -1 || device == wanted || (device == -1 && wanted == 0);
}

static bool number_matches(const struct directory_device *device, const struct wanted *w)
{
    return device->target == w->target && device->lun == w->lun && bus_matches(device->bus, w->bus);
}

/* Keep the device when it is the one that is asked for, names included. Returns 0, 1 when it is another, UV_ENOMEM. */
static int keep_if_wanted(struct place *p, const struct directory_device *device, const struct wanted *w)
{
    Sensebus__V1__InventoryDevice *m =
        sensebus__v1__inventory_device__unpack(NULL, device->message.len, device->message.bytes);

    if (!m)
        return UV_ENOMEM;
    bool other = !m->address || (w->adapter[0] && strcmp(m->address->adapter, w->adapter) != 0) ||
                 (w->target_name[0] && (!m->device || strcmp(m->device->target_name, w->target_name) != 0));
    if (other || p->device) {
        sensebus__v1__inventory_device__free_unpacked(m, NULL);
        return other ? 1 : 0;
    }
    p->device = m;
    return 0;
}

/* The agent's devices with that target name and unit, from *out_first to before *out_end: the list is in order of their
 * paths, and several are on one path where the host's kernel has several ways to it. */
static void range_of_name(const struct directory_agent *agent, const struct wanted *w, size_t *out_first,
                          size_t *out_end)
{
    struct device_view device = {.target_name = {w->target_name, strlen(w->target_name)}, .present = true};
    struct address_view address = {.lun = w->lun, .bus = -1, .target = -1, .controller = -1, .present = true};
    char key[DEVICE_KEY_SIZE];
    size_t low = 0, high = agent->n_devices;

    device_key_write(key, (struct text){agent->host, strlen(agent->host)}, &address, &device);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(agent->devices[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *out_first = *out_end = low;
    while (*out_end < agent->n_devices && directory_is_on_path(agent->devices[*out_end].key, key))
        (*out_end)++;
}

static int find_device(struct place *p, const struct directory_agent *agent, const struct wanted *w)
{
    size_t n = 0, i = 0, end = agent->n_devices;
    bool by_name = w->target_name[0];

    if (by_name)
        range_of_name(agent, w, &i, &end);
    for (; i < end && n < 2; i++) { /* two are ambiguous: how many more there are makes no difference */
        if (!by_name && !number_matches(&agent->devices[i], w))
            continue;
        int rc = keep_if_wanted(p, &agent->devices[i], w);
        if (rc < 0)
            return rc;
        n += rc == 0;
    }
    p->found.state = n > 0                     ? ADAPTER_PLACE_AMBIGUOUS
                     : agent->has_told_devices ? ADAPTER_PLACE_UNKNOWN
                                               : ADAPTER_PLACE_UNTOLD;
    if (n != 1)
        return 0;
    const Sensebus__V1__Address *at = p->device->address;
    p->address.bus = at->bus;
    p->address.target = at->target;
    p->address.lun = at->lun;
    if (p->device->device)
        p->address.target_name = p->device->device->target_name;
    p->found.device = p->device->device;
    p->found.controller = at->controller;
    settle(p, agent, at->adapter);
    return 0;
}

/* ------------------------------------------------------------------------------------------------ requests */

static struct wanted of_address(const Sensebus__V1__DeviceAddress *a)
{
    if (!a)
        return (struct wanted){.host = "", .adapter = "", .target_name = ""};
    return (struct wanted){a->host, a->adapter, a->target_name, a->bus, a->target, a->lun};
}

static void find_target_mode(struct place *p, const struct directory_agent *agent, const struct wanted *w)
{
    p->address.bus = w->bus;
    p->address.target = w->target;
    p->address.lun = w->lun;
    p->address.target_name = (char *)w->target_name;
    find_adapter(p, agent, w->adapter, "target-mode");
}

int place_of_request(const struct directory *d, const Sensebus__V1__AdapterRequest *request, struct place *out)
{
    struct wanted w = {.adapter = "", .target_name = "", .bus = -1, .target = -1, .lun = -1};
    int rc = 0;

    switch (request->operation_case) {
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_IOC_INFO:
        w.host = request->ioc_info->host;
        w.adapter = request->ioc_info->adapter;
        break;
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_START: w = of_address(request->start->address); break;
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_START_TARGET: w = of_address(request->start_target->address); break;
    default: return 1;
    }
    *out = (struct place){.found = {.state = ADAPTER_PLACE_UNKNOWN, .controller = -1}};
    sensebus__v1__device_address__init(&out->address);
    out->address.bus = out->address.target = -1;
    out->address.lun = -1;
    const struct directory_agent *agent = w.host[0] ? directory_find(d, w.host) : NULL;
    if (!w.host[0])
        return 0;
    if (!agent || agent->state != DIRECTORY_ATTACHED)
        out->found.state = ADAPTER_PLACE_NO_AGENT;
    else if (request->operation_case == SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_IOC_INFO)
        find_adapter(out, agent, w.adapter, NULL);
    else if (request->operation_case == SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_START_TARGET)
        find_target_mode(out, agent, &w);
    else
        rc = find_device(out, agent, &w);
    if (rc)
        place_deinit(out);
    return rc;
}

void place_deinit(struct place *p)
{
    if (p->device)
        sensebus__v1__inventory_device__free_unpacked(p->device, NULL);
    *p = (struct place){0};
}
