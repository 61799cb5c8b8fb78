/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/journal.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "tests/lib/chance.h"
#include "tests/unit/broker/engine/log_directory.h"

#define MIB (1024u * 1024)
#define ALL UINT64_MAX

static struct log_directory directory;
static struct journal j;

static void setup(void)
{
    log_directory_make(&directory);
    log_open(&j, &directory, 64 * MIB, 0);
}

static void teardown(void)
{
    journal_close(&j);
    log_directory_remove(&directory);
}

TestSuite(journal, .init = setup, .fini = teardown);

static void reopen(uint64_t tail_bytes)
{
    journal_close(&j);
    log_open(&j, &directory, 64 * MIB, tail_bytes);
}

/* One commit of records first..last. */
static struct journal_write commit_kept(uint64_t first, uint64_t last, size_t padding,
                                        const struct retention_limits *retention)
{
    struct journal_batch b = {0};
    struct journal_write w = {.checkpoint = true, .batches = &b, .n_batches = 1};
    if (retention)
        w.retention = *retention;
    batch_fill(&b, first, last, padding);
    cr_assert_eq(journal_write(&j, &w), 0);
    journal_publish(&j, &w);
    journal_batch_deinit(&b);
    return w;
}

static void commit(uint64_t first, uint64_t last)
{
    commit_kept(first, last, 0, NULL);
}

static void expect_run(uint64_t from, uint64_t through, size_t max_bytes, uint64_t last)
{
    struct journal_run run;
    cr_assert_eq(journal_read(&j, from, through, max_bytes, &run), JOURNAL_RUN);
    run_check(&run, from, last);
    journal_run_release(&run);
}

Test(journal, new_log_is_empty_and_has_its_epoch)
{
    struct journal_run run;
    cr_assert_eq(j.epoch, 0x5e45eb05);
    cr_assert_eq(j.newest, 0);
    cr_assert_eq(j.oldest, 1);
    cr_assert_eq(journal_read(&j, 1, ALL, 1000, &run), JOURNAL_CAUGHT_UP);
}

Test(journal, records_are_read_as_written_from_memory_and_from_disk)
{
    commit(1, 10);
    commit(11, 11);
    commit(12, 40);
    for (int from_disk = 0; from_disk < 2; from_disk++) {
        /* From disk, small values are read as one. */
        expect_run(1, ALL, SIZE_MAX, from_disk ? 40 : 10);
        expect_run(4, ALL, SIZE_MAX, from_disk ? 40 : 10);
        expect_run(10, ALL, SIZE_MAX, from_disk ? 40 : 10);
        expect_run(11, ALL, SIZE_MAX, from_disk ? 40 : 11);
        expect_run(12, ALL, SIZE_MAX, 40);
        expect_run(40, ALL, SIZE_MAX, 40);
        reopen(0);
        cr_assert_eq(j.newest, 40);
        cr_assert_eq(j.oldest, 1);
        cr_assert_eq(j.newest_time_ns, 40000);
    }
}

Test(journal, run_keeps_within_its_bounds_but_has_at_least_one_record)
{
    struct journal_run run;
    commit(1, 100);
    expect_run(1, ALL, 1, 1);
    expect_run(5, 7, SIZE_MAX, 7);
    expect_run(5, 5, SIZE_MAX, 5);
    cr_assert_eq(journal_read(&j, 1, ALL, 1000, &run), JOURNAL_RUN);
    cr_assert(run.len <= 1000 && run.len > 900);
    cr_assert_gt(run.last, 1);
    journal_run_release(&run);
}

/* The same question is answered from what was read before: not another one. */
Test(journal, readers_in_step_get_the_same_run)
{
    struct journal_run one, two;
    commit(1, 100);
    for (int i = 0; i < 2; i++) {
        expect_run(5, ALL, 1, 5);
        expect_run(5, 7, SIZE_MAX, 7);
        expect_run(5, 9, SIZE_MAX, 9);
        expect_run(5, ALL, SIZE_MAX, 100);
        expect_run(8, ALL, SIZE_MAX, 100);
        expect_run(5, 5, SIZE_MAX, 5);
    }
    cr_assert_eq(journal_read(&j, 1, ALL, 1000, &one), JOURNAL_RUN);
    cr_assert_eq(journal_read(&j, 1, 99, 1000, &two), JOURNAL_RUN);
    cr_assert_eq(one.bytes, two.bytes);
    cr_assert_eq(one.last, two.last);
    journal_run_release(&two);
    expect_run(one.last + 1, 100, SIZE_MAX, 100);
    journal_run_release(&one);
}

