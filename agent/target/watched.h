/* SPDX-License-Identifier: Apache-2.0 */
/* One source of served targets, and what it showed last: a new snapshot is compared with that, and each difference
 * becomes a record; the first one is only remembered, because nothing happened yet. Coverage follows. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "agent/target/change.h"
#include "agent/target/snapshot.h"
#include "agent/target/target_mode.h"

struct numbers;

/* Initiators that get a number because they log in, of the NUMBERS_MAX; further ones are -1 in events. */
#define WATCHED_MAX_NUMBERED 2048

enum watched_outage { WATCHED_SEEN, WATCHED_UNREACHABLE, WATCHED_GONE };

struct watched {
    struct change_source source;
    const char *instance; /* in coverage */
    const struct target_mode_ops *ops;
    void *data;
    struct coverage *coverage;  /* borrowed, as the numbers are */
    struct numbers *initiators; /* numbers of their names */
    bool on;
    bool known; /* it showed something before */
    enum watched_outage outage;
    struct snapshot now;
    char (*names)[TARGET_MODE_ADAPTER_BYTES]; /* of the adapters, one for each target of `now` */
};

/* The source is on, and has not looked yet. Nothing is told. */
void watched_start(struct watched *w);
void watched_deinit(struct watched *w);

/* source_ops of a struct watched. */
void watched_snapshot(void *watched, struct snapshot *snapshot);
void watched_failed(void *watched, bool gone, const char *reason);

/* It is off, or was shown or missed once. */
bool watched_has_looked(const struct watched *w);
/* Times are put in here. */
void watched_tell(const struct watched *w, struct record *record);
/* It has just proved to be alive, if it is seen at all. */
void watched_prove(const struct watched *w);

/* "PREFIX<digits>" of this source? */
bool watched_is_adapter(const struct watched *w, const char *name);
/* The target behind the name of an adapter; false when there is none. */
bool watched_find(const struct watched *w, const char *name, size_t *out_index);
/* The adapter of a target. */
void watched_adapter(const struct watched *w, size_t index, struct target_mode_adapter *out);
bool watched_logged_in(const struct watched *w, size_t index, const char *initiator);
