/* SPDX-License-Identifier: Apache-2.0 */
/* A shape says which bits of an event of some length count: all but the values of fixed64 members (any eight bytes) and
 * of varint members (any seven bits of each byte, as long as it goes on where the other one went on). Events are kept
 * with the shape they had; what counts of them is hashed, and a hash has its places in one bucket. */
#include "broker/core/known_events.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/device_key.h"

#define SHAPES      32u /* for each of which there are SHAPE_WAYS */
#define SHAPE_WAYS  4u
#define BUCKETS     256u
#define WAYS        7u
#define WORDS       (KNOWN_EVENT_BYTES / 8)
#define MAX_FREE    6u
#define MAX_TEXTS   13u
#define QUICK_BYTES 8u /* a varint this long holds no more than 64 bits, whatever it says */
#define KEEP_COSTS  8u
#define KNOWN_EARNS 2u
#define MAX_CREDIT  (KEEP_COSTS * KNOWN_EVENTS)

enum { ORIGIN = 8, ORIGIN_SOURCE_SEQUENCE = 5 };

#define VIEW_AT(member) ((uint16_t)offsetof(struct event_view, member))
#define NOT_KEPT        UINT16_MAX

/* Members of which any value is valid, as the tables of event_view.c say. */
static const struct free_kind {
    uint32_t message, number; /* message 0: of Event itself */
    enum wire_type type;
    uint16_t view_at;
} free_kinds[] = {
    {0, 9, WIRE_FIXED64, VIEW_AT(wall_time_ns)},
    {0, 10, WIRE_FIXED64, NOT_KEPT}, /* monotonic_time_ns */
    {0, 19, WIRE_VARINT, VIEW_AT(count)},
    {0, 20, WIRE_FIXED64, NOT_KEPT}, /* first_time_unix_ns */
    {0, 21, WIRE_FIXED64, NOT_KEPT}, /* last_time_unix_ns */
    {ORIGIN, ORIGIN_SOURCE_SEQUENCE, WIRE_VARINT, VIEW_AT(source_sequence)},
};
_Static_assert(sizeof free_kinds / sizeof *free_kinds == MAX_FREE, "each of them once at most");

/* Every text of the view: one that is not moved would point into bytes that are gone. */
static const uint16_t texts_at[] = {
    VIEW_AT(host),
    VIEW_AT(boot_id),
    VIEW_AT(session_id),
    VIEW_AT(summary),
    VIEW_AT(address.adapter),
    VIEW_AT(device.vendor),
    VIEW_AT(device.product),
    VIEW_AT(device.revision),
    VIEW_AT(device.serial),
    VIEW_AT(device.designator),
    VIEW_AT(device.target_name),
    VIEW_AT(device.portal),
    VIEW_AT(loss.reason),
};
_Static_assert(sizeof texts_at / sizeof *texts_at == MAX_TEXTS, "room for each of them");

struct free_member {
    uint16_t at;
    uint8_t len;
    uint8_t type;
    uint16_t view_at;
};

struct known_shape {
    uint32_t id; /* 0: free */
    uint16_t len;
    uint16_t n_free;
    uint32_t n_known; /* events that had it, fewer each time that another one comes */
    struct free_member free[MAX_FREE];
    uint64_t mask[WORDS + 1]; /* the last one is of the event's last eight bytes */
};

struct known_text {
    uint16_t view_at, at;
};

/* What is at hand of WAYS events, in half a cache line. */
struct known_bucket {
    uint32_t tags[WAYS]; /* of the hashes of what counts; 0: free */
    uint32_t oldest;
};
_Static_assert(BUCKETS *WAYS == KNOWN_EVENTS, "a place for each");

struct known_event {
    known_id id;
    uint32_t shape;
    uint8_t n_texts;
    uint16_t key_len;
    struct known_text texts[MAX_TEXTS];
    struct event_view view; /* of the last one that counted the same */
    uint8_t bytes[KNOWN_EVENT_BYTES];
    char key[KNOWN_EVENT_KEY_BYTES];
};

void known_events_deinit(struct known_events *k)
{
    free(k->events);
    free(k->buckets);
    free(k->shapes);
    memset(k, 0, sizeof *k);
}

