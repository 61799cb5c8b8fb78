/* SPDX-License-Identifier: Apache-2.0 */
/* One commit after the other, without a loop; how the spool uses them is tested in test_spool.c. */
#include "agent/spool_commit.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define EVENT_BYTES 10

static char directory[64];
static struct store store;
static struct spool_commit commit; /* its state is what the one before left */

static void setup(void)
{
    strcpy(directory, "/tmp/sensebus-spool.XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    cr_assert_eq(
        store_open(&store, &(struct store_options){.directory = directory, .map_bytes = 1 << 20, .n_tables = 2}), 0);
    commit = (struct spool_commit){.store = &store, .max_bytes = 65536, .max_records = 4};
    cr_assert_eq(store_table(&store, "meta", 0, &commit.meta_table), 0);
    cr_assert_eq(store_table(&store, "records", STORE_INTEGER_KEYS, &commit.records_table), 0);
}

static void teardown(void)
{
    char command[128];

    store_close(&store);
    snprintf(command, sizeof command, "rm -rf %s", directory);
    if (system(command) != 0)
        abort();
}

TestSuite(spool_commit, .init = setup, .fini = teardown);

/* A commit with events of these keys, and nothing else new. */
static int write_events(uint64_t first, uint64_t last)
{
    struct spool_entry *entry;
    int rc;

    commit.first = commit.last = NULL;
    for (uint64_t key = first; key <= last; key++) {
        entry = calloc(1, sizeof *entry + EVENT_BYTES);
        cr_assert_not_null(entry);
        entry->key = key;
        entry->len = EVENT_BYTES;
        entry->header.aix_bits = 1u << key;
        if (commit.last)
            commit.last->next = entry;
        else
            commit.first = entry;
        commit.last = entry;
    }
    rc = spool_commit_run(&commit);
    while (commit.first) {
        entry = commit.first;
        commit.first = entry->next;
        free(entry);
    }
    return rc;
}

/* What is on disk: "1 2 [3-5 bits=38]". */
static const char *contents(void)
{
    static char out[256];
    struct store_cursor cursor;
    struct spool_header header;
    struct store_txn txn;
    uint64_t key;
    int rc;

    out[0] = 0;
    cr_assert_eq(store_begin(&store, false, &txn), 0);
    cr_assert_eq(store_cursor_open(&txn, commit.records_table, &cursor), 0);
    for (rc = store_cursor_first(&cursor); rc == 0; rc = store_cursor_next(&cursor)) {
        char *end = out + strlen(out);

        if (!spool_record_read(&cursor, &key, &header)) {
            sprintf(end, "%sdamaged", end > out ? " " : "");
            continue;
        }
        if (header.loss_first_key)
            sprintf(end, "%s[%lu-%lu bits=%u]", end > out ? " " : "", spool_first_key(&header, key), key,
                    header.aix_bits);
        else
            sprintf(end, "%s%lu", end > out ? " " : "", key);
    }
    store_cursor_close(&cursor);
    store_abort(&txn);
    return out;
}

Test(spool_commit, writes_what_is_new_and_frees_what_was_acknowledged)
{
    cr_assert_eq(write_events(1, 3), 0);
    cr_assert_str_eq(contents(), "1 2 3");
    cr_assert_eq(commit.state.last_key, 3);
    cr_assert_eq(commit.state.n_records, 3);
    cr_assert_eq(commit.state.n_bytes, 3 * (sizeof(struct spool_header) + EVENT_BYTES));
    commit.state.free_key = 2;
    cr_assert_eq(write_events(4, 4), 0);
    cr_assert_str_eq(contents(), "3 4");
    commit.state.free_key = 4;
    cr_assert_eq(write_events(1, 0), 0); /* none */
    cr_assert_str_eq(contents(), "");
    cr_assert_eq(commit.state.last_key, 4);
    cr_assert_eq(commit.state.n_records, 0);
    cr_assert_eq(commit.state.n_bytes, 0);
    cr_assert_eq(commit.state.n_dropped, 0);
}

Test(spool_commit, one_loss_takes_the_place_of_the_oldest_and_grows)
{
    cr_assert_eq(write_events(1, 5), 0);
    cr_assert_str_eq(contents(), "[1-2 bits=6] 3 4 5");
    cr_assert_eq(commit.state.n_dropped, 2);
    cr_assert_eq(write_events(6, 7), 0);
    cr_assert_str_eq(contents(), "[1-4 bits=30] 5 6 7");
    cr_assert_eq(commit.state.n_dropped, 4);
    cr_assert_eq(commit.state.n_records, 4);
    commit.state.free_key = 4;
    cr_assert_eq(write_events(8, 8), 0);
    cr_assert_str_eq(contents(), "5 6 7 8");
}

Test(spool_commit, the_state_is_written_with_the_records)
{
    struct spool_state read;
    struct store_txn txn;

    commit.state.epoch = 42;
    cr_assert_eq(write_events(1, 2), 0);
    cr_assert_eq(store_begin(&store, false, &txn), 0);
    cr_assert_eq(spool_state_read(&txn, commit.meta_table, &read), 0);
    store_abort(&txn);
    cr_assert_eq(read.epoch, 42);
    cr_assert_eq(read.last_key, 2);
    cr_assert_eq(read.n_records, 2);
}

Test(spool_commit, a_commit_that_fails_wrote_nothing)
{
    cr_assert_eq(write_events(1, 2), 0);
    commit.state.free_key = 2;
    cr_assert_lt(write_events(2, 3), 0, "keys only grow");
    cr_assert_str_eq(contents(), "1 2");
}

/* Put something under a key that is no record of the spool's. */
static void put_damaged(uint64_t key)
{
    struct store_txn txn;

    cr_assert_eq(store_begin(&store, true, &txn), 0);
    cr_assert_eq(store_put(&txn, commit.records_table, &key, sizeof key, "short", 5, 0), 0);
    cr_assert_eq(store_commit(&txn), 0);
}

Test(spool_commit, a_damaged_record_in_front_is_freed)
{
    cr_assert_eq(write_events(1, 3), 0);
    put_damaged(1);
    cr_assert_str_eq(contents(), "damaged 2 3");
    cr_assert_eq(write_events(4, 4), 0);
    cr_assert_str_eq(contents(), "2 3 4");
    commit.state.free_key = 4;
    cr_assert_eq(write_events(1, 0), 0);
    cr_assert_eq(commit.state.n_records, 0);
    cr_assert_eq(commit.state.n_bytes, 0, "though it had another length when it was counted");
}

Test(spool_commit, a_damaged_record_is_dropped_with_its_neighbours)
{
    cr_assert_eq(write_events(1, 4), 0);
    put_damaged(2);
    cr_assert_eq(write_events(5, 6), 0);
    cr_assert_str_eq(contents(), "[1-3 bits=15] 4 5 6", "of one it is not known what it was");
}

Test(spool_commit, a_damaged_record_behind_all_others_stops_nothing)
{
    cr_assert_eq(write_events(1, 2), 0);
    put_damaged(4);
    cr_assert_eq(write_events(3, 3), 0);
    cr_assert_str_eq(contents(), "1 2 3 damaged");
    cr_assert_eq(write_events(4, 4), 0);
    cr_assert_str_eq(contents(), "1 2 3 4");
    cr_assert_eq(commit.state.last_key, 4);
}
