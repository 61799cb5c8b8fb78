/* SPDX-License-Identifier: Apache-2.0 */
/* The check against the log itself: what a journal wrote is clean; whatever happens to the file, the check survives it,
 * and what it calls clean reads as it was written. The seed of a failing test is in its message. */
#include "broker/store/check.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "broker/core/cursors.h"
#include "broker/core/dedupe.h"
#include "broker/core/status.h"
#include "broker/engine/journal.h"
#include "broker/engine/journal_format.h"
#include "runtime/crc32c.h"
#include "sensebus/v1/admin.pb-c.h"
#include "tests/lib/chance.h"
#include "tests/unit/broker/engine/log_directory.h"

#define MIB     (1024u * 1024)
#define N_FLIPS 1200
#define ALL     UINT64_MAX

static struct log_directory directory, copy;
static struct journal j;
static uint64_t seed;
static struct chance chance;

static void setup(void)
{
    seed = chance_seed();
    chance = chance_from(seed);
    log_directory_make(&directory);
    log_directory_make(&copy);
    log_open(&j, &directory, 16 * MIB, 0);
}

static void teardown(void)
{
    journal_close(&j);
    log_directory_remove(&directory);
    log_directory_remove(&copy);
}

TestSuite(check, .init = setup, .fini = teardown);

/* ---- what was found */

#define MAX_FOUND 64

static struct {
    struct check_hole holes[MAX_FOUND];
    char reasons[MAX_FOUND][256];
    size_t n_holes, n_faults;
    char fault[512]; /* the last one */
} found;

static void on_hole(void *data, const struct check_hole *hole)
{
    (void)data;
    cr_assert_leq(hole->first, hole->last);
    if (found.n_holes < MAX_FOUND) {
        found.holes[found.n_holes] = *hole;
        snprintf(found.reasons[found.n_holes], sizeof *found.reasons, "%s", hole->reason);
    }
    found.n_holes++;
}

static void on_fault(void *data, const struct check_fault *fault)
{
    (void)data;
    snprintf(found.fault, sizeof found.fault, "%s: %s", fault->table ? fault->table : "-", fault->reason);
    found.n_faults++;
}

static const struct check_ops ops = {.on_hole = on_hole, .on_fault = on_fault};
static struct check_summary summary;
static char err[512];

static int check(const char *path, bool deep)
{
    memset(&found, 0, sizeof found);
    int rc = check_log(path, deep, &ops, NULL, &summary, err, sizeof err);
    if (rc == 0) {
        cr_assert_eq(summary.n_holes, found.n_holes);
        cr_assert_eq(summary.n_faults, found.n_faults);
    } else {
        cr_assert_gt(strlen(err), 0);
    }
    return rc;
}

static void expect_clean(bool deep)
{
    journal_close(&j);
    int rc = check(directory.path, deep);
    cr_assert_eq(rc, 0, "%s", err);
    cr_assert_eq(found.n_faults, 0, "seed %" PRIu64 ": %s", seed, found.fault);
    cr_assert_eq(found.n_holes, 0, "seed %" PRIu64 ": %" PRIu64 "..%" PRIu64 ": %s", seed, found.holes[0].first,
                 found.holes[0].last, found.reasons[0]);
    log_open(&j, &directory, 16 * MIB, 0);
}

/* The one hole, of these records, for this reason. */
static void expect_hole(uint64_t first, uint64_t last, const char *reason)
{
    journal_close(&j);
    cr_assert_eq(check(directory.path, true), 0, "%s", err);
    cr_assert_eq(found.n_holes, 1, "%zu holes, %zu faults (%s)", found.n_holes, found.n_faults, found.fault);
    cr_assert(found.holes[0].first == first && found.holes[0].last == last, "%" PRIu64 "..%" PRIu64,
              found.holes[0].first, found.holes[0].last);
    cr_assert_not_null(strstr(found.reasons[0], reason), "%s", found.reasons[0]);
    log_open(&j, &directory, 16 * MIB, 0);
}

