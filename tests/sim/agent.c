/* SPDX-License-Identifier: Apache-2.0 */
/* Agents: do what they are told, refuse, dawdle or say nothing; raise records on their own. */
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/registry.h"
#include "sensebus/v1/agents.pb-c.h"

static void send_record(struct world *w, uint32_t host, const Sensebus__V1__Event *event)
{
    struct sim_agent *a = &w->agents[host];
    uint8_t bytes[2048];

    if (sensebus__v1__event__get_packed_size(event) > sizeof bytes)
        abort();
    size_t len = sensebus__v1__event__pack(event, bytes);
    struct timed arrives = {.kind = EVENT_RECORD_ARRIVES, .who = host, .serial = a->serial};
    world_send(w, &a->to_broker, arrives, bytes, len);
}

struct raised {
    Sensebus__V1__Event event;
    Sensebus__V1__Origin origin;
    Sensebus__V1__Address address;
};

static void record_begin(struct world *w, uint32_t host, struct raised *r, int code)
{
    const struct registry_entry *known = registry_find((uint32_t)code);

    sensebus__v1__event__init(&r->event);
    sensebus__v1__origin__init(&r->origin);
    sensebus__v1__address__init(&r->address);
    r->event.origin = &r->origin;
    r->event.address = &r->address;
    r->origin.host = w->agents[host].host;
    r->origin.source = SENSEBUS__V1__SOURCE__SOURCE_ISCSI;
    r->event.code = (Sensebus__V1__Code)code;
    r->event.scope = (Sensebus__V1__Scope)known->scope;
    r->event.severity = (Sensebus__V1__Severity)known->severity;
    r->event.mode = (Sensebus__V1__Mode)known->mode;
    r->event.aix_bits = known->aix_bits;
    r->event.wall_time_unix_ns = w->now_ns;
    r->address.adapter = (char *)"iscsi0";
    r->address.bus = 0;
    r->address.target = (int32_t)chance_below(&w->chance, N_TARGETS);
    r->address.lun = r->event.scope == SENSEBUS__V1__SCOPE__SCOPE_LUN ? (int64_t)chance_below(&w->chance, N_LUNS) : -1;
}

void agent_raises(struct world *w, uint32_t host)
{
    static const int codes[] = {
        SENSEBUS__V1__CODE__LUN_RESET,         SENSEBUS__V1__CODE__LUN_RESET,
        SENSEBUS__V1__CODE__TARGET_RESET,      SENSEBUS__V1__CODE__BUS_RESET,
        SENSEBUS__V1__CODE__ADAPTER_FATAL,     SENSEBUS__V1__CODE__ADAPTER_COMMAND_FAILED,
        SENSEBUS__V1__CODE__CAPACITY_CHANGED,  SENSEBUS__V1__CODE__CAPACITY_CHANGED,
        SENSEBUS__V1__CODE__NEXUS_LOST,        SENSEBUS__V1__CODE__DEVICE_REMOVED,
        SENSEBUS__V1__CODE__BUFFERS_EXHAUSTED,
    };
    struct raised r;
    struct timed next = {.kind = EVENT_DEVICE_RAISES, .who = host};

    if (!w->ending)
        world_at(w, w->now_ns + (1 + chance_below(&w->chance, 120)) * MS, next, NULL, 0);
    if (!w->agents[host].alive)
        return;
    int code = codes[chance_below(&w->chance, sizeof codes / sizeof *codes)];
    if (code == SENSEBUS__V1__CODE__DEVICE_REMOVED && chance_percent(&w->chance, 80))
        code = SENSEBUS__V1__CODE__LUN_RESET;
    record_begin(w, host, &r, code);
    if (chance_percent(&w->chance, 10)) /* of one session, perhaps of one that is long gone */
        r.event.session_id = (char *)world_any_session(w);
    send_record(w, host, &r.event);
}

static const struct sim_device *device_find(const struct sim_agent *a, const char *session_id)
{
    size_t n = sizeof a->devices / sizeof *a->devices;

    for (size_t i = 0; i < n; i++)
        if (strcmp(a->devices[i].session_id, session_id) == 0)
            return &a->devices[i];
    return NULL;
}

static void device_add(struct sim_agent *a, const char *session_id, const Sensebus__V1__DeviceAddress *address)
{
    struct sim_device *d = &a->devices[a->n_devices++ % (sizeof a->devices / sizeof *a->devices)];

    snprintf(d->session_id, sizeof d->session_id, "%s", session_id);
    snprintf(d->adapter, sizeof d->adapter, "%s", address->adapter);
    d->target = address->target;
    d->lun = address->lun;
}

