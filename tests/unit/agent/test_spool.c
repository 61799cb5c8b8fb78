/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/spool.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/spool_format.h"
#include "proto/event_view.h"
#include "runtime/chunk.h"
#include "sensebus/v1/agents.pb-c.h"
#include "tests/lib/failing_alloc.h"

static char directory[64];
static uv_loop_t loop;
static struct spool s;
static int disk_error;
static unsigned n_disk_changes;
static bool closed;

static void on_held(struct spool *spool, void *data)
{
    (void)spool;
    (void)data;
}

static void on_disk(struct spool *spool, void *data, int error)
{
    (void)spool;
    (void)data;
    disk_error = error;
    n_disk_changes++;
}

static const struct spool_ops ops = {.on_held = on_held, .on_disk = on_disk};

static struct spool_options defaults(void)
{
    return (struct spool_options){
        .directory = directory, .host = "h", .boot_id = "b", .max_bytes = 1u << 20, .max_records = 1000};
}

/* Until everything appended is held. */
static void settle(void)
{
    while (!spool_settled(&s))
        uv_run(&loop, UV_RUN_ONCE);
}

static void open_unattached(struct spool_options options)
{
    int rc = spool_open(&s, &loop, &options, &ops, NULL);

    cr_assert_eq(rc, 0, "%s", uv_strerror(rc));
}

/* What it holds may be sent. */
static void open_with(struct spool_options options)
{
    open_unattached(options);
    spool_let_send(&s, true);
    settle();
}

static void on_closed(void *data)
{
    (void)data;
    closed = true;
}

