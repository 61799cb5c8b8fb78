/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions that are in the write-ahead log and not in the store: nobody sees a difference. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "broker/engine/journal.h"
#include "tests/lib/chance.h"
#include "tests/lib/failing_alloc.h"
#include "tests/unit/broker/engine/log_directory.h"

#define MIB (1024u * 1024)
#define ALL UINT64_MAX

static struct log_directory directory, copy;
static struct journal j;
static struct chance chance;

static void setup(void)
{
    chance = chance_from(chance_seed());
    log_directory_make(&directory);
    log_directory_make(&copy);
    log_open(&j, &directory, 64 * MIB, 0);
}

static void teardown(void)
{
    journal_close(&j);
    log_directory_remove(&directory);
    log_directory_remove(&copy);
}

TestSuite(journal_ahead, .init = setup, .fini = teardown);

/* What the next flush of the write-ahead log fails with, and the next commit of the store although it is on disk. */
static int flush_error, commit_error;
static unsigned n_flushes; /* of the write-ahead log */

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
    int error = flush_error;
    flush_error = 0;
    n_flushes++;
    int rc = __real_fdatasync(fd);
    errno = error ? error : errno;
    return error ? -1 : rc;
}

int __real_store_commit(struct store_txn *t);
int __wrap_store_commit(struct store_txn *t);
int __wrap_store_commit(struct store_txn *t)
{
    int error = commit_error;
    commit_error = 0;
    int rc = __real_store_commit(t);
    return error ? error : rc;
}

/* A transaction of records first..last, with puts that say so. */
static void fill(struct journal_write *w, struct journal_batch *b, uint64_t first, uint64_t last, size_t padding)
{
    char key[16];

    *b = (struct journal_batch){0};
    *w = (struct journal_write){.batches = b, .n_batches = 1, .status_through = last};
    batch_fill(b, first, last, padding);
    cr_assert_eq(journal_write_put(w, JOURNAL_DEDUPE, "through", 7, &last, sizeof last), 0);
    snprintf(key, sizeof key, "k%" PRIu64, last % 5);
    cr_assert_eq(journal_write_put(w, JOURNAL_CURSORS, key, strlen(key), last % 3 ? &last : NULL, sizeof last), 0);
}

static bool commit(uint64_t first, uint64_t last, size_t padding, bool checkpoint)
{
    struct journal_batch b;
    struct journal_write w;

    fill(&w, &b, first, last, padding);
    w.checkpoint = checkpoint;
    cr_assert_eq(journal_write(&j, &w), 0);
    bool in_store = w.in_store;
    journal_publish(&j, &w);
    journal_write_deinit(&w);
    journal_batch_deinit(&b);
    return in_store;
}

static void expect_all(struct journal *log, uint64_t newest)
{
    cr_assert_eq(log->newest, newest);
    for (uint64_t at = log->oldest; at <= newest;) {
        struct journal_run run;
        cr_assert_eq(journal_read(log, at, ALL, SIZE_MAX, &run), JOURNAL_RUN, "record %" PRIu64, at);
        run_check(&run, at, run.last);
        at = run.last + 1;
        journal_run_release(&run);
    }
}

static int on_through(void *data, const struct store_value *key, const struct store_value *value)
{
    cr_assert(key->len == 7 && value->len == sizeof(uint64_t));
    memcpy(data, value->data, sizeof(uint64_t));
    return 0;
}

/* The cursors, as one line. */
static int on_cursor(void *data, const struct store_value *key, const struct store_value *value)
{
    char *text = data;
    uint64_t n;
    memcpy(&n, value->data, sizeof n);
    snprintf(text + strlen(text), 512 - strlen(text), "%.*s=%" PRIu64 " ", (int)key->len, (const char *)key->data, n);
    return 0;
}

static void copy_file(const char *name)
{
    char command[512];
    snprintf(command, sizeof command, "test ! -e %s/%s || cp %s/%s %s/", directory.path, name, directory.path, name,
             copy.path);
    cr_assert_eq(system(command), 0); /* NOLINT: names of our own */
}

