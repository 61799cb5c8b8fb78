/* SPDX-License-Identifier: Apache-2.0 */
/* The story:
 *
 *   append, put          go into the open batch; the start handle runs once the loop is through with its callbacks
 *   on_start             while much comes in, waits for the loop's next turn; then
 *                        seals the open batch (the owner adds its puts) and gives it to the pool; a new one is open
 *   work                 journal_write: one transaction, to the write-ahead log; now and then to the store
 *   on_written, success  publish, tell the owner, run the waiters, begin again if something came in meanwhile
 *   on_written, failure  keep the sealed batch, tell the owner, try the same batch again after a back-off
 *
 * One batch is in flight at a time, so whatever comes in during a disk flush shares the next one. */
#include "broker/engine/commit.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/mutant.h"
#include "proto/event_view.h"
#include "runtime/clock.h"
#include "runtime/failpoint.h"

#define RETRY_MIN_MS 200u
#define RETRY_MAX_MS 5000u

/* A transaction costs as much as some hundreds of records, so an agent's window is better written at once than in two
 * halves that take turns. An open batch that grew by GATHER_RECORDS in one turn of the loop stays open for the next
 * turn; and one that was begun while as many were written waits for what their acknowledgement brings, but not long.
 * With GATHER_BYTES it is large enough. */
#define GATHER_RECORDS 64u
#define GATHER_BYTES   JOURNAL_BATCH_BYTES
#define GATHER_MS      1u
#define SETTLE_MS      1000u

#define PUT_FIXED_BYTES 64u /* what a put costs besides its key and value, about */

static struct commit_batch *batch_new(uint64_t from)
{
    struct commit_batch *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->write.batches = b->batches;
    b->from = from;
    b->through = from - 1;
    TAILQ_INIT(&b->waiters);
    return b;
}

static void batch_free(struct commit_batch *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->write.n_batches; i++)
        journal_batch_deinit(&b->batches[i]);
    journal_write_deinit(&b->write);
    free(b);
}

static void on_start(uv_idle_t *handle);
static void on_retry(uv_timer_t *handle);
static void on_start_again(uv_timer_t *handle);
static void on_settle(uv_timer_t *handle);

int commit_init(struct commit *c, uv_loop_t *loop, struct journal *journal, const struct retention_limits *retention,
                const struct commit_ops *ops, void *data)
{
    memset(c, 0, sizeof *c);
    c->loop = loop;
    c->journal = journal;
    c->ops = ops;
    c->data = data;
    c->retention = *retention;
    c->newest = journal->newest - (MUTANT(203) && journal->newest > journal->oldest);
    c->newest_time_ns = journal->newest_time_ns;
    c->backoff = (struct backoff){.min_ms = RETRY_MIN_MS, .max_ms = RETRY_MAX_MS};
    c->open = batch_new(c->newest + 1);
    if (!c->open)
        return UV_ENOMEM;
    uv_idle_init(loop, &c->start);
    uv_timer_init(loop, &c->retry);
    uv_timer_init(loop, &c->settle);
    uv_unref((uv_handle_t *)&c->settle); /* what waits there is on disk */
    c->start.data = c->retry.data = c->settle.data = c->work.data = c;
    c->n_handles = 3;
    c->settle_ms = SETTLE_MS;
    if (journal_has_pending(journal))
        uv_timer_start(&c->settle, on_settle, c->settle_ms, 0);
    return 0;
}

void commit_settle_after(struct commit *c, uint32_t ms)
{
    c->settle_ms = ms;
    if (uv_is_active((uv_handle_t *)&c->settle))
        uv_timer_start(&c->settle, on_settle, ms, 0);
}

static void close_finish(struct commit *c)
{
    if (!c->closing || c->working || c->n_handles > 0)
        return;
    batch_free(c->open);
    batch_free(c->flight);
    c->open = c->flight = NULL;
    if (c->on_closed)
        c->on_closed(c->data);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct commit *c = handle->data;
    c->n_handles--;
    close_finish(c);
}

