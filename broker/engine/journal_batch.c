/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/journal_batch.h"

#include <assert.h>
#include <string.h>
#include <uv.h>

#include "broker/engine/journal_format.h"
#include "proto/event_view.h"
#include "runtime/chunk.h"

#define FIRST_CHUNK_BYTES   4096u
#define FULL_CHUNK_BYTES    ((size_t)JOURNAL_HEADER_BYTES + JOURNAL_BATCH_BYTES)
#define FIRST_INDEX_RECORDS 32u

/* ------------------------------------------------------------------------------------------------ the index */

static uint32_t *index_of(const struct chunk *index)
{
    return (uint32_t *)(void *)index->bytes;
}

static struct chunk *index_new(size_t n_records)
{
    return chunk_new(n_records * sizeof(uint32_t));
}

static void index_add(struct chunk *index, size_t at)
{
    index_of(index)[index->len / sizeof(uint32_t)] = (uint32_t)at;
    index->len += sizeof(uint32_t);
}

/* Room for one record more. */
static int index_grow(struct journal_batch *b)
{
    size_t n = b->index ? b->index->len / sizeof(uint32_t) : 0;

    if (b->index && b->index->len < b->index->cap)
        return 0;
    struct chunk *index = index_new(n ? 2 * n : FIRST_INDEX_RECORDS);
    if (!index)
        return UV_ENOMEM;
    if (b->index) {
        memcpy(index->bytes, b->index->bytes, b->index->len);
        index->len = b->index->len;
    }
    chunk_unref(b->index);
    b->index = index;
    return 0;
}

/* The index of what was read from the store. */
static int index_make(struct journal_batch *b)
{
    const uint8_t *records = b->chunk->bytes + JOURNAL_HEADER_BYTES;
    size_t n = (size_t)(b->last - b->first) + 1, len = b->chunk->len - JOURNAL_HEADER_BYTES, found_len;

    if (n > len)
        return UV_EIO;
    struct chunk *index = index_new(n);
    if (!index)
        return UV_ENOMEM;
    if (records_index(records, len, JOURNAL_HEADER_BYTES, index_of(index), n, &found_len) < n || found_len < len) {
        chunk_unref(index);
        return UV_EIO; /* checked bytes that are no records: written by something else */
    }
    index->len = n * sizeof(uint32_t);
    b->index = index;
    return 0;
}

/* ------------------------------------------------------------------------------------------------ filling */

void journal_batch_expect(struct journal_batch *b, size_t bytes)
{
    assert(!b->chunk);
    b->expected = JOURNAL_HEADER_BYTES + (uint32_t)(bytes < JOURNAL_BATCH_BYTES ? bytes : JOURNAL_BATCH_BYTES);
}

/* Room for `more` bytes behind what is there: a larger chunk takes over when needed. */
static int batch_grow(struct journal_batch *b, size_t more)
{
    size_t used = b->chunk ? b->chunk->len : JOURNAL_HEADER_BYTES;
    size_t cap = b->chunk ? b->chunk->cap : b->expected > FIRST_CHUNK_BYTES ? b->expected : FIRST_CHUNK_BYTES;

    while (cap < used + more)
        cap = cap < FULL_CHUNK_BYTES && 2 * cap > FULL_CHUNK_BYTES ? FULL_CHUNK_BYTES : 2 * cap;
    if (b->chunk && cap == b->chunk->cap)
        return 0;
    struct chunk *chunk = chunk_new(cap);
    if (!chunk)
        return UV_ENOMEM;
    memset(chunk->bytes, 0, JOURNAL_HEADER_BYTES);
    if (b->chunk)
        memcpy(chunk->bytes, b->chunk->bytes, used);
    chunk->len = used;
    chunk_unref(b->chunk);
    b->chunk = chunk;
    return 0;
}

int journal_batch_append(struct journal_batch *b, const uint8_t *event, size_t len, uint64_t sequence,
                         uint64_t broker_time_ns, uint32_t aix_bits)
{
    size_t size = record_size(len);

    assert(!b->chunk || sequence == b->last + 1);
    if (b->chunk && b->chunk->len - JOURNAL_HEADER_BYTES + size > JOURNAL_BATCH_BYTES)
        return UV_ENOBUFS;
    bool empty = !b->chunk;
    int rc = index_grow(b);
    if (!rc)
        rc = batch_grow(b, size);
    if (rc) {
        if (empty) /* nobody counts it yet, and nobody will free it */
            journal_batch_deinit(b);
        return rc;
    }
    index_add(b->index, b->chunk->len);
    b->chunk->len += record_write(b->chunk->bytes + b->chunk->len, event, len, sequence, broker_time_ns);
    if (empty)
        b->first = sequence;
    b->last = sequence;
    b->newest_time_ns = broker_time_ns;
    b->aix_bits |= aix_bits;
    return 0;
}