static void expect_fault(const char *text)
{
    journal_close(&j);
    cr_assert_eq(check(directory.path, true), 0, "%s", err);
    cr_assert_eq(found.n_faults, 1);
    cr_assert_not_null(strstr(found.fault, text), "%s", found.fault);
    log_open(&j, &directory, 16 * MIB, 0);
}

/* ---- a log with everything in it */

static void put_dedupe(struct journal_write *w, const char *host, uint64_t newest)
{
    struct dedupe d;
    struct dedupe_agent *a;
    struct dedupe_key evicted;
    uint8_t value[DEDUPE_VALUE_SIZE];
    dedupe_init(&d, 1, 0);
    cr_assert_eq(dedupe_open(&d, host, 7, 1, newest, &a, &evicted), 0);
    dedupe_encode(a, newest, newest, value);
    cr_assert_eq(journal_write_put(w, JOURNAL_DEDUPE, a->key.bytes, a->key.len, value, sizeof value), 0);
    dedupe_close(a);
    dedupe_deinit(&d);
}

static void put_agent(struct journal_write *w, const char *host)
{
    Sensebus__V1__Agent agent = SENSEBUS__V1__AGENT__INIT;
    uint8_t bytes[256];
    agent.host = (char *)host;
    cr_assert_leq(sensebus__v1__agent__get_packed_size(&agent), sizeof bytes);
    size_t len = sensebus__v1__agent__pack(&agent, bytes);
    cr_assert_eq(journal_write_put(w, JOURNAL_AGENTS, host, strlen(host), bytes, len), 0);
}

static void put_cursor(struct journal_write *w, const char *name, uint64_t epoch, uint64_t sequence)
{
    struct cursor_position position = {.epoch = epoch, .sequence = sequence};
    uint8_t value[CURSOR_VALUE_SIZE];
    cursor_encode(&position, value);
    cr_assert_eq(journal_write_put(w, JOURNAL_CURSORS, name, strlen(name), value, sizeof value), 0);
}

static void put_status(struct journal_write *w, const struct journal_batch *b)
{
    static const struct event_limits limits = {.allow_broker_fields = true};
    const uint8_t *p = b->chunk->bytes + JOURNAL_HEADER_BYTES, *event;
    struct event_view view;
    struct status s;
    size_t len;

    status_init(&s, 1, 0, 0);
    s.through = b->first - 1;
    cr_assert(records_next(&p, b->chunk->bytes + b->chunk->len, &event, &len));
    cr_assert_eq(event_scan(event, len, &limits, &view, err, sizeof err), 0, "%s", err);
    cr_assert_eq(status_fold(&s, &view), 0);
    const struct status_device *d = status_at(&s, 0);
    cr_assert_not_null(d);
    uint8_t bytes[4096];
    cr_assert_leq(status_encoded_size(d), sizeof bytes);
    status_encode(d, bytes);
    cr_assert_eq(journal_write_put(w, JOURNAL_STATUS, d->key, d->key_len, bytes, status_encoded_size(d)), 0);
    status_deinit(&s);
}

static bool ahead; /* commit to the write-ahead log, not to the store */

/* One commit of n records with its pairs. */
static void commit(uint64_t n, size_t padding, const struct retention_limits *retention)
{
    struct journal_batch b = {0};
    struct journal_write w = {.batches = &b, .n_batches = 1, .status_through = j.newest + 1};
    char name[32];
    w.checkpoint = !ahead;
    if (retention)
        w.retention = *retention;
    batch_fill(&b, j.newest + 1, j.newest + n, padding);
    snprintf(name, sizeof name, "host-%" PRIu64, chance_below64(&chance, 20));
    put_dedupe(&w, name, j.newest + n);
    put_agent(&w, name);
    put_cursor(&w, name, j.epoch, j.newest + n);
    put_cursor(&w, "of-another-log", 99, UINT64_MAX / 2);
    put_status(&w, &b);
    cr_assert_eq(journal_write(&j, &w), 0);
    journal_publish(&j, &w);
    journal_write_deinit(&w);
    journal_batch_deinit(&b);
}

