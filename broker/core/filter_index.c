/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/filter_index.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "runtime/table.h"

#define COMBINATIONS 16u /* of lists that are short */
#define CHOICES      2   /* per change */
#define SHAPE_BITS   16384u
#define ADDRESS      FILTER_TARGET /* among lists: the address patterns */

struct filter_shape {
    TAILQ_ENTRY(filter_shape) link;
    unsigned fields;
    struct table buckets; /* by the values of these fields */
    /* A bit for each hash that a bucket has, or has had: most events find here that there is none, and need not look
     * into the table, which is not in the processor's cache. */
    uint64_t bits[SHAPE_BITS / 64];
    size_t n_gone; /* buckets, since the bits were made anew */
};

/* A combination of values and who stands under it. */
struct bucket {
    LIST_HEAD(, place) places;
    size_t n;
    uint64_t newest; /* the standing that joined last */
    struct filter_shape *shape;
    uint64_t hash;
    size_t n_values;
    uint64_t values[]; /* in the order of the fields */
};

/* One filter under one combination. */
struct place {
    LIST_ENTRY(place) link;
    struct filter_entry *entry;
    struct bucket *bucket;
};

/* All the places of one filter. */
struct standing {
    uint64_t number;
    unsigned lists; /* what is combined */
    bool is_cut;    /* there was no room for a shape */
    size_t n;
    struct place places[];
};

struct filter_entry {
    TAILQ_ENTRY(filter_entry) others, choosy;
    const struct filter *filter;
    void *owner;
    struct standing *standing; /* NULL: among the others */
    bool is_choosy;
    uint64_t found; /* by which search last */
};

void filter_index_init(struct filter_index *ix, uint64_t seed)
{
    memset(ix, 0, sizeof *ix);
    TAILQ_INIT(&ix->shapes);
    TAILQ_INIT(&ix->others);
    TAILQ_INIT(&ix->choosy);
    ix->seed[0] = seed;
    ix->seed[1] = seed * 0x9e3779b97f4a7c15 + 2;
}

void filter_index_deinit(struct filter_index *ix)
{
    assert(ix->n == 0 && ix->n_shapes == 0);
    memset(ix, 0, sizeof *ix);
}

/* ---- shapes */

static struct filter_shape *shape_find(const struct filter_index *ix, unsigned fields)
{
    struct filter_shape *s;

    TAILQ_FOREACH(s, &ix->shapes, link)
    {
        if (s->fields == fields)
            return s;
    }
    return NULL;
}

static struct filter_shape *shape_make(struct filter_index *ix, unsigned fields)
{
    struct filter_shape *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->fields = fields;
    TAILQ_INSERT_TAIL(&ix->shapes, s, link);
    ix->n_shapes++;
    ix->fields |= fields;
    return s;
}

static void shape_leave(struct filter_index *ix, struct filter_shape *s)
{
    if (s->buckets.n > 0)
        return;
    TAILQ_REMOVE(&ix->shapes, s, link);
    ix->n_shapes--;
    table_deinit(&s->buckets);
    free(s);
    ix->fields = 0;
    TAILQ_FOREACH(s, &ix->shapes, link)
    {
        ix->fields |= s->fields;
    }
}

/* The shape to stand in with these fields: all of them, or the most telling alone. */
static unsigned shape_fields(const struct filter_index *ix, unsigned fields)
{
    unsigned first = fields & (~fields + 1);

    return ix->n_shapes < FILTER_INDEX_SHAPES || shape_find(ix, fields) ? fields : first;
}

static bool shape_has_bit(const struct filter_shape *s, uint64_t hash)
{
    return s->bits[hash % SHAPE_BITS / 64] >> hash % 64 & 1;
}

static void shape_set_bit(struct filter_shape *s, uint64_t hash)
{
    s->bits[hash % SHAPE_BITS / 64] |= (uint64_t)1 << hash % 64;
}

/* The hash of a combination of values of these fields. A name's is one already. */
static uint64_t hash_values(const struct filter_index *ix, unsigned fields, const uint64_t *values, size_t n)
{
    return n == 1 && fields & FILTER_NAME_FIELDS ? values[0] : table_hash(ix->seed, values, n * sizeof *values);
}

static struct bucket *shape_get(const struct filter_shape *s, uint64_t hash, const uint64_t *values, size_t n)
{
    return shape_has_bit(s, hash) ? table_get_hashed(&s->buckets, hash, values, n * sizeof *values) : NULL;
}

static struct bucket *shape_add(struct filter_shape *s, uint64_t hash, const uint64_t *values, size_t n)
{
    struct bucket *b = calloc(1, sizeof *b + n * sizeof *values);

    if (!b)
        return NULL;
    LIST_INIT(&b->places);
    b->shape = s;
    b->hash = hash;
    b->n_values = n;
    memcpy(b->values, values, n * sizeof *values);
    if (table_add_hashed(&s->buckets, hash, b->values, n * sizeof *values, b)) {
        free(b);
        return NULL;
    }
    shape_set_bit(s, hash);
    return b;
}

