/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/clients/c/face/fake_face.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sensebus/v1/adapter.pb-c.h"
#include "sensebus/v1/sdi.pb-c.h"

static void send_message(struct grpc_call *call, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = malloc(len + 1);
    protobuf_c_message_pack(message, bytes);
    grpc_call_send(call, &(struct slice){.ptr = bytes, .len = len}, 1);
    free(bytes);
}

/* ------------------------------------------------------------------------------------------------ records */

static void send_record(struct grpc_call *call, const char *session, uint32_t events, int code, size_t summary_len)
{
    Sensebus__V1__AdapterReply reply = SENSEBUS__V1__ADAPTER_REPLY__INIT;
    Sensebus__V1__AdapterEvent event = SENSEBUS__V1__ADAPTER_EVENT__INIT;
    Sensebus__V1__DeviceAddress address = SENSEBUS__V1__DEVICE_ADDRESS__INIT;
    Sensebus__V1__Event record = SENSEBUS__V1__EVENT__INIT;
    static char summary[1001];
    memset(summary, 'x', 1000);
    address.host = "db-07";
    address.adapter = "iscsi0";
    address.target_name = "iqn.test:t0";
    address.bus = -1;
    address.lun = 3;
    record.sequence = 17;
    record.code = (Sensebus__V1__Code)code;
    record.summary = summary_len ? summary : "bus device reset";
    record.origin_session = "s9";
    record.severity = SENSEBUS__V1__SEVERITY__SEVERITY_NOTICE;
    event.session_id = (char *)session;
    event.generation = 5;
    event.registered = &address;
    event.mode = SENSEBUS__V1__MODE__MODE_INITIATOR;
    event.events = events;
    event.adapter_major = 24;
    event.adapter_minor = 1;
    event.record = &record;
    event._correlator_case = SENSEBUS__V1__ADAPTER_EVENT___CORRELATOR_CORRELATOR;
    event.correlator = (ProtobufCBinaryData){3, (uint8_t *)"\0\xff\x7f"};
    reply.body_case = SENSEBUS__V1__ADAPTER_REPLY__BODY_EVENT;
    reply.event = &event;
    send_message(call, &reply.base);
}

