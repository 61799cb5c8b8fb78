/* SPDX-License-Identifier: Apache-2.0 */
/* The sessions of the Adapter face that are open here: which unit each one talks to, or which device of the host's own
 * kernel it observes.
 *
 * A session belongs to the stream to the broker and ends with it. It outlives the iSCSI session below it (semantics.md
 * A20). Pure but for memory. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/source/observation.h"
#include "runtime/table.h"

#define DEVICE_SESSIONS_MAX     4096
#define DEVICE_SESSION_ID_BYTES 65

struct watch;

struct device_session {
    struct device_session *next, **link; /* of all */
    char id[DEVICE_SESSION_ID_BYTES];
    uint64_t generation;
    struct watch *watch; /* lives as long as the agent; NULL: a device of the host's own kernel */
    uint16_t lun;
    struct observation_place place; /* of a device of the kernel */
    bool open;                      /* false: the unit was not reached yet */
};

struct device_sessions {
    struct table table;
    struct device_session *first;
};

void device_sessions_init(struct device_sessions *t, uint64_t seed);
/* NULL when there is none; also of another generation. */
struct device_session *device_sessions_find(const struct device_sessions *t, const char *id, uint64_t generation);
/* Returns 0; UV_EEXIST when the id is taken, whatever its generation; UV_ENOSPC at DEVICE_SESSIONS_MAX; UV_EINVAL when
 * the id is empty or too long; UV_ENOMEM. */
int device_sessions_add(struct device_sessions *t, const char *id, uint64_t generation, struct watch *watch,
                        uint16_t lun, struct device_session **out);
void device_sessions_remove(struct device_sessions *t, struct device_session *s);
/* All of them. */
void device_sessions_clear(struct device_sessions *t);
void device_sessions_deinit(struct device_sessions *t);
