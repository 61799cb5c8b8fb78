/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/service/subscription/batch.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "broker/service/broker.h"
#include "broker/service/subscription/subscription.h"

void batch_position(Sensebus__V1__Position *p, const struct subscription *s, uint64_t sequence)
{
    sensebus__v1__position__init(p);
    p->epoch = s->events->broker->journal.epoch;
    p->sequence = sequence;
}

int batch_records(struct subscription *s, const struct slice *records, size_t n)
{
    struct slice parts[1 + BATCH_MAX_SLICES];

    assert(n <= BATCH_MAX_SLICES);
    parts[0] = (struct slice){.ptr = s->correlator, .len = s->correlator_len};
    memcpy(parts + 1, records, n * sizeof *records);
    int rc = s->correlator_len ? grpc_call_send(s->call, parts, n + 1) : grpc_call_send(s->call, records, n);
    if (rc)
        subscription_send_failed(s, rc);
    return rc;
}

int batch_control(struct subscription *s, const Sensebus__V1__EventBatch *batch)
{
    uint8_t bytes[2048];
    size_t len = sensebus__v1__event_batch__get_packed_size(batch);

    assert(len <= sizeof bytes); /* reasons and ids are short */
    sensebus__v1__event_batch__pack(batch, bytes);
    struct slice slice = {.ptr = bytes, .len = len};
    return batch_records(s, &slice, 1);
}

int batch_opened(struct subscription *s, uint64_t sequence)
{
    Sensebus__V1__EventBatch batch = SENSEBUS__V1__EVENT_BATCH__INIT;
    Sensebus__V1__Opened opened = SENSEBUS__V1__OPENED__INIT;
    Sensebus__V1__Position position, oldest, newest;
    const struct journal *j = &s->events->broker->journal;
    char id[32];

    batch_position(&position, s, sequence);
    batch_position(&oldest, s, j->oldest - 1);
    batch_position(&newest, s, j->newest);
    snprintf(id, sizeof id, "s%" PRIu64, s->id);
    opened.position = &position;
    opened.oldest = &oldest;
    opened.newest = &newest;
    opened.subscription = id;
    batch.opened = &opened;
    return batch_control(s, &batch);
}

int batch_snapshot_begin(struct subscription *s, uint64_t sequence)
{
    Sensebus__V1__EventBatch batch = SENSEBUS__V1__EVENT_BATCH__INIT;
    Sensebus__V1__SnapshotBegin begin = SENSEBUS__V1__SNAPSHOT_BEGIN__INIT;
    Sensebus__V1__Position position;

    batch_position(&position, s, sequence);
    begin.position = &position;
    batch.snapshot_begin = &begin;
    return batch_control(s, &batch);
}

int batch_synced(struct subscription *s, uint64_t sequence)
{
    Sensebus__V1__EventBatch batch = SENSEBUS__V1__EVENT_BATCH__INIT;
    Sensebus__V1__Synced synced = SENSEBUS__V1__SYNCED__INIT;
    Sensebus__V1__Position position;

    batch_position(&position, s, sequence);
    synced.position = &position;
    batch.synced = &synced;
    return batch_control(s, &batch);
}

int batch_mark(struct subscription *s, uint64_t sequence)
{
    Sensebus__V1__EventBatch batch = SENSEBUS__V1__EVENT_BATCH__INIT;
    Sensebus__V1__Mark mark = SENSEBUS__V1__MARK__INIT;
    Sensebus__V1__Position position;

    batch_position(&position, s, sequence);
    mark.position = &position;
    batch.mark = &mark;
    return batch_control(s, &batch);
}

int batch_gap(struct subscription *s, const struct gap_content *content)
{
    Sensebus__V1__EventBatch batch = SENSEBUS__V1__EVENT_BATCH__INIT;
    Sensebus__V1__Gap gap = SENSEBUS__V1__GAP__INIT;
    Sensebus__V1__Position from, to;

    batch_position(&from, s, content->from);
    batch_position(&to, s, content->to);
    from.epoch = content->from_epoch;
    gap.stage = (Sensebus__V1__LossStage)content->stage;
    gap.from = &from;
    gap.to = &to;
    gap.count = content->count;
    gap.at_least = content->at_least;
    gap.aix_bits = content->aix_bits;
    gap.reason = (char *)content->reason;
    batch.gap = &gap;
    s->n_gaps++;
    s->events->broker->counters.n_gaps++;
    return batch_control(s, &batch);
}
