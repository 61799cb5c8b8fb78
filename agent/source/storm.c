/* SPDX-License-Identifier: Apache-2.0 */
/* The story
 *
 * take: find the device and, in it, the kind of the record. A kind that is not known, of a device that has tokens: all
 *   that the device holds is told, then the record itself (TELL). Else it is held: storm_held.h.
 * next: when a kind that is held is due, all that its device holds is told, the oldest last time first, as far as the
 *   tokens go. So what a device says keeps its order: nothing older ever follows what was told.
 *
 * A record that is never held: what its place holds, and unless it is one of category SERVICE every device that meets
 *   its place, is told, and their kinds are forgotten; then the record itself (TELL).
 *
 * A kind that was told is remembered for its hold time. When nothing equal came until then, the next one is a first one
 * again. What is told goes through the queue `out`, which the caller drains. */
#include "agent/source/storm.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "agent/source/storm_held.h"
#include "agent/source/storm_key.h"
#include "proto/registry.h"
#include "runtime/table.h"
#include "sensebus/v1/code.pb-c.h"
#include "sensebus/v1/event.pb-c.h"

#define SECOND 1000000000ull

struct kind {
    struct storm_key key;
    struct storm_held *held; /* NULL: nothing came since it was told */
    uint64_t hold_ns;        /* from one update to the next */
    uint64_t due_ns;
    bool bits;            /* one of them carries an AIX bit */
    uint64_t last_number; /* in the device's count, of the last that is held */
};

struct device {
    struct storm_place place;
    struct kind *kinds;
    size_t n_kinds, cap_kinds, n_held;
    uint64_t credit_ns, credited_ns; /* a token is SECOND / rate of it; when it was counted */
    uint64_t n_records;              /* that came */
    uint64_t last_ns;                /* when the last one came */
    struct storm_held *lost;         /* EVENTS_LOST, NULL = none */
};

struct storm {
    uint64_t hold_ns, hold_max_ns, bits_hold_ns, bits_hold_max_ns, token_ns, burst_ns;
    size_t max_devices, max_kinds;
    struct table table; /* of devices, by their place */
    struct device **devices;
    size_t n_devices;
    struct storm_held *out, *out_last;
    struct storm_held *told; /* the caller has it */
    struct storm_counts counts;
};

struct storm *storm_new(const struct storm_options *o)
{
    struct storm *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->hold_ns = (o->hold_ms ? o->hold_ms : STORM_HOLD_MS) * (uint64_t)1000000;
    s->hold_max_ns = (o->hold_max_ms ? o->hold_max_ms : STORM_HOLD_MAX_MS) * (uint64_t)1000000;
    s->bits_hold_ns = s->hold_ns / STORM_BITS_SOONER;
    s->bits_hold_max_ns = s->hold_max_ns / STORM_BITS_SOONER;
    s->token_ns = SECOND / (o->rate_per_s ? o->rate_per_s : STORM_RATE);
    s->burst_ns = s->token_ns * (o->burst ? o->burst : STORM_BURST);
    s->max_devices = o->max_devices ? o->max_devices : STORM_MAX_DEVICES;
    s->max_kinds = o->max_kinds ? o->max_kinds : STORM_MAX_KINDS;
    table_init(&s->table, o->seed);
    s->devices = calloc(s->max_devices, sizeof(struct device *));
    if (!s->devices) {
        free(s);
        return NULL;
    }
    return s;
}

static void device_free(struct device *d)
{
    for (size_t i = 0; i < d->n_kinds; i++)
        storm_held_free(d->kinds[i].held);
    storm_held_free(d->lost);
    free(d->kinds);
    free(d);
}

void storm_free(struct storm *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_devices; i++)
        device_free(s->devices[i]);
    for (struct storm_held *h = s->out, *next; h; h = next) {
        next = h->next;
        storm_held_free(h);
    }
    storm_held_free(s->told);
    table_deinit(&s->table);
    free(s->devices);
    free(s);
}

/* ------------------------------------------------------------------------------------------------ out */

static void put_out(struct storm *s, struct storm_held *h)
{
    storm_held_finish(h);
    h->next = NULL;
    *(s->out ? &s->out_last->next : &s->out) = h;
    s->out_last = h;
    s->counts.told++;
}

static bool has_token(const struct storm *s, const struct device *d)
{
    return d->credit_ns >= s->token_ns;
}