Test(journal, small_values_are_read_from_disk_together)
{
    struct journal_run run;
    uint64_t sequence = 1, n_runs = 0;
    for (uint64_t n = 1; n <= 2000; n++)
        commit(n, n);
    reopen(0);
    cr_assert_eq(journal_read_around(&j, 7, &run), JOURNAL_RUN);
    cr_assert_eq(run.first, 7, "whoever reads backwards does not read ahead");
    cr_assert_eq(run.last, 7);
    journal_run_release(&run);
    for (; sequence <= 2000; n_runs++) {
        cr_assert_eq(journal_read(&j, sequence, ALL, 65536, &run), JOURNAL_RUN);
        cr_assert_leq(run.len, 65536);
        run_check(&run, sequence, run.last);
        sequence = run.last + 1;
        journal_run_release(&run);
    }
    cr_assert_lt(n_runs, 20);
    cr_assert_eq(journal_read_around(&j, 300, &run), JOURNAL_RUN);
    cr_assert_eq(run.last, 300, "not what lies behind");
    journal_run_release(&run);
}

Test(journal, unpublished_records_are_not_readable)
{
    struct journal_batch b = {0};
    struct journal_write w = {.checkpoint = true, .batches = &b, .n_batches = 1};
    struct journal_run run;
    commit(1, 5);
    batch_fill(&b, 6, 9, 0);
    cr_assert_eq(journal_write(&j, &w), 0);
    cr_assert_eq(journal_read(&j, 6, ALL, 1000, &run), JOURNAL_CAUGHT_UP);
    journal_publish(&j, &w);
    journal_batch_deinit(&b);
    expect_run(6, ALL, SIZE_MAX, 9);
}

Test(journal, full_batch_says_so_and_one_write_takes_many)
{
    struct journal_batch b[3] = {0};
    struct journal_write w = {.checkpoint = true, .batches = b, .n_batches = 0};
    uint8_t event[EVENT_MAX];
    uint64_t n = 1;
    while (w.n_batches < 3) {
        int rc = UV_ENOBUFS;
        if (w.n_batches > 0)
            rc = journal_batch_append(&b[w.n_batches - 1], event, event_write(event, n, 250), n, n * 1000, 0);
        if (rc == UV_ENOBUFS) {
            w.n_batches++;
            continue;
        }
        cr_assert_eq(rc, 0);
        cr_assert_leq(b[w.n_batches - 1].chunk->len, JOURNAL_HEADER_BYTES + JOURNAL_BATCH_BYTES);
        n++;
    }
    w.n_batches = 2;
    cr_assert_eq(journal_write(&j, &w), 0);
    journal_publish(&j, &w);
    cr_assert_eq(j.newest, n - 1);
    uint64_t end_of_first = b[0].last;
    for (int i = 0; i < 3; i++)
        journal_batch_deinit(&b[i]);
    reopen(0);
    expect_run(1, ALL, SIZE_MAX, end_of_first);
    expect_run(end_of_first + 1, ALL, SIZE_MAX, n - 1);
}

Test(journal, readers_keep_what_they_read_when_the_tail_moves_on)
{
    struct journal_run run;
    reopen(1);
    commit(1, 5);
    cr_assert_eq(journal_read(&j, 1, ALL, SIZE_MAX, &run), JOURNAL_RUN);
    for (uint64_t n = 6; n < 200; n++)
        commit(n, n);
    cr_assert_leq(j.tail.n, 1);
    run_check(&run, 1, 5);
    journal_run_release(&run);
    for (uint64_t n = 199; n > 5; n--)
        expect_run(n, n, SIZE_MAX, n);
    expect_run(3, 5, SIZE_MAX, 5);
}

static int on_only_pair(void *data, const struct store_value *key, const struct store_value *value)
{
    unsigned *n = data;
    cr_assert(key->len == 1 && memcmp(key->data, "a", 1) == 0);
    cr_assert(value->len == 3 && memcmp(value->data, "two", 3) == 0);
    ++*n;
    return 0;
}

