/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns (semantics.md rules 26..28; A13, A14), and the index that finds the handlers of an event. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/mutant.h"
#include "broker/core/sdi_state.h"
#include "proto/wire.h"

__attribute__((format(printf, 4, 5))) static int refuse(int rc, char *err, size_t err_len, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(err, err_len, format, args);
    va_end(args);
    return rc;
}

/* ---- what a pattern may say */

int sdi_address_check(const Sensebus__V1__ScsiAdr *address, const char *what, char *err, size_t err_len)
{
    if (!address)
        return 0;
    const struct {
        const char *name;
        int32_t value;
    } members[] = {
        {"controller", address->controller}, {"bus", address->bus}, {"target", address->target}, {"lun", address->lun}};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (members[i].value < -1)
            return refuse(UV_EINVAL, err, err_len, "%s.%s: %" PRId32 " is below -1, which means any", what,
                          members[i].name, members[i].value);
    size_t len = strnlen(address->host, SDI_MAX_HOST + 1);
    if (len > SDI_MAX_HOST)
        return refuse(UV_EINVAL, err, err_len, "%s.host: more than %d bytes", what, SDI_MAX_HOST);
    if (!utf8_valid((const uint8_t *)address->host, len))
        return refuse(UV_EINVAL, err, err_len, "%s.host: not UTF-8", what);
    return 0;
}

static int add_check(const Sensebus__V1__AddEvent *add, char *err, size_t err_len)
{
    size_t inquiry_len = strlen(add->inquiry);

    if (inquiry_len > SDI_MAX_INQUIRY)
        return refuse(UV_EINVAL, err, err_len, "AddEvent.inquiry: %zu bytes, at most %d: vendor (8) and product (16)",
                      inquiry_len, SDI_MAX_INQUIRY);
    if (!utf8_valid((const uint8_t *)add->inquiry, inquiry_len))
        return refuse(UV_EINVAL, err, err_len, "AddEvent.inquiry: not UTF-8");
    if (add->event_info.len > SDI_MAX_EVENT_INFO)
        return refuse(UV_EINVAL, err, err_len, "AddEvent.event_info: %zu bytes, at most %d", add->event_info.len,
                      SDI_MAX_EVENT_INFO);
    return sdi_address_check(add->address, "AddEvent.address", err, err_len);
}

static int room_check(const struct sdi *s, const struct sdi_principal *p, char *err, size_t err_len)
{
    if (p->n_handlers >= s->limits.max_handlers_principal && !MUTANT(101))
        return refuse(UV_ENOBUFS, err, err_len,
                      "RESOURCE_EXHAUSTED: %" PRIu32 " handlers of %s are there, and more are not allowed",
                      p->n_handlers, p->name);
    if (s->handlers.n >= s->limits.max_handlers)
        return refuse(UV_ENOBUFS, err, err_len,
                      "RESOURCE_EXHAUSTED: %zu handlers are there in all, and more are not allowed", s->handlers.n);
    return 0;
}

/* ---- the index */

static struct sdi_bucket_key key_of(int32_t event_type, int32_t device_type, bool any)
{
    return (struct sdi_bucket_key){
        .event_type = event_type, .device_type = any ? 0 : device_type, .any_device_type = any};
}

static struct sdi_bucket *bucket_get(struct sdi *s, const struct sdi_bucket_key *key)
{
    struct sdi_bucket *b = table_get(&s->buckets, key, sizeof *key);

    if (b)
        return b;
    b = malloc(sizeof *b);
    if (!b)
        return NULL;
    b->key = *key;
    TAILQ_INIT(&b->handlers);
    if (table_add(&s->buckets, &b->key, sizeof b->key, b)) {
        free(b);
        return NULL;
    }
    return b;
}

static void bucket_release(struct sdi *s, struct sdi_bucket *b)
{
    if (!TAILQ_EMPTY(&b->handlers))
        return;
    table_remove(&s->buckets, &b->key, sizeof b->key);
    free(b);
}

static void pattern_fill(struct sdi_pattern *p, const Sensebus__V1__AddEvent *add)
{
    const Sensebus__V1__ScsiAdr *a = add->address;

    *p = (struct sdi_pattern){.controller = -1, .bus = -1, .target = -1, .lun = -1};
    if (a) {
        p->controller = a->controller;
        p->bus = a->bus;
        p->target = a->target;
        p->lun = a->lun;
        memcpy(p->host, a->host, strlen(a->host));
    }
    p->inquiry_len = strlen(add->inquiry);
    memcpy(p->inquiry, add->inquiry, p->inquiry_len);
}