static inline uint64_t load(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* ---- shapes */

/* The bytes of a varint that ends before `end`: a tag is before it, whose last byte has no more behind it. */
static size_t varint_length(const uint8_t *end)
{
    size_t n = 1;
    while (end[-1 - (ptrdiff_t)n] & 0x80)
        n++;
    return n;
}

static const struct free_kind *free_kind_of(uint32_t message, const struct wire_field *field)
{
    for (size_t i = 0; i < MAX_FREE; i++) {
        if (free_kinds[i].message == message && free_kinds[i].number == field->number)
            return field->type == free_kinds[i].type ? &free_kinds[i] : NULL;
    }
    return NULL;
}

/* The free members of a message of the event, which was scanned. */
static void find_free(struct known_shape *shape, const uint8_t *event, uint32_t message, const uint8_t *p,
                      const uint8_t *end)
{
    struct wire_field field;

    while (p < end && (p = wire_field_read(p, end, &field))) {
        if (message == 0 && field.number == ORIGIN)
            find_free(shape, event, ORIGIN, field.bytes, field.bytes + field.len);
        const struct free_kind *kind = free_kind_of(message, &field);
        size_t len = !kind ? 0 : kind->type == WIRE_FIXED64 ? 8 : varint_length(p);
        if (len == 0 || len > QUICK_BYTES || shape->n_free == MAX_FREE)
            continue;
        shape->free[shape->n_free++] = (struct free_member){
            .at = (uint16_t)(p - event - (ptrdiff_t)len),
            .len = (uint8_t)len,
            .type = (uint8_t)kind->type,
            .view_at = kind->view_at,
        };
    }
}

static void make_mask(struct known_shape *shape)
{
    uint8_t mask[KNOWN_EVENT_BYTES];
    memset(mask, 0xff, sizeof mask);
    for (size_t i = 0; i < shape->n_free; i++)
        memset(mask + shape->free[i].at, shape->free[i].type == WIRE_FIXED64 ? 0 : 0x80, shape->free[i].len);
    size_t n = shape->len / 8u;
    for (size_t i = 0; i < n; i++)
        shape->mask[i] = load(mask + 8 * i);
    shape->mask[n] = load(mask + shape->len - 8);
}

static struct known_shape *shapes_of(const struct known_events *k, size_t len)
{
    return &k->shapes[len % SHAPES * SHAPE_WAYS];
}

static bool is_same_shape(const struct known_shape *a, const struct known_shape *b)
{
    return a->len == b->len && a->n_free == b->n_free && memcmp(a->free, b->free, sizeof a->free) == 0;
}

/* A number that no other shape has, nor had when an event was kept with it. */
static uint32_t next_id(struct known_events *k)
{
    if (++k->next_shape == 0) { /* once round */
        memset(k->buckets, 0, BUCKETS * sizeof *k->buckets);
        memset(k->shapes, 0, SHAPES * SHAPE_WAYS * sizeof *k->shapes);
        k->next_shape = 1;
    }
    return k->next_shape;
}

/* The shape of an event that was scanned; a new one takes the place of the one that was of least use of late. */
static const struct known_shape *learn_shape(struct known_events *k, const struct event_view *event)
{
    struct known_shape *shapes = shapes_of(k, event->len), *least = shapes, found = {.len = (uint16_t)event->len};
    find_free(&found, event->bytes, 0, event->bytes, event->bytes + event->len);
    for (size_t i = 0; i < SHAPE_WAYS; i++) {
        if (shapes[i].id && is_same_shape(&shapes[i], &found))
            return &shapes[i];
        if (!shapes[i].id || shapes[i].n_known < least->n_known)
            least = &shapes[i];
        shapes[i].n_known /= 2;
    }
    found.id = next_id(k);
    make_mask(&found);
    *least = found;
    return least;
}

/* ---- what counts of an event */

static uint64_t hash_counting(const struct known_shape *shape, const uint8_t *event)
{
    const uint64_t odd = 0x9e3779b97f4a7c15;
    size_t n = shape->len / 8u, i = 0;
    uint64_t first = shape->id, second = odd ^ (load(event + shape->len - 8) & shape->mask[n]);
    for (; i + 2 <= n; i += 2) {
        first = (first ^ (load(event + 8 * i) & shape->mask[i])) * odd;
        second = (second ^ (load(event + 8 * i + 8) & shape->mask[i + 1])) * odd;
    }
    if (i < n)
        first = (first ^ (load(event + 8 * i) & shape->mask[i])) * odd;
    first = (first ^ first >> 32 ^ (second << 31 | second >> 33)) * odd; /* what differs is in the high bits */
    return first ^ first >> 32;
}

static bool counts_same(const struct known_shape *shape, const uint8_t *a, const uint8_t *b)
{
    size_t n = shape->len / 8u;
    uint64_t other = (load(a + shape->len - 8) ^ load(b + shape->len - 8)) & shape->mask[n];
    for (size_t i = 0; i < n; i++)
        other |= (load(a + 8 * i) ^ load(b + 8 * i)) & shape->mask[i];
    return other == 0;
}

static size_t bucket_of(uint64_t hash)
{
    return hash % BUCKETS;
}

static uint32_t tag_of(uint64_t hash)
{
    return (uint32_t)(hash >> 32) | 1;
}

/* ---- looking */

/* Make the view that is kept that of an event which counts the same. */
static void move_view(struct known_event *known, const struct known_shape *shape, const uint8_t *event)
{
    char *view = (char *)&known->view;
    known->view.bytes = event;
    for (size_t i = 0; i < known->n_texts; i++) {
        struct text *text = (struct text *)(void *)(view + known->texts[i].view_at);
        text->ptr = (const char *)event + known->texts[i].at;
    }
    for (size_t i = 0; i < shape->n_free; i++) {
        const struct free_member *member = &shape->free[i];
        const uint8_t *at = event + member->at;
        if (member->view_at == NOT_KEPT)
            continue;
        uint64_t value = 0;
        if (member->type == WIRE_FIXED64)
            value = le64toh(load(at));
        else
            varint_read(at, at + member->len, &value);
        memcpy(view + member->view_at, &value, sizeof value);
    }
}

static bool find(struct known_events *k, struct known_shape *shape, const uint8_t *event,
                 struct known_event_match *out_match)
{
    uint64_t hash = hash_counting(shape, event);
    const struct known_bucket *bucket = &k->buckets[bucket_of(hash)];
    struct known_event *known = &k->events[bucket_of(hash) * WAYS];
    for (size_t i = 0; i < WAYS; i++, known++) {
        if (bucket->tags[i] == tag_of(hash) && known->shape == shape->id && counts_same(shape, known->bytes, event)) {
            move_view(known, shape, event);
            *out_match = (struct known_event_match){
                .view = &known->view, .key = known->key, .key_len = known->key_len, .id = known->id};
            shape->n_known++;
            return true;
        }
    }
    return false;
}

bool known_events_find(struct known_events *k, const uint8_t *event, size_t len, struct known_event_match *out_match)
{
    if (!k->events || len < 8 || len > KNOWN_EVENT_BYTES)
        return false;
    struct known_shape *shapes = shapes_of(k, len);
    for (size_t i = 0; i < SHAPE_WAYS; i++) {
        if (shapes[i].len == len && find(k, &shapes[i], event, out_match)) {
            k->credit += k->credit < MAX_CREDIT ? KNOWN_EARNS : 0;
            return true;
        }
    }
    return false;
}

/* ---- remembering */

/* Events are only there when the others are. */
static bool has_room(struct known_events *k)
{
    if (!k->shapes)
        k->shapes = calloc((size_t)SHAPES * SHAPE_WAYS, sizeof *k->shapes);
    if (!k->buckets)
        k->buckets = calloc(BUCKETS, sizeof *k->buckets);
    if (k->shapes && k->buckets && !k->events)
        k->events = calloc(KNOWN_EVENTS, sizeof *k->events);
    return k->events;
}

static void keep_texts(struct known_event *known)
{
    for (size_t i = 0; i < MAX_TEXTS; i++) {
        const struct text *text = (const struct text *)(const void *)((const char *)&known->view + texts_at[i]);
        if (text->ptr)
            known->texts[known->n_texts++] = (struct known_text){
                .view_at = texts_at[i], .at = (uint16_t)((const uint8_t *)text->ptr - known->view.bytes)};
    }
}

void known_events_keep(struct known_events *k, const struct event_view *event)
{
    char key[DEVICE_KEY_SIZE];

    if (event->len < 8 || event->len > KNOWN_EVENT_BYTES || ++k->credit < KEEP_COSTS || !has_room(k))
        return;
    k->credit -= KEEP_COSTS;
    size_t key_len = device_key_of_event(key, event);
    if (key_len > KNOWN_EVENT_KEY_BYTES)
        return;
    const struct known_shape *shape = learn_shape(k, event);
    uint64_t hash = hash_counting(shape, event->bytes);
    struct known_bucket *bucket = &k->buckets[bucket_of(hash)];
    size_t place = bucket->oldest;
    bucket->oldest = (bucket->oldest + 1) % WAYS;
    bucket->tags[place] = tag_of(hash);
    struct known_event *known = &k->events[bucket_of(hash) * WAYS + place];
    known->id = ++k->n_kept * KNOWN_EVENTS + (size_t)(known - k->events);
    known->shape = shape->id;
    known->n_texts = 0;
    known->view = *event;
    keep_texts(known);
    memcpy(known->bytes, event->bytes, event->len);
    memcpy(known->key, key, key_len);
    known->key_len = (uint16_t)key_len;
}
