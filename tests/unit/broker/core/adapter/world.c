/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/broker/core/adapter/world.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/registry.h"
#include "proto/wire.h"
#include "sensebus/v1/event.pb-c.h"

int sensebus_mutation;

/* The first time is early enough for every test: Criterion runs each in a process of its own. */
static void choose_mutant(void)
{
    const char *chosen = getenv("SENSEBUS_MUTANT");
    sensebus_mutation = chosen ? atoi(chosen) : 0;
}

__attribute__((format(printf, 2, 3))) static void tell(struct world *w, const char *format, ...)
{
    va_list args;
    size_t len = strlen(w->text);
    if (w->is_quiet)
        return;
    va_start(args, format);
    vsnprintf(w->text + len, sizeof w->text - len, format, args);
    va_end(args);
}

void story(struct world *w, const char *expected)
{
    cr_assert_str_eq(w->text, expected, "came out:\n%s\nexpected:\n%s", w->text, expected);
    w->text[0] = '\0';
}

void world_begin(struct world *w, const struct adapter_limits *limits)
{
    choose_mutant();
    memset(w, 0, sizeof *w);
    w->a = adapter_new(limits, 42, 1);
    cr_assert_not_null(w->a);
    w->now_ns = 1000 * MS;
    w->wall_ns = 1769860800ull * 1000000000ull; /* 2026-01-31T12:00:00Z */
    sensebus__v1__device_address__init(&w->full);
    sensebus__v1__device__init(&w->device);
    w->full.host = (char *)"h";
    w->full.adapter = (char *)"a";
    w->full.target = 1;
    w->full.target_name = (char *)"iqn.t";
    w->device.vendor = (char *)"ACME";
    w->device.product = (char *)"DISK";
    w->device.transport = SENSEBUS__V1__TRANSPORT__TRANSPORT_ISCSI;
    w->place = (struct adapter_place){
        .state = ADAPTER_PLACE_OK,
        .address = &w->full,
        .device = &w->device,
        .controller = 3,
        .capabilities = CAN_ALL,
        .own_id = "iqn.self",
    };
}

void world_end(struct world *w)
{
    adapter_free(w->a);
}

/* ---- what comes out */

static const char *short_name(const ProtobufCEnumDescriptor *descriptor, int number, const char *prefix)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(descriptor, number);
    cr_assert_not_null(value, "%s %d", prefix, number);
    return strncmp(value->name, prefix, strlen(prefix)) == 0 ? value->name + strlen(prefix) : value->name;
}

static void tell_ids(struct world *w, const char *what, size_t n, char **ids)
{
    for (size_t i = 0; i < n; i++)
        tell(w, " %s %s", what, ids[i]);
}

static void tell_result(struct world *w, const char *owner, const Sensebus__V1__Result *r)
{
    if (w->on_result)
        w->on_result(w, owner, r);
    w->error = (int)r->error;
    w->detail = (int)r->detail;
    w->n_replies++;
    snprintf(w->message, sizeof w->message, "%s", r->message);
    tell(w, "%s #%" PRIu64 " %s", owner, r->id, short_name(&sensebus__v1__errno__descriptor, (int)r->error, "ERRNO_"));
    if (r->detail)
        tell(w, "/%s", short_name(&sensebus__v1__einval_detail__descriptor, (int)r->detail, "EINVAL_DETAIL_"));
    if (r->error)
        cr_assert(*r->message, "an error that does not say what is wrong");
    switch (r->value_case) {
    case SENSEBUS__V1__RESULT__VALUE_START:
        tell(w, " session %s%s", r->start->session_id, r->start->already_started ? " already started" : "");
        break;
    case SENSEBUS__V1__RESULT__VALUE_TM_EVENT: tell(w, " pending %u", r->tm_event->events); break;
    case SENSEBUS__V1__RESULT__VALUE_WAIT_PRI:
        tell_ids(w, "ready", r->wait_pri->n_ready, r->wait_pri->ready);
        tell_ids(w, "closed", r->wait_pri->n_closed, r->wait_pri->closed);
        break;
    case SENSEBUS__V1__RESULT__VALUE_COMMAND: tell(w, " status %u", r->command->scsi_status); break;
    case SENSEBUS__V1__RESULT__VALUE_IOC_INFO: tell(w, " adapter %s", r->ioc_info->adapter); break;
    default: break;
    }
    tell(w, "\n");
}

