/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/service/matcher.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/filter.h"
#include "broker/engine/journal.h"
#include "proto/event_view.h"

#define KEEP_CAPACITY 4096u /* of hits, between one matcher_forget and the next */
/* Fewer bytes in a row are handed on as they are: who sends them copies them. */
#define LEND_BELOW 1024u

static const struct event_limits limits = {.max_event_bytes = JOURNAL_BATCH_BYTES, .allow_broker_fields = true};

/* ------------------------------------------------------------------------------------------------ accepted records */

/* Room for one more item. */
static int make_room(void **items, size_t *cap, size_t n, size_t item_bytes)
{
    if (n < *cap)
        return 0;
    size_t more = *cap ? 2 * *cap : 256;
    void *grown = realloc(*items, more * item_bytes);
    if (!grown)
        return UV_ENOMEM;
    *items = grown;
    *cap = more;
    return 0;
}

static void drop_notes(struct matcher *m)
{
    m->noted_first = 1;
    m->noted_last = 0;
    m->noted_head = m->noted_tail = 0;
}

/* One comes or goes. */
static void filters_changed(struct matcher *m)
{
    m->version++;
    drop_notes(m);
}

/* One matcher_note under way. */
struct noting {
    struct matcher *matcher;
    uint64_t sequence;
    struct matcher_class *class; /* the last one that wants it */
    size_t n;
    bool failed;
};

/* Room for another hit. */
static bool reserve_noted(struct matcher *m)
{
    if (m->noted_tail < m->noted_cap)
        return true;
    if (m->noted_head > m->noted_cap / 2) { /* what is left moves at most once per half of them */
        m->noted_tail -= m->noted_head;
        memmove(m->noted, m->noted + m->noted_head, m->noted_tail * sizeof *m->noted);
        m->noted_head = 0;
        return true;
    }
    return m->noted_cap < MATCHER_MAX_NOTED &&
           make_room((void **)&m->noted, &m->noted_cap, m->noted_tail, sizeof *m->noted) == 0;
}

static void on_noted(void *data, void *owner)
{
    struct noting *noting = data;
    struct matcher *m = noting->matcher;

    if (noting->failed || !reserve_noted(m)) {
        noting->failed = true;
        return;
    }
    m->noted[m->noted_tail++] = (struct matcher_noted){.sequence = noting->sequence, .class = owner};
    noting->class = owner;
    noting->n++;
}

/* Where it is kept who wants a remembered event; NULL without memory, or when it is none. */
static struct matcher_known *known_of(struct matcher *m, known_id id)
{
    if (id == 0)
        return NULL;
    if (!m->known)
        m->known = calloc(KNOWN_EVENTS, sizeof *m->known);
    return m->known ? &m->known[known_place(id)] : NULL;
}

/* Look up who wants the event, unless that is known. */
static void find_wanting(struct matcher *m, const struct event_view *event, known_id id, struct noting *noting)
{
    struct matcher_known *known = known_of(m, id);

    if (known && known->id == id && known->version == m->version) {
        if (known->class)
            on_noted(noting, known->class);
        return;
    }
    filter_index_find(&m->index, event, on_noted, noting);
    if (known && !noting->failed && noting->n <= 1)
        *known = (struct matcher_known){.id = id, .version = m->version, .class = noting->class};
}

void matcher_note(struct matcher *m, const struct event_view *event, known_id id, uint64_t sequence)
{
    struct noting noting = {.matcher = m, .sequence = sequence};
    bool is_first = m->noted_first > m->noted_last;

    /* After a record that was not noted, first what is noted has to be committed. */
    if (m->index.n == 0 || (!is_first && sequence != m->noted_last + 1))
        return;
    find_wanting(m, event, id, &noting);
    if (noting.failed)
        return; /* with hits of a record that is not noted: whoever takes notes skips them */
    if (is_first)
        m->noted_first = sequence;
    m->noted_last = sequence;
}

