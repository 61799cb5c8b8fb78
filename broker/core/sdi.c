/* SPDX-License-Identifier: Apache-2.0 */
/* Streams, their requests and answers, and the queue of actions. */
#include "broker/core/sdi.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/sdi_state.h"
#include "proto/message.h"
#include "proto/wire.h"

#define MESSAGE_MAX 256 /* bytes of ListenResult.message */

/* ---- principals */

struct sdi_principal *sdi_principal_get(struct sdi *s, const char *name)
{
    size_t len = strlen(name);
    struct sdi_principal *p = table_get(&s->principals, name, len);

    if (p)
        return p;
    p = calloc(1, sizeof *p + len + 1);
    if (!p)
        return NULL;
    memcpy(p->name, name, len + 1);
    p->name_len = len;
    if (table_add(&s->principals, p->name, len, p)) {
        free(p);
        return NULL;
    }
    return p;
}

void sdi_principal_release(struct sdi *s, struct sdi_principal *p)
{
    if (p->n_streams || p->n_handlers || p->n_notifies)
        return;
    table_remove(&s->principals, p->name, p->name_len);
    free(p);
}

/* ---- actions */

void sdi_push(struct sdi *s, struct sdi_item *item)
{
    assert(!item->queued);
    item->queued = true;
    TAILQ_INSERT_TAIL(&s->items, item, entry);
}

static void unqueue(struct sdi *s, struct sdi_item *item)
{
    TAILQ_REMOVE(&s->items, item, entry);
    item->queued = false;
}

bool sdi_send(struct sdi *s, struct sdi_listener *listener, struct chunk *message, struct chunk *tail, uint64_t call_id)
{
    struct sdi_item *item = message ? calloc(1, sizeof *item) : NULL;

    if (!item) {
        chunk_unref(message);
        chunk_unref(tail);
        return false;
    }
    item->listener = listener;
    item->action = (struct sdi_action){
        .kind = SDI_SEND, .owner = listener->owner, .message = message, .tail = tail, .call_id = call_id};
    sdi_push(s, item);
    return true;
}

static void drop_item(struct sdi *s, struct sdi_item *item)
{
    unqueue(s, item);
    if (item->action.kind == SDI_SEND) {
        chunk_unref(item->action.message);
        chunk_unref(item->action.tail);
        free(item);
    }
}

bool sdi_take(struct sdi *s, struct sdi_action *out)
{
    struct sdi_item *item = TAILQ_FIRST(&s->items);

    if (!item)
        return false;
    unqueue(s, item);
    *out = item->action;
    if (item->action.kind == SDI_SEND)
        free(item);
    else if (item->action.kind == SDI_VERDICT)
        sdi_notify_free(s, (struct sdi_notify *)((char *)item - offsetof(struct sdi_notify, verdict)));
    return true;
}

/* ---- answers */

static void answer(struct sdi *s, struct sdi_listener *listener, uint64_t id, bool ok, uint64_t handler_id,
                   const char *message)
{
    Sensebus__V1__ListenReply reply = SENSEBUS__V1__LISTEN_REPLY__INIT;
    Sensebus__V1__ListenResult result = SENSEBUS__V1__LISTEN_RESULT__INIT;

    result.id = id;
    result.result = ok ? SENSEBUS__V1__SDI_RETURN__SDI_RETURN_OK : SENSEBUS__V1__SDI_RETURN__SDI_RETURN_ERR;
    result.handler_id = handler_id;
    result.message = (char *)message;
    reply.body_case = SENSEBUS__V1__LISTEN_REPLY__BODY_RESULT;
    reply.result = &result;
    struct chunk *chunk = chunk_new(sensebus__v1__listen_reply__get_packed_size(&reply));
    if (chunk)
        chunk->len = sensebus__v1__listen_reply__pack(&reply, chunk->bytes);
    if (!sdi_send(s, listener, chunk, NULL, 0) && !listener->end.queued)
        sdi_push(s, &listener->end);
}

void sdi_fault(struct sdi *s, struct sdi_listener *listener, uint64_t id, const char *message)
{
    char text[MESSAGE_MAX];

    snprintf(text, sizeof text, "%s", message);
    answer(s, listener, id, false, 0, utf8_valid((const uint8_t *)text, strlen(text)) ? text : "does not decode");
}