/* Whoever reads events takes it. */
static void check_record(const Sensebus__V1__Event *record)
{
    static uint8_t bytes[65536];
    struct event_limits limits = {.allow_broker_fields = true};
    struct event_view view;
    char err[128];
    size_t len = sensebus__v1__event__get_packed_size(record);
    cr_assert_leq(len, sizeof bytes);
    sensebus__v1__event__pack(record, bytes);
    cr_assert_eq(event_scan(bytes, len, &limits, &view, err, sizeof err), 0, "%s", err);
}

static void tell_event(struct world *w, const char *owner, const Sensebus__V1__AdapterEvent *e)
{
    const Sensebus__V1__Event *record = e->record;
    const struct registry_entry *entry = registry_find((uint32_t)record->code);
    if (w->on_event)
        w->on_event(w, owner, e);
    w->record_bits |= e->events;
    tell(w, "%s event %s %s", owner, e->session_id, entry ? entry->name : "?");
    if (record->sequence)
        tell(w, " @%" PRIu64, record->sequence);
    if (record->loss && !record->sequence) {
        cr_assert_eq(record->loss->stage, SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_SUBSCRIPTION);
        cr_assert_eq(record->loss->aix_bits, e->events);
        tell(w, " %" PRIu64, record->loss->count);
    }
    if (record->code == SENSEBUS__V1__CODE__REGISTRATION_CANCELLED)
        tell(w, " %s", record->native->detail);
    if (e->events)
        tell(w, " bits %u", e->events);
    if (e->_correlator_case) {
        tell(w, " corr ");
        for (size_t i = 0; i < e->correlator.len && i < 16; i++)
            tell(w, "%02x", e->correlator.data[i]);
        tell(w, "%s", e->correlator.len ? "" : "empty");
    }
    tell(w, "\n");
    cr_assert_str_eq(e->registered->host, "h");
    check_record(record);
    cr_assert_eq(e->adapter_major, 7);
    cr_assert_eq(e->adapter_minor, 9);
}

static void tell_send(struct world *w, const struct adapter_action *action)
{
    static uint8_t bytes[1 << 20];
    size_t len = action->message->len + (action->tail ? action->tail->len : 0);
    cr_assert_leq(len, sizeof bytes);
    memcpy(bytes, action->message->bytes, action->message->len);
    if (action->tail)
        memcpy(bytes + action->message->len, action->tail->bytes, action->tail->len);
    Sensebus__V1__AdapterReply *m = sensebus__v1__adapter_reply__unpack(NULL, len, bytes);
    cr_assert_not_null(m, "a reply that does not decode");
    cr_assert_eq(action->is_record, m->body_case == SENSEBUS__V1__ADAPTER_REPLY__BODY_EVENT);
    switch (m->body_case) {
    case SENSEBUS__V1__ADAPTER_REPLY__BODY_RESULT: tell_result(w, action->owner, m->result); break;
    case SENSEBUS__V1__ADAPTER_REPLY__BODY_EVENT: tell_event(w, action->owner, m->event); break;
    default:
        tell(w, "%s data %s %zu corr %.*s\n", (const char *)action->owner, m->target_data->session_id,
             m->target_data->data.len, (int)m->target_data->correlator.len,
             (const char *)m->target_data->correlator.data);
        break;
    }
    sensebus__v1__adapter_reply__free_unpacked(m, NULL);
}

