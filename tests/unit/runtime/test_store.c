/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/store.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#define KIB 1024u
#define MIB (1024u * KIB)

static char directory[64];
static struct store s;
static unsigned numbers, names;

static void make_directory(void)
{
    strcpy(directory, "/tmp/sensebus-store.XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
}

static char *file(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void remove_directory(void)
{
    static const char *const files[] = {"data.mdb", "data.mdb.unsafe", "lock.mdb", "lock", "relaxed"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(file(files[i]));
    rmdir(directory);
}

static int open_store(size_t map_bytes, bool relaxed)
{
    struct store_options options = {.directory = directory, .map_bytes = map_bytes, .n_tables = 2, .relaxed = relaxed};
    int rc = store_open(&s, &options);
    if (rc != 0)
        return rc;
    cr_assert_eq(store_table(&s, "numbers", STORE_INTEGER_KEYS, &numbers), 0);
    cr_assert_eq(store_table(&s, "names", 0, &names), 0);
    return 0;
}

static void setup(void)
{
    make_directory();
    cr_assert_eq(open_store(MIB, false), 0);
}

static void teardown(void)
{
    store_close(&s);
    remove_directory();
}

TestSuite(store, .init = setup, .fini = teardown);

static struct store_txn begin(bool write)
{
    struct store_txn t = {0};
    cr_assert_eq(store_begin(&s, write, &t), 0);
    return t;
}

/* One transaction that puts a value of `len` bytes under a number. */
static int put_number(uint64_t key, size_t len, unsigned flags)
{
    struct store_txn t = {0};
    void *space = NULL;
    int rc = store_begin(&s, true, &t);
    if (rc != 0)
        return rc;
    rc = store_reserve(&t, numbers, &key, sizeof key, len, flags, &space);
    if (rc == 0)
        memset(space, (int)(key & 0xff), len);
    else
        store_abort(&t);
    return rc == 0 ? store_commit(&t) : rc;
}

static int delete_number(uint64_t key)
{
    struct store_txn t = {0};
    int rc = store_begin(&s, true, &t);
    if (rc != 0)
        return rc;
    rc = store_delete(&t, numbers, &key, sizeof key);
    if (rc != 0) {
        store_abort(&t);
        return rc;
    }
    return store_commit(&t);
}

static bool has_number(uint64_t key, size_t len)
{
    struct store_txn t = begin(false);
    struct store_value v = {0};
    bool has = store_get(&t, numbers, &key, sizeof key, &v) == 0;
    if (has) {
        cr_assert_eq(v.len, len);
        for (size_t i = 0; i < len; i++)
            cr_assert_eq(((const uint8_t *)v.data)[i], (uint8_t)key);
    }
    store_abort(&t);
    return has;
}

Test(store, committed_pairs_are_there_after_reopening)
{
    struct store_txn t = begin(true);
    cr_assert_eq(store_put(&t, names, "epoch", 5, "12345678", 8, 0), 0);
    cr_assert_eq(store_commit(&t), 0);
    cr_assert_null(t.txn);
    store_close(&s);
    cr_assert_eq(open_store(MIB, false), 0);
    t = begin(false);
    struct store_value v = {0};
    cr_assert_eq(store_get(&t, names, "epoch", 5, &v), 0);
    cr_assert_eq(v.len, 8);
    cr_assert_arr_eq(v.data, "12345678", 8);
    cr_assert_eq(store_get(&t, names, "other", 5, &v), UV_ENOENT);
    store_abort(&t);
    store_abort(&t); /* accepted: it is over */
}

Test(store, aborted_transactions_leave_nothing)
{
    struct store_txn t = begin(true);
    cr_assert_eq(store_put(&t, names, "a", 1, "1", 1, 0), 0);
    store_abort(&t);
    t = begin(false);
    struct store_value v;
    cr_assert_eq(store_get(&t, names, "a", 1, &v), UV_ENOENT);
    store_abort(&t);
}

Test(store, a_reader_sees_the_state_it_began_with)
{
    cr_assert_eq(put_number(1, 10, 0), 0);
    struct store_txn before = begin(false);
    cr_assert_eq(put_number(2, 10, 0), 0);
    struct store_value v;
    uint64_t key = 2, n = 0;
    cr_assert_eq(store_get(&before, numbers, &key, sizeof key, &v), UV_ENOENT);
    cr_assert_eq(store_count(&before, numbers, &n), 0);
    cr_assert_eq(n, 1);
    store_abort(&before);
    cr_assert(has_number(2, 10));
}

Test(store, number_keys_are_ordered_as_numbers)
{
    static const uint64_t in[] = {70000, 1, 256, 255};
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(put_number(in[i], 8, 0), 0);
    char seen[64] = "";
    struct store_txn t = begin(false);
    struct store_cursor c;
    cr_assert_eq(store_cursor_open(&t, numbers, &c), 0);
    for (int rc = store_cursor_first(&c); rc == 0; rc = store_cursor_next(&c)) {
        uint64_t key;
        memcpy(&key, c.key.data, sizeof key);
        sprintf(seen + strlen(seen), "%lu ", (unsigned long)key);
    }
    cr_assert_str_eq(seen, "1 255 256 70000 ");
    store_cursor_close(&c);
    store_abort(&t);
}

Test(store, append_refuses_a_key_that_is_not_the_greatest)
{
    cr_assert_eq(put_number(5, 8, STORE_APPEND), 0);
    cr_assert_eq(put_number(6, 8, STORE_APPEND), 0);
    cr_assert_eq(put_number(6, 8, STORE_APPEND), UV_EEXIST);
    cr_assert_eq(put_number(2, 8, STORE_APPEND), UV_EEXIST);
    cr_assert_eq(put_number(5, 8, STORE_NO_OVERWRITE), UV_EEXIST);
    cr_assert_eq(put_number(2, 8, STORE_NO_OVERWRITE), 0);
}

Test(store, cursors_seek_step_and_delete)
{
    for (uint64_t i = 10; i <= 50; i += 10)
        cr_assert_eq(put_number(i, 8, 0), 0);
    struct store_txn t = begin(true);
    struct store_cursor c;
    cr_assert_eq(store_cursor_open(&t, numbers, &c), 0);
    uint64_t key = 15, found;
    cr_assert_eq(store_cursor_seek(&c, &key, sizeof key), 0);
    memcpy(&found, c.key.data, sizeof found);
    cr_assert_eq(found, 20);
    cr_assert_eq(store_cursor_delete(&c), 0);
    cr_assert_eq(store_cursor_next(&c), 0); /* the one after the deleted one, not one further */
    memcpy(&found, c.key.data, sizeof found);
    cr_assert_eq(found, 30);
    cr_assert_eq(store_cursor_prev(&c), 0);
    memcpy(&found, c.key.data, sizeof found);
    cr_assert_eq(found, 10);
    cr_assert_eq(store_cursor_prev(&c), UV_ENOENT);
    cr_assert_eq(store_cursor_last(&c), 0);
    memcpy(&found, c.key.data, sizeof found);
    cr_assert_eq(found, 50);
    key = 51;
    cr_assert_eq(store_cursor_seek(&c, &key, sizeof key), UV_ENOENT);
    store_cursor_close(&c);
    cr_assert_eq(store_commit(&t), 0);
    cr_assert_not(has_number(20, 8));
}

Test(store, a_second_process_is_refused_as_busy)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct store other;
        struct store_options options = {.directory = directory, .map_bytes = MIB, .n_tables = 2};
        _exit(store_open(&other, &options) == UV_EBUSY && !other.path ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
    /* The same holds inside one process. */
    struct store other;
    struct store_options options = {.directory = directory, .map_bytes = MIB, .n_tables = 2};
    cr_assert_eq(store_open(&other, &options), UV_EBUSY);
    store_close(&other);
}

Test(store, committed_pairs_survive_a_killed_process)
{
    store_close(&s);
    pid_t pid = fork();
    if (pid == 0) {
        if (open_store(MIB, false) != 0 || put_number(1, 100, 0) != 0)
            _exit(1);
        struct store_txn t;
        if (store_begin(&s, true, &t) != 0 || store_put(&t, names, "half", 4, "done", 4, 0) != 0)
            _exit(1);
        raise(SIGKILL);
    }
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status));
    cr_assert_eq(open_store(MIB, false), 0);
    cr_assert(has_number(1, 100));
    struct store_txn t = begin(false);
    struct store_value v;
    cr_assert_eq(store_get(&t, names, "half", 4, &v), UV_ENOENT);
    store_abort(&t);
}

/* The limit: refused with ENOSPC, all of it readable, room again after deleting, however often it is filled. */
Test(store, a_full_store_refuses_keeps_and_recovers)
{
    enum { LEN = 20000 };
    uint64_t next = 1, oldest = 1;
    for (int round = 0; round < 5; round++) {
        int rc;
        while ((rc = put_number(next, LEN, STORE_APPEND)) == 0)
            next++;
        cr_assert_eq(rc, UV_ENOSPC, "round %d: %s", round, uv_strerror(rc));
        uint64_t used, limit;
        cr_assert_eq(store_usage(&s, &used, &limit), 0);
        cr_assert_eq(limit, MIB);
        cr_assert_geq(used, limit);
        cr_assert_gt(next - oldest, 20);
        cr_assert_not(has_number(next, LEN));
        for (uint64_t i = oldest; i < next; i++)
            cr_assert(has_number(i, LEN));
        cr_assert_eq(put_number(next, LEN, 0), UV_ENOSPC);
        /* Deleting works although it is full. */
        for (; oldest + 10 < next; oldest++) {
            rc = delete_number(oldest);
            cr_assert_eq(rc, 0, "round %d: %s", round, uv_strerror(rc));
        }
    }
}

Test(store, a_full_store_lets_a_transaction_put_after_it_deleted)
{
    uint64_t next = 1;
    while (put_number(next, 20000, STORE_APPEND) == 0)
        next++;
    struct store_txn t = begin(true);
    uint64_t key = 1;
    cr_assert_eq(store_put(&t, names, "oldest", 6, "2", 1, 0), UV_ENOSPC);
    cr_assert_eq(store_delete(&t, numbers, &key, sizeof key), 0);
    cr_assert_eq(store_put(&t, names, "oldest", 6, "2", 1, 0), 0);
    cr_assert_eq(store_commit(&t), 0);
    cr_assert_not(has_number(1, 20000));
}

Test(store, one_transaction_larger_than_the_map_fails_alone)
{
    cr_assert_eq(put_number(1, 100, 0), 0);
    cr_assert_eq(put_number(2, 16 * MIB, 0), UV_ENOSPC);
    cr_assert(has_number(1, 100));
    cr_assert_eq(put_number(3, 100, 0), 0);
    cr_assert(has_number(3, 100));
}

Test(store, a_larger_map_opens_a_full_store)
{
    uint64_t next = 1;
    while (put_number(next, 20000, STORE_APPEND) == 0)
        next++;
    store_close(&s);
    cr_assert_eq(open_store(4 * MIB, false), 0);
    cr_assert_eq(put_number(next, 20000, STORE_APPEND), 0);
    cr_assert(has_number(1, 20000));
}

/* The descriptor through which the meta page is written: O_DSYNC, on data.mdb. */
static int meta_descriptor(void)
{
    struct stat data, other;
    cr_assert_eq(stat(file("data.mdb"), &data), 0);
    for (int fd = 3; fd < 256; fd++) {
        if (fstat(fd, &other) == 0 && other.st_ino == data.st_ino && other.st_dev == data.st_dev &&
            fcntl(fd, F_GETFL) & O_DSYNC)
            return fd;
    }
    return -1;
}

Test(store, goes_on_after_the_meta_page_could_not_be_written)
{
    cr_assert_eq(put_number(1, 100, 0), 0);
    int meta = meta_descriptor(), full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    cr_assert_geq(meta, 0);
    cr_assert_geq(full, 0);
    cr_assert_geq(dup2(full, meta), 0);
    close(full);
    struct store_txn reader = begin(false);
    cr_assert_eq(put_number(2, 100, 0), UV_ENOSPC);
    /* While somebody reads, it must wait; the reader is not disturbed. */
    cr_assert_lt(put_number(3, 100, 0), 0);
    uint64_t key = 1;
    struct store_value v = {0};
    cr_assert_eq(store_get(&reader, numbers, &key, sizeof key, &v), 0);
    cr_assert_eq(v.len, 100);
    store_abort(&reader);
    cr_assert_eq(put_number(4, 100, 0), 0);
    cr_assert(has_number(1, 100));
    cr_assert_not(has_number(2, 100));
    cr_assert_not(has_number(3, 100));
    cr_assert(has_number(4, 100));
}

Test(store, a_file_that_is_no_store_is_damaged)
{
    store_close(&s);
    FILE *f = fopen(file("data.mdb"), "w");
    for (int i = 0; i < 10000; i++)
        fputs("garbage\n", f);
    fclose(f);
    cr_assert_eq(open_store(MIB, false), UV_EIO);
    cr_assert_null(s.path);
}

/* Ours never is: whatever emptied it, beginning anew would hide the loss. */
Test(store, an_empty_file_is_damaged_and_no_new_store)
{
    store_close(&s);
    cr_assert_eq(truncate(file("data.mdb"), 0), 0);
    cr_assert_eq(open_store(MIB, false), UV_EIO);
}

Test(store, what_is_left_of_a_first_start_cut_short_does_no_harm)
{
    static const char *const left[] = {"new/data.mdb", "new/lock.mdb"};
    store_close(&s);
    cr_assert_eq(unlink(file("data.mdb")), 0);
    cr_assert_eq(mkdir(file("new"), 0700), 0);
    for (size_t i = 0; i < 2; i++) {
        FILE *f = fopen(file(left[i]), "w");
        fputs("half a page", f);
        fclose(f);
    }
    cr_assert_eq(open_store(MIB, false), 0);
    cr_assert_eq(put_number(1, 100, 0), 0);
    cr_assert_neq(access(file("new"), F_OK), 0);
}

Test(store, a_file_cut_short_is_damaged)
{
    for (uint64_t i = 1; i < 20; i++)
        cr_assert_eq(put_number(i, 20000, 0), 0);
    store_close(&s);
    cr_assert_eq(truncate(file("data.mdb"), 40960), 0);
    cr_assert_eq(open_store(MIB, false), UV_EIO);
}

/* LMDB does not write pages at the end of the file that a transaction took and gave back again. */
Test(store, a_file_that_lacks_only_unused_pages_is_sound)
{
    struct stat before;
    cr_assert_eq(put_number(1, 100, 0), 0);
    for (uint64_t i = 2; i < 20; i++)
        cr_assert_eq(put_number(i, 20000, 0), 0);
    for (uint64_t i = 2; i < 20; i++)
        cr_assert_eq(delete_number(i), 0);
    for (uint64_t i = 2; i < 8; i++) /* what is in use moves to the front */
        cr_assert_eq(put_number(i, 10, 0), 0);
    store_close(&s);
    cr_assert_eq(stat(file("data.mdb"), &before), 0);
    cr_assert_eq(truncate(file("data.mdb"), before.st_size - 4096), 0);
    cr_assert_eq(open_store(MIB, false), 0);
    cr_assert(has_number(1, 100));
    cr_assert(has_number(7, 10));
    cr_assert_eq(put_number(8, 20000, 0), 0);
}

/* Counts of pages that are damaged: the store is not full because they say so. */
Test(store, a_damaged_count_does_not_fill_it)
{
    enum { PAGE = 4096, LEAF_PAGES = 16 + 24 + 48 + 16 + 5 }; /* of the list of tables: a high byte */
    uint64_t used, limit;
    cr_assert_eq(put_number(1, 20000, 0), 0);
    store_close(&s);
    int fd = open(file("data.mdb"), O_WRONLY | O_CLOEXEC);
    for (off_t page = 0; page < 2; page++)
        cr_assert_eq(pwrite(fd, "\x10", 1, page * PAGE + LEAF_PAGES), 1);
    close(fd);
    cr_assert_eq(open_store(MIB, false), 0);
    cr_assert_eq(put_number(2, 20000, 0), 0);
    cr_assert(has_number(1, 20000) && has_number(2, 20000));
    cr_assert_eq(store_usage(&s, &used, &limit), 0);
    cr_assert_lt(used, limit);
}

Test(store, names_what_cannot_be_opened)
{
    struct store other;
    struct store_options options = {.directory = "/dev/null/store", .map_bytes = MIB, .n_tables = 1};
    cr_assert_eq(store_open(&other, &options), UV_ENOTDIR);
    options.directory = "/nonexistent/parent/store";
    cr_assert_eq(store_open(&other, &options), UV_ENOENT);
    options.map_bytes = 0;
    cr_assert_eq(store_open(&other, &options), UV_EINVAL);
    memset(&other, 0, sizeof other);
    store_close(&other);
}

Test(store, a_table_keeps_its_kind_of_keys)
{
    store_close(&s);
    struct store_options options = {.directory = directory, .map_bytes = MIB, .n_tables = 2};
    unsigned table;
    cr_assert_eq(store_open(&s, &options), 0);
    cr_assert_eq(store_table(&s, "numbers", 0, &table), UV_EINVAL);
    cr_assert_eq(store_table(&s, "names", 0, &table), 0);
    cr_assert_eq(store_table(&s, "third", 0, &table), 0);
    cr_assert_eq(store_table(&s, "fourth", 0, &table), UV_EINVAL);
}

Test(store, relaxed_survives_a_killed_process)
{
    store_close(&s);
    pid_t pid = fork();
    if (pid == 0) {
        if (open_store(MIB, true) != 0 || put_number(1, 100, 0) != 0)
            _exit(1);
        raise(SIGKILL);
    }
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status));
    cr_assert_eq(access(file("relaxed"), F_OK), 0);
    cr_assert_eq(open_store(MIB, true), 0);
    cr_assert_not(s.started_over);
    cr_assert(has_number(1, 100));
    store_close(&s);
    cr_assert_neq(access(file("relaxed"), F_OK), 0);
    cr_assert_eq(open_store(MIB, true), 0);
    cr_assert(has_number(1, 100));
}

