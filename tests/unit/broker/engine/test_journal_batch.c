/* SPDX-License-Identifier: Apache-2.0 */
/* Records in a row: every part of a batch, cut with and without the index that filling it made. */
#include "broker/engine/journal_batch.h"

#include <criterion/criterion.h>
#include <string.h>
#include <uv.h>

#include "proto/event_view.h"
#include "runtime/chunk.h"
#include "tests/lib/failing_alloc.h"
#include "tests/unit/broker/engine/log_directory.h"

#define FIRST   100u
#define RECORDS 80u

static struct journal_batch b;

static void setup(void)
{
    for (uint64_t n = FIRST; n < FIRST + RECORDS; n++)
        batch_fill(&b, n, n, n % 7 * 20); /* of different lengths */
}

static void teardown(void)
{
    journal_batch_deinit(&b);
}

TestSuite(journal_batch, .init = setup, .fini = teardown);

/* What the run must be, found by going from record to record. */
static void expect(uint64_t from, uint64_t through, size_t max_bytes)
{
    const uint8_t *cursor = b.chunk->bytes + JOURNAL_HEADER_BYTES, *end = b.chunk->bytes + b.chunk->len, *event;
    const uint8_t *start = cursor, *stop;
    struct journal_run run;
    uint64_t at = FIRST;
    size_t len;

    for (; at < from; at++, start = cursor)
        cr_assert(records_next(&cursor, end, &event, &len));
    for (stop = start; at <= through && records_next(&cursor, end, &event, &len); at++, stop = cursor)
        if (at > from && (size_t)(cursor - start) > max_bytes)
            break;
    cr_assert_eq(journal_batch_cut(&b, from, through, max_bytes, &run), 0);
    cr_assert_eq(run.chunk, b.chunk);
    cr_assert_eq(run.first, from);
    cr_assert_eq(run.last, at - 1, "%u..%u in %zu: %u", (unsigned)from, (unsigned)through, max_bytes,
                 (unsigned)run.last);
    cr_assert_eq(run.bytes, start);
    cr_assert_eq(run.len, (size_t)(stop - start));
    journal_run_release(&run);
}

Test(journal_batch, any_part_is_cut_where_its_records_begin_and_end)
{
    static const size_t sizes[] = {0, 1, 100, 777, 1500, 5000, SIZE_MAX};

    for (int round = 0; round < 2; round++) {
        for (uint64_t from = FIRST; from < FIRST + RECORDS; from++)
            for (uint64_t through = from; through <= FIRST + RECORDS; through += 13)
                for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
                    expect(from, through, sizes[i]);
        chunk_unref(b.index); /* as it is when read from the store */
        b.index = NULL;
    }
}

Test(journal_batch, whole_batch_needs_no_index)
{
    chunk_unref(b.index);
    b.index = NULL;
    expect(FIRST, UINT64_MAX, SIZE_MAX);
    cr_assert_null(b.index);
    expect(FIRST + 1, UINT64_MAX, SIZE_MAX);
    cr_assert_not_null(b.index);
}

Test(journal_batch, bytes_that_are_not_the_records_it_has_are_an_error)
{
    struct journal_run run;
    chunk_unref(b.index);
    b.index = NULL;
    b.last++;
    cr_assert_eq(journal_batch_cut(&b, FIRST + 1, UINT64_MAX, SIZE_MAX, &run), UV_EIO);
    b.last -= 2;
    cr_assert_eq(journal_batch_cut(&b, FIRST + 1, UINT64_MAX, SIZE_MAX, &run), UV_EIO);
    b.last = UINT64_MAX - 1;
    cr_assert_eq(journal_batch_cut(&b, FIRST + 1, UINT64_MAX, SIZE_MAX, &run), UV_EIO);
    b.last = FIRST + RECORDS - 1;
    b.chunk->bytes[JOURNAL_HEADER_BYTES] ^= 1;
    cr_assert_eq(journal_batch_cut(&b, FIRST + 1, UINT64_MAX, SIZE_MAX, &run), UV_EIO);
}

Test(journal_batch, another_holder_keeps_the_bytes)
{
    struct journal_batch other = journal_batch_ref(&b);
    size_t bytes = journal_batch_memory(&b);
    struct chunk *chunk = b.chunk;
    journal_batch_deinit(&b);
    cr_assert_eq(journal_batch_memory(&b), 0);
    cr_assert_eq(journal_batch_memory(&other), bytes);
    cr_assert_eq(other.chunk, chunk);
    b = other;
    expect(FIRST + 5, FIRST + 60, 1000);
}

Test(journal_batch, holds_nothing_when_there_is_no_memory_for_its_first_record)
{
    struct journal_batch fresh = {0};
    const uint8_t event[] = {0x08, 0x01};
    unsigned n = 0;
    for (;; n++) {
        failing_alloc_after(n);
        int rc = journal_batch_append(&fresh, event, sizeof event, FIRST, 1, 0);
        if (!failing_alloc_stop())
            break;
        cr_assert_eq(rc, UV_ENOMEM);
        cr_assert_eq(journal_batch_memory(&fresh), 0);
    }
    cr_assert_geq(n, 2);
    cr_assert_gt(journal_batch_memory(&fresh), 0);
    journal_batch_deinit(&fresh);
}

Test(journal_batch, room_that_was_expected_is_taken_at_once)
{
    static const struct {
        size_t bytes, cap;
    } cases[] = {{0, 4096},
                 {100, 4096},
                 {50000, JOURNAL_HEADER_BYTES + 50000},
                 {SIZE_MAX, JOURNAL_HEADER_BYTES + JOURNAL_BATCH_BYTES}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        journal_batch_deinit(&b);
        journal_batch_expect(&b, cases[i].bytes);
        batch_fill(&b, FIRST, FIRST, 0);
        cr_assert_eq(b.chunk->cap, cases[i].cap, "%zu", b.chunk->cap);
        batch_fill(&b, FIRST + 1, FIRST + RECORDS - 1, 0);
        expect(FIRST, UINT64_MAX, SIZE_MAX);
    }
}