static void tell_forward(struct world *w, const struct adapter_action *action)
{
    Sensebus__V1__BrokerMessage *m =
        sensebus__v1__broker_message__unpack(NULL, action->message->len, action->message->bytes);
    cr_assert_not_null(m);
    cr_assert_eq(m->message_case, SENSEBUS__V1__BROKER_MESSAGE__MESSAGE_OPERATION);
    const Sensebus__V1__Operation *op = m->operation;
    if (w->on_forward)
        w->on_forward(w, op);
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(&sensebus__v1__operation__descriptor, op->operation_case);
    cr_assert_neq(op->deadline_ms, 0);
    tell(w, "> %s %s", action->host, field->name);
    if (op->operation_case != SENSEBUS__V1__OPERATION__OPERATION_CLOSE &&
        op->operation_case != SENSEBUS__V1__OPERATION__OPERATION_RELEASE_BUFFERS) {
        w->last_operation = op->id;
        w->kinds[op->id % 1024] = op->operation_case;
        tell(w, " %" PRIu64, op->id);
    }
    if (*op->session_id)
        tell(w, " %s", op->session_id);
    if (op->operation_case == SENSEBUS__V1__OPERATION__OPERATION_OPEN)
        tell(w, " %s:%d:%d:%" PRId64, op->open->address->adapter, op->open->address->bus, op->open->address->target,
             op->open->address->lun);
    if (op->operation_case == SENSEBUS__V1__OPERATION__OPERATION_RESET)
        tell(w, " %s", op->reset->lun_reset ? "lun" : "target");
    tell(w, "\n");
    sensebus__v1__broker_message__free_unpacked(m, NULL);
    if (w->fail_forwards)
        adapter_forward_failed(w->a, action, "the agent does not read", w->now_ns);
}

static void tell_action(struct world *w, const struct adapter_action *action)
{
    switch (action->kind) {
    case ADAPTER_SEND: tell_send(w, action); break;
    case ADAPTER_FORWARD: tell_forward(w, action); break;
    case ADAPTER_ANNOUNCE:
        cr_assert_str_eq(action->host, "h");
        cr_assert_not_null(strstr(action->text, action->session_id));
        tell(w, "log %s %s\n", registry_find((uint32_t)action->code)->name, action->session_id);
        break;
    case ADAPTER_SDI:
        cr_assert_eq(action->where.controller, 3);
        tell(w, "sdi %d %s\n", action->code, action->session_id);
        break;
    }
}

void world_take(struct world *w)
{
    struct adapter_action action;
    if (w->take_nothing)
        return;
    for (int pass = 0; pass < (w->fails_sometimes ? 3 : 1); pass++) {
        while (adapter_take(w->a, &action)) {
            tell_action(w, &action);
            chunk_unref(action.message);
            chunk_unref(action.tail);
        }
    }
}

/* ---- streams */

struct adapter_stream *open_as(struct world *w, const char *owner, const char *principal, unsigned roles)
{
    char err[128];
    int rc = 0;
    struct adapter_stream *stream = adapter_open(w->a, principal, roles, (void *)owner, &rc, err, sizeof err);
    if (!stream && w->fails_sometimes)
        stream = adapter_open(w->a, principal, roles, (void *)owner, &rc, err, sizeof err);
    cr_assert_not_null(stream, "%s", err);
    return stream;
}

void close_stream(struct world *w, struct adapter_stream *stream)
{
    adapter_close(w->a, stream, w->now_ns);
    world_take(w);
}

/* ---- requests */

void ask(struct world *w, struct adapter_stream *stream, Sensebus__V1__AdapterRequest *request)
{
    request->id = ++w->next_id;
    adapter_request(w->a, stream, request, &w->place, w->next_sequence, w->now_ns, w->wall_ns);
    world_take(w);
}

#define REQUEST(kind, member, value)                                                                                   \
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;                                        \
    request.version = 1;                                                                                               \
    request.operation_case = ASK(kind);                                                                                \
    request.member = &(value);                                                                                         \
    ask(w, stream, &request)