static void close_spool(void)
{
    closed = false;
    spool_close(&s, on_closed, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    if (!closed)
        abort();
}

static void setup(void)
{
    strcpy(directory, "/tmp/sensebus-spool.XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    cr_assert_eq(uv_loop_init(&loop), 0);
}

static void teardown(void)
{
    char command[128];

    if (uv_loop_close(&loop) != 0)
        abort();
    snprintf(command, sizeof command, "rm -rf %s", directory);
    if (system(command) != 0)
        abort();
}

TestSuite(spool, .init = setup, .fini = teardown);

static void append(uint64_t n, uint32_t bits)
{
    struct record r = {.code = SENSEBUS__V1__CODE__LUN_RESET, .place = {.adapter = "a", .lun = 1}, .wall_ns = n};
    struct record_bytes event;

    cr_assert_eq(record_encode(&r, &event), 0);
    event.aix_bits = bits;
    spool_append(&s, &event, SENSEBUS__V1__SOURCE__SOURCE_ISCSI, n, n);
    free(event.bytes);
}

static void append_many(uint64_t first, uint64_t last)
{
    for (uint64_t n = first; n <= last; n++)
        append(n, 0);
}

/* Until what was acknowledged is freed. */
static void tidy(void)
{
    while (uv_is_active((uv_handle_t *)&s.tidy) || !spool_settled(&s))
        uv_run(&loop, UV_RUN_ONCE);
}

/* What would be sent from `from` on: "1 2 3 [4-6 bits=4] 7". */
static const char *contents(uint64_t from)
{
    static char out[65536];
    uint64_t last, n;
    struct chunk *records;

    out[0] = 0;
    while (spool_read(&s, from, 4096, 100, &records, &last, &n) == 0) {
        const uint8_t *cursor = records->bytes, *end = records->bytes + records->len, *event;
        struct event_view view;
        size_t len, used;
        char err[128];

        while (records_next(&cursor, end, &event, &len)) {
            cr_assert_eq(event_scan(event, len, &(struct event_limits){0}, &view, err, sizeof err), 0, "%s", err);
            cr_assert_eq(view.agent_epoch, spool_epoch(&s));
            used = strlen(out);
            if (view.loss.present)
                snprintf(out + used, sizeof out - used, "[%lu-%lu bits=%u] ", view.loss.first_source_sequence,
                         view.loss.last_source_sequence, view.aix_bits);
            else
                snprintf(out + used, sizeof out - used, "%lu ", view.source_sequence);
            cr_assert(!view.loss.present || view.source_sequence == view.loss.last_source_sequence);
            cr_assert(!view.loss.present ||
                      view.loss.count == view.source_sequence - view.loss.first_source_sequence + 1);
            n--;
        }
        cr_assert_eq(cursor, end);
        cr_assert_eq(n, 0);
        chunk_unref(records);
        from = last + 1;
    }
    if (out[0])
        out[strlen(out) - 1] = 0;
    return out;
}

Test(spool, events_are_numbered_from_one_and_sent_once_held)
{
    open_with(defaults());
    cr_assert_neq(spool_epoch(&s), 0);
    cr_assert_eq(spool_newest(&s), 0);
    cr_assert_eq(spool_oldest(&s), 1);
    append(1, 0);
    cr_assert_str_eq(contents(1), "", "not held yet");
    settle();
    append_many(2, 5);
    settle();
    cr_assert_str_eq(contents(1), "1 2 3 4 5");
    cr_assert_str_eq(contents(4), "4 5");
    cr_assert_str_eq(contents(6), "");
    cr_assert_eq(spool_newest(&s), 5);
    close_spool();
}

Test(spool, what_was_held_is_there_after_reopening)
{
    uint64_t epoch;

    open_with(defaults());
    append_many(1, 3);
    epoch = spool_epoch(&s);
    close_spool();
    open_with(defaults());
    cr_assert_eq(spool_epoch(&s), epoch);
    append(4, 0);
    settle();
    cr_assert_str_eq(contents(1), "1 2 3 4");
    close_spool();
}

Test(spool, acknowledged_events_are_freed_and_their_numbers_never_used_again)
{
    open_with(defaults());
    append_many(1, 10);
    settle();
    spool_free_upto(&s, 4);
    tidy();
    cr_assert_eq(spool_oldest(&s), 5);
    cr_assert_eq(s.held.n_records, 6);
    spool_free_upto(&s, 10);
    tidy();
    cr_assert_eq(s.held.n_records, 0);
    cr_assert_eq(s.held.n_bytes, 0);
    close_spool();
    open_with(defaults());
    cr_assert_eq(spool_newest(&s), 10);
    cr_assert_eq(spool_oldest(&s), 11);
    append(11, 0);
    settle();
    cr_assert_str_eq(contents(1), "11");
    close_spool();
}

Test(spool, an_acknowledgement_of_what_is_not_there_does_nothing)
{
    open_with(defaults());
    append_many(1, 2);
    settle();
    spool_free_upto(&s, 99);
    spool_free_upto(&s, 0);
    tidy();
    cr_assert_str_eq(contents(1), "1 2");
    close_spool();
}

Test(spool, overflow_drops_the_oldest_and_one_loss_takes_their_place)
{
    struct spool_options o = defaults();

    o.max_records = 5;
    open_with(o);
    append(1, 4);
    append(2, 1);
    append_many(3, 8);
    settle();
    cr_assert_str_eq(contents(1), "[1-4 bits=5] 5 6 7 8");
    append_many(9, 10);
    settle();
    cr_assert_str_eq(contents(1), "[1-6 bits=5] 7 8 9 10", "it grows");
    cr_assert_eq(spool_n_dropped(&s), 6);
    cr_assert_eq(spool_oldest(&s), 1);
    close_spool();
    open_with(o);
    cr_assert_str_eq(contents(1), "[1-6 bits=5] 7 8 9 10");
    cr_assert_eq(spool_n_dropped(&s), 6);
    close_spool();
}

Test(spool, a_loss_is_told_from_where_the_broker_stands)
{
    struct spool_options o = defaults();

    o.max_records = 3;
    open_with(o);
    append(1, 4);
    append_many(2, 10);
    settle();
    cr_assert_str_eq(contents(1), "[1-8 bits=4] 9 10");
    cr_assert_str_eq(contents(6), "[6-8 bits=4] 9 10");
    cr_assert_str_eq(contents(8), "[8-8 bits=4] 9 10");
    cr_assert_str_eq(contents(9), "9 10");
    spool_free_upto(&s, 5); /* a part of the loss: nothing to free */
    tidy();
    cr_assert_str_eq(contents(6), "[6-8 bits=4] 9 10");
    spool_free_upto(&s, 8);
    tidy();
    cr_assert_str_eq(contents(1), "9 10");
    close_spool();
}

Test(spool, bytes_are_a_bound_too)
{
    struct spool_options o = defaults();

    o.max_bytes = 65536;
    open_with(o);
    for (uint64_t n = 1; n <= 2000; n++)
        append(n, 2);
    settle();
    cr_assert_leq(s.held.n_bytes, 65536);
    cr_assert_gt(s.held.n_bytes, 60000);
    cr_assert(strncmp(contents(1), "[1-", 3) == 0, "%s", contents(1));
    cr_assert_eq(spool_newest(&s), 2000);
    close_spool();
}

Test(spool, an_event_that_finds_no_memory_is_counted)
{
    static const struct record_bytes nothing = {.aix_bits = 8};

    open_with(defaults());
    append(1, 0);
    spool_append(&s, &nothing, SENSEBUS__V1__SOURCE__SOURCE_ISCSI, 2, 2);
    spool_append(&s, &nothing, SENSEBUS__V1__SOURCE__SOURCE_ISCSI, 3, 3);
    append(4, 0);
    settle();
    cr_assert_str_eq(contents(1), "1 [2-3 bits=8] 4");
    cr_assert_eq(spool_n_dropped(&s), 2);
    close_spool();
}

Test(spool, one_that_finds_no_memory_at_all_is_held_like_any_other)
{
    static const struct record_bytes nothing = {.aix_bits = 8};

    open_with(defaults());
    spool_append(&s, &nothing, SENSEBUS__V1__SOURCE__SOURCE_ISCSI, 1, 1); /* takes what was kept for it */
    settle();
    spool_append(&s, &nothing, SENSEBUS__V1__SOURCE__SOURCE_ISCSI, 2, 2);
    settle();
    cr_assert_eq(spool_newest(&s), spool_appended(&s));
    cr_assert_str_eq(contents(1), "[1-1 bits=8] [2-2 bits=15]");
    close_spool();
    open_with(defaults());
    append(3, 0);
    settle();
    cr_assert_str_eq(contents(1), "[1-1 bits=8] [2-2 bits=15] 3", "its number is not given again");
    cr_assert_eq(spool_n_dropped(&s), 2);
    close_spool();
}

Test(spool, a_read_that_finds_no_memory_skips_nothing)
{
    struct spool_options o = defaults();
    struct chunk *records;
    uint64_t last, n;
    unsigned n_failed = 0;
    int rc;

    o.max_records = 3;
    open_with(o);
    append_many(1, 10);
    settle();
    for (bool failed = true; failed; n_failed += failed) {
        failing_alloc_after(n_failed);
        rc = spool_read(&s, 1, 4096, 100, &records, &last, &n);
        failed = failing_alloc_stop();
        cr_assert_eq(rc, failed ? UV_ENOMEM : 0, "%u: %s", n_failed, rc < 0 ? uv_strerror(rc) : "something is missing");
        if (rc == 0)
            chunk_unref(records);
    }
    cr_assert_geq(n_failed, 2);
    cr_assert_str_eq(contents(1), "[1-8 bits=0] 9 10");
    close_spool();
}

Test(spool, a_read_respects_both_limits_and_gives_one_event_at_least)
{
    struct chunk *records;
    uint64_t last, n;

    open_with(defaults());
    append_many(1, 50);
    settle();
    cr_assert_eq(spool_read(&s, 1, 1 << 20, 7, &records, &last, &n), 0);
    cr_assert_eq(n, 7);
    cr_assert_eq(last, 7);
    chunk_unref(records);
    cr_assert_eq(spool_read(&s, 3, 1, 7, &records, &last, &n), 0);
    cr_assert_eq(n, 1);
    cr_assert_eq(last, 3);
    chunk_unref(records);
    cr_assert_eq(spool_read(&s, 3, 1000, 0, &records, &last, &n), UV_ENOENT);
    close_spool();
}

Test(spool, what_is_held_while_nothing_may_be_sent_was_sent_by_nobody)
{
    open_with(defaults());
    append_many(1, 3);
    settle();
    cr_assert_eq(spool_sent(&s), 3);
    spool_let_send(&s, false);
    append_many(4, 6);
    settle();
    cr_assert_eq(spool_newest(&s), 6);
    cr_assert_str_eq(contents(1), "1 2 3");
    close_spool();
    open_unattached(defaults());
    cr_assert_eq(spool_sent(&s), 3, "as the life before said");
    cr_assert_str_eq(contents(1), "1 2 3");
    spool_let_send(&s, true);
    cr_assert_eq(spool_sent(&s), 3, "not on disk yet");
    settle();
    cr_assert_eq(spool_sent(&s), 6);
    cr_assert_str_eq(contents(1), "1 2 3 4 5 6");
    close_spool();
}

Test(spool, what_was_on_its_way_to_the_disk_when_sending_began_is_sent_without_waiting_for_more)
{
    open_with(defaults());
    spool_let_send(&s, false);
    append(1, 0);
    cr_assert_not_null(s.commit, "it is on its way");
    spool_let_send(&s, true);
    settle();
    cr_assert_eq(spool_newest(&s), 1);
    cr_assert_eq(spool_sent(&s), 1);
    cr_assert_str_eq(contents(1), "1");
    close_spool();
}

Test(spool, a_loss_of_what_was_sent_and_of_what_was_not_is_told_as_one)
{
    struct spool_options o = defaults();

    o.max_records = 4;
    open_with(o);
    append_many(1, 3);
    settle();
    spool_let_send(&s, false);
    append_many(4, 9);
    settle();
    cr_assert_eq(spool_sent(&s), 3);
    spool_let_send(&s, true);
    cr_assert_str_eq(contents(1), "", "nothing of it is damaged: it was dropped");
    settle();
    cr_assert_str_eq(contents(1), "[1-6 bits=0] 7 8 9");
    close_spool();
}

Test(spool, a_new_epoch_begins_at_one_with_what_is_left)
{
    uint64_t old, renewed;

    open_with(defaults());
    append_many(1, 10);
    settle();
    spool_free_upto(&s, 6);
    tidy();
    old = spool_epoch(&s);
    cr_assert_eq(spool_renew(&s), 0);
    cr_assert(spool_renewing(&s));
    cr_assert_eq(spool_epoch(&s), old, "the new one is not on disk yet");
    settle();
    cr_assert_not(spool_renewing(&s));
    renewed = spool_epoch(&s);
    cr_assert_neq(renewed, old);
    cr_assert_str_eq(contents(1), "1 2 3 4");
    append(5, 0);
    close_spool();
    open_with(defaults());
    cr_assert_eq(spool_epoch(&s), renewed);
    cr_assert_str_eq(contents(1), "1 2 3 4 5");
    close_spool();
}

Test(spool, one_process_at_a_time)
{
    struct spool_options o = defaults();
    struct spool second;

    open_with(o);
    cr_assert_eq(spool_open(&second, &loop, &o, &ops, NULL), UV_EBUSY);
    close_spool();
}

Test(spool, bounds_that_make_no_sense_are_refused)
{
    struct spool_options o = defaults();

    o.max_records = 1;
    cr_assert_eq(spool_open(&s, &loop, &o, &ops, NULL), UV_EINVAL);
    o = defaults();
    o.max_bytes = 1000;
    cr_assert_eq(spool_open(&s, &loop, &o, &ops, NULL), UV_EINVAL);
}

/* The file may not grow: writes fail as on a full disk. */
static void limit_file(rlim_t bytes)
{
    struct rlimit limit = {.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};

    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static off_t data_size(void)
{
    char path[128];
    struct stat st;

    snprintf(path, sizeof path, "%s/data.mdb", directory);
    cr_assert_eq(stat(path, &st), 0);
    return st.st_size;
}

Test(spool, a_full_disk_keeps_events_in_memory_and_writes_them_when_there_is_room)
{
    struct spool_options o = defaults();

    o.max_memory_bytes = 40000;
    open_with(o);
    append_many(1, 3);
    settle();
    limit_file((rlim_t)data_size());
    append_many(4, 53);
    while (disk_error == 0 && !spool_settled(&s)) {
        append(54 + n_disk_changes, 0); /* until the free pages of the file are used up */
        uv_run(&loop, UV_RUN_ONCE);
    }
    for (uint64_t n = 0; n < 500; n++)
        append(100 + n, 4);
    while (disk_error == 0)
        uv_run(&loop, UV_RUN_ONCE);
    cr_assert_lt(disk_error, 0);
    cr_assert_leq(s.n_pending_bytes, 80000, "bounded, with the commit that came back");
    cr_assert_gt(spool_n_dropped(&s), 0);
    limit_file(RLIM_INFINITY);
    settle();
    cr_assert_eq(disk_error, 0);
    cr_assert_eq(spool_newest(&s), s.last_key);
    cr_assert_not_null(strstr(contents(1), "bits=4]"), "%s", contents(1));
    close_spool();
}

/* Nothing else makes room: only what the broker has may go, and that takes room, too. */
Test(spool, what_is_acknowledged_makes_room_on_a_full_disk)
{
    struct spool_options o = defaults();
    uint64_t n = 0, end;

    o.max_bytes = 64u << 20;
    o.max_records = 100000;
    open_with(o);
    limit_file(1500000);
    while (disk_error == 0) {
        append_many(n + 1, n + 20);
        n += 20;
        uv_run(&loop, UV_RUN_ONCE);
    }
    append_many(n + 1, n + 1000); /* more than goes into the pages of one commit */
    n += 1000;
    end = uv_hrtime() + 60000000000u;
    while (!spool_settled(&s)) {
        spool_free_upto(&s, spool_newest(&s));
        uv_run(&loop, UV_RUN_ONCE);
        cr_assert_lt(uv_hrtime(), end, "%lu of %lu are held", spool_newest(&s), n);
    }
    cr_assert_eq(spool_newest(&s), n);
    cr_assert_eq(spool_n_dropped(&s), 0);
    cr_assert_eq(disk_error, 0);
    close_spool();
}

Test(spool, what_is_held_is_sent_though_the_disk_takes_nothing_any_more)
{
    open_with(defaults());
    spool_let_send(&s, false);
    append_many(1, 3);
    settle();
    limit_file(0);
    spool_let_send(&s, true);
    while (disk_error == 0)
        uv_run(&loop, UV_RUN_ONCE);
    cr_assert_str_eq(contents(1), "1 2 3");
    limit_file(RLIM_INFINITY);
    append(4, 0);
    settle();
    cr_assert_str_eq(contents(1), "1 2 3 4");
    close_spool();
}

Test(spool, a_disk_that_failed_once_is_as_good_as_before_also_when_events_never_pause)
{
    uint64_t n = 0, first;
    unsigned n_reads = 0;
    struct spool_options o = defaults();

    o.max_records = 100000;
    o.max_bytes = 64u << 20;
    o.max_memory_bytes = 100000;
    open_with(o);
    append(++n, 0);
    settle();
    limit_file((rlim_t)data_size());
    while (disk_error == 0) {
        append(++n, 0);
        uv_run(&loop, UV_RUN_ONCE);
    }
    limit_file(RLIM_INFINITY);
    first = spool_newest(&s);
    while (n_reads < 100) { /* as many commits, and something waits at the end of each */
        uint64_t newest = spool_newest(&s);
        append(++n, 0);
        uv_run(&loop, UV_RUN_ONCE);
        n_reads += spool_newest(&s) > newest;
    }
    cr_assert_eq(disk_error, 0);
    cr_assert_gt(spool_newest(&s), first);
    append_many(n + 1, n + 300);
    n += 300;
    n_reads = 0;
    while (!spool_settled(&s)) {
        uint64_t newest = spool_newest(&s);
        uv_run(&loop, UV_RUN_ONCE);
        n_reads += spool_newest(&s) > newest;
    }
    cr_assert_leq(n_reads, 5, "%u commits for 300 events", n_reads);
    cr_assert_eq(spool_n_dropped(&s), 0);
    cr_assert_eq(spool_newest(&s), n);
    close_spool();
}

Test(spool, what_a_full_disk_did_not_take_before_the_end_is_named)
{
    char path[128], text[4096] = "";
    int saved = dup(STDERR_FILENO), fd;
    FILE *f;

    open_with(defaults());
    append_many(1, 3);
    settle();
    limit_file((rlim_t)data_size());
    while (disk_error == 0) {
        append_many(s.last_key + 1, s.last_key + 50);
        uv_run(&loop, UV_RUN_ONCE);
    }
    cr_assert_gt(s.last_key, spool_newest(&s));
    limit_file(RLIM_INFINITY);
    snprintf(path, sizeof path, "%s/stderr", directory);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    dup2(fd, STDERR_FILENO);
    close_spool();
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fd);
    f = fopen(path, "re");
    cr_assert_not_null(f);
    cr_assert_not_null(fgets(text, sizeof text, f), "nothing was said");
    fclose(f);
    cr_assert_not_null(strstr(text, "spool.lost"), "%s", text);
}

/* A child appends and says what is held; it is killed at some moment; everything it said must be there. */
static void child(int report, uint64_t max_records)
{
    struct spool_options o = defaults();
    uint64_t said = 0, n = 0;

    o.max_records = max_records;
    if (spool_open(&s, &loop, &o, &ops, NULL) != 0)
        _exit(1);
    for (;;) {
        while (s.last_key < s.held.last_key + 100)
            append(++n, 0);
        uv_run(&loop, UV_RUN_ONCE);
        if (spool_newest(&s) > said) {
            said = spool_newest(&s);
            if (write(report, &said, sizeof said) != sizeof said)
                _exit(1);
        }
    }
}

static void kill_at(unsigned n_reports, uint64_t max_records)
{
    int fds[2];
    uint64_t said = 0, newest = 0;
    pid_t pid;

    cr_assert_eq(pipe(fds), 0);
    pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        close(fds[0]);
        if (uv_loop_init(&loop) != 0) /* the pool's threads did not come along, nothing used it before */
            _exit(1);
        child(fds[1], max_records);
    }
    close(fds[1]);
    for (unsigned i = 0; i < n_reports && read(fds[0], &said, sizeof said) == sizeof said; i++)
        newest = said;
    kill(pid, SIGKILL);
    while (read(fds[0], &said, sizeof said) == sizeof said) /* said before it died */
        newest = said;
    close(fds[0]);
    waitpid(pid, NULL, 0);
    cr_assert_gt(newest, 0);

    struct spool_options o = defaults();
    o.max_records = max_records;
    open_with(o);
    cr_assert_geq(spool_newest(&s), newest, "said %lu, has %lu", newest, spool_newest(&s));
    uint64_t expected = 1, last = 0, count = 0;
    for (uint64_t from = 1; from <= spool_newest(&s); from = last + 1) {
        const uint8_t *cursor, *event;
        struct event_view view;
        struct chunk *records;
        size_t len;
        char err[128];

        cr_assert_eq(spool_read(&s, from, 65536, 1000, &records, &last, &count), 0);
        cursor = records->bytes;
        while (records_next(&cursor, records->bytes + records->len, &event, &len)) {
            cr_assert_eq(event_scan(event, len, &(struct event_limits){0}, &view, err, sizeof err), 0);
            cr_assert_eq(view.loss.present ? view.loss.first_source_sequence : view.source_sequence, expected);
            expected = view.source_sequence + 1;
        }
        chunk_unref(records);
    }
    cr_assert_eq(expected, spool_newest(&s) + 1);
    close_spool();
}

Test(spool, kill_9_at_any_moment_loses_nothing_that_was_held)
{
    for (unsigned i = 1; i <= 6; i++)
        kill_at(i * 3, 1000000);
}

Test(spool, kill_9_during_overflow_leaves_no_hole)
{
    for (unsigned i = 1; i <= 6; i++)
        kill_at(i * 3, 10);
}

/* ------------------------------------------------------------------------------------------------ damage */

static uint8_t image[1u << 20], whole[sizeof image]; /* of the closed spool's file, and as it was before a flip */
static size_t image_len;

static void image_move(const char *mode, bool write)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof path, "%s/data.mdb", directory);
    f = fopen(path, mode);
    cr_assert_not_null(f);
    if (write)
        cr_assert_eq(fwrite(image, 1, image_len, f), image_len);
    else
        image_len = fread(image, 1, sizeof image, f);
    cr_assert_lt(image_len, sizeof image);
    cr_assert_eq(fclose(f), 0);
}

