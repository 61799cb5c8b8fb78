/* SPDX-License-Identifier: Apache-2.0 */
/* What the adapters of one agent can do, as it said in Hello.adapters or Inventory.adapters.
 *
 * Pure. Bounded: an entry is small and their number is limited, so that one agent cannot fill the memory. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct Sensebus__V1__AdapterCapabilities;

#define CAPABILITIES_MAX_ADAPTERS 1024
#define CAPABILITIES_MAX_NAME     63  /* bytes of an adapter's name */
#define CAPABILITIES_MAX_OWN_ID   255 /* an iSCSI name has at most 223 (RFC 7143 section 4.2.7.2) */
#define CAPABILITIES_MAX_LIST     32  /* capabilities of one adapter … */
#define CAPABILITIES_MAX_TEXT     64  /* … and bytes of one */

struct capabilities_adapter {
    char name[CAPABILITIES_MAX_NAME + 1];
    char own_id[CAPABILITIES_MAX_OWN_ID + 1]; /* empty: not known */
    char *texts;                              /* each with a 0 behind it, an empty one ends them */
};

struct capabilities {
    struct capabilities_adapter *adapters; /* by name */
    size_t n;
    size_t bytes; /* of it all */
};

/* Returns 0, or UV_EINVAL with `err` naming the member behind `what` ("Hello"): too many adapters or capabilities, a
 * name that is empty, too long or given twice. `adapters` is a message's repeated member. */
int capabilities_check(struct Sensebus__V1__AdapterCapabilities *const *adapters, size_t n, const char *what, char *err,
                       size_t err_len);
/* A copy of checked ones. Returns 0 or UV_ENOMEM. */
int capabilities_copy(struct Sensebus__V1__AdapterCapabilities *const *adapters, size_t n, struct capabilities *out);
/* Accepts a zeroed one. */
void capabilities_deinit(struct capabilities *c);

const struct capabilities_adapter *capabilities_find(const struct capabilities *c, const char *name);
bool capabilities_has(const struct capabilities_adapter *adapter, const char *capability);
