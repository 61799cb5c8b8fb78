/* SPDX-License-Identifier: Apache-2.0 */
/* Power is lost at any moment: the log opens, and what was told as committed is there, whole, once and in order.
 *
 * A child commits through the engine, over a disk that puts everything on record (disk.c); it marks on the record what
 * it was told. The parent makes files as a loss of power may leave them (disk_image.h), opens each, reads all of it,
 * commits to it and verifies it. A relaxed log begins anew, and says so. The seed of a failing test is in its message.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "broker/engine/commit.h"
#include "broker/store/check.h"
#include "tests/fault/disk_image.h"
#include "tests/lib/chance.h"
#include "tests/unit/broker/engine/log_directory.h"

#define MIB          (1024u * 1024)
#define MAP_BYTES    (64 * MIB)
#define N_COMMITS    24u /* of one run */
#define KEEP         400u
#define KEEP_LARGE   3000u
#define MARK_KIND    ((uint64_t)3 << 62)
#define MARK_TOLD    ((uint64_t)0 << 62) /* records through the number below were told as committed */
#define MARK_RELAXED ((uint64_t)1 << 62) /* from here on a loss of power may take everything */
#define MARK_FLUSHED                                                                                                   \
    ((uint64_t)2 << 62) /* everything told is on the disk, and the marker of the relaxed mode is gone */

static uint64_t seed;
static struct chance chance;
static struct log_directory work, image;
static char record_path[128];

static void setup(void)
{
    seed = chance_seed();
    chance = chance_from(seed);
}

TestSuite(power_loss, .init = setup, .timeout = 240);

static void make_directories(void)
{
    log_directory_make(&work);
    log_directory_make(&image);
    snprintf(record_path, sizeof record_path, "%s.record", work.path);
}

static void remove_directories(void)
{
    log_directory_remove(&work);
    log_directory_remove(&image);
    unlink(record_path);
}

/* ---- the child: it commits, and is gone without a word */

static struct {
    struct journal journal;
    struct commit commit;
    uv_loop_t loop;
    struct retention_limits retention;
    unsigned commits_left;
    bool large;
} run;

static int on_seal(void *data, struct journal_write *w, uint64_t through)
{
    char name[32];
    (void)data;
    snprintf(name, sizeof name, "reader-%" PRIu64, chance_below64(&chance, 30));
    int rc = journal_write_put(w, JOURNAL_DEDUPE, "through", 7, &through, sizeof through);
    return rc ? rc
              : journal_write_put(w, JOURNAL_CURSORS, name, strlen(name), chance_below64(&chance, 4) ? &through : NULL,
                                  sizeof through);
}

static void append_some(void)
{
    uint8_t event[EVENT_MAX];
    uint64_t sequence,
        n_records = run.large && chance_below64(&chance, 3) == 0 ? 1500 : 1 + chance_below64(&chance, 40);
    size_t padding = run.large ? 250 : chance_below64(&chance, 200);
    for (uint64_t i = 0; i < n_records; i++) {
        uint64_t n = run.commit.newest + 1;
        if (commit_append(&run.commit, event, event_write(event, n, padding), n * 1000, 1, &sequence))
            abort();
    }
}

static void on_committed(void *data, uint64_t from, uint64_t through)
{
    (void)data, (void)from;
    disk_mark(MARK_TOLD | through);
    if (chance_below64(&chance, 6) == 0) /* the next one goes to the store */
        commit_poke(&run.commit);
    if (run.commits_left-- > 0)
        append_some();
    else
        commit_close(&run.commit, NULL);
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

static void commit_some(unsigned n)
{
    static const struct commit_ops ops = {on_seal, on_committed, on_failed, on_room};
    uv_loop_init(&run.loop);
    if (commit_init(&run.commit, &run.loop, &run.journal, &run.retention, &ops, NULL))
        abort();
    run.commits_left = n;
    append_some();
    uv_run(&run.loop, UV_RUN_DEFAULT);
}

static void open_journal(bool relaxed)
{
    struct journal_options options = {
        .directory = work.path, .map_bytes = MAP_BYTES, .relaxed = relaxed, .new_epoch = 0x5e45eb05};
    char err[256];
    if (relaxed)
        disk_mark(MARK_RELAXED);
    if (journal_open(&run.journal, &options, err, sizeof err))
        abort();
    if (!relaxed)
        disk_mark(MARK_FLUSHED);
}

/* One process: a few lives of the log, each ended in order but the last. `modes`: s sync, r relaxed. */
static void live(const char *modes, bool large)
{
    pid_t pid = fork();
    int status;
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        disk_record_to(record_path);
        run.large = large;
        run.retention.max_records = large ? KEEP_LARGE : KEEP;
        for (const char *mode = modes; *mode; mode++) {
            open_journal(*mode == 'r');
            commit_some(N_COMMITS);
            if (mode[1]) {
                journal_close(&run.journal);
                disk_mark(MARK_FLUSHED);
            }
        }
        _exit(0);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
}

/* ---- the parent: it looks at what is left */

struct promise {
    uint64_t told;
    bool is_relaxed; /* the marker is there */
    bool is_made;    /* there is a file */
    uint64_t newest; /* that can be there at all */
};

static struct promise promise_at(const struct disk_log *log, size_t cut)
{
    struct promise p = {0};
    for (size_t i = 0; i < log->n; i++) {
        const struct disk_log_entry *e = &log->entries[i];
        uint64_t number = e->offset & ~MARK_KIND;
        if (i < cut && e->kind == DISK_SYNC && e->file == DISK_DATA)
            p.is_made = true;
        if (e->kind != DISK_MARK)
            continue;
        if ((e->offset & MARK_KIND) == MARK_TOLD) {
            p.newest = number;
            if (i < cut)
                p.told = number;
            else
                break; /* the commit that was under way */
        } else if (i < cut) {
            p.is_relaxed = (e->offset & MARK_KIND) == MARK_RELAXED;
        }
    }
    return p;
}

static void write_file(const char *name, const void *bytes, size_t len)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", image.path, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, bytes, len), (ssize_t)len);
    close(fd);
}

