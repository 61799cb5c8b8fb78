/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/clients/c/fake_broker.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sensebus/v1/admin.pb-c.h"

/* ------------------------------------------------------------------------------------------------ service */

static void on_request(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct fake_broker *b = data;
    if (b->request)
        sensebus__v1__subscribe_request__free_unpacked(b->request, NULL);
    b->request = sensebus__v1__subscribe_request__unpack(NULL, len, bytes);
    cr_assert_not_null(b->request);
    b->call = call;
    b->n_calls++;
    b->has_call = true;
}

static void on_close(struct grpc_call *call, void *data, int status, const char *message)
{
    (void)status;
    (void)message;
    struct fake_broker *b = data;
    if (b->call == call)
        b->call = NULL;
}

static void start_subscribe(struct grpc_call *call, void *service)
{
    static const struct grpc_call_ops ops = {.on_message = on_request, .on_close = on_close};
    grpc_call_accept(call, &ops, service);
}

static void on_get_broker(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    (void)bytes;
    (void)len;
    struct fake_broker *b = data;
    Sensebus__V1__GetBrokerResponse response = SENSEBUS__V1__GET_BROKER_RESPONSE__INIT;
    uint8_t packed[64] = {0xff, 0xff};
    response.version = "7.7";
    struct slice part = {.ptr = packed, .len = 2};
    if (!b->garbage)
        part.len = sensebus__v1__get_broker_response__pack(&response, packed);
    for (unsigned i = 0; i < b->n_replies; i++)
        grpc_call_send(call, &part, 1);
    grpc_call_finish(call, b->status, b->status ? "not you" : NULL);
}

static void start_get_broker(struct grpc_call *call, void *service)
{
    static const struct grpc_call_ops ops = {.on_message = on_get_broker, .on_close = on_close};
    grpc_call_accept(call, &ops, service);
}

static const struct grpc_method METHODS[] = {
    {"/sensebus.v1.Events/Subscribe", start_subscribe},
    {"/sensebus.v1.Admin/GetBroker", start_get_broker},
};

/* ------------------------------------------------------------------------------------------------ up and down */

void fake_broker_init(struct fake_broker *b)
{
    /* As programs do: a peer that went away is an error of the write. */
    signal(SIGPIPE, SIG_IGN);
    *b = (struct fake_broker){.n_replies = 1};
    test_loop_init(&b->loop);
    snprintf(b->directory, sizeof b->directory, "/tmp/sensebus-clients-XXXXXX");
    cr_assert_not_null(mkdtemp(b->directory));
    snprintf(b->address, sizeof b->address, "unix:%s/s", b->directory);
}

void fake_broker_up(struct fake_broker *b)
{
    char err[256];
    cr_assert_eq(grpc_server_new(&b->loop.loop, NULL, &b->server), 0);
    cr_assert_eq(grpc_server_add(b->server, METHODS, 2, b), 0);
    cr_assert_eq(grpc_server_listen(b->server, b->address, NULL, err, sizeof err), 0, "%s", err);
}

static void on_server_closed(void *data)
{
    *(bool *)data = true;
}

void fake_broker_down(struct fake_broker *b)
{
    if (!b->server)
        return;
    b->server_closed = false;
    grpc_server_close(b->server, on_server_closed, &b->server_closed);
    b->server = NULL;
    cr_assert(test_loop_until(&b->loop, &b->server_closed));
    b->call = NULL;
}

void fake_broker_deinit(struct fake_broker *b)
{
    fake_broker_down(b);
    test_loop_deinit(&b->loop);
    if (b->request)
        sensebus__v1__subscribe_request__free_unpacked(b->request, NULL);
    unlink(b->address + strlen("unix:"));
    rmdir(b->directory);
}

/* ------------------------------------------------------------------------------------------------ saying things */

void fake_broker_wait_call(struct fake_broker *b)
{
    cr_assert(test_loop_until(&b->loop, &b->has_call), "no Subscribe came");
    b->has_call = false;
}

void fake_broker_send_bytes(struct fake_broker *b, const void *bytes, size_t len)
{
    const struct slice part = {.ptr = bytes, .len = len};
    cr_assert_not_null(b->call);
    cr_assert_eq(grpc_call_send(b->call, &part, 1), 0);
}

void fake_broker_send(struct fake_broker *b, const Sensebus__V1__EventBatch *batch)
{
    uint8_t bytes[4096];
    cr_assert_leq(sensebus__v1__event_batch__get_packed_size(batch), sizeof bytes);
    fake_broker_send_bytes(b, bytes, sensebus__v1__event_batch__pack(batch, bytes));
}

static Sensebus__V1__Position position(uint64_t epoch, uint64_t sequence)
{
    Sensebus__V1__Position p = SENSEBUS__V1__POSITION__INIT;
    p.epoch = epoch;
    p.sequence = sequence;
    return p;
}

void fake_broker_opened(struct fake_broker *b, uint64_t epoch, uint64_t sequence)
{
    Sensebus__V1__EventBatch batch = SENSEBUS__V1__EVENT_BATCH__INIT;
    Sensebus__V1__Opened opened = SENSEBUS__V1__OPENED__INIT;
    Sensebus__V1__Position at = position(epoch, sequence);
    opened.position = &at;
    batch.opened = &opened;
    fake_broker_send(b, &batch);
}

void fake_broker_events(struct fake_broker *b, const uint64_t *sequences)
{
    enum { MAX = 16 };
    Sensebus__V1__EventBatch batch = SENSEBUS__V1__EVENT_BATCH__INIT;
    Sensebus__V1__Event events[MAX], *list[MAX];
    batch.events = list;
    for (; sequences[batch.n_events]; batch.n_events++) {
        Sensebus__V1__Event *event = list[batch.n_events] = &events[batch.n_events];
        sensebus__v1__event__init(event);
        event->sequence = sequences[batch.n_events];
        event->code = SENSEBUS__V1__CODE__LUN_RESET;
    }
    fake_broker_send(b, &batch);
}

void fake_broker_gap(struct fake_broker *b, uint64_t epoch, uint64_t from, uint64_t to)
{
    Sensebus__V1__EventBatch batch = SENSEBUS__V1__EVENT_BATCH__INIT;
    Sensebus__V1__Gap gap = SENSEBUS__V1__GAP__INIT;
    Sensebus__V1__Position first = position(epoch, from), last = position(epoch, to);
    gap.from = &first;
    gap.to = &last;
    gap.count = to - from;
    batch.gap = &gap;
    fake_broker_send(b, &batch);
}

void fake_broker_synced(struct fake_broker *b, uint64_t epoch, uint64_t sequence)
{
    Sensebus__V1__EventBatch batch = SENSEBUS__V1__EVENT_BATCH__INIT;
    Sensebus__V1__Synced synced = SENSEBUS__V1__SYNCED__INIT;
    Sensebus__V1__Position at = position(epoch, sequence);
    synced.position = &at;
    batch.synced = &synced;
    fake_broker_send(b, &batch);
}

void fake_broker_finish(struct fake_broker *b, int status, const char *message)
{
    cr_assert_not_null(b->call);
    grpc_call_finish(b->call, status, "%s", message);
}
