/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/registry.h"

#include <stdbool.h>
#include <string.h>

#include "proto/registry_table.h"
#include "sensebus/v1/event.pb-c.h"

/* Sense keys (SPC-4 table 47). */
enum sense_key {
    KEY_MEDIUM_ERROR = 0x3,
    KEY_ILLEGAL_REQUEST = 0x5,
    KEY_DATA_PROTECT = 0x7,
    KEY_BLANK_CHECK = 0x8,
    KEY_COPY_ABORTED = 0xa,
    KEY_ABORTED_COMMAND = 0xb,
    KEY_VOLUME_OVERFLOW = 0xd,
    KEY_MISCOMPARE = 0xe,
};

size_t registry_size(void)
{
    return n_registry_entries;
}

const struct registry_entry *registry_at(size_t i)
{
    return &registry_entries[i];
}

const struct registry_entry *registry_find(uint32_t code)
{
    size_t low = 0, high = n_registry_entries;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (registry_entries[middle].code == code)
            return &registry_entries[middle];
        if (registry_entries[middle].code < code)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool same(const char *name, const char *text, size_t len)
{
    return strlen(name) == len && memcmp(name, text, len) == 0;
}

const struct registry_entry *registry_find_name(const char *name, size_t len)
{
    for (size_t i = 0; i < n_registry_entries; i++)
        if (same(registry_entries[i].name, name, len))
            return &registry_entries[i];
    return NULL;
}

const char *registry_category_name(uint32_t category)
{
    for (size_t i = 0; i < n_registry_entries; i++)
        if (registry_entries[i].code / 100 == category)
            return registry_entries[i].category;
    return NULL;
}

uint32_t registry_category_number(const char *name, size_t len)
{
    for (size_t i = 0; i < n_registry_entries; i++)
        if (same(registry_entries[i].category, name, len))
            return registry_entries[i].code / 100;
    return 0;
}

/* The key says that the command itself was wrong or could not be done: its initiator is told, nobody else is meant.
 * ILLEGAL REQUEST with 25/00 (no such unit) or 2C/xx, say, is what a probe gets. */
static bool key_answers_command(uint8_t key)
{
    switch (key) {
    case KEY_ILLEGAL_REQUEST:
    case KEY_DATA_PROTECT:
    case KEY_BLANK_CHECK:
    case KEY_COPY_ABORTED:
    case KEY_VOLUME_OVERFLOW:
    case KEY_MISCOMPARE: return true;
    default: return false;
    }
}

/* The code of a listed ASC/ASCQ: the pair itself before its family; 0 when neither is listed. */
static uint32_t listed_code(uint8_t key, uint8_t asc, uint8_t ascq)
{
    uint32_t family = 0;
    for (size_t i = 0; i < n_registry_senses; i++) {
        const struct registry_sense *listed = &registry_senses[i];
        if (listed->asc != asc || (listed->key != REGISTRY_ANY && listed->key != key))
            continue;
        if (listed->ascq == ascq)
            return listed->code;
        if (listed->ascq == REGISTRY_ANY)
            family = listed->code;
    }
    return family;
}

uint32_t registry_classify_sense(uint8_t response_code, uint8_t key, uint8_t asc, uint8_t ascq)
{
    const struct registry_sense_rules *rules = &registry_sense_rules;

    for (size_t i = 0; i < sizeof(rules->deferred_response_codes); i++)
        if (response_code == rules->deferred_response_codes[i])
            return rules->deferred_code;
    if (key_answers_command(key))
        return 0;
    uint32_t code = listed_code(key, asc, ascq);
    if (code != 0)
        return code;
    if ((asc >= rules->vendor_from || ascq >= rules->vendor_from) && key != KEY_MEDIUM_ERROR &&
        key != KEY_ABORTED_COMMAND)
        return rules->vendor_code;
    return key == rules->other_key ? rules->other_code : 0;
}

uint32_t registry_classify_async(uint8_t async_event)
{
    for (size_t i = 0; i < n_registry_asyncs; i++)
        if (async_event >= registry_asyncs[i].first && async_event <= registry_asyncs[i].last)
            return registry_asyncs[i].code;
    return 0; /* not reached: the generator checks that the ranges cover every number */
}

/* Name of an enum's value without the enum's own prefix. */
static const char *short_name(const ProtobufCEnumDescriptor *descriptor, uint32_t value, size_t prefix_len)
{
    if (value > INT32_MAX)
        return "?";
    const ProtobufCEnumValue *found = protobuf_c_enum_descriptor_get_value(descriptor, (int)value);
    return found ? found->name + prefix_len : "?";
}

const char *registry_severity_name(uint32_t severity)
{
    return short_name(&sensebus__v1__severity__descriptor, severity, strlen("SEVERITY_"));
}

const char *registry_scope_name(uint32_t scope)
{
    return short_name(&sensebus__v1__scope__descriptor, scope, strlen("SCOPE_"));
}

const char *registry_mode_name(uint32_t mode)
{
    return short_name(&sensebus__v1__mode__descriptor, mode, strlen("MODE_"));
}
