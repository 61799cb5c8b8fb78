/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/service/subscription/newest.h"

#include "broker/core/filter.h"
#include "broker/service/broker.h"
#include "broker/service/subscription/follow.h"
#include "broker/service/subscription/subscription.h"

void newest_start(struct subscription *s, uint64_t n)
{
    struct hub_log log = subscription_log(s);
    uint64_t n_kept = log.newest + 1 - log.oldest;

    if (filter_matches_all(s->matcher->filter)) {
        follow_open(s, log.newest - (n < n_kept ? n : n_kept));
        return;
    }
    s->scan_wanted = n;
    s->scan_at = log.newest;
    s->state = SUBSCRIPTION_SCAN;
}

size_t newest_step(struct subscription *s)
{
    struct journal *j = &s->events->broker->journal;
    struct journal_run run;
    uint64_t n;
    uint32_t bits;

    if (s->scan_at < j->oldest || s->scan_at == 0) {
        follow_open(s, j->oldest - 1);
        return 0;
    }
    int rc = journal_read_around(j, s->scan_at, &run);
    if (rc == JOURNAL_DAMAGED) {
        s->scan_at = run.first - 1;
        return 0;
    }
    if (rc == JOURNAL_TRIMMED)
        return 0;
    if (rc != JOURNAL_RUN) {
        subscription_finish(s, subscription_unreadable_status(s, rc), "cannot read the log");
        return 0;
    }
    size_t len = run.len;
    matcher_count(s->matcher, &run, &n, &bits);
    if (s->scan_found + n >= s->scan_wanted) {
        uint64_t first = matcher_nth(s->matcher, &run, s->scan_found + n - s->scan_wanted);
        follow_open(s, first - 1);
    } else {
        s->scan_found += n;
        s->scan_at = run.first - 1;
    }
    journal_run_release(&run);
    return len;
}
