/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/storm_held.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sensebus/v1/event.pb-c.h"

struct storm_copy {
    struct storm_copy *next;
    uint8_t bytes[];
};

static uint64_t count_of(const struct record *r)
{
    return r->count > 1 ? r->count : 1;
}

/* ------------------------------------------------------------------------------------------------ copies */

static void *keep(struct storm_held *h, const void *bytes, size_t len)
{
    struct storm_copy *c = malloc(sizeof *c + len + 1);

    if (!c)
        return NULL;
    if (len > 0)
        memcpy(c->bytes, bytes, len);
    c->bytes[len] = 0;
    c->next = h->copies;
    h->copies = c;
    h->bytes += sizeof *c + len + 1;
    return c->bytes;
}

/* In place: *text becomes a copy of itself. */
static bool keep_text(struct storm_held *h, const char **text)
{
    return !*text || (*text = keep(h, *text, strlen(*text)));
}

static size_t kept_raw(const struct record_native *n)
{
    return !n->raw ? 0 : n->raw_len < RECORD_MAX_RAW ? n->raw_len : RECORD_MAX_RAW;
}

/* As keep_text; the full length of what is cut stays. */
static bool keep_native(struct storm_held *h, struct record_native *n)
{
    if (!n->raw)
        n->raw_len = 0;
    return keep_text(h, &n->name) && keep_text(h, &n->detail) && (!n->raw || (n->raw = keep(h, n->raw, kept_raw(n))));
}

static size_t native_bytes(const struct record_native *n)
{
    return 2 * sizeof(struct storm_copy) + kept_raw(n) + (n->name ? strlen(n->name) : 0) +
           (n->detail ? strlen(n->detail) : 0);
}

/* ------------------------------------------------------------------------------------------------ the first */

static bool keep_place(struct storm_held *h)
{
    struct record_place *p = &h->record.place;

    if (p->identity) {
        h->identity = *p->identity;
        p->identity = &h->identity;
    }
    if (p->kernel) {
        h->kernel = *p->kernel;
        p->kernel = &h->kernel;
        if (h->kernel.n_names > STORM_HELD_NAMES)
            h->kernel.n_names = STORM_HELD_NAMES;
        for (size_t i = 0; i < h->kernel.n_names; i++) {
            h->names[i] = h->kernel.names[i];
            if (!keep_text(h, &h->names[i]))
                return false;
        }
        h->kernel.names = h->names;
    }
    return keep_text(h, &p->adapter) && keep_text(h, &p->target_name) && keep_text(h, &p->portal) &&
           keep_text(h, &p->initiator);
}

static void add_evidence(struct storm_held *h, const struct record_native *n)
{
    struct record_native copy = *n;

    if (h->record.n_evidence < RECORD_MAX_EVIDENCE && h->bytes + native_bytes(n) <= STORM_HELD_BYTES &&
        keep_native(h, &copy))
        h->evidence[h->record.n_evidence++] = copy;
    else
        h->n_more++;
}

struct storm_held *storm_held_new(const struct record *first)
{
    struct storm_held *h = calloc(1, sizeof *h);
    struct record *r;

    if (!h)
        return NULL;
    r = &h->record;
    *r = *first;
    h->bytes = sizeof *h;
    h->count = count_of(first);
    if (first->count <= 1)
        r->first_wall_ns = first->wall_ns;
    if (r->gap) {
        h->gap = *r->gap;
        r->gap = &h->gap;
        if (!keep_text(h, &h->gap.reason))
            goto fail;
    }
    if (r->sense_len > RECORD_MAX_SENSE)
        r->sense_len = RECORD_MAX_SENSE;
    if (r->sense && !(r->sense = keep(h, r->sense, r->sense_len)))
        goto fail;
    if (!keep_place(h) || !keep_native(h, &r->native) || !keep_text(h, &r->session_id) ||
        !keep_text(h, &r->origin_session))
        goto fail;
    r->n_evidence = 0;
    for (size_t i = 0; i < first->n_evidence; i++)
        add_evidence(h, &first->evidence[i]);
    r->evidence = h->evidence;
    return h;
fail:
    storm_held_free(h);
    return NULL;
}

void storm_held_free(struct storm_held *h)
{
    if (!h)
        return;
    for (struct storm_copy *c = h->copies, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(h);
}

/* ------------------------------------------------------------------------------------------------ the others */

static bool same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

/* What a record says in its own words: its sense data where it has some. */
static struct record_native words_of(const struct record *r, char detail[64])
{
    struct record_native n = r->native;
    size_t len = r->sense_len < RECORD_MAX_SENSE ? r->sense_len : RECORD_MAX_SENSE;

    if (r->sense && (!n.raw || n.raw_len != len || memcmp(n.raw, r->sense, len) != 0))
        record_native_sense(&n, r->sense, len, -1, detail, 64);
    return n;
}

static bool same_parameters(const struct record_native *a, const struct record_native *b)
{
    return a->n_parameters == b->n_parameters &&
           memcmp(a->parameters, b->parameters, a->n_parameters * sizeof a->parameters[0]) == 0;
}

static bool same_words(const struct record_native *a, const struct record_native *b, bool sense)
{
    if (!same_text(a->name, b->name) || a->code != b->code || a->subcode != b->subcode)
        return false;
    return !sense || (a->raw_len == b->raw_len && kept_raw(a) == kept_raw(b) &&
                      (kept_raw(a) == 0 || memcmp(a->raw, b->raw, kept_raw(a)) == 0));
}

static bool was_said(const struct storm_held *h, const struct record_native *n, bool sense)
{
    char unused[64];
    struct record_native first = words_of(&h->record, unused);

    /* Parameters of Fibre Channel count its messages. */
    bool parameters = h->record.source != SENSEBUS__V1__SOURCE__SOURCE_FC_NETLINK;

    if (same_words(&first, n, sense) && (!parameters || same_parameters(&first, n)))
        return true;
    for (size_t i = 0; i < h->record.n_evidence; i++)
        if (same_words(&h->evidence[i], n, sense) && (!parameters || same_parameters(&h->evidence[i], n)))
            return true;
    return false;
}

static void add_words(struct storm_held *h, const struct record_native *n, bool sense)
{
    if (was_said(h, n, sense))
        h->n_equal++;
    else
        add_evidence(h, n);
}

void storm_held_add(struct storm_held *h, const struct record *r)
{
    char detail[64];
    struct record_native n = words_of(r, detail);

    h->count += count_of(r);
    h->record.wall_ns = r->wall_ns;
    h->record.boot_ns = r->boot_ns;
    h->record.more_bits |= r->more_bits;
    add_words(h, &n, r->sense != NULL);
    for (size_t i = 0; i < r->n_evidence; i++)
        add_words(h, &r->evidence[i], false);
}

void storm_held_finish(struct storm_held *h)
{
    const char *words = h->record.native.detail;

    h->record.count = h->count;
    if (h->n_more == 0 || !h->record.native.name)
        return;
    snprintf(h->detail, sizeof h->detail, "%.400s%sand %zu more different native records", words ? words : "",
             words && words[0] ? "; " : "", h->n_more);
    h->record.native.detail = h->detail;
}
