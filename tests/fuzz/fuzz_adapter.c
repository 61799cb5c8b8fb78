/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of the AIX face under anything that subscribers and agents may send: steps of a kind byte, two bytes of
 * length and a message. Every request must be answered at most once, and exactly once when the broker stops. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/access.h"
#include "broker/core/adapter/adapter.h"
#include "proto/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_STREAMS = 4, MAX_STEPS = 400 };
enum step { REQUEST, RESULT, RECORD, DATA, CLOSE, BLOCK, TICK, AGENT_GONE, N_STEPS };

struct run {
    struct adapter *a;
    struct adapter_stream *streams[N_STREAMS];
    uint64_t by_stream[N_STREAMS]; /* requests that are not answered */
    uint64_t now_ns, sequence;
};

static void open_stream(struct run *r, unsigned i)
{
    char err[64];
    int rc;
    r->streams[i] = adapter_open(r->a, i < 2 ? "alice" : "bob", ACCESS_ALL, &r->by_stream[i], &rc, err, sizeof err);
    r->by_stream[i] = 0;
    if (!r->streams[i])
        abort();
}

static void take(struct run *r)
{
    struct adapter_action action;
    while (adapter_take(r->a, &action)) {
        if (action.kind == ADAPTER_SEND) {
            struct chunk *m = action.message, *t = action.tail;
            size_t len = m->len + (t ? t->len : 0);
            uint8_t *bytes = malloc(len);
            memcpy(bytes, m->bytes, m->len);
            if (t)
                memcpy(bytes + m->len, t->bytes, t->len);
            char err[128];
            if (message_check(&sensebus__v1__adapter_reply__descriptor, bytes, len, err, sizeof err) != 0)
                abort();
            if (len && bytes[0] == 0x0a) { /* AdapterReply.result */
                uint64_t *open = action.owner;
                if ((*open)-- == 0)
                    abort();
            }
            free(bytes);
        }
        chunk_unref(action.message);
        chunk_unref(action.tail);
    }
}

static void request(struct run *r, unsigned who, const uint8_t *bytes, size_t len)
{
    struct ProtobufCMessage *m = message_unpack(&sensebus__v1__adapter_request__descriptor, bytes, len, 0);
    const Sensebus__V1__AdapterRequest *q = (const Sensebus__V1__AdapterRequest *)m;
    Sensebus__V1__DeviceAddress full = SENSEBUS__V1__DEVICE_ADDRESS__INIT;
    struct adapter_place place = {.state = ADAPTER_PLACE_OK, .address = &full, .capabilities = 0xff, .own_id = "self"};
    r->by_stream[who]++;
    if (!q) {
        adapter_fault(r->a, r->streams[who], 7, "not a request");
        return;
    }
    const Sensebus__V1__DeviceAddress *asked = NULL;
    if (q->operation_case == SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_START)
        asked = q->start->address;
    if (q->operation_case == SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_START_TARGET)
        asked = q->start_target->address;
    if (asked) {
        full = *asked;
        full.base.n_unknown_fields = 0;
    }
    full.host = (char *)"h";
    if (!*full.adapter)
        full.adapter = (char *)"a";
    adapter_request(r->a, r->streams[who], q, &place, r->sequence, r->now_ns, r->now_ns);
    message_free(m);
}

static void result(struct run *r, const uint8_t *bytes, size_t len)
{
    struct ProtobufCMessage *m = message_unpack(&sensebus__v1__operation_result__descriptor, bytes, len, 0);
    if (m) {
        const Sensebus__V1__OperationResult *result = (const Sensebus__V1__OperationResult *)m;
        adapter_result(r->a, "h", result, 0xff, result->after_source_sequence, r->sequence, r->now_ns);
        message_free(m);
    }
}

static void record(struct run *r, const uint8_t *bytes, size_t len)
{
    char err[128];
    struct event_view view;
    struct event_limits limits = {.allow_broker_fields = true};
    struct chunk *c = chunk_new(len + 9);
    if (len)
        memcpy(c->bytes, bytes, len);
    c->len = len;
    if (event_scan(c->bytes, c->len, &limits, &view, err, sizeof err) == 0) {
        view.sequence = ++r->sequence;
        adapter_record(r->a, &view, c, r->now_ns);
        adapter_delivered(r->a, r->sequence, r->now_ns);
    }
    chunk_unref(c);
}

static void data_comes(struct run *r, const uint8_t *bytes, size_t len)
{
    struct ProtobufCMessage *m = message_unpack(&sensebus__v1__target_received__descriptor, bytes, len, 0);
    if (m) {
        adapter_target_received(r->a, "h", (const Sensebus__V1__TargetReceived *)m, r->now_ns);
        message_free(m);
    }
}

static void step(struct run *r, uint8_t kind, const uint8_t *bytes, size_t len)
{
    unsigned who = kind >> 6;
    switch (kind % N_STEPS) {
    case REQUEST: request(r, who, bytes, len); break;
    case RESULT: result(r, bytes, len); break;
    case RECORD: record(r, bytes, len); break;
    case DATA: data_comes(r, bytes, len); break;
    case CLOSE:
        adapter_close(r->a, r->streams[who], r->now_ns);
        open_stream(r, who);
        break;
    case BLOCK:
        if (kind & 0x20)
            adapter_blocked(r->a, r->streams[who]);
        else
            adapter_writable(r->a, r->streams[who], r->now_ns);
        break;
    case TICK: adapter_tick(r->a, r->now_ns += 10000000000ull); break;
    default: adapter_agent_gone(r->a, "h", kind & 0x20, r->now_ns); break;
    }
    take(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct adapter_limits limits = {.max_queued_records = 3, .max_sessions_principal = 8};
    struct run r = {.a = adapter_new(&limits, 1, 1), .now_ns = 1};
    for (unsigned i = 0; i < N_STREAMS; i++)
        open_stream(&r, i);
    for (int i = 0; i < MAX_STEPS && size >= 3; i++) {
        size_t len = (size_t)data[1] | (size_t)data[2] << 8;
        if (len > size - 3)
            len = size - 3;
        step(&r, data[0], data + 3, len);
        data += 3 + len;
        size -= 3 + len;
    }
    for (unsigned i = 0; i < N_STREAMS; i++)
        adapter_writable(r.a, r.streams[i], r.now_ns);
    adapter_stop(r.a, "BROKER_STOPPING", r.now_ns);
    take(&r);
    for (unsigned i = 0; i < N_STREAMS; i++) {
        if (r.by_stream[i] != 0)
            abort();
    }
    adapter_free(r.a);
    return 0;
}
