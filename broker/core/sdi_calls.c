/* SPDX-License-Identifier: Apache-2.0 */
/* Notifications and their calls (semantics.md rule 29; A15, A17).
 *
 * A notification is open while calls are without a verdict. Each call ends in one of these ways:
 *
 *   verdict OK or ERR in time     counted
 *   stream gone, queue full       lost: counts as failed
 *   deadline                      late: counts as failed; the call stays with its stream until its verdict comes, which
 *                                 is answered ERR
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/mutant.h"
#include "broker/core/sdi_state.h"
#include "proto/message.h"
#include "proto/wire.h"

/* ---- the end of calls and notifications */

static void call_free(struct sdi *s, struct sdi_call *c)
{
    if (c->notify)
        LIST_REMOVE(c, in_notify);
    LIST_REMOVE(c, in_listener);
    c->listener->n_calls--;
    table_remove(&s->calls, &c->id, sizeof c->id);
    free(c);
}

void sdi_notify_free(struct sdi *s, struct sdi_notify *n)
{
    assert(LIST_EMPTY(&n->calls) && !n->verdict.queued);
    if (n->notifier)
        table_remove(&s->notifiers, &n->notifier, sizeof n->notifier);
    free(n);
}

/* Every verdict is in, or none is waited for. */
static void notify_finish(struct sdi *s, struct sdi_notify *n)
{
    struct sdi_principal *p = n->principal;

    TAILQ_REMOVE(&s->notifies, n, by_deadline);
    s->counters.notifies_open--;
    n->principal = NULL;
    if (p) {
        p->n_notifies--;
        sdi_principal_release(s, p);
    } else {
        s->n_broker_notifies--;
    }
    if (!n->notifier) {
        sdi_notify_free(s, n);
        return;
    }
    n->verdict.action = (struct sdi_action){
        .kind = SDI_VERDICT,
        .notifier = n->notifier,
        .ok = n->n_failed == 0,
        .n_called = n->n_called,
        .n_failed = n->n_failed,
    };
    sdi_push(s, &n->verdict);
}

/* The call failed or was answered: its notification may be done. */
static void call_end(struct sdi *s, struct sdi_call *c, bool failed)
{
    struct sdi_notify *n = c->notify;

    call_free(s, c);
    if (!n)
        return;
    n->n_failed += failed;
    if (LIST_EMPTY(&n->calls))
        notify_finish(s, n);
}

/* ---- calling */

/* Names of principals come from certificates and configuration. */
static void sender_write(char *out, size_t size, const char *sender)
{
    snprintf(out, size, "%s", sender);
    if (utf8_valid((const uint8_t *)out, strlen(out)))
        return;
    for (char *p = out; *p; p++)
        if ((uint8_t)*p >= 0x80)
            *p = '?';
}

/* The part of a HandlerCall that is the same for every handler. */
static struct chunk *tail_new(const Sensebus__V1__NotifyEventRequest *r, const char *sender)
{
    Sensebus__V1__HandlerCall call = SENSEBUS__V1__HANDLER_CALL__INIT;
    char sender_text[256];

    sender_write(sender_text, sizeof sender_text, sender);
    call.event_type = r->event_type;
    call.address = r->address;
    call.sb = r->sb;
    call.sender = sender_text;
    struct chunk *tail = chunk_new(sensebus__v1__handler_call__get_packed_size(&call));
    if (tail)
        tail->len = sensebus__v1__handler_call__pack(&call, tail->bytes);
    return tail;
}

/* What comes before it: field 2 of a ListenReply, its length, and the handler's own part. */
static struct chunk *head_new(const struct sdi_handler *h, uint64_t call_id, size_t tail_len)
{
    Sensebus__V1__HandlerCall call = SENSEBUS__V1__HANDLER_CALL__INIT;

    call.call_id = call_id;
    call.handler_id = h->id;
    call.event_info.data = (uint8_t *)h->event_info;
    call.event_info.len = h->event_info_len;
    size_t len = sensebus__v1__handler_call__get_packed_size(&call);
    struct chunk *head = chunk_new(1 + VARINT_MAX_BYTES + len);
    if (!head)
        return NULL;
    head->bytes[0] = 2 << 3 | WIRE_BYTES;
    head->len = 1 + varint_write(head->bytes + 1, len + tail_len);
    head->len += sensebus__v1__handler_call__pack(&call, head->bytes + head->len);
    return head;
}

/* Call one handler. False: the call is lost. */
static bool call_start(struct sdi *s, struct sdi_notify *n, struct sdi_handler *h, struct chunk *tail)
{
    struct sdi_listener *listener = h->listener;

    if (listener->n_calls >= s->limits.max_calls_stream)
        return false;
    struct sdi_call *c = calloc(1, sizeof *c);
    if (!c)
        return false;
    c->id = ++s->last_call;
    if (table_add(&s->calls, &c->id, sizeof c->id, c)) {
        free(c);
        return false;
    }
    c->listener = listener;
    c->notify = n;
    LIST_INSERT_HEAD(&listener->calls, c, in_listener);
    LIST_INSERT_HEAD(&n->calls, c, in_notify);
    listener->n_calls++;
    if (sdi_send(s, listener, head_new(h, c->id, tail->len), chunk_ref(tail), c->id))
        return true;
    call_free(s, c);
    return false;
}

