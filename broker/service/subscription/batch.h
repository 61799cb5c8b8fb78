/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of a Subscribe stream: each is one EventBatch with the subscription's correlator in front.
 *
 * All return 0, or a negative errno when it could not be queued; the subscription is over then. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "runtime/chunk.h"
#include "sensebus/v1/events.pb-c.h"

struct subscription;

/* A place in this broker's log. */
void batch_position(Sensebus__V1__Position *p, const struct subscription *s, uint64_t sequence);

#define BATCH_MAX_SLICES 64u
#define BATCH_BYTES      (64u * 1024) /* records in one message, unless the first is longer */

/* Records as on the wire, in `n` slices (at most BATCH_MAX_SLICES) in order: they are the rest of the message, not
 * copied when they have an owner and are long. */
int batch_records(struct subscription *s, const struct slice *records, size_t n);
/* A batch with one of the control members set. */
int batch_control(struct subscription *s, const Sensebus__V1__EventBatch *batch);
int batch_opened(struct subscription *s, uint64_t sequence);
int batch_snapshot_begin(struct subscription *s, uint64_t sequence);
int batch_synced(struct subscription *s, uint64_t sequence);
int batch_mark(struct subscription *s, uint64_t sequence);

struct gap_content {
    uint32_t stage;
    uint64_t from_epoch, from, to, count;
    bool at_least;
    uint32_t aix_bits;
    const char *reason;
};

/* Counted, too. */
int batch_gap(struct subscription *s, const struct gap_content *content);
