/* SPDX-License-Identifier: Apache-2.0 */
/* The normal path of an order: it is read, checked and becomes a verb; a runner of its own runs that, and what comes of
 * it is the reply. A call that ends before takes its runner with it: what "expect" waits for, nobody waits for any
 * more.
 */
#include "tests/target/service.h"

#include <stdio.h>
#include <stdlib.h>

#include "broker/service/request.h"
#include "proto/grpc/grpc.h"
#include "proto/message.h"
#include "tests/target/descriptors.h"
#include "tests/target/order_message.h"
#include "tests/target/report.h"
#include "tests/target/runner.h"

#define GRACE_MS 1000

static const char *const served[] = {"sensebus.target.v1.Target"};

/* ------------------------------------------------------------------------------------------------ Run */

struct order {
    struct service *service;
    struct grpc_call *call;
    struct runner runner;
};

static enum grpc_status status_of(enum orders_result result)
{
    switch (result) {
    case ORDERS_DONE: return GRPC_OK;
    case ORDERS_LATER: return GRPC_DEADLINE_EXCEEDED;
    case ORDERS_WRONG: return GRPC_INVALID_ARGUMENT;
    case ORDERS_UNKNOWN: return GRPC_NOT_FOUND;
    case ORDERS_THERE: return GRPC_ALREADY_EXISTS;
    case ORDERS_NOBODY: return GRPC_FAILED_PRECONDITION;
    default: return GRPC_RESOURCE_EXHAUSTED;
    }
}

static void on_done(struct runner *runner, enum orders_result result)
{
    Sensebus__Target__V1__Done done = SENSEBUS__TARGET__V1__DONE__INIT;
    struct order *o = runner->data;

    report_clean(runner->answer.text);
    if (result != ORDERS_DONE) {
        grpc_call_finish(o->call, (int)status_of(result), "%s", runner->answer.text);
        return;
    }
    done.text = runner->answer.text;
    done.sessions = (uint32_t)runner->answer.n_sessions;
    done.sense = (ProtobufCBinaryData){.len = runner->answer.sense_len, .data = runner->answer.sense};
    request_reply(o->call, &done.base);
}

static void on_runner_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_order_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    (void)data;
    (void)bytes;
    (void)len;
    grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "more than one request message");
}

static void on_order_close(struct grpc_call *call, void *data, int status, const char *message)
{
    struct order *o = data;

    (void)call;
    (void)status;
    (void)message;
    o->service->n_orders--;
    runner_close(&o->runner, on_runner_closed);
}

static void handle_run(struct grpc_call *call, void *service, const uint8_t *bytes, size_t len)
{
    static const struct grpc_call_ops ops = {.on_message = on_order_message, .on_close = on_order_close};
    struct service *s = service;
    struct ProtobufCMessage *request;
    struct order *o;
    struct verb verb;
    char err[300];
    int rc;

    request = request_read(call, &sensebus__target__v1__order__descriptor, bytes, len);
    if (!request)
        return;
    rc = order_message_read((Sensebus__Target__V1__Order *)request, &verb, err, sizeof(err));
    message_free(request);
    if (rc < 0) {
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "%s", err);
        return;
    }
    o = s->n_orders < SERVICE_MAX_ORDERS ? calloc(1, sizeof(*o)) : NULL;
    if (!o) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "%zu orders are under way already", s->n_orders);
        return;
    }
    s->n_orders++;
    o->service = s;
    o->call = call;
    runner_init(&o->runner, s->server, on_done, o);
    o->runner.timer.data = o;
    grpc_call_accept(call, &ops, o);
    runner_start(&o->runner, &verb, 0);
}

static void start_run(struct grpc_call *call, void *service)
{
    grpc_unary_accept(call, service, handle_run);
}

/* ------------------------------------------------------------------------------------------------ GetState, Watch */

static void handle_get_state(struct grpc_call *call, void *service, const uint8_t *bytes, size_t len)
{
    const struct service *s = service;
    struct report_state *state;
    struct ProtobufCMessage *request =
        request_read(call, &sensebus__target__v1__get_state_request__descriptor, bytes, len);

    if (!request)
        return;
    message_free(request);
    state = report_state_new(s->server);
    if (state)
        request_reply(call, &state->message.base);
    else
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
    free(state);
}

static void start_get_state(struct grpc_call *call, void *service)
{
    grpc_unary_accept(call, service, handle_get_state);
}

static void start_watch(struct grpc_call *call, void *service)
{
    watch_start(call, &((struct service *)service)->watch);
}

/* ------------------------------------------------------------------------------------------------ open and close */

static int start(struct service *s)
{
    static const struct grpc_method methods[] = {
        {"/sensebus.target.v1.Target/Run", start_run},
        {"/sensebus.target.v1.Target/GetState", start_get_state},
        {"/sensebus.target.v1.Target/Watch", start_watch},
    };
    const struct grpc_limits limits = {.max_message_bytes = 64 * 1024,
                                       .max_connections = SERVICE_MAX_CONNECTIONS,
                                       .max_streams = 100,
                                       .max_queued_bytes = WATCH_MAX_QUEUED_BYTES,
                                       .max_unary_bytes = 1024 * 1024};
    int rc = grpc_server_new(s->server->loop, &limits, &s->grpc);

    if (rc == 0)
        rc = grpc_health_new(s->grpc, &s->health);
    if (rc == 0)
        rc = grpc_reflection_new(s->grpc, target_descriptor_set, target_descriptor_set_len, served, 1, &s->reflection);
    if (rc == 0)
        rc = grpc_server_add(s->grpc, methods, sizeof(methods) / sizeof(methods[0]), s);
    if (rc == 0)
        rc = grpc_health_set(s->health, served[0], true);
    return rc;
}

int service_open(struct service *s, struct server *server, const char *address, bool insecure, char *err,
                 size_t err_len)
{
    int rc;

    *s = (struct service){.server = server};
    rc = start(s);
    if (rc < 0) {
        snprintf(err, err_len, "%s", uv_strerror(rc));
        return rc;
    }
    watch_init(&s->watch, server);
    return grpc_server_listen(s->grpc, address, &(struct grpc_listen_options){.insecure = insecure}, err, err_len);
}

const char *service_address(const struct service *s)
{
    return grpc_server_address(s->grpc, 0);
}

static void on_closed(void *data)
{
    struct service *s = data;

    grpc_health_free(s->health);
    grpc_reflection_free(s->reflection);
    s->health = NULL;
    s->reflection = NULL;
}

static void on_drained(void *data)
{
    struct service *s = data;

    grpc_server_close(s->grpc, on_closed, s);
    s->grpc = NULL;
}

void service_close(struct service *s)
{
    if (!s->grpc || s->closing)
        return;
    s->closing = true;
    grpc_server_drain(s->grpc, GRACE_MS, on_drained, s);
}