static void call_all(struct sdi *s, struct sdi_notify *n, const struct sdi_event *event, struct chunk *tail)
{
    struct sdi_matches matches;
    struct sdi_handler *h;

    sdi_match_begin(s, event, &matches);
    while ((h = sdi_match_next(&matches))) {
        n->n_called++;
        s->counters.calls++;
        if (call_start(s, n, h, tail))
            continue;
        n->n_failed++;
        s->counters.calls_lost++;
        if (MUTANT(106)) /* A15 */
            break;
    }
}

/* ---- NotifyEvent */

static int notify_check(const Sensebus__V1__NotifyEventRequest *r, bool by_broker, char *err, size_t err_len)
{
    if (!by_broker && r->event_type >= SDI_FIRSTOPEN && r->event_type <= SDI_LASTCLOSE_ERR && !MUTANT(107)) {
        snprintf(err, err_len,
                 "NotifyEventRequest.event_type: %" PRId32
                 " is sent by the broker alone (1 SDI_FIRSTOPEN, 2 SDI_LASTCLOSE, 3 SDI_LASTCLOSE_ERR)",
                 r->event_type);
        return UV_EINVAL;
    }
    if (strlen(r->inquiry) > SDI_MAX_INQUIRY) {
        snprintf(err, err_len, "NotifyEventRequest.inquiry: %zu bytes, at most %d", strlen(r->inquiry),
                 SDI_MAX_INQUIRY);
        return UV_EINVAL;
    }
    if (r->sb.len > SDI_MAX_SB) {
        snprintf(err, err_len, "NotifyEventRequest.sb: %zu bytes, at most %d", r->sb.len, SDI_MAX_SB);
        return UV_EINVAL;
    }
    if (r->deadline_ms > SDI_MAX_DEADLINE_MS) {
        snprintf(err, err_len, "NotifyEventRequest.deadline_ms: %" PRIu32 ", at most %u", r->deadline_ms,
                 SDI_MAX_DEADLINE_MS);
        return UV_EINVAL;
    }
    return sdi_address_check(r->address, "NotifyEventRequest.address", err, err_len);
}

/* Deadlines are mostly equal: the place is near the end. */
static void insert_by_deadline(struct sdi *s, struct sdi_notify *n)
{
    struct sdi_notify *before = TAILQ_LAST(&s->notifies, sdi_notifies);

    while (before && before->deadline_ns > n->deadline_ns)
        before = TAILQ_PREV(before, sdi_notifies, by_deadline);
    if (before)
        TAILQ_INSERT_AFTER(&s->notifies, before, n, by_deadline);
    else
        TAILQ_INSERT_HEAD(&s->notifies, n, by_deadline);
}

/* A notification that counts as open, with its notifier known. NULL with *out_rc when it may not be. */
static struct sdi_notify *notify_new(struct sdi *s, const char *sender, bool by_broker, void *notifier, int *out_rc,
                                     char *err, size_t err_len)
{
    struct sdi_principal *p = by_broker ? NULL : sdi_principal_get(s, sender);
    struct sdi_notify *n = by_broker || p ? calloc(1, sizeof *n) : NULL;
    uint32_t n_open = p ? p->n_notifies : s->n_broker_notifies;
    uint32_t max = p ? s->limits.max_notifies_principal : s->limits.max_notifies_broker;

    *out_rc = 0;
    if (n)
        n->notifier = notifier;
    if (n_open >= max) {
        s->counters.refused++;
        snprintf(err, err_len,
                 "RESOURCE_EXHAUSTED: %" PRIu32 " notifications of %s wait for verdicts, and more are "
                 "not allowed",
                 n_open, p ? p->name : "the broker");
        *out_rc = UV_ENOBUFS;
    } else if (!n || table_add(&s->notifiers, &n->notifier, sizeof n->notifier, n)) {
        snprintf(err, err_len, "RESOURCE_EXHAUSTED: out of memory");
        *out_rc = UV_ENOMEM;
    }
    if (*out_rc) {
        if (p)
            sdi_principal_release(s, p);
        free(n);
        return NULL;
    }
    n->principal = p;
    return n;
}

static void event_fill(struct sdi_event *e, const Sensebus__V1__NotifyEventRequest *r)
{
    const Sensebus__V1__ScsiAdr *a = r->address;

    *e = (struct sdi_event){
        .event_type = r->event_type,
        .device_type = r->device_type,
        .controller = a ? a->controller : -1,
        .bus = a ? a->bus : -1,
        .target = a ? a->target : -1,
        .lun = a ? a->lun : -1,
        .host = a ? a->host : "",
    };
    memset(e->inquiry, ' ', sizeof e->inquiry);
    memcpy(e->inquiry, r->inquiry, strlen(r->inquiry));
}