struct journal_batch journal_batch_ref(const struct journal_batch *b)
{
    if (b->chunk)
        chunk_ref(b->chunk);
    if (b->index)
        chunk_ref(b->index);
    return *b;
}

void journal_batch_deinit(struct journal_batch *b)
{
    chunk_unref(b->chunk);
    chunk_unref(b->index);
    memset(b, 0, sizeof *b);
}

size_t journal_batch_memory(const struct journal_batch *b)
{
    return (b->chunk ? b->chunk->cap : 0) + (b->index ? b->index->cap : 0);
}

/* ------------------------------------------------------------------------------------------------ as stored */

static struct journal_value_header header_of(const struct journal_batch *b)
{
    return (struct journal_value_header){
        .n_records = (uint32_t)(b->last - b->first + 1),
        .aix_bits = b->aix_bits,
        .newest_time_ns = b->newest_time_ns,
    };
}

void journal_batch_seal(struct journal_batch *b)
{
    struct journal_value_header header = header_of(b);
    journal_value_seal(b->first, &header, b->chunk->bytes, b->chunk->len);
}

void journal_batch_seal_copy(const struct journal_batch *b, uint8_t *to)
{
    struct journal_value_header header = header_of(b);
    journal_value_seal_copy(b->first, &header, b->chunk->bytes, b->chunk->len, to);
}

static void set_range(struct journal_batch *b, uint64_t first, const struct journal_value_header *header)
{
    b->first = first;
    b->last = first + header->n_records - 1;
    b->newest_time_ns = header->newest_time_ns;
    b->aix_bits = header->aix_bits;
}

bool journal_batch_check(uint64_t first, const struct store_value *value, struct journal_batch *out_batch)
{
    struct journal_value_header header;
    bool whole = journal_value_check(first, value, &header);

    if (whole)
        set_range(out_batch, first, &header);
    return whole;
}

bool journal_batch_copy(uint64_t first, const struct store_value *value, struct journal_batch *b)
{
    struct journal_value_header header;

    assert(b->chunk->cap >= value->len);
    bool whole = journal_value_copy(first, value, b->chunk->bytes, &header);
    if (whole) {
        b->chunk->len = value->len;
        set_range(b, first, &header);
    }
    return whole;
}

/* ------------------------------------------------------------------------------------------------ reading */

/* How many records of start[0..n) end within `max_bytes` behind the beginning of the first; start[n] is the end. */
static size_t fitting(const uint32_t *start, size_t n, uint32_t end, size_t max_bytes)
{
    size_t low = 1, high = n; /* one at least */

    if (end - start[0] <= max_bytes)
        return n;
    while (low < high) { /* start[low] is the end of `low` records */
        size_t middle = low + (high - low + 1) / 2;
        uint32_t at = middle < n ? start[middle] : end;
        if (at - start[0] <= max_bytes)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

int journal_batch_cut(struct journal_batch *b, uint64_t from, uint64_t through, size_t max_bytes,
                      struct journal_run *out_run)
{
    size_t begin = JOURNAL_HEADER_BYTES, end = b->chunk->len;

    assert(from >= b->first && from <= b->last && from <= through);
    if (through > b->last)
        through = b->last;
    if (from > b->first || through < b->last || end - begin > max_bytes) {
        int rc = b->index ? 0 : index_make(b);
        if (rc)
            return rc;
        const uint32_t *starts = index_of(b->index);
        size_t i = (size_t)(from - b->first), n = (size_t)(through - from) + 1;
        begin = starts[i];
        if (through < b->last)
            end = starts[i + n];
        n = fitting(starts + i, n, (uint32_t)end, max_bytes);
        through = from + n - 1;
        if (through < b->last)
            end = starts[i + n];
    }
    *out_run = (struct journal_run){.chunk = chunk_ref(b->chunk),
                                    .bytes = b->chunk->bytes + begin,
                                    .len = end - begin,
                                    .first = from,
                                    .last = through};
    return 0;
}

void journal_run_release(struct journal_run *run)
{
    chunk_unref(run->chunk);
    memset(run, 0, sizeof *run);
}