static void send_data(struct grpc_call *call, const char *session, const char *text)
{
    Sensebus__V1__AdapterReply reply = SENSEBUS__V1__ADAPTER_REPLY__INIT;
    Sensebus__V1__TargetData data = SENSEBUS__V1__TARGET_DATA__INIT;
    data.session_id = (char *)session;
    data.generation = 5;
    data.correlator = (ProtobufCBinaryData){1, (uint8_t *)"c"};
    data.data = (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
    reply.body_case = SENSEBUS__V1__ADAPTER_REPLY__BODY_TARGET_DATA;
    reply.target_data = &data;
    send_message(call, &reply.base);
}

/* ------------------------------------------------------------------------------------------------ operations */

/* What the request says is to be done. */
static const char *script_of(const Sensebus__V1__AdapterRequest *r)
{
    switch (r->operation_case) {
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_IOC_INFO: return r->ioc_info->host;
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_START: return r->start->address->host;
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_START_TARGET: return r->start_target->address->host;
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_STOP: return r->stop->session_id;
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_HALT: return r->halt->session_id;
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_RESET: return r->reset->session_id;
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_EVENT: return r->event->session_id;
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_TM_EVENT: return r->tm_event->session_id;
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_WAIT_PRI: return r->wait_pri->session_ids[0];
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_INQUIRY: return r->inquiry->session_id;
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_TEST_UNIT_READY: return r->test_unit_ready->session_id;
    default: return "";
    }
}

static bool begins(const char *text, const char *word)
{
    return strncmp(text, word, strlen(word)) == 0;
}

struct answer {
    Sensebus__V1__AdapterReply reply;
    Sensebus__V1__Result result;
    Sensebus__V1__IocInfoResult ioc_info;
    Sensebus__V1__StartResult start;
    Sensebus__V1__DeviceAddress address;
    Sensebus__V1__Device device;
    Sensebus__V1__TmEventResult tm_event;
    Sensebus__V1__WaitPriResult wait_pri;
    Sensebus__V1__CommandResult command;
    Sensebus__V1__Sense sense;
    char *capabilities[3], *ready[1], *closed[1];
};

static void fill_start(struct answer *a, const Sensebus__V1__DeviceAddress *wanted)
{
    sensebus__v1__start_result__init(&a->start);
    a->address = *wanted;
    a->address.adapter = "iscsi0";
    sensebus__v1__device__init(&a->device);
    a->device.vendor = "LIO-ORG";
    a->device.target_name = wanted->target_name;
    a->start.session_id = wanted->target_name;
    a->start.generation = 5;
    a->start.address = &a->address;
    a->start.reached = &a->device;
    a->result.value_case = SENSEBUS__V1__RESULT__VALUE_START;
    a->result.start = &a->start;
}

static void fill_command(struct answer *a)
{
    sensebus__v1__command_result__init(&a->command);
    sensebus__v1__sense__init(&a->sense);
    a->sense.key = 6;
    a->sense.asc = 0x29;
    a->sense.ascq = 3;
    a->sense.raw = (ProtobufCBinaryData){4, (uint8_t *)"\x70\0\6\0"};
    a->command.scsi_status = 2;
    a->command.sense = &a->sense;
    a->command.data = (ProtobufCBinaryData){8, (uint8_t *)"12345678"};
    a->result.value_case = SENSEBUS__V1__RESULT__VALUE_COMMAND;
    a->result.command = &a->command;
}

static void fill_ioc_info(struct answer *a)
{
    sensebus__v1__ioc_info_result__init(&a->ioc_info);
    a->ioc_info.adapter = "iscsi0";
    a->ioc_info.major = 24;
    a->ioc_info.minor = 1;
    a->ioc_info.maximum_transfer_bytes = 1 << 20;
    a->ioc_info.transport = SENSEBUS__V1__TRANSPORT__TRANSPORT_ISCSI;
    a->ioc_info.own_id = "iqn.test:host";
    a->capabilities[0] = "event";
    a->capabilities[1] = "of-later";
    a->capabilities[2] = "reset-lun";
    a->ioc_info.capabilities = a->capabilities;
    a->ioc_info.n_capabilities = 3;
    a->result.value_case = SENSEBUS__V1__RESULT__VALUE_IOC_INFO;
    a->result.ioc_info = &a->ioc_info;
}

static void fill_wait(struct answer *a, const Sensebus__V1__WaitPri *wait)
{
    sensebus__v1__wait_pri_result__init(&a->wait_pri);
    for (size_t i = 0; i < wait->n_session_ids; i++) {
        if (begins(wait->session_ids[i], "events:")) {
            a->ready[0] = wait->session_ids[i];
            a->wait_pri.ready = a->ready;
            a->wait_pri.n_ready = 1;
        } else if (begins(wait->session_ids[i], "gone")) {
            a->closed[0] = wait->session_ids[i];
            a->wait_pri.closed = a->closed;
            a->wait_pri.n_closed = 1;
        }
    }
    a->result.value_case = SENSEBUS__V1__RESULT__VALUE_WAIT_PRI;
    a->result.wait_pri = &a->wait_pri;
}

static void fill_value(struct answer *a, const Sensebus__V1__AdapterRequest *r, const char *script)
{
    switch (r->operation_case) {
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_IOC_INFO: fill_ioc_info(a); break;
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_START: fill_start(a, r->start->address); break;
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_START_TARGET: fill_start(a, r->start_target->address); break;
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_TM_EVENT:
        sensebus__v1__tm_event_result__init(&a->tm_event);
        a->tm_event.events = begins(script, "events:") ? (uint32_t)atoi(script + 7) : 0;
        a->result.value_case = SENSEBUS__V1__RESULT__VALUE_TM_EVENT;
        a->result.tm_event = &a->tm_event;
        break;
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_WAIT_PRI: fill_wait(a, r->wait_pri); break;
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_INQUIRY:
    case SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_TEST_UNIT_READY: fill_command(a); break;
    default: break;
    }
}

static void answer(struct grpc_call *call, const Sensebus__V1__AdapterRequest *r, const char *script)
{
    struct answer a = {0};
    sensebus__v1__adapter_reply__init(&a.reply);
    sensebus__v1__result__init(&a.result);
    a.reply.body_case = SENSEBUS__V1__ADAPTER_REPLY__BODY_RESULT;
    a.reply.result = &a.result;
    a.result.id = r->id;
    int error, detail, at = 0;
    if (sscanf(script, "errno:%d:%d%n", &error, &detail, &at) == 2) {
        a.result.error = (Sensebus__V1__Errno)error;
        a.result.detail = (Sensebus__V1__EinvalDetail)detail;
        a.result.message = script[at] ? (char *)script + at + 1 : "because";
    } else if (!begins(script, "empty")) {
        fill_value(&a, r, script);
    }
    send_message(call, &a.reply.base);
}

static void count(struct fake_face *f, const Sensebus__V1__AdapterRequest *r)
{
    f->last_deadline_ms = r->deadline_ms;
    if (r->operation_case == SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_STOP) {
        f->n_stops++;
        snprintf(f->last_session, sizeof f->last_session, "%s", r->stop->session_id);
    }
    if (r->operation_case == SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_RELEASE_BUFFERS)
        f->n_released += r->release_buffers->n_buffers;
}

static void on_request(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct fake_face *f = data;
    Sensebus__V1__AdapterRequest *r = sensebus__v1__adapter_request__unpack(NULL, len, bytes);
    const char *script = script_of(r);
    bool is_event = r->operation_case == SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_EVENT;
    count(f, r);
    if (begins(script, "end:")) {
        grpc_call_finish(call, atoi(script + 4), "said so");
    } else if (begins(script, "drop")) {
        grpc_server_close(f->server, NULL, NULL);
        f->server = NULL;
    } else if (begins(script, "garbage")) {
        grpc_call_send(call, &(struct slice){.ptr = (const uint8_t *)"\xff\xff", .len = 2}, 1);
    } else if (!begins(script, "silence")) {
        if (begins(script, "events:") && !is_event)
            send_record(call, script, (uint32_t)atoi(script + 7), 203, 0);
        if (begins(script, "cancel") && !is_event)
            send_record(call, script, 0, 904, 0);
        for (int i = begins(script, "flood:") && !is_event ? atoi(script + 6) : 0; i > 0; i--)
            send_record(call, script, 4, 203, 1000);
        if (begins(script, "data:") && r->operation_case == SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_HALT)
            send_data(call, script, script + 5);
        answer(call, r, script);
    }
    sensebus__v1__adapter_request__free_unpacked(r, NULL);
}

static void on_close(struct grpc_call *call, void *data, int status, const char *message)
{
    (void)status;
    (void)message;
    struct fake_face *f = data;
    if (f->listen == call)
        f->listen = NULL;
}

static void on_half_close(struct grpc_call *call, void *data)
{
    (void)data;
    grpc_call_finish(call, GRPC_OK, NULL);
}

static void start_adapter(struct grpc_call *call, void *service)
{
    static const struct grpc_call_ops ops = {
        .on_message = on_request, .on_half_close = on_half_close, .on_close = on_close};
    ((struct fake_face *)service)->n_streams++;
    grpc_call_accept(call, &ops, service);
}

static void on_list(struct grpc_call *call, void *service, const uint8_t *bytes, size_t len)
{
    (void)service;
    Sensebus__V1__ListSessionsRequest *r = sensebus__v1__list_sessions_request__unpack(NULL, len, bytes);
    Sensebus__V1__ListSessionsResponse response = SENSEBUS__V1__LIST_SESSIONS_RESPONSE__INIT;
    Sensebus__V1__Session session = SENSEBUS__V1__SESSION__INIT, *list[] = {&session};
    uint8_t packed[256];
    session.session_id = *r->page_token ? "s2" : "s1";
    session.principal = "me";
    response.sessions = list;
    response.n_sessions = 1;
    response.next_page_token = *r->page_token ? "" : "more";
    if (r->n_hosts && strcmp(r->hosts[0], "refused") == 0)
        grpc_call_finish(call, GRPC_PERMISSION_DENIED, "no role");
    else
        grpc_unary_reply(call, packed, sensebus__v1__list_sessions_response__pack(&response, packed));
    sensebus__v1__list_sessions_request__free_unpacked(r, NULL);
}

static void start_list(struct grpc_call *call, void *service)
{
    grpc_unary_accept(call, service, on_list);
}

/* ------------------------------------------------------------------------------------------------ SDI */

static void call_handler(struct fake_face *f, struct grpc_call *call, uint64_t handler)
{
    Sensebus__V1__ListenReply reply = SENSEBUS__V1__LISTEN_REPLY__INIT;
    Sensebus__V1__HandlerCall told = SENSEBUS__V1__HANDLER_CALL__INIT;
    Sensebus__V1__ScsiAdr address = SENSEBUS__V1__SCSI_ADR__INIT;
    address.lun = 7;
    address.host = "db-07";
    told.call_id = ++f->n_calls;
    told.handler_id = handler;
    told.event_type = 0x101;
    told.address = &address;
    told.sb = (ProtobufCBinaryData){2, (uint8_t *)"sb"};
    told.sender = "other";
    reply.body_case = SENSEBUS__V1__LISTEN_REPLY__BODY_CALL;
    reply.call = &told;
    send_message(call, &reply.base);
}

/* A handler is called right behind the reply to its AddEvent; device type 99 is refused, 98 over the bound. */
static void on_listen(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct fake_face *f = data;
    Sensebus__V1__ListenRequest *r = sensebus__v1__listen_request__unpack(NULL, len, bytes);
    Sensebus__V1__ListenReply reply = SENSEBUS__V1__LISTEN_REPLY__INIT;
    Sensebus__V1__ListenResult result = SENSEBUS__V1__LISTEN_RESULT__INIT;
    reply.body_case = SENSEBUS__V1__LISTEN_REPLY__BODY_RESULT;
    reply.result = &result;
    result.id = r->id;
    result.result = SENSEBUS__V1__SDI_RETURN__SDI_RETURN_OK;
    f->listen = call;
    if (r->operation_case == SENSEBUS__V1__LISTEN_REQUEST__OPERATION_VERDICT) {
        if (r->verdict->verdict == SENSEBUS__V1__SDI_RETURN__SDI_RETURN_OK)
            f->n_verdicts_ok++;
        else
            f->n_verdicts_err++;
    } else if (r->operation_case == SENSEBUS__V1__LISTEN_REQUEST__OPERATION_ADD && r->add->device_type < 98) {
        result.handler_id = 40 + ++f->n_listens;
        send_message(call, &reply.base);
        call_handler(f, call, result.handler_id);
    } else if (r->operation_case == SENSEBUS__V1__LISTEN_REQUEST__OPERATION_ADD || r->remove->handler_id < 40) {
        result.result = SENSEBUS__V1__SDI_RETURN__SDI_RETURN_ERR;
        result.message = r->operation_case == SENSEBUS__V1__LISTEN_REQUEST__OPERATION_ADD && r->add->device_type == 98
                             ? "RESOURCE_EXHAUSTED: too many handlers"
                             : "no";
        send_message(call, &reply.base);
    } else {
        send_message(call, &reply.base);
    }
    sensebus__v1__listen_request__free_unpacked(r, NULL);
}

static void start_listen(struct grpc_call *call, void *service)
{
    static const struct grpc_call_ops ops = {
        .on_message = on_listen, .on_half_close = on_half_close, .on_close = on_close};
    grpc_call_accept(call, &ops, service);
}

/* Calls handler 41 of the open Listen stream first: the notifier may be its own listener. */
static void on_notify(struct grpc_call *call, void *service, const uint8_t *bytes, size_t len)
{
    struct fake_face *f = service;
    Sensebus__V1__NotifyEventRequest *r = sensebus__v1__notify_event_request__unpack(NULL, len, bytes);
    Sensebus__V1__NotifyEventResponse response = SENSEBUS__V1__NOTIFY_EVENT_RESPONSE__INIT;
    uint8_t packed[32];
    if (f->listen)
        call_handler(f, f->listen, 41);
    response.result =
        r->device_type == 5 ? SENSEBUS__V1__SDI_RETURN__SDI_RETURN_ERR : SENSEBUS__V1__SDI_RETURN__SDI_RETURN_OK;
    response.n_called = 2;
    response.n_failed = r->device_type == 5;
    grpc_unary_reply(call, packed, sensebus__v1__notify_event_response__pack(&response, packed));
    sensebus__v1__notify_event_request__free_unpacked(r, NULL);
}

static void start_notify(struct grpc_call *call, void *service)
{
    grpc_unary_accept(call, service, on_notify);
}

static void on_xaen(struct grpc_call *call, void *service, const uint8_t *bytes, size_t len)
{
    (void)service;
    Sensebus__V1__XaenRequest *r = sensebus__v1__xaen_request__unpack(NULL, len, bytes);
    if (r->event == 99)
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "event 99");
    else
        grpc_unary_reply(call, NULL, 0);
    sensebus__v1__xaen_request__free_unpacked(r, NULL);
}

