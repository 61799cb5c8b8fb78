/* SPDX-License-Identifier: Apache-2.0 */
/* The generated tables behind registry.h. Included by registry.c and by the generated file, by nothing else. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/registry.h"

#define REGISTRY_ANY (-1)

/* Sorted by code. */
extern const struct registry_entry registry_entries[];
extern const size_t n_registry_entries;

/* One listed ASC/ASCQ; REGISTRY_ANY in `ascq` is a family, in `key` no condition. */
struct registry_sense {
    int16_t asc, ascq, key;
    uint16_t code;
};
extern const struct registry_sense registry_senses[];
extern const size_t n_registry_senses;

/* iSCSI AsyncEvents first..last; together they cover 0..255. */
struct registry_async {
    uint8_t first, last;
    uint16_t code;
};
extern const struct registry_async registry_asyncs[];
extern const size_t n_registry_asyncs;

/* What applies to senses that are not listed. */
struct registry_sense_rules {
    uint8_t deferred_response_codes[2];
    uint16_t deferred_code;
    uint8_t vendor_from; /* ASC or ASCQ from here on is the vendor's */
    uint16_t vendor_code;
    uint8_t other_key; /* any other ASC with this key */
    uint16_t other_code;
};
extern const struct registry_sense_rules registry_sense_rules;
