/* SPDX-License-Identifier: Apache-2.0 */
/* The service without a network: calls, the gate, agents and the log's announcements are replaced at link time, so that
 * queues can be full and sends can fail when a test says so. */
#include "broker/service/adapter.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/access.h"
#include "broker/core/directory.h"
#include "broker/engine/commit.h"
#include "broker/service/announce.h"
#include "broker/service/gate.h"
#include "broker/service/operations.h"
#include "broker/service/sdi.h"
#include "proto/grpc/grpc.h"
#include "tests/lib/failing_alloc.h"
#include "tests/lib/loop.h"

#define MAX_REPLIES 4096

/* ------------------------------------------------------------------------------------------------ what is replaced */

struct grpc_call {
    const struct grpc_call_ops *ops;
    void *data;
    bool is_full, is_paused;
    int send_fails; /* with this, once */
    int status;     /* -1 until finished */
    char reason[256];
    Sensebus__V1__AdapterReply *replies[MAX_REPLIES];
    size_t n;
};

static struct test_loop loop;
static struct directory directory;
static struct commit commit;
static struct adapter_service service;
static const struct grpc_method *methods;
static struct grpc_call call;
static uint64_t operation_id; /* of the newest operation that was forwarded */
static size_t n_forwarded;
static bool agent_is_deaf;
static char events[64]; /* of the session's stream: codes in short */

int __wrap_grpc_server_add(struct grpc_server *server, const struct grpc_method *list, size_t n, void *data);
void __wrap_grpc_call_accept(struct grpc_call *c, const struct grpc_call_ops *ops, void *data);
int __wrap_grpc_call_send(struct grpc_call *c, const struct slice *parts, size_t n);
bool __wrap_grpc_call_writable(struct grpc_call *c);
size_t __wrap_grpc_call_queued_bytes(const struct grpc_call *c);
void __wrap_grpc_call_pause(struct grpc_call *c);
void __wrap_grpc_call_resume(struct grpc_call *c);
__attribute__((format(printf, 3, 4))) void __wrap_grpc_call_finish(struct grpc_call *c, int status, const char *format,
                                                                   ...);
bool __wrap_gate_admit(struct broker *b, struct grpc_call *c, unsigned any_of, struct access_principal *out);
int __wrap_operations_forward(const struct directory *d, const struct adapter_action *action, char *reason, size_t len);
int __wrap_announce_session(struct broker *b, Sensebus__V1__Code code, const struct announce_session *session);
void __wrap_sdi_service_device_event(struct broker *b, int32_t type, const char *host, const struct adapter_where *at);

int __wrap_grpc_server_add(struct grpc_server *server, const struct grpc_method *list, size_t n, void *data)
{
    (void)server, (void)n, (void)data;
    methods = list;
    return 0;
}

void __wrap_grpc_call_accept(struct grpc_call *c, const struct grpc_call_ops *ops, void *data)
{
    c->ops = ops;
    c->data = data;
}

int __wrap_grpc_call_send(struct grpc_call *c, const struct slice *parts, size_t n)
{
    uint8_t bytes[16384];
    size_t len = 0;
    int rc = c->send_fails;

    c->send_fails = 0;
    if (rc)
        return rc;
    for (size_t i = 0; i < n; i++) {
        cr_assert(len + parts[i].len <= sizeof bytes);
        memcpy(bytes + len, parts[i].ptr, parts[i].len);
        len += parts[i].len;
    }
    cr_assert(c->n < MAX_REPLIES);
    c->replies[c->n] = sensebus__v1__adapter_reply__unpack(NULL, len, bytes);
    cr_assert_not_null(c->replies[c->n]);
    c->n++;
    return 0;
}

bool __wrap_grpc_call_writable(struct grpc_call *c)
{
    return !c->is_full;
}

size_t __wrap_grpc_call_queued_bytes(const struct grpc_call *c)
{
    (void)c;
    return 4711;
}