/* Both meta pages are of no version of LMDB's. */
static void damage_file(void)
{
    FILE *f = fopen(file("data.mdb"), "r+e");
    cr_assert_not_null(f);
    for (long page = 0; page < 2; page++)
        cr_assert_eq(fseek(f, page * 4096 + 16, SEEK_SET) == 0 && fputs("none", f) >= 0, true);
    fclose(f);
}

Test(store, a_damaged_file_is_set_aside_if_that_is_asked_for)
{
    struct store_options options = {.directory = directory, .map_bytes = MIB, .n_tables = 1};

    cr_assert_eq(put_number(1, 100, 0), 0);
    store_close(&s);
    damage_file();
    cr_assert_eq(store_open(&s, &options), UV_EIO);
    cr_assert_neq(access(file("data.mdb.damaged"), F_OK), 0);
    options.start_over = true;
    cr_assert_eq(store_open(&s, &options), 0);
    cr_assert(s.started_over);
    cr_assert_eq(access(file("data.mdb.damaged"), F_OK), 0);
    store_close(&s);
    cr_assert_eq(open_store(MIB, false), 0);
    cr_assert_not(s.started_over);
    cr_assert_not(has_number(1, 100));
}

Test(store, relaxed_starts_over_after_the_machine_went_down)
{
    cr_assert_eq(put_number(1, 100, 0), 0);
    store_close(&s);
    FILE *f = fopen(file("relaxed"), "w"); /* as it would look after another boot */
    fputs("00000000-0000-0000-0000-000000000000", f);
    fclose(f);
    cr_assert_eq(open_store(MIB, false), 0);
    cr_assert(s.started_over);
    cr_assert_not(has_number(1, 100));
    cr_assert_eq(access(file("data.mdb.unsafe"), F_OK), 0);
    cr_assert_eq(put_number(2, 100, 0), 0);
    store_close(&s);
    cr_assert_eq(open_store(MIB, false), 0);
    cr_assert_not(s.started_over);
    cr_assert(has_number(2, 100));
}