/* As kill -9 would leave it, opened. */
static void open_killed(struct journal *log, uint64_t tail_bytes)
{
    copy_file("data.mdb");
    copy_file("redo");
    log_open(log, &copy, 64 * MIB, tail_bytes);
}

Test(journal_ahead, a_small_commit_does_not_touch_the_store)
{
    cr_assert(!commit(1, 5, 10, false));
    cr_assert(journal_has_pending(&j));
    cr_assert_eq(j.stored, 0);
    expect_all(&j, 5);
    cr_assert(commit(6, 6, 10, true));
    cr_assert(!journal_has_pending(&j));
    cr_assert_eq(j.stored, 6);
    expect_all(&j, 6);
}

Test(journal_ahead, is_there_after_a_kill_with_its_tables)
{
    struct journal killed;
    uint64_t through = 0;
    char before[512] = "", after[512] = "";
    commit(1, 5, 10, true);
    commit(6, 9, 10, false);
    commit(10, 17, 10, false);
    open_killed(&killed, 0);
    expect_all(&killed, 17);
    cr_assert_eq(killed.oldest, 1);
    cr_assert_eq(killed.newest_time_ns, 17000);
    cr_assert_eq(killed.status_through, 17);
    cr_assert_eq(journal_each(&killed, JOURNAL_DEDUPE, on_through, &through), 0);
    cr_assert_eq(through, 17);
    cr_assert_eq(journal_each(&killed, JOURNAL_CURSORS, on_cursor, before), 0);
    journal_close(&killed);
    log_open(&killed, &copy, 64 * MIB, 0);
    cr_assert(!journal_has_pending(&killed), "closing brought it into the store");
    expect_all(&killed, 17);
    cr_assert_eq(journal_each(&killed, JOURNAL_CURSORS, on_cursor, after), 0);
    cr_assert_str_eq(before, after);
    journal_close(&killed);
}

/* A tail with hardly any room keeps what is nowhere else. */
Test(journal_ahead, readers_find_everything_however_small_the_tail_is)
{
    journal_close(&j);
    log_open(&j, &directory, 64 * MIB, 1);
    uint64_t next = 1;
    for (int i = 0; i < 300; i++) {
        uint64_t last = next + chance_below64(&chance, 9);
        commit(next, last, chance_below64(&chance, 250), chance_below64(&chance, 40) == 0);
        next = last + 1;
        if (i % 20 == 0)
            expect_all(&j, next - 1);
    }
    expect_all(&j, next - 1);
    for (uint64_t at = 1; at < next; at += 1 + chance_below64(&chance, 50)) {
        uint64_t found;
        cr_assert_eq(journal_find_time(&j, at * 1000, &found), 0);
        cr_assert_eq(found, at);
        cr_assert_eq(journal_find_time(&j, at * 1000 - 1, &found), 0);
        cr_assert_eq(found, at);
    }
    uint64_t found;
    cr_assert_eq(journal_find_time(&j, next * 1000, &found), 0);
    cr_assert_eq(found, next);
}

Test(journal_ahead, what_it_has_no_room_for_goes_to_the_store_with_the_rest)
{
    uint64_t next = 1;
    bool seen = false;
    for (int i = 0; i < 3000 && !seen; i++, next++)
        seen = commit(next, next, 250, false);
    cr_assert(seen);
    cr_assert(!journal_has_pending(&j));
    cr_assert(!commit(next, next, 10, false), "there is room again");
    expect_all(&j, next);
}

Test(journal_ahead, any_history_is_the_same_after_a_kill)
{
    for (int round = 0; round < 20; round++) {
        struct journal killed;
        char here[512] = "", there[512] = "";
        uint64_t next = j.newest + 1;
        for (uint64_t i = 0, n = chance_below64(&chance, 30); i < n; i++) {
            uint64_t last = next + chance_below64(&chance, 40);
            commit(next, last, chance_below64(&chance, 250), chance_below64(&chance, 12) == 0);
            next = last + 1;
        }
        open_killed(&killed, 1);
        expect_all(&killed, next - 1);
        cr_assert_eq(killed.log_bytes, j.log_bytes);
        cr_assert_eq(journal_each(&killed, JOURNAL_CURSORS, on_cursor, there), 0);
        journal_close(&j);
        log_open(&j, &directory, 64 * MIB, 0);
        cr_assert_eq(journal_each(&j, JOURNAL_CURSORS, on_cursor, here), 0);
        cr_assert_str_eq(here, there);
        journal_close(&killed);
    }
}