static void earn(const struct storm *s, struct device *d, uint64_t now_ns)
{
    uint64_t more = now_ns - d->credited_ns;

    d->credit_ns = more >= s->burst_ns - d->credit_ns ? s->burst_ns : d->credit_ns + more;
    d->credited_ns = now_ns;
}

static struct kind *oldest_held(const struct device *d)
{
    struct kind *oldest = NULL;

    for (size_t i = 0; i < d->n_kinds; i++)
        if (d->kinds[i].held && (!oldest || d->kinds[i].last_number < oldest->last_number))
            oldest = &d->kinds[i];
    return oldest;
}

static uint64_t first_hold(const struct storm *s, const struct kind *k)
{
    return k->bits ? s->bits_hold_ns : s->hold_ns;
}

static uint64_t next_hold(const struct storm *s, const struct kind *k)
{
    uint64_t max = k->bits ? s->bits_hold_max_ns : s->hold_max_ns;

    return 2 * k->hold_ns < max ? 2 * k->hold_ns : max;
}

/* Tell what the device holds, the oldest last time first, as far as its tokens go; all of it when it must be. */
static void flush(struct storm *s, struct device *d, uint64_t now_ns, bool must)
{
    struct kind *k;

    while (d->n_held > 0 && (must || has_token(s, d))) {
        k = oldest_held(d);
        d->credit_ns -= has_token(s, d) ? s->token_ns : d->credit_ns;
        s->counts.held_bytes -= k->held->bytes;
        put_out(s, k->held);
        k->held = NULL;
        d->n_held--;
        if (now_ns >= k->due_ns)
            k->hold_ns = next_hold(s, k);
        k->due_ns = now_ns + k->hold_ns;
    }
    if (d->n_held == 0 && d->lost) {
        s->counts.held_bytes -= d->lost->bytes;
        put_out(s, d->lost);
        d->lost = NULL;
    }
}

/* ------------------------------------------------------------------------------------------------ devices */

static void forget_device(struct storm *s, size_t i)
{
    struct device *d = s->devices[i];

    table_remove(&s->table, &d->place, sizeof d->place);
    device_free(d);
    s->devices[i] = s->devices[--s->n_devices];
}

/* The one that was quiet longest makes room. */
static void make_room(struct storm *s, uint64_t now_ns)
{
    size_t quiet = 0;

    for (size_t i = 1; i < s->n_devices; i++)
        if (s->devices[i]->last_ns < s->devices[quiet]->last_ns)
            quiet = i;
    flush(s, s->devices[quiet], now_ns, true);
    forget_device(s, quiet);
}

static struct device *add_device(struct storm *s, const struct storm_place *place, uint64_t now_ns)
{
    struct device *d = calloc(1, sizeof *d);

    if (!d)
        return NULL;
    d->place = *place;
    d->credit_ns = s->burst_ns;
    d->credited_ns = now_ns;
    if (s->n_devices == s->max_devices)
        make_room(s, now_ns);
    if (table_add(&s->table, &d->place, sizeof d->place, d) < 0) {
        free(d);
        return NULL;
    }
    s->devices[s->n_devices++] = d;
    return d;
}

/* ------------------------------------------------------------------------------------------------ kinds */

static struct kind *find_kind(const struct device *d, const struct storm_key *key)
{
    for (size_t i = 0; i < d->n_kinds; i++)
        if (storm_key_equal(&d->kinds[i].key, key))
            return &d->kinds[i];
    return NULL;
}

/* One with the same code that is held: better told as one than not at all. */
static struct kind *find_alike(const struct device *d, const struct storm_key *key)
{
    for (size_t i = 0; i < d->n_kinds; i++)
        if (d->kinds[i].held && storm_key_alike(&d->kinds[i].key, key))
            return &d->kinds[i];
    return NULL;
}

/* Room for another kind; NULL when max_kinds are held, or there is no memory. */
static struct kind *add_kind(struct storm *s, struct device *d, const struct storm_key *key)
{
    struct kind *k = NULL;