void commit_close(struct commit *c, void (*cb)(void *data))
{
    assert(!c->closing);
    c->closing = true;
    c->on_closed = cb;
    uv_close((uv_handle_t *)&c->start, on_handle_closed);
    uv_close((uv_handle_t *)&c->retry, on_handle_closed);
    uv_close((uv_handle_t *)&c->settle, on_handle_closed);
}

/* ------------------------------------------------------------------------------------------------ writing */

static void on_work(uv_work_t *work)
{
    struct commit *c = work->data;
    c->result = FAILPOINT("commit.work");
    if (!c->result)
        c->result = journal_write(c->journal, &c->flight->write);
}

static void start_soon(struct commit *c)
{
    if (!c->closing && !c->flight)
        uv_idle_start(&c->start, on_start);
}

static void tell_room(struct commit *c)
{
    if (!c->full || c->closing || c->last_error || c->open->bytes >= COMMIT_FULL_BYTES ||
        c->open->n_records >= COMMIT_FULL_RECORDS)
        return;
    c->full = false;
    c->ops->on_room(c->data);
}

static void flight_succeeded(struct commit *c)
{
    struct commit_batch *b = c->flight;

    c->n_commits++;
    c->last_error = 0;
    backoff_reset(&c->backoff);
    (void)FAILPOINT("commit.publish");
    journal_publish(c->journal, &b->write);
    (void)FAILPOINT("commit.published");
    if (b->write.in_store) {
        uv_timer_stop(&c->settle);
        c->wanted |= b->write.trim_more;
        c->checkpoint |= b->write.trim_more;
    } else if (journal_has_pending(c->journal) && !uv_is_active((uv_handle_t *)&c->settle)) {
        uv_timer_start(&c->settle, on_settle, c->settle_ms, 0);
    }
    c->flight = NULL;
    c->ops->on_committed(c->data, b->from, b->through);
    (void)FAILPOINT("commit.told");
    struct commit_waiter *w;
    while ((w = TAILQ_FIRST(&b->waiters))) {
        TAILQ_REMOVE(&b->waiters, w, entry);
        w->queue = NULL;
        w->cb(w);
    }
    if (c->wanted && b->n_records >= GATHER_RECORDS && c->open->bytes < GATHER_BYTES && TAILQ_EMPTY(&c->open->waiters))
        uv_timer_start(&c->retry, on_start_again, GATHER_MS, 0);
    else if (c->wanted)
        start_soon(c);
    batch_free(b);
    tell_room(c);
}

static void flight_failed(struct commit *c)
{
    c->n_failures++;
    c->last_error = c->result;
    c->full = true;
    uint32_t random = (uint32_t)(clock_mono_ns() / 1000);
    uv_timer_start(&c->retry, on_retry, backoff_next(&c->backoff, random), 0);
    c->ops->on_failed(c->data, c->result);
}

static void on_written(uv_work_t *work, int status)
{
    struct commit *c = work->data;

    assert(status == 0); /* never cancelled */
    (void)status;
    c->working = false;
    if (c->closing) {
        if (!c->result) /* it is on disk: the journal must know, though nobody is told */
            journal_publish(c->journal, &c->flight->write);
        close_finish(c);
        return;
    }
    if (c->result && !MUTANT(202))
        flight_failed(c);
    else
        flight_succeeded(c);
}

static void flight_write(struct commit *c)
{
    c->flight->write.now_ns = clock_wall_ns();
    c->working = true;
    int rc = uv_queue_work(c->loop, &c->work, on_work, on_written);
    assert(rc == 0); /* fails only without a work function */
    (void)rc;
}

static void on_retry(uv_timer_t *handle)
{
    flight_write(handle->data);
}

static void on_start_again(uv_timer_t *handle)
{
    start_soon(handle->data);
}

static void on_settle(uv_timer_t *handle)
{
    commit_poke(handle->data);
}

/* Is more of what came in this turn likely to come in the next one? */
static bool gathering(struct commit *c)
{
    size_t n = c->open->n_records, came = n - c->n_gathered;

    c->n_gathered = n;
    return came >= GATHER_RECORDS && c->open->bytes < GATHER_BYTES;
}