static void shape_remove(struct filter_index *ix, struct bucket *b)
{
    struct filter_shape *s = b->shape;

    table_remove_hashed(&s->buckets, b->hash, b->values, b->n_values * sizeof *b->values);
    free(b);
    if (++s->n_gone > s->buckets.n_slots / 2) {
        s->n_gone = 0;
        memset(s->bits, 0, sizeof s->bits);
        for (size_t i = 0; i < s->buckets.n_slots; i++)
            if (s->buckets.slots[i].key)
                shape_set_bit(s, s->buckets.slots[i].hash);
    }
    shape_leave(ix, s);
}

/* ---- combinations of a filter's values */

/* How many entries does a list have? 0: an event may have any value. */
static size_t list_n(const struct filter *f, enum filter_field list)
{
    return list == ADDRESS ? filter_n_addresses(f) : filter_n_values(f, list);
}

/* The lists to combine, `first` in any case. */
static unsigned combine(const struct filter *f, enum filter_field first, size_t *out_n)
{
    unsigned lists = FILTER_FIELD(first);
    size_t most = COMBINATIONS, n = list_n(f, first);

    for (enum filter_field list = 0; list < FILTER_N_FIELDS; list++)
        most = list_n(f, list) > most ? list_n(f, list) : most;
    for (enum filter_field list = 0; list < FILTER_N_FIELDS; list++) {
        size_t more = list_n(f, list);
        if (list == first || more == 0 || n * more > most)
            continue;
        lists |= FILTER_FIELD(list);
        n *= more;
    }
    *out_n = n;
    return lists;
}

/* Goes through the combinations of some lists of a filter. */
struct combination {
    const struct filter *filter;
    unsigned lists;
    size_t n[FILTER_N_FIELDS], at[FILTER_N_FIELDS]; /* of each list: entries, and the one whose turn it is */
};

static void combination_first(struct combination *c, const struct filter *f, unsigned lists)
{
    *c = (struct combination){.filter = f, .lists = lists};
    for (enum filter_field list = 0; list < FILTER_N_FIELDS; list++)
        c->n[list] = list_n(f, list);
}

static bool combination_next(struct combination *c)
{
    for (unsigned left = c->lists; left; left &= left - 1) {
        enum filter_field list = (enum filter_field)__builtin_ctz(left);
        if (++c->at[list] < c->n[list])
            return true;
        c->at[list] = 0;
    }
    return false;
}

static unsigned combination_fields(const struct combination *c)
{
    unsigned fields = c->lists;

    if (fields & FILTER_FIELD(ADDRESS))
        fields = (fields & ~FILTER_FIELD(ADDRESS)) | filter_address_fields(c->filter, c->at[ADDRESS]);
    return fields;
}

/* Write the values of `fields`, which it has; returns how many. */
static size_t combination_values(const struct filter_index *ix, const struct combination *c, unsigned fields,
                                 uint64_t values[FILTER_N_FIELDS])
{
    size_t n = 0;

    for (unsigned left = fields; left; left &= left - 1) {
        enum filter_field field = (enum filter_field)__builtin_ctz(left);
        size_t at = c->at[FILTER_ADDRESS_FIELDS & FILTER_FIELD(field) ? ADDRESS : field];
        values[n++] = filter_value(c->filter, field, at, ix->seed);
    }
    return n;
}

/* How many filters would be evaluated beside this one, if these lists were combined? */
static size_t crowd(const struct filter_index *ix, const struct filter *f, unsigned lists)
{
    uint64_t values[FILTER_N_FIELDS];
    struct combination c;
    size_t n = 0;

    combination_first(&c, f, lists);
    do {
        unsigned fields = shape_fields(ix, combination_fields(&c));
        const struct filter_shape *s = shape_find(ix, fields);
        if (!s)
            continue;
        size_t n_values = combination_values(ix, &c, fields, values);
        const struct bucket *b = shape_get(s, hash_values(ix, fields, values, n_values), values, n_values);
        n += b ? b->n : 0;
    } while (combination_next(&c));
    return n;
}

/* ---- standing */

static struct bucket *bucket_get(struct filter_index *ix, unsigned fields, const uint64_t *values, size_t n_values)
{
    struct filter_shape *s = shape_find(ix, fields);

    if (!s)
        s = shape_make(ix, fields);
    if (!s)
        return NULL;
    uint64_t hash = hash_values(ix, fields, values, n_values);
    struct bucket *b = shape_get(s, hash, values, n_values);
    if (!b)
        b = shape_add(s, hash, values, n_values);
    if (!b)
        shape_leave(ix, s);
    return b;
}

static void leave(struct filter_index *ix, struct standing *st)
{
    for (size_t i = 0; i < st->n; i++) {
        struct bucket *b = st->places[i].bucket;
        LIST_REMOVE(&st->places[i], link);
        if (--b->n == 0)
            shape_remove(ix, b);
    }
    free(st);
}

/* Stand under each of the `n` combinations. NULL: out of memory. */
static struct standing *stand(struct filter_index *ix, struct filter_entry *e, unsigned lists, size_t n)
{
    struct standing *st = calloc(1, sizeof *st + n * sizeof st->places[0]);
    uint64_t values[FILTER_N_FIELDS];
    struct combination c;