Test(check, new_log_and_directory_without_one)
{
    expect_clean(true);
    cr_assert(summary.is_made);
    cr_assert_eq(summary.epoch, 0x5e45eb05);
    cr_assert_eq(summary.oldest, 1);
    cr_assert_eq(summary.newest, 0);
    cr_assert_eq(check(copy.path, true), UV_ENOENT);
    cr_assert_eq(check("/nonexistent/directory", true), UV_ENOENT);
}

Test(check, store_that_no_broker_used_is_clean)
{
    struct store s;
    struct store_options options = {.directory = copy.path, .map_bytes = MIB, .n_tables = 2};
    unsigned table;
    cr_assert_eq(store_open(&s, &options), 0);
    cr_assert_eq(store_table(&s, "log", STORE_INTEGER_KEYS, &table), 0); /* killed between two tables */
    store_close(&s);
    cr_assert_eq(check(copy.path, true), 0, "%s", err);
    cr_assert_not(summary.is_made);
    cr_assert_eq(summary.n_holes + summary.n_faults, 0);
}

Test(check, log_in_use_is_clean_after_every_commit)
{
    struct retention_limits limits = {.max_records = 500};
    for (int i = 0; i < 60; i++) {
        commit(1 + chance_below64(&chance, 40), chance_below64(&chance, 200), &limits);
        expect_clean(true);
        cr_assert_eq(summary.oldest, j.oldest);
        cr_assert_eq(summary.newest, j.newest);
        cr_assert_eq(summary.n_records, j.newest - j.oldest + 1);
        cr_assert_eq(summary.log_bytes, j.log_bytes);
        cr_assert_eq(summary.oldest_time_ns, j.oldest * 1000);
        cr_assert_eq(summary.newest_time_ns, j.newest * 1000);
    }
    expect_clean(false);
    cr_assert_eq(summary.oldest_time_ns, j.oldest * 1000);
    cr_assert_eq(summary.n_records, j.newest - j.oldest + 1);
    cr_assert_eq(summary.n_tables, 6);
}

static void copy_file(const char *name)
{
    char command[512];
    snprintf(command, sizeof command, "cp %s/%s %s/", directory.path, name, copy.path);
    cr_assert_eq(system(command), 0); /* NOLINT: names of our own */
}

static void damage_copy(const char *name, long offset)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", copy.path, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, "\xff\xff\xff\xff", 4, offset), 4);
    close(fd);
}

Test(check, counts_what_is_in_the_write_ahead_log)
{
    for (int stored = 0; stored < 2; stored++) {
        if (stored)
            commit(7, 20, NULL);
        ahead = true;
        uint64_t before = j.newest;
        commit(5, 20, NULL);
        commit(6, 20, NULL);
        ahead = false;
        copy_file("data.mdb");
        copy_file("redo");
        for (int deep = 0; deep < 2; deep++) {
            cr_assert_eq(check(copy.path, deep), 0, "%s", err);
            cr_assert_eq(found.n_faults + found.n_holes, 0, "%s", found.fault);
            cr_assert_eq(summary.n_ahead, 2);
            cr_assert_eq(summary.newest, before + 11);
            cr_assert_eq(summary.n_records, before + 11);
            cr_assert_eq(summary.newest_time_ns, (before + 11) * 1000);
            cr_assert_eq(summary.oldest_time_ns, 1000);
            cr_assert_eq(summary.log_bytes, j.log_bytes);
            cr_assert_eq(summary.status_through, j.status_through);
        }
        expect_clean(true); /* all of it in the store now */
        cr_assert_eq(summary.n_ahead, 0);
    }
}