Test(journal, puts_and_records_are_one_transaction)
{
    struct journal_batch b = {0};
    struct journal_write w = {.checkpoint = true, .batches = &b, .n_batches = 1, .status_through = 3};
    batch_fill(&b, 1, 3, 0);
    cr_assert_eq(journal_write_put(&w, JOURNAL_CURSORS, "a", 1, "one", 3), 0);
    cr_assert_eq(journal_write_put(&w, JOURNAL_CURSORS, "a", 1, "two", 3), 0);
    cr_assert_eq(journal_write_put(&w, JOURNAL_CURSORS, "b", 1, "gone", 4), 0);
    cr_assert_eq(journal_write_put(&w, JOURNAL_CURSORS, "b", 1, NULL, 0), 0);
    cr_assert_eq(journal_write_put(&w, JOURNAL_CURSORS, "never", 5, NULL, 0), 0);
    cr_assert_eq(journal_write(&j, &w), 0);
    journal_publish(&j, &w);
    journal_write_deinit(&w);
    journal_batch_deinit(&b);
    reopen(0);
    cr_assert_eq(j.status_through, 3);
    unsigned n = 0;
    cr_assert_eq(journal_each(&j, JOURNAL_CURSORS, on_only_pair, &n), 0);
    cr_assert_eq(n, 1);
}

/* Overwrite byte `at` of what a table stores under `key`, or move it to `new_key`. */
static void damage_pair(unsigned table, const char *key, size_t at, const char *new_key)
{
    struct store_txn t;
    struct store_value value;
    uint8_t bytes[256];
    cr_assert_eq(store_begin(&j.store, true, &t), 0);
    cr_assert_eq(store_get(&t, table, key, strlen(key), &value), 0);
    size_t len = value.len;
    cr_assert_leq(len, sizeof bytes);
    memcpy(bytes, value.data, len);
    if (new_key)
        cr_assert_eq(store_delete(&t, table, key, strlen(key)), 0);
    else
        bytes[at % len] ^= 0x10;
    const char *to = new_key ? new_key : key;
    cr_assert_eq(store_put(&t, table, to, strlen(to), bytes, len, 0), 0);
    cr_assert_eq(store_commit(&t), 0);
}

Test(journal, damaged_pair_is_left_out_and_counted)
{
    struct journal_write w = {.checkpoint = true};
    cr_assert_eq(journal_write_put(&w, JOURNAL_CURSORS, "a", 1, "two", 3), 0);
    cr_assert_eq(journal_write_put(&w, JOURNAL_CURSORS, "b", 1, "three", 5), 0);
    cr_assert_eq(journal_write(&j, &w), 0);
    journal_publish(&j, &w);
    journal_write_deinit(&w);
    damage_pair(j.tables[JOURNAL_CURSORS], "b", 0, "c");
    for (size_t at = 0; at < 7; at++) {
        unsigned n = 0;
        damage_pair(j.tables[JOURNAL_CURSORS], "a", at, NULL);
        cr_assert_eq(journal_each(&j, JOURNAL_CURSORS, on_only_pair, &n), 0);
        cr_assert_eq(n, 0, "byte %zu, or a value that moved to another key, passed", at);
        damage_pair(j.tables[JOURNAL_CURSORS], "a", at, NULL);
        cr_assert_eq(journal_each(&j, JOURNAL_CURSORS, on_only_pair, &n), 0);
        cr_assert_eq(n, 1);
    }
    cr_assert_eq(j.n_damaged_pairs, 21);
}

/* Numbers that the broker would count on from: it does not start with them. */
Test(journal, damaged_description_is_refused)
{
    struct journal_options options = {.directory = directory.path, .map_bytes = 64 * MIB, .new_epoch = 1};
    struct journal other;
    char err[256];
    commit(1, 5);
    const char *const keys[] = {"state", "epoch"};
    for (size_t i = 0; i < 2; i++) {
        damage_pair(j.meta_table, keys[i], 3, NULL);
        journal_close(&j);
        cr_assert_eq(journal_open(&other, &options, err, sizeof err), UV_EIO);
        cr_assert_not_null(strstr(err, "description"), "%s", err);
        options.new_epoch = 1;
        struct store_options raw = {.directory = directory.path, .map_bytes = 64 * MIB, .n_tables = 2};
        cr_assert_eq(store_open(&j.store, &raw), 0);
        cr_assert_eq(store_table(&j.store, "log", STORE_INTEGER_KEYS, &j.log_table), 0);
        cr_assert_eq(store_table(&j.store, "meta", 0, &j.meta_table), 0);
        damage_pair(j.meta_table, keys[i], 3, NULL);
        store_close(&j.store);
        log_open(&j, &directory, 64 * MIB, 0);
        cr_assert_eq(j.newest, 5);
    }
}