void ask_iocinfo(struct world *w, struct adapter_stream *stream)
{
    Sensebus__V1__IocInfo m = SENSEBUS__V1__IOC_INFO__INIT;
    m.host = (char *)"h";
    REQUEST(IOC_INFO, ioc_info, m);
}

void ask_start(struct world *w, struct adapter_stream *stream, int64_t lun, bool shared)
{
    Sensebus__V1__Start m = SENSEBUS__V1__START__INIT;
    Sensebus__V1__DeviceAddress address = SENSEBUS__V1__DEVICE_ADDRESS__INIT;
    address.host = (char *)"h";
    address.target = 1;
    address.lun = lun;
    w->full.lun = lun;
    m.address = &address;
    m.shared = shared;
    REQUEST(START, start, m);
}

void ask_start_target(struct world *w, struct adapter_stream *stream, const char *initiator, const char *correlator)
{
    Sensebus__V1__StartTarget m = SENSEBUS__V1__START_TARGET__INIT;
    Sensebus__V1__DeviceAddress address = SENSEBUS__V1__DEVICE_ADDRESS__INIT, full = w->full;
    address.host = (char *)"h";
    address.target_name = (char *)initiator;
    full.target_name = (char *)initiator;
    full.lun = 0;
    w->place.address = &full;
    m.address = &address;
    m.buffer_bytes = 512;
    m.n_buffers = 16;
    m.correlator.data = (uint8_t *)correlator;
    m.correlator.len = strlen(correlator);
    REQUEST(START_TARGET, start_target, m);
    w->place.address = &w->full;
}

void ask_stop(struct world *w, struct adapter_stream *stream, const char *id)
{
    Sensebus__V1__Stop m = SENSEBUS__V1__STOP__INIT;
    m.session_id = (char *)id;
    REQUEST(STOP, stop, m);
}

void ask_halt(struct world *w, struct adapter_stream *stream, const char *id)
{
    Sensebus__V1__Halt m = SENSEBUS__V1__HALT__INIT;
    m.session_id = (char *)id;
    REQUEST(HALT, halt, m);
}

void ask_reset(struct world *w, struct adapter_stream *stream, const char *id, bool lun)
{
    Sensebus__V1__Reset m = SENSEBUS__V1__RESET__INIT;
    m.session_id = (char *)id;
    m.lun_reset = lun;
    REQUEST(RESET, reset, m);
}

void ask_tur(struct world *w, struct adapter_stream *stream, const char *id, bool resume)
{
    Sensebus__V1__TestUnitReady m = SENSEBUS__V1__TEST_UNIT_READY__INIT;
    m.session_id = (char *)id;
    m.resume = resume;
    REQUEST(TEST_UNIT_READY, test_unit_ready, m);
}

void ask_inquiry(struct world *w, struct adapter_stream *stream, const char *id, bool resume)
{
    Sensebus__V1__Inquiry m = SENSEBUS__V1__INQUIRY__INIT;
    m.session_id = (char *)id;
    m.resume = resume;
    REQUEST(INQUIRY, inquiry, m);
}

void ask_tm_event(struct world *w, struct adapter_stream *stream, const char *id, bool peek)
{
    Sensebus__V1__TmEvent m = SENSEBUS__V1__TM_EVENT__INIT;
    m.session_id = (char *)id;
    m.peek = peek;
    REQUEST(TM_EVENT, tm_event, m);
}

void ask_event(struct world *w, struct adapter_stream *stream, const char *id, const void *correlator, size_t len)
{
    Sensebus__V1__RegisterEvent m = SENSEBUS__V1__REGISTER_EVENT__INIT;
    m.session_id = (char *)id;
    m.mode = SENSEBUS__V1__MODE__MODE_INITIATOR;
    if (correlator) {
        m._correlator_case = SENSEBUS__V1__REGISTER_EVENT___CORRELATOR_CORRELATOR;
        m.correlator.data = (uint8_t *)correlator;
        m.correlator.len = len;
    }
    REQUEST(EVENT, event, m);
}

