/* SPDX-License-Identifier: Apache-2.0 */
/* What --where can ask of an event: fields by name, with their types. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clients/cli/query/names.h"

struct Sensebus__V1__Event;

enum field_type {
    FIELD_NUMBER,
    FIELD_TEXT,
    FIELD_ENUM, /* a number with words: `names` says which */
    FIELD_FLAG, /* 0 or 1 */
};

struct field_value {
    bool present; /* false: the event has no such thing (no sense data, no device) */
    int64_t number;
    const char *text; /* FIELD_TEXT: borrowed from the event, never NULL when present */
};

struct field {
    const char *name;
    enum field_type type;
    enum names_kind names;
    struct field_value (*read)(const struct Sensebus__V1__Event *event);
    const char *help;
};

/* NULL when there is none of this name (case matters). */
const struct field *field_find(const char *name);
const struct field *field_at(size_t i);
/* The name nearest to a misspelt one, or NULL. */
const char *field_nearest(const char *name);