int sdi_handler_add(struct sdi *s, struct sdi_listener *listener, const Sensebus__V1__AddEvent *add,
                    uint64_t *out_handler_id, char *err, size_t err_len)
{
    int rc = add_check(add, err, err_len);

    if (!rc)
        rc = room_check(s, listener->principal, err, err_len);
    if (rc)
        return rc;
    struct sdi_bucket_key key = key_of(add->event_type, add->device_type, add->any_device_type);
    struct sdi_handler *h = calloc(1, sizeof *h + add->event_info.len);
    struct sdi_bucket *bucket = h ? bucket_get(s, &key) : NULL;
    if (!bucket) {
        free(h);
        return refuse(UV_ENOMEM, err, err_len, "RESOURCE_EXHAUSTED: out of memory");
    }
    h->id = s->last_handler + 1;
    if (table_add(&s->handlers, &h->id, sizeof h->id, h)) {
        free(h);
        bucket_release(s, bucket);
        return refuse(UV_ENOMEM, err, err_len, "RESOURCE_EXHAUSTED: out of memory");
    }
    s->last_handler = h->id;
    pattern_fill(&h->pattern, add);
    h->event_info_len = add->event_info.len;
    if (h->event_info_len)
        memcpy(h->event_info, add->event_info.data, h->event_info_len);
    h->bucket = bucket;
    h->listener = listener;
    TAILQ_INSERT_TAIL(&bucket->handlers, h, in_bucket);
    LIST_INSERT_HEAD(&listener->handlers, h, in_listener);
    listener->principal->n_handlers++;
    s->counters.handlers_open++;
    *out_handler_id = h->id;
    return 0;
}

void sdi_handler_free(struct sdi *s, struct sdi_handler *h)
{
    table_remove(&s->handlers, &h->id, sizeof h->id);
    TAILQ_REMOVE(&h->bucket->handlers, h, in_bucket);
    bucket_release(s, h->bucket);
    LIST_REMOVE(h, in_listener);
    h->listener->principal->n_handlers--;
    s->counters.handlers_open--;
    free(h);
}

int sdi_handler_remove(struct sdi *s, const struct sdi_listener *listener, uint64_t id, char *err, size_t err_len)
{
    struct sdi_handler *h = table_get(&s->handlers, &id, sizeof id);

    /* One answer for both: whose handlers there are is nobody else's business. */
    if (!h || (h->listener->principal != listener->principal && !MUTANT(102)))
        return refuse(UV_ENOENT, err, err_len, "RemoveEvent.handler_id: %s has no handler %" PRIu64,
                      listener->principal->name, id);
    sdi_handler_free(s, h);
    return 0;
}

/* ---- matching */

static bool member_matches(int32_t pattern, int32_t value)
{
    return pattern == -1 || pattern == value;
}

static bool pattern_matches(const struct sdi_pattern *p, const struct sdi_event *e)
{
    if (!member_matches(p->controller, e->controller) || !member_matches(p->target, e->target) ||
        !member_matches(p->lun, e->lun))
        return false;
    if (!member_matches(p->bus, e->bus) && !MUTANT(103))
        return false;
    if (p->host[0] && strcmp(p->host, e->host) != 0)
        return false;
    return memcmp(p->inquiry, e->inquiry, p->inquiry_len) == 0 || MUTANT(104);
}

static struct sdi_handler *bucket_first(const struct sdi *s, struct sdi_bucket_key key)
{
    const struct sdi_bucket *b = table_get(&s->buckets, &key, sizeof key);
    return b ? TAILQ_FIRST(&b->handlers) : NULL;
}

void sdi_match_begin(const struct sdi *s, const struct sdi_event *event, struct sdi_matches *out)
{
    *out = (struct sdi_matches){
        .event = event,
        .exact = bucket_first(s, key_of(event->event_type, event->device_type, false)),
        .any = bucket_first(s, key_of(event->event_type, 0, true)),
    };
}

struct sdi_handler *sdi_match_next(struct sdi_matches *m)
{
    while (m->exact || m->any) {
        struct sdi_handler *h = m->any;
        if (m->exact && (!h || m->exact->id < h->id || MUTANT(105)))
            h = m->exact;
        if (h == m->exact)
            m->exact = TAILQ_NEXT(h, in_bucket);
        else
            m->any = TAILQ_NEXT(h, in_bucket);
        if (pattern_matches(&h->pattern, m->event))
            return h;
    }
    return NULL;
}
