/* SPDX-License-Identifier: Apache-2.0 */
/* A server on the test's loop that says what the test tells it to, with one Subscribe call at a time. */
#pragma once

#include "proto/grpc/grpc.h"
#include "sensebus/v1/events.pb-c.h"
#include "tests/lib/loop.h"

struct fake_broker {
    struct test_loop loop;
    struct grpc_server *server;
    char directory[40], address[80];
    bool server_closed;

    struct grpc_call *call; /* the open Subscribe, or NULL */
    unsigned n_calls;       /* Subscribe calls so far */
    bool has_call;
    Sensebus__V1__SubscribeRequest *request; /* of the newest call, once it came */

    /* Answer of GetBroker. */
    unsigned n_replies; /* how many messages to send before OK; 1 unless set */
    int status;
    bool garbage;
};

void fake_broker_init(struct fake_broker *b);
void fake_broker_deinit(struct fake_broker *b);
/* Listen (again, on the same address), or vanish with all connections. */
void fake_broker_up(struct fake_broker *b);
void fake_broker_down(struct fake_broker *b);

/* Until a request of a new call came. */
void fake_broker_wait_call(struct fake_broker *b);
void fake_broker_send(struct fake_broker *b, const Sensebus__V1__EventBatch *batch);
void fake_broker_send_bytes(struct fake_broker *b, const void *bytes, size_t len);
void fake_broker_opened(struct fake_broker *b, uint64_t epoch, uint64_t sequence);
/* One batch with these sequences; 0 ends the list. */
void fake_broker_events(struct fake_broker *b, const uint64_t *sequences);
#define FAKE_EVENTS(b, ...) fake_broker_events(b, (const uint64_t[]){__VA_ARGS__, 0})
void fake_broker_gap(struct fake_broker *b, uint64_t epoch, uint64_t from, uint64_t to);
void fake_broker_synced(struct fake_broker *b, uint64_t epoch, uint64_t sequence);
void fake_broker_finish(struct fake_broker *b, int status, const char *message);