int sdi_notify(struct sdi *s, const Sensebus__V1__NotifyEventRequest *request, const char *sender, bool by_broker,
               void *notifier, uint64_t now_ns, char *err, size_t err_len)
{
    struct sdi_event event;
    int rc = request_check_known(&request->base, err, err_len);

    if (!rc)
        rc = notify_check(request, by_broker, err, err_len);
    if (rc)
        return rc;
    struct chunk *tail = tail_new(request, sender);
    if (!tail) {
        snprintf(err, err_len, "RESOURCE_EXHAUSTED: out of memory");
        return UV_ENOMEM;
    }
    struct sdi_notify *n = notify_new(s, sender, by_broker, notifier, &rc, err, err_len);
    if (!n) {
        chunk_unref(tail);
        return rc;
    }
    uint32_t deadline_ms = request->deadline_ms ? request->deadline_ms : SDI_DEFAULT_DEADLINE_MS;
    n->deadline_ns = now_ns + (uint64_t)deadline_ms * 1000000;
    if (n->principal)
        n->principal->n_notifies++;
    else
        s->n_broker_notifies++;
    s->counters.notifies++;
    s->counters.notifies_open++;
    insert_by_deadline(s, n);
    event_fill(&event, request);
    call_all(s, n, &event, tail);
    chunk_unref(tail);
    if (LIST_EMPTY(&n->calls))
        notify_finish(s, n);
    return 0;
}

void sdi_notifier_gone(struct sdi *s, void *notifier)
{
    struct sdi_notify *n = table_remove(&s->notifiers, &notifier, sizeof notifier);

    if (!n)
        return;
    n->notifier = NULL;
    if (n->verdict.queued) {
        TAILQ_REMOVE(&s->items, &n->verdict, entry);
        n->verdict.queued = false;
        sdi_notify_free(s, n);
    }
}

/* ---- verdicts */

int sdi_verdict(struct sdi *s, struct sdi_listener *listener, const Sensebus__V1__Verdict *verdict, char *err,
                size_t err_len)
{
    struct sdi_call *c = table_get(&s->calls, &verdict->call_id, sizeof verdict->call_id);
    bool failed = verdict->verdict != SENSEBUS__V1__SDI_RETURN__SDI_RETURN_OK;

    if (verdict->verdict == SENSEBUS__V1__SDI_RETURN__SDI_RETURN_UNSPECIFIED) {
        snprintf(err, err_len, "Verdict.verdict: neither SDI_RETURN_OK nor SDI_RETURN_ERR");
        return UV_EINVAL;
    }
    if (!c || (c->listener != listener && !MUTANT(108))) {
        s->counters.verdicts_unknown++;
        snprintf(err, err_len, "Verdict.call_id: no call %" PRIu64 " waits for a verdict on this stream",
                 verdict->call_id);
        return UV_EINVAL;
    }
    if (!c->notify) {
        s->counters.verdicts_late++;
        snprintf(err, err_len, "Verdict.call_id: the verdict of call %" PRIu64 " is too late", verdict->call_id);
        call_free(s, c);
        return UV_EINVAL;
    }
    s->counters.calls_failed += failed;
    call_end(s, c, failed && !MUTANT(109));
    return 0;
}

void sdi_call_failed(struct sdi *s, uint64_t call_id, uint64_t now_ns)
{
    struct sdi_call *c = table_get(&s->calls, &call_id, sizeof call_id);

    (void)now_ns;
    if (!c)
        return;
    s->counters.calls_lost += c->notify != NULL;
    call_end(s, c, true);
}

void sdi_calls_lost(struct sdi *s, struct sdi_listener *listener)
{
    struct sdi_call *c;

    while ((c = LIST_FIRST(&listener->calls))) {
        s->counters.calls_lost += c->notify != NULL;
        call_end(s, c, !MUTANT(110));
    }
}

/* ---- time */

void sdi_tick(struct sdi *s, uint64_t now_ns)
{
    struct sdi_notify *n;
    struct sdi_call *c;

    while ((n = TAILQ_FIRST(&s->notifies)) && n->deadline_ns <= now_ns) {
        while ((c = LIST_FIRST(&n->calls))) {
            LIST_REMOVE(c, in_notify);
            c->notify = NULL;
            s->counters.calls_late++;
            n->n_failed += !MUTANT(111);
        }
        notify_finish(s, n);
    }
}

uint64_t sdi_next_ns(const struct sdi *s)
{
    const struct sdi_notify *n = TAILQ_FIRST(&s->notifies);
    return n ? n->deadline_ns : UINT64_MAX;
}