    if (d->n_kinds == d->cap_kinds && d->n_kinds < s->max_kinds) {
        size_t cap = d->cap_kinds ? 2 * d->cap_kinds : 2;
        struct kind *kinds = realloc(d->kinds, cap * sizeof *kinds);

        if (kinds) {
            d->kinds = kinds;
            d->cap_kinds = cap;
        }
    }
    if (d->n_kinds < d->cap_kinds && d->n_kinds < s->max_kinds)
        k = &d->kinds[d->n_kinds++];
    else
        for (size_t i = 0; i < d->n_kinds; i++)
            if (!d->kinds[i].held && (!k || d->kinds[i].due_ns < k->due_ns))
                k = &d->kinds[i];
    if (k)
        *k = (struct kind){.key = *key, .hold_ns = s->hold_ns};
    return k;
}

/* ------------------------------------------------------------------------------------------------ take */

/* Vendors' and unknown codes share its hundred. */
static bool is_service(const struct record *r)
{
    const struct registry_entry *entry = registry_find(r->code);

    return entry && strcmp(entry->category, "SERVICE") == 0;
}

/* Tell all that is held there; what is said next is news. */
static void begin_anew(struct storm *s, const struct storm_place *place, uint64_t now_ns)
{
    for (size_t i = 0; i < s->n_devices; i++) {
        struct device *d = s->devices[i];

        if (!storm_place_meets(&d->place, place))
            continue;
        flush(s, d, now_ns, true);
        d->n_kinds = 0;
    }
}

static uint64_t count_of(const struct record *r)
{
    return r->count > 1 ? r->count : 1;
}

static uint32_t bits_of(const struct record *r)
{
    const struct registry_entry *entry = registry_find(r->code);

    return r->more_bits | (entry ? entry->aix_bits : 0);
}

/* Whoever would have heard of a record hears of its loss: a device is not always a unit. */
static uint32_t scope_of_loss(const struct record *r)
{
    if (!r->place.adapter || !r->place.adapter[0])
        return SENSEBUS__V1__SCOPE__SCOPE_HOST;
    if (r->mode == SENSEBUS__V1__MODE__MODE_TARGET || (r->place.target < 0 && !r->place.target_name))
        return SENSEBUS__V1__SCOPE__SCOPE_ADAPTER;
    return r->place.lun >= 0 ? SENSEBUS__V1__SCOPE__SCOPE_LUN : SENSEBUS__V1__SCOPE__SCOPE_TARGET;
}

/* Kinds that cannot be kept apart any more: EVENTS_LOST of this device. */
static bool lose(struct storm *s, struct device *d, const struct record *r)
{
    if (!d->lost) {
        struct record_gap gap = {.stage = SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_AGENT,
                                 .reason = "a device told more kinds of conditions at a time than are kept apart"};
        struct record loss = {.code = SENSEBUS__V1__CODE__EVENTS_LOST,
                              .source = SENSEBUS__V1__SOURCE__SOURCE_AGENT,
                              .scope = scope_of_loss(r),
                              .mode = SENSEBUS__V1__MODE__MODE_BOTH,
                              .place = r->place,
                              .gap = &gap};

        d->lost = storm_held_new(&loss);
        if (!d->lost)
            return false;
        s->counts.held_bytes += d->lost->bytes;
    }
    if (d->lost->record.scope != scope_of_loss(r)) /* the roles of one place */
        d->lost->record.scope = SENSEBUS__V1__SCOPE__SCOPE_ADAPTER;
    d->lost->record.wall_ns = r->wall_ns;
    d->lost->record.boot_ns = r->boot_ns;
    d->lost->gap.count += count_of(r);
    d->lost->gap.aix_bits |= bits_of(r);
    s->counts.lost += count_of(r);
    return true;
}

/* The kind waits no longer than one that carries a bit may. */
static void note_bits(const struct storm *s, struct kind *k, const struct record *r, uint64_t now_ns)
{
    if (k->bits || bits_of(r) == 0)
        return;
    k->bits = true;
    k->hold_ns = s->bits_hold_ns;
    if (k->due_ns > now_ns + k->hold_ns)
        k->due_ns = now_ns + k->hold_ns;
}

static bool add_held(struct storm *s, struct device *d, struct kind *k, const struct record *r)
{
    size_t before = k->held ? k->held->bytes : 0;

    if (k->held) {
        storm_held_add(k->held, r);
    } else {
        k->held = storm_held_new(r);
        if (!k->held)
            return false;
        d->n_held++;
    }
    s->counts.held_bytes += k->held->bytes - before;
    k->last_number = d->n_records;
    return true;
}

