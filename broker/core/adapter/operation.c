/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on their way to an agent.
 *
 *   asked -> forwarded -> answered by the agent -> (held until the log is delivered so far) -> reply
 *
 * Each ends in exactly one reply: by the agent's result, its deadline, the loss of the agent, the end of its session or
 * because it could not be handed over; or in none, when the stream that waits for it is gone. What comes later is
 * counted, and undone where it has an effect: a START that nobody waits for any more is closed at the agent. */
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/adapter/mutant.h"
#include "broker/core/adapter/state.h"
#include "proto/wire.h"

#define CASE(name)         SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_##name
#define FORWARD(name)      SENSEBUS__V1__OPERATION__OPERATION_##name
#define FIELD_OPERATION    4 /* BrokerMessage.operation */
#define FIELD_OPERATION_ID 1
#define NS_PER_MS          1000000ull

/* ---- to the agent */

struct chunk *forward_encode(Sensebus__V1__Operation *message)
{
    Sensebus__V1__BrokerMessage envelope = SENSEBUS__V1__BROKER_MESSAGE__INIT;
    envelope.message_case = SENSEBUS__V1__BROKER_MESSAGE__MESSAGE_OPERATION;
    envelope.operation = message;
    struct chunk *bytes = chunk_new(sensebus__v1__broker_message__get_packed_size(&envelope));
    if (bytes)
        bytes->len = sensebus__v1__broker_message__pack(&envelope, bytes->bytes);
    return bytes;
}

static struct action *forward_new(struct adapter *a, struct host *host, Sensebus__V1__Operation *message)
{
    struct action *forward = malloc(sizeof *forward);
    if (!forward)
        return NULL;
    action_init(forward, ACTION_FORWARD, NULL, NULL);
    message->id = a->next_operation;
    forward->bytes = forward_encode(message);
    if (!forward->bytes) {
        free(forward);
        return NULL;
    }
    a->next_operation++;
    forward->host = host_ref(host);
    return forward;
}

int forward_push(struct adapter *a, struct host *host, Sensebus__V1__Operation *message, bool must_arrive)
{
    struct action *forward = forward_new(a, host, message);
    if (!forward)
        return UV_ENOMEM;
    forward->must_arrive = must_arrive;
    action_push(a, forward);
    return 0;
}

static void on_deadline(struct deadline *deadline)
{
    operation_expire((struct operation *)((char *)deadline - offsetof(struct operation, deadline)));
}

struct operation *operation_new(struct ask *ask, struct host *host, struct adapter_session *s,
                                Sensebus__V1__Operation *message, struct reply *reply)
{
    struct adapter *a = ask->a;
    uint32_t deadline_ms = ask->request->deadline_ms ? ask->request->deadline_ms : ADAPTER_DEFAULT_DEADLINE_MS;
    struct operation *op = calloc(1, sizeof *op);
    if (!op)
        return NULL;
    message->deadline_ms = deadline_ms;
    if (s) {
        message->session_id = s->id;
        message->generation = s->generation;
    }
    op->id = a->next_operation;
    op->kind = ask->request->operation_case;
    op->adapter = a;
    op->stream = ask->stream;
    op->session = s;
    op->reply = reply;
    op->deadline.expire = on_deadline;
    if (deadline_arm(&a->deadlines, &op->deadline, ask->now_ns + deadline_ms * NS_PER_MS) != 0)
        goto no_deadline;
    if (table_add(&a->operations, &op->id, sizeof op->id, op) != 0)
        goto no_table;
    if (forward_push(a, host, message, false) != 0)
        goto no_forward;
    op->host = host_ref(host);
    TAILQ_INSERT_TAIL(&host->operations, op, host_next);
    TAILQ_INSERT_TAIL(&ask->stream->operations, op, stream_next);
    if (s)
        TAILQ_INSERT_TAIL(&s->operations, op, session_next);
    ask->stream->principal->n_operations++;
    a->counters.operations_open++;
    return op;
no_forward:
    table_remove(&a->operations, &op->id, sizeof op->id);
no_table:
    deadline_disarm(&a->deadlines, &op->deadline);
no_deadline:
    free(op);
    return NULL;
}

void operation_free(struct operation *op)
{
    struct adapter *a = op->adapter;
    table_remove(&a->operations, &op->id, sizeof op->id);
    deadline_disarm(&a->deadlines, &op->deadline);
    TAILQ_REMOVE(&op->host->operations, op, host_next);
    TAILQ_REMOVE(&op->stream->operations, op, stream_next);
    if (op->session)
        TAILQ_REMOVE(&op->session->operations, op, session_next);
    if (op->is_held)
        TAILQ_REMOVE(&a->held, op, held_next);
    op->stream->principal->n_operations--;
    a->counters.operations_open--;
    host_unref(a, op->host);
    free(op);
}

/* ---- asked */

