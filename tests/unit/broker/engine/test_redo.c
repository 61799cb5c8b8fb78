/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/redo.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "broker/engine/journal.h"
#include "broker/engine/journal_format.h"
#include "runtime/chunk.h"
#include "tests/unit/broker/engine/log_directory.h"

#define EPOCH 7u
#define SALT  99u

static struct log_directory directory;
static struct redo redo;

static void setup(void)
{
    log_directory_make(&directory);
    cr_assert_eq(redo_open(&redo, directory.path, EPOCH, 0, NULL, SALT, false), 0);
}

static void teardown(void)
{
    redo_close(&redo);
    log_directory_remove(&directory);
}

TestSuite(redo, .init = setup, .fini = teardown);

/* Frame of records first..last, with one put that names `last`. */
static int append(uint64_t first, uint64_t last, size_t padding)
{
    struct journal_batch b = {0};
    uint8_t puts[64];
    uint8_t value[sizeof last + JOURNAL_PAIR_EXTRA];
    struct redo_put put = {.table = JOURNAL_DEDUPE,
                           .key = (const uint8_t *)"through",
                           .key_len = 7,
                           .value = value,
                           .value_len = sizeof value};

    journal_pair_seal("through", 7, &last, sizeof last, value);
    redo_put_write(&put, puts);
    batch_fill(&b, first, last, padding);
    journal_batch_seal(&b);
    struct redo_frame frame = {.status_through = last,
                               .batches = {{.first = first, .bytes = b.chunk->bytes, .len = b.chunk->len}},
                               .n_batches = 1,
                               .puts = puts,
                               .puts_len = redo_put_size(&put)};
    int rc = redo_append(&redo, &frame);
    journal_batch_deinit(&b);
    return rc;
}

/* What a scan told. */
static struct {
    uint64_t numbers[64], firsts[64];
    size_t n, n_damages;
    uint64_t damaged_from, damaged_to;
} told;

static int on_frame(void *data, const struct redo_frame *frame)
{
    struct redo_put put;
    const uint8_t *puts = frame->puts;
    size_t len = frame->puts_len;
    (void)data;
    cr_assert_lt(told.n, 64);
    told.numbers[told.n] = frame->number;
    told.firsts[told.n++] = frame->n_batches > 0 ? frame->batches[0].first : 0;
    cr_assert(redo_put_next(&puts, &len, &put));
    cr_assert_eq(put.table, (uint32_t)JOURNAL_DEDUPE);
    cr_assert_arr_eq(put.key, "through", 7);
    cr_assert(!redo_put_next(&puts, &len, &put));
    return 0;
}

static void on_damage(void *data, uint64_t from, uint64_t to)
{
    (void)data;
    told.n_damages++;
    told.damaged_from = from;
    told.damaged_to = to;
}

static uint8_t *bytes;
static size_t bytes_len;

static void load(void)
{
    free(bytes);
    cr_assert_eq(redo_load(directory.path, &bytes, &bytes_len), 0);
}

static struct redo_scan_result scan(uint64_t applied)
{
    static const struct redo_scan_ops ops = {on_frame, on_damage};
    struct redo_scan_result result;
    memset(&told, 0, sizeof told);
    cr_assert_eq(redo_scan(bytes, bytes_len, EPOCH, applied, &ops, NULL, &result), 0);
    return result;
}

static struct redo_scan_result load_and_scan(uint64_t applied)
{
    load();
    return scan(applied);
}

Test(redo, what_was_written_is_found_in_order)
{
    cr_assert_eq(append(1, 3, 10), 0);
    cr_assert_eq(append(4, 40, 200), 0);
    cr_assert_eq(append(41, 41, 0), 0);
    struct redo_scan_result result = load_and_scan(0);
    cr_assert(result.is_ours);
    cr_assert_eq(told.n, 3);
    cr_assert_eq(told.firsts[0], 1);
    cr_assert_eq(told.firsts[1], 4);
    cr_assert_eq(told.firsts[2], 41);
    cr_assert_eq(result.last, told.numbers[2]);
    cr_assert_eq(result.end, redo.end);
    cr_assert_eq(told.n_damages, 0);
}

Test(redo, what_the_store_has_is_not_told)
{
    cr_assert_eq(append(1, 3, 10), 0);
    cr_assert_eq(append(4, 5, 10), 0);
    load_and_scan(1);
    cr_assert_eq(told.n, 1);
    cr_assert_eq(told.firsts[0], 4);
    scan(2);
    cr_assert_eq(told.n, 0);
}

Test(redo, after_a_restart_old_frames_are_none)
{
    for (uint64_t n = 1; n <= 5; n++)
        cr_assert_eq(append(n, n, 10), 0);
    uint64_t applied = redo_seal(&redo);
    redo_restart(&redo);
    load_and_scan(applied);
    cr_assert_eq(told.n, 0);
    cr_assert_eq(append(6, 6, 10), 0);
    struct redo_scan_result result = load_and_scan(applied);
    cr_assert_eq(told.n, 1);
    cr_assert_eq(told.firsts[0], 6);
    cr_assert_eq(told.n_damages, 0);
    cr_assert_eq(result.end, redo.end);
}

Test(redo, goes_on_behind_what_was_found)
{
    cr_assert_eq(append(1, 1, 10), 0);
    struct redo_scan_result result = load_and_scan(0);
    redo_close(&redo);
    cr_assert_eq(redo_open(&redo, directory.path, EPOCH, 0, &result, 1234, false), 0);
    cr_assert_eq(append(2, 2, 10), 0);
    load_and_scan(0);
    cr_assert_eq(told.n, 2);
    cr_assert_lt(told.numbers[0], told.numbers[1]);
}