Test(check, finds_damage_in_the_write_ahead_log)
{
    commit(7, 20, NULL);
    ahead = true;
    long at = (long)j.redo.end;
    commit(5, 20, NULL);
    commit(6, 20, NULL);
    copy_file("data.mdb");
    copy_file("redo");
    damage_copy("redo", at + 40);
    cr_assert_eq(check(copy.path, true), 0);
    cr_assert_eq(found.n_faults, 1);
    cr_assert_not_null(strstr(found.fault, "write-ahead log"), "%s", found.fault);
    cr_assert_eq(found.n_holes, 1);
    cr_assert_eq(found.holes[0].first, 8);
    cr_assert_eq(found.holes[0].last, 12);
    copy_file("redo");
    damage_copy("redo", 8);
    cr_assert_eq(check(copy.path, true), 0);
    cr_assert_eq(found.n_faults, 1);
    cr_assert_not_null(strstr(found.fault, "first block"), "%s", found.fault);
}

Test(check, log_that_is_open_is_left_alone)
{
    commit(5, 0, NULL);
    cr_assert_eq(check(directory.path, true), UV_EBUSY);
    cr_assert_not_null(strstr(err, "a broker has it open"));
}

Test(check, log_that_is_looked_at_cannot_be_opened)
{
    int lock;
    struct journal other;
    struct journal_options options = {.directory = directory.path, .map_bytes = MIB, .new_epoch = 1};
    journal_close(&j);
    cr_assert_eq(store_files_lock(directory.path, true, &lock), 0);
    cr_assert_eq(journal_open(&other, &options, err, sizeof err), UV_EBUSY);
    cr_assert_eq(check(directory.path, true), 0, "two may look");
    close(lock);
    log_open(&j, &directory, 16 * MIB, 0);
}

/* ---- one kind of damage each */

static void change_value(unsigned table, const void *key, size_t key_len, size_t at, uint8_t mask)
{
    static uint8_t bytes[65536];
    struct store_txn t;
    struct store_value value;
    cr_assert_eq(store_begin(&j.store, true, &t), 0);
    cr_assert_eq(store_get(&t, table, key, key_len, &value), 0);
    size_t len = value.len;
    cr_assert_leq(len, sizeof bytes);
    memcpy(bytes, value.data, len);
    bytes[at < len ? at : len - 1] ^= mask;
    cr_assert_eq(store_put(&t, table, key, key_len, bytes, len, 0), 0);
    cr_assert_eq(store_commit(&t), 0);
}

Test(check, names_records_whose_checksum_does_not_match)
{
    for (int i = 0; i < 3; i++)
        commit(10, 50, NULL);
    uint64_t first = 11;
    change_value(j.log_table, &first, sizeof first, 500, 4);
    expect_hole(11, 20, "checksum");
    cr_assert_eq(summary.n_lost, 10);
    cr_assert_eq(summary.n_records, 20);
    first = 21;
    change_value(j.log_table, &first, sizeof first, 3, 4);
    journal_close(&j);
    cr_assert_eq(check(directory.path, true), 0);
    cr_assert_eq(found.n_holes, 2);
    cr_assert_eq(found.holes[1].first, 21);
    cr_assert_eq(found.holes[1].last, 30, "up to the newest");
    log_open(&j, &directory, 16 * MIB, 0);
}

Test(check, names_records_that_are_missing_in_the_middle_at_the_end_and_at_the_beginning)
{
    for (int i = 0; i < 4; i++)
        commit(10, 50, NULL);
    log_remove_value(&j, 21);
    expect_hole(21, 30, "nothing is stored");
    log_remove_value(&j, 31);
    expect_hole(21, 40, "nothing is stored");
}

Test(check, a_damaged_value_behind_the_newest_lengthens_no_hole)
{
    static uint8_t bytes[65536];
    for (int i = 0; i < 3; i++)
        commit(10, 50, NULL);
    size_t len = log_copy_value(&j, 21, bytes, sizeof bytes);
    log_remove_value(&j, 21);
    log_put_value(&j, 1000, bytes, len);
    journal_close(&j);
    cr_assert_eq(check(directory.path, true), 0);
    cr_assert(found.n_holes == 1 && found.holes[0].first == 21 && found.holes[0].last == 30);
    cr_assert_eq(summary.n_lost, 10);
    cr_assert_eq(found.n_faults, 1);
    cr_assert_not_null(strstr(found.fault, "stands at 1000, behind the newest"), "%s", found.fault);
    log_open(&j, &directory, 16 * MIB, 0);
}

