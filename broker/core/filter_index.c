/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/filter_index.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* A value and who stands under it. */
struct bucket {
    LIST_HEAD(, place) places;
    size_t n, value_len;
    uint8_t value[];
};

/* One filter under one value. */
struct place {
    LIST_ENTRY(place) link;
    struct filter_entry *entry;
    struct bucket *bucket;
};

struct filter_entry {
    LIST_ENTRY(filter_entry) link; /* in `others`, when it has no places */
    const struct filter *filter;
    void *owner;
    enum filter_field field;
    size_t n_places;
    struct place places[];
};

void filter_index_init(struct filter_index *ix, uint64_t seed)
{
    memset(ix, 0, sizeof *ix);
    LIST_INIT(&ix->others);
    for (int field = 0; field < FILTER_N_FIELDS; field++)
        table_init(&ix->by_value[field], seed + (uint64_t)field);
}

void filter_index_deinit(struct filter_index *ix)
{
    assert(ix->n == 0);
    for (int field = 0; field < FILTER_N_FIELDS; field++)
        table_deinit(&ix->by_value[field]);
}

static struct bucket *bucket_find(const struct filter_index *ix, const struct filter *f, enum filter_field field,
                                  size_t i)
{
    uint8_t value[FILTER_EXACT_BYTES];
    size_t len = filter_exact(f, field, i, value);
    return table_get(&ix->by_value[field], value, len);
}

/* How many filters would be evaluated beside this one, if it stood under the values of `field`? */
static size_t crowd(const struct filter_index *ix, const struct filter *f, enum filter_field field, size_t n_values)
{
    size_t n = 0;
    for (size_t i = 0; i < n_values; i++) {
        const struct bucket *b = bucket_find(ix, f, field, i);
        n += b ? b->n : 0;
    }
    return n;
}

/* The member to stand under: FILTER_N_FIELDS when there is none. */
static enum filter_field choose(const struct filter_index *ix, const struct filter *f)
{
    enum filter_field best = FILTER_N_FIELDS;
    size_t least = 0;

    for (enum filter_field field = 0; field < FILTER_N_FIELDS; field++) {
        size_t n_values = filter_n_exact(f, field);
        if (n_values == 0)
            continue;
        size_t n = crowd(ix, f, field, n_values);
        if (best == FILTER_N_FIELDS || n < least) {
            best = field;
            least = n;
        }
    }
    return best;
}

static struct bucket *bucket_make(struct filter_index *ix, enum filter_field field, const uint8_t *value, size_t len)
{
    struct bucket *b = malloc(sizeof *b + len);
    if (!b)
        return NULL;
    LIST_INIT(&b->places);
    b->n = 0;
    b->value_len = len;
    if (len)
        memcpy(b->value, value, len);
    if (table_add(&ix->by_value[field], b->value, len, b) != 0) {
        free(b);
        return NULL;
    }
    return b;
}

static int stand_under(struct filter_index *ix, struct filter_entry *e, size_t i)
{
    uint8_t value[FILTER_EXACT_BYTES];
    size_t len = filter_exact(e->filter, e->field, i, value);
    struct bucket *b = table_get(&ix->by_value[e->field], value, len);

    if (!b)
        b = bucket_make(ix, e->field, value, len);
    else if (LIST_FIRST(&b->places)->entry == e)
        return 0; /* the filter names this value twice */
    if (!b)
        return UV_ENOMEM;
    struct place *p = &e->places[e->n_places++];
    p->entry = e;
    p->bucket = b;
    LIST_INSERT_HEAD(&b->places, p, link);
    b->n++;
    return 0;
}

static void leave(struct filter_index *ix, struct filter_entry *e)
{
    for (size_t i = 0; i < e->n_places; i++) {
        struct bucket *b = e->places[i].bucket;
        LIST_REMOVE(&e->places[i], link);
        if (--b->n > 0)
            continue;
        table_remove(&ix->by_value[e->field], b->value, b->value_len);
        free(b);
    }
    e->n_places = 0;
}

int filter_index_add(struct filter_index *ix, const struct filter *filter, void *owner, struct filter_entry **out_entry)
{
    enum filter_field field = choose(ix, filter);
    size_t n_values = field == FILTER_N_FIELDS ? 0 : filter_n_exact(filter, field);
    struct filter_entry *e = calloc(1, sizeof *e + n_values * sizeof(struct place));

    if (!e)
        return UV_ENOMEM;
    e->filter = filter;
    e->owner = owner;
    e->field = field;
    for (size_t i = 0; i < n_values; i++) {
        if (stand_under(ix, e, i) != 0) {
            leave(ix, e);
            free(e);
            return UV_ENOMEM;
        }
    }
    if (n_values == 0)
        LIST_INSERT_HEAD(&ix->others, e, link);
    ix->n++;
    *out_entry = e;
    return 0;
}

void filter_index_remove(struct filter_index *ix, struct filter_entry *e)
{
    if (e->field == FILTER_N_FIELDS)
        LIST_REMOVE(e, link);
    leave(ix, e);
    ix->n--;
    free(e);
}

size_t filter_index_find(const struct filter_index *ix, const struct event_view *event,
                         void (*found)(void *data, void *owner), void *data)
{
    uint8_t value[FILTER_EXACT_BYTES];
    const struct filter_entry *e;
    const struct place *p;
    size_t n = 0;

    for (enum filter_field field = 0; field < FILTER_N_FIELDS; field++) {
        size_t len;
        if (ix->by_value[field].n == 0 || !filter_exact_of_event(event, field, value, &len))
            continue;
        const struct bucket *b = table_get(&ix->by_value[field], value, len);
        if (!b)
            continue;
        LIST_FOREACH(p, &b->places, link)
        {
            n++;
            if (filter_matches(p->entry->filter, event))
                found(data, p->entry->owner);
        }
    }
    LIST_FOREACH(e, &ix->others, link)
    {
        n++;
        if (filter_matches(e->filter, event))
            found(data, e->owner);
    }
    return n;
}