void __wrap_grpc_call_pause(struct grpc_call *c)
{
    c->is_paused = true;
}

void __wrap_grpc_call_resume(struct grpc_call *c)
{
    c->is_paused = false;
}

void __wrap_grpc_call_finish(struct grpc_call *c, int status, const char *format, ...)
{
    va_list args;

    if (c->status != -1)
        return;
    c->status = status;
    va_start(args, format);
    vsnprintf(c->reason, sizeof c->reason, format, args);
    va_end(args);
}

bool __wrap_gate_admit(struct broker *b, struct grpc_call *c, unsigned any_of, struct access_principal *out)
{
    (void)b, (void)c, (void)any_of;
    *out = (struct access_principal){.name = "me", .roles = ACCESS_ALL};
    return true;
}

int __wrap_operations_forward(const struct directory *d, const struct adapter_action *action, char *reason, size_t len)
{
    Sensebus__V1__BrokerMessage *m =
        sensebus__v1__broker_message__unpack(NULL, action->message->len, action->message->bytes);

    (void)d;
    operation_id = m->operation->id;
    n_forwarded++;
    sensebus__v1__broker_message__free_unpacked(m, NULL);
    if (agent_is_deaf)
        snprintf(reason, len, "it does not read");
    return agent_is_deaf ? UV_ENOBUFS : 0;
}

int __wrap_announce_session(struct broker *b, Sensebus__V1__Code code, const struct announce_session *session)
{
    (void)b, (void)code, (void)session;
    return 0;
}

void __wrap_sdi_service_device_event(struct broker *b, int32_t type, const char *host, const struct adapter_where *at)
{
    (void)b, (void)type, (void)host, (void)at;
}

/* ------------------------------------------------------------------------------------------------ one of everything */

static void add_agent(void)
{
    static char *can[] = {(char *)"event", (char *)"halt"};
    static int stream;
    Sensebus__V1__AdapterCapabilities adapter = SENSEBUS__V1__ADAPTER_CAPABILITIES__INIT,
                                      other = SENSEBUS__V1__ADAPTER_CAPABILITIES__INIT,
                                      *adapters[] = {&adapter, &other};
    Sensebus__V1__InventoryDevice device = SENSEBUS__V1__INVENTORY_DEVICE__INIT, *devices[] = {&device};
    Sensebus__V1__Address address = SENSEBUS__V1__ADDRESS__INIT;
    Sensebus__V1__Inventory inventory = SENSEBUS__V1__INVENTORY__INIT;
    Sensebus__V1__Hello hello = SENSEBUS__V1__HELLO__INIT;
    struct directory_agent *agent;
    char err[256];
    void *old;

    hello.host = (char *)"h";
    hello.adapters = adapters;
    hello.n_adapters = 2;
    inventory.n_devices = 1;
    other.adapter = (char *)"b";
    other.capabilities = can;
    other.n_capabilities = 1;
    adapter.adapter = address.adapter = (char *)"a";
    adapter.capabilities = can;
    adapter.n_capabilities = 2;
    device.address = &address;
    inventory.devices = devices;
    directory_init(&directory, 0, 0, 0);
    cr_assert_eq(directory_attach(&directory, &hello, "p", &stream, 1, &agent, &old, err, sizeof err),
                 DIRECTORY_ACCEPT);
    cr_assert_eq(directory_inventory(&directory, agent, &inventory, err, sizeof err), 0);
}

static void setup(void)
{
    struct adapter_outside outside = {.directory = &directory, .commit = &commit};

    test_loop_init(&loop);
    outside.loop = &loop.loop;
    add_agent();
    commit.newest = 10;
    cr_assert_eq(adapter_service_start(&service, &outside, &(struct adapter_limits){0}, 10, 0), 0);
    call = (struct grpc_call){.status = -1};
    methods[0].on_start(&call, &service);
    cr_assert_not_null(call.ops);
}

