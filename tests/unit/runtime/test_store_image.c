/* SPDX-License-Identifier: Apache-2.0 */
/* The reader of store files against LMDB itself: what LMDB wrote is sound and reads the same; whatever happens to the
 * file, the reader survives it; and what the check before LMDB lets pass, LMDB can work with. The seed of a failing
 * test is in its message. */
#include "runtime/store_image.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "runtime/store.h"
#include "tests/lib/chance.h"

#define MIB     (1024u * 1024)
#define N_FLIPS 1500

static char directory[64], copy[64];
static uint64_t seed;
static struct chance chance;

static char *path_in(const char *of, const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", of, name);
    return path;
}

static void setup(void)
{
    seed = chance_seed();
    chance = chance_from(seed);
    strcpy(directory, "/tmp/sensebus-image.XXXXXX");
    strcpy(copy, "/tmp/sensebus-image.XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    cr_assert_not_null(mkdtemp(copy));
}

static void teardown(void)
{
    static const char *const files[] = {"data.mdb", "lock.mdb", "lock"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        unlink(path_in(directory, files[i]));
        unlink(path_in(copy, files[i]));
    }
    rmdir(directory);
    rmdir(copy);
}

TestSuite(store_image, .init = setup, .fini = teardown);

/* ---- a store with all kinds of pages */

static struct store s;
static unsigned numbers, names;

static int open_store(const char *where, size_t map_bytes)
{
    struct store_options options = {.directory = where, .map_bytes = map_bytes, .n_tables = 2};
    int rc = store_open(&s, &options);
    if (rc == 0)
        rc = store_table(&s, "numbers", STORE_INTEGER_KEYS, &numbers);
    if (rc == 0)
        rc = store_table(&s, "names", 0, &names);
    if (rc != 0)
        store_close(&s);
    return rc;
}

/* One transaction of random puts and deletes; now and then it is taken back. Near its limit a store finds out as late
 * as at the commit that there is no room for its own list of free pages: then nothing of it is stored. */
static void churn_once(unsigned n_changes, size_t max_value)
{
    static uint8_t value[65536];
    struct store_txn t;
    int rc = store_begin(&s, true, &t);
    cr_assert_eq(rc, 0, "%s", uv_strerror(rc));
    for (unsigned i = 0; rc == 0 && i < n_changes; i++) {
        uint64_t number = chance_below64(&chance, 400);
        char name[128];
        int name_len = snprintf(name, sizeof name, "%0*" PRIu64, (int)(1 + number % 90), number * 7919);
        bool by_number = chance_below64(&chance, 2);
        const void *key = by_number ? (const void *)&number : name;
        size_t key_len = by_number ? sizeof number : (size_t)name_len;
        unsigned table = by_number ? numbers : names;
        memset(value, (int)number, sizeof value);
        rc = chance_below64(&chance, 3) == 0
                 ? store_delete(&t, table, key, key_len)
                 : store_put(&t, table, key, key_len, value,
                             (size_t)chance_below64(&chance, chance_below64(&chance, 4) ? 200 : max_value), 0);
        if (rc == UV_ENOENT)
            rc = 0;
    }
    if (rc != 0 || chance_below64(&chance, 10) == 0) {
        store_abort(&t);
        return;
    }
    rc = store_commit(&t);
    cr_assert(rc == 0 || rc == UV_ENOSPC, "%s", uv_strerror(rc));
}

static void fail_on_damage(void *data, const struct store_image_damage *d)
{
    (void)data;
    cr_assert_fail("seed %" PRIu64 ": table %s, page %" PRIu64 ": %s", seed, d->table ? d->table : "-", d->page,
                   d->reason);
}

static const struct store_image_ops strict = {.on_damage = fail_on_damage};

static int compare_pair(void *data, const struct store_value *key, const struct store_value *value)
{
    struct store_cursor *c = data;
    cr_assert_eq(c->key.data == NULL ? store_cursor_first(c) : store_cursor_next(c), 0);
    cr_assert_eq(c->key.len, key->len);
    cr_assert_arr_eq(c->key.data, key->data, key->len);
    cr_assert_eq(c->value.len, value->len);
    cr_assert(value->len == 0 || memcmp(c->value.data, value->data, value->len) == 0);
    return 0;
}

/* The open store and its file say the same. */
static void check_same(void)
{
    static const char *const table_names[] = {"numbers", "names"};
    const unsigned tables[] = {numbers, names};
    struct store_image image;
    struct store_txn t;
    char err[256];

    cr_assert_eq(store_begin(&s, false, &t), 0);
    cr_assert_eq(store_image_open(&image, directory, &strict, NULL, err, sizeof err), 0, "%s", err);
    for (size_t i = 0; i < 2; i++) {
        struct store_cursor c;
        cr_assert_eq(store_cursor_open(&t, tables[i], &c), 0);
        const struct store_image_table *table = store_image_find(&image, table_names[i]);
        cr_assert_not_null(table);
        cr_assert_eq(store_image_walk(&image, table, true, compare_pair, &c), 0);
        cr_assert_eq(c.key.data == NULL ? store_cursor_first(&c) : store_cursor_next(&c), UV_ENOENT);
        store_cursor_close(&c);
    }
    cr_assert_eq(store_image_walk_free(&image), 0);
    cr_assert_leq(image.n_used + image.n_free + 2, image.last_page + 1);
    store_image_close(&image);
    store_abort(&t);
    cr_assert_eq(store_image_check(directory), 0);
}

Test(store_image, reads_what_lmdb_wrote_after_every_transaction)
{
    cr_assert_eq(open_store(directory, 8 * MIB), 0);
    check_same();
    for (int i = 0; i < 400; i++) {
        churn_once((unsigned)chance_below64(&chance, 60), 40000);
        check_same();
    }
    store_close(&s);
}

/* A store that is full most of the time: transactions that fail, pages that are given back. */
Test(store_image, reads_what_lmdb_wrote_when_the_store_is_full)
{
    cr_assert_eq(open_store(directory, MIB), 0);
    for (int i = 0; i < 300; i++) {
        churn_once((unsigned)chance_below64(&chance, 120), 40000);
        check_same();
    }
    store_close(&s);
}

Test(store_image, finds_no_tables_in_a_new_store)
{
    struct store_image image;
    struct store_options options = {.directory = directory, .map_bytes = MIB, .n_tables = 2};
    char err[256];
    cr_assert_eq(store_open(&s, &options), 0);
    store_close(&s);
    cr_assert_eq(store_image_open(&image, directory, &strict, NULL, err, sizeof err), 0, "%s", err);
    cr_assert_eq(image.n_tables, 0);
    cr_assert_null(store_image_find(&image, "numbers"));
    store_image_close(&image);
}

/* ---- damage */

static uint8_t *sound;
static size_t sound_len;

static void make_sound(void)
{
    struct stat file;
    cr_assert_eq(open_store(directory, 4 * MIB), 0);
    for (int i = 0; i < 60; i++)
        churn_once(60, 12000);
    store_close(&s);
    int fd = open(path_in(directory, "data.mdb"), O_RDONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(fstat(fd, &file), 0);
    sound_len = (size_t)file.st_size;
    sound = malloc(sound_len);
    cr_assert_not_null(sound);
    cr_assert_eq(read(fd, sound, sound_len), (ssize_t)sound_len);
    close(fd);
}

static void write_copy(const uint8_t *bytes, size_t len)
{
    int fd = open(path_in(copy, "data.mdb"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, bytes, len), (ssize_t)len);
    close(fd);
}

static void count_damage(void *data, const struct store_image_damage *d)
{
    unsigned *n = data;
    cr_assert_not_null(d->reason);
    cr_assert_gt(strlen(d->reason), 0);
    ++*n;
}

static int count_bytes(void *data, const struct store_value *key, const struct store_value *value)
{
    uint64_t *sum = data;
    for (size_t i = 0; i < key->len; i++)
        *sum += ((const uint8_t *)key->data)[i];
    for (size_t i = 0; value->data && i < value->len; i++)
        *sum += ((const uint8_t *)value->data)[i];
    return 0;
}

/* Read all of the copy, with and without values. Returns how much damage was told. */
static unsigned read_copy(void)
{
    static const struct store_image_ops ops = {.on_damage = count_damage};
    struct store_image image;
    char err[256];
    unsigned n = 0;
    uint64_t sum = 0;

    for (int values = 0; values < 2; values++) {
        if (store_image_open(&image, copy, &ops, &n, err, sizeof err) != 0) {
            cr_assert_gt(strlen(err), 0);
            return 1;
        }
        for (size_t i = 0; i < image.n_tables; i++)
            cr_assert_eq(store_image_walk(&image, &image.tables[i], values, count_bytes, &sum), 0);
        cr_assert_eq(store_image_walk_free(&image), 0);
        store_image_close(&image);
    }
    return n;
}

/* Work with the copy through LMDB, in a process of its own. */
static bool lmdb_survives(void)
{
    pid_t pid = fork();
    int status;
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        alarm(400);
        if (open_store(copy, 4 * MIB) == 0) {
            struct store_txn t;
            struct store_cursor c;
            uint64_t sum = 0;
            const unsigned tables[] = {numbers, names};
            for (size_t i = 0; i < 2; i++) {
                if (store_begin(&s, false, &t) != 0 || store_cursor_open(&t, tables[i], &c) != 0)
                    _exit(1);
                for (int rc = store_cursor_first(&c); rc == 0; rc = store_cursor_next(&c))
                    count_bytes(&sum, &c.key, &c.value);
                store_cursor_close(&c);
                store_abort(&t);
            }
            for (int i = 0; i < 3; i++)
                churn_once(60, 12000);
            store_close(&s);
        }
        _exit(0);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

Test(store_image, survives_any_flipped_bits_and_so_does_lmdb_when_the_check_passes, .timeout = 280)
{
    unsigned n_found = 0, n_passed = 0;
    make_sound();
    for (int i = 0; i < N_FLIPS; i++) {
        size_t places[3], n = 1 + chance_below64(&chance, 3);
        uint8_t masks[3];
        for (size_t k = 0; k < n; k++) {
            /* Half of them in headers of pages and nodes, where they hurt. */
            places[k] = chance_below64(&chance, 2) ? chance_below64(&chance, sound_len)
                                                   : chance_below64(&chance, sound_len / 4096) * 4096 +
                                                         chance_below64(&chance, chance_below64(&chance, 2) ? 200 : 32);
            masks[k] = (uint8_t)(1u << chance_below64(&chance, 8));
            sound[places[k]] ^= masks[k];
        }
        write_copy(sound, sound_len);
        unsigned n_damage = read_copy();
        n_found += n_damage > 0;
        if (store_image_check(copy) == 0) {
            n_passed++;
            if (n_passed % 4 == 0)
                cr_assert(lmdb_survives(), "seed %" PRIu64 ", try %d, first at %zu", seed, i, places[0]);
        } else {
            cr_assert_gt(n_damage, 0);
        }
        while (n-- > 0)
            sound[places[n]] ^= masks[n];
    }
    cr_assert_gt(n_found, N_FLIPS / 20, "%u", n_found);
    free(sound);
}

Test(store_image, survives_a_file_cut_anywhere)
{
    make_sound();
    for (size_t len = 0; len <= sound_len; len += len % 4096 == 0              ? 1
                                                  : chance_below64(&chance, 2) ? 4095 - len % 4096 + 1
                                                                               : 97) {
        write_copy(sound, len);
        read_copy();
        if (len < sound_len / 2)
            cr_assert_eq(store_image_check(copy), UV_EIO, "%zu of %zu", len, sound_len);
    }
    free(sound);
}

Test(store_image, survives_pages_of_zeros_of_noise_and_of_other_pages)
{
    static uint8_t page[4096];
    make_sound();
    size_t n_pages = sound_len / 4096;
    for (int i = 0; i < 600; i++) {
        uint8_t *at = sound + 4096 * chance_below64(&chance, n_pages);
        memcpy(page, at, sizeof page);
        switch (chance_below64(&chance, 3)) {
        case 0: memset(at, 0, 4096); break;
        case 1:
            for (size_t k = 0; k < 4096; k++)
                at[k] = (uint8_t)chance_below64(&chance, 256);
            break;
        default: memmove(at, sound + 4096 * chance_below64(&chance, n_pages), 4096);
        }
        write_copy(sound, sound_len);
        read_copy();
        if (store_image_check(copy) == 0 && chance_below64(&chance, 8) == 0)
            cr_assert(lmdb_survives(), "seed %" PRIu64 ", try %d", seed, i);
        memcpy(at, page, sizeof page);
    }
    free(sound);
}

/* A pointer that leads back up: a walk that follows it does not end. */
Test(store_image, does_not_run_in_circles)
{
    make_sound();
    for (size_t at = 2 * 4096; at + 4096 <= sound_len; at += 4096) {
        uint16_t flags, first;
        memcpy(&flags, sound + at + 10, 2);
        if (flags != 1)
            continue;
        memcpy(&first, sound + at + 16, 2);
        memcpy(sound + at + first, sound + at, 2); /* its first entry is itself */
    }
    write_copy(sound, sound_len);
    cr_assert_gt(read_copy(), 0);
    cr_assert_eq(store_image_check(copy), UV_EIO);
    free(sound);
}

Test(store_image, names_what_is_no_store)
{
    struct store_image image;
    char err[256];
    unsigned n = 0;
    static const struct store_image_ops ops = {.on_damage = count_damage};
    cr_assert_eq(store_image_open(&image, "/nonexistent", &ops, &n, err, sizeof err), UV_ENOENT);
    cr_assert_eq(store_image_open(&image, copy, &ops, &n, err, sizeof err), UV_ENOENT);
    write_copy((const uint8_t *)"", 0);
    cr_assert_eq(store_image_open(&image, copy, &ops, &n, err, sizeof err), UV_EIO);
    cr_assert_not_null(strstr(err, "no store"));
    uint8_t text[10000];
    memset(text, 'x', sizeof text);
    write_copy(text, sizeof text);
    cr_assert_eq(store_image_open(&image, copy, &ops, &n, err, sizeof err), UV_EIO);
    cr_assert_eq(store_image_check(copy), UV_EIO);
    struct store_image zeroed = {0};
    store_image_close(&zeroed);
}
