/* SPDX-License-Identifier: Apache-2.0 */
/* Agents as the broker sees them, on the gRPC client that agents use: Hello, Welcome, then Publish messages of `burst`
 * events, as far ahead of the acknowledgements as `window` and the broker's own window allow. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/grpc/grpc.h"
#include "proto/wire.h"
#include "runtime/chunk.h"
#include "sensebus/v1/agents.pb-c.h"
#include "tests/bench/load/event.h"
#include "tests/bench/load/load.h"

#define ATTACH_PATH        "/sensebus.v1.Agents/Attach"
#define TAG_PUBLISH        0x12 /* AgentMessage.publish */
#define TAG_EVENT          0x12 /* Publish.events */
#define EVENT_HEAD_BYTES   3u
#define PUBLISH_HEAD_BYTES 8u

struct agent {
    struct load *load;
    struct grpc_channel *channel;
    struct grpc_call *call;
    struct event_source source;
    uint64_t sent, acknowledged, quota, window;
    bool attached;
};

static void send_message(struct agent *a, const Sensebus__V1__AgentMessage *message)
{
    uint8_t bytes[512];
    size_t len = sensebus__v1__agent_message__pack(message, bytes);
    struct slice slice = {.ptr = bytes, .len = len};
    int rc = grpc_call_send(a->call, &slice, 1);
    if (rc)
        fail("%s: send: %s", a->source.host, uv_strerror(rc));
}

/* The next `n` events, encoded. */
static void send_events(struct agent *a, uint64_t n)
{
    size_t body = n * (EVENT_HEAD_BYTES + EVENT_BYTES);
    struct chunk *chunk = chunk_new(PUBLISH_HEAD_BYTES + body);
    uint64_t time_ns = a->load->options.latency ? now_ns() : 0;

    if (!chunk)
        fail("out of memory");
    uint8_t *p = chunk->bytes;
    *p++ = TAG_PUBLISH;
    p += varint_write(p, body);
    for (uint64_t i = 0; i < n; i++) {
        *p++ = TAG_EVENT;
        p += varint_write(p, EVENT_BYTES);
        event_write(p, &a->source, ++a->sent, time_ns);
        p += EVENT_BYTES;
    }
    chunk->len = (size_t)(p - chunk->bytes);
    a->load->sent += n;
    struct slice slice = {.owner = chunk, .ptr = chunk->bytes, .len = chunk->len};
    int rc = grpc_call_send(a->call, &slice, 1);
    chunk_unref(chunk);
    if (rc)
        fail("%s: send: %s", a->source.host, uv_strerror(rc));
}

static void publish(struct agent *a)
{
    const struct load_options *o = &a->load->options;

    while (a->attached && grpc_call_writable(a->call)) {
        uint64_t n = a->quota - a->sent, allowed = load_allowance(a->load);
        uint64_t window = a->window - (a->sent - a->acknowledged);
        n = n < window ? n : window;
        n = n < allowed ? n : allowed;
        n = n < o->burst ? n : o->burst;
        if (n == 0)
            return;
        send_events(a, n);
    }
}

void agents_publish(struct load *load)
{
    for (unsigned i = 0; i < load->options.n_publishers; i++)
        publish(&load->agents[i]);
}

void agents_quota(struct load *load)
{
    unsigned n = load->options.n_publishers;
    for (unsigned i = 0; i < n; i++)
        load->agents[i].quota = load->quota / n + (i < load->quota % n);
}

/* ------------------------------------------------------------------------------------------------ the call */

static void on_welcome(struct agent *a, const Sensebus__V1__Welcome *welcome)
{
    a->window = a->load->options.window < welcome->window_events ? a->load->options.window : welcome->window_events;
    a->attached = true;
}

static void on_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct agent *a = data;
    Sensebus__V1__BrokerMessage *message = sensebus__v1__broker_message__unpack(NULL, len, bytes);

    (void)call;
    if (!message)
        fail("%s: the broker sent what is no BrokerMessage", a->source.host);
    switch (message->message_case) {
    case SENSEBUS__V1__BROKER_MESSAGE__MESSAGE_WELCOME: on_welcome(a, message->welcome); break;
    case SENSEBUS__V1__BROKER_MESSAGE__MESSAGE_ACK:
        a->load->acknowledged += message->ack->source_sequence - a->acknowledged;
        a->acknowledged = message->ack->source_sequence;
        break;
    case SENSEBUS__V1__BROKER_MESSAGE__MESSAGE_REFUSED:
        fail("%s: event %" PRIu64 " refused: %s", a->source.host, message->refused->source_sequence,
             message->refused->reason);
    default: break;
    }
    sensebus__v1__broker_message__free_unpacked(message, NULL);
    load_progress(a->load);
}

static void on_writable(struct grpc_call *call, void *data)
{
    (void)call;
    load_progress(((struct agent *)data)->load);
}

static void on_close(struct grpc_call *call, void *data, int status, const char *message)
{
    (void)call;
    fail("%s: Attach ended: %s: %s", ((struct agent *)data)->source.host, grpc_status_name(status), message);
}

static void on_up(struct grpc_channel *channel, void *data)
{
    static const struct grpc_call_ops ops = {
        .on_message = on_message, .on_writable = on_writable, .on_close = on_close};
    Sensebus__V1__AgentMessage message = SENSEBUS__V1__AGENT_MESSAGE__INIT;
    Sensebus__V1__Hello hello = SENSEBUS__V1__HELLO__INIT;
    struct agent *a = data;

    int rc = grpc_call_start(channel, ATTACH_PATH, 0, &ops, a, &a->call);
    if (rc)
        fail("%s: Attach: %s", a->source.host, uv_strerror(rc));
    hello.version = 1;
    hello.host = a->source.host;
    hello.boot_id = "b00t";
    hello.agent_epoch = a->source.epoch;
    hello.instance = now_ns();
    hello.agent_version = "bench";
    hello.oldest_source_sequence = 1;
    message.message_case = SENSEBUS__V1__AGENT_MESSAGE__MESSAGE_HELLO;
    message.hello = &hello;
    send_message(a, &message);
}

static void on_down(struct grpc_channel *channel, void *data, const char *reason)
{
    (void)channel;
    fail("%s: connection: %s", ((struct agent *)data)->source.host, reason);
}

static bool all_attached(const struct load *load)
{
    for (unsigned i = 0; i < load->options.n_publishers; i++)
        if (!load->agents[i].attached)
            return false;
    return true;
}

void agents_open(struct load *load)
{
    static const struct grpc_channel_ops ops = {.on_up = on_up, .on_down = on_down};
    const struct load_options *o = &load->options;
    struct grpc_channel_options options = {.connect_ms = 10000};
    char address[96];

    snprintf(address, sizeof address, "%s:%u", o->host, o->port);
    load->agents = calloc(o->n_publishers ? o->n_publishers : 1, sizeof *load->agents);
    if (!load->agents)
        fail("out of memory");
    for (unsigned i = 0; i < o->n_publishers; i++) {
        struct agent *a = &load->agents[i];
        a->load = load;
        a->source.epoch = now_ns();
        a->source.n_keys = o->n_keys;
        snprintf(a->source.host, sizeof a->source.host, "bench-%u", i);
        int rc = grpc_channel_open(&load->loop, address, &options, &ops, a, &a->channel);
        if (rc)
            fail("%s: %s: %s", a->source.host, address, uv_strerror(rc));
    }
    while (!all_attached(load))
        uv_run(&load->loop, UV_RUN_ONCE);
}