/* Whether the record is noted; if so with its hits, which are taken out with all before. */
static bool take_note(struct matcher *m, uint64_t sequence, const struct matcher_noted **out_hits, size_t *out_n)
{
    if (sequence < m->noted_first || sequence > m->noted_last)
        return false;
    while (m->noted_head < m->noted_tail && m->noted[m->noted_head].sequence < sequence)
        m->noted_head++;
    *out_hits = m->noted + m->noted_head;
    for (*out_n = 0; m->noted_head < m->noted_tail && m->noted[m->noted_head].sequence == sequence; ++*out_n)
        m->noted_head++;
    m->noted_first = sequence + 1;
    if (m->noted_head == m->noted_tail)
        m->noted_head = m->noted_tail = 0;
    return true;
}

/* Whether it is noted that nobody wants any of the records; the notes are taken out. */
static bool take_empty_notes(struct matcher *m, uint64_t first, uint64_t last)
{
    const struct matcher_noted *hits;
    size_t n;

    if (first < m->noted_first || last > m->noted_last)
        return false;
    while (m->noted_head < m->noted_tail && m->noted[m->noted_head].sequence < first)
        m->noted_head++;
    if (m->noted_head < m->noted_tail && m->noted[m->noted_head].sequence <= last)
        return false;
    return take_note(m, last, &hits, &n);
}

/* ------------------------------------------------------------------------------------------------ all of it */

void matcher_init(struct matcher *m, uint64_t through, uint64_t seed)
{
    memset(m, 0, sizeof *m);
    table_init(&m->by_key, seed);
    filter_index_init(&m->index, seed);
    m->through = through;
    drop_notes(m);
}

void matcher_deinit(struct matcher *m)
{
    matcher_forget(m);
    free(m->hits);
    free(m->noted);
    free(m->known);
    filter_index_deinit(&m->index);
    table_deinit(&m->by_key);
    memset(m, 0, sizeof *m);
}

/* ------------------------------------------------------------------------------------------------ classes */

static int class_new(struct matcher *m, struct filter *filter, size_t key_bytes, struct matcher_class **out_class)
{
    struct matcher_class *c = calloc(1, sizeof *c);
    int rc = c ? table_add(&m->by_key, filter_key(filter), key_bytes, c) : UV_ENOMEM;
    if (!rc && !filter_matches_all(filter)) {
        rc = filter_index_add(&m->index, filter, c, &c->entry);
        if (rc)
            table_remove(&m->by_key, filter_key(filter), key_bytes);
    }
    if (rc) {
        free(c);
        return rc;
    }
    c->matcher = m;
    c->filter = filter;
    c->key_bytes = key_bytes;
    c->since = m->through + 1;
    LIST_INIT(&c->idle);
    if (c->entry)
        filters_changed(m);
    else
        LIST_INSERT_HEAD(&m->unlimited, c, unlimited);
    m->key_bytes += key_bytes;
    *out_class = c;
    return 0;
}

int matcher_join(struct matcher *m, struct filter *filter, struct matcher_class **out_class)
{
    size_t key_bytes = strlen(filter_key(filter));
    struct matcher_class *c = table_get(&m->by_key, filter_key(filter), key_bytes);
    int rc = 0;

    if (c) {
        filter_free(filter);
    } else {
        rc = m->key_bytes + key_bytes > MATCHER_MAX_BYTES ? UV_ENOBUFS : class_new(m, filter, key_bytes, &c);
        if (rc) {
            filter_free(filter);
            return rc;
        }
    }
    c->n_users++;
    *out_class = c;
    return 0;
}

/* It holds something from now on. */
static void class_hold(struct matcher_class *c)
{
    if (!c->is_holding)
        LIST_INSERT_HEAD(&c->matcher->holding, c, holding);
    c->is_holding = true;
}

static void class_forget_result(struct matcher_class *c)
{
    chunk_unref(c->matched);
    c->matched = NULL;
    c->first = c->last = c->n_matched = 0;
}

static void class_forget(struct matcher_class *c)
{
    class_forget_result(c);
    c->first_hit = c->last_hit = c->resume_hit = 0;
    if (c->is_holding)
        LIST_REMOVE(c, holding);
    c->is_holding = false;
}

void matcher_leave(struct matcher_class *c)
{
    struct matcher *m = c->matcher;

    if (--c->n_users > 0)
        return;
    class_forget(c);
    if (c->entry) {
        filter_index_remove(&m->index, c->entry);
        filters_changed(m);
    } else {
        LIST_REMOVE(c, unlimited);
    }
    table_remove(&m->by_key, filter_key(c->filter), c->key_bytes);
    m->key_bytes -= c->key_bytes;
    filter_free(c->filter);
    free(c);
}