static void hang_up(void)
{
    if (call.ops)
        call.ops->on_close(&call, call.data, GRPC_CANCELLED, "");
    call.ops = NULL;
    for (size_t i = 0; i < call.n; i++)
        sensebus__v1__adapter_reply__free_unpacked(call.replies[i], NULL);
    call.n = 0;
}

static void teardown(void)
{
    hang_up();
    adapter_service_close(&service);
    adapter_service_deinit(&service);
    directory_deinit(&directory);
    test_loop_deinit(&loop);
}

TestSuite(adapter_service, .init = setup, .fini = teardown);

static void say(const Sensebus__V1__AdapterRequest *request)
{
    uint8_t bytes[1024];
    size_t len = sensebus__v1__adapter_request__pack(request, bytes);

    call.ops->on_message(&call, call.data, bytes, len);
}

static const Sensebus__V1__AdapterReply *newest(void)
{
    cr_assert(call.n > 0);
    return call.replies[call.n - 1];
}

/* START is answered: it is on that adapter. */
static void answer_found(const char *adapter)
{
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;
    Sensebus__V1__OpenResult open = SENSEBUS__V1__OPEN_RESULT__INIT;
    Sensebus__V1__DeviceAddress address = SENSEBUS__V1__DEVICE_ADDRESS__INIT;

    address.host = (char *)"h";
    address.adapter = (char *)adapter;
    open.address = &address;
    result.id = operation_id;
    result.value_case = SENSEBUS__V1__OPERATION_RESULT__VALUE_OPEN;
    result.open = &open;
    adapter_service_result(&service, "h", &result, false);
}

static void answer_ok(void)
{
    answer_found("a");
}

static void ask_start(uint64_t id)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__Start start = SENSEBUS__V1__START__INIT;
    Sensebus__V1__DeviceAddress address = SENSEBUS__V1__DEVICE_ADDRESS__INIT;

    address.host = (char *)"h";
    start.address = &address;
    request.version = 1;
    request.id = id;
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_START;
    request.start = &start;
    say(&request);
}

static void ask_tm_event(uint64_t id, const char *session)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__TmEvent tm_event = SENSEBUS__V1__TM_EVENT__INIT;

    tm_event.session_id = (char *)session;
    request.version = 1;
    request.id = id;
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_TM_EVENT;
    request.tm_event = &tm_event;
    say(&request);
}

static Sensebus__V1__Errno ask_halt(uint64_t id, const char *session)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__Halt halt = SENSEBUS__V1__HALT__INIT;
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;

    halt.session_id = (char *)session;
    request.version = 1;
    request.id = id;
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_HALT;
    request.halt = &halt;
    say(&request);
    result.id = operation_id;
    adapter_service_result(&service, "h", &result, false);
    return newest()->result->error;
}

/* START and EVENT, answered; the id of the session. */
static const char *registered(void)
{
    static char session[64];
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__RegisterEvent event = SENSEBUS__V1__REGISTER_EVENT__INIT;
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;

    ask_start(1);
    answer_ok();
    cr_assert_eq(newest()->result->error, SENSEBUS__V1__ERRNO__ERRNO_OK);
    snprintf(session, sizeof session, "%s", newest()->result->start->session_id);
    event.session_id = session;
    event.mode = SENSEBUS__V1__MODE__MODE_INITIATOR;
    request.version = 1;
    request.id = 2;
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_EVENT;
    request.event = &event;
    say(&request);
    result.id = operation_id;
    adapter_service_result(&service, "h", &result, false);
    cr_assert_eq(newest()->result->error, SENSEBUS__V1__ERRNO__ERRNO_OK);
    return session;
}