/* A closed spool with six events, of which it has acknowledged none. */
static void make_image(void)
{
    open_with(defaults());
    append_many(1, 6);
    settle();
    close_spool();
    image_move("re", false);
    memcpy(whole, image, image_len);
}

static void flip_back(void)
{
    memcpy(image, whole, image_len);
}

/* Where in the image a record with this key stands, `at` or behind it; SIZE_MAX when none does. In front of a key LMDB
 * has the length of the value (4 bytes), flags (2) and the length of the key (2). */
static size_t find_key(uint64_t key, size_t at)
{
    uint8_t node[4 + sizeof key] = {[2] = sizeof key};
    uint32_t value_len;

    memcpy(node + 4, &key, sizeof key);
    for (; at + 4 + sizeof node <= image_len; at++) {
        memcpy(&value_len, image + at, sizeof value_len);
        if (memcmp(image + at + 4, node, sizeof node) == 0 && value_len > sizeof(struct spool_header) &&
            value_len < 1000)
            return at + 8;
    }
    return SIZE_MAX;
}

/* Flip a bit so many bytes behind the beginning of the key, also in pages that are not used any more. */
static void flip(uint64_t key, size_t offset, unsigned bit)
{
    size_t at = 0;
    unsigned n = 0;

    for (; (at = find_key(key, at)) != SIZE_MAX; n++)
        image[at + offset] ^= (uint8_t)(1u << bit);
    cr_assert_gt(n, 0);
    image_move("we", true);
}