/* Put what is stored at `first` at `other`, as a damaged key would. */
static void move_value(uint64_t first, uint64_t other)
{
    static uint8_t bytes[8192];
    size_t len = log_copy_value(&j, first, bytes, sizeof bytes);
    log_remove_value(&j, first);
    log_put_value(&j, other, bytes, len);
    reopen(0);
}

/* Records that are whole, and stand where others belong: told as damage, never as those. */
Test(journal, value_at_another_place_is_a_damaged_range)
{
    struct journal_run run;
    commit(1, 5);
    commit(6, 8);
    commit(10, 12);
    move_value(6, 7);
    cr_assert_eq(journal_read(&j, 6, ALL, SIZE_MAX, &run), JOURNAL_DAMAGED);
    cr_assert_eq(run.last, 6);
    cr_assert_eq(journal_read(&j, 7, ALL, SIZE_MAX, &run), JOURNAL_DAMAGED);
    cr_assert_eq(run.last, 9);
    expect_run(10, ALL, SIZE_MAX, 12);
}

/* And the records among which it stands are whole. */
Test(journal, value_that_stands_inside_of_another_costs_only_its_own_records)
{
    struct journal_run run;
    commit(1, 5);
    commit(6, 8);
    commit(9, 12);
    move_value(6, 3);
    for (uint64_t from = 1; from <= 5; from++) {
        expect_run(from, ALL, SIZE_MAX, 5);
        reopen(0);
    }
    for (uint64_t at = 6; at <= 8; at++) {
        cr_assert_eq(journal_read(&j, at, ALL, SIZE_MAX, &run), JOURNAL_DAMAGED);
        cr_assert_eq(run.first, at);
        cr_assert_eq(run.last, 8);
        cr_assert_eq(journal_read_around(&j, at, &run), JOURNAL_DAMAGED);
        cr_assert_eq(run.first, 6);
        cr_assert_eq(run.last, 8);
    }
    expect_run(9, ALL, SIZE_MAX, 12);
}

/* Overwrite a byte of the stored value that begins at `first`. */
static void damage(uint64_t first, size_t at)
{
    uint8_t bytes[8192];
    size_t len = log_copy_value(&j, first, bytes, sizeof bytes);
    bytes[at < len ? at : len - 1] ^= 0x10;
    log_put_value(&j, first, bytes, len);
}

Test(journal, any_damaged_byte_is_found_and_only_its_value_is_lost)
{
    commit(1, 5);
    commit(6, 8);
    commit(9, 12);
    const size_t places[] = {0, 4, 8, 12, 16, 24, 60, 8191};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct journal_run run;
        damage(6, places[i]);
        reopen(0);
        cr_assert_eq(journal_read(&j, 7, ALL, SIZE_MAX, &run), JOURNAL_DAMAGED, "byte %zu", places[i]);
        cr_assert_eq(run.first, 7);
        cr_assert_eq(run.last, 8);
        cr_assert_eq(journal_read_around(&j, 8, &run), JOURNAL_DAMAGED);
        cr_assert_eq(run.first, 6, "whoever reads backwards goes over it in one step");
        cr_assert_eq(run.last, 8);
        expect_run(2, ALL, SIZE_MAX, 5);
        expect_run(9, ALL, SIZE_MAX, 12);
        damage(6, places[i]);
        reopen(0);
        expect_run(6, 8, SIZE_MAX, 8);
    }
}

Test(journal, value_that_stands_behind_the_newest_stops_no_commit)
{
    struct journal_run run;
    commit(1, 5);
    commit(6, 8);
    uint64_t log_bytes = j.log_bytes;
    move_value(6, (uint64_t)1 << 40);
    cr_assert_eq(journal_read(&j, 6, ALL, SIZE_MAX, &run), JOURNAL_DAMAGED);
    commit(9, 11);
    cr_assert_eq(j.log_bytes, log_bytes, "as much came as went");
    for (int i = 0; i < 2; i++) {
        expect_run(1, ALL, SIZE_MAX, 5);
        cr_assert_eq(journal_read(&j, 6, ALL, SIZE_MAX, &run), JOURNAL_DAMAGED);
        cr_assert_eq(run.last, 8);
        expect_run(9, ALL, SIZE_MAX, 11);
        reopen(0);
    }
}

