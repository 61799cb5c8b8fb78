/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/service/matcher.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/filter.h"
#include "broker/engine/journal.h"

int matcher_join(struct matcher *m, struct filter *filter, struct matcher_class **out_class)
{
    size_t key_bytes = strlen(filter_key(filter));
    struct matcher_class *c;

    LIST_FOREACH(c, &m->classes, entry)
    {
        if (strcmp(filter_key(c->filter), filter_key(filter)) == 0) {
            filter_free(filter);
            c->n_users++;
            *out_class = c;
            return 0;
        }
    }
    int rc = m->key_bytes + key_bytes > MATCHER_MAX_BYTES ? UV_ENOBUFS : 0;
    if (!rc && !(c = calloc(1, sizeof *c)))
        rc = UV_ENOMEM;
    if (rc) {
        filter_free(filter);
        return rc;
    }
    c->matcher = m;
    c->filter = filter;
    c->key_bytes = key_bytes;
    c->n_users = 1;
    m->key_bytes += key_bytes;
    LIST_INSERT_HEAD(&m->classes, c, entry);
    *out_class = c;
    return 0;
}

static void class_forget(struct matcher_class *c)
{
    chunk_unref(c->matched);
    c->matched = NULL;
    c->first = c->last = 0;
}

void matcher_leave(struct matcher_class *c)
{
    if (--c->n_users > 0)
        return;
    class_forget(c);
    c->matcher->key_bytes -= c->key_bytes;
    filter_free(c->filter);
    LIST_REMOVE(c, entry);
    free(c);
}

/* The next record of a run that matches. *cursor walks through run->bytes. */
static bool next_match(const struct matcher_class *c, const struct journal_run *run, const uint8_t **cursor,
                       const uint8_t **out_record, struct event_view *out_view)
{
    static const struct event_limits limits = {.max_event_bytes = JOURNAL_BATCH_BYTES, .allow_broker_fields = true};
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
    class_forget(c);
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
    *out_records = (struct slice){0};
    if (c->matched)
        *out_records = (struct slice){.owner = chunk_ref(c->matched), .ptr = c->matched->bytes, .len = c->matched->len};
    *out_n_matched = c->n_matched;
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

void matcher_forget(struct matcher *m)
{
    struct matcher_class *c;
    LIST_FOREACH(c, &m->classes, entry)
    class_forget(c);
}