/* What is sent of the spool on disk when a seventh event is appended, from the first one and from each. */
static void expect_sent(const char *expected)
{
    open_with(defaults());
    append(7, 0);
    settle();
    cr_assert_str_eq(contents(1), expected);
    for (uint64_t from = 2; expected[0] == '1' && from <= 7; from++) { /* a search finds its way */
        const char *all = contents(from);
        cr_assert_str_eq(all, expected + strlen(expected) - strlen(all), "from %lu: %s", from, all);
        cr_assert(strchr(all, '0' + (char)from), "from %lu: %s", from, all);
    }
    spool_free_upto(&s, 7);
    close_spool();
    open_with(defaults());
    cr_assert_eq(s.held.n_records, 0);
    append(8, 0);
    settle();
    cr_assert_str_eq(contents(8), "8");
    close_spool();
}

static const char *without(uint64_t key)
{
    static char out[64];
    size_t used = 0;

    for (uint64_t k = 1; k <= 7; k++)
        used += (size_t)snprintf(out + used, sizeof out - used, k == key ? "%s[%lu-%lu bits=15]" : "%s%lu",
                                 k > 1 ? " " : "", k, k);
    return out;
}

Test(spool, a_bit_that_flips_in_a_record_costs_this_record_and_is_told)
{
    size_t value = sizeof(uint64_t);

    make_image();
    for (size_t offset = 0; offset < sizeof(struct spool_header) + 16; offset++) {
        flip(3, value + offset, offset % 8);
        expect_sent(without(3));
        flip_back();
    }
}