static void remove_image(void)
{
    log_directory_remove(&image);
    cr_assert_eq(mkdir(image.path, 0700), 0);
}

static char what[256]; /* the image that is looked at */

static int on_through(void *data, const struct store_value *key, const struct store_value *value)
{
    cr_assert(key->len == 7 && value->len == sizeof(uint64_t), "%s", what);
    memcpy(data, value->data, sizeof(uint64_t));
    return 0;
}

/* Every record, in order and as it was made; and the tables of the same moment. */
static void check_content(struct journal *j)
{
    uint64_t through = 0;
    for (uint64_t at = j->oldest; at <= j->newest;) {
        struct journal_run records;
        cr_assert_eq(journal_read(j, at, UINT64_MAX, SIZE_MAX, &records), JOURNAL_RUN, "%s: record %" PRIu64, what, at);
        run_check(&records, at, records.last);
        at = records.last + 1;
        journal_run_release(&records);
    }
    cr_assert_eq(journal_each(j, JOURNAL_DEDUPE, on_through, &through), 0);
    cr_assert_eq(through, j->newest, "%s: the tables are of record %" PRIu64, what, through);
}

static void commit_one(struct journal *j)
{
    struct journal_batch b = {0};
    struct journal_write w = {.batches = &b, .n_batches = 1, .status_through = 0};
    uint64_t next = j->newest + 1;
    batch_fill(&b, next, next + 2, 100);
    next += 2;
    cr_assert_eq(journal_write_put(&w, JOURNAL_DEDUPE, "through", 7, &next, sizeof next), 0);
    cr_assert_eq(journal_write(j, &w), 0, "%s", what);
    journal_publish(j, &w);
    journal_write_deinit(&w);
    journal_batch_deinit(&b);
}

static void on_hole(void *data, const struct check_hole *hole)
{
    (void)data;
    cr_assert_fail("%s: hole %" PRIu64 "..%" PRIu64 ": %s", what, hole->first, hole->last, hole->reason);
}

static void on_fault(void *data, const struct check_fault *fault)
{
    (void)data;
    /* What this test puts is no agent and no cursor. */
    bool is_ours = strstr(fault->reason, "no agent's newest record") || strstr(fault->reason, "no cursor");
    cr_assert(is_ours, "%s: %s: %s", what, fault->table ? fault->table : "-", fault->reason);
}

static void verify(void)
{
    static const struct check_ops ops = {.on_hole = on_hole, .on_fault = on_fault};
    struct check_summary summary;
    char err[256];
    cr_assert_eq(check_log(image.path, true, &ops, NULL, &summary, err, sizeof err), 0, "%s: %s", what, err);
}

