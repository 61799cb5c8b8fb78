/* SPDX-License-Identifier: Apache-2.0 */
/* kill -9 between any two steps of a commit: whatever was told as committed is there, whole and once.
 *
 * A child commits and reports what it was told through a pipe; the calls into the store and into the write-ahead log
 * are wrapped (by the linker) and counted, and at the n-th one the child kills itself. The parent opens what is left.
 * Every n, until a child survives.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "broker/engine/commit.h"
#include "tests/unit/broker/engine/log_directory.h"

#define MIB       (1024u * 1024)
#define N_COMMITS 8u
#define N_RECORDS 7u /* each */

static unsigned steps_left;

static void step(void)
{
    if (steps_left > 0 && --steps_left == 0)
        raise(SIGKILL);
}

int __real_store_begin(struct store *s, bool write, struct store_txn *out_txn);
int __wrap_store_begin(struct store *s, bool write, struct store_txn *out_txn);
int __wrap_store_begin(struct store *s, bool write, struct store_txn *out_txn)
{
    step();
    return __real_store_begin(s, write, out_txn);
}

int __real_store_put(struct store_txn *t, unsigned table, const void *key, size_t key_len, const void *value,
                     size_t value_len, unsigned flags);
int __wrap_store_put(struct store_txn *t, unsigned table, const void *key, size_t key_len, const void *value,
                     size_t value_len, unsigned flags);
int __wrap_store_put(struct store_txn *t, unsigned table, const void *key, size_t key_len, const void *value,
                     size_t value_len, unsigned flags)
{
    int rc = __real_store_put(t, table, key, key_len, value, value_len, flags);
    step();
    return rc;
}

int __real_store_delete(struct store_txn *t, unsigned table, const void *key, size_t key_len);
int __wrap_store_delete(struct store_txn *t, unsigned table, const void *key, size_t key_len);
int __wrap_store_delete(struct store_txn *t, unsigned table, const void *key, size_t key_len)
{
    int rc = __real_store_delete(t, table, key, key_len);
    step();
    return rc;
}

int __real_store_commit(struct store_txn *t);
int __wrap_store_commit(struct store_txn *t);
int __wrap_store_commit(struct store_txn *t)
{
    step();
    int rc = __real_store_commit(t);
    step();
    return rc;
}

int __real_redo_append(struct redo *r, const struct redo_frame *frame);
int __wrap_redo_append(struct redo *r, const struct redo_frame *frame);
int __wrap_redo_append(struct redo *r, const struct redo_frame *frame)
{
    step();
    int rc = __real_redo_append(r, frame);
    step();
    return rc;
}

void __real_redo_restart(struct redo *r);
void __wrap_redo_restart(struct redo *r);
void __wrap_redo_restart(struct redo *r)
{
    step();
    __real_redo_restart(r);
    step();
}

/* ---- the child */

static int report_fd;

static int on_seal(void *data, struct journal_write *w, uint64_t through)
{
    (void)data;
    step();
    return journal_write_put(w, JOURNAL_DEDUPE, "through", 7, &through, sizeof through);
}

static void append_some(struct commit *c)
{
    uint8_t event[EVENT_MAX];
    uint64_t sequence;
    for (unsigned i = 0; i < N_RECORDS; i++) {
        uint64_t n = c->newest + 1;
        if (commit_append(c, event, event_write(event, n, 100), n * 1000, 1, &sequence))
            abort();
    }
}

static void on_committed(void *data, uint64_t from, uint64_t through)
{
    struct commit *c = data;
    (void)from;
    step();
    if (write(report_fd, &through, sizeof through) != sizeof through)
        abort();
    step();
    if (c->n_commits % 3 == 0) /* the next one goes to the store */
        commit_poke(c);
    if (c->n_commits < N_COMMITS)
        append_some(c);
    else
        commit_close(c, NULL);
}

static void on_failed(void *data, int error)
{
    (void)data, (void)error;
    abort();
}

static void on_room(void *data)
{
    (void)data;
}

static void child(const struct log_directory *directory, unsigned n)
{
    static const struct commit_ops ops = {on_seal, on_committed, on_failed, on_room};
    static const struct retention_limits retention = {.max_records = 2 * N_RECORDS};
    static struct commit commit;
    struct journal journal;
    uv_loop_t loop;

    log_open(&journal, directory, 16 * MIB, 0);
    uv_loop_init(&loop);
    if (commit_init(&commit, &loop, &journal, &retention, &ops, &commit))
        abort();
    steps_left = n;
    append_some(&commit);
    uv_run(&loop, UV_RUN_DEFAULT);
    _exit(0);
}

/* ---- the parent */

static int on_through(void *data, const struct store_value *key, const struct store_value *value)
{
    cr_assert(key->len == 7 && value->len == sizeof(uint64_t));
    memcpy(data, value->data, sizeof(uint64_t));
    return 0;
}

static void check_what_is_left(const struct log_directory *directory, uint64_t told)
{
    struct journal j;
    struct journal_run run;
    uint64_t at, through = 0;

    log_open(&j, directory, 16 * MIB, 0);
    cr_assert_geq(j.newest, told, "told %" PRIu64 ", there are %" PRIu64, told, j.newest);
    cr_assert_leq(j.newest, told + N_RECORDS);
    cr_assert_eq(j.newest % N_RECORDS, 0, "a transaction is there as a whole or not at all");
    for (at = j.oldest; at <= j.newest;) {
        cr_assert_eq(journal_read(&j, at, UINT64_MAX, SIZE_MAX, &run), JOURNAL_RUN);
        run_check(&run, at, run.last);
        at = run.last + 1;
        journal_run_release(&run);
    }
    cr_assert_eq(at, j.newest + 1);
    cr_assert_eq(journal_each(&j, JOURNAL_DEDUPE, on_through, &through), 0);
    cr_assert_eq(through, j.newest, "the tables and the log agree");
    journal_close(&j);
}

/* Returns true when the child ended by itself. */
static bool run_and_kill_at(unsigned n)
{
    struct log_directory directory;
    uint64_t told = 0, report;
    int fds[2], status;

    log_directory_make(&directory);
    cr_assert_eq(pipe(fds), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        close(fds[0]);
        report_fd = fds[1];
        child(&directory, n);
    }
    close(fds[1]);
    while (read(fds[0], &report, sizeof report) == sizeof report)
        told = report;
    close(fds[0]);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    bool survived = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    cr_assert(survived || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL), "status %x", status);
    check_what_is_left(&directory, told);
    log_directory_remove(&directory);
    return survived;
}

Test(commit_kill, nothing_told_is_lost_at_any_step)
{
    unsigned n = 1;
    while (!run_and_kill_at(n))
        n++;
    cr_assert_gt(n, N_COMMITS * 6, "only %u steps were tried", n);
}
