/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/journal_tail.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/engine/journal_batch.h"

#define DEFAULT_BYTES (16u * 1024 * 1024)

static struct journal_batch *slot(const struct journal_tail *t, size_t i)
{
    return &t->ring[(t->head + i) % JOURNAL_TAIL_BATCHES];
}

int journal_tail_init(struct journal_tail *t, uint64_t limit_bytes)
{
    memset(t, 0, sizeof *t);
    t->limit_bytes = limit_bytes ? limit_bytes : DEFAULT_BYTES;
    t->keep_from = UINT64_MAX;
    t->ring = calloc(JOURNAL_TAIL_BATCHES, sizeof *t->ring);
    return t->ring ? 0 : UV_ENOMEM;
}

static void drop_oldest(struct journal_tail *t)
{
    t->bytes -= journal_batch_memory(slot(t, 0));
    journal_batch_deinit(slot(t, 0));
    t->head = (t->head + 1) % JOURNAL_TAIL_BATCHES;
    t->n--;
}

void journal_tail_deinit(struct journal_tail *t)
{
    while (t->n > 0)
        drop_oldest(t);
    free(t->ring);
    memset(t, 0, sizeof *t);
}

void journal_tail_add(struct journal_tail *t, const struct journal_batch *b)
{
    if (t->n == JOURNAL_TAIL_BATCHES)
        drop_oldest(t);
    *slot(t, t->n) = journal_batch_ref(b);
    t->n++;
    t->bytes += journal_batch_memory(b);
}

void journal_tail_trim(struct journal_tail *t)
{
    while (t->n > 1 && t->bytes > t->limit_bytes && slot(t, 0)->last < t->keep_from)
        drop_oldest(t);
}

struct journal_batch *journal_tail_find(const struct journal_tail *t, uint64_t sequence)
{
    size_t low = 0, high = t->n;

    if (t->n == 0 || sequence < slot(t, 0)->first)
        return NULL;
    if (sequence >= slot(t, high - 1)->first) /* readers that keep up are in the newest one */
        low = high - 1;
    /* The last batch that begins at or before `sequence`. */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (slot(t, middle)->first <= sequence)
            low = middle;
        else
            high = middle;
    }
    return sequence <= slot(t, low)->last ? slot(t, low) : NULL;
}

uint64_t journal_tail_find_time(const struct journal_tail *t, uint64_t from, uint64_t time_ns, uint64_t none)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct journal_batch *b = slot(t, i);
        if (b->last >= from && b->newest_time_ns >= time_ns)
            return b->first > from ? b->first : from;
    }
    return none;
}