/* The record of a reset that a subscriber asked for. */
static void raise_reset(struct world *w, uint32_t host, const Sensebus__V1__Operation *operation)
{
    struct raised r;
    bool lun = operation->reset->lun_reset;

    const struct sim_device *device = device_find(&w->agents[host], operation->session_id);
    if (!device)
        return;
    record_begin(w, host, &r, lun ? SENSEBUS__V1__CODE__LUN_RESET : SENSEBUS__V1__CODE__TARGET_RESET);
    r.address.adapter = (char *)device->adapter;
    r.address.target = device->target;
    r.address.lun = lun ? device->lun : -1;
    r.event.origin_session = operation->session_id;
    send_record(w, host, &r.event);
}

/* Between the operation and its answer some time passes, on the agent's side of the wire. */
static void send_result(struct world *w, uint32_t host, const Sensebus__V1__OperationResult *result)
{
    struct sim_agent *a = &w->agents[host];
    uint8_t bytes[2048];
    struct timed arrives = {.kind = EVENT_RESULT_ARRIVES, .who = host, .serial = a->serial};

    if (sensebus__v1__operation_result__get_packed_size(result) > sizeof bytes)
        abort();
    size_t len = sensebus__v1__operation_result__pack(result, bytes);
    if (chance_percent(&w->chance, 10)) { /* dawdles: later messages overtake it, and it none that were sent before */
        uint64_t at_ns = w->now_ns + chance_below(&w->chance, 5000) * MS;
        world_at(w, at_ns > a->to_broker.last_ns ? at_ns : a->to_broker.last_ns + 1, arrives, bytes, len);
        return;
    }
    world_send(w, &a->to_broker, arrives, bytes, len);
}

static void answer_open(struct world *w, uint32_t host, const Sensebus__V1__Operation *operation,
                        Sensebus__V1__OperationResult *result)
{
    Sensebus__V1__OpenResult opened = SENSEBUS__V1__OPEN_RESULT__INIT;
    Sensebus__V1__Device device = SENSEBUS__V1__DEVICE__INIT;
    Sensebus__V1__DeviceAddress *address = operation->operation_case == SENSEBUS__V1__OPERATION__OPERATION_OPEN
                                               ? operation->open->address
                                               : operation->open_target->address;

    device_add(&w->agents[host], operation->session_id, address);
    device.vendor = (char *)"SIM";
    device.transport = SENSEBUS__V1__TRANSPORT__TRANSPORT_ISCSI;
    opened.reached = &device;
    opened.address = address;
    result->value_case = SENSEBUS__V1__OPERATION_RESULT__VALUE_OPEN;
    result->open = &opened;
    send_result(w, host, result);
}

void agent_operation(struct world *w, uint32_t host, const uint8_t *bytes, size_t len)
{
    Sensebus__V1__BrokerMessage *message = sensebus__v1__broker_message__unpack(NULL, len, bytes);
    Sensebus__V1__OperationResult result = SENSEBUS__V1__OPERATION_RESULT__INIT;
    Sensebus__V1__CommandResult command = SENSEBUS__V1__COMMAND_RESULT__INIT;

    if (!message || message->message_case != SENSEBUS__V1__BROKER_MESSAGE__MESSAGE_OPERATION)
        abort();
    const Sensebus__V1__Operation *operation = message->operation;
    result.id = operation->id;
    uint32_t mood = chance_below(&w->chance, 100);
    bool wants_no_answer = operation->operation_case == SENSEBUS__V1__OPERATION__OPERATION_CLOSE ||
                           operation->operation_case == SENSEBUS__V1__OPERATION__OPERATION_RELEASE_BUFFERS;
    if (wants_no_answer || mood < 4) {
        /* says nothing */
    } else if (mood < 16) {
        result.error = mood < 10 ? SENSEBUS__V1__ERRNO__ERRNO_ENXIO : SENSEBUS__V1__ERRNO__ERRNO_ENODEV;
        result.detail = SENSEBUS__V1__EINVAL_DETAIL__EINVAL_DETAIL_NOT_SUPPORTED;
        result.message = (char *)"not today";
        send_result(w, host, &result);
    } else if (operation->operation_case == SENSEBUS__V1__OPERATION__OPERATION_OPEN ||
               operation->operation_case == SENSEBUS__V1__OPERATION__OPERATION_OPEN_TARGET) {
        answer_open(w, host, operation, &result);
    } else {
        if (operation->operation_case == SENSEBUS__V1__OPERATION__OPERATION_RESET) {
            raise_reset(w, host, operation);
            result.after_source_sequence = 1; /* the world knows which that is in the log */
        }
        if (operation->operation_case == SENSEBUS__V1__OPERATION__OPERATION_INQUIRY ||
            operation->operation_case == SENSEBUS__V1__OPERATION__OPERATION_TEST_UNIT_READY) {
            result.value_case = SENSEBUS__V1__OPERATION_RESULT__VALUE_COMMAND;
            result.command = &command;
        }
        send_result(w, host, &result);
    }
    sensebus__v1__broker_message__free_unpacked(message, NULL);
}
