/* SPDX-License-Identifier: Apache-2.0 */
/* Registrations: EVENT, once in a session (semantics.md rules 4 and 7, A1..A6).
 *
 *   NONE -> PENDING, before the agent is asked: whoever comes second hears ALREADY_REGISTERED
 *        <- refused, too late: the chance is not used up
 *           PENDING -> LIVE -> SPENT, when its stream or its session ends */
#include <string.h>

#include "broker/core/adapter/mutant.h"
#include "broker/core/adapter/state.h"

/* Bytes of their own; NULL when memory is out. */
static struct chunk *keep(const ProtobufCBinaryData *bytes)
{
    struct chunk *c = chunk_new(bytes->len);
    if (c && bytes->len)
        memcpy(c->bytes, bytes->data, bytes->len);
    if (c)
        c->len = bytes->len;
    return c;
}

static void unlisten(struct adapter_session *s)
{
    if (!s->listener)
        return;
    TAILQ_REMOVE(&s->listener->registered, s, registered_next);
    s->listener = NULL;
    s->adapter->counters.registrations_open--;
}

static void drop_correlator(struct adapter_session *s)
{
    chunk_unref(s->correlator);
    s->correlator = NULL;
}

void registration_ask(struct ask *ask, struct reply *reply)
{
    const Sensebus__V1__RegisterEvent *request = ask->request->event;
    struct adapter_session *s = ask->session;
    struct chunk *correlator = NULL;
    Sensebus__V1__Operation message = SENSEBUS__V1__OPERATION__INIT;
    Sensebus__V1__RegisterEvent event = SENSEBUS__V1__REGISTER_EVENT__INIT;
    event.session_id = s->id; /* the correlator stays here: agents have no use for it */
    event.mode = s->mode;
    message.operation_case = SENSEBUS__V1__OPERATION__OPERATION_EVENT;
    message.event = &event;
    bool has_correlator = request->_correlator_case == SENSEBUS__V1__REGISTER_EVENT___CORRELATOR_CORRELATOR;
    if (has_correlator)
        correlator = keep(&request->correlator);
    if ((has_correlator && !correlator) || !operation_new(ask, s->host, s, &message, reply)) {
        chunk_unref(correlator);
        reply_error(ask->a, reply, ERRNO_(ENOMEM), DETAIL_(NONE), "no memory for the registration");
        return;
    }
    drop_correlator(s);
    s->correlator = correlator;
    s->registration = REGISTRATION_PENDING;
    s->registered_unix_ns = ask->wall_ns;
}

void registration_made(struct operation *op, uint64_t log_newest)
{
    struct adapter *a = op->adapter;
    struct adapter_session *s = op->session;
    struct reply *reply = op->reply;
    unlisten(s);
    s->registration = REGISTRATION_LIVE;
    s->registered_sequence = MUTANT(18) ? s->since_sequence : log_newest;
    s->listener = op->stream;
    TAILQ_INSERT_TAIL(&s->listener->registered, s, registered_next);
    a->counters.registrations++;
    a->counters.registrations_open++;
    operation_free(op);
    reply_ok(a, reply);
}

void registration_failed(struct adapter_session *s)
{
    if (s->registration != REGISTRATION_PENDING)
        return;
    s->registration = REGISTRATION_NONE;
    drop_correlator(s);
}

void registration_spend(struct adapter_session *s)
{
    unlisten(s);
    s->registration = REGISTRATION_SPENT;
}
