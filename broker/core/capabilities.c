/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/capabilities.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/member.h"
#include "sensebus/v1/agents.pb-c.h"

static int compare_names(const void *left, const void *right)
{
    const Sensebus__V1__AdapterCapabilities *const *a = left, *const *b = right;
    return strcmp((*a)->adapter, (*b)->adapter);
}

/* By name, borrowed; NULL without memory. */
static const Sensebus__V1__AdapterCapabilities **sorted(Sensebus__V1__AdapterCapabilities *const *adapters, size_t n)
{
    const Sensebus__V1__AdapterCapabilities **list = calloc(n + 1, sizeof(Sensebus__V1__AdapterCapabilities *));
    if (!list)
        return NULL;
    for (size_t i = 0; i < n; i++)
        list[i] = adapters[i];
    qsort(list, n, sizeof *list, compare_names);
    return list;
}

static int check_one(const Sensebus__V1__AdapterCapabilities *a, size_t i, const char *what, char *err, size_t err_len)
{
    if (!member_text_valid(a->adapter, 1, CAPABILITIES_MAX_NAME))
        return member_invalid(err, err_len, "%s.adapters: the name of entry %zu is not 1 to %d bytes of UTF-8", what, i,
                              CAPABILITIES_MAX_NAME);
    if (!member_text_valid(a->own_id, 0, CAPABILITIES_MAX_OWN_ID))
        return member_invalid(err, err_len, "%s.adapters: own_id of entry %zu is longer than %d bytes or not UTF-8",
                              what, i, CAPABILITIES_MAX_OWN_ID);
    if (a->n_capabilities > CAPABILITIES_MAX_LIST)
        return member_invalid(err, err_len, "%s.adapters: entry %zu has %zu capabilities, at most %d", what, i,
                              a->n_capabilities, CAPABILITIES_MAX_LIST);
    for (size_t k = 0; k < a->n_capabilities; k++)
        if (!member_text_valid(a->capabilities[k], 1, CAPABILITIES_MAX_TEXT))
            return member_invalid(err, err_len,
                                  "%s.adapters: capability %zu of entry %zu is not 1 to %d bytes of UTF-8", what, k, i,
                                  CAPABILITIES_MAX_TEXT);
    return 0;
}

int capabilities_check(Sensebus__V1__AdapterCapabilities *const *adapters, size_t n, const char *what, char *err,
                       size_t err_len)
{
    int rc = 0;

    if (n > CAPABILITIES_MAX_ADAPTERS)
        return member_invalid(err, err_len, "%s.adapters: %zu, at most %d", what, n, CAPABILITIES_MAX_ADAPTERS);
    for (size_t i = 0; i < n && !rc; i++)
        rc = check_one(adapters[i], i, what, err, err_len);
    if (rc)
        return rc;
    const Sensebus__V1__AdapterCapabilities **list = sorted(adapters, n);
    if (!list) {
        snprintf(err, err_len, "out of memory");
        return UV_ENOMEM;
    }
    for (size_t i = 1; i < n && !rc; i++)
        if (strcmp(list[i - 1]->adapter, list[i]->adapter) == 0)
            rc = member_invalid(err, err_len, "%s.adapters: %s is given twice", what, list[i]->adapter);
    free(list);
    return rc;
}

static int copy_one(const Sensebus__V1__AdapterCapabilities *from, struct capabilities_adapter *to, size_t *bytes)
{
    size_t len = 1;

    snprintf(to->name, sizeof to->name, "%s", from->adapter);
    snprintf(to->own_id, sizeof to->own_id, "%s", from->own_id);
    for (size_t i = 0; i < from->n_capabilities; i++)
        len += strlen(from->capabilities[i]) + 1;
    char *at = to->texts = malloc(len);
    if (!at)
        return UV_ENOMEM;
    for (size_t i = 0; i < from->n_capabilities; i++)
        at = stpcpy(at, from->capabilities[i]) + 1;
    *at = 0;
    *bytes += sizeof *to + len;
    return 0;
}

int capabilities_copy(Sensebus__V1__AdapterCapabilities *const *adapters, size_t n, struct capabilities *out)
{
    struct capabilities c = {0};
    const Sensebus__V1__AdapterCapabilities **list = sorted(adapters, n);
    int rc = list && (c.adapters = calloc(n + 1, sizeof *c.adapters)) ? 0 : UV_ENOMEM;

    for (size_t i = 0; i < n && !rc; i++) {
        rc = copy_one(list[i], &c.adapters[i], &c.bytes);
        c.n = i + 1;
    }
    free(list);
    if (rc) {
        capabilities_deinit(&c);
        return rc;
    }
    *out = c;
    return 0;
}

void capabilities_deinit(struct capabilities *c)
{
    for (size_t i = 0; i < c->n; i++)
        free(c->adapters[i].texts);
    free(c->adapters);
    *c = (struct capabilities){0};
}

static int compare_adapter(const void *name, const void *adapter)
{
    return strcmp(name, ((const struct capabilities_adapter *)adapter)->name);
}

const struct capabilities_adapter *capabilities_find(const struct capabilities *c, const char *name)
{
    return c->n ? bsearch(name, c->adapters, c->n, sizeof *c->adapters, compare_adapter) : NULL;
}

bool capabilities_has(const struct capabilities_adapter *adapter, const char *capability)
{
    for (const char *text = adapter->texts; *text; text += strlen(text) + 1)
        if (strcmp(text, capability) == 0)
            return true;
    return false;
}
