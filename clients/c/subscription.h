/* SPDX-License-Identifier: Apache-2.0 */
/* A subscription that survives the loss of its connection: it resumes behind the last record it handed on.
 *
 * Invariant: outside a snapshot, on_event sees sequences of one log epoch that only grow; a record that comes again or
 * goes back is not handed on but reported with on_fault. Records of a snapshot are status, not news: they may have any
 * sequence, and a snapshot cut by a loss begins again with on_snapshot_begin. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "clients/c/link.h"

struct Sensebus__V1__Event;
struct Sensebus__V1__Gap;
struct Sensebus__V1__Opened;
struct Sensebus__V1__Position;
struct Sensebus__V1__SubscribeRequest;
struct subscription;

/* Everything passed in is borrowed until the callback returns. subscription_close is allowed in each. */
struct subscription_ops {
    /* The stream stands. `resumed`: after a loss. */
    void (*on_opened)(void *data, const struct Sensebus__V1__Opened *opened, bool resumed);
    void (*on_event)(void *data, const struct Sensebus__V1__Event *event);
    void (*on_gap)(void *data, const struct Sensebus__V1__Gap *gap);
    void (*on_snapshot_begin)(void *data, const struct Sensebus__V1__Position *position);
    void (*on_synced)(void *data, const struct Sensebus__V1__Position *position);
    /* All of one message was handed on: the moment to flush. */
    void (*on_batch_end)(void *data);
    /* No stream now; it comes back by itself. Comes for each failed try. */
    void (*on_lost)(void *data, const char *reason, uint32_t retry_ms);
    /* The broker did what the contract excludes; `text` says what, and what was left out. */
    void (*on_fault)(void *data, const char *text);
    /* Over, for a reason that trying again does not mend (or OK: the newest was reached). The owner still closes. */
    void (*on_end)(void *data, int status, const char *message);
};

/* `request` is copied. Returns 0; what is wrong with the address (UV_EINVAL); UV_ENOMEM. `ops` must outlive it. */
int subscription_open(uv_loop_t *loop, const struct link_options *link_options,
                      const struct Sensebus__V1__SubscribeRequest *request, const struct subscription_ops *ops,
                      void *data, struct subscription **out_subscription);
/* Where to resume: everything up to here was handed on. False while no stream has ever stood. */
bool subscription_position(const struct subscription *s, uint64_t *out_epoch, uint64_t *out_sequence);
/* NULL is accepted. No callback comes after this returns; the memory goes when the loop has ended what is open. */
void subscription_close(struct subscription *s);
