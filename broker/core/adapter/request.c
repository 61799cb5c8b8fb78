/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: checked in THE order, then done. */
#include <string.h>
#include <uv.h>

#include "broker/core/adapter/state.h"

#define CASE(name) SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_##name

static void carry_out(struct ask *ask, struct reply *reply)
{
    switch (ask->request->operation_case) {
    case CASE(START):
    case CASE(START_TARGET): session_start(ask, reply); return;
    case CASE(STOP): session_stop(ask, reply); return;
    case CASE(EVENT): registration_ask(ask, reply); return;
    case CASE(TM_EVENT): pending_ask(ask, reply); return;
    case CASE(WAIT_PRI): wait_ask(ask, reply); return;
    case CASE(RELEASE_BUFFERS): target_release(ask, reply); return;
    default: operation_ask(ask, reply); return;
    }
}

int adapter_request(struct adapter *a, struct adapter_stream *stream, const Sensebus__V1__AdapterRequest *request,
                    const struct adapter_place *place, uint64_t log_newest, uint64_t now_ns, uint64_t wall_ns)
{
    static const struct adapter_place nowhere = {.state = ADAPTER_PLACE_NO_AGENT};
    a->now_ns = now_ns;
    a->wall_offset_ns = wall_ns - now_ns;
    struct ask ask = {
        .a = a,
        .stream = stream,
        .request = request,
        .place = place ? place : &nowhere,
        .log_newest = log_newest,
        .now_ns = now_ns,
        .wall_ns = wall_ns,
    };
    struct verdict verdict;
    struct reply *reply = reply_new(a, stream, request->id);
    if (!reply) { /* not even the reserve: more replies wait for memory than it holds */
        a->counters.refused++;
        return UV_ENOMEM;
    }
    if (!request_check(&ask, &verdict)) {
        a->counters.refused++;
        reply_error(a, reply, verdict.error, verdict.detail, "%s", ask.text);
    } else if (reply->is_reserved) { /* that is not for long */
        reply_error(a, reply, ERRNO_(ENOMEM), DETAIL_(NONE), "no memory for the request");
    } else {
        carry_out(&ask, reply);
    }
    return 0;
}

static int refuse(struct adapter *a, struct adapter_stream *stream, uint64_t id, Sensebus__V1__Errno error,
                  const char *message)
{
    struct reply *reply = reply_new(a, stream, id);
    a->counters.refused++;
    if (!reply)
        return UV_ENOMEM;
    reply_error(a, reply, error, DETAIL_(NONE), "%s", message);
    return 0;
}

int adapter_fault(struct adapter *a, struct adapter_stream *stream, uint64_t id, const char *message)
{
    return refuse(a, stream, id, ERRNO_(EFAULT), message);
}

int adapter_no_room(struct adapter *a, struct adapter_stream *stream, uint64_t id, const char *message)
{
    return refuse(a, stream, id, ERRNO_(ENOMEM), message);
}
