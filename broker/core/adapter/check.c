/* SPDX-License-Identifier: Apache-2.0 */
/* THE check order (semantics.md section 6, behind its table): what is wrong with a request, first things first.
 *
 *    EPERM               nothing else is told to who may not ask
 *    EFAULT              no request at all: no operation, impossible lengths (rule 10)
 *    VERSION             what the rest means depends on it (rule 9)
 *    RESERVED            what it says that we do not know (rule 8)
 *    MODE or ADDRESS     what it says is wrong, with BUFFERS and OWN_ID. What the request says of itself comes before
 *                        what only the agent's inventory tells; EIO for want of an agent stands between the two,
 * because without an agent nobody knows the rest NOT_STARTED         rule 2 NOT_OWNER           A1; then BUFFERS of
 * ReleaseBuffers: how many are held is the owner's business ALREADY_REGISTERED  rule 4; ALREADY_STARTED stands beside
 * it: no request can have both NOT_SUPPORTED       rule 12 HALTED              rule 14: it could be done, but not now;
 * then EIO for HALT while halting EACCES              A23: not now either, and nobody's doing here EIO the broker stops
 *    ENOMEM              bounds come last: whoever is over one is told first what is wrong with the request itself
 *
 * One table, in this order; each row looks at one thing. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "broker/core/access.h"
#include "broker/core/adapter/mutant.h"
#include "broker/core/adapter/state.h"
#include "proto/message.h"

#define MAX_BUFFER_BYTES 4096
#define MIN_BUFFERS      16
#define ANY_ROLE         (ACCESS_READER | ACCESS_KERNEL | ACCESS_DEV_CONFIG | ACCESS_OPERATOR)

#define CASE(name)   SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_##name
#define OP(name)     (1u << CASE(name))
#define ALL          (~0u)
#define WITH_PLACE   (OP(IOC_INFO) | OP(START) | OP(START_TARGET))
#define STARTS       (OP(START) | OP(START_TARGET))
#define COMMANDS     (OP(INQUIRY) | OP(TEST_UNIT_READY))
#define OF_SESSION   (OP(STOP) | OP(HALT) | OP(RESET) | OP(EVENT) | OP(TM_EVENT) | COMMANDS | OP(RELEASE_BUFFERS))
#define OF_INITIATOR (OP(HALT) | OP(RESET) | COMMANDS)
#define FORWARDED    (WITH_PLACE | OP(HALT) | OP(RESET) | OP(EVENT) | COMMANDS)

/* For the rows: say what is wrong. Always true. */
__attribute__((format(printf, 2, 3))) static bool wrong(struct ask *ask, const char *format, ...)
{
    char text[2 * MAX_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    text_copy(ask->text, sizeof ask->text, text);
    return true;
}

/* ---- what a request names */

const Sensebus__V1__DeviceAddress *request_address(const Sensebus__V1__AdapterRequest *request)
{
    switch (request->operation_case) {
    case CASE(START): return request->start->address;
    case CASE(START_TARGET): return request->start_target->address;
    default: return NULL;
    }
}

const char *request_session_id(const Sensebus__V1__AdapterRequest *request)
{
    switch (request->operation_case) {
    case CASE(STOP): return request->stop->session_id;
    case CASE(HALT): return request->halt->session_id;
    case CASE(RESET): return request->reset->session_id;
    case CASE(EVENT): return request->event->session_id;
    case CASE(TM_EVENT): return request->tm_event->session_id;
    case CASE(INQUIRY): return request->inquiry->session_id;
    case CASE(TEST_UNIT_READY): return request->test_unit_ready->session_id;
    case CASE(RELEASE_BUFFERS): return request->release_buffers->session_id;
    default: return NULL;
    }
}

static bool is_target(const struct adapter_session *s)
{
    return s && s->mode == SENSEBUS__V1__MODE__MODE_TARGET;
}

static const char *mode_name(Sensebus__V1__Mode mode)
{
    return mode == SENSEBUS__V1__MODE__MODE_TARGET ? "target" : "initiator";
}

/* ---- EPERM (rule 1) */

static bool lacks_role(struct ask *ask)
{
    unsigned needed;
    switch (ask->request->operation_case) {
    case CASE(EVENT):
    case CASE(START_TARGET):
    case CASE(HALT): needed = ACCESS_KERNEL; break;
    case CASE(RESET): needed = ACCESS_KERNEL | ACCESS_DEV_CONFIG; break;
    case CASE(STOP): needed = is_target(ask->session) ? ACCESS_KERNEL : ANY_ROLE; break;
    default: needed = ANY_ROLE; break;
    }
    if (ask->stream->roles & needed)
        return false;
    return wrong(ask, "%s lacks the role %s", ask->stream->principal->name,
                 needed == ACCESS_KERNEL ? "kernel"
                 : needed == ANY_ROLE    ? "reader"
                                         : "kernel or dev-config");
}

/* ---- EFAULT (rule 10) */

static bool is_faulty(struct ask *ask)
{
    const Sensebus__V1__AdapterRequest *r = ask->request;
    if (r->deadline_ms > ADAPTER_MAX_DEADLINE_MS)
        return wrong(ask, "deadline_ms: %u, at most %u", r->deadline_ms, ADAPTER_MAX_DEADLINE_MS);
    switch (r->operation_case) {
    case CASE(IOC_INFO):
    case CASE(START):
    case CASE(STOP):
    case CASE(HALT):
    case CASE(RESET):
    case CASE(TM_EVENT):
    case CASE(INQUIRY):
    case CASE(TEST_UNIT_READY):
    case CASE(RELEASE_BUFFERS): return false;
    case CASE(START_TARGET):
        if (r->start_target->correlator.len > ADAPTER_MAX_CORRELATOR)
            return wrong(ask, "correlator: %zu bytes, at most %d", r->start_target->correlator.len,
                         ADAPTER_MAX_CORRELATOR);
        return false;
    case CASE(EVENT):
        if (r->event->_correlator_case && r->event->correlator.len > ADAPTER_MAX_CORRELATOR)
            return wrong(ask, "correlator: %zu bytes, at most %d", r->event->correlator.len, ADAPTER_MAX_CORRELATOR);
        return false;
    case CASE(WAIT_PRI):
        if (r->wait_pri->n_session_ids == 0 || r->wait_pri->n_session_ids > ADAPTER_MAX_WAIT_SESSIONS)
            return wrong(ask, "session_ids: %zu, 1 to %d", r->wait_pri->n_session_ids, ADAPTER_MAX_WAIT_SESSIONS);
        if (r->wait_pri->timeout_ms < -1)
            return wrong(ask, "timeout_ms: %" PRId64 ", at least -1", r->wait_pri->timeout_ms);
        return false;
    default: return wrong(ask, "no operation");
    }
}

/* ---- VERSION, RESERVED (rules 9, 8) */

static bool is_other_version(struct ask *ask)
{
    return ask->request->version != 1 && wrong(ask, "version: %u, this broker has 1", ask->request->version);
}

static bool has_reserved(struct ask *ask)
{
    char err[MAX_TEXT];
    if (ask->request->reserved1)
        return wrong(ask, "reserved1: %u, must be 0", ask->request->reserved1);
    if (ask->request->reserved2)
        return wrong(ask, "reserved2: %u, must be 0", ask->request->reserved2);
    return request_check_known(&ask->request->base, err, sizeof err) != 0 && wrong(ask, "%s", err);
}

/* ---- MODE, ADDRESS, BUFFERS, OWN_ID */

static bool is_other_mode(struct ask *ask) /* A3 */
{
    Sensebus__V1__Mode mode = ask->request->event->mode;
    if (mode != SENSEBUS__V1__MODE__MODE_INITIATOR && mode != SENSEBUS__V1__MODE__MODE_TARGET)
        return wrong(ask, "mode: must be initiator or target");
    return ask->session && mode != ask->session->mode &&
           wrong(ask, "mode: %s, but session %s was started as %s", mode_name(mode), ask->session->id,
                 mode_name(ask->session->mode));
}

static bool is_not_of_target_mode(struct ask *ask)
{
    return is_target(ask->session) && wrong(ask, "session %s is in target mode", ask->session->id);
}

static bool is_not_of_initiator_mode(struct ask *ask)
{
    return ask->session && !is_target(ask->session) && wrong(ask, "session %s is in initiator mode", ask->session->id);
}

static bool is_bad_address(struct ask *ask)
{
    const Sensebus__V1__DeviceAddress *address = request_address(ask->request);
    if (!address || !*address->host)
        return wrong(ask, "address.host: missing");
    if (strlen(address->adapter) > MAX_ADAPTER_NAME)
        return wrong(ask, "address.adapter: longer than %d bytes", MAX_ADAPTER_NAME);
    if (strlen(address->target_name) > MAX_TARGET_NAME)
        return wrong(ask, "address.target_name: longer than %d bytes", MAX_TARGET_NAME);
    if (address->lun < 0)
        return wrong(ask, "address.lun: %" PRId64 " is none", address->lun);
    if (ask->request->operation_case == CASE(START))
        return false;
    if (address->lun != 0)
        return wrong(ask, "address.lun: %" PRId64 ", in target mode it is 0", address->lun);
    return !*address->target_name && wrong(ask, "address.target_name: the remote initiator is missing");
}

static bool is_bad_adapter(struct ask *ask)
{
    const Sensebus__V1__IocInfo *ioc_info = ask->request->ioc_info;
    if (!*ioc_info->host)
        return wrong(ask, "host: missing");
    return strlen(ioc_info->adapter) > MAX_ADAPTER_NAME &&
           wrong(ask, "adapter: longer than %d bytes", MAX_ADAPTER_NAME);
}

static bool has_bad_buffers(struct ask *ask)
{
    const Sensebus__V1__StartTarget *r = ask->request->start_target;
    if (r->buffer_bytes == 0 || r->buffer_bytes > MAX_BUFFER_BYTES)
        return wrong(ask, "buffer_bytes: %u, 1 to %d", r->buffer_bytes, MAX_BUFFER_BYTES);
    return r->n_buffers < MIN_BUFFERS && wrong(ask, "n_buffers: %u, at least %d", r->n_buffers, MIN_BUFFERS);
}

static const char *asked_host(const struct ask *ask)
{
    const Sensebus__V1__DeviceAddress *address = request_address(ask->request);
    return address ? address->host : ask->request->ioc_info->host;
}

static bool has_no_agent(struct ask *ask)
{
    if (ask->place->state == ADAPTER_PLACE_UNTOLD)
        return wrong(ask, "the agent of host %s has not said yet which devices it has", asked_host(ask));
    return ask->place->state == ADAPTER_PLACE_NO_AGENT &&
           wrong(ask, "no agent of host %s is attached", asked_host(ask));
}

static bool is_one_of_several(struct ask *ask)
{
    const Sensebus__V1__DeviceAddress *address = request_address(ask->request);
    if (address && address->adapter[0])
        return wrong(ask, "the agent of host %s has several of this on adapter %s: name bus and target by number",
                     asked_host(ask), address->adapter);
    return wrong(ask, "the agent of host %s has %sseveral adapters: name one", asked_host(ask),
                 address ? "this on " : "");
}

static bool is_unknown_address(struct ask *ask)
{
    struct session_place unused;
    if (ask->place->state == ADAPTER_PLACE_UNKNOWN)
        return wrong(ask, "the agent of host %s has nothing at this address", asked_host(ask));
    if (ask->place->state == ADAPTER_PLACE_AMBIGUOUS)
        return is_one_of_several(ask);
    return place_fill(&unused, ask->place->address) != 0 &&
           wrong(ask, "the names at this address of host %s are too long", asked_host(ask));
}

static bool is_own_id(struct ask *ask)
{
    const Sensebus__V1__DeviceAddress *address = ask->place->address;
    return ask->place->own_id && *ask->place->own_id && strcmp(ask->place->own_id, address->target_name) == 0 &&
           wrong(ask, "%s is the adapter itself", ask->place->own_id);
}

/* ---- NOT_STARTED, NOT_OWNER (rule 2, A1) */

static bool is_not_started(struct ask *ask)
{
    return !ask->session && wrong(ask, "no session %.64s is open", request_session_id(ask->request));
}

static bool is_foreign(const struct ask *ask, const struct adapter_session *s)
{
    return s->principal != ask->stream->principal && !MUTANT(12);
}

static bool is_not_owner(struct ask *ask)
{
    return is_foreign(ask, ask->session) &&
           wrong(ask, "session %s is not of %s", ask->session->id, ask->stream->principal->name);
}

static bool waits_for_foreign(struct ask *ask)
{
    const Sensebus__V1__WaitPri *r = ask->request->wait_pri;
    for (size_t i = 0; i < r->n_session_ids; i++) {
        const struct adapter_session *s = session_find(ask->a, r->session_ids[i], strlen(r->session_ids[i]));
        if (s && is_foreign(ask, s))
            return wrong(ask, "session %s is not of %s", s->id, ask->stream->principal->name);
    }
    return false;
}

static bool releases_too_many(struct ask *ask)
{
    uint32_t n = ask->request->release_buffers->n_buffers;
    return n > ask->session->n_held && wrong(ask, "n_buffers: %u, but %u are held", n, ask->session->n_held);
}

/* ---- ALREADY_REGISTERED, ALREADY_STARTED (rules 4, 3) */

static bool is_registered(struct ask *ask)
{
    const struct adapter_session *s = ask->session;
    char when[24];
    if (s->registration == REGISTRATION_NONE || MUTANT(2) || (MUTANT(20) && s->registration == REGISTRATION_SPENT))
        return false;
    text_time(when, s->registered_unix_ns);
    ask->a->counters.registration_conflicts++;
    return wrong(ask, "session %s was registered at %s by %s%s", s->id, when, s->principal->name,
                 s->registration == REGISTRATION_SPENT ? ", whose stream has ended; STOP and START again" : "");
}

static bool is_started(struct ask *ask)
{
    bool is_start = ask->request->operation_case == CASE(START);
    struct session_place place;
    place_fill(&place, ask->place->address);
    const struct adapter_session *s =
        unit_conflict(ask->a, ask->place->address->host, &place,
                      is_start ? SENSEBUS__V1__MODE__MODE_INITIATOR : SENSEBUS__V1__MODE__MODE_TARGET,
                      is_start && ask->request->start->shared, NULL);
    return s && wrong(ask, "the place is started already, by %s%s", s->principal->name,
                      s->is_shared ? "; it is shared" : "");
}

/* ---- NOT_SUPPORTED (rule 12) */

static bool resets_unit(const struct ask *ask)
{
    /* Rule 15: SAS has no reset of a target. */
    return ask->request->reset->lun_reset || ask->session->transport == SENSEBUS__V1__TRANSPORT__TRANSPORT_SAS;
}

static bool is_not_supported(struct ask *ask)
{
    unsigned needed;
    const char *name;
    unsigned has = ask->session ? ask->session->capabilities : ask->place ? ask->place->capabilities : 0;
    switch (ask->request->operation_case) {
    case CASE(START_TARGET):
        needed = ADAPTER_CAN_TARGET_MODE;
        name = "target-mode";
        break;
    case CASE(HALT):
        needed = ADAPTER_CAN_HALT;
        name = "halt";
        break;
    case CASE(RESET):
        needed = resets_unit(ask) ? ADAPTER_CAN_RESET_LUN : ADAPTER_CAN_RESET_TARGET;
        name = resets_unit(ask) ? "reset-lun" : "reset-target";
        break;
    default: /* EVENT; in target mode the one includes the other (A4) */
        needed = is_target(ask->session) ? ADAPTER_CAN_TARGET_MODE | ADAPTER_CAN_EVENT : ADAPTER_CAN_EVENT;
        name = "event";
        break;
    }
    return !(has & needed) && wrong(ask, "the adapter has no %s", name);
}

/* ---- HALTED, EIO, EACCES */

static bool is_halted(struct ask *ask)
{
    const Sensebus__V1__AdapterRequest *r = ask->request;
    bool resume = r->operation_case == CASE(INQUIRY) ? r->inquiry->resume : r->test_unit_ready->resume;
    return ask->session->is_halted && !resume && !MUTANT(17) &&
           wrong(ask, "session %s is halted: the next command must carry resume", ask->session->id);
}

static bool is_halting(struct ask *ask)
{
    return ask->session->is_halting && wrong(ask, "session %s is being halted", ask->session->id);
}

static bool is_in_diagnostics(struct ask *ask)
{
    return ask->place->diagnostics && wrong(ask, "the adapter is open for diagnostics");
}

static bool is_stopping(struct ask *ask)
{
    return ask->a->is_stopping && wrong(ask, "the broker is stopping");
}

/* ---- RESOURCE_EXHAUSTED */

static bool is_over(struct ask *ask, const char *what, uint64_t n, uint64_t more, uint64_t most)
{
    return n + more > most && wrong(ask, "%s: %" PRIu64 " are in use, at most %" PRIu64, what, n, most);
}

static bool has_too_many_sessions(struct ask *ask)
{
    const struct principal *p = ask->stream->principal;
    const struct adapter_limits *limits = &ask->a->limits;
    return is_over(ask, "sessions of a principal", p->n_sessions, 1, limits->max_sessions_principal) ||
           is_over(ask, "sessions in all", ask->a->n_sessions, 1, limits->max_sessions);
}

static bool has_too_many_buffers(struct ask *ask)
{
    const Sensebus__V1__StartTarget *r = ask->request->start_target;
    return is_over(ask, "bytes in buffers of a principal", ask->stream->principal->reserved_bytes,
                   target_buffers_cost(r->buffer_bytes, r->n_buffers), ask->a->limits.max_queued_bytes_principal);
}

static bool has_too_many_operations(struct ask *ask)
{
    return is_over(ask, "operations of a principal", ask->stream->principal->n_operations, 1,
                   ask->a->limits.max_operations_principal);
}

static bool has_too_many_waits(struct ask *ask)
{
    return is_over(ask, "waits of a principal", ask->stream->principal->n_waits, 1, ask->a->limits.max_waits_principal);
}

/* ---- the order */

static const struct {
    uint32_t operations;
    error_number error;
    error_detail detail;
    bool (*is_wrong)(struct ask *ask);
} order[] = {
    {ALL, ERRNO_(EPERM), DETAIL_(NONE), lacks_role},
    {ALL, ERRNO_(EFAULT), DETAIL_(NONE), is_faulty},
    {ALL, ERRNO_(EINVAL), DETAIL_(VERSION), is_other_version},
    {ALL, ERRNO_(EINVAL), DETAIL_(RESERVED), has_reserved},
    {OP(EVENT), ERRNO_(EINVAL), DETAIL_(MODE), is_other_mode},
    {OF_INITIATOR, ERRNO_(EINVAL), DETAIL_(MODE), is_not_of_target_mode},
    {OP(RELEASE_BUFFERS), ERRNO_(EINVAL), DETAIL_(MODE), is_not_of_initiator_mode},
    {STARTS, ERRNO_(EINVAL), DETAIL_(ADDRESS), is_bad_address},
    {OP(IOC_INFO), ERRNO_(EINVAL), DETAIL_(ADDRESS), is_bad_adapter},
    {OP(START_TARGET), ERRNO_(EINVAL), DETAIL_(BUFFERS), has_bad_buffers},
    {WITH_PLACE, ERRNO_(EIO), DETAIL_(NONE), has_no_agent},
    {WITH_PLACE, ERRNO_(EINVAL), DETAIL_(ADDRESS), is_unknown_address},
    {STARTS, ERRNO_(EINVAL), DETAIL_(OWN_ID), is_own_id},
    {OF_SESSION, ERRNO_(EINVAL), DETAIL_(NOT_STARTED), is_not_started},
    {OF_SESSION, ERRNO_(EINVAL), DETAIL_(NOT_OWNER), is_not_owner},
    {OP(WAIT_PRI), ERRNO_(EINVAL), DETAIL_(NOT_OWNER), waits_for_foreign},
    {OP(RELEASE_BUFFERS), ERRNO_(EINVAL), DETAIL_(BUFFERS), releases_too_many},
    {OP(EVENT), ERRNO_(EINVAL), DETAIL_(ALREADY_REGISTERED), is_registered},
    {STARTS, ERRNO_(EINVAL), DETAIL_(ALREADY_STARTED), is_started},
    {OP(START_TARGET) | OP(HALT) | OP(RESET) | OP(EVENT), ERRNO_(ENXIO), DETAIL_(NOT_SUPPORTED), is_not_supported},
    {COMMANDS, ERRNO_(ENXIO), DETAIL_(HALTED), is_halted},
    {OP(HALT), ERRNO_(EIO), DETAIL_(NONE), is_halting},
    {STARTS, ERRNO_(EACCES), DETAIL_(NONE), is_in_diagnostics},
    {ALL, ERRNO_(EIO), DETAIL_(NONE), is_stopping},
    {STARTS, ERRNO_(ENOMEM), DETAIL_(RESOURCE_EXHAUSTED), has_too_many_sessions},
    {OP(START_TARGET), ERRNO_(ENOMEM), DETAIL_(RESOURCE_EXHAUSTED), has_too_many_buffers},
    {FORWARDED, ERRNO_(ENOMEM), DETAIL_(RESOURCE_EXHAUSTED), has_too_many_operations},
    {OP(WAIT_PRI), ERRNO_(ENOMEM), DETAIL_(RESOURCE_EXHAUSTED), has_too_many_waits},
};

static bool is_known(Sensebus__V1__AdapterRequest__OperationCase kind)
{
    return kind >= CASE(IOC_INFO) && kind <= CASE(RELEASE_BUFFERS);
}

bool request_check(struct ask *ask, struct verdict *out)
{
    uint32_t kind = is_known(ask->request->operation_case) ? 1u << ask->request->operation_case : 1;
    const char *id = request_session_id(ask->request);
    ask->session = id ? session_find(ask->a, id, strlen(id)) : NULL;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        if ((order[i].operations & kind) && order[i].is_wrong(ask)) {
            *out = (struct verdict){order[i].error, order[i].detail};
            return false;
        }
    }
    return true;
}
