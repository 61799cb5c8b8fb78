/* SPDX-License-Identifier: Apache-2.0 */
/* Reading: from the tail, else from what was loaded, else from the store. */
#include <string.h>
#include <uv.h>

#include "broker/engine/journal.h"
#include "broker/engine/journal_format.h"
#include "proto/event_view.h"

/* The batch that holds `sequence`, from memory or from the store; borrowed until the next read. */
static int find(struct journal *j, uint64_t sequence, bool ahead, struct journal_batch **out_batch,
                struct journal_run *out_damage)
{
    if (sequence > j->newest)
        return JOURNAL_CAUGHT_UP;
    if (sequence < j->oldest)
        return JOURNAL_TRIMMED;
    struct journal_batch *b = journal_tail_find(&j->tail, sequence);
    if (!b)
        b = journal_loaded_find(&j->loaded, sequence);
    if (!b)
        return journal_loaded_read(j, sequence, ahead, out_batch, out_damage);
    *out_batch = b;
    return JOURNAL_RUN;
}

static int read_run(struct journal *j, uint64_t from, uint64_t through, size_t max_bytes, bool ahead,
                    struct journal_run *out_run)
{
    struct journal_batch *b;
    struct journal_run damage = {0};
    int rc = find(j, from, ahead, &b, &damage);
    if (rc == JOURNAL_DAMAGED)
        *out_run = (struct journal_run){.first = from, .last = damage.last};
    if (rc != JOURNAL_RUN)
        return rc;
    rc = journal_batch_cut(b, from, through, max_bytes, out_run);
    if (rc == UV_EIO) {
        *out_run = (struct journal_run){.first = from, .last = b->last};
        j->n_damaged_reads++;
        return JOURNAL_DAMAGED;
    }
    return rc ? rc : JOURNAL_RUN;
}

int journal_read(struct journal *j, uint64_t from, uint64_t through, size_t max_bytes, struct journal_run *out_run)
{
    return read_run(j, from, through, max_bytes, true, out_run);
}

int journal_read_around(struct journal *j, uint64_t sequence, struct journal_run *out_run)
{
    struct journal_batch *b;
    struct journal_run run = {0};
    int rc = find(j, sequence, false, &b, &run);
    if (rc == JOURNAL_DAMAGED) {
        *out_run = run;
        if (run.first < j->oldest)
            out_run->first = j->oldest;
    }
    if (rc != JOURNAL_RUN)
        return rc;
    return read_run(j, b->first < j->oldest ? j->oldest : b->first, sequence, SIZE_MAX, false, out_run);
}

/* Can a record of this time have been in what is damaged or missing in front of what is behind the cursor? The next
 * whole value says so; *out_next: where it begins. Nobody knows when there is none; and from `high` on it was found
 * that it can. */
static bool may_be_lost(struct store_cursor *cursor, uint64_t high, uint64_t time_ns, uint64_t *out_next)
{
    struct journal_batch b = {0};
    uint64_t first_time_ns;

    *out_next = high;
    while (store_cursor_next(cursor) == 0) {
        memcpy(out_next, cursor->key.data, sizeof *out_next);
        if (journal_batch_check(*out_next, &cursor->value, &b))
            return !journal_value_first_time(&cursor->value, &first_time_ns) || first_time_ns >= time_ns;
        if (*out_next >= high)
            return true;
    }
    return true;
}

/* The first stored value whose newest record is not before `time_ns`, or what is lost where such a record may have
 * been; by bisection over sequences. */
static int find_time_value(struct journal *j, struct store_cursor *cursor, uint64_t time_ns, uint64_t *out_first)
{
    uint64_t low = j->oldest, high = j->stored + 1; /* the answer lies in low..high; high = none */

    while (low < high) {
        uint64_t middle = low + (high - low) / 2, first = 0, next = 0;
        struct journal_batch b = {0};
        bool is_before;
        int rc = journal_cursor_find(cursor, middle, &first, &next);
        if (rc == UV_ENOENT) {
            low = next && next < high ? next : high;
            continue;
        }
        if (rc)
            return rc;
        bool whole = journal_batch_check(first, &cursor->value, &b);
        if (whole && middle <= b.last) {
            is_before = b.newest_time_ns < time_ns;
            next = b.last + 1;
        } else {
            if (whole)
                first = b.last + 1;
            is_before = !may_be_lost(cursor, high, time_ns, &next);
        }
        if (is_before)
            low = next < high ? next : high;
        else
            high = first > low ? first : low;
    }
    *out_first = low;
    return 0;
}

int journal_find_time(struct journal *j, uint64_t time_ns, uint64_t *out_sequence)
{
    struct store_txn txn = {0};
    struct store_cursor cursor = {0};
    uint64_t first = 0;
    if (time_ns > j->newest_time_ns) { /* whatever is damaged */
        *out_sequence = j->newest + 1;
        return 0;
    }
    int rc = store_begin(&j->store, false, &txn);
    if (rc)
        return rc;
    rc = store_cursor_open(&txn, j->log_table, &cursor);
    if (!rc) {
        rc = find_time_value(j, &cursor, time_ns, &first);
        store_cursor_close(&cursor);
    }
    store_abort(&txn);
    if (rc)
        return rc;
    /* What is not in the store is in the tail; what a commit that is not published has removed may be there still. */
    uint64_t in_tail = journal_tail_find_time(&j->tail, j->oldest, time_ns, j->newest + 1);
    if (in_tail < first || first == j->stored + 1)
        first = in_tail;

    struct journal_run run;
    rc = journal_read(j, first, UINT64_MAX, SIZE_MAX, &run);
    if (rc == JOURNAL_RUN) {
        const uint8_t *p = run.bytes, *end = run.bytes + run.len, *event;
        struct event_limits limits = {.allow_broker_fields = true};
        struct event_view view;
        char err[128];
        size_t len;
        while (records_next(&p, end, &event, &len)) {
            if (event_scan(event, len, &limits, &view, err, sizeof err) || view.broker_time_ns >= time_ns)
                break;
            first++;
        }
        journal_run_release(&run);
    }
    *out_sequence = first;
    return rc < 0 ? rc : 0;
}