void sdi_request(struct sdi *s, struct sdi_listener *listener, const Sensebus__V1__ListenRequest *request,
                 uint64_t now_ns)
{
    char err[MESSAGE_MAX] = "";
    uint64_t handler_id = 0;
    int rc = request_check_known(&request->base, err, sizeof err);

    (void)now_ns;
    if (!rc)
        switch (request->operation_case) {
        case SENSEBUS__V1__LISTEN_REQUEST__OPERATION_ADD:
            rc = sdi_handler_add(s, listener, request->add, &handler_id, err, sizeof err);
            break;
        case SENSEBUS__V1__LISTEN_REQUEST__OPERATION_REMOVE:
            rc = sdi_handler_remove(s, listener, request->remove->handler_id, err, sizeof err);
            break;
        case SENSEBUS__V1__LISTEN_REQUEST__OPERATION_VERDICT:
            rc = sdi_verdict(s, listener, request->verdict, err, sizeof err);
            break;
        default:
            snprintf(err, sizeof err, "ListenRequest.operation: is missing");
            rc = UV_EINVAL;
            break;
        }
    s->counters.refused += rc == UV_ENOBUFS;
    answer(s, listener, request->id, !rc, handler_id, err);
}

/* ---- streams */

struct sdi_listener *sdi_open(struct sdi *s, const char *principal, void *owner, int *out_rc, char *err, size_t err_len)
{
    struct sdi_principal *p = sdi_principal_get(s, principal);
    struct sdi_listener *listener = p ? calloc(1, sizeof *listener) : NULL;

    if (!listener) {
        if (p)
            sdi_principal_release(s, p);
        *out_rc = UV_ENOMEM;
        snprintf(err, err_len, "RESOURCE_EXHAUSTED: out of memory");
        return NULL;
    }
    if (p->n_streams >= s->limits.max_streams_principal) {
        free(listener);
        s->counters.refused++;
        *out_rc = UV_ENOBUFS;
        snprintf(err, err_len, "RESOURCE_EXHAUSTED: %" PRIu32 " streams of %s are open, and more are not allowed",
                 p->n_streams, p->name);
        return NULL;
    }
    p->n_streams++;
    listener->principal = p;
    listener->owner = owner;
    listener->end.listener = listener;
    listener->end.action = (struct sdi_action){.kind = SDI_END, .owner = owner};
    LIST_INSERT_HEAD(&s->listeners, listener, all);
    s->counters.listeners_open++;
    return listener;
}

void sdi_close(struct sdi *s, struct sdi_listener *listener, uint64_t now_ns)
{
    struct sdi_principal *p = listener->principal;
    struct sdi_item *item, *next;
    struct sdi_handler *h;

    (void)now_ns;
    for (item = TAILQ_FIRST(&s->items); item; item = next) {
        next = TAILQ_NEXT(item, entry);
        if (item->listener == listener)
            drop_item(s, item);
    }
    while ((h = LIST_FIRST(&listener->handlers)))
        sdi_handler_free(s, h);
    sdi_calls_lost(s, listener);
    LIST_REMOVE(listener, all);
    s->counters.listeners_open--;
    free(listener);
    p->n_streams--;
    sdi_principal_release(s, p);
}

/* ---- all of it */

static uint32_t or_default(uint32_t value, uint32_t normal)
{
    return value ? value : normal;
}

struct sdi *sdi_new(const struct sdi_limits *limits, uint64_t seed)
{
    struct sdi *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->limits = (struct sdi_limits){
        .max_handlers = or_default(limits->max_handlers, 65536),
        .max_streams_principal = or_default(limits->max_streams_principal, 256),
        .max_handlers_principal = or_default(limits->max_handlers_principal, 1024),
        .max_notifies_principal = or_default(limits->max_notifies_principal, 64),
        .max_notifies_broker = or_default(limits->max_notifies_broker, 4096),
        .max_calls_stream = or_default(limits->max_calls_stream, 1024),
    };
    table_init(&s->principals, seed);
    table_init(&s->buckets, seed);
    table_init(&s->handlers, seed);
    table_init(&s->calls, seed);
    table_init(&s->notifiers, seed);
    LIST_INIT(&s->listeners);
    TAILQ_INIT(&s->notifies);
    TAILQ_INIT(&s->items);
    return s;
}

void sdi_free(struct sdi *s)
{
    struct sdi_listener *listener;
    struct sdi_action action;

    if (!s)
        return;
    while ((listener = LIST_FIRST(&s->listeners)))
        sdi_close(s, listener, 0);
    while (sdi_take(s, &action)) { /* the verdicts that those streams owed: nothing else can be left */
        chunk_unref(action.message);
        chunk_unref(action.tail);
    }
    assert(TAILQ_EMPTY(&s->notifies) && !s->principals.n && !s->notifiers.n);
    table_deinit(&s->principals);
    table_deinit(&s->buckets);
    table_deinit(&s->handlers);
    table_deinit(&s->calls);
    table_deinit(&s->notifiers);
    free(s);
}

void sdi_counters(const struct sdi *s, struct sdi_counters *out)
{
    *out = s->counters;
}