void ask_event_target(struct world *w, struct adapter_stream *stream, const char *id)
{
    Sensebus__V1__RegisterEvent m = SENSEBUS__V1__REGISTER_EVENT__INIT;
    m.session_id = (char *)id;
    m.mode = SENSEBUS__V1__MODE__MODE_TARGET;
    REQUEST(EVENT, event, m);
}

void ask_wait(struct world *w, struct adapter_stream *stream, int64_t timeout_ms, ...)
{
    Sensebus__V1__WaitPri m = SENSEBUS__V1__WAIT_PRI__INIT;
    char *ids[16];
    va_list args;
    va_start(args, timeout_ms);
    while ((ids[m.n_session_ids] = va_arg(args, char *)))
        m.n_session_ids++;
    va_end(args);
    m.session_ids = ids;
    m.timeout_ms = timeout_ms;
    REQUEST(WAIT_PRI, wait_pri, m);
}

void ask_release(struct world *w, struct adapter_stream *stream, const char *id, uint32_t n)
{
    Sensebus__V1__ReleaseBuffers m = SENSEBUS__V1__RELEASE_BUFFERS__INIT;
    m.session_id = (char *)id;
    m.n_buffers = n;
    REQUEST(RELEASE_BUFFERS, release_buffers, m);
}

/* ---- the agent */

void agent_result(struct world *w, const char *host, Sensebus__V1__OperationResult *result, uint64_t after_sequence)
{
    adapter_result(w->a, host, result, w->place.capabilities, after_sequence, w->next_sequence, w->now_ns);
    world_take(w);
}

static void add_value(struct world *w, Sensebus__V1__OperationResult *result, Sensebus__V1__OpenResult *open,
                      Sensebus__V1__IocInfoResult *ioc_info, Sensebus__V1__CommandResult *command)
{
    switch (w->kinds[result->id % 1024]) {
    case SENSEBUS__V1__OPERATION__OPERATION_OPEN:
    case SENSEBUS__V1__OPERATION__OPERATION_OPEN_TARGET:
        open->reached = &w->device;
        open->controller = 3;
        open->adapter_major = 7;
        open->adapter_minor = 9;
        result->value_case = SENSEBUS__V1__OPERATION_RESULT__VALUE_OPEN;
        result->open = open;
        break;
    case SENSEBUS__V1__OPERATION__OPERATION_IOC_INFO:
        ioc_info->adapter = (char *)"a";
        result->value_case = SENSEBUS__V1__OPERATION_RESULT__VALUE_IOC_INFO;
        result->ioc_info = ioc_info;
        break;
    case SENSEBUS__V1__OPERATION__OPERATION_INQUIRY:
    case SENSEBUS__V1__OPERATION__OPERATION_TEST_UNIT_READY:
        result->value_case = SENSEBUS__V1__OPERATION_RESULT__VALUE_COMMAND;
        result->command = command;
        break;
    default: break;
    }
}

static void succeed(struct world *w, uint64_t operation, uint64_t after_sequence)
{
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;
    Sensebus__V1__OpenResult open = SENSEBUS__V1__OPEN_RESULT__INIT;
    Sensebus__V1__IocInfoResult ioc_info = SENSEBUS__V1__IOC_INFO_RESULT__INIT;
    Sensebus__V1__CommandResult command = SENSEBUS__V1__COMMAND_RESULT__INIT;
    result.id = operation;
    add_value(w, &result, &open, &ioc_info, &command);
    agent_result(w, "h", &result, after_sequence);
}

void agent_ok(struct world *w, uint64_t operation)
{
    succeed(w, operation, 0);
}

void agent_ok_after(struct world *w, uint64_t operation, uint64_t after_sequence)
{
    succeed(w, operation, after_sequence);
}

void agent_fails(struct world *w, uint64_t operation, Sensebus__V1__Errno error)
{
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;
    result.id = operation;
    result.error = error;
    result.message = (char *)"the agent says no";
    agent_result(w, "h", &result, 0);
}