/* Killed now, the log has what was acknowledged, and the transaction under way whole or not at all. */
static void expect_killed(uint64_t acknowledged, uint64_t under_way)
{
    struct journal killed;
    open_killed(&killed, 1);
    cr_assert(killed.newest == acknowledged || killed.newest == under_way, "%" PRIu64 ", not %" PRIu64 " or %" PRIu64,
              killed.newest, acknowledged, under_way);
    expect_all(&killed, killed.newest);
    journal_close(&killed);
}

Test(journal_ahead, large_ones_and_small_ones_keep_their_order_whatever_fails)
{
    for (uint64_t i = 0, first = 1; i < 40; i++) {
        struct journal_batch b;
        struct journal_write w;
        bool is_large = chance_below64(&chance, 3) == 0;
        uint64_t last = first + (is_large ? 400 + chance_below64(&chance, 300) : chance_below64(&chance, 9));
        fill(&w, &b, first, last, 250);
        flush_error = !is_large && chance_below64(&chance, 4) == 0 ? EIO : 0;
        commit_error = (is_large || flush_error) && chance_below64(&chance, 3) == 0 ? UV_EIO : 0;
        int rc = journal_write(&j, &w);
        if (i % 4 == 0 || rc)
            expect_killed(first - 1, last);
        if (rc)
            cr_assert_eq(rc = journal_write(&j, &w), 0);
        cr_assert(!is_large || w.in_store);
        if (i % 4 == 1)
            expect_killed(last, last);
        journal_publish(&j, &w);
        expect_all(&j, last);
        journal_write_deinit(&w);
        journal_batch_deinit(&b);
        first = last + 1;
    }
    expect_killed(j.newest, j.newest);
}

static void damage_redo(long offset)
{
    char path[160];
    snprintf(path, sizeof path, "%s/redo", copy.path);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, "\xff\xff\xff\xff", 4, offset), 4);
    close(fd);
}

/* Records in the middle are lost: their numbers are not used again, and readers are told. */
Test(journal_ahead, damage_is_a_hole_and_no_silence)
{
    struct journal killed;
    struct journal_run run;
    commit(1, 5, 10, true);
    commit(6, 9, 10, false);
    long at = (long)j.redo.end;
    commit(10, 17, 10, false);
    commit(18, 20, 10, false);
    copy_file("data.mdb");
    copy_file("redo");
    damage_redo(at + 30);
    log_open(&killed, &copy, 64 * MIB, 0);
    cr_assert_eq(killed.newest, 20);
    cr_assert_eq(killed.status_through, 9, "rows of the status are lost, too: it is folded again from there on");
    cr_assert_eq(journal_read(&killed, 6, ALL, SIZE_MAX, &run), JOURNAL_RUN);
    run_check(&run, 6, 9);
    journal_run_release(&run);
    cr_assert_eq(journal_read(&killed, 10, ALL, SIZE_MAX, &run), JOURNAL_DAMAGED);
    cr_assert_eq(run.first, 10);
    cr_assert_eq(run.last, 17);
    cr_assert_eq(journal_read(&killed, 18, ALL, SIZE_MAX, &run), JOURNAL_RUN);
    run_check(&run, 18, 20);
    journal_run_release(&run);
    journal_close(&killed);
}

Test(journal_ahead, what_is_not_ours_is_refused_by_name)
{
    struct journal killed;
    struct journal_options options = {.directory = copy.path, .map_bytes = 64 * MIB, .new_epoch = 1};
    char err[256] = "";
    commit(1, 5, 10, false);
    copy_file("data.mdb");
    copy_file("redo");
    damage_redo(2);
    cr_assert_eq(journal_open(&killed, &options, err, sizeof err), UV_EIO);
    cr_assert(strstr(err, "redo"), "%s", err);

    copy_file("redo");
    journal_close(&j); /* the store has the records now, and the frames are an old copy's */
    log_open(&j, &directory, 64 * MIB, 0);
    commit(6, 6, 10, true);
    copy_file("data.mdb");
    log_open(&killed, &copy, 64 * MIB, 0);
    expect_all(&killed, 6);
    journal_close(&killed);
}