static void start_xaen(struct grpc_call *call, void *service)
{
    grpc_unary_accept(call, service, on_xaen);
}

/* ------------------------------------------------------------------------------------------------ thread */

static const struct grpc_method METHODS[] = {
    {"/sensebus.v1.Adapter/Open", start_adapter}, {"/sensebus.v1.Adapter/ListSessions", start_list},
    {"/sensebus.v1.Sdi/Listen", start_listen},    {"/sensebus.v1.Sdi/NotifyEvent", start_notify},
    {"/sensebus.v1.Sdi/Xaen", start_xaen},
};

static void on_stop(uv_async_t *stop)
{
    struct fake_face *f = stop->data;
    if (f->server)
        grpc_server_close(f->server, NULL, NULL);
    uv_close((uv_handle_t *)stop, NULL);
}

static void run(void *data)
{
    struct fake_face *f = data;
    uv_run(&f->loop, UV_RUN_DEFAULT);
}

void fake_face_init(struct fake_face *f)
{
    fake_face_init_keepalive(f, 0, 0);
}

void fake_face_init_keepalive(struct fake_face *f, uint32_t keepalive_ms, uint32_t timeout_ms)
{
    const struct grpc_limits limits = {
        .max_queued_bytes = 1u << 30, .keepalive_ms = keepalive_ms, .keepalive_timeout_ms = timeout_ms};
    char err[256];
    signal(SIGPIPE, SIG_IGN);
    *f = (struct fake_face){0};
    snprintf(f->directory, sizeof f->directory, "/tmp/sensebus-face-XXXXXX");
    cr_assert_not_null(mkdtemp(f->directory));
    snprintf(f->address, sizeof f->address, "unix:%s/s", f->directory);
    cr_assert_eq(uv_loop_init(&f->loop), 0);
    cr_assert_eq(uv_async_init(&f->loop, &f->stop, on_stop), 0);
    f->stop.data = f;
    cr_assert_eq(grpc_server_new(&f->loop, &limits, &f->server), 0);
    cr_assert_eq(grpc_server_add(f->server, METHODS, sizeof METHODS / sizeof *METHODS, f), 0);
    cr_assert_eq(grpc_server_listen(f->server, f->address, NULL, err, sizeof err), 0, "%s", err);
    cr_assert_eq(uv_thread_create(&f->thread, run, f), 0);
}

void fake_face_deinit(struct fake_face *f)
{
    uv_async_send(&f->stop);
    uv_thread_join(&f->thread);
    if (uv_loop_close(&f->loop) != 0)
        abort();
    unlink(f->address + strlen("unix:"));
    rmdir(f->directory);
}
