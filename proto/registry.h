/* SPDX-License-Identifier: Apache-2.0 */
/* The event registry: what each code means and which native event becomes which code. Generated from events.tsv at
 * build time; everything here is constant and pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct registry_entry {
    uint32_t code;                  /* enum Code of code.proto; code / 100 is the category */
    const char *name;               /* "LUN_RESET" */
    const char *category;           /* "RESET" */
    uint32_t severity, scope, mode; /* enums of event.proto: defaults, a record may differ */
    uint32_t aix_bits;
    const char *meaning; /* what happened, one sentence */
    const char *remedy;  /* what the operator should look at, one sentence */
};

size_t registry_size(void);
const struct registry_entry *registry_at(size_t i);
/* NULL when there is none. */
const struct registry_entry *registry_find(uint32_t code);
const struct registry_entry *registry_find_name(const char *name, size_t len);
/* Category name of a category number ("RESET" for 2), or NULL; and back, 0 when unknown. */
const char *registry_category_name(uint32_t category);
uint32_t registry_category_number(const char *name, size_t len);

/* The code of sense data, or 0 when it is no asynchronous condition (an ordinary error reply). Rules of semantics 5.5:
 * deferred (71h, 73h) is DEFERRED_ERROR; listed ASC/ASCQ by family; vendor ASC or ASCQ (>= 80h) VENDOR_SPECIFIC;
 * otherwise sense key 6 is UNIT_ATTENTION_OTHER. */
uint32_t registry_classify_sense(uint8_t response_code, uint8_t key, uint8_t asc, uint8_t ascq);
/* The code of an iSCSI AsyncEvent (RFC 7143 section 11.9.1). Event 0 carries sense: classify that instead, and use this
 * (ASYNC_EVENT_PENDING) when it has none. */
uint32_t registry_classify_async(uint8_t async_event);

/* "SEVERITY_WARN" -> "WARN" style short names for people; "?" when out of range. */
const char *registry_severity_name(uint32_t severity);
const char *registry_scope_name(uint32_t scope);
const char *registry_mode_name(uint32_t mode);