Test(journal_ahead, what_is_no_file_is_named)
{
    struct journal other;
    char path[160];
    commit(1, 5, 10, true);
    copy_file("data.mdb");
    snprintf(path, sizeof path, "%s/redo", copy.path);
    for (int i = 0; i < 4; i++) {
        struct journal_options options = {
            .directory = copy.path, .map_bytes = 64 * MIB, .new_epoch = 1, .relaxed = i % 2 == 1};
        char err[256] = "";
        cr_assert_eq(i < 2 ? mkdir(path, 0700) : mkfifo(path, 0600), 0);
        cr_assert_lt(journal_open(&other, &options, err, sizeof err), 0);
        cr_assert(strstr(err, "redo"), "%s", err);
        cr_assert_eq(i < 2 ? rmdir(path) : unlink(path), 0);
    }
}

/* Somebody moved the file away: the numbers of what was in it are not used again. */
Test(journal_ahead, without_its_file_no_number_is_used_again)
{
    struct journal killed;
    struct journal_run run;
    commit(1, 5, 10, true);
    commit(6, 9, 10, false);
    copy_file("data.mdb");
    log_open(&killed, &copy, 64 * MIB, 0);
    cr_assert_gt(killed.newest, 9);
    cr_assert_eq(killed.stored, killed.newest);
    cr_assert_eq(journal_read(&killed, 1, ALL, SIZE_MAX, &run), JOURNAL_RUN);
    run_check(&run, 1, 5);
    journal_run_release(&run);
    cr_assert_eq(journal_read(&killed, 6, ALL, SIZE_MAX, &run), JOURNAL_DAMAGED);
    cr_assert_eq(run.first, 6);
    cr_assert_eq(run.last, killed.newest);
    uint64_t newest = killed.newest;
    journal_close(&killed);
    log_open(&killed, &copy, 64 * MIB, 0);
    cr_assert_eq(killed.newest, newest, "once");
    journal_close(&killed);
}

/* … also when the store has nothing yet; and after a close in order nothing is missing. */
Test(journal_ahead, without_its_file_an_empty_log_begins_behind_what_was_lost)
{
    struct journal killed;
    struct journal_run run;
    char path[160];
    commit(1, 5, 10, false);
    copy_file("data.mdb");
    log_open(&killed, &copy, 64 * MIB, 0);
    cr_assert_gt(killed.newest, 5);
    cr_assert_eq(killed.oldest, killed.newest + 1);
    cr_assert_eq(journal_read(&killed, 1, ALL, SIZE_MAX, &run), JOURNAL_TRIMMED);
    journal_close(&killed);
    journal_close(&j);
    snprintf(path, sizeof path, "%s/redo", directory.path);
    cr_assert_eq(unlink(path), 0);
    log_open(&j, &directory, 64 * MIB, 0);
    expect_all(&j, 5);
}

static uint64_t through_of(struct journal *log)
{
    uint64_t through = 0;
    cr_assert_eq(journal_each(log, JOURNAL_DEDUPE, on_through, &through), 0);
    return through;
}

/* The same transaction must not be in the store and, with a number that is new, in the write-ahead log. */
Test(journal_ahead, what_the_store_took_and_said_it_had_not_is_not_taken_for_another_copy)
{
    struct journal killed;
    struct journal_batch b;
    struct journal_write w;
    commit(1, 5, 10, false);
    fill(&w, &b, 6, 9, 10);
    flush_error = ENOSPC;
    commit_error = UV_EIO;
    cr_assert_eq(journal_write(&j, &w), UV_EIO);
    cr_assert_eq(journal_write(&j, &w), 0, "tried again");
    journal_publish(&j, &w);
    journal_write_deinit(&w);
    journal_batch_deinit(&b);
    expect_all(&j, 9);
    open_killed(&killed, 0);
    expect_all(&killed, 9);
    cr_assert_eq(through_of(&killed), 9);
    journal_close(&killed);
}