/* ------------------------------------------------------------------------------------------------ new records */

void matcher_forget(struct matcher *m)
{
    struct matcher_class *c;

    while ((c = LIST_FIRST(&m->holding)))
        class_forget(c);
    for (; m->n_runs > 0; m->n_runs--)
        chunk_unref(m->runs[m->n_runs - 1].chunk);
    if (m->hits_cap > KEEP_CAPACITY) {
        free(m->hits);
        m->hits = NULL;
        m->hits_cap = 0;
    }
    if (m->noted_cap > KEEP_CAPACITY && m->noted_head == m->noted_tail) {
        free(m->noted);
        m->noted = NULL;
        m->noted_cap = 0;
    }
    m->n_hits = 0;
    m->seen_first = 0;
}

/* The class without the first `n` hits, which go. */
static void class_forget_hits(struct matcher_class *c, uint32_t n)
{
    while (c->first_hit && c->first_hit <= n)
        c->first_hit = c->matcher->hits[c->first_hit - 1].next;
    if (c->first_hit)
        c->first_hit -= n;
    c->last_hit = c->last_hit > n ? c->last_hit - n : 0;
    c->resume_hit = c->resume_hit > n ? c->resume_hit - n : 0;
    if (!c->first_hit && !c->matched)
        class_forget(c);
}

/* Whoever waits for a turn is not far behind: he finds what he needs in the newer half. */
static void forget_older_half(struct matcher *m)
{
    struct matcher_class *c, *next;
    size_t n_runs = m->n_runs / 2;

    if (n_runs == 0) {
        matcher_forget(m);
        return;
    }
    uint32_t n_hits = (uint32_t)m->runs[n_runs - 1].hits_to;
    for (c = LIST_FIRST(&m->holding); c; c = next) {
        next = LIST_NEXT(c, holding);
        class_forget_hits(c, n_hits);
    }
    m->seen_first = m->runs[n_runs - 1].last + 1;
    m->n_hits -= n_hits;
    memmove(m->hits, m->hits + n_hits, m->n_hits * sizeof *m->hits);
    for (size_t i = 0; i < m->n_hits; i++)
        if (m->hits[i].next)
            m->hits[i].next -= n_hits;
    for (size_t i = 0; i < n_runs; i++)
        chunk_unref(m->runs[i].chunk);
    m->n_runs -= n_runs;
    memmove(m->runs, m->runs + n_runs, m->n_runs * sizeof *m->runs);
    for (size_t i = 0; i < m->n_runs; i++)
        m->runs[i].hits_to -= n_hits;
}

void matcher_pass(struct matcher *m, uint64_t through)
{
    matcher_forget(m);
    m->through = through;
    if (m->noted_last <= through)
        drop_notes(m);
}

/* One matcher_look under way. */
struct look {
    struct matcher *matcher;
    size_t n_hits_before;
    struct matcher_hit record; /* what matched, when something did */
    void (*on_hit)(void *data, struct matcher_class *class);
    void *data;
    int rc;
};

static void on_found(void *data, void *owner)
{
    struct look *look = data;
    struct matcher *m = look->matcher;
    struct matcher_class *c = owner;

    if (!look->rc && m->n_hits == MATCHER_MAX_HITS)
        look->rc = UV_ENOBUFS;
    if (!look->rc)
        look->rc = make_room((void **)&m->hits, &m->hits_cap, m->n_hits, sizeof *m->hits);
    if (look->rc)
        return;
    bool is_first = c->last_hit <= look->n_hits_before;
    m->hits[m->n_hits++] = look->record;
    uint32_t hit = (uint32_t)m->n_hits;
    if (c->last_hit)
        m->hits[c->last_hit - 1].next = hit;
    else
        c->first_hit = hit;
    c->last_hit = hit;
    class_hold(c);
    if (is_first)
        look->on_hit(look->data, c);
}

