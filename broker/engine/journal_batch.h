/* SPDX-License-Identifier: Apache-2.0 */
/* Records in a row, and where each of them begins.
 *
 * A batch is filled once, by whoever makes it, and not changed any more when others hold its bytes. The index of a
 * batch that was filled record by record is there from the start; that of one that was read from the store is made when
 * a read wants a part of it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chunk;
struct journal_value_header;
struct store_value;

#define JOURNAL_BATCH_BYTES  (256u * 1024) /* of records in one stored value; one large record may exceed it */
#define JOURNAL_HEADER_BYTES 24u

/* Records of one stored value: JOURNAL_HEADER_BYTES of header, then the records. */
struct journal_batch {
    struct chunk *chunk; /* NULL while empty */
    struct chunk *index; /* uint32_t for each record: where in the chunk it begins; NULL when not known yet */
    uint64_t first, last;
    uint64_t newest_time_ns; /* broker time of `last` */
    uint32_t aix_bits;       /* OR over the records */
    uint32_t expected;       /* bytes of the chunk to begin with; 0 = the usual */
};

/* Contiguous records first..last, as on the wire. */
struct journal_run {
    struct chunk *chunk; /* holds the bytes */
    const uint8_t *bytes;
    size_t len;
    uint64_t first, last;
};

/* Append one record: UV_ENOBUFS when the batch is full and a new one is to be begun, UV_ENOMEM. The batch starts
 * zeroed, and is zeroed again when the first record fails; sequences follow one another. */
int journal_batch_append(struct journal_batch *b, const uint8_t *event, size_t len, uint64_t sequence,
                         uint64_t broker_time_ns, uint32_t aix_bits);
/* Before the first record: about so many bytes of records will come, so take the room at once. */
void journal_batch_expect(struct journal_batch *b, size_t bytes);
/* Another holder of the same bytes. */
struct journal_batch journal_batch_ref(const struct journal_batch *b);
/* Accepts a zeroed one. */
void journal_batch_deinit(struct journal_batch *b);
/* Bytes of memory that it holds. */
size_t journal_batch_memory(const struct journal_batch *b);

/* Write the header in front of the records: the chunk is then what is stored. */
void journal_batch_seal(struct journal_batch *b);
/* The same, complete in `to`, which has room for b->chunk->len bytes; the batch stays as it is. */
void journal_batch_seal_copy(const struct journal_batch *b, uint8_t *to);
/* Is the stored value of key `first` whole? Fills everything of `out_batch` but chunk and index. */
bool journal_batch_check(uint64_t first, const struct store_value *value, struct journal_batch *out_batch);
/* The same of a copy that is made in b->chunk, which is empty and has room for it. */
bool journal_batch_copy(uint64_t first, const struct store_value *value, struct journal_batch *b);

/* Records from..through of it, `from` being one of them: as many as fit in `max_bytes`, but at least one. The run
 * references the chunk. Returns 0; UV_ENOMEM; UV_EIO when the bytes are not the records that the batch says it has. */
int journal_batch_cut(struct journal_batch *b, uint64_t from, uint64_t through, size_t max_bytes,
                      struct journal_run *out_run);
void journal_run_release(struct journal_run *run);