    if (!st)
        return NULL;
    combination_first(&c, e->filter, lists);
    st->number = ++ix->n_standings;
    st->lists = lists;
    do {
        unsigned all = combination_fields(&c), fields = shape_fields(ix, all);
        size_t n_values = combination_values(ix, &c, fields, values);
        struct bucket *b = bucket_get(ix, fields, values, n_values);
        if (!b) {
            leave(ix, st);
            return NULL;
        }
        st->is_cut = st->is_cut || fields != all;
        if (b->newest == st->number)
            continue; /* is there: address patterns may say the same, and what is cut does */
        struct place *p = &st->places[st->n++];
        p->entry = e;
        p->bucket = b;
        LIST_INSERT_HEAD(&b->places, p, link);
        b->n++;
        b->newest = st->number;
    } while (combination_next(&c));
    return st;
}

/* ---- choosing */

/* Stand where fewest others do: once and for all if there is one way to stand. Returns 0 or UV_ENOMEM: nothing has
 * changed. */
static int choose(struct filter_index *ix, struct filter_entry *e)
{
    struct standing *old = e->standing;
    unsigned best = 0, n_ways = 0;
    size_t best_n = 0, least = 0, n;

    for (enum filter_field list = 0; list < FILTER_N_FIELDS; list++) {
        if (list_n(e->filter, list) == 0)
            continue;
        unsigned lists = combine(e->filter, list, &n);
        if (lists == best)
            continue;
        size_t others = crowd(ix, e->filter, lists);
        if (old && old->lists == lists)
            others = others > old->n ? others - old->n : 0;
        if (n_ways++ == 0 || others < least) {
            best = lists;
            best_n = n;
            least = others;
        }
    }
    if (n_ways == 0 || (old && old->lists == best && !old->is_cut))
        return 0;
    struct standing *st = stand(ix, e, best, best_n);
    if (!st)
        return UV_ENOMEM;
    if (old)
        leave(ix, old);
    e->standing = st;
    e->is_choosy = n_ways > 1 || st->is_cut;
    return 0;
}

/* The index has changed: the next ones choose again. Those that cannot for want of memory stay where they are. */
static void settle(struct filter_index *ix)
{
    struct filter_entry *e;

    for (int i = 0; i < CHOICES && (e = TAILQ_FIRST(&ix->choosy)); i++) {
        TAILQ_REMOVE(&ix->choosy, e, choosy);
        choose(ix, e);
        if (e->is_choosy)
            TAILQ_INSERT_TAIL(&ix->choosy, e, choosy);
    }
}

int filter_index_add(struct filter_index *ix, const struct filter *filter, void *owner, struct filter_entry **out_entry)
{
    struct filter_entry *e = calloc(1, sizeof *e);

    if (!e)
        return UV_ENOMEM;
    e->filter = filter;
    e->owner = owner;
    if (choose(ix, e)) {
        free(e);
        return UV_ENOMEM;
    }
    if (!e->standing)
        TAILQ_INSERT_TAIL(&ix->others, e, others);
    settle(ix);
    if (e->is_choosy)
        TAILQ_INSERT_TAIL(&ix->choosy, e, choosy);
    ix->n++;
    *out_entry = e;
    return 0;
}

void filter_index_remove(struct filter_index *ix, struct filter_entry *e)
{
    if (e->is_choosy)
        TAILQ_REMOVE(&ix->choosy, e, choosy);
    if (e->standing)
        leave(ix, e->standing);
    else
        TAILQ_REMOVE(&ix->others, e, others);
    ix->n--;
    free(e);
    settle(ix);
}

/* ---- finding */

size_t filter_index_find(struct filter_index *ix, const struct event_view *event,
                         void (*found)(void *data, void *owner), void *data)
{
    uint64_t values[FILTER_N_FIELDS], key[FILTER_N_FIELDS], search = ++ix->n_finds;
    const struct filter_shape *s;
    const struct place *p;
    struct filter_entry *e;
    size_t n = 0;

    for (unsigned left = ix->fields; left; left &= left - 1) {
        enum filter_field field = (enum filter_field)__builtin_ctz(left);
        values[field] = filter_value_of_event(event, field, ix->seed);
    }
    TAILQ_FOREACH(s, &ix->shapes, link)
    {
        size_t n_values = 0;
        for (unsigned left = s->fields; left; left &= left - 1)
            key[n_values++] = values[__builtin_ctz(left)];
        const struct bucket *b = shape_get(s, hash_values(ix, s->fields, key, n_values), key, n_values);
        if (!b)
            continue;
        LIST_FOREACH(p, &b->places, link)
        {
            e = p->entry;
            if (e->found == search)
                continue; /* it stands in several shapes */
            e->found = search;
            n++;
            if (filter_matches(e->filter, event))
                found(data, e->owner);
        }
    }
    TAILQ_FOREACH(e, &ix->others, others)
    {
        n++;
        if (filter_matches(e->filter, event))
            found(data, e->owner);
    }
    return n;
}