Test(journal, the_only_value_may_stand_behind_the_newest)
{
    struct journal_run run;
    commit(1, 5);
    move_value(1, 100);
    cr_assert_eq(j.oldest, 6);
    cr_assert_eq(journal_read(&j, 1, ALL, SIZE_MAX, &run), JOURNAL_TRIMMED);
    cr_assert_eq(journal_read(&j, 6, ALL, SIZE_MAX, &run), JOURNAL_CAUGHT_UP);
    commit(6, 8);
    cr_assert_eq(j.oldest, 6);
    expect_run(6, ALL, SIZE_MAX, 8);
}

/* Transactions that bring no record are written, too. */
static void checkpoint(void)
{
    struct journal_write w = {.checkpoint = true};
    cr_assert_eq(journal_write(&j, &w), 0);
    journal_publish(&j, &w);
}

Test(journal, the_log_never_begins_behind_its_end_or_before_its_first_record)
{
    const uint64_t places[] = {100, 0};
    struct journal_run run;
    commit(1, 5);
    for (size_t i = 0; i < 2; i++) {
        move_value(i ? 6 : 1, places[i]);
        checkpoint();
        cr_assert_eq(j.oldest, i ? 1 : 6);
        commit(j.newest + 1, j.newest + 3);
        cr_assert_eq(j.oldest, i ? 1 : 6);
        expect_run(j.newest - 2, ALL, SIZE_MAX, j.newest);
        if (i == 0)
            continue;
        cr_assert_eq(journal_read_around(&j, 8, &run), JOURNAL_DAMAGED);
        cr_assert_eq(run.first, 1);
        cr_assert_eq(run.last, 8);
    }
}

Test(journal, reading_ahead_stops_at_what_is_damaged)
{
    struct journal_run run;
    commit(1, 5);
    commit(6, 8);
    commit(9, 12);
    commit(13, 14);
    damage(9, 60);
    reopen(0);
    expect_run(1, ALL, SIZE_MAX, 8);
    cr_assert_eq(journal_read(&j, 9, ALL, SIZE_MAX, &run), JOURNAL_DAMAGED);
    cr_assert_eq(run.last, 12);
    expect_run(13, ALL, SIZE_MAX, 14);
}

Test(journal, reading_ahead_takes_what_is_whole_although_another_stands_inside)
{
    commit(1, 5);
    commit(6, 8);
    commit(9, 12);
    move_value(9, 7);
    expect_run(1, ALL, SIZE_MAX, 8);
}

Test(journal, missing_value_is_a_damaged_range_up_to_the_next)
{
    struct journal_run run;
    commit(1, 5);
    commit(6, 8);
    commit(9, 12);
    log_remove_value(&j, 6);
    reopen(0);
    cr_assert_eq(journal_read(&j, 6, ALL, SIZE_MAX, &run), JOURNAL_DAMAGED);
    cr_assert_eq(run.first, 6);
    cr_assert_eq(run.last, 8);
    cr_assert_eq(journal_read_around(&j, 8, &run), JOURNAL_DAMAGED);
    cr_assert_eq(run.first, 6);
}

Test(journal, retention_removes_whole_values_and_keeps_the_newest)
{
    struct retention_limits ten = {.max_records = 10}, one = {.max_records = 1};
    struct journal_run run;
    for (uint64_t n = 1; n <= 50; n += 5)
        commit_kept(n, n + 4, 0, &ten);
    cr_assert_eq(j.oldest, 41);
    cr_assert_eq(j.n_trimmed, 40);
    cr_assert_eq(j.trimmed_bits, 15);
    cr_assert_eq(journal_read(&j, 40, ALL, SIZE_MAX, &run), JOURNAL_TRIMMED);
    expect_run(41, ALL, SIZE_MAX, 45);
    commit_kept(51, 60, 0, &one);
    cr_assert_eq(j.oldest, 51);
    reopen(0);
    cr_assert_eq(j.oldest, 51);
    expect_run(51, ALL, SIZE_MAX, 60);
}

