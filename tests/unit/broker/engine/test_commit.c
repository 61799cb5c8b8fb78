/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/commit.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <uv.h>

#include "tests/lib/loop.h"
#include "tests/unit/broker/engine/log_directory.h"

#define MIB (1024u * 1024)

static struct log_directory directory;
static struct journal journal;
static struct test_loop loop;
static struct commit commit;

/* What the engine told. */
static struct {
    uint64_t committed, n_seals, n_failed, n_room;
    int last_error;
    int seal_failures_left;
    uint64_t sealed;
    bool closed;
} told;

static int on_seal(void *data, struct journal_write *w, uint64_t through)
{
    (void)data;
    told.n_seals++;
    if (told.seal_failures_left > 0) {
        told.seal_failures_left--;
        return UV_ENOMEM;
    }
    told.sealed = through;
    return journal_write_put(w, JOURNAL_DEDUPE, "through", 7, &through, sizeof through);
}

static void on_committed(void *data, uint64_t from, uint64_t through)
{
    (void)data;
    cr_assert_eq(from, told.committed + 1, "in order, each once");
    cr_assert_geq(journal.newest, through);
    told.committed = through;
}

static void on_failed(void *data, int error)
{
    (void)data;
    told.n_failed++;
    told.last_error = error;
}

static void on_room(void *data)
{
    (void)data;
    told.n_room++;
}

static void on_closed(void *data)
{
    (void)data;
    told.closed = true;
}

static void setup(void)
{
    static const struct commit_ops ops = {on_seal, on_committed, on_failed, on_room};
    static const struct retention_limits retention = {0};
    memset(&told, 0, sizeof told);
    setenv("UV_THREADPOOL_SIZE", "1", 1); /* see run_into_a_write */
    log_directory_make(&directory);
    log_open(&journal, &directory, 64 * MIB, 0);
    test_loop_init(&loop);
    cr_assert_eq(commit_init(&commit, &loop.loop, &journal, &retention, &ops, NULL), 0);
    commit_settle_after(&commit, 3600000); /* a disk may take its time: what counts commits counts none of that kind */
}

static void teardown(void)
{
    if (!commit.closing)
        commit_close(&commit, on_closed);
    if (!test_loop_until(&loop, &told.closed))
        abort();
    test_loop_deinit(&loop);
    journal_close(&journal);
    log_directory_remove(&directory);
}

TestSuite(commit, .init = setup, .fini = teardown);

/* While this is not 0, the store fails with it. */
static int store_error;

int __real_store_commit(struct store_txn *t);
int __wrap_store_commit(struct store_txn *t);
int __wrap_store_commit(struct store_txn *t)
{
    if (!store_error)
        return __real_store_commit(t);
    store_abort(t);
    return store_error;
}

static uint64_t append(uint64_t n, uint64_t now_ns)
{
    uint8_t event[EVENT_MAX];
    uint64_t sequence = 0;
    cr_assert_eq(commit_append(&commit, event, event_write(event, n, 0), now_ns, 0, &sequence), 0);
    return sequence;
}

static bool is_idle(void *data)
{
    (void)data;
    return commit_idle(&commit);
}

static void settle(void)
{
    cr_assert(test_loop_until_true(&loop, is_idle, NULL));
}

Test(commit, gives_sequences_in_order_and_tells_when_they_are_on_disk)
{
    for (uint64_t n = 1; n <= 100; n++)
        cr_assert_eq(append(n, n * 1000), n);
    cr_assert_eq(told.committed, 0, "nothing is told before the loop runs");
    settle();
    cr_assert_eq(told.committed, 100);
    cr_assert_eq(commit.n_commits, 1, "what is accepted together is committed together");
    struct journal_run run;
    cr_assert_eq(journal_read(&journal, 1, UINT64_MAX, SIZE_MAX, &run), JOURNAL_RUN);
    run_check(&run, 1, 100);
    journal_run_release(&run);
}

static bool is_working(void *data)
{
    (void)data;
    return commit.flight != NULL;
}

static uv_sem_t gate;
static uv_work_t gatekeeper;

static void wait_at_gate(uv_work_t *work)
{
    (void)work;
    uv_sem_wait(&gate);
}

static void on_gate_passed(uv_work_t *work, int status)
{
    (void)work;
    cr_assert_eq(status, 0);
}

/* Run until a write is under way. The pool's one thread is held meanwhile, so the write cannot end unseen; it goes on
 * now, and its end is told when the loop runs again. */