/* A committed event of the unit. */
static void tell_of(uint64_t sequence, const char *host, Sensebus__V1__Code code)
{
    static uint8_t bytes[512];
    static const struct event_limits stored = {.allow_broker_fields = true};
    Sensebus__V1__Event event = SENSEBUS__V1__EVENT__INIT;
    Sensebus__V1__Origin origin = SENSEBUS__V1__ORIGIN__INIT;
    Sensebus__V1__Address address = SENSEBUS__V1__ADDRESS__INIT;
    struct event_view view;
    char err[256];

    address.adapter = (char *)"a";
    origin.host = (char *)host;
    event.sequence = sequence;
    event.code = code;
    event.scope = SENSEBUS__V1__SCOPE__SCOPE_LUN;
    event.aix_bits = 4;
    event.origin = &origin;
    event.address = &address;
    size_t len = sensebus__v1__event__pack(&event, bytes);
    cr_assert_eq(event_scan(bytes, len, &stored, &view, err, sizeof err), 0, "%s", err);
    adapter_service_record(&service, &view);
}

static void tell(uint64_t sequence)
{
    tell_of(sequence, "h", SENSEBUS__V1__CODE__LUN_RESET);
}

static const char *told(void)
{
    events[0] = 0;
    for (size_t i = 0; i < call.n; i++) {
        if (call.replies[i]->body_case != SENSEBUS__V1__ADAPTER_REPLY__BODY_EVENT)
            continue;
        const Sensebus__V1__Event *e = call.replies[i]->event->record;
        size_t len = strlen(events);
        snprintf(events + len, sizeof events - len, " %s",
                 e->code == SENSEBUS__V1__CODE__LUN_RESET                ? "reset"
                 : e->code == SENSEBUS__V1__CODE__EVENTS_LOST            ? "lost"
                 : e->code == SENSEBUS__V1__CODE__REGISTRATION_CANCELLED ? "cancelled"
                                                                         : "?");
    }
    return events;
}

/* ------------------------------------------------------------------------------------------------ the log */

Test(adapter_service, a_record_is_told_once)
{
    registered();
    tell(11);
    tell(11); /* the status had no memory for it, and folds it again */
    tell(12);
    tell(11);
    cr_assert_str_eq(told(), " reset reset");
}

/* Rule 16: no bit is lost without a word, also when the log itself cannot be read. */
Test(adapter_service, what_cannot_be_read_is_told_with_every_bit_it_may_have_had)
{
    registered();
    tell(11);
    adapter_service_lost(&service, 12, 14, SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_STORE, 0xf,
                         "a damaged range of the log");
    adapter_service_lost(&service, 12, 14, SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_STORE, 0xf,
                         "a damaged range of the log");
    cr_assert_str_eq(told(), " reset lost");
    const Sensebus__V1__AdapterEvent *event = newest()->event;
    cr_assert_eq(event->events, 7); /* rule 22: not BUFFERS_EXHAUSTED, of an initiator */
    cr_assert_eq(event->record->loss->count, 0, "of which hosts they were is not known");
    cr_assert(event->record->loss->at_least);
    cr_assert_str_eq(event->record->loss->reason, "a damaged range of the log: 3 records of all hosts");
    cr_assert_eq(event->record->loss->stage, SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_STORE);
    cr_assert_eq(service.n_lost_ranges, 1);
    tell(13);
    tell(15);
    cr_assert_str_eq(told(), " reset lost reset");
}

Test(adapter_service, a_record_without_memory_is_told_as_lost)
{
    registered();
    failing_alloc_after(0);
    tell(11);
    cr_assert(failing_alloc_stop());
    cr_assert_str_eq(told(), " lost");
    cr_assert_eq(newest()->event->events, 4);
    cr_assert_eq(newest()->event->record->loss->count, 1);
    cr_assert(!newest()->event->record->loss->at_least);
    cr_assert_eq(newest()->event->record->loss->stage, SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_SUBSCRIPTION);
}

Test(adapter_service, a_record_without_memory_is_nobody_elses_loss)
{
    const char *session = registered();
    failing_alloc_after(0);
    tell_of(11, "other", SENSEBUS__V1__CODE__LUN_RESET);
    cr_assert(failing_alloc_stop());
    cr_assert_str_eq(told(), "");
    ask_tm_event(3, session);
    cr_assert_eq(newest()->result->tm_event->events, 0);
}