void operation_ask(struct ask *ask, struct reply *reply)
{
    struct adapter *a = ask->a;
    const Sensebus__V1__AdapterRequest *r = ask->request;
    struct adapter_session *s = ask->session;
    Sensebus__V1__Operation message = SENSEBUS__V1__OPERATION__INIT;
    Sensebus__V1__IocInfo ioc_info = SENSEBUS__V1__IOC_INFO__INIT;
    Sensebus__V1__Reset reset = SENSEBUS__V1__RESET__INIT;
    struct host *host = s ? host_ref(s->host) : host_get(a, ask->place->address->host);
    switch (r->operation_case) {
    case CASE(IOC_INFO):
        ioc_info.host = ask->place->address->host;
        ioc_info.adapter = ask->place->address->adapter;
        message.operation_case = FORWARD(IOC_INFO);
        message.ioc_info = &ioc_info;
        break;
    case CASE(HALT):
        message.operation_case = FORWARD(HALT);
        message.halt = r->halt;
        break;
    case CASE(RESET):
        reset.session_id = s->id;
        /* Rule 15: SAS has no reset of a target. */
        reset.lun_reset = r->reset->lun_reset || s->transport == SENSEBUS__V1__TRANSPORT__TRANSPORT_SAS;
        message.operation_case = FORWARD(RESET);
        message.reset = &reset;
        break;
    case CASE(INQUIRY):
        message.operation_case = FORWARD(INQUIRY);
        message.inquiry = r->inquiry;
        break;
    default:
        message.operation_case = FORWARD(TEST_UNIT_READY);
        message.test_unit_ready = r->test_unit_ready;
        break;
    }
    struct operation *op = host ? operation_new(ask, host, s, &message, reply) : NULL;
    if (host)
        host_unref(a, host);
    if (!op) {
        reply_error(a, reply, ERRNO_(ENOMEM), DETAIL_(NONE), "no memory for the operation");
        return;
    }
    switch (op->kind) {
    case CASE(HALT): /* rule 14: from now on */
        op->was_halted = s->is_halted;
        s->is_halted = s->is_halting = true;
        break;
    case CASE(INQUIRY): s->is_halted = s->is_halted && !r->inquiry->resume; break;
    case CASE(TEST_UNIT_READY): s->is_halted = s->is_halted && !r->test_unit_ready->resume; break;
    default: break;
    }
}

/* ---- ended without success */

static void undo(struct operation *op, bool tell_agent)
{
    struct adapter_session *s = op->session;
    op->session = NULL;
    if (s)
        TAILQ_REMOVE(&s->operations, op, session_next);
    switch (op->kind) {
    case CASE(START):
    case CASE(START_TARGET): session_abandon(s, tell_agent); break;
    case CASE(EVENT): registration_failed(s); break;
    case CASE(HALT):
        s->is_halting = false;
        s->is_halted = s->is_halted && op->was_halted;
        break;
    default: break;
    }
}

/* What was not done at the device, or nobody knows: undo, and reply. */
static void fail(struct operation *op, bool tell_agent, error_number error, error_detail detail, const char *text)
{
    struct adapter *a = op->adapter;
    struct reply *reply = op->reply;
    if (!op->is_held)
        undo(op, tell_agent);
    operation_free(op);
    reply_error(a, reply, error, detail, "%s", text);
}

