/* SPDX-License-Identifier: Apache-2.0 */
/* A listener:  admitted -> its requests go into the rules -> answers and calls come out as actions and are sent
 *              a call that cannot be queued is lost: the notifier hears ERR
 *              an answer that cannot be queued ends the stream, for the client reads nothing
 *              its end, by half-close, cancel or loss, ends its handlers
 * A notifier:  admitted -> into the rules -> waits for SDI_VERDICT, which the last verdict or the timer brings
 *
 * After every input `flush` carries out what the rules say and sets the timer to the next deadline. */
#include "broker/service/sdi.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/adapter/adapter.h"
#include "broker/service/broker.h"
#include "broker/service/gate.h"
#include "broker/service/request.h"
#include "broker/service/xaen.h"
#include "proto/message.h"
#include "runtime/clock.h"

#define LINES_AT_ONCE    10
#define ANSWER_MARGIN_MS 200u /* before a caller's own deadline, so that the answer is there in time */
#define FIELD_ID         1u   /* of ListenRequest */

/* One Listen. */
struct listen {
    struct sdi_service *service;
    struct grpc_call *call;
    struct sdi_listener *listener; /* NULL when it ended for the rules */
};

/* Who waits for the verdicts of a notification: a call, or this broker itself. */
struct notifier {
    struct sdi_service *service;
    struct grpc_call *call; /* NULL: the broker's own, freed with its verdict */
    int32_t event_type;
    char host[DIRECTORY_MAX_HOST + 1];
};

static void flush(struct sdi_service *service);

/* ------------------------------------------------------------------------------------------------ actions */

/* The stream is over for the rules; the call ends with `status`. */
static void listen_end(struct listen *l, int status, const char *reason)
{
    struct sdi_listener *listener = l->listener;

    if (!listener)
        return;
    l->listener = NULL;
    sdi_close(l->service->rules, listener, clock_mono_ns());
    grpc_call_finish(l->call, status, "%s", reason);
}

static void send_action(struct sdi_service *service, const struct sdi_action *a)
{
    struct listen *l = a->owner;
    struct slice parts[2] = {{.owner = a->message, .ptr = a->message->bytes, .len = a->message->len}};
    size_t n_parts = 1;

    if (a->tail)
        parts[n_parts++] = (struct slice){.owner = a->tail, .ptr = a->tail->bytes, .len = a->tail->len};
    int rc = grpc_call_send(l->call, parts, n_parts);
    if (rc && a->call_id) {
        sdi_call_failed(service->rules, a->call_id, clock_mono_ns());
        if (log_limit_allow(&service->listen_limit, clock_mono_ns() / 1000000, LINES_AT_ONCE, NULL))
            log_warn("sdi.call_lost", "peer=%s reason=\"%s\"", grpc_call_peer(l->call), uv_strerror(rc));
    } else if (rc) {
        listen_end(l, GRPC_RESOURCE_EXHAUSTED, "the answers on this stream are not read");
    }
}

static void device_event_done(struct sdi_service *service, struct notifier *n, const struct sdi_action *a)
{
    uint64_t n_suppressed;

    if (!a->ok) {
        service->n_device_failed++;
        if (log_limit_allow(&service->device_limit, clock_mono_ns() / 1000000, LINES_AT_ONCE, &n_suppressed))
            log_warn("sdi.device_event_failed",
                     "event=%" PRId32 " host=%s called=%" PRIu32 " failed=%" PRIu32 " more_before=%" PRIu64,
                     n->event_type, n->host, a->n_called, a->n_failed, n_suppressed);
    }
    free(n);
}

static void verdict_action(struct sdi_service *service, const struct sdi_action *a)
{
    struct notifier *n = a->notifier;
    Sensebus__V1__NotifyEventResponse response = SENSEBUS__V1__NOTIFY_EVENT_RESPONSE__INIT;

    if (!n->call) {
        device_event_done(service, n, a);
        return;
    }
    response.result = a->ok ? SENSEBUS__V1__SDI_RETURN__SDI_RETURN_OK : SENSEBUS__V1__SDI_RETURN__SDI_RETURN_ERR;
    response.n_called = a->n_called;
    response.n_failed = a->n_failed;
    request_reply(n->call, &response.base); /* on_notify_close frees it */
}

static void on_timer(uv_timer_t *timer)
{
    struct sdi_service *service = timer->data;

    service->due_ns = UINT64_MAX;
    sdi_tick(service->rules, clock_mono_ns());
    flush(service);
}

static void set_timer(struct sdi_service *service)
{
    uint64_t due_ns = sdi_next_ns(service->rules), now_ns = clock_mono_ns();

    if (due_ns == service->due_ns)
        return;
    service->due_ns = due_ns;
    if (due_ns == UINT64_MAX)
        uv_timer_stop(&service->timer);
    else
        uv_timer_start(&service->timer, on_timer, due_ns > now_ns ? (due_ns - now_ns) / 1000000 + 1 : 0, 0);
}