static void run_into_a_write(void)
{
    cr_assert_eq(uv_sem_init(&gate, 0), 0);
    cr_assert_eq(uv_queue_work(&loop.loop, &gatekeeper, wait_at_gate, on_gate_passed), 0);
    cr_assert(test_loop_until_true(&loop, is_working, NULL));
    uv_sem_post(&gate);
}

Test(commit, what_comes_during_a_write_shares_the_next_one)
{
    append(1, 1000);
    run_into_a_write();
    for (uint64_t n = 2; n <= 50; n++)
        append(n, n * 1000);
    settle();
    cr_assert_eq(told.committed, 50);
    cr_assert_eq(commit.n_commits, 2);
}

static bool is_all_told(void *data)
{
    return told.committed >= *(const uint64_t *)data;
}

/* Holds up only what is large anyway: see the next tests. */
Test(commit, what_the_acknowledgement_of_a_large_write_brings_shares_the_next_one)
{
    uint64_t first = 100;
    for (uint64_t n = 1; n <= 100; n++)
        append(n, n * 1000);
    run_into_a_write();
    append(101, 101000);
    cr_assert(test_loop_until_true(&loop, is_all_told, &first));
    cr_assert_null(commit.flight);
    for (uint64_t n = 102; n <= 200; n++)
        append(n, n * 1000);
    settle();
    cr_assert_eq(told.committed, 200);
    cr_assert_eq(commit.n_commits, 2);
}

Test(commit, nothing_waits_long_for_what_does_not_come)
{
    for (uint64_t n = 1; n <= 100; n++)
        append(n, n * 1000);
    run_into_a_write();
    append(101, 101000);
    settle();
    cr_assert_eq(told.committed, 101);
}

/* Some records in each turn of the loop. */
static struct {
    uv_idle_t idle;
    uint64_t n, end, each;
    bool waits; /* while a write is under way: all that comes meanwhile is one, on a slow disk all the rest */
} flow;

static void on_flow(uv_idle_t *idle)
{
    if (flow.waits && commit.flight)
        return;
    for (uint64_t i = 0; i < flow.each && flow.n < flow.end; i++, flow.n++)
        append(flow.n + 1, flow.n * 1000);
    if (flow.n == flow.end)
        uv_close((uv_handle_t *)idle, NULL);
}

static void flow_through(uint64_t end, uint64_t each)
{
    flow.n = 0;
    flow.end = end;
    flow.each = each;
    uv_idle_init(&loop.loop, &flow.idle);
    uv_idle_start(&flow.idle, on_flow);
    cr_assert(test_loop_until_true(&loop, is_all_told, &end));
}

Test(commit, much_that_comes_in_turn_after_turn_is_written_at_once)
{
    flow_through(1000, 100);
    cr_assert_eq(commit.n_commits, 1);
}

Test(commit, endless_flow_is_written_in_parts)
{
    flow.waits = true;
    flow_through(60000, 100);
    cr_assert_gt(commit.n_commits, 2);
}

Test(commit, little_is_written_at_once)
{
    flow_through(40, 1);
    cr_assert_gt(commit.n_commits, 1);
}

Test(commit, broker_time_never_goes_back_also_over_a_restart)
{
    append(1, 1000);
    append(2, 500);
    settle();
    cr_assert_eq(commit.newest_time_ns, 1000);
    cr_assert_eq(journal.newest_time_ns, 1000);
    journal_close(&journal);
    log_open(&journal, &directory, 64 * MIB, 0);
    cr_assert_eq(journal.newest_time_ns, 1000);
}

struct counted_waiter {
    struct commit_waiter waiter;
    uint64_t committed_then;
    int n;
};

static void on_waited(struct commit_waiter *w)
{
    struct counted_waiter *c = (struct counted_waiter *)w;
    c->n++;
    c->committed_then = told.committed;
}

Test(commit, waiters_run_once_after_everything_before_them)
{
    struct counted_waiter first = {.waiter.cb = on_waited}, second = first, forgotten = first;
    append(1, 1000);
    commit_wait(&commit, &first.waiter);
    append(2, 2000);
    run_into_a_write();
    append(3, 3000);
    commit_wait(&commit, &second.waiter);
    commit_wait(&commit, &forgotten.waiter);
    commit_forget(&forgotten.waiter);
    commit_forget(&forgotten.waiter);
    settle();
    cr_assert_eq(first.n, 1);
    cr_assert_eq(first.committed_then, 2);
    cr_assert_eq(second.n, 1);
    cr_assert_eq(second.committed_then, 3);
    cr_assert_eq(forgotten.n, 0);
}