static void on_start(uv_idle_t *handle)
{
    struct commit *c = handle->data;

    if (!c->flight && c->wanted && gathering(c))
        return;
    uv_idle_stop(handle);
    if (c->flight || !c->wanted)
        return;
    /* Without the owner's puts the records must not go to disk: stay open, accept on, and look again in a while. */
    struct commit_batch *next = FAILPOINT("commit.seal") ? NULL : batch_new(c->newest + 1);
    if (!next || c->ops->on_seal(c->data, &c->open->write, c->open->through)) {
        batch_free(next);
        uv_timer_start(&c->retry, on_start_again, RETRY_MIN_MS, 0);
        return;
    }
    (void)FAILPOINT("commit.sealed");
    c->flight = c->open;
    c->open = next;
    c->n_gathered = 0;
    c->expected_bytes = c->flight->bytes;
    c->wanted = false;
    c->flight->write.checkpoint = c->checkpoint;
    c->checkpoint = false;
    c->flight->write.retention = c->retention;
    flight_write(c);
}

/* ------------------------------------------------------------------------------------------------ accepting */

static void want(struct commit *c)
{
    c->wanted = true;
    start_soon(c);
}

int commit_append(struct commit *c, const uint8_t *event, size_t len, uint64_t now_ns, uint32_t aix_bits,
                  uint64_t *out_sequence)
{
    struct commit_batch *b = c->open;
    uint64_t sequence = c->newest + 1;
    uint64_t time_ns = now_ns > c->newest_time_ns ? now_ns : c->newest_time_ns;
    int rc = UV_ENOBUFS;

    if (b->write.n_batches > 0)
        rc = journal_batch_append(&b->batches[b->write.n_batches - 1], event, len, sequence, time_ns, aix_bits);
    if (rc == UV_ENOBUFS && b->write.n_batches < COMMIT_MAX_BATCHES) {
        if (c->expected_bytes > b->bytes)
            journal_batch_expect(&b->batches[b->write.n_batches], c->expected_bytes - b->bytes);
        rc = journal_batch_append(&b->batches[b->write.n_batches], event, len, sequence, time_ns, aix_bits);
        if (!rc)
            b->write.n_batches++;
    }
    if (rc)
        return rc;
    b->through = c->newest = sequence;
    c->newest_time_ns = time_ns;
    b->bytes += record_size(len);
    b->n_records++;
    *out_sequence = sequence;
    want(c);
    return 0;
}

int commit_put(struct commit *c, enum journal_table table, const void *key, size_t key_len, const void *value,
               size_t value_len)
{
    struct commit_batch *b = c->open;
    size_t bytes = PUT_FIXED_BYTES + key_len + value_len;

    if (b->put_bytes + bytes > COMMIT_MAX_PUT_BYTES)
        return UV_ENOBUFS;
    int rc = journal_write_put(&b->write, table, key, key_len, value, value_len);
    if (rc)
        return rc;
    b->put_bytes += bytes;
    want(c);
    return 0;
}

void commit_wait(struct commit *c, struct commit_waiter *w)
{
    assert(!w->queue);
    w->queue = &c->open->waiters;
    TAILQ_INSERT_TAIL(w->queue, w, entry);
    want(c);
}

void commit_forget(struct commit_waiter *w)
{
    if (!w->queue) /* which may be that of the transaction whose waiters run just now */
        return;
    TAILQ_REMOVE(w->queue, w, entry);
    w->queue = NULL;
}

void commit_poke(struct commit *c)
{
    c->checkpoint = true;
    want(c);
}

bool commit_full(struct commit *c)
{
    if (c->last_error || c->open->bytes >= COMMIT_FULL_BYTES || c->open->n_records >= COMMIT_FULL_RECORDS)
        c->full = true;
    return c->full;
}

bool commit_idle(const struct commit *c)
{
    return !c->flight && !c->wanted;
}
