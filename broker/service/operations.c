/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/service/operations.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/adapter/adapter.h"
#include "broker/core/dedupe.h"
#include "broker/core/directory.h"
#include "broker/service/adapter.h"
#include "broker/service/agent_session.h"
#include "broker/service/agents.h"
#include "proto/grpc/grpc.h"
#include "proto/message.h"

struct held_result {
    TAILQ_ENTRY(held_result) entry;
    uint64_t after_source_sequence;
    size_t len;
    uint8_t bytes[]; /* OperationResult */
};

void operations_init(struct agent_session *s)
{
    TAILQ_INIT(&s->results.held);
}

static void drop(struct operation_results *r, struct held_result *h)
{
    TAILQ_REMOVE(&r->held, h, entry);
    r->n--;
    r->bytes -= h->len;
    free(h);
}

/* ------------------------------------------------------------------------------------------------ to the agent */

int operations_forward(const struct directory *d, const struct adapter_action *action, char *reason, size_t reason_len)
{
    const struct directory_agent *agent = directory_find(d, action->host);
    struct agent_session *s = agent ? agent->stream : NULL;
    struct slice slice = {.owner = action->message, .ptr = action->message->bytes, .len = action->message->len};

    if (!s || s->state != SESSION_ATTACHED) {
        snprintf(reason, reason_len, "the agent of %s is not attached", action->host);
        return UV_ENOTCONN;
    }
    bool is_full = !action->must_arrive && grpc_call_queued_bytes(s->call) > OPERATIONS_MAX_QUEUED;
    int rc = is_full ? UV_ENOBUFS : grpc_call_send(s->call, &slice, 1);
    if (rc == UV_ENOBUFS)
        snprintf(reason, reason_len, "the agent of %s does not read: %zu bytes wait for it", action->host,
                 grpc_call_queued_bytes(s->call));
    else if (rc)
        snprintf(reason, reason_len, "cannot send to the agent of %s: %s", action->host, uv_strerror(rc));
    if (action->must_arrive && (rc == UV_ENOBUFS || rc == UV_ENOMEM))
        session_fail(s, GRPC_RESOURCE_EXHAUSTED, "the end of a session cannot be told: %s", reason);
    return rc;
}

/* ------------------------------------------------------------------------------------------------ from the agent */

/* What the wire check does not know. NULL when all is well. */
static const char *result_fault(const Sensebus__V1__OperationResult *r)
{
    const Sensebus__V1__CommandResult *command =
        r->value_case == SENSEBUS__V1__OPERATION_RESULT__VALUE_COMMAND ? r->command : NULL;

    if (r->id == 0)
        return "id: 0";
    if (strlen(r->message) > OPERATIONS_MAX_MESSAGE)
        return "message: longer than 256 bytes";
    if (r->detail != SENSEBUS__V1__EINVAL_DETAIL__EINVAL_DETAIL_NONE && r->error == SENSEBUS__V1__ERRNO__ERRNO_OK)
        return "detail: given without an error";
    if (command && command->data.len > OPERATIONS_MAX_DATA)
        return "command.data: longer than 65535 bytes";
    if (command && command->scsi_status > 0xff)
        return "command.scsi_status: larger than 255";
    if (sensebus__v1__operation_result__get_packed_size(r) > OPERATIONS_MAX_RESULT)
        return "message: longer than 98304 bytes in all";
    return NULL;
}

static void pass_on(struct agent_session *s, const Sensebus__V1__OperationResult *result)
{
    adapter_service_result(s->agents->adapter, s->agent->host, result, result->after_source_sequence != 0);
}

static void hold(struct agent_session *s, const Sensebus__V1__OperationResult *result)
{
    size_t len = sensebus__v1__operation_result__get_packed_size(result);
    struct operation_results *r = &s->results;
    bool has_room = r->n < OPERATIONS_MAX_HELD && r->bytes + len <= OPERATIONS_MAX_HELD_BYTES;
    struct held_result *h = has_room ? malloc(sizeof *h + len) : NULL;

    if (!h) {
        session_fail(s, GRPC_RESOURCE_EXHAUSTED,
                     "operation_result: %zu results of %zu bytes wait for events that do not come", r->n, r->bytes);
        return;
    }
    h->after_source_sequence = result->after_source_sequence;
    h->len = sensebus__v1__operation_result__pack(result, h->bytes);
    TAILQ_INSERT_TAIL(&r->held, h, entry);
    r->n++;
    r->bytes += len;
}

void operations_take_result(struct agent_session *s, const Sensebus__V1__OperationResult *result)
{
    const char *fault = result_fault(result);

    if (fault)
        session_fail(s, GRPC_INVALID_ARGUMENT, "operation_result.%s", fault);
    else if (result->after_source_sequence > s->source->dedupe->taken)
        hold(s, result);
    else
        pass_on(s, result);
}

void operations_take_received(struct agent_session *s, const Sensebus__V1__TargetReceived *message)
{
    if (!message->session_id[0] || strlen(message->session_id) >= OPERATIONS_MAX_SESSION_ID)
        session_fail(s, GRPC_INVALID_ARGUMENT, "target_received.session_id: is not 1 to %u bytes",
                     OPERATIONS_MAX_SESSION_ID - 1);
    else if (message->data.len > OPERATIONS_MAX_TARGET)
        session_fail(s, GRPC_INVALID_ARGUMENT, "target_received.data: %zu bytes, at most %u", message->data.len,
                     OPERATIONS_MAX_TARGET);
    else
        adapter_service_received(s->agents->adapter, s->agent->host, message);
}

/* The first whose event was taken. */
static struct held_result *due(const struct agent_session *s)
{
    struct held_result *h;

    TAILQ_FOREACH(h, &s->results.held, entry)
    if (h->after_source_sequence <= s->source->dedupe->taken)
        return h;
    return NULL;
}

void operations_records_taken(struct agent_session *s)
{
    struct held_result *h;

    while (s->state == SESSION_ATTACHED && (h = due(s))) { /* what follows from one may end the stream */
        Sensebus__V1__OperationResult *result = sensebus__v1__operation_result__unpack(NULL, h->len, h->bytes);
        if (!result) {
            session_fail(s, GRPC_RESOURCE_EXHAUSTED, "out of memory");
            return;
        }
        drop(&s->results, h);
        pass_on(s, result);
        sensebus__v1__operation_result__free_unpacked(result, NULL);
    }
}

size_t operations_agent_gone(struct agent_session *s, bool in_order)
{
    while (!TAILQ_EMPTY(&s->results.held))
        drop(&s->results, TAILQ_FIRST(&s->results.held));
    return adapter_service_agent_gone(s->agents->adapter, s->agent->host, in_order);
}