Test(commit, waiter_in_the_write_under_way_can_be_forgotten)
{
    struct counted_waiter w = {.waiter.cb = on_waited};
    commit_wait(&commit, &w.waiter);
    run_into_a_write();
    commit_forget(&w.waiter);
    settle();
    cr_assert_eq(w.n, 0);
}

struct forgetting_waiter {
    struct commit_waiter waiter;
    struct commit_waiter *other;
    unsigned n;
};

static void on_forgetting(struct commit_waiter *w)
{
    struct forgetting_waiter *f = (struct forgetting_waiter *)w;
    f->n++;
    commit_forget(f->other);
}

Test(commit, waiter_can_forget_the_next_one_of_the_same_write)
{
    struct counted_waiter forgotten = {.waiter.cb = on_waited}, later = forgotten;
    struct forgetting_waiter first = {.waiter.cb = on_forgetting, .other = &forgotten.waiter};
    commit_wait(&commit, &first.waiter);
    commit_wait(&commit, &forgotten.waiter);
    settle();
    commit_wait(&commit, &later.waiter);
    settle();
    cr_assert_eq(first.n, 1);
    cr_assert_eq(forgotten.n, 0);
    cr_assert_eq(later.n, 1);
}

Test(commit, puts_alone_are_written)
{
    struct counted_waiter w = {.waiter.cb = on_waited};
    cr_assert_eq(commit_put(&commit, JOURNAL_CURSORS, "a", 1, "b", 1), 0);
    commit_wait(&commit, &w.waiter);
    settle();
    cr_assert_eq(w.n, 1);
    cr_assert_eq(journal.newest, 0);
}

static bool has_sealed(void *data)
{
    (void)data;
    return told.n_seals > 0;
}

Test(commit, owner_without_memory_at_the_seal_is_asked_again_with_everything)
{
    told.seal_failures_left = 2;
    append(1, 1000);
    cr_assert(test_loop_until_true(&loop, has_sealed, NULL));
    append(2, 2000);
    settle();
    cr_assert_eq(told.n_seals, 3);
    cr_assert_eq(told.sealed, 2);
    cr_assert_eq(told.committed, 2);
}

Test(commit, full_is_said_and_room_is_told)
{
    uint8_t event[EVENT_MAX];
    uint64_t sequence = 0, n = 1;
    while (!commit_full(&commit))
        cr_assert_eq(commit_append(&commit, event, event_write(event, n++, 250), 1, 0, &sequence), 0);
    cr_assert_geq(commit.open->bytes, COMMIT_FULL_BYTES);
    int rc;
    while ((rc = commit_append(&commit, event, event_write(event, n++, 250), 1, 0, &sequence)) == 0)
        ;
    cr_assert_eq(rc, UV_ENOBUFS, "even the reserve has an end");
    settle();
    cr_assert_eq(told.committed, sequence);
    cr_assert_eq(told.n_room, 1);
    cr_assert(!commit_full(&commit));
}

static bool has_failed_twice(void *data)
{
    (void)data;
    return told.n_failed >= 2;
}

/* A limit on the size of files stands in for a full disk. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

Test(commit, disk_that_is_full_loses_nothing_and_recovers)
{
    struct counted_waiter w = {.waiter.cb = on_waited};
    uint64_t n = 1;
    append(n++, 1000);
    settle();
    limit_files(4096);
    for (; n <= 1000; n++)
        append(n, n * 1000);
    commit_wait(&commit, &w.waiter);
    cr_assert(test_loop_until_true(&loop, has_failed_twice, NULL));
    cr_assert_lt(told.last_error, 0);
    cr_assert(commit_full(&commit), "writers are told to stop");
    cr_assert_eq(told.committed, 1);
    cr_assert_eq(w.n, 0);
    append(n, n * 1000);
    limit_files(RLIM_INFINITY);
    settle();
    cr_assert_eq(told.committed, 1001);
    cr_assert_eq(w.n, 1);
    cr_assert_geq(told.n_room, 1);
    cr_assert(!commit_full(&commit));
    cr_assert_eq(commit.last_error, 0);
}

Test(commit, puts_that_wait_are_bounded)
{
    static uint8_t value[65536];
    int rc = 0;
    uint32_t n = 0;
    for (; rc == 0 && n < 10000; n++)
        rc = commit_put(&commit, JOURNAL_CURSORS, &n, sizeof n, value, sizeof value);
    cr_assert_eq(rc, UV_ENOBUFS);
    cr_assert_leq((uint64_t)n * sizeof value, COMMIT_MAX_PUT_BYTES + sizeof value);
    settle();
    cr_assert_eq(commit_put(&commit, JOURNAL_CURSORS, "a", 1, "b", 1), 0, "there is room again after the commit");
}

/* One step removes a bounded number of values: an idle broker goes on until retention is satisfied. */
Test(commit, retention_ends_also_when_nothing_more_comes)
{
    for (uint64_t n = 1; n <= 5 * RETENTION_STEP_BATCHES / 2; n++) {
        append(n, n * 1000);
        settle();
    }
    commit.retention.max_records = 1;
    commit_poke(&commit);
    settle();
    cr_assert_eq(journal.oldest, journal.newest);
}

