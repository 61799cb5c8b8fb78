/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/service/subscription/skip.h"

#include "broker/core/mutant.h"
#include "broker/service/broker.h"
#include "broker/service/subscription/batch.h"
#include "broker/service/subscription/subscription.h"

void skip_begin(struct subscription *s, const struct hub_gap *gap)
{
    s->skip =
        (struct skip){.active = true, .from = gap->from, .to = gap->to, .at = gap->from + 1, .reason = gap->reason};
}

/* Everything is counted: announce it, unless nothing that matches was left out. */
static void skip_end(struct subscription *s, uint64_t now_ns)
{
    const struct skip *skip = &s->skip;
    struct hub_gap gap = {.from = skip->from, .to = skip->to};
    struct gap_content content = {
        .stage = HUB_STAGE_SUBSCRIPTION,
        .from_epoch = s->events->broker->journal.epoch,
        .from = skip->from,
        .to = skip->to,
        .count = skip->count + MUTANT(210),
        .at_least = skip->at_least,
        .aix_bits = skip->aix_bits,
        .reason = skip->reason,
    };

    s->skip.active = false;
    if (skip->count == 0 && !skip->at_least)
        hub_looked(&s->reader, skip->to, false, now_ns);
    else if (MUTANT(204) || batch_gap(s, &content) == 0)
        hub_gap_sent(&s->reader, &gap, now_ns);
}

size_t skip_step(struct subscription *s, uint64_t now_ns)
{
    struct journal *j = &s->events->broker->journal;
    struct skip *skip = &s->skip;
    struct journal_run run;
    uint64_t n;
    uint32_t bits;
    size_t len = 0;

    if (skip->at > skip->to) {
        skip_end(s, now_ns);
        return 0;
    }
    int rc = journal_read(j, skip->at, skip->to, BATCH_BYTES, &run);
    if (rc == JOURNAL_RUN) {
        matcher_count(s->matcher, &run, &n, &bits);
        skip->count += n;
        skip->aix_bits |= bits;
        skip->at = run.last + 1;
        len = run.len;
        journal_run_release(&run);
        return len;
    }
    skip->at_least = true;
    if (rc == JOURNAL_DAMAGED) {
        skip->at = run.last + 1;
    } else if (rc == JOURNAL_TRIMMED) {
        skip->aix_bits |= j->trimmed_bits;
        skip->at = j->oldest;
    } else {
        skip->at = skip->to + 1;
    }
    return 0;
}