void agent_data(struct world *w, const char *id, uint64_t generation, size_t len)
{
    uint8_t bytes[8192] = {1, 2, 3};
    Sensebus__V1__TargetReceived m = SENSEBUS__V1__TARGET_RECEIVED__INIT;
    m.session_id = (char *)id;
    m.generation = generation;
    m.data.data = bytes;
    m.data.len = len;
    adapter_target_received(w->a, "h", &m, w->now_ns);
    world_take(w);
}

void started(struct world *w, struct adapter_stream *stream, int64_t lun)
{
    ask_start(w, stream, lun, false);
    agent_ok(w, w->last_operation);
    cr_assert_eq(w->error, 0, "%s", w->message);
    w->text[0] = '\0';
}

void registered(struct world *w, struct adapter_stream *stream, const char *id)
{
    ask_event(w, stream, id, "\xab", 1);
    agent_ok(w, w->last_operation);
    cr_assert_eq(w->error, 0, "%s", w->message);
    w->text[0] = '\0';
}

/* ---- the log */

bool record_comes(struct world *w, const struct record *r)
{
    const struct registry_entry *entry = registry_find(r->code);
    Sensebus__V1__Event event = SENSEBUS__V1__EVENT__INIT;
    Sensebus__V1__Origin origin = SENSEBUS__V1__ORIGIN__INIT;
    Sensebus__V1__Address address = SENSEBUS__V1__ADDRESS__INIT;
    Sensebus__V1__Device device = SENSEBUS__V1__DEVICE__INIT;
    Sensebus__V1__Loss loss = SENSEBUS__V1__LOSS__INIT;
    origin.host = (char *)(r->host ? r->host : "h");
    origin.source = (Sensebus__V1__Source)r->source;
    address.adapter = (char *)(r->adapter ? r->adapter : "a");
    address.bus = r->bus;
    address.target = r->target ? r->target : 1;
    address.lun = r->lun;
    event.sequence = ++w->next_sequence;
    event.wall_time_unix_ns = w->wall_ns + w->next_sequence;
    event.code = (Sensebus__V1__Code)r->code;
    event.scope = (Sensebus__V1__Scope)r->scope;
    event.aix_bits = r->bits >= 0 ? (uint32_t)r->bits : entry ? entry->aix_bits : 0;
    event.origin = &origin;
    event.address = &address;
    event.session_generation = r->session_generation;
    if (r->session_id)
        event.session_id = (char *)r->session_id;
    if (r->target_name) {
        device.target_name = (char *)r->target_name;
        event.device = &device;
    }
    if (r->loss_bits) {
        loss.stage = SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_AGENT;
        loss.count = 1;
        loss.aix_bits = r->loss_bits;
        event.loss = &loss;
    }
    struct chunk *record = chunk_new(sensebus__v1__event__get_packed_size(&event));
    if (!record)
        record = chunk_new(sensebus__v1__event__get_packed_size(&event));
    record->len = sensebus__v1__event__pack(&event, record->bytes);
    struct event_limits limits = {.allow_broker_fields = true};
    struct event_view view;
    char err[128];
    cr_assert_eq(event_scan(record->bytes, record->len, &limits, &view, err, sizeof err), 0, "%s", err);
    bool looked = adapter_record(w->a, &view, record, w->now_ns);
    chunk_unref(record);
    world_take(w);
    adapter_delivered(w->a, w->next_sequence, w->now_ns);
    world_take(w);
    return looked;
}

void unit_reset(struct world *w, int64_t lun)
{
    record_comes(w, &(struct record){.code = SENSEBUS__V1__CODE__LUN_RESET, .lun = lun, .bits = -1});
}

void tick_to(struct world *w, uint64_t now_ns)
{
    w->now_ns = now_ns;
    adapter_tick(w->a, now_ns);
    world_take(w);
}