static void check_image(const struct promise *p)
{
    struct journal j;
    struct journal_options options = {.directory = image.path, .map_bytes = MAP_BYTES, .new_epoch = 0x5e45eb06};
    char err[256];

    if (p->is_made && !p->is_relaxed)
        verify();
    cr_assert_eq(journal_open(&j, &options, err, sizeof err), 0, "%s does not open: %s", what, err);
    cr_assert_eq(j.store.started_over, p->is_relaxed, "%s: started over: %d", what, j.store.started_over);
    if (p->is_relaxed) {
        cr_assert_eq(j.newest, 0);
        cr_assert_eq(j.epoch, 0x5e45eb06, "%s: another log has another epoch", what);
    } else {
        cr_assert_geq(j.newest, p->told, "%s: %" PRIu64 " were told, there are %" PRIu64, what, p->told, j.newest);
        cr_assert_leq(j.newest, p->newest, "%s", what);
        cr_assert(p->told == 0 || j.epoch == 0x5e45eb05, "%s", what);
        check_content(&j);
    }
    commit_one(&j);
    check_content(&j);
    journal_close(&j);
    verify();
}

static void make_files(const struct disk_log *log, size_t cut, enum disk_fate fate)
{
    static const struct {
        enum disk_record_file file;
        const char *name;
    } files[] = {{DISK_DATA, "data.mdb"}, {DISK_REDO, "redo"}};

    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t len;
        uint8_t *file = disk_image(log, files[i].file, cut, fate, chance_next(&chance), &len);
        if (len > 0)
            write_file(files[i].name, file, len);
        free(file);
    }
}

static void try_image(const struct disk_log *log, size_t cut, enum disk_fate fate)
{
    struct promise p = promise_at(log, cut);

    snprintf(what, sizeof what, "seed %" PRIu64 ", cut at %zu of %zu, fate %d", seed, cut, log->n, (int)fate);
    remove_image();
    if (p.is_made)
        make_files(log, cut, fate);
    if (p.is_relaxed)
        write_file("relaxed", "another boot", 12);
    check_image(&p);
}

static void try_images(unsigned n)
{
    struct disk_log log;
    disk_log_read(&log, record_path);
    cr_assert_gt(log.n, 100);
    for (unsigned i = 0; i < n; i++)
        try_image(&log, chance_below64(&chance, log.n + 1), (enum disk_fate)chance_below64(&chance, DISK_N_FATES));
    disk_log_free(&log);
}

/* ---- the tests */

Test(power_loss, everything_told_is_there_whole_once_and_in_order)
{
    for (int i = 0; i < 5; i++) {
        make_directories();
        live(i % 2 ? "s" : "ss", false);
        live("s", false);
        try_images(60);
        remove_directories();
    }
}

Test(power_loss, commits_of_many_values_are_there_as_a_whole_or_not_at_all)
{
    make_directories();
    live("s", true);
    try_images(60);
    remove_directories();
}

/* Right after each step of the first moments, and with each fate: there is nothing to lose yet, but it must open. */
Test(power_loss, in_the_first_moments_of_a_log)
{
    struct disk_log log;
    make_directories();
    live("s", false);
    disk_log_read(&log, record_path);
    for (size_t cut = 0; cut < 60; cut++)
        for (int fate = 0; fate < DISK_N_FATES; fate += 1 + (int)chance_below64(&chance, 2))
            try_image(&log, cut, (enum disk_fate)fate);
    disk_log_free(&log);
    remove_directories();
}

/* Relaxed, killed, then opened with sync: from there on nothing is lost, not even what was told before. */
Test(power_loss, a_relaxed_log_begins_anew_and_one_that_was_flushed_does_not)
{
    static const char *const lives[][2] = {{"r", "s"}, {"rs", "s"}, {"srs", "r"}, {"rr", "r"}};
    for (size_t i = 0; i < sizeof lives / sizeof *lives; i++) {
        make_directories();
        live(lives[i][0], false);
        live(lives[i][1], false);
        try_images(25);
        remove_directories();
    }
}

/* The images themselves are to be trusted: files that lost what was flushed must be found. */
Test(power_loss, a_disk_that_loses_what_it_flushed_is_found)
{
    struct disk_log log;
    unsigned n_found = 0, n = 0;
    make_directories();
    live("s", false);
    disk_log_read(&log, record_path);
    for (size_t i = 0; i < log.n; i++)
        if (log.entries[i].kind == DISK_SYNC) /* a flush that did nothing */
            log.entries[i].kind = DISK_MARK;
    for (size_t cut = log.n / 2; cut < log.n; cut += 1 + chance_below64(&chance, 5), n++) {
        struct journal j;
        struct journal_options options = {.directory = image.path, .map_bytes = MAP_BYTES, .new_epoch = 1};
        struct promise p = promise_at(&log, cut);
        char err[256];
        remove_image();
        make_files(&log, cut, DISK_SOME);
        if (journal_open(&j, &options, err, sizeof err) != 0) {
            n_found++;
            continue;
        }
        n_found += j.newest < p.told;
        journal_close(&j);
    }
    cr_assert_gt(n_found, n / 2, "%u of %u", n_found, n);
    disk_log_free(&log);
    remove_directories();
}