Test(check, notices_that_the_oldest_records_are_missing)
{
    for (int i = 0; i < 4; i++)
        commit(10, 50, NULL);
    log_remove_value(&j, 1);
    expect_fault("values are missing before 11");
}

Test(check, names_a_log_that_is_gone)
{
    commit(10, 50, NULL);
    log_remove_value(&j, 1);
    journal_close(&j);
    cr_assert_eq(check(directory.path, true), 0);
    cr_assert_eq(found.n_holes, 1);
    cr_assert_eq(found.holes[0].first, 0);
    cr_assert_eq(found.holes[0].last, 10);
    log_open(&j, &directory, 16 * MIB, 0);
}

/* Records that pass their checksum, and are none that a broker writes. */
static void store_value(uint64_t first, uint8_t *bytes, size_t len, uint32_t n_records)
{
    struct journal_value_header header = {.n_records = n_records, .newest_time_ns = 20000};
    journal_value_seal(first, &header, bytes, len);
    log_put_value(&j, first, bytes, len);
}

Test(check, scans_every_record)
{
    static uint8_t bytes[65536];
    for (int i = 0; i < 3; i++)
        commit(10, 50, NULL);
    size_t len = log_copy_value(&j, 11, bytes, sizeof bytes);

    store_value(11, bytes, len, 12); /* says more than it has */
    journal_close(&j);
    cr_assert_eq(check(directory.path, true), 0);
    cr_assert_eq(found.n_holes, 1);
    cr_assert_eq(found.holes[0].first, 21);
    cr_assert_not_null(strstr(found.reasons[0], "ends before it"));
    cr_assert_eq(found.n_faults, 1, "and it reaches into the next");
    log_open(&j, &directory, 16 * MIB, 0);

    store_value(11, bytes, len, 9);
    journal_close(&j);
    cr_assert_eq(check(directory.path, true), 0);
    cr_assert_eq(found.n_holes, 1);
    cr_assert_eq(found.holes[0].first, 20);
    log_open(&j, &directory, 16 * MIB, 0);

    uint8_t saved = bytes[JOURNAL_HEADER_BYTES + 2];
    bytes[JOURNAL_HEADER_BYTES + 2] = 0xff; /* a tag that is none */
    store_value(11, bytes, len, 10);
    expect_hole(11, 11, "no valid event");
    cr_assert_eq(summary.n_records, 29);
    bytes[JOURNAL_HEADER_BYTES + 2] = saved;

    size_t other = log_copy_value(&j, 1, bytes, sizeof bytes);
    store_value(11, bytes, other, 10); /* those of another place */
    journal_close(&j);
    cr_assert_eq(check(directory.path, true), 0);
    cr_assert_eq(found.n_holes, 10);
    cr_assert_not_null(strstr(found.reasons[0], "another sequence"));
    log_open(&j, &directory, 16 * MIB, 0);
}

