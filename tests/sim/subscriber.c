/* SPDX-License-Identifier: Apache-2.0 */
/* Subscribers: connect, ask for anything on any session they have heard of, rightly or wrongly, read slowly, go. */
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sensebus/v1/adapter.pb-c.h"

static void connect_again(struct world *w, struct sim_subscriber *s)
{
    char err[256];
    int rc;

    s->serial = ++w->next_serial;
    s->to_broker = s->to_subscriber = (struct wire){0};
    s->blocked = false;
    s->stream = adapter_open(w->adapter, s->principal, s->roles, s, &rc, err, sizeof err);
    s->open = s->stream != NULL;
    if (!s->open)
        return;
    struct history_entry *e = history_add(&w->history, HISTORY_OPEN, w->now_ns, s->serial, s->principal, NULL, 0);
    e->a = s->roles;
    world_pump(w);
}

/* The connection breaks on our side; the broker notices later. What is on the wire may be lost. */
static void disconnect(struct world *w, uint32_t who)
{
    struct sim_subscriber *s = &w->subscribers[who];
    struct timed event = {.kind = EVENT_STREAM_ENDS, .who = who, .serial = s->serial};

    world_at(w, w->now_ns + chance_below(&w->chance, 200) * MS, event, NULL, 0);
}

static void choose_address(struct world *w, Sensebus__V1__DeviceAddress *address)
{
    static char hosts[N_HOSTS][8] = {"h0", "h1"};
    static char target_names[N_TARGETS][8] = {"iqn.t0", "iqn.t1"};
    uint32_t target = chance_below(&w->chance, N_TARGETS);

    sensebus__v1__device_address__init(address);
    address->host = hosts[chance_below(&w->chance, N_HOSTS)];
    address->adapter = (char *)"iscsi0";
    address->target = (int32_t)target;
    address->target_name = target_names[target];
    address->lun = chance_percent(&w->chance, 3) ? 9 : chance_below(&w->chance, N_LUNS);
}

static void send_request(struct world *w, uint32_t who, Sensebus__V1__AdapterRequest *request)
{
    struct sim_subscriber *s = &w->subscribers[who];
    uint8_t bytes[4096];

    request->version = chance_percent(&w->chance, 1) ? 2 : 1;
    request->reserved1 = chance_percent(&w->chance, 1);
    request->id = ++s->next_id;
    request->deadline_ms = chance_below(&w->chance, 4) ? 0 : 1 + chance_below(&w->chance, 3000);
    if (sensebus__v1__adapter_request__get_packed_size(request) > sizeof bytes)
        abort();
    size_t len = sensebus__v1__adapter_request__pack(request, bytes);
    struct timed event = {.kind = EVENT_REQUEST_ARRIVES, .who = who, .serial = s->serial};
    world_send(w, &s->to_broker, event, bytes, len);
}

static void ask_start(struct world *w, uint32_t who)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__DeviceAddress address;
    Sensebus__V1__Start start = SENSEBUS__V1__START__INIT;
    Sensebus__V1__StartTarget start_target = SENSEBUS__V1__START_TARGET__INIT;

    choose_address(w, &address);
    if (chance_percent(&w->chance, 15)) {
        address.adapter = (char *)"tgt1";
        address.target_name = (char *)"iqn.initiator";
        address.lun = chance_percent(&w->chance, 10);
        start_target.address = &address;
        start_target.buffer_bytes = 1024;
        start_target.n_buffers = 16 - chance_percent(&w->chance, 10);
        request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_START_TARGET;
        request.start_target = &start_target;
    } else {
        start.address = &address;
        start.shared = chance_percent(&w->chance, 40);
        request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_START;
        request.start = &start;
    }
    send_request(w, who, &request);
}

static void ask_event(struct world *w, uint32_t who)
{
    static uint8_t correlators[][6] = {{0}, {0, 1, 2, 3, 4, 5}, {0xff, 0xfe, 0, 0, 1, 0}, {'a', 'b', 0, 'c', 0, 0}};
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__RegisterEvent event = SENSEBUS__V1__REGISTER_EVENT__INIT;
    uint32_t which = chance_below(&w->chance, 4);

    event.session_id = (char *)world_any_session(w);
    event.mode = chance_percent(&w->chance, 15) ? SENSEBUS__V1__MODE__MODE_TARGET : SENSEBUS__V1__MODE__MODE_INITIATOR;
    if (chance_percent(&w->chance, 80)) {
        event._correlator_case = SENSEBUS__V1__REGISTER_EVENT___CORRELATOR_CORRELATOR;
        event.correlator.data = correlators[which];
        event.correlator.len = chance_below(&w->chance, 7);
    }
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_EVENT;
    request.event = &event;
    send_request(w, who, &request);
    if (chance_percent(&w->chance, 30)) /* somebody else wants it too: a race */
        for (uint32_t other = 0; other < N_SUBSCRIBERS; other++)
            if (other != who && w->subscribers[other].open)
                send_request(w, other, &request);
}

