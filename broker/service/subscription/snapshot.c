/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/service/subscription/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "broker/core/filter.h"
#include "broker/core/mutant.h"
#include "broker/service/broker.h"
#include "broker/service/subscription/batch.h"
#include "broker/service/subscription/follow.h"
#include "broker/service/subscription/subscription.h"

/* Records of a snapshot, in sequence order; each is held. */
struct snapshot_record {
    uint64_t sequence;
    struct chunk *bytes;
};
struct snapshot {
    uint64_t through;
    size_t n, cap, next;
    size_t bytes; /* as counted in events->snapshot_bytes */
    struct snapshot_record *records;
};

static int by_sequence(const void *a, const void *b)
{
    const struct snapshot_record *x = a, *y = b;
    return x->sequence < y->sequence ? -1 : x->sequence > y->sequence;
}

static bool record_matches(const struct subscription *s, const struct chunk *record)
{
    struct journal_run run = {.bytes = record->bytes, .len = record->len};
    return filter_matches_all(s->matcher->filter) || matcher_nth(s->matcher, &run, 0) != 0;
}

void snapshot_free(struct subscription *s)
{
    struct snapshot *snapshot = s->snapshot;

    if (!snapshot)
        return;
    for (size_t i = snapshot->next; i < snapshot->n; i++)
        chunk_unref(snapshot->records[i].bytes);
    s->events->snapshot_bytes -= snapshot->bytes;
    free(snapshot->records);
    free(snapshot);
    s->snapshot = NULL;
}

static int snapshot_add(struct subscription *s, const struct status_last *last)
{
    struct snapshot *snapshot = s->snapshot;
    size_t bytes = sizeof *snapshot->records + last->record->len;

    if (s->events->snapshot_bytes + bytes > EVENTS_MAX_SNAPSHOT_BYTES)
        return UV_ENOBUFS;
    if (snapshot->n == snapshot->cap) {
        size_t cap = snapshot->cap ? 2 * snapshot->cap : 64;
        struct snapshot_record *records = realloc(snapshot->records, cap * sizeof *records);
        if (!records)
            return UV_ENOMEM;
        snapshot->records = records;
        snapshot->cap = cap;
    }
    snapshot->records[snapshot->n++] =
        (struct snapshot_record){.sequence = last->sequence, .bytes = chunk_ref(last->record)};
    snapshot->bytes += bytes;
    s->events->snapshot_bytes += bytes;
    return 0;
}

/* Hold every kept record that matches. On failure what was taken stays until snapshot_free. */
static int snapshot_take(struct subscription *s)
{
    const struct status *status = &s->events->broker->status;
    const struct status_device *device;
    int rc = 0;

    s->snapshot = calloc(1, sizeof *s->snapshot);
    if (!s->snapshot)
        return UV_ENOMEM;
    s->snapshot->through = status->through;
    for (size_t i = 0; !rc && (device = status_at(status, i)); i++)
        for (size_t k = MUTANT(212) && device->n_last > 1; !rc && k < device->n_last; k++)
            if (record_matches(s, device->last[k].record))
                rc = snapshot_add(s, &device->last[k]);
    if (!rc && s->snapshot->n > 0)
        qsort(s->snapshot->records, s->snapshot->n, sizeof *s->snapshot->records, by_sequence);
    return rc;
}

/* What could not be read when the status was made: in front of where the stream begins, so the gap ends there.
 * Something newer may be known of some of the devices, and the filter is not asked: the number is the largest it may
 * be. */
static int tell_passed_over(struct subscription *s)
{
    struct gap_content content = {
        .stage = SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_STORE,
        .from_epoch = s->events->broker->journal.epoch,
        .to = s->snapshot->through,
        .at_least = true,
        .reason = "could not be read when the status was made",
    };
    uint64_t first;

    content.count = status_passed_over(&s->events->broker->status, &first);
    content.from = first - 1;
    return content.count > 0 ? batch_gap(s, &content) : 0;
}

void snapshot_start(struct subscription *s)
{
    int rc = snapshot_take(s);

    if (rc) {
        subscription_finish(s, GRPC_RESOURCE_EXHAUSTED,
                            rc == UV_ENOBUFS ? "SubscribeRequest.snapshot: too many snapshots are under way"
                                             : "out of memory");
        snapshot_free(s);
        return;
    }
    s->state = SUBSCRIPTION_SNAPSHOT;
    if (batch_opened(s, s->snapshot->through) == 0 && tell_passed_over(s) == 0)
        batch_snapshot_begin(s, s->snapshot->through);
}

size_t snapshot_step(struct subscription *s)
{
    struct snapshot *snapshot = s->snapshot;
    size_t len = 0, n = 0;

    if (snapshot->next == snapshot->n) {
        uint64_t through = snapshot->through;
        snapshot_free(s);
        if (batch_synced(s, through) == 0)
            follow_begin(s, through, true);
        return 0;
    }
    while (snapshot->next + n < snapshot->n) {
        size_t more = snapshot->records[snapshot->next + n].bytes->len;
        if (n > 0 && len + more > BATCH_BYTES)
            break;
        len += more;
        n++;
    }
    struct chunk *chunk = chunk_new(len);
    if (!chunk) {
        subscription_end(s, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        struct chunk *record = snapshot->records[snapshot->next++].bytes;
        memcpy(chunk->bytes + chunk->len, record->bytes, record->len);
        chunk->len += record->len;
        chunk_unref(record);
    }
    struct slice slice = {.owner = chunk, .ptr = chunk->bytes, .len = chunk->len};
    s->n_delivered += n;
    s->events->broker->counters.n_delivered += n;
    batch_records(s, &slice, 1);
    chunk_unref(chunk);
    return len;
}