static void find_classes(struct look *look, uint64_t sequence, const uint8_t *event, size_t len)
{
    struct matcher *m = look->matcher;
    const struct matcher_noted *noted;
    struct event_view view;
    char err[128];
    size_t n;

    if (take_note(m, sequence, &noted, &n)) {
        for (size_t i = 0; i < n; i++)
            on_found(look, noted[i].class);
    } else if (event_scan(event, len, &limits, &view, err, sizeof err) == 0) {
        filter_index_find(&m->index, &view, on_found, look);
    }
}

static int look_at_records(struct look *look, const struct journal_run *run)
{
    const uint8_t *cursor = run->bytes, *end = run->bytes + run->len, *event;
    uint64_t sequence = run->first;
    size_t len;

    look->record.bytes = cursor;
    for (; records_next(&cursor, end, &event, &len); look->record.bytes = cursor) {
        look->record.len = (uint32_t)(cursor - look->record.bytes);
        look->record.sequence = sequence;
        find_classes(look, sequence++, event, len);
        if (look->rc)
            return look->rc;
    }
    return sequence == run->last + 1 ? 0 : UV_EINVAL;
}

int matcher_look(struct matcher *m, const struct journal_run *run,
                 void (*on_hit)(void *data, struct matcher_class *class), void *data)
{
    struct look look = {.matcher = m, .on_hit = on_hit, .data = data};

    assert(run->first == m->through + 1);
    while (m->n_runs == MATCHER_MAX_RUNS || m->n_hits >= MATCHER_MAX_HITS / 2)
        forget_older_half(m);
    if (!m->seen_first)
        m->seen_first = run->first;
    m->through = run->last;
    if (take_empty_notes(m, run->first, run->last))
        return 0;
    look.n_hits_before = m->n_hits;
    int rc = look_at_records(&look, run);
    if (rc)
        matcher_forget(m);
    else if (m->n_hits > look.n_hits_before)
        m->runs[m->n_runs++] =
            (struct matcher_held){.chunk = chunk_ref(run->chunk), .last = run->last, .hits_to = m->n_hits};
    return rc;
}

/* ------------------------------------------------------------------------------------------------ taking hits */

/* The class's hits from `hit` on, as many as fit. */
struct portion {
    uint64_t last; /* all matches up to here are in it */
    uint64_t n;
    size_t len;
    bool in_a_row; /* their bytes are */
    uint32_t next; /* the hit behind them, 0 = none */
};

static struct portion measure(const struct matcher *m, uint32_t hit, uint64_t through, size_t max_bytes)
{
    struct portion p = {.last = through < m->through ? through : m->through, .in_a_row = true};
    const uint8_t *end = NULL;

    for (; hit && m->hits[hit - 1].sequence <= p.last; hit = m->hits[hit - 1].next) {
        const struct matcher_hit *r = &m->hits[hit - 1];
        if (p.n > 0 && p.len + r->len > max_bytes) {
            p.last = r->sequence - 1;
            break;
        }
        p.in_a_row = p.in_a_row && (!end || end == r->bytes);
        end = r->bytes + r->len;
        p.len += r->len;
        p.n++;
    }
    p.next = hit;
    return p;
}

static struct chunk *collect(const struct matcher *m, uint32_t hit, const struct portion *p)
{
    struct chunk *chunk = chunk_new(p->len);

    for (uint64_t i = 0; chunk && i < p->n; i++, hit = m->hits[hit - 1].next) {
        const struct matcher_hit *r = &m->hits[hit - 1];
        memcpy(chunk->bytes + chunk->len, r->bytes, r->len);
        chunk->len += r->len;
    }
    return chunk;
}

static void class_give_result(const struct matcher_class *c, struct slice *out_records, uint64_t *out_n)
{
    *out_records = (struct slice){0};
    if (c->matched)
        *out_records = (struct slice){.owner = chunk_ref(c->matched), .ptr = c->matched->bytes, .len = c->matched->len};
    *out_n = c->n_matched;
}