Test(adapter_service, a_removal_without_memory_ends_the_session)
{
    registered();
    failing_alloc_after(0);
    tell_of(11, "h", SENSEBUS__V1__CODE__DEVICE_REMOVED);
    cr_assert(failing_alloc_stop());
    cr_assert_str_eq(told(), " lost cancelled");
    cr_assert(!adapter_service_listens(&service));
}

Test(adapter_service, nothing_is_looked_at_while_no_session_is_open)
{
    failing_alloc_after(0);
    tell(11);
    adapter_service_lost(&service, 12, 14, SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_STORE, 0xf, "a damaged range");
    cr_assert(!failing_alloc_stop());
    cr_assert_eq(service.n_lost_ranges, 0);
    cr_assert_eq(service.delivered, 14);
}

/* ------------------------------------------------------------------------------------------------ capabilities */

/* Rule 12: of the adapter that the agent found it on, wherever it was asked for. */
Test(adapter_service, a_session_can_what_the_adapter_can_that_it_is_on)
{
    char session[64];

    ask_start(1);
    answer_found("b");
    snprintf(session, sizeof session, "%s", newest()->result->start->session_id);
    cr_assert_eq(ask_halt(2, session), SENSEBUS__V1__ERRNO__ERRNO_ENXIO);
    ask_start(3);
    answer_found("a");
    snprintf(session, sizeof session, "%s", newest()->result->start->session_id);
    cr_assert_eq(ask_halt(4, session), SENSEBUS__V1__ERRNO__ERRNO_OK);
}

/* ------------------------------------------------------------------------------------------------ full queues */

Test(adapter_service, requests_wait_in_order_while_replies_are_not_taken)
{
    const char *session = registered();

    call.is_full = true;
    ask_tm_event(10, session); /* read before it was known */
    size_t n = call.n;
    cr_assert_eq(newest()->result->id, 10);
    for (uint64_t id = 11; id <= 20; id++)
        ask_tm_event(id, session);
    tell(11);
    cr_assert_eq(call.n, n);
    cr_assert(call.is_paused);
    call.is_full = false;
    call.ops->on_writable(&call, call.data);
    cr_assert_str_eq(told(), " reset");
    cr_assert_eq(call.n, n + 1 + 10);
    for (uint64_t id = 11; id <= 20; id++)
        cr_assert_eq(call.replies[n + id - 10]->result->id, id);
    cr_assert(!call.is_paused);
}

Test(adapter_service, requests_that_wait_have_a_bound)
{
    static uint8_t big[1 << 20];

    ask_start(1);
    call.is_full = true;
    answer_ok();
    for (unsigned i = 0; i < 7; i++)
        call.ops->on_message(&call, call.data, big, sizeof big);
    cr_assert_eq(call.status, -1);
    call.ops->on_message(&call, call.data, big, sizeof big);
    cr_assert_eq(call.status, GRPC_RESOURCE_EXHAUSTED);
    cr_assert_not_null(strstr(call.reason, "requests wait"));
}

/* One principal with many streams has no more than its share. */
Test(adapter_service, requests_that_wait_have_a_bound_for_each_principal)
{
    static struct grpc_call calls[6];
    static uint8_t big[1 << 20];
    size_t held = 0;

    for (size_t i = 0; i < 6; i++) {
        calls[i] = (struct grpc_call){.status = -1, .is_full = true};
        methods[0].on_start(&calls[i], &service);
        for (unsigned k = 0; k < 8 && calls[i].status == -1; k++) /* the first is answered, and fills the queue */
            calls[i].ops->on_message(&calls[i], calls[i].data, big, sizeof big);
        if (calls[i].status == -1)
            held += 7;
        else
            cr_assert_not_null(strstr(calls[i].reason, "on all streams of me"), "%s", calls[i].reason);
    }
    cr_assert_leq(held, ADAPTER_MAX_HELD_PRINCIPAL >> 20);
    cr_assert_geq(held, 16);
    for (size_t i = 0; i < 6; i++) {
        calls[i].ops->on_close(&calls[i], calls[i].data, GRPC_CANCELLED, "");
        for (size_t k = 0; k < calls[i].n; k++)
            sensebus__v1__adapter_reply__free_unpacked(calls[i].replies[k], NULL);
    }
}

