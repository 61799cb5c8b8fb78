/* SPDX-License-Identifier: Apache-2.0 */
/* The selectors by themselves: what "--lun 0-7" adds to a Filter. Used by select.c alone. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "clients/cli/query/select.h"
#include "sensebus/v1/events.pb-c.h"

struct filter_builder {
    Sensebus__V1__Filter *filter;
    const char *option; /* for messages: "code" */
    char *err;
    size_t err_len;
    int rc; /* 0, or the first failure: UV_EINVAL, UV_ENOMEM */
};

struct selector_info {
    const char *name;         /* "code" */
    const char *not_argument; /* "--not-code": what "--not --code" becomes */
    const char *argument, *help;
    /* Append one item; false after selector_fail. */
    bool (*add)(struct filter_builder *b, const char *item);
    bool whole; /* commas belong to the value */
};
extern const struct selector_info SELECTORS[SELECT_COUNT];

/* Write "--OPTION: …" to err and keep `rc`. Always false. */
bool selector_fail(struct filter_builder *b, int rc, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A pattern that matches every address, at the end of the list; NULL after selector_fail. */
Sensebus__V1__AddressPattern *selector_append_address(struct filter_builder *b);