Test(commit, close_waits_for_the_write_under_way)
{
    append(1, 1000);
    run_into_a_write();
    append(2, 2000);
    commit_close(&commit, on_closed);
    cr_assert(test_loop_until(&loop, &told.closed));
    journal_close(&journal);
    log_open(&journal, &directory, 64 * MIB, 0);
    cr_assert_eq(journal.newest, 1, "the write under way finished; what was not begun is gone");
}

/* ---- what waits for the store */

static int on_through(void *data, const struct store_value *key, const struct store_value *value)
{
    cr_assert(key->len == 7 && value->len == sizeof(uint64_t));
    memcpy(data, value->data, sizeof(uint64_t));
    return 0;
}

static void expect_after_reopening(uint64_t newest)
{
    uint64_t through = 0;
    journal_close(&journal);
    log_open(&journal, &directory, 64 * MIB, 0);
    cr_assert_eq(journal.newest, newest);
    cr_assert_eq(journal_each(&journal, JOURNAL_DEDUPE, on_through, &through), 0);
    cr_assert_eq(through, newest, "the tables and the log agree");
}

static bool is_all_stored(void *data)
{
    (void)data;
    return !journal_has_pending(&journal);
}

/* The settle timer alone does not keep the loop alive: the test's own timer does. */
Test(commit, what_waits_goes_to_the_store_by_itself)
{
    commit_settle_after(&commit, 20);
    append(1, 1000);
    settle();
    cr_assert(test_loop_until_true(&loop, is_all_stored, NULL));
    cr_assert_eq(journal.stored, 1);
    settle();
    append(2, 2000);
    settle();
    cr_assert(test_loop_until_true(&loop, is_all_stored, NULL));
    cr_assert_eq(journal.stored, 2);
}

Test(commit, a_store_that_fails_loses_nothing_and_is_tried_again)
{
    store_error = UV_EIO;
    commit_settle_after(&commit, 10);
    append(1, 1000);
    cr_assert(test_loop_until_true(&loop, has_failed_twice, NULL));
    cr_assert(journal_has_pending(&journal));
    cr_assert_eq(told.committed, 1);
    cr_assert_eq(append(2, 2000), 2);
    struct journal_run run;
    cr_assert_eq(journal_read(&journal, 1, UINT64_MAX, SIZE_MAX, &run), JOURNAL_RUN);
    run_check(&run, 1, 1);
    journal_run_release(&run);
    store_error = 0;
    settle();
    cr_assert_eq(told.committed, 2);
    cr_assert_geq(journal.stored, 1);
    expect_after_reopening(2);
}

/* What is on disk stays, although nobody is told any more: also when older transactions go to the store then. */
Test(commit, close_keeps_what_the_write_under_way_brought_to_disk)
{
    append(1, 1000);
    settle();
    cr_assert(journal_has_pending(&journal));
    append(2, 2000);
    run_into_a_write();
    commit_close(&commit, on_closed);
    cr_assert(test_loop_until(&loop, &told.closed));
    cr_assert_eq(told.committed, 1);
    expect_after_reopening(2);
}

Test(commit, close_while_all_goes_to_the_store_puts_nothing_old_over_it)
{
    append(1, 1000);
    settle();
    append(2, 2000);
    commit_poke(&commit);
    run_into_a_write();
    commit_close(&commit, on_closed);
    cr_assert(test_loop_until(&loop, &told.closed));
    expect_after_reopening(2);
}

/* The store fails until the end: the next start finds all that was told. */
Test(commit, close_while_the_store_fails_leaves_it_to_the_next_start)
{
    store_error = UV_ENOSPC;
    commit_settle_after(&commit, 10);
    append(1, 1000);
    cr_assert(test_loop_until_true(&loop, has_failed_twice, NULL));
    append(2, 2000);
    commit_close(&commit, on_closed);
    cr_assert(test_loop_until(&loop, &told.closed));
    journal_close(&journal);
    store_error = 0;
    log_open(&journal, &directory, 64 * MIB, 0);
    cr_assert(journal_has_pending(&journal));
    expect_after_reopening(1);
}