/* A stream that ended counts until its last reply was read: else a client that reads nothing gathers them. */
Test(adapter_service, streams_that_ended_and_are_not_read_have_a_bound)
{
    static struct grpc_call calls[ADAPTER_MAX_ENDED_PRINCIPAL + 2];
    static const size_t n = ADAPTER_MAX_ENDED_PRINCIPAL;

    for (size_t i = 0; i <= n; i++) {
        calls[i] = (struct grpc_call){.status = -1};
        methods[0].on_start(&calls[i], &service);
        if (calls[i].ops)
            calls[i].ops->on_half_close(&calls[i], calls[i].data);
        cr_assert_eq(calls[i].status, i < n ? GRPC_OK : GRPC_RESOURCE_EXHAUSTED);
    }
    cr_assert_str_eq(calls[n].reason, "256 streams of me have ended, and their last replies are not read");
    calls[0].ops->on_close(&calls[0], calls[0].data, GRPC_OK, "");
    calls[n + 1].status = -1;
    methods[0].on_start(&calls[n + 1], &service);
    cr_assert_eq(calls[n + 1].status, -1);
    for (size_t i = 1; i <= n + 1; i++)
        if (calls[i].ops)
            calls[i].ops->on_close(&calls[i], calls[i].data, GRPC_OK, "");
}

Test(adapter_service, a_reply_that_finds_no_room_ends_the_call_and_its_sessions)
{
    const char *session = registered();
    size_t n = n_forwarded;
    struct adapter_counters counters;

    call.send_fails = UV_ENOBUFS;
    ask_tm_event(3, session);
    cr_assert_eq(call.status, GRPC_RESOURCE_EXHAUSTED);
    cr_assert_str_eq(call.reason, "4711 bytes of replies wait, and are not read");
    adapter_counters(service.core, &counters);
    cr_assert_eq(counters.sessions_open, 0);
    cr_assert_eq(counters.streams_open, 0);
    cr_assert_eq(n_forwarded, n + 1); /* the agent hears that the session is closed */
}

/* ------------------------------------------------------------------------------------------------ agents, the end */

Test(adapter_service, an_agent_that_takes_nothing_is_eio)
{
    agent_is_deaf = true;
    ask_start(1);
    agent_is_deaf = false;
    cr_assert_eq(newest()->result->error, SENSEBUS__V1__ERRNO__ERRNO_EIO);
    cr_assert_not_null(strstr(newest()->result->message, "does not read"));
}

Test(adapter_service, a_closed_side_ends_the_open_when_all_is_answered)
{
    ask_start(1);
    call.ops->on_half_close(&call, call.data);
    cr_assert_eq(call.status, -1);
    answer_ok();
    cr_assert_eq(call.status, GRPC_OK);
}

/* Rule 5: what is queued, then the cancellation, then the status; also for who is slow. */
Test(adapter_service, a_stop_waits_for_a_slow_stream)
{
    registered();
    call.is_full = true;
    tell(11);
    tell(12);
    adapter_service_stop(&service);
    cr_assert_str_eq(told(), " reset"); /* the one that filled the queue */
    cr_assert_eq(call.status, -1);
    call.is_full = false;
    call.ops->on_writable(&call, call.data);
    cr_assert_str_eq(told(), " reset reset cancelled");
    cr_assert_eq(call.status, GRPC_UNAVAILABLE);
    struct grpc_call late = {.status = -1};
    methods[0].on_start(&late, &service);
    cr_assert_eq(late.status, GRPC_UNAVAILABLE);
}