/* A commit may fail although all of it is on disk: when the last flush of its second half fails. */
Test(journal, writing_the_same_again_changes_nothing)
{
    struct journal_batch b[2] = {0};
    struct journal_write w = {.checkpoint = true, .batches = b, .n_batches = 2};
    commit(1, 5);
    batch_fill(&b[0], 6, 8, 0);
    batch_fill(&b[1], 9, 12, 0);
    cr_assert_eq(journal_write_put(&w, JOURNAL_CURSORS, "a", 1, "b", 1), 0);
    cr_assert_eq(journal_write(&j, &w), 0);
    uint64_t log_bytes = w.log_bytes;
    cr_assert_eq(journal_write(&j, &w), 0);
    cr_assert_eq(w.log_bytes, log_bytes);
    journal_publish(&j, &w);
    journal_batch_deinit(&b[0]);
    journal_batch_deinit(&b[1]);
    journal_write_deinit(&w);
    reopen(0);
    expect_run(6, 8, SIZE_MAX, 8);
    expect_run(9, ALL, SIZE_MAX, 12);
    cr_assert_eq(j.newest, 12);
}

/* The broker folds what is committed into the status: it must be there to be folded. */
Test(journal, retention_leaves_what_the_same_transaction_adds)
{
    struct journal_batch b[3] = {0};
    struct journal_write w = {.checkpoint = true, .batches = b, .n_batches = 3, .retention = {.max_records = 1}};
    commit(1, 5);
    for (uint64_t i = 0; i < 3; i++)
        batch_fill(&b[i], 6 + 5 * i, 10 + 5 * i, 0);
    cr_assert_eq(journal_write(&j, &w), 0);
    journal_publish(&j, &w);
    cr_assert_eq(j.oldest, 6);
    for (size_t i = 0; i < 3; i++)
        journal_batch_deinit(&b[i]);
    w.n_batches = 0;
    cr_assert_eq(journal_write(&j, &w), 0);
    journal_publish(&j, &w);
    cr_assert_eq(j.oldest, 16);
}

Test(journal, retention_waits_for_the_status)
{
    struct journal_batch b = {0};
    struct journal_write w = {.checkpoint = true,
                              .batches = &b,
                              .n_batches = 1,
                              .retention = {.max_records = 1},
                              .status_through = 9,
                              .keep_unfolded = true};
    commit(1, 5);
    commit(6, 10);
    commit(11, 15);
    batch_fill(&b, 16, 20, 0);
    cr_assert_eq(journal_write(&j, &w), 0);
    journal_publish(&j, &w);
    cr_assert_eq(j.oldest, 6);
    cr_assert(j.trim_waits);
    journal_batch_deinit(&b);
    w.n_batches = 0;
    w.status_through = 20;
    cr_assert_eq(journal_write(&j, &w), 0);
    journal_publish(&j, &w);
    cr_assert_eq(j.oldest, 16);
    cr_assert_not(j.trim_waits);
}

Test(journal, retention_by_age_uses_broker_time)
{
    struct retention_limits limits = {.max_age_ns = 5000};
    struct journal_write w = {.checkpoint = true, .retention = limits, .now_ns = 15000};
    commit(1, 5);
    commit(6, 12);
    commit(13, 14);
    cr_assert_eq(journal_write(&j, &w), 0);
    journal_publish(&j, &w);
    cr_assert_eq(j.oldest, 6, "records of 6000..12000 are kept because the newest of them is young enough");
    w.now_ns = 1000000;
    cr_assert_eq(journal_write(&j, &w), 0);
    journal_publish(&j, &w);
    cr_assert_eq(j.oldest, 13);
}

Test(journal, retention_by_age_is_not_held_up_by_a_damaged_time)
{
    struct journal_write w = {.checkpoint = true, .retention = {.max_age_ns = 5000}, .now_ns = 15000};
    commit(1, 5);
    commit(6, 12);
    damage(1, 23); /* the highest byte of its newest time */
    cr_assert_eq(journal_write(&j, &w), 0);
    journal_publish(&j, &w);
    cr_assert_eq(j.oldest, 6);
}

Test(journal, trimmed_but_not_published_reads_as_trimmed)
{
    struct retention_limits limits = {.max_records = 2};
    struct journal_write w = {.checkpoint = true, .retention = limits};
    struct journal_run run;
    commit(1, 5);
    commit(6, 7);
    reopen(0);
    cr_assert_eq(journal_write(&j, &w), 0);
    cr_assert_eq(journal_read(&j, 3, ALL, SIZE_MAX, &run), JOURNAL_TRIMMED);
    cr_assert_eq(j.oldest, 6);
}

