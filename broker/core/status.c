/* SPDX-License-Identifier: Apache-2.0 */
/* The fold, its bounds and its checkpoints. The outside forms are in status_message.c and status_row.c.
 *
 * A device is live (in `sorted` and `ages`) or gone (forgotten; kept, without records, in `gones` until the store has
 * deleted it). Both are in `by_key`, so a gone device that has news comes to life again as the same object. */
#include "broker/core/status.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/device_key.h"
#include "broker/core/filter.h"
#include "broker/core/status_notes.h"

#define DEVICE_FIXED_BYTES 256 /* what a device costs besides its records, about */
#define ROOM_LEFT_BYTES    64  /* at the end of a record's chunk that is used again */

/* ---- records */

bool status_scan(const struct chunk *record, struct event_view *out_view)
{
    const uint8_t *cursor = record->bytes, *end = record->bytes + record->len, *event;
    size_t len;
    char err[128];
    struct event_limits limits = {.max_event_bytes = record->len, .allow_broker_fields = true};
    return records_next(&cursor, end, &event, &len) && cursor == end &&
           event_scan(event, len, &limits, out_view, err, sizeof err) == 0;
}

/* "12 <length> <Event>" of a committed event, in a new chunk or in `old`, which is nobody's (may be NULL). */
static struct chunk *copy_record(const uint8_t *event, size_t len, struct chunk *old)
{
    size_t prefix = 1 + varint_size(len), size = prefix + len;
    bool fits = old && old->cap >= size && old->cap - size <= ROOM_LEFT_BYTES;
    struct chunk *c = fits ? chunk_ref(old) : chunk_new(size);
    if (!c)
        return NULL;
    c->bytes[0] = 0x12;
    varint_write(c->bytes + 1, len);
    memcpy(c->bytes + prefix, event, len);
    c->len = size;
    return c;
}

static void replace_record(struct chunk **slot, struct chunk *record)
{
    struct chunk *old = *slot;
    *slot = chunk_ref(record);
    chunk_unref(old);
}

static bool is_among_last(const struct status_device *d, const struct chunk *record)
{
    for (uint32_t i = 0; i < d->n_last; i++) {
        if (d->last[i].record == record)
            return true;
    }
    return false;
}

/* The record of the event's code, when nothing will hold it once the event is folded: its room is the event's. */
static struct chunk *obsolete_record(const struct status_device *d, const struct status_note *note)
{
    struct chunk *record = NULL;
    for (uint32_t i = 0; i < d->n_last && !record; i++) {
        if (d->last[i].code == note->code)
            record = d->last[i].record;
    }
    if (!record)
        return NULL;
    bool is_device = d->device_record == record, is_address = d->address_record == record;
    bool is_kept = (is_device && !note->has_device) || (is_address && !note->has_address);
    return !is_kept && record->n_refs == 1u + is_device + is_address ? record : NULL;
}

/* ---- devices */

static int compare_keys(const struct status_device *d, const char *key)
{
    return strcmp(d->key, key);
}