/* … and what waited in front of it is not put over it. */
Test(journal_ahead, what_the_store_took_already_is_not_put_again_over_what_is_newer)
{
    struct journal_batch b;
    struct journal_write w;
    commit(1, 5, 10, false);
    fill(&w, &b, 6, 9, 10);
    w.checkpoint = true;
    commit_error = UV_EIO;
    cr_assert_eq(journal_write(&j, &w), UV_EIO);
    journal_write_deinit(&w);
    journal_batch_deinit(&b);
    journal_close(&j);
    log_open(&j, &directory, 64 * MIB, 0);
    expect_all(&j, 9);
    cr_assert_eq(through_of(&j), 9);
    cr_assert_eq(j.status_through, 9, "and what is folded into the status is not folded again");
}

/* Whatever ails the file: the store can do without it. */
Test(journal_ahead, what_cannot_be_written_ahead_goes_to_the_store)
{
    static const int errors[] = {ENOSPC, EDQUOT, EFBIG, EIO};
    uint64_t n = 1;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++, n += 2) {
        struct journal killed;
        cr_assert(!commit(n, n, 10, false));
        flush_error = errors[i];
        cr_assert_eq(j.ahead_error, 0);
        cr_assert(commit(n + 1, n + 1, 10, false), "%s", strerror(errors[i]));
        cr_assert_eq(j.ahead_error, errors[i] == EDQUOT ? UV_ENOSPC : -errors[i], "it is told");
        cr_assert(!journal_has_pending(&j));
        open_killed(&killed, 0);
        expect_all(&killed, n + 1);
        cr_assert_eq(through_of(&killed), n + 1);
        journal_close(&killed);
    }
}

/* The store takes away the marker that says the files are not flushed. */
Test(journal_ahead, what_stays_in_it_when_a_relaxed_log_is_closed_is_flushed)
{
    struct journal_options options = {
        .directory = copy.path, .map_bytes = 64 * MIB, .relaxed = true, .new_epoch = 0x5e45eb05};
    char err[256] = "";
    journal_close(&j);
    cr_assert_eq(journal_open(&j, &options, err, sizeof err), 0, "%s", err);
    n_flushes = 0;
    commit(1, 5, 10, false);
    cr_assert_eq(n_flushes, 0);
    commit_error = UV_ENOSPC;
    journal_close(&j);
    cr_assert_eq(n_flushes, 1);
    log_open(&j, &copy, 64 * MIB, 0);
    expect_all(&j, 5);
}

/* Whatever allocation fails: a write can be done again, and an opening too. */
Test(journal_ahead, without_memory_it_is_tried_again)
{
    struct journal killed;
    struct journal_batch b;
    struct journal_write w;
    uint64_t next = 1;
    bool failed = true;
    for (unsigned n = 0; failed; n++, next += 3) {
        fill(&w, &b, next, next + 2, 10);
        failing_alloc_after(n);
        int rc = journal_write(&j, &w);
        failed = failing_alloc_stop();
        cr_assert(rc == 0 || (failed && rc == UV_ENOMEM), "%d", rc);
        if (rc)
            cr_assert_eq(journal_write(&j, &w), 0);
        journal_publish(&j, &w);
        journal_write_deinit(&w);
        journal_batch_deinit(&b);
        expect_all(&j, next + 2);
    }
    commit(next, next, 10, false);
    copy_file("data.mdb");
    copy_file("redo");
    failed = true;
    for (unsigned n = 0; failed; n++) {
        struct journal_options options = {.directory = copy.path, .map_bytes = 64 * MIB, .new_epoch = 1};
        char err[256] = "";
        uint64_t through = 0;
        failing_alloc_after(n);
        int rc = journal_open(&killed, &options, err, sizeof err);
        if (!rc)
            rc = journal_each(&killed, JOURNAL_DEDUPE, on_through, &through);
        failed = failing_alloc_stop();
        cr_assert(rc == 0 || (failed && rc == UV_ENOMEM && (!killed.is_open || through == 0)), "%u: %d %s", n, rc, err);
        if (!rc)
            expect_all(&killed, next);
        journal_close(&killed);
    }
}