Test(journal, trimmed_but_not_published_is_found_by_its_time_in_memory)
{
    struct journal_write w = {.checkpoint = true, .retention = {.max_records = 2}};
    uint64_t found;
    commit(1, 5);
    commit(6, 7);
    cr_assert_eq(journal_write(&j, &w), 0);
    cr_assert_eq(journal_find_time(&j, 3000, &found), 0);
    cr_assert_eq(found, 3);
    expect_run(found, ALL, SIZE_MAX, 5);
    journal_publish(&j, &w);
    cr_assert_eq(journal_find_time(&j, 3000, &found), 0);
    cr_assert_eq(found, 6);
}

Test(journal, time_finds_the_first_record_not_before)
{
    uint64_t sequence;
    for (uint64_t n = 1; n <= 100; n += 10)
        commit(n, n + 9);
    const struct {
        uint64_t time, want;
    } cases[] = {{0, 1},      {1, 1},      {1000, 1},     {1001, 2},    {10000, 10},
                 {10001, 11}, {55500, 56}, {100000, 100}, {100001, 101}};
    for (int from_disk = 0; from_disk < 2; from_disk++) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            cr_assert_eq(journal_find_time(&j, cases[i].time, &sequence), 0);
            cr_assert_eq(sequence, cases[i].want, "time %d", (int)cases[i].time);
        }
        reopen(0);
    }
}

static uint64_t find_time(uint64_t time_ns)
{
    uint64_t sequence = 0;
    cr_assert_eq(journal_find_time(&j, time_ns, &sequence), 0);
    return sequence;
}

Test(journal, time_is_found_in_front_of_and_behind_what_is_damaged)
{
    commit(1, 5);
    commit(6, 8);
    commit(9, 12);
    damage(6, 60);
    reopen(0);
    cr_assert_eq(find_time(2000), 2);
    cr_assert_eq(find_time(5000), 5);
    cr_assert_eq(find_time(5001), 6, "whoever asks for it learns that it is lost");
    cr_assert_eq(find_time(9000), 6, "it may have been of the same time as the one behind it");
    cr_assert_eq(find_time(9001), 10, "and was not newer");
    damage(9, 60);
    reopen(0);
    cr_assert_eq(find_time(4000), 4);
    cr_assert_eq(find_time(12000), 6, "nobody knows");
    cr_assert_eq(find_time(12001), 13, "the newest is older");
}

/* What was damaged, at most: key, value, or all of it. */
static void damage_some(struct chance *luck, uint64_t first, uint64_t next)
{
    switch (chance_below(luck, 6)) {
    case 0: damage(first, chance_below(luck, 8192)); break;
    case 1: log_remove_value(&j, first); break;
    case 2:
        if (next > first + 1)
            move_value(first, first + 1 + chance_below64(luck, next - first - 1));
        break;
    default: break;
    }
}

static bool is_readable(uint64_t sequence)
{
    struct journal_run run;
    bool readable = journal_read(&j, sequence, sequence, SIZE_MAX, &run) == JOURNAL_RUN;
    if (readable)
        journal_run_release(&run);
    return readable;
}

/* Nothing of the time asked for is in front of what is found, and what is found too early cannot be read. */
Test(journal, time_is_found_whatever_is_damaged)
{
    const char *given = getenv("SENSEBUS_SEED");
    struct chance luck = chance_from(given ? strtoull(given, NULL, 10) : 1);
    unsigned n_lost = 0;
    for (unsigned round = 0; round < 15; round++) {
        uint64_t begin = j.newest + 1, next[24], first[24];
        for (size_t i = 0; i < 24; i++) {
            first[i] = j.newest + 1;
            next[i] = first[i] + 1 + chance_below64(&luck, 5);
            commit(first[i], next[i] - 1);
        }
        for (size_t i = 1; i < 24; i++)
            damage_some(&luck, first[i], next[i]);
        reopen(0);
        for (uint64_t at = begin; at <= j.newest; at++) {
            uint64_t found = find_time(at * 1000);
            cr_assert_leq(found, at, "round %u", round);
            for (uint64_t n = found; n < at; n++, n_lost++)
                cr_assert(!is_readable(n), "round %u: %" PRIu64 " for %" PRIu64, round, found, at);
        }
    }
    cr_assert_gt(n_lost, 100);
}

