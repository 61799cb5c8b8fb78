/* SPDX-License-Identifier: Apache-2.0 */
/* Target mode (semantics.md rule 23): the subscriber holds buffers, the agent counts with it. The data of a remote
 * initiator is delayed, never lost: what cannot be kept here ends the session, so that the subscriber hears of it. */
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/adapter/state.h"

#define LEAST_BUFFER_COST 512

uint64_t target_buffers_cost(uint32_t buffer_bytes, uint32_t n_buffers)
{
    return (uint64_t)n_buffers * (buffer_bytes > LEAST_BUFFER_COST ? buffer_bytes : LEAST_BUFFER_COST);
}

int target_prepare(struct adapter_session *s, const Sensebus__V1__StartTarget *request)
{
    if (request->correlator.len) {
        s->data_correlator = chunk_new(request->correlator.len);
        if (!s->data_correlator)
            return UV_ENOMEM;
        memcpy(s->data_correlator->bytes, request->correlator.data, request->correlator.len);
        s->data_correlator->len = request->correlator.len;
    }
    s->buffer_bytes = request->buffer_bytes;
    s->n_buffers = request->n_buffers;
    return 0;
}

void adapter_target_received(struct adapter *a, const char *host, const Sensebus__V1__TargetReceived *message,
                             uint64_t now_ns)
{
    a->now_ns = now_ns;
    struct adapter_session *s = session_find(a, message->session_id, strlen(message->session_id));
    if (!s || s->generation != message->generation || s->mode != SENSEBUS__V1__MODE__MODE_TARGET ||
        strcmp(s->host->name, host) != 0) {
        a->counters.records_stale++;
        return;
    }
    if (s->n_held >= s->n_buffers || message->data.len > s->buffer_bytes) {
        session_end(s, END_AGENT_FAULT, "AGENT_FAULT: the agent sent more than the buffers of the session hold", NULL);
        return;
    }
    struct action *action = malloc(sizeof *action);
    struct chunk *bytes = action ? record_data(s, &message->data) : NULL;
    if (!bytes) {
        free(action);
        session_end(s, END_NO_MEMORY, "NO_MEMORY: data of a remote initiator could not be kept", NULL);
        return;
    }
    action_init(action, ACTION_DATA, s, s->stream);
    action->bytes = bytes;
    s->n_held++;
    action_push_line(s->stream, action);
}

void target_free_buffers(struct adapter_session *s)
{
    if (s->mode != SENSEBUS__V1__MODE__MODE_TARGET || s->n_held == 0)
        return;
    for (struct action *action = TAILQ_FIRST(&s->stream->line), *next; action; action = next) {
        next = TAILQ_NEXT(action, next);
        if (action->session == s && action->kind == ACTION_DATA)
            action_drop(s->adapter, action);
    }
}

void target_release(struct ask *ask, struct reply *reply)
{
    struct adapter_session *s = ask->session;
    uint32_t n = ask->request->release_buffers->n_buffers;
    Sensebus__V1__Operation message = SENSEBUS__V1__OPERATION__INIT;
    message.session_id = s->id;
    message.generation = s->generation;
    message.deadline_ms = ADAPTER_DEFAULT_DEADLINE_MS;
    message.operation_case = SENSEBUS__V1__OPERATION__OPERATION_RELEASE_BUFFERS;
    message.release_buffers = ask->request->release_buffers;
    if (n > 0 && forward_push(ask->a, s->host, &message, true) != 0) {
        reply_error(ask->a, reply, ERRNO_(ENOMEM), DETAIL_(NONE), "no memory for the operation");
        return;
    }
    s->n_held -= n;
    reply_ok(ask->a, reply);
}