int matcher_take(struct matcher_class *c, uint64_t from, uint64_t through, size_t max_bytes, struct slice *out_records,
                 uint64_t *out_n, uint64_t *out_last)
{
    const struct matcher *m = c->matcher;

    if (!m->seen_first || from < m->seen_first || from > m->through || from < c->since || !c->entry)
        return UV_ENOENT;
    if (c->first == from && c->last <= through) {
        class_give_result(c, out_records, out_n);
        *out_last = c->last;
        return 0;
    }
    uint32_t hit = c->resume_hit && c->resume_at <= from ? c->resume_hit : c->first_hit;
    while (hit && m->hits[hit - 1].sequence < from)
        hit = m->hits[hit - 1].next;
    struct portion p = measure(m, hit, through, max_bytes);
    if (p.n > 0 && p.in_a_row && p.len < LEND_BELOW) {
        *out_records = (struct slice){.ptr = m->hits[hit - 1].bytes, .len = p.len};
        *out_n = p.n;
    } else {
        struct chunk *chunk = p.n > 0 ? collect(m, hit, &p) : NULL;
        if (p.n > 0 && !chunk)
            return UV_ENOMEM;
        class_forget_result(c);
        class_hold(c);
        c->first = from;
        c->last = p.last;
        c->matched = chunk;
        c->n_matched = p.n;
        class_give_result(c, out_records, out_n);
    }
    c->resume_hit = p.next;
    c->resume_at = p.last + 1;
    *out_last = p.last;
    return 0;
}

/* ------------------------------------------------------------------------------------------------ any records */

/* The next record of a run that matches. *cursor walks through run->bytes. */
static bool next_match(const struct matcher_class *c, const struct journal_run *run, const uint8_t **cursor,
                       const uint8_t **out_record, struct event_view *out_view)
{
    const uint8_t *end = run->bytes + run->len, *event;
    char err[128];
    size_t len;

    for (;;) {
        *out_record = *cursor;
        if (!records_next(cursor, end, &event, &len))
            return false;
        if (event_scan(event, len, &limits, out_view, err, sizeof err) == 0 && filter_matches(c->filter, out_view))
            return true;
    }
}

/* Evaluate the filter into c->matched. */
static int class_evaluate(struct matcher_class *c, const struct journal_run *run)
{
    const uint8_t *cursor = run->bytes, *record;
    struct event_view view;
    struct chunk *matched = NULL;
    uint64_t n = 0;

    while (next_match(c, run, &cursor, &record, &view)) {
        if (!matched && !(matched = chunk_new(run->len)))
            return UV_ENOMEM;
        memcpy(matched->bytes + matched->len, record, (size_t)(cursor - record));
        matched->len += (size_t)(cursor - record);
        n++;
    }
    /* What waits for a slow subscriber should not hold room it does not use. */
    if (matched && matched->len < matched->cap / 2) {
        struct chunk *small = chunk_new(matched->len);
        if (small) {
            memcpy(small->bytes, matched->bytes, matched->len);
            small->len = matched->len;
            chunk_unref(matched);
            matched = small;
        }
    }
    class_forget_result(c);
    class_hold(c);
    c->first = run->first;
    c->last = run->last;
    c->matched = matched;
    c->n_matched = n;
    return 0;
}

int matcher_run(struct matcher_class *c, const struct journal_run *run, struct slice *out_records,
                uint64_t *out_n_matched)
{
    if (filter_matches_all(c->filter)) {
        *out_records = (struct slice){.owner = chunk_ref(run->chunk), .ptr = run->bytes, .len = run->len};
        *out_n_matched = run->last - run->first + 1;
        return 0;
    }
    if (c->first != run->first || c->last != run->last) {
        int rc = class_evaluate(c, run);
        if (rc)
            return rc;
    }
    class_give_result(c, out_records, out_n_matched);
    return 0;
}

void matcher_count(const struct matcher_class *c, const struct journal_run *run, uint64_t *out_n, uint32_t *out_bits)
{
    const uint8_t *cursor = run->bytes, *record;
    struct event_view view;

    *out_n = 0;
    *out_bits = 0;
    while (next_match(c, run, &cursor, &record, &view)) {
        (*out_n)++;
        *out_bits |= view.aix_bits;
    }
}

uint64_t matcher_nth(const struct matcher_class *c, const struct journal_run *run, uint64_t n)
{
    const uint8_t *cursor = run->bytes, *record;
    struct event_view view;

    while (next_match(c, run, &cursor, &record, &view))
        if (n-- == 0)
            return view.sequence;
    return 0;
}
