/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/engine/journal_pending.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/engine/journal_batch.h"
#include "runtime/chunk.h"

void journal_puts_free(struct journal_put *puts)
{
    for (struct journal_put *put = puts, *next; put; put = next) {
        next = put->next;
        free(put);
    }
}

struct journal_pending_write *journal_pending_new(size_t n_batches)
{
    return calloc(1, sizeof(struct journal_pending_write) + n_batches * sizeof(struct journal_batch));
}

static void entry_free(struct journal_pending_write *entry)
{
    for (size_t i = 0; i < entry->n_batches; i++)
        journal_batch_deinit(&entry->batches[i]);
    journal_puts_free(entry->puts);
    free(entry);
}

static void append(struct journal_pending *p, struct journal_pending_write *entry)
{
    if (p->last)
        p->last->next = entry;
    else
        p->first = entry;
    p->last = entry;
    p->n_batches += entry->n_batches;
}

void journal_pending_add(struct journal_pending *p, struct journal_pending_write *entry, struct journal_write *w)
{
    for (size_t i = 0; i < w->n_batches; i++)
        entry->batches[entry->n_batches++] = journal_batch_ref(&w->batches[i]);
    entry->status_through = w->status_through;
    entry->puts = w->puts;
    w->puts = w->last_put = NULL;
    append(p, entry);
}

static int add_batch(struct journal_pending_write *entry, const struct redo_batch *from)
{
    struct journal_batch *b = &entry->batches[entry->n_batches];
    struct store_value value = {.data = from->bytes, .len = from->len};

    if (!journal_batch_check(from->first, &value, b)) /* redo_scan found it whole */
        return UV_EIO;
    b->chunk = chunk_new(from->len);
    if (!b->chunk)
        return UV_ENOMEM;
    memcpy(b->chunk->bytes, from->bytes, from->len);
    b->chunk->len = from->len;
    entry->n_batches++;
    return 0;
}

static int add_put(struct journal_put ***tail, const struct redo_put *from)
{
    struct journal_put *put = malloc(sizeof *put + from->key_len + from->value_len);

    if (!put)
        return UV_ENOMEM;
    *put = (struct journal_put){.table = (enum journal_table)from->table,
                                .delete = from->delete,
                                .key_len = from->key_len,
                                .value_len = from->value_len};
    memcpy(put->bytes, from->key, from->key_len);
    memcpy(put->bytes + from->key_len, from->value, from->value_len);
    **tail = put;
    *tail = &put->next;
    return 0;
}

int journal_pending_add_frame(struct journal_pending *p, const struct redo_frame *frame)
{
    struct journal_pending_write *entry = journal_pending_new(frame->n_batches);
    const uint8_t *puts = frame->puts;
    size_t puts_len = frame->puts_len;
    struct redo_put put;
    int rc = 0;

    if (!entry)
        return UV_ENOMEM;
    struct journal_put **tail = &entry->puts;
    entry->number = frame->number;
    entry->status_through = frame->status_through;
    for (size_t i = 0; !rc && i < frame->n_batches; i++)
        rc = add_batch(entry, &frame->batches[i]);
    while (!rc && redo_put_next(&puts, &puts_len, &put))
        rc = add_put(&tail, &put);
    if (rc) {
        entry_free(entry);
        return rc;
    }
    append(p, entry);
    return 0;
}

void journal_pending_clear(struct journal_pending *p)
{
    for (struct journal_pending_write *entry = p->first, *next; entry; entry = next) {
        next = entry->next;
        entry_free(entry);
    }
    memset(p, 0, sizeof *p);
}

/* ------------------------------------------------------------------------------------------------ overlay */

int journal_key_compare(const void *a, size_t a_len, const void *b, size_t b_len)
{
    int rc = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return rc ? rc : (a_len > b_len) - (a_len < b_len);
}

/* In the order of keys, and of equal ones as they came: qsort is not stable, the place in the array is the order. */
struct ordered {
    const struct journal_put *put;
    size_t place;
};

static int compare(const void *a, const void *b)
{
    const struct ordered *x = a, *y = b;
    int rc = journal_key_compare(x->put->bytes, x->put->key_len, y->put->bytes, y->put->key_len);
    return rc ? rc : (x->place > y->place) - (x->place < y->place);
}

static size_t collect(const struct journal_pending *p, enum journal_table table, struct ordered *out)
{
    size_t n = 0;

    for (const struct journal_pending_write *entry = p->first; entry; entry = entry->next)
        for (const struct journal_put *put = entry->puts; put; put = put->next)
            if (put->table == table) {
                if (out)
                    out[n] = (struct ordered){.put = put, .place = n};
                n++;
            }
    return n;
}

int journal_overlay_make(struct journal_overlay *o, const struct journal_pending *p, enum journal_table table)
{
    size_t n = collect(p, table, NULL);

    *o = (struct journal_overlay){0};
    if (n == 0)
        return 0;
    struct ordered *all = malloc(n * sizeof *all);
    o->puts = malloc(n * sizeof *o->puts);
    if (!all || !o->puts) {
        free(all);
        journal_overlay_free(o);
        return UV_ENOMEM;
    }
    collect(p, table, all);
    qsort(all, n, sizeof *all, compare);
    for (size_t i = 0; i < n; i++)
        if (i + 1 == n || journal_key_compare(all[i].put->bytes, all[i].put->key_len, all[i + 1].put->bytes,
                                              all[i + 1].put->key_len) != 0)
            o->puts[o->n++] = all[i].put;
    free(all);
    return 0;
}

void journal_overlay_free(struct journal_overlay *o)
{
    free(o->puts);
    *o = (struct journal_overlay){0};
}