static void flush(struct sdi_service *service)
{
    struct sdi_action a;

    while (sdi_take(service->rules, &a)) {
        switch (a.kind) {
        case SDI_SEND: send_action(service, &a); break;
        case SDI_VERDICT: verdict_action(service, &a); break;
        case SDI_END: listen_end(a.owner, GRPC_RESOURCE_EXHAUSTED, "out of memory"); break;
        }
        chunk_unref(a.message);
        chunk_unref(a.tail);
    }
    set_timer(service);
}

/* ------------------------------------------------------------------------------------------------ Listen */

static void on_listen_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct listen *l = data;
    struct sdi *rules = l->service->rules;
    char err[256] = "ListenRequest: takes too much memory";

    (void)call;
    if (!l->listener)
        return;
    struct ProtobufCMessage *r = NULL;
    if (!message_check(&sensebus__v1__listen_request__descriptor, bytes, len, err, sizeof err))
        r = message_unpack(&sensebus__v1__listen_request__descriptor, bytes, len, 0);
    if (r)
        sdi_request(rules, l->listener, (const Sensebus__V1__ListenRequest *)r, clock_mono_ns());
    else
        sdi_fault(rules, l->listener, request_number(bytes, len, FIELD_ID), err);
    if (r)
        message_free(r);
    flush(l->service);
}

static void on_listen_half_close(struct grpc_call *call, void *data)
{
    struct listen *l = data;

    (void)call;
    listen_end(l, GRPC_OK, "");
    flush(l->service);
}

static void on_listen_close(struct grpc_call *call, void *data, int status, const char *message)
{
    struct listen *l = data;
    struct sdi_service *service = l->service;

    (void)call, (void)status, (void)message;
    if (l->listener)
        sdi_close(service->rules, l->listener, clock_mono_ns());
    free(l);
    flush(service);
}

static void start_listen(struct grpc_call *call, void *data)
{
    static const struct grpc_call_ops ops = {
        .on_message = on_listen_message, .on_half_close = on_listen_half_close, .on_close = on_listen_close};
    struct sdi_service *service = data;
    struct access_principal principal;
    char err[ACCESS_MAX_PRINCIPAL + 128];
    int rc = UV_ENOMEM;

    if (!gate_admit(service->broker, call, ACCESS_KERNEL, &principal))
        return;
    struct listen *l = calloc(1, sizeof *l);
    snprintf(err, sizeof err, "RESOURCE_EXHAUSTED: out of memory");
    if (l)
        l->listener = sdi_open(service->rules, principal.name, l, &rc, err, sizeof err);
    if (!l || !l->listener) {
        free(l);
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "%s", err);
        return;
    }
    l->service = service;
    l->call = call;
    grpc_call_accept(call, &ops, l);
}

/* ------------------------------------------------------------------------------------------------ NotifyEvent */

static void on_notify_close(struct grpc_call *call, void *data, int status, const char *message)
{
    struct notifier *n = data;

    (void)call, (void)status, (void)message;
    sdi_notifier_gone(n->service->rules, n);
    free(n);
}

/* The caller's own deadline counts too, a little earlier: the answer has to get there. */
static uint32_t shorten(uint32_t deadline_ms, uint64_t remaining_ms)
{
    uint64_t margin_ms = remaining_ms / 4 < ANSWER_MARGIN_MS ? remaining_ms / 4 : ANSWER_MARGIN_MS;
    uint64_t wanted_ms = deadline_ms ? deadline_ms : SDI_DEFAULT_DEADLINE_MS, most_ms = remaining_ms - margin_ms;

    if (deadline_ms > SDI_MAX_DEADLINE_MS || most_ms >= wanted_ms)
        return deadline_ms;
    return most_ms ? (uint32_t)most_ms : 1;
}

static void take_notify(struct sdi_service *service, struct grpc_call *call, Sensebus__V1__NotifyEventRequest *r,
                        const char *sender)
{
    static const struct grpc_call_ops ops = {.on_close = on_notify_close};
    struct notifier *n = calloc(1, sizeof *n);
    char err[ACCESS_MAX_PRINCIPAL + 128];

    if (!n) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    n->service = service;
    n->call = call;
    grpc_call_accept(call, &ops, n);
    r->deadline_ms = shorten(r->deadline_ms, grpc_call_remaining_ms(call));
    int rc = sdi_notify(service->rules, r, sender, false, n, clock_mono_ns(), err, sizeof err);
    if (rc)
        grpc_call_finish(call, rc == UV_EINVAL ? GRPC_INVALID_ARGUMENT : GRPC_RESOURCE_EXHAUSTED, "%s", err);
    flush(service);
}

static void on_notify(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct sdi_service *service = data;
    struct access_principal principal;

    if (!gate_admit(service->broker, call, ACCESS_KERNEL, &principal))
        return;
    struct ProtobufCMessage *r = request_read(call, &sensebus__v1__notify_event_request__descriptor, bytes, len);
    if (!r)
        return;
    take_notify(service, call, (Sensebus__V1__NotifyEventRequest *)r, principal.name);
    message_free(r);
}