static void ask_wait(struct world *w, uint32_t who)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__WaitPri wait = SENSEBUS__V1__WAIT_PRI__INIT;
    char *sessions[3];

    wait.session_ids = sessions;
    wait.n_session_ids = 1 + chance_below(&w->chance, 3);
    for (size_t i = 0; i < wait.n_session_ids; i++)
        sessions[i] = (char *)world_any_session(w);
    wait.timeout_ms = (int64_t)chance_below(&w->chance, 4) - 1;
    if (wait.timeout_ms > 0)
        wait.timeout_ms = 1 + chance_below(&w->chance, 2000);
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_WAIT_PRI;
    request.wait_pri = &wait;
    send_request(w, who, &request);
}

static void ask_command(struct world *w, uint32_t who)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__Halt halt = SENSEBUS__V1__HALT__INIT;
    Sensebus__V1__Reset reset = SENSEBUS__V1__RESET__INIT;
    Sensebus__V1__Inquiry inquiry = SENSEBUS__V1__INQUIRY__INIT;
    Sensebus__V1__TestUnitReady ready = SENSEBUS__V1__TEST_UNIT_READY__INIT;
    char *session = (char *)world_any_session(w);

    halt.session_id = reset.session_id = inquiry.session_id = ready.session_id = session;
    reset.lun_reset = chance_percent(&w->chance, 50);
    inquiry.resume = ready.resume = chance_percent(&w->chance, 30);
    switch (chance_below(&w->chance, 4)) {
    case 0:
        request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_HALT;
        request.halt = &halt;
        break;
    case 1:
        request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_RESET;
        request.reset = &reset;
        break;
    case 2:
        request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_INQUIRY;
        request.inquiry = &inquiry;
        break;
    default:
        request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_TEST_UNIT_READY;
        request.test_unit_ready = &ready;
    }
    send_request(w, who, &request);
}

static void ask_small(struct world *w, uint32_t who, bool stop)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__Stop stopping = SENSEBUS__V1__STOP__INIT;
    Sensebus__V1__TmEvent query = SENSEBUS__V1__TM_EVENT__INIT;

    stopping.session_id = query.session_id = (char *)world_any_session(w);
    query.peek = chance_percent(&w->chance, 40);
    request.operation_case =
        stop ? SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_STOP : SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_TM_EVENT;
    if (stop)
        request.stop = &stopping;
    else
        request.tm_event = &query;
    send_request(w, who, &request);
}

static void read_slowly(struct world *w, uint32_t who)
{
    struct sim_subscriber *s = &w->subscribers[who];
    struct timed blocked = {.kind = EVENT_STREAM_BLOCKED, .who = who, .serial = s->serial};
    struct timed writable = {.kind = EVENT_STREAM_WRITABLE, .who = who, .serial = s->serial};

    world_at(w, w->now_ns, blocked, NULL, 0);
    world_at(w, w->now_ns + (1 + chance_below(&w->chance, 3000)) * MS, writable, NULL, 0);
}

void subscriber_acts(struct world *w, uint32_t who)
{
    struct sim_subscriber *s = &w->subscribers[who];
    uint32_t what = chance_below(&w->chance, 100);

    if (!s->open)
        connect_again(w, s);
    else if (what < 22)
        ask_start(w, who);
    else if (what < 45)
        ask_event(w, who);
    else if (what < 52)
        ask_small(w, who, true);
    else if (what < 65)
        ask_small(w, who, false);
    else if (what < 75)
        ask_wait(w, who);
    else if (what < 92)
        ask_command(w, who);
    else if (what < 97)
        read_slowly(w, who);
    else
        disconnect(w, who);
    struct timed next = {.kind = EVENT_SUBSCRIBER_ACTS, .who = who};
    if (!w->ending)
        world_at(w, w->now_ns + (1 + chance_below(&w->chance, 400)) * MS, next, NULL, 0);
}

void subscriber_hears(struct world *w, uint32_t who, const uint8_t *bytes, size_t len)
{
    Sensebus__V1__AdapterReply *reply = sensebus__v1__adapter_reply__unpack(NULL, len, bytes);

    (void)who;
    if (!reply)
        abort(); /* the checker saw it before */
    if (reply->body_case == SENSEBUS__V1__ADAPTER_REPLY__BODY_RESULT &&
        reply->result->value_case == SENSEBUS__V1__RESULT__VALUE_START)
        world_know(w, reply->result->start->session_id);
    sensebus__v1__adapter_reply__free_unpacked(reply, NULL);
}