static bool is_known(const struct kind *k, uint64_t now_ns)
{
    return k && (k->held || now_ns < k->due_ns);
}

/* The first of its kind that the device may tell. */
static enum storm_verdict tell_first(struct storm *s, struct device *d, struct kind *k, const struct record *r,
                                     uint64_t now_ns)
{
    d->credit_ns -= s->token_ns;
    if (k) {
        k->bits = bits_of(r) != 0;
        k->hold_ns = first_hold(s, k);
        k->due_ns = now_ns + k->hold_ns;
    }
    return STORM_TELL;
}

/* Hold the record; false when there is no memory for that. */
static bool hold(struct storm *s, struct device *d, struct kind *k, const struct storm_key *key, const struct record *r,
                 uint64_t now_ns)
{
    if (!is_known(k, now_ns)) {
        s->counts.limited++;
        if (!k)
            k = add_kind(s, d, key);
        if (!k)
            k = find_alike(d, key);
        if (!k)
            return lose(s, d, r);
        if (!k->held)
            k->due_ns = now_ns;
    }
    note_bits(s, k, r, now_ns);
    return add_held(s, d, k, r);
}

enum storm_verdict storm_take(struct storm *s, const struct record *r, uint64_t now_ns)
{
    struct storm_place place;
    struct storm_key key;
    struct device *d;
    struct kind *k;

    s->counts.taken++;
    storm_place_of(r, s->table.seed, &place);
    d = table_get(&s->table, &place, sizeof place);
    if (r->session_id || r->origin_session || r->prompt) {
        begin_anew(s, &place, now_ns);
        return STORM_TELL;
    }
    if (is_service(r)) {
        if (d)
            flush(s, d, now_ns, true);
        return STORM_TELL;
    }
    if (!d && !(d = add_device(s, &place, now_ns)))
        return STORM_TELL; /* there is no memory: nothing is held of it either */
    d->n_records++;
    d->last_ns = now_ns;
    earn(s, d, now_ns);

    storm_key_of(r, s->table.seed, &key);
    k = find_kind(d, &key);
    if (!is_known(k, now_ns)) {
        flush(s, d, now_ns, false);
        if (d->n_held == 0 && has_token(s, d))
            return tell_first(s, d, k ? k : add_kind(s, d, &key), r, now_ns);
    }
    if (!hold(s, d, k, &key, r, now_ns)) {
        flush(s, d, now_ns, true);
        return STORM_TELL;
    }
    s->counts.held++;
    if (s->counts.held_bytes > STORM_MAX_BYTES)
        flush(s, d, now_ns, true);
    return STORM_HELD;
}

/* ------------------------------------------------------------------------------------------------ next */

/* When the device has something to tell. */
static uint64_t device_due(const struct storm *s, const struct device *d)
{
    uint64_t due = UINT64_MAX, token;

    if (d->n_held == 0)
        return d->lost ? 0 : UINT64_MAX;
    for (size_t i = 0; i < d->n_kinds; i++)
        if (d->kinds[i].held && d->kinds[i].due_ns < due)
            due = d->kinds[i].due_ns;
    token = has_token(s, d) ? 0 : d->credited_ns + (s->token_ns - d->credit_ns);
    return due > token ? due : token;
}

uint64_t storm_deadline(const struct storm *s)
{
    uint64_t first = s->out ? 0 : UINT64_MAX;

    for (size_t i = 0; i < s->n_devices && first > 0; i++) {
        uint64_t due = device_due(s, s->devices[i]);

        if (due < first)
            first = due;
    }
    return first;
}

const struct record *storm_next(struct storm *s, uint64_t now_ns)
{
    storm_held_free(s->told);
    s->told = NULL;
    for (size_t i = 0; i < s->n_devices && !s->out; i++) {
        struct device *d = s->devices[i];

        if (device_due(s, d) > now_ns)
            continue;
        earn(s, d, now_ns);
        flush(s, d, now_ns, false);
    }
    if (!s->out)
        return NULL;
    s->told = s->out;
    s->out = s->out->next;
    return &s->told->record;
}

void storm_finish(struct storm *s)
{
    for (size_t i = 0; i < s->n_devices; i++)
        flush(s, s->devices[i], s->devices[i]->last_ns, true);
}

struct storm_counts storm_count(const struct storm *s)
{
    struct storm_counts counts = s->counts;

    counts.devices = s->n_devices;
    return counts;
}