Test(spool, a_bit_that_flips_in_a_key_costs_its_record_and_is_told)
{
    static const unsigned bits[] = {0, 3, 20, 63};

    make_image();
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
        flip(6, bits[i] / 8, bits[i] % 8);
        expect_sent(without(6));
        flip_back();
    }
    flip(1, 0, 0);
    expect_sent(without(1));
}

Test(spool, a_file_whose_order_is_damaged_is_set_aside)
{
    char path[128];

    make_image();
    flip(3, 0, 4);
    open_with(defaults());
    cr_assert(spool_started_over(&s));
    close_spool();
    open_with(defaults());
    cr_assert(spool_started_over(&s), "until an event that tells it is held");
    append(1, 0);
    settle();
    cr_assert_not(spool_started_over(&s));
    cr_assert_str_eq(contents(1), "1");
    close_spool();
    snprintf(path, sizeof path, "%s/data.mdb.damaged", directory);
    cr_assert_eq(access(path, R_OK), 0);
    open_with(defaults());
    cr_assert_not(spool_started_over(&s));
    cr_assert_str_eq(contents(1), "1");
    close_spool();
}

Test(spool, a_table_that_is_no_table_of_the_spool_is_set_aside)
{
    uint8_t *name;
    unsigned n = 0;

    make_image();
    for (size_t at = 4096; (name = memmem(image + at, image_len - at, "records", 7)); n++) { /* its flags are behind */
        name[7 + 4] ^= 8;                                                                    /* integer keys */
        at = (size_t)(name - image) + 7;
    }
    cr_assert_gt(n, 0);
    image_move("we", true);
    open_with(defaults());
    cr_assert(spool_started_over(&s));
    append(1, 0);
    settle();
    cr_assert_str_eq(contents(1), "1");
    close_spool();
}

