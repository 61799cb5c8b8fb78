/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/adapters.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "agent/iscsi/session.h"
#include "agent/kernel/kernel.h"
#include "agent/target/target_mode.h"
#include "agent/targets.h"

static const char *const iscsi_offers[] = {"event", "halt", "reset-lun", "reset-target"};
static const char *const iscsi_offers_in_diagnosis[] = {"diagnostics"};

static void iscsi_capabilities(const struct adapters *a, const char *const **out_list, size_t *out_n)
{
    *out_list = a->diagnostics ? iscsi_offers_in_diagnosis : iscsi_offers;
    *out_n = a->diagnostics ? sizeof iscsi_offers_in_diagnosis / sizeof iscsi_offers_in_diagnosis[0]
                            : sizeof iscsi_offers / sizeof iscsi_offers[0];
}

static void put(struct adapter_list *list, const char *name, const char *own_id, const char *const *capabilities,
                size_t n)
{
    Sensebus__V1__AdapterCapabilities *m = list->items[list->n++];

    sensebus__v1__adapter_capabilities__init(m);
    m->adapter = (char *)name;
    m->own_id = (char *)own_id;
    m->capabilities = (char **)capabilities; /* never written */
    m->n_capabilities = n;
}

int adapters_list(const struct adapters *a, struct adapter_list *out)
{
    size_t n_targets = a->target_mode ? target_mode_n_adapters(a->target_mode) : 0;
    size_t n_kernel = a->kernel ? kernel_devices(a->kernel)->n_adapters : 0;
    size_t n_all = 1 + n_kernel + n_targets;
    Sensebus__V1__AdapterCapabilities *messages = calloc(n_all, sizeof *messages);
    const char *const *capabilities;
    size_t n;

    *out = (struct adapter_list){.items = calloc(n_all, sizeof *out->items)};
    if (!messages || !out->items) {
        free(messages);
        free(out->items);
        out->items = NULL;
        return UV_ENOMEM;
    }
    for (size_t i = 0; i < n_all; i++)
        out->items[i] = &messages[i];
    iscsi_capabilities(a, &capabilities, &n);
    put(out, ADAPTER_ISCSI, a->initiator_name, capabilities, n);
    for (size_t i = 0; i < n_kernel; i++) {
        const struct listed_adapter *adapter = &kernel_devices(a->kernel)->adapters[i];

        capabilities = kernel_capabilities(a->kernel, &n);
        put(out, adapter->name, adapter->own_id, capabilities, n);
    }
    for (size_t i = 0; i < n_targets; i++) {
        struct target_mode_adapter adapter;

        target_mode_adapter_at(a->target_mode, i, &adapter);
        put(out, adapter.name, adapter.own_id, adapter.capabilities, adapter.n_capabilities);
    }
    return 0;
}

void adapter_list_free(struct adapter_list *list)
{
    if (list->items)
        free(list->items[0]); /* one piece */
    free(list->items);
    memset(list, 0, sizeof *list);
}

/* The smallest limit that a unit told (Block Limits VPD page), and never more than the library can. */
static uint64_t maximum_transfer_bytes(const struct targets *t)
{
    uint64_t least = ISCSI_SESSION_MAX_TRANSFER_BYTES;

    for (size_t i = 0; i < t->n_watches; i++) {
        const struct watch *w = t->watches[i];

        for (size_t k = 0; k < w->n_units; k++) {
            const struct identity *id = &w->units[k]->identity;
            uint64_t bytes = (uint64_t)id->maximum_transfer_blocks * id->block_bytes;

            if (bytes > 0 && bytes < least)
                least = bytes;
        }
    }
    return least;
}

static bool target_info(const struct adapters *a, const char *name, Sensebus__V1__IocInfoResult *out)
{
    struct target_mode_adapter adapter;

    if (!a->target_mode || !target_mode_find_adapter(a->target_mode, name, &adapter))
        return false;
    out->adapter = (char *)adapter.name;
    out->major = ADAPTER_MAJOR_TARGET;
    out->minor = (uint32_t)adapter.controller;
    out->maximum_transfer_bytes = TARGET_MODE_MAX_BUFFER_BYTES;
    out->transport = SENSEBUS__V1__TRANSPORT__TRANSPORT_ISCSI;
    out->own_id = (char *)adapter.own_id;
    out->capabilities = (char **)adapter.capabilities;
    out->n_capabilities = adapter.n_capabilities;
    return true;
}

static bool kernel_info(const struct adapters *a, const char *name, Sensebus__V1__IocInfoResult *out)
{
    const struct listed_adapter *adapter = a->kernel ? device_list_adapter(kernel_devices(a->kernel), name) : NULL;

    if (!adapter)
        return false;
    out->adapter = (char *)adapter->name;
    out->major = ADAPTER_MAJOR_KERNEL;
    out->minor = (uint32_t)adapter->host;
    out->maximum_transfer_bytes = device_list_maximum_transfer(kernel_devices(a->kernel), adapter->host);
    out->transport = (Sensebus__V1__Transport)adapter->transport;
    out->own_id = (char *)adapter->own_id;
    out->capabilities = (char **)kernel_capabilities(a->kernel, &out->n_capabilities); /* never written */
    return true;
}

bool adapters_info(const struct adapters *a, const char *name, Sensebus__V1__IocInfoResult *out)
{
    const char *const *capabilities;

    sensebus__v1__ioc_info_result__init(out);
    if (name[0] && strcmp(name, ADAPTER_ISCSI) != 0)
        return kernel_info(a, name, out) || target_info(a, name, out);
    iscsi_capabilities(a, &capabilities, &out->n_capabilities);
    out->adapter = (char *)ADAPTER_ISCSI;
    out->major = ADAPTER_MAJOR_ISCSI;
    out->minor = 0;
    out->maximum_transfer_bytes = maximum_transfer_bytes(a->targets);
    out->transport = SENSEBUS__V1__TRANSPORT__TRANSPORT_ISCSI;
    out->own_id = (char *)a->initiator_name;
    out->capabilities = (char **)capabilities;
    return true;
}