void operation_fail(struct operation *op, error_number error, error_detail detail, const char *format, ...)
{
    char text[2 * MAX_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fail(op, false, error, detail, text);
}

void operation_undo(struct operation *op, error_number error, error_detail detail, const char *text)
{
    fail(op, true, error, detail, text);
}

void operation_expire(struct operation *op)
{
    if (op->is_held)
        fail(op, false, ERRNO_(ETIMEDOUT), DETAIL_(NONE), "done, but its event was not committed in time");
    else
        fail(op, !MUTANT(22), ERRNO_(ETIMEDOUT), DETAIL_(NONE), "the agent did not answer in time");
}

void operation_give_up(struct operation *op)
{
    struct adapter *a = op->adapter;
    struct adapter_session *s = op->session;
    if (op->kind == CASE(HALT) && s) { /* nobody hears how it went on: it stays halted, which is the safe side */
        s->is_halting = false;
    } else if (!op->is_held) {
        undo(op, true);
    }
    reply_free(a, op->reply);
    operation_free(op);
}

/* ---- answered by the agent */

/* The answer, into the reply; UV_EINVAL when the value is missing or not of this operation. */
static int take_value(struct operation *op, const Sensebus__V1__OperationResult *result)
{
    Sensebus__V1__Result value = SENSEBUS__V1__RESULT__INIT;
    value.message = result->message;
    switch (op->kind) {
    case CASE(IOC_INFO):
        if (result->value_case != SENSEBUS__V1__OPERATION_RESULT__VALUE_IOC_INFO)
            return UV_EINVAL;
        value.value_case = SENSEBUS__V1__RESULT__VALUE_IOC_INFO;
        value.ioc_info = result->ioc_info;
        return reply_write(op->reply, &value);
    case CASE(INQUIRY):
    case CASE(TEST_UNIT_READY):
        if (result->value_case != SENSEBUS__V1__OPERATION_RESULT__VALUE_COMMAND)
            return UV_EINVAL;
        break;
    default: /* RESET and HALT may carry one */
        if (result->value_case != SENSEBUS__V1__OPERATION_RESULT__VALUE_COMMAND)
            return 0;
        break;
    }
    value.value_case = SENSEBUS__V1__RESULT__VALUE_COMMAND;
    value.command = result->command;
    return reply_write(op->reply, &value);
}

/* Behind everything that waits in the line of its stream: the requester hears the event first (rule 15). */
static void answer(struct operation *op)
{
    struct adapter *a = op->adapter;
    struct adapter_stream *stream = op->stream;
    struct reply *reply = op->reply;
    bool behind_line = op->after_sequence && !TAILQ_EMPTY(&stream->line) && !MUTANT(10);
    operation_free(op);
    if (behind_line)
        action_push_line(stream, &reply->action);
    else
        reply_push(a, reply);
}

static void succeed(struct operation *op, const Sensebus__V1__OperationResult *result, uint64_t after_sequence)
{
    struct adapter *a = op->adapter;
    int rc = take_value(op, result);
    if (rc == UV_EINVAL) {
        operation_fail(op, ERRNO_(EIO), DETAIL_(NONE), "the agent's answer lacks its value");
        return;
    }
    if (op->kind == CASE(HALT))
        op->session->is_halting = false;
    if (rc != 0) { /* done, but what it brought cannot be told */
        struct reply *reply = op->reply;
        operation_free(op);
        reply_error(a, reply, ERRNO_(ENOMEM), DETAIL_(NONE), "done, but there is no memory for the answer");
        return;
    }
    op->after_sequence = after_sequence;
    if (after_sequence > a->delivered && !MUTANT(10)) {
        op->is_held = true;
        TAILQ_INSERT_TAIL(&a->held, op, held_next);
        return;
    }
    answer(op);
}

/* What an agent says is an error, or EIO when it says something that is none. */
static error_number known_error(Sensebus__V1__Errno error)
{
    return error > ERRNO_(OK) && error <= ERRNO_(EACCES) ? error : ERRNO_(EIO);
}

static error_detail known_detail(Sensebus__V1__EinvalDetail detail)
{
    return detail > DETAIL_(NONE) && detail <= DETAIL_(RESOURCE_EXHAUSTED) ? detail : DETAIL_(NONE);
}

void adapter_result(struct adapter *a, const char *host, const Sensebus__V1__OperationResult *result,
                    unsigned capabilities, uint64_t after_sequence, uint64_t log_newest, uint64_t now_ns)
{
    a->now_ns = now_ns;
    struct operation *op = table_get(&a->operations, &result->id, sizeof result->id);
    if (!op || op->is_held || strcmp(op->host->name, host) != 0) {
        a->counters.results_late++;
        return;
    }
    bool is_event = op->kind == CASE(EVENT), is_start = op->kind == CASE(START) || op->kind == CASE(START_TARGET);
    if (result->error != ERRNO_(OK)) {
        if (is_event && MUTANT(1))
            op->kind = CASE(TM_EVENT);
        operation_fail(op, known_error(result->error), known_detail(result->detail), "%s", result->message);
    } else if (is_start) {
        session_started(op, result, capabilities, log_newest);
    } else if (is_event) {
        registration_made(op, log_newest);
    } else {
        succeed(op, result, after_sequence);
    }
}

void adapter_delivered(struct adapter *a, uint64_t sequence, uint64_t now_ns)
{
    a->now_ns = now_ns;
    if (sequence > a->delivered)
        a->delivered = sequence;
    for (struct operation *op = TAILQ_FIRST(&a->held), *next; op; op = next) {
        next = TAILQ_NEXT(op, held_next);
        if (op->after_sequence <= a->delivered)
            answer(op);
    }
}

/* ---- not handed over */

static uint64_t operation_id(const struct chunk *message)
{
    const uint8_t *p = message->bytes, *end = p + message->len;
    struct wire_field field;
    while (p < end && (p = wire_field_read(p, end, &field))) {
        if (field.number != FIELD_OPERATION || field.type != WIRE_BYTES)
            continue;
        p = field.bytes;
        end = p + field.len;
        while (p < end && (p = wire_field_read(p, end, &field))) {
            if (field.number == FIELD_OPERATION_ID && field.type == WIRE_VARINT)
                return field.value;
        }
        return 0;
    }
    return 0;
}

void adapter_forward_failed(struct adapter *a, const struct adapter_action *action, const char *reason, uint64_t now_ns)
{
    a->now_ns = now_ns;
    uint64_t id = operation_id(action->message);
    struct operation *op = table_get(&a->operations, &id, sizeof id);
    if (op)
        operation_fail(op, ERRNO_(EIO), DETAIL_(NONE), "%s", reason);
}