/* Killed, or the disk was full, before there was a new one. */
Test(spool, a_file_that_was_set_aside_is_told_by_the_one_that_makes_the_new_one)
{
    char path[128], aside[128];

    open_with(defaults());
    append(1, 0);
    close_spool();
    snprintf(path, sizeof path, "%s/data.mdb", directory);
    snprintf(aside, sizeof aside, "%s/data.mdb.damaged", directory);
    cr_assert_eq(rename(path, aside), 0);
    open_with(defaults());
    cr_assert(spool_started_over(&s));
    append(1, 0);
    close_spool();
    open_with(defaults());
    cr_assert_not(spool_started_over(&s));
    close_spool();
}

Test(spool, a_damaged_key_that_is_in_the_way_is_not_counted_twice)
{
    make_image();
    flip(6, 0, 0); /* 7 */
    open_with(defaults());
    append(7, 0);
    settle();
    cr_assert_str_eq(contents(1), "1 2 3 4 5 [6-6 bits=15] 7");
    cr_assert_eq(s.held.n_records, 6);
    close_spool();
}

Test(spool, a_damaged_state_begins_a_new_epoch_with_all_that_is_there)
{
    struct store_value value;
    struct store_txn txn;
    uint64_t epoch;

    open_with(defaults());
    append_many(1, 6);
    settle();
    spool_free_upto(&s, 2);
    tidy();
    epoch = spool_epoch(&s);
    for (size_t offset = 0; offset < sizeof(struct spool_state) + 8; offset++) {
        uint8_t bytes[128];

        cr_assert_eq(store_begin(&s.store, true, &txn), 0);
        cr_assert_eq(store_get(&txn, s.meta_table, "state", 5, &value), 0);
        cr_assert_leq(value.len, sizeof bytes);
        memcpy(bytes, value.data, value.len);
        bytes[offset] ^= 0x10;
        cr_assert_eq(store_put(&txn, s.meta_table, "state", 5, bytes, value.len, 0), 0);
        cr_assert_eq(store_commit(&txn), 0);
        close_spool();
        open_with(defaults());
        cr_assert_neq(spool_epoch(&s), epoch);
        cr_assert_str_eq(contents(1), "1 2 3 4");
        cr_assert_eq(spool_oldest(&s), 1);
        epoch = spool_epoch(&s);
    }
    append(7, 0);
    settle();
    cr_assert_str_eq(contents(1), "1 2 3 4 5");
    close_spool();
}

Test(spool, where_all_is_damaged_all_is_told)
{
    make_image();
    for (uint64_t key = 1; key <= 6; key++)
        flip(key, sizeof(uint64_t), 0);
    expect_sent("[1-6 bits=15] 7");
}
