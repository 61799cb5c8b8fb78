/* SPDX-License-Identifier: Apache-2.0 */
/* A filter's values as an index wants them. */
#include "broker/core/filter.h"
#include "broker/core/filter_parts.h"
#include "runtime/table.h"

static size_t whole_names(const struct pattern_list *list)
{
    return list->n_whole == list->n ? list->n : 0;
}

size_t filter_n_values(const struct filter *f, enum filter_field field)
{
    switch (field) {
    case FILTER_DESIGNATOR: return whole_names(&f->designators);
    case FILTER_TARGET_NAME: return whole_names(&f->target_names);
    case FILTER_HOST: return whole_names(&f->hosts);
    case FILTER_CODE: return f->codes.n;
    case FILTER_DEVICE_TYPE: return f->device_types.n;
    case FILTER_CATEGORY: return f->categories.n;
    default: return 0;
    }
}

size_t filter_n_addresses(const struct filter *f)
{
    for (size_t i = 0; i < f->n_addresses; i++)
        if (filter_address_fields(f, i) == 0)
            return 0;
    return f->n_addresses;
}

unsigned filter_address_fields(const struct filter *f, size_t i)
{
    const struct address_pattern *p = &f->addresses[i];
    unsigned fields = 0;

    if (p->adapter)
        fields |= FILTER_FIELD(FILTER_ADAPTER);
    if (p->controller != FILTER_ANY)
        fields |= FILTER_FIELD(FILTER_CONTROLLER);
    if (p->bus != FILTER_ANY)
        fields |= FILTER_FIELD(FILTER_BUS);
    if (p->target != FILTER_ANY)
        fields |= FILTER_FIELD(FILTER_TARGET);
    if (p->lun != FILTER_ANY && p->lun == p->lun_last)
        fields |= FILTER_FIELD(FILTER_LUN);
    return fields;
}

static uint64_t value_of_pattern(const struct pattern_list *list, size_t i, const uint64_t seed[2])
{
    return table_hash(seed, list->patterns[i].text, list->patterns[i].len);
}

uint64_t filter_value(const struct filter *f, enum filter_field field, size_t i, const uint64_t seed[2])
{
    switch (field) {
    case FILTER_DESIGNATOR: return value_of_pattern(&f->designators, i, seed);
    case FILTER_TARGET_NAME: return value_of_pattern(&f->target_names, i, seed);
    case FILTER_TARGET: return (uint32_t)f->addresses[i].target;
    case FILTER_LUN: return (uint64_t)f->addresses[i].lun;
    case FILTER_ADAPTER: return table_hash(seed, f->addresses[i].adapter, f->addresses[i].adapter_len);
    case FILTER_BUS: return (uint32_t)f->addresses[i].bus;
    case FILTER_CONTROLLER: return (uint32_t)f->addresses[i].controller;
    case FILTER_HOST: return value_of_pattern(&f->hosts, i, seed);
    case FILTER_CODE: return f->codes.numbers[i];
    case FILTER_DEVICE_TYPE: return f->device_types.numbers[i];
    case FILTER_CATEGORY: return f->categories.numbers[i];
    case FILTER_N_FIELDS: break;
    }
    return 0;
}

uint64_t filter_value_of_event(const struct event_view *e, enum filter_field field, const uint64_t seed[2])
{
    switch (field) {
    case FILTER_DESIGNATOR: return table_hash(seed, e->device.designator.ptr, e->device.designator.len);
    case FILTER_TARGET_NAME: return table_hash(seed, e->device.target_name.ptr, e->device.target_name.len);
    case FILTER_TARGET: return (uint32_t)e->address.target;
    case FILTER_LUN: return (uint64_t)e->address.lun;
    case FILTER_ADAPTER: return table_hash(seed, e->address.adapter.ptr, e->address.adapter.len);
    case FILTER_BUS: return (uint32_t)e->address.bus;
    case FILTER_CONTROLLER: return (uint32_t)e->address.controller;
    case FILTER_HOST: return table_hash(seed, e->host.ptr, e->host.len);
    case FILTER_CODE: return e->code;
    case FILTER_DEVICE_TYPE: return (uint32_t)e->device.device_type;
    case FILTER_CATEGORY: return e->code / 100;
    case FILTER_N_FIELDS: break;
    }
    return 0;
}