static void start_notify(struct grpc_call *call, void *data)
{
    struct sdi_service *service = data;

    if (gate_admit(service->broker, call, ACCESS_KERNEL, NULL))
        grpc_unary_accept(call, service, on_notify);
}

/* ------------------------------------------------------------------------------------------------ Xaen */

static void on_xaen(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct sdi_service *service = data;
    struct access_principal principal;
    Sensebus__V1__XaenResponse response = SENSEBUS__V1__XAEN_RESPONSE__INIT;
    char err[256];

    if (!gate_admit(service->broker, call, ACCESS_KERNEL, &principal))
        return;
    struct ProtobufCMessage *r = request_read(call, &sensebus__v1__xaen_request__descriptor, bytes, len);
    if (!r)
        return;
    int rc = xaen_take(service->broker, (const Sensebus__V1__XaenRequest *)r, principal.name, &response.n_told, err,
                       sizeof err);
    message_free(r);
    if (rc) {
        grpc_call_finish(call,
                         rc == UV_EINVAL   ? GRPC_INVALID_ARGUMENT
                         : rc == UV_EAGAIN ? GRPC_UNAVAILABLE
                                           : GRPC_RESOURCE_EXHAUSTED,
                         "%s", err);
        return;
    }
    service->n_told += response.n_told;
    request_reply(call, &response.base);
}

static void start_xaen(struct grpc_call *call, void *data)
{
    struct sdi_service *service = data;

    if (gate_admit(service->broker, call, ACCESS_KERNEL, NULL))
        grpc_unary_accept(call, service, on_xaen);
}

/* ------------------------------------------------------------------------------------------------ the broker's own */

/* Vendor and product as INQUIRY data has them: 8 and 16 bytes, padded with spaces. */
static void inquiry_write(char out[SDI_MAX_INQUIRY + 1], const struct adapter_where *where)
{
    snprintf(out, SDI_MAX_INQUIRY + 1, "%-8.8s%-16.16s", where->vendor, where->product);
}

void sdi_service_device_event(struct broker *b, int32_t event_type, const char *host, const struct adapter_where *where)
{
    struct sdi_service *service = &b->sdi;
    Sensebus__V1__NotifyEventRequest r = SENSEBUS__V1__NOTIFY_EVENT_REQUEST__INIT;
    Sensebus__V1__ScsiAdr address = SENSEBUS__V1__SCSI_ADR__INIT;
    char inquiry[SDI_MAX_INQUIRY + 1], err[256];

    if (!service->rules)
        return;
    struct notifier *n = calloc(1, sizeof *n);
    inquiry_write(inquiry, where);
    address.controller = where->controller;
    address.bus = where->bus;
    address.target = where->target;
    address.lun = where->lun >= 0 && where->lun <= INT32_MAX ? (int32_t)where->lun : -1;
    address.host = (char *)host;
    r.event_type = event_type;
    r.address = &address;
    r.device_type = where->device_type;
    r.inquiry = inquiry;
    snprintf(err, sizeof err, "out of memory");
    int rc = UV_ENOMEM;
    if (n) {
        n->service = service;
        n->event_type = event_type;
        snprintf(n->host, sizeof n->host, "%s", host);
        rc = sdi_notify(service->rules, &r, "broker", true, n, clock_mono_ns(), err, sizeof err);
    }
    if (rc) {
        service->n_device_failed++;
        if (log_limit_allow(&service->device_limit, clock_mono_ns() / 1000000, LINES_AT_ONCE, NULL))
            log_warn("sdi.device_event_lost", "event=%" PRId32 " host=%s reason=\"%s\"", event_type, host, err);
        free(n);
    }
    flush(service);
}

/* ------------------------------------------------------------------------------------------------ start, stop */

int sdi_service_start(struct sdi_service *service, struct broker *broker)
{
    static const struct grpc_method methods[] = {
        {"/sensebus.v1.Sdi/Listen", start_listen},
        {"/sensebus.v1.Sdi/NotifyEvent", start_notify},
        {"/sensebus.v1.Sdi/Xaen", start_xaen},
    };
    uint64_t seed;
    int rc = uv_random(NULL, NULL, &seed, sizeof seed, 0, NULL);

    if (rc)
        return rc;
    service->broker = broker;
    service->due_ns = UINT64_MAX;
    uv_timer_init(broker->loop, &service->timer);
    service->timer.data = service;
    service->timer_open = true;
    service->rules = sdi_new(&broker->options.sdi_limits, seed);
    if (!service->rules)
        return UV_ENOMEM;
    return grpc_server_add(broker->server, methods, sizeof methods / sizeof *methods, service);
}

void sdi_service_stop(struct sdi_service *service)
{
    struct sdi *rules = service->rules;

    if (service->timer_open)
        uv_close((uv_handle_t *)&service->timer, NULL);
    service->timer_open = false;
    service->rules = NULL;
    sdi_free(rules);
}

void sdi_service_counters(const struct sdi_service *service, struct sdi_counters *out)
{
    *out = (struct sdi_counters){0};
    if (service->rules)
        sdi_counters(service->rules, out);
}