Test(check, decodes_every_pair)
{
    commit(10, 50, NULL);
    const struct {
        enum journal_table table;
        const char *key, *value, *fault;
    } cases[] = {
        {JOURNAL_DEDUPE, "12345678host", "short", "no agent's newest record"},
        {JOURNAL_STATUS, "device", "\x07", "no device's status"},
        {JOURNAL_CURSORS, "name", "short", "no cursor"},
        {JOURNAL_CURSORS, "na me", "0123456789abcdef", "no cursor's name"},
        {JOURNAL_AGENTS, "host", "\x0a\x05other", "no agent"},
        {JOURNAL_AGENTS, "host", "\xff\xff", "no agent"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct journal_write w = {.checkpoint = true, .status_through = 1};
        cr_assert_eq(journal_write_put(&w, cases[i].table, cases[i].key, strlen(cases[i].key), cases[i].value,
                                       strlen(cases[i].value)),
                     0);
        cr_assert_eq(journal_write(&j, &w), 0);
        journal_publish(&j, &w);
        journal_write_deinit(&w);
        expect_fault(cases[i].fault);
        struct journal_write back = {.checkpoint = true, .status_through = 1};
        cr_assert_eq(journal_write_put(&back, cases[i].table, cases[i].key, strlen(cases[i].key), NULL, 0), 0);
        cr_assert_eq(journal_write(&j, &back), 0);
        journal_publish(&j, &back);
        journal_write_deinit(&back);
    }
    struct journal_write w = {.checkpoint = true, .status_through = 1};
    put_cursor(&w, "too-new", j.epoch, 11);
    cr_assert_eq(journal_write(&j, &w), 0);
    journal_publish(&j, &w);
    journal_write_deinit(&w);
    expect_fault("behind the newest record");
    struct journal_write dedupe = {.checkpoint = true, .status_through = 1};
    put_cursor(&dedupe, "too-new", j.epoch, 10);
    put_dedupe(&dedupe, "too-new", 11);
    cr_assert_eq(journal_write(&j, &dedupe), 0);
    journal_publish(&j, &dedupe);
    journal_write_deinit(&dedupe);
    expect_fault("behind the newest record");
}

Test(check, finds_a_damaged_pair_and_a_damaged_description)
{
    commit(10, 50, NULL);
    change_value(j.tables[JOURNAL_CURSORS], "of-another-log", 14, 3, 1);
    expect_fault("cursors: the checksum of a pair does not match");
    change_value(j.tables[JOURNAL_CURSORS], "of-another-log", 14, 3, 1);
    change_value(j.meta_table, "state", 5, 3, 1);
    journal_close(&j);
    cr_assert_eq(check(directory.path, true), 0);
    cr_assert_eq(found.n_faults, 2, "%s", found.fault);
    cr_assert_not_null(strstr(found.fault, "the state is missing"));
    cr_assert_eq(summary.n_records, 10, "the records are read all the same");
}

Test(check, refuses_another_format_by_its_number)
{
    uint32_t format = 1;
    struct store_txn t;
    cr_assert_eq(store_begin(&j.store, true, &t), 0);
    cr_assert_eq(store_put(&t, j.meta_table, "format", 6, &format, sizeof format, 0), 0);
    cr_assert_eq(store_commit(&t), 0);
    journal_close(&j);
    cr_assert_eq(check(directory.path, true), UV_EINVAL);
    cr_assert_not_null(strstr(err, "format 1"));
}

/* ---- anything may have happened to the file */

static uint8_t *sound;
static size_t sound_len;
static uint32_t sound_digest;
static uint64_t sound_oldest, sound_newest;

static void fill_and_load(void)
{
    struct stat file;
    struct retention_limits limits = {.max_records = 400};
    char path[128];
    for (int i = 0; i < 40; i++)
        commit(1 + chance_below64(&chance, 30), chance_below64(&chance, 200), &limits);
    sound_oldest = j.oldest;
    sound_newest = j.newest;
    journal_close(&j);
    snprintf(path, sizeof path, "%s/data.mdb", directory.path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_eq(fstat(fd, &file), 0);
    sound_len = (size_t)file.st_size;
    sound = malloc(sound_len);
    cr_assert_not_null(sound);
    cr_assert_eq(read(fd, sound, sound_len), (ssize_t)sound_len);
    close(fd);
}

static void write_copy(size_t len)
{
    char path[128];
    snprintf(path, sizeof path, "%s/data.mdb", copy.path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_eq(write(fd, sound, len), (ssize_t)len);
    close(fd);
}

static int digest_pair(void *data, const struct store_value *key, const struct store_value *value)
{
    uint32_t *crc = data;
    *crc = crc32c(crc32c(*crc, key->data, key->len), value->data, value->len);
    return 0;
}

static bool is_in_told_hole(uint64_t sequence)
{
    for (size_t i = 0; i < found.n_holes && i < MAX_FOUND; i++)
        if (sequence >= found.holes[i].first && sequence <= found.holes[i].last)
            return true;
    return false;
}

/* Open the copy as a broker would, and read everything. Every record is the one that was written, or damaged and told;
 * *out_digest is of the tables. False: it does not open. */
static bool read_as_broker(uint32_t *out_digest)
{
    struct journal c;
    struct journal_options options = {.directory = copy.path, .map_bytes = 16 * MIB, .new_epoch = 1};
    struct journal_run run;
    char reason[256];

    if (journal_open(&c, &options, reason, sizeof reason) != 0)
        return false;
    *out_digest = 0;
    for (unsigned i = 0; i < JOURNAL_N_TABLES; i++)
        cr_assert_eq(journal_each(&c, (enum journal_table)i, digest_pair, out_digest), 0);
    for (uint64_t at = c.oldest, last; at <= c.newest; at = last + 1) {
        int rc = journal_read(&c, at, ALL, SIZE_MAX, &run);
        last = run.last;
        if (rc == JOURNAL_DAMAGED) {
            for (uint64_t n = run.first; n <= run.last; n++)
                cr_assert(is_in_told_hole(n), "seed %" PRIu64 ": %" PRIu64 " cannot be read, and was not told", seed,
                          n);
            continue;
        }
        cr_assert_eq(rc, JOURNAL_RUN, "seed %" PRIu64 ": %d at %" PRIu64 " of %" PRIu64 "..%" PRIu64, seed, rc, at,
                     c.oldest, c.newest);
        run_check(&run, at, run.last);
        journal_run_release(&run);
    }
    *out_digest = crc32c(*out_digest, &c.oldest, sizeof c.oldest);
    *out_digest = crc32c(*out_digest, &c.newest, sizeof c.newest);
    journal_close(&c);
    return true;
}

Test(check, what_is_called_clean_reads_as_it_was_written, .timeout = 280)
{
    unsigned n_damaged = 0, n_clean = 0;
    uint32_t digest;
    fill_and_load();
    write_copy(sound_len);
    cr_assert_eq(check(copy.path, true), 0);
    cr_assert(read_as_broker(&sound_digest));
    for (int i = 0; i < N_FLIPS; i++) {
        size_t places[3], n = 1 + chance_below64(&chance, 3);
        uint8_t masks[3];
        for (size_t k = 0; k < n; k++) {
            places[k] = chance_below64(&chance, 2)
                            ? chance_below64(&chance, sound_len)
                            : chance_below64(&chance, sound_len / 4096) * 4096 + chance_below64(&chance, 200);
            masks[k] = (uint8_t)(1u << chance_below64(&chance, 8));
            sound[places[k]] ^= masks[k];
        }
        write_copy(sound_len);
        int rc = check(copy.path, true);
        bool is_clean = rc == 0 && found.n_holes + found.n_faults == 0;
        n_damaged += !is_clean;
        n_clean += is_clean;
        bool opens = read_as_broker(&digest);
        if (is_clean)
            cr_assert(opens && digest == sound_digest, "seed %" PRIu64 ", try %d, first at %zu", seed, i, places[0]);
        check(copy.path, false);
        while (n-- > 0)
            sound[places[n]] ^= masks[n];
    }
    cr_assert_gt(n_damaged, N_FLIPS / 20, "%u", n_damaged);
    cr_assert_gt(n_clean, N_FLIPS / 20, "%u", n_clean);
    free(sound);
}

Test(check, survives_a_file_cut_anywhere)
{
    uint32_t digest;
    fill_and_load();
    for (size_t len = 0; len <= sound_len; len += 1 + chance_below64(&chance, 3000)) {
        write_copy(len);
        int rc = check(copy.path, true);
        bool is_clean = rc == 0 && found.n_holes + found.n_faults == 0;
        cr_assert(!is_clean || read_as_broker(&digest));
    }
    free(sound);
}
