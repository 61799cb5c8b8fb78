/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/service/admin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/service/broker.h"
#include "broker/service/gate.h"
#include "broker/service/request.h"
#include "broker/service/subscription/subscription.h"
#include "proto/message.h"
#include "sensebus/v1/admin.pb-c.h"

#define PAGE_DEFAULT 1000u
#define PAGE_MAX     10000u

/* ------------------------------------------------------------------------------------------------ GetBroker */

#define N_COUNTERS_MAX 64

struct counter_list {
    Sensebus__V1__Counter counters[N_COUNTERS_MAX], *pointers[N_COUNTERS_MAX];
    size_t n;
};

static void counter_add(struct counter_list *l, const char *name, uint64_t value)
{
    Sensebus__V1__Counter *c = &l->counters[l->n];

    if (l->n == N_COUNTERS_MAX)
        return;
    sensebus__v1__counter__init(c);
    c->name = (char *)name;
    c->value = value;
    l->pointers[l->n++] = c;
}

static void counters_of_sessions(const struct broker *b, struct counter_list *l)
{
    struct adapter_counters a;

    adapter_counters(b->adapter.core, &a);
    counter_add(l, "sensebus_adapter_sessions_open", a.sessions_open);
    counter_add(l, "sensebus_adapter_registrations_open", a.registrations_open);
    counter_add(l, "sensebus_adapter_streams_open", a.streams_open);
    counter_add(l, "sensebus_adapter_waits_open", a.waits_open);
    counter_add(l, "sensebus_adapter_operations_open", a.operations_open);
    counter_add(l, "sensebus_adapter_sessions_started_total", a.sessions_started);
    counter_add(l, "sensebus_adapter_registrations_total", a.registrations);
    counter_add(l, "sensebus_adapter_registration_conflicts_total", a.registration_conflicts);
    counter_add(l, "sensebus_adapter_requests_refused_total", a.refused);
    counter_add(l, "sensebus_adapter_records_delivered_total", a.records_delivered);
    counter_add(l, "sensebus_adapter_records_lost_total", a.records_lost);
    counter_add(l, "sensebus_adapter_records_stale_total", a.records_stale);
    counter_add(l, "sensebus_adapter_records_wrong_mode_total", a.records_wrong_mode);
    counter_add(l, "sensebus_adapter_results_late_total", a.results_late);
    counter_add(l, "sensebus_adapter_ranges_not_read_total", b->adapter.n_lost_ranges);
}

static void counters_collect(const struct broker *b, struct counter_list *l)
{
    const struct broker_counters *c = &b->counters;
    struct grpc_server_counters g;
    struct sdi_counters sdi;

    counter_add(l, "sensebus_events_ingested_total", c->n_events);
    counter_add(l, "sensebus_events_duplicate_total", c->n_duplicates);
    counter_add(l, "sensebus_events_refused_total", c->n_refused);
    counter_add(l, "sensebus_events_missing_total", c->n_holes);
    counter_add(l, "sensebus_broker_events_total", c->n_own_events);
    counter_add(l, "sensebus_broker_events_failed_total", c->n_own_failed);
    counter_add(l, "sensebus_events_delivered_total", c->n_delivered);
    counter_add(l, "sensebus_gap_records_total", c->n_gaps);
    counter_add(l, "sensebus_subscriptions_too_slow_total", c->n_slow_ended);
    counter_add(l, "sensebus_access_denied_total", c->n_denied);
    counter_add(l, "sensebus_store_commits_total", b->commit.n_commits);
    counter_add(l, "sensebus_store_commit_failures_total", b->commit.n_failures);
    counter_add(l, "sensebus_store_records_trimmed_total", b->journal.n_trimmed);
    counter_add(l, "sensebus_store_damaged_reads_total", b->journal.n_damaged_reads);
    counter_add(l, "sensebus_store_damaged_pairs_total", b->journal.n_damaged_pairs);
    counter_add(l, "sensebus_status_devices_forgotten_total", b->status.n_evicted);
    counter_add(l, "sensebus_agents_forgotten_total", b->directory.n_forgotten);
    sdi_service_counters(&b->sdi, &sdi);
    counter_add(l, "sensebus_sdi_handlers", sdi.handlers_open);
    counter_add(l, "sensebus_sdi_notifications_total", sdi.notifies);
    counter_add(l, "sensebus_sdi_calls_total", sdi.calls);
    counter_add(l, "sensebus_sdi_calls_failed_total", sdi.calls_failed);
    counter_add(l, "sensebus_sdi_calls_late_total", sdi.calls_late);
    counter_add(l, "sensebus_sdi_calls_lost_total", sdi.calls_lost);
    counter_add(l, "sensebus_sdi_verdicts_late_total", sdi.verdicts_late);
    counter_add(l, "sensebus_sdi_refused_total", sdi.refused);
    counter_add(l, "sensebus_sdi_device_events_failed_total", b->sdi.n_device_failed);
    counter_add(l, "sensebus_sdi_sessions_told_total", b->sdi.n_told);
    counters_of_sessions(b, l);
    grpc_server_counters(b->server, &g);
    counter_add(l, "sensebus_grpc_connections_total", g.connections_accepted);
    counter_add(l, "sensebus_grpc_connections_refused_total", g.connections_refused);
    counter_add(l, "sensebus_grpc_calls_total", g.calls_started);
    counter_add(l, "sensebus_grpc_calls_refused_total", g.calls_refused);
    counter_add(l, "sensebus_grpc_received_bytes_total", g.bytes_received);
    counter_add(l, "sensebus_grpc_sent_bytes_total", g.bytes_sent);
    counter_add(l, "sensebus_grpc_protocol_errors_total", g.protocol_errors);
    counter_add(l, "sensebus_grpc_keepalive_timeouts_total", g.keepalive_timeouts);
    counter_add(l, "sensebus_grpc_flood_closures_total", g.flood_closures);
    counter_add(l, "sensebus_grpc_oversize_messages_total", g.oversize_messages);
    counter_add(l, "sensebus_grpc_handshakes_refused_total", g.handshakes_refused);
}