Test(journal, time_in_an_empty_log_is_the_next_record)
{
    uint64_t sequence = 0;
    cr_assert_eq(journal_find_time(&j, 1, &sequence), 0);
    cr_assert_eq(sequence, 1);
}

Test(journal, is_open_once)
{
    struct journal other;
    struct journal_options options = {.directory = directory.path, .map_bytes = 64 * MIB, .new_epoch = 1};
    char err[256];
    cr_assert_eq(journal_open(&other, &options, err, sizeof err), UV_EBUSY);
    cr_assert_str_eq(err, "another process has it open");
}

Test(journal, log_of_another_format_is_refused_by_number)
{
    struct store_txn t;
    struct journal_options options = {.directory = directory.path, .map_bytes = 64 * MIB, .new_epoch = 1};
    struct journal other;
    uint32_t format = 99;
    char err[256];
    cr_assert_eq(store_begin(&j.store, true, &t), 0);
    cr_assert_eq(store_put(&t, j.meta_table, "format", 6, &format, sizeof format, 0), 0);
    cr_assert_eq(store_commit(&t), 0);
    journal_close(&j);
    cr_assert_eq(journal_open(&other, &options, err, sizeof err), UV_EINVAL);
    cr_assert_not_null(strstr(err, "99"));
}

/* Fill a log of 1 MiB until it takes no more; returns the first sequence that did not fit. */
static uint64_t fill_kept(const struct retention_limits *retention, bool keep_unfolded, uint64_t n, uint64_t end)
{
    for (; n < end; n += 50) {
        struct journal_batch b = {0};
        struct journal_write w = {.checkpoint = true, .batches = &b, .n_batches = 1, .keep_unfolded = keep_unfolded};
        if (retention)
            w.retention = *retention;
        batch_fill(&b, n, n + 49, 250);
        int rc = journal_write(&j, &w);
        if (rc == 0)
            journal_publish(&j, &w);
        journal_batch_deinit(&b);
        if (rc) {
            cr_assert_eq(rc, UV_ENOSPC);
            return n;
        }
    }
    return end;
}

static uint64_t fill(const struct retention_limits *retention, uint64_t n, uint64_t end)
{
    return fill_kept(retention, false, n, end);
}

Test(journal, full_log_takes_nothing_and_keeps_everything)
{
    journal_close(&j);
    log_open(&j, &directory, MIB, 0);
    uint64_t n = fill(NULL, 1, 100001);
    cr_assert_lt(n, 100001);
    cr_assert_eq(fill(NULL, n, 100001), n);
    journal_close(&j);
    log_open(&j, &directory, MIB, 0);
    cr_assert_eq(j.newest, n - 1);
    for (uint64_t at = 1; at < n; at += 50)
        expect_run(at, at + 49, SIZE_MAX, at + 49);
}

Test(journal, full_log_goes_on_when_retention_may_remove)
{
    struct retention_limits limits = {.max_records = 500};
    journal_close(&j);
    log_open(&j, &directory, MIB, 0);
    uint64_t n = fill(NULL, 1, 100001);
    cr_assert_eq(fill(&limits, n, n + 5000), n + 5000);
    cr_assert_geq(j.oldest, n + 5000 - 600);
}

/* Each value has a page of its own, of which it fills little more than half. */
Test(journal, full_log_goes_on_when_pages_hold_less_than_is_kept)
{
    struct retention_limits limits = {.max_bytes = MIB / 4 * 3};
    journal_close(&j);
    log_open(&j, &directory, MIB, 0);
    for (uint64_t n = 1; n <= 16000; n += 8) {
        struct journal_batch b = {0};
        struct journal_write w = {.checkpoint = true, .batches = &b, .n_batches = 1, .retention = limits};
        batch_fill(&b, n, n + 7, 250);
        cr_assert_eq(journal_write(&j, &w), 0, "%" PRIu64, n);
        journal_publish(&j, &w);
        journal_batch_deinit(&b);
    }
    cr_assert_gt(j.oldest, 1);
    cr_assert_lt(j.oldest, 15000);
    expect_run(j.oldest, j.oldest + 7, SIZE_MAX, j.oldest + 7);
}

Test(journal, full_log_waits_for_no_status)
{
    struct retention_limits limits = {.max_records = 500};
    journal_close(&j);
    log_open(&j, &directory, MIB, 0);
    cr_assert_eq(fill_kept(&limits, true, 1, 20001), 20001);
    cr_assert_gt(j.oldest, 1);
}