/* Index of the first device whose key is not less than `key`. */
static size_t lower_bound(const struct status *s, const char *key)
{
    size_t low = 0, high = s->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_keys(s->sorted[middle], key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int reserve_sorted(struct status *s)
{
    if (s->n < s->cap)
        return 0;
    size_t cap = s->cap ? 2 * s->cap : 64;
    struct status_device **sorted = realloc(s->sorted, cap * sizeof *sorted);
    if (!sorted)
        return UV_ENOMEM;
    s->sorted = sorted;
    s->cap = cap;
    return 0;
}

static void insert_sorted(struct status *s, struct status_device *d)
{
    /* Loading comes in key order: look at the end first. */
    size_t at = s->n && compare_keys(s->sorted[s->n - 1], d->key) < 0 ? s->n : lower_bound(s, d->key);
    memmove(s->sorted + at + 1, s->sorted + at, (s->n - at) * sizeof *s->sorted);
    s->sorted[at] = d;
    s->n++;
}

static void remove_sorted(struct status *s, const struct status_device *d)
{
    size_t at = lower_bound(s, d->key);
    assert(at < s->n && s->sorted[at] == d);
    s->n--;
    memmove(s->sorted + at, s->sorted + at + 1, (s->n - at) * sizeof *s->sorted);
}

static void measure(struct status *s, struct status_device *d)
{
    size_t bytes = DEVICE_FIXED_BYTES + d->key_len + d->cap_last * sizeof *d->last;
    for (uint32_t i = 0; i < d->n_last; i++)
        bytes += d->last[i].record->len;
    if (d->device_record && !is_among_last(d, d->device_record))
        bytes += d->device_record->len;
    if (d->address_record && d->address_record != d->device_record && !is_among_last(d, d->address_record))
        bytes += d->address_record->len;
    s->bytes = s->bytes - d->bytes + bytes;
    d->bytes = bytes;
}

/* Let go of everything but the key. */
static void empty_device(struct status *s, struct status_device *d)
{
    for (uint32_t i = 0; i < d->n_last; i++)
        chunk_unref(d->last[i].record);
    free(d->last);
    d->last = NULL;
    d->n_last = d->cap_last = 0;
    chunk_unref(d->device_record);
    chunk_unref(d->address_record);
    d->device_record = d->address_record = NULL;
    d->pending_aix_bits = 0;
    d->n_events = 0;
    s->bytes -= d->bytes;
    d->bytes = 0;
}

/* Not in any list any more. */
static void free_device(struct status *s, struct status_device *d)
{
    empty_device(s, d);
    table_remove(&s->by_key, d->key, d->key_len);
    free(d->key);
    free(d);
}

/* A new device, not in any list. */
static struct status_device *new_device(struct status *s, const char *key, size_t key_len)
{
    struct status_device *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->key = strndup(key, key_len);
    if (!d->key || table_add(&s->by_key, d->key, key_len, d) != 0) {
        free(d->key);
        free(d);
        return NULL;
    }
    d->key_len = key_len;
    return d;
}

static int reserve_last(struct status_device *d)
{
    if (d->n_last < d->cap_last || d->cap_last == STATUS_MAX_LAST)
        return 0;
    uint32_t cap = d->cap_last ? 2 * d->cap_last : 1;
    if (cap > STATUS_MAX_LAST)
        cap = STATUS_MAX_LAST;
    struct status_last *last = realloc(d->last, cap * sizeof *last);
    if (!last)
        return UV_ENOMEM;
    d->last = last;
    d->cap_last = cap;
    return 0;
}

static void mark_dirty(struct status *s, struct status_device *d, uint64_t sequence)
{
    if (d->dirty_since)
        return;
    d->dirty_since = sequence;
    TAILQ_INSERT_TAIL(&s->dirty, d, dirty);
}

/* ---- bounds */

static void drop_gone(struct status *s, struct status_device *d)
{
    TAILQ_REMOVE(&s->gones, d, age);
    s->n_gone--;
    if (d->dirty_since)
        TAILQ_REMOVE(&s->dirty, d, dirty);
    free_device(s, d);
}

static void forget(struct status *s, struct status_device *d, uint64_t sequence)
{
    if (d->late)
        d->late->device = NULL;
    d->late = NULL;
    remove_sorted(s, d);
    TAILQ_REMOVE(&s->ages, d, age);
    empty_device(s, d);
    d->gone = true;
    TAILQ_INSERT_TAIL(&s->gones, d, age);
    s->n_gone++;
    s->n_evicted++;
    mark_dirty(s, d, sequence);
}

/* The device touched last always stays. */
static void keep_bounds(struct status *s, uint64_t sequence)
{
    while (s->n > s->max_devices || (s->bytes > s->max_bytes && s->n > 1))
        forget(s, TAILQ_FIRST(&s->ages), sequence);
}

/* Nobody takes checkpoints: a stale row in the store is better than no bound here. */
static void keep_gone_bound(struct status *s)
{
    struct status_device *d;
    while (s->n_gone > s->max_gone && !(d = TAILQ_FIRST(&s->gones))->flight_since)
        drop_gone(s, d);
}

/* ---- the fold */

void status_init(struct status *s, uint64_t seed, size_t max_devices, size_t max_bytes)
{
    memset(s, 0, sizeof *s);
    table_init(&s->by_key, seed);
    s->max_devices = max_devices ? max_devices : STATUS_MAX_DEVICES;
    s->max_bytes = max_bytes ? max_bytes : STATUS_MAX_BYTES;
    s->max_gone = s->max_devices;
    TAILQ_INIT(&s->ages);
    TAILQ_INIT(&s->gones);
    TAILQ_INIT(&s->dirty);
    TAILQ_INIT(&s->flight);
}

void status_deinit(struct status *s)
{
    if (!s->max_devices)
        return;
    for (struct status_device *d; (d = TAILQ_FIRST(&s->ages));) {
        TAILQ_REMOVE(&s->ages, d, age);
        free_device(s, d);
    }
    for (struct status_device *d; (d = TAILQ_FIRST(&s->gones));) {
        TAILQ_REMOVE(&s->gones, d, age);
        free_device(s, d);
    }
    free(s->sorted);
    table_deinit(&s->by_key);
    memset(s, 0, sizeof *s);
}

/* The live device of a key: `d` (NULL: none is known) itself, revived or made; NULL when memory is out. There is room
 * for one more code. */
static struct status_device *device_for(struct status *s, struct status_device *d, const char *key, size_t key_len)
{
    if (d && !d->gone)
        return reserve_last(d) == 0 ? d : NULL;
    bool is_new = !d;
    if (reserve_sorted(s) != 0 || (is_new && !(d = new_device(s, key, key_len))))
        return NULL;
    if (reserve_last(d) != 0) {
        if (is_new)
            free_device(s, d);
        return NULL;
    }
    if (d->gone) {
        TAILQ_REMOVE(&s->gones, d, age);
        s->n_gone--;
        d->gone = false;
    }
    insert_sorted(s, d);
    TAILQ_INSERT_TAIL(&s->ages, d, age);
    return d;
}

static uint64_t newest_sequence(const struct status_device *d)
{
    return d->n_last ? d->last[0].sequence : 0;
}

/* Put the record in front of the list of codes, in place of the one it had. */
static void fold_code(struct status_device *d, const struct status_note *note, struct chunk *record)
{
    uint32_t i = 0;
    while (i < d->n_last && d->last[i].code != note->code)
        i++;
    struct status_last last = {.code = note->code, .sequence = note->sequence, .record = chunk_ref(record)};
    if (i < d->n_last) {
        last.count = d->last[i].count;
        chunk_unref(d->last[i].record);
    } else if (d->n_last == STATUS_MAX_LAST) {
        chunk_unref(d->last[--i].record);
    } else {
        d->n_last++;
    }
    last.count += note->count;
    memmove(d->last + 1, d->last, i * sizeof *d->last);
    d->last[0] = last;
}

static void touch(struct status *s, struct status_device *d, uint64_t sequence)
{
    if (TAILQ_NEXT(d, age)) {
        TAILQ_REMOVE(&s->ages, d, age);
        TAILQ_INSERT_TAIL(&s->ages, d, age);
    }
    mark_dirty(s, d, sequence);
}

/* Put the event's record into `d` (NULL: no device is known), and tell which device that is; all but its age. */
static int fold_record(struct status *s, struct status_device *d, const struct status_note *note, const uint8_t *event,
                       size_t len, struct status_device **out_device)
{
    struct chunk *old = d ? obsolete_record(d, note) : NULL, *record = copy_record(event, len, old);
    if (!record)
        return UV_ENOMEM;
    if (record != old && !(d = device_for(s, d, note->key, note->key_len))) {
        chunk_unref(record);
        return UV_ENOMEM;
    }
    fold_code(d, note, record);
    d->pending_aix_bits |= note->aix_bits;
    d->n_events += note->count;
    if (note->has_device)
        replace_record(&d->device_record, record);
    if (note->has_address)
        replace_record(&d->address_record, record);
    chunk_unref(record);
    measure(s, d);
    *out_device = d;
    return 0;
}

static int fold_now(struct status *s, struct status_device *d, const struct status_note *note, const uint8_t *event,
                    size_t len)
{
    int rc = fold_record(s, d, note, event, len, &d);
    if (rc)
        return rc;
    touch(s, d, note->sequence);
    keep_bounds(s, note->sequence);
    keep_gone_bound(s);
    return 0;
}

/* What waits of a device is folded, or lost to be folded again. */
static int settle(struct status *s, struct status_late *late)
{
    struct status_device *d = late->device;
    if (!d)
        return 0;
    late->device = NULL;
    d->late = NULL;
    return fold_record(s, d, &late->note, late->event, late->len, &d);
}

int status_settle(struct status *s)
{
    int rc = 0;
    for (size_t i = 0; i < s->n_late; i++) {
        int failed = settle(s, &s->late[i]);
        rc = rc ? rc : failed;
    }
    if (!rc && s->late_through) {
        s->through = s->late_through;
        keep_bounds(s, s->through);
        keep_gone_bound(s);
    }
    s->n_late = 0;
    s->late_through = 0;
    return rc;
}

static bool is_of_same(const struct status_note *a, const struct status_note *b)
{
    return a->code == b->code && a->has_device == b->has_device && a->has_address == b->has_address;
}

/* Wait with a record of `d`, behind those that say the same. */
static int fold_late(struct status *s, struct status_device *d, const struct status_note *note, const uint8_t *event,
                     size_t len)
{
    struct status_late *late = d->late;
    struct status_note all = *note;
    if (late && is_of_same(&late->note, note)) {
        all.count += late->note.count;
        all.aix_bits |= late->note.aix_bits;
    } else if (late) {
        int rc = settle(s, late);
        if (rc)
            return rc;
    } else {
        late = &s->late[s->n_late++];
    }
    all.key = d->key;
    *late = (struct status_late){.device = d, .note = all, .event = event, .len = len};
    d->late = late;
    touch(s, d, note->sequence);
    return 0;
}

int status_fold_late(struct status *s, const struct status_note *note, const uint8_t *event, size_t len)
{
    if (note->sequence <= s->through)
        return 0;
    struct status_device *d = table_get(&s->by_key, note->key, note->key_len);
    int rc = 0;
    /* A device that comes, and one that goes to make room for it, do so once: what is settled is not folded again. */
    if (!d || d->gone || (!d->late && s->n_late == STATUS_MAX_LATE)) {
        rc = status_settle(s);
        d = table_get(&s->by_key, note->key, note->key_len);
    }
    if (!rc && (!d || d->gone)) {
        rc = fold_now(s, d, note, event, len);
        s->through = rc ? s->through : note->sequence;
        return rc;
    }
    if (!rc && newest_sequence(d) < note->sequence)
        rc = fold_late(s, d, note, event, len);
    s->late_through = rc ? 0 : note->sequence;
    return rc;
}

int status_fold_noted(struct status *s, const struct status_note *note, const uint8_t *event, size_t len)
{
    int rc = status_fold_late(s, note, event, len), failed = status_settle(s);
    return rc ? rc : failed;
}

int status_fold(struct status *s, const struct event_view *event)
{
    char key[DEVICE_KEY_SIZE];
    struct status_note note;
    if (event->sequence <= s->through)
        return 0;
    status_note_make(event, event->sequence, key, &note);
    return status_fold_noted(s, &note, event->bytes, event->len);
}

void status_caught_up(struct status *s, uint64_t sequence)
{
    assert(s->n_late == 0);
    if (sequence > s->passed)
        s->passed = sequence;
}

uint64_t status_done(const struct status *s)
{
    return s->passed > s->through ? s->passed : s->through;
}

/* ---- looking */

const struct status_device *status_find(const struct status *s, const char *key, size_t key_len)
{
    const struct status_device *d = table_get(&s->by_key, key, key_len);
    return d && !d->gone ? d : NULL;
}

size_t status_seek(const struct status *s, const char *after)
{
    size_t i = lower_bound(s, after);
    return i < s->n && compare_keys(s->sorted[i], after) == 0 ? i + 1 : i;
}

const struct status_device *status_at(const struct status *s, size_t i)
{
    return i < s->n ? s->sorted[i] : NULL;
}

bool status_matches(const struct status_device *device, const struct filter *filter)
{
    if (!filter || filter_matches_all(filter))
        return true;
    for (uint32_t i = 0; i < device->n_last; i++) {
        struct event_view view;
        if (status_scan(device->last[i].record, &view) && filter_matches(filter, &view))
            return true;
    }
    return false;
}

/* ---- checkpoints */

size_t status_checkpoint_begin(struct status *s, size_t max, uint64_t *out_through)
{
    assert(!s->in_flight);
    size_t n = 0, bytes = 0;
    for (struct status_device *d; n < max && bytes < STATUS_CHECKPOINT_BYTES && (d = TAILQ_FIRST(&s->dirty)); n++) {
        bytes += d->bytes;
        TAILQ_REMOVE(&s->dirty, d, dirty);
        d->flight_since = d->dirty_since;
        d->dirty_since = 0;
        TAILQ_INSERT_TAIL(&s->flight, d, flight);
    }
    const struct status_device *left = TAILQ_FIRST(&s->dirty);
    /* A run that failed left changes behind that are newer than what is folded. */
    uint64_t done = status_done(s);
    *out_through = left && left->dirty_since <= done ? left->dirty_since - 1 : done;
    s->in_flight = true;
    return n;
}

void status_checkpoint_end(struct status *s, bool committed)
{
    assert(s->in_flight);
    s->in_flight = false;
    /* From the youngest to the oldest, so that on failure the dirty list is in order again. */
    for (struct status_device *d; (d = TAILQ_LAST(&s->flight, status_list));) {
        TAILQ_REMOVE(&s->flight, d, flight);
        if (!committed) {
            if (d->dirty_since)
                TAILQ_REMOVE(&s->dirty, d, dirty);
            d->dirty_since = d->flight_since;
            TAILQ_INSERT_HEAD(&s->dirty, d, dirty);
        }
        d->flight_since = 0;
        if (committed && d->gone && !d->dirty_since)
            drop_gone(s, d);
    }
}

/* ---- loading */

int status_load(struct status *s, const char *key, size_t key_len, const void *bytes, size_t len)
{
    if (key_len == 0 || key_len >= DEVICE_KEY_SIZE || memchr(key, '\0', key_len))
        return UV_EINVAL;
    if (table_get(&s->by_key, key, key_len))
        return UV_EEXIST;
    struct status_device *d;
    if (reserve_sorted(s) != 0 || !(d = new_device(s, key, key_len)))
        return UV_ENOMEM;
    int rc = status_decode(d, bytes, len);
    if (rc != 0) {
        free_device(s, d);
        return rc;
    }
    measure(s, d);
    insert_sorted(s, d);
    TAILQ_INSERT_TAIL(&s->ages, d, age);
    return 0;
}

static int compare_ages(const void *left, const void *right)
{
    uint64_t a = newest_sequence(*(struct status_device *const *)left);
    uint64_t b = newest_sequence(*(struct status_device *const *)right);
    return (a > b) - (a < b);
}

int status_loaded(struct status *s, uint64_t through)
{
    s->through = through;
    if (s->n == 0)
        return 0;
    struct status_device **by_age = malloc(s->n * sizeof *by_age);
    if (!by_age)
        return UV_ENOMEM;
    memcpy(by_age, s->sorted, s->n * sizeof *by_age);
    qsort(by_age, s->n, sizeof *by_age, compare_ages);
    TAILQ_INIT(&s->ages);
    for (size_t i = 0; i < s->n; i++)
        TAILQ_INSERT_TAIL(&s->ages, by_age[i], age);
    free(by_age);
    keep_bounds(s, through + 1);
    if (s->n_gone > s->max_gone)
        s->max_gone = s->n_gone; /* as many as the store holds in excess */
    return 0;
}

/* ---- what could not be read */

void status_pass_over(struct status *s, uint64_t first, uint64_t last)
{
    struct status_unread *u = &s->unread;

    if (first <= u->newest_last) {
        u->newest_last = last > u->newest_last ? last : u->newest_last;
        return;
    }
    if (u->newest_last > 0) {
        u->first = u->count > 0 ? u->first : u->newest_first;
        u->count += u->newest_last - u->newest_first + 1;
    }
    u->newest_first = first;
    u->newest_last = last;
}

uint64_t status_passed_over(const struct status *s, uint64_t *out_first)
{
    const struct status_unread *u = &s->unread;
    bool is_behind = u->newest_last > 0 && u->newest_last < s->through; /* something behind it is folded */

    *out_first = u->count > 0 ? u->first : u->newest_first;
    return u->count + (is_behind ? u->newest_last - u->newest_first + 1 : 0);
}