static void on_get_broker(struct grpc_call *call, void *service, const uint8_t *bytes, size_t len)
{
    struct broker *b = service;
    Sensebus__V1__GetBrokerResponse response = SENSEBUS__V1__GET_BROKER_RESPONSE__INIT;
    Sensebus__V1__Position oldest = SENSEBUS__V1__POSITION__INIT, newest = SENSEBUS__V1__POSITION__INIT;
    struct counter_list counters = {.n = 0};
    struct ProtobufCMessage *r = request_read(call, &sensebus__v1__get_broker_request__descriptor, bytes, len);

    if (!r)
        return;
    message_free(r);
    oldest.epoch = newest.epoch = b->journal.epoch;
    oldest.sequence = b->journal.oldest - 1;
    newest.sequence = b->journal.newest;
    response.version = (char *)SENSEBUS_VERSION;
    response.oldest = &oldest;
    response.newest = &newest;
    response.durability =
        b->options.relaxed ? SENSEBUS__V1__DURABILITY__DURABILITY_RELAXED : SENSEBUS__V1__DURABILITY__DURABILITY_SYNC;
    response.accepting = broker_accepting(b);
    response.not_accepting_reason = b->not_accepting;
    response.started_unix_ns = b->started_unix_ns;
    store_usage(&b->journal.store, &response.log_bytes, &response.log_bytes_limit);
    counters_collect(b, &counters);
    response.n_counters = counters.n;
    response.counters = counters.pointers;
    request_reply(call, &response.base);
}

/* ------------------------------------------------------------------------------------------------ lists */

/* A list that could not be made. */
static void list_failed(struct grpc_call *call, int rc, const char *err)
{
    if (rc == UV_ENOMEM)
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
    else
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "%s", err);
}

static void on_list_agents(struct grpc_call *call, void *service, const uint8_t *bytes, size_t len)
{
    struct broker *b = service;
    Sensebus__V1__ListAgentsResponse *response;
    char err[256];
    struct ProtobufCMessage *r = request_read(call, &sensebus__v1__list_agents_request__descriptor, bytes, len);

    if (!r)
        return;
    int rc = directory_list_agents(&b->directory, (Sensebus__V1__ListAgentsRequest *)r, &response, err, sizeof err);
    message_free(r);
    if (rc) {
        list_failed(call, rc, err);
        return;
    }
    request_reply(call, &response->base);
    sensebus__v1__list_agents_response__free_unpacked(response, NULL);
}

