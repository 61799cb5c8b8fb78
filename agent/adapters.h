/* SPDX-License-Identifier: Apache-2.0 */
/* The adapters of this host, as the Adapter face sees them: the agent's iSCSI initiator, those of the host's own
 * kernel, and the targets that are served here.
 *
 * What an adapter can do is what it offers: a target may still refuse a reset when it is asked for one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sensebus/v1/adapter.pb-c.h"
#include "sensebus/v1/agents.pb-c.h"

struct kernel;
struct target_mode;
struct targets;

#define ADAPTER_ISCSI "iscsi0"

struct adapters {
    const char *initiator_name; /* borrowed, as all of this */
    const struct targets *targets;
    struct target_mode *target_mode; /* NULL = none */
    struct kernel *kernel;           /* NULL = devices of the kernel have no sessions */
    bool diagnostics;                /* the iSCSI adapter answers IOCINFO and nothing else (semantics.md A23) */
};

/* adap_devno (semantics.md rule 20): the kind of adapter, and its number among those. */
#define ADAPTER_MAJOR_ISCSI  1u
#define ADAPTER_MAJOR_TARGET 2u
#define ADAPTER_MAJOR_KERNEL 3u

/* Who each is and what it can do; borrowed strings, memory of its own. */
struct adapter_list {
    Sensebus__V1__AdapterCapabilities **items;
    size_t n;
};
/* Returns 0 or UV_ENOMEM. */
int adapters_list(const struct adapters *a, struct adapter_list *out);
void adapter_list_free(struct adapter_list *list);

/* IOCINFO. An empty name means the iSCSI adapter. False when there is no such adapter. What `out` points to lives until
 * the next turn of the loop. */
bool adapters_info(const struct adapters *a, const char *name, Sensebus__V1__IocInfoResult *out);
