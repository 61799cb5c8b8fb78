/* SPDX-License-Identifier: Apache-2.0 */
/* Subscribers of sensebus over TLS, on our own client: for what they cost the broker in memory. Its CPU is not measured
 * with them, so what they cost here does not matter. */
#include <stdio.h>
#include <stdlib.h>

#include "proto/event_view.h"
#include "proto/grpc/grpc.h"
#include "runtime/tls.h"
#include "tests/bench/load/event.h"
#include "tests/bench/load/load.h"

#define SUBSCRIBE_PATH "/sensebus.v1.Events/Subscribe"
#define CONNECT_MS     60000u

static void on_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct conn *c = data;
    const uint8_t *at = bytes, *event;
    size_t event_len;

    (void)call;
    c->ready = true; /* Opened is the first */
    while (records_next(&at, bytes + len, &event, &event_len))
        if (event_len == RECORD_EVENT_BYTES)
            conn_received(c, 1, event);
    load_progress(c->load);
}

static void on_close(struct grpc_call *call, void *data, int status, const char *message)
{
    (void)call;
    fail("subscriber %u: Subscribe ended: %s: %s", ((struct conn *)data)->index, grpc_status_name(status), message);
}

static void on_up(struct grpc_channel *channel, void *data)
{
    static const struct grpc_call_ops ops = {.on_message = on_message, .on_close = on_close};
    static const uint8_t now[] = {2 << 3 | 2, 0};
    struct slice request = {.ptr = now, .len = sizeof now};
    struct conn *c = data;
    struct grpc_call *call;

    int rc = grpc_call_start(channel, SUBSCRIBE_PATH, 0, &ops, c, &call);
    if (!rc)
        rc = grpc_call_send(call, &request, 1);
    if (!rc)
        rc = grpc_call_half_close(call);
    if (rc)
        fail("subscriber %u: %s", c->index, uv_strerror(rc));
}

static void on_down(struct grpc_channel *channel, void *data, const char *reason)
{
    (void)channel;
    fail("subscriber %u: %s", ((struct conn *)data)->index, reason);
}

void secure_subscribe(struct load *load)
{
    static const struct grpc_channel_ops ops = {.on_up = on_up, .on_down = on_down};
    const struct load_options *o = &load->options;
    struct tls_files files = {.certificate = o->certificate, .key = o->key, .authority = o->authority};
    struct grpc_channel_options options = {.connect_ms = CONNECT_MS};
    char address[96], err[TLS_TEXT_MAX];

    if (tls_context_new(false, &files, &options.tls, err, sizeof err))
        fail("%s", err);
    load->subscribers = calloc(o->n_subscribers ? o->n_subscribers : 1, sizeof *load->subscribers);
    if (!load->subscribers)
        fail("out of memory");
    snprintf(address, sizeof address, "%s:%u", o->host, o->port);
    for (unsigned i = 0; i < o->n_subscribers; i++) {
        struct conn *c = &load->subscribers[i];
        struct grpc_channel *channel;
        *c = (struct conn){.load = load, .index = i, .fd = -1};
        int rc = grpc_channel_open(&load->loop, address, &options, &ops, c, &channel);
        if (rc)
            fail("subscriber %u: %s: %s", i, address, uv_strerror(rc));
        while (!c->ready)
            uv_run(&load->loop, UV_RUN_ONCE);
    }
    tls_context_unref(options.tls);
    load->subscribed = true;
}