static void on_list_devices(struct grpc_call *call, void *service, const uint8_t *bytes, size_t len)
{
    struct broker *b = service;
    Sensebus__V1__ListDevicesResponse *response;
    char err[256];
    struct ProtobufCMessage *r = request_read(call, &sensebus__v1__list_devices_request__descriptor, bytes, len);

    if (!r)
        return;
    int rc = directory_list_devices(&b->directory, (Sensebus__V1__ListDevicesRequest *)r, &response, err, sizeof err);
    message_free(r);
    if (rc) {
        list_failed(call, rc, err);
        return;
    }
    request_reply(call, &response->base);
    sensebus__v1__list_devices_response__free_unpacked(response, NULL);
}

/* A subscription as a message, with the memory that its members point to. */
struct listed {
    Sensebus__V1__Subscription message;
    Sensebus__V1__Position position;
    char id[32];
};

static void listed_fill(struct listed *l, const struct broker *b, const struct subscription *s)
{
    static const Sensebus__V1__SlowReaderPolicy policies[] = {
        [HUB_LAG] = SENSEBUS__V1__SLOW_READER_POLICY__SLOW_READER_POLICY_LAG,
        [HUB_LIVE] = SENSEBUS__V1__SLOW_READER_POLICY__SLOW_READER_POLICY_LIVE,
        [HUB_DISCONNECT] = SENSEBUS__V1__SLOW_READER_POLICY__SLOW_READER_POLICY_DISCONNECT,
    };
    bool follows = s->state == SUBSCRIPTION_FOLLOW;

    sensebus__v1__subscription__init(&l->message);
    sensebus__v1__position__init(&l->position);
    snprintf(l->id, sizeof l->id, "s%" PRIu64, s->id);
    l->position.epoch = b->journal.epoch;
    l->position.sequence = follows ? subscription_cursor(s) : 0;
    l->message.id = l->id;
    l->message.peer = (char *)grpc_call_peer(s->call);
    l->message.position = &l->position;
    l->message.lag = follows ? b->journal.newest - subscription_cursor(s) : 0;
    l->message.n_delivered = s->n_delivered;
    l->message.n_gaps = s->n_gaps;
    l->message.slow_reader_policy = policies[s->policy];
    l->message.since_unix_ns = s->since_unix_ns;
    l->message.queued_bytes = grpc_call_queued_bytes(s->call);
    l->message.cursor = (char *)s->cursor;
}

/* Pages go by id; the token is the last id of the page before. */
static void list_subscriptions(struct grpc_call *call, const struct broker *b,
                               const Sensebus__V1__ListSubscriptionsRequest *r)
{
    Sensebus__V1__ListSubscriptionsResponse response = SENSEBUS__V1__LIST_SUBSCRIPTIONS_RESPONSE__INIT;
    size_t page = r->page_size ? r->page_size : PAGE_DEFAULT, n = 0;
    const struct subscription *s;
    char token[32] = "";
    uint64_t after = strtoull(r->page_token, NULL, 10);

    /* A token is the number of a subscription, at most twenty digits. */
    if (strlen(r->page_token) > 20 || strspn(r->page_token, "0123456789") != strlen(r->page_token)) {
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT,
                         "ListSubscriptionsRequest.page_token: is not one of this broker's");
        return;
    }
    if (r->page_size > PAGE_MAX) {
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "ListSubscriptionsRequest.page_size: %u, at most 10000",
                         r->page_size);
        return;
    }
    if (page > b->events.n_all)
        page = b->events.n_all;
    struct listed *listed = calloc(page + 1, sizeof *listed);
    Sensebus__V1__Subscription **pointers = calloc(page + 1, sizeof *pointers);
    if (!listed || !pointers) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
    } else {
        TAILQ_FOREACH(s, &b->events.all, all)
        {
            if (s->id <= after || s->state == SUBSCRIPTION_NEW || s->state == SUBSCRIPTION_OVER)
                continue;
            if (n == page) { /* there is more */
                snprintf(token, sizeof token, "%" PRIu64, after);
                break;
            }
            listed_fill(&listed[n], b, s);
            pointers[n] = &listed[n].message;
            n++;
            after = s->id;
        }
        response.n_subscriptions = n;
        response.subscriptions = pointers;
        response.next_page_token = token;
        request_reply(call, &response.base);
    }
    free(listed);
    free(pointers);
}