Test(redo, a_file_of_another_log_has_no_frames)
{
    static const struct redo_scan_ops ops = {on_frame, on_damage};
    struct redo_scan_result result;
    cr_assert_eq(append(1, 1, 10), 0);
    load();
    cr_assert_eq(redo_scan(bytes, bytes_len, EPOCH + 1, 0, &ops, NULL, &result), 0);
    cr_assert(!result.is_ours && !result.is_torn);
    cr_assert_eq(redo_scan(NULL, 0, EPOCH, 0, &ops, NULL, &result), 0);
    cr_assert(!result.is_ours && !result.is_torn);
    cr_assert_eq(told.n, 0);
}

/* Any byte of a frame in the middle: the frame is damage, those behind it are there. Of the last one: it is cut off. */
Test(redo, a_damaged_byte_costs_its_frame_and_is_told)
{
    uint64_t starts[4];
    for (uint64_t n = 0; n < 3; n++) {
        starts[n] = redo.end;
        cr_assert_eq(append(1 + 20 * n, 20 + 20 * n, 250), 0);
    }
    starts[3] = redo.end;
    load();
    for (size_t at = starts[0]; at < starts[3]; at += 7) {
        struct redo_scan_result result;
        size_t frame = at < starts[1] ? 0 : at < starts[2] ? 1 : 2;
        bytes[at] ^= 0x40;
        result = scan(0);
        bytes[at] ^= 0x40;
        if (told.n == 3) /* between the end of a frame and its block's */
            continue;
        cr_assert_eq(told.n, 2, "byte %zu", at);
        cr_assert_eq(told.n_damages, frame < 2, "byte %zu", at);
        if (frame < 2) {
            cr_assert_eq(told.damaged_from, starts[frame]);
            cr_assert_eq(told.damaged_to, starts[frame + 1]);
            cr_assert_eq(result.end, starts[3]);
        } else {
            cr_assert_eq(result.end, starts[2]);
        }
    }
    bytes[3] ^= 1;
    struct redo_scan_result result = scan(0);
    cr_assert(!result.is_ours && result.is_torn);
}

Test(redo, a_frame_that_is_cut_off_is_none)
{
    cr_assert_eq(append(1, 1, 10), 0);
    uint64_t start = redo.end;
    cr_assert_eq(append(2, 60, 250), 0);
    uint64_t end = redo.end;
    load();
    for (uint64_t cut = start; cut + REDO_BLOCK < end; cut += 512) {
        memset(bytes + cut, 0, end - cut);
        struct redo_scan_result result = scan(0);
        cr_assert_eq(told.n, 1);
        cr_assert_eq(told.n_damages, 0);
        cr_assert_eq(result.end, start);
        load();
    }
}

Test(redo, is_bounded)
{
    uint64_t n = 1;
    int rc;
    while ((rc = append(n, n, 250)) == 0)
        n++;
    cr_assert_eq(rc, UV_ENOBUFS);
    cr_assert_leq(redo.end, REDO_BYTES);
    cr_assert_gt(n, REDO_BYTES / REDO_BLOCK / 2);
    redo_seal(&redo);
    redo_restart(&redo);
    cr_assert_eq(append(n, n, 250), 0);
}

Test(redo, a_large_frame_belongs_elsewhere)
{
    static uint8_t value[REDO_MAX_FRAME];
    struct redo_frame frame = {.puts = value, .puts_len = sizeof value};
    cr_assert_eq(redo_append(&redo, &frame), UV_ENOBUFS);
    frame = (struct redo_frame){.n_batches = REDO_MAX_BATCHES + 1};
    cr_assert_eq(redo_append(&redo, &frame), UV_ENOBUFS);
}

/* The number of a frame that failed is not used again for another. */
Test(redo, a_frame_that_failed_may_be_there_and_is_never_mistaken)
{
    cr_assert_eq(append(1, 1, 10), 0);
    cr_assert_eq(append(2, 2, 10), 0); /* say it was told as failed, and the store got it instead */
    redo.next--;
    redo.last--;
    uint64_t applied = redo_seal(&redo);
    redo_restart(&redo);
    cr_assert_eq(append(3, 3, 10), 0);
    load_and_scan(applied);
    cr_assert_eq(told.n, 1);
    cr_assert_eq(told.firsts[0], 3);
}

Test(redo, nothing_to_open_is_an_error_and_nothing_stays)
{
    struct redo other;
    cr_assert_eq(redo_open(&other, "/nowhere/at/all", EPOCH, 0, NULL, SALT, false), UV_ENOENT);
    cr_assert_eq(other.fd, 0);
}

/* A pipe must not hold up the start, nor a directory pass for a file. */
Test(redo, what_is_no_file_is_an_error)
{
    char path[128];
    struct redo other;
    snprintf(path, sizeof path, "%s/redo", directory.path);
    for (int i = 0; i < 2; i++) {
        unlink(path);
        cr_assert_eq(i ? mkdir(path, 0700) : mkfifo(path, 0600), 0);
        cr_assert_lt(redo_load(directory.path, &bytes, &bytes_len), 0);
        cr_assert_null(bytes);
        cr_assert_lt(redo_flush_file(directory.path), 0);
        cr_assert_lt(redo_open(&other, directory.path, EPOCH, 0, NULL, SALT, false), 0);
        cr_assert_eq(other.fd, 0);
    }
    rmdir(path);
}