static void on_list_subscriptions(struct grpc_call *call, void *service, const uint8_t *bytes, size_t len)
{
    struct ProtobufCMessage *r = request_read(call, &sensebus__v1__list_subscriptions_request__descriptor, bytes, len);

    if (!r)
        return;
    list_subscriptions(call, service, (Sensebus__V1__ListSubscriptionsRequest *)r);
    message_free(r);
}

/* ------------------------------------------------------------------------------------------------ EndSession */

/* What the owner and the log hear: who ended it comes first, so that it is never what is cut off. */
static void write_reason(char out[ADAPTER_MAX_REASON + 1], const char *principal, const char *reason)
{
    char text[ACCESS_MAX_PRINCIPAL + ADAPTER_MAX_REASON + 32];
    size_t len = (size_t)snprintf(text, sizeof text, "ended by %s: %s", principal, reason);

    if (len > ADAPTER_MAX_REASON)
        for (len = ADAPTER_MAX_REASON; len > 0 && ((uint8_t)text[len] & 0xc0) == 0x80;)
            len--;
    memcpy(out, text, len);
    out[len] = 0;
}

static void end_session(struct grpc_call *call, struct broker *b, const Sensebus__V1__EndSessionRequest *r)
{
    Sensebus__V1__EndSessionResponse response = SENSEBUS__V1__END_SESSION_RESPONSE__INIT;
    struct access_principal principal;
    struct adapter_ended ended;
    char reason[ADAPTER_MAX_REASON + 1];
    size_t len = strlen(r->reason);

    if (!gate_admit(b, call, ACCESS_OPERATOR, &principal))
        return;
    if (len == 0 || len > ADAPTER_MAX_REASON) {
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "EndSessionRequest.reason: %zu bytes, must be 1 to %d", len,
                         ADAPTER_MAX_REASON);
        return;
    }
    write_reason(reason, principal.name, r->reason);
    if (adapter_service_end_session(&b->adapter, r->session_id, reason, &ended)) {
        grpc_call_finish(call, GRPC_NOT_FOUND, "there is no session \"%.64s\"", r->session_id);
        return;
    }
    log_info("session.ended", "session=%s generation=%" PRIu64 " owner=\"%s\" by=\"%s\" reason=\"%s\"", r->session_id,
             ended.generation, ended.principal, principal.name, r->reason);
    response.generation = ended.generation;
    response.principal = ended.principal;
    response.was_registered = ended.was_registered;
    request_reply(call, &response.base);
}

static void on_end_session(struct grpc_call *call, void *service, const uint8_t *bytes, size_t len)
{
    struct ProtobufCMessage *r = request_read(call, &sensebus__v1__end_session_request__descriptor, bytes, len);

    if (!r)
        return;
    end_session(call, service, (Sensebus__V1__EndSessionRequest *)r);
    message_free(r);
}

/* ------------------------------------------------------------------------------------------------ start */

static void start_get_broker(struct grpc_call *call, void *service)
{
    if (gate_admit(service, call, GATE_READERS, NULL))
        grpc_unary_accept(call, service, on_get_broker);
}

static void start_list_agents(struct grpc_call *call, void *service)
{
    if (gate_admit(service, call, GATE_READERS, NULL))
        grpc_unary_accept(call, service, on_list_agents);
}

static void start_list_devices(struct grpc_call *call, void *service)
{
    if (gate_admit(service, call, GATE_READERS, NULL))
        grpc_unary_accept(call, service, on_list_devices);
}

static void start_list_subscriptions(struct grpc_call *call, void *service)
{
    if (gate_admit(service, call, GATE_READERS, NULL))
        grpc_unary_accept(call, service, on_list_subscriptions);
}

static void start_end_session(struct grpc_call *call, void *service)
{
    if (gate_admit(service, call, ACCESS_OPERATOR, NULL))
        grpc_unary_accept(call, service, on_end_session);
}

int admin_start(struct broker *broker)
{
    static const struct grpc_method methods[] = {
        {"/sensebus.v1.Admin/GetBroker", start_get_broker},
        {"/sensebus.v1.Admin/ListAgents", start_list_agents},
        {"/sensebus.v1.Admin/ListDevices", start_list_devices},
        {"/sensebus.v1.Admin/ListSubscriptions", start_list_subscriptions},
        {"/sensebus.v1.Admin/EndSession", start_end_session},
    };
    return grpc_server_add(broker->server, methods, sizeof methods / sizeof *methods, broker);
}
