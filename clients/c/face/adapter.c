/* SPDX-License-Identifier: Apache-2.0 */
/* The AIX operations that open, close and steer sessions: each encodes its request, waits, and copies the result. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "clients/c/face/handle.h"
#include "clients/c/face/late.h"
#include "clients/c/face/sessions.h"
#include "proto/message.h"

/* Strings of requests: protobuf-c wants them not const. They are only read. */
#define TEXT(text) ((char *)(text))

static int bad_argument(struct sb *sb, const char *what)
{
    return errors_set(sb, EINVAL, SB_DETAIL_ARGUMENT, "%s", what);
}

static int bad_reply(struct sb *sb, Sensebus__V1__AdapterReply *reply)
{
    message_free(&reply->base);
    return errors_set(sb, EPROTO, SB_DETAIL_NONE, "the broker's reply lacks its result");
}

/* An operation whose result is nothing but its errno. */
static int operate(struct sb *sb, Sensebus__V1__AdapterRequest *request)
{
    Sensebus__V1__AdapterReply *reply;
    if (handle_operate(sb, request, sb->deadline_ms, false, &reply) < 0)
        return -1;
    message_free(&reply->base);
    return 0;
}

/* ------------------------------------------------------------------------------------------------ IOCINFO */

static uint32_t capabilities(char *const *names, size_t n)
{
    static const struct {
        const char *name;
        uint32_t bit;
    } known[] = {{"event", SB_CAN_EVENT},
                 {"halt", SB_CAN_HALT},
                 {"reset-lun", SB_CAN_RESET_LUN},
                 {"reset-target", SB_CAN_RESET_TARGET},
                 {"target-mode", SB_CAN_TARGET_MODE}};
    uint32_t bits = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            if (strcmp(names[i], known[k].name) == 0)
                bits |= known[k].bit;
    return bits;
}

int sb_iocinfo(struct sb *sb, const char *host, const char *adapter, struct sb_adapter_info *out_info)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__IocInfo ioc_info = SENSEBUS__V1__IOC_INFO__INIT;
    Sensebus__V1__AdapterReply *reply;
    if (handle_begin(sb) < 0)
        return -1;
    if (!host)
        return bad_argument(sb, "host is NULL");
    ioc_info.host = TEXT(host);
    ioc_info.adapter = TEXT(adapter ? adapter : "");
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_IOC_INFO;
    request.ioc_info = &ioc_info;
    if (handle_operate(sb, &request, sb->deadline_ms, false, &reply) < 0)
        return -1;
    if (reply->result->value_case != SENSEBUS__V1__RESULT__VALUE_IOC_INFO)
        return bad_reply(sb, reply);
    const Sensebus__V1__IocInfoResult *r = reply->result->ioc_info;
    *out_info = (struct sb_adapter_info){.adap_major = r->major,
                                         .adap_minor = r->minor,
                                         .transport = (uint32_t)r->transport,
                                         .capabilities = capabilities(r->capabilities, r->n_capabilities),
                                         .maximum_transfer_bytes = r->maximum_transfer_bytes};
    snprintf(out_info->adapter, sizeof out_info->adapter, "%s", r->adapter);
    snprintf(out_info->own_id, sizeof out_info->own_id, "%s", r->own_id);
    message_free(&reply->base);
    return 0;
}

/* ------------------------------------------------------------------------------------------------ START */

static int fill_address(struct sb *sb, const struct sb_address *address, Sensebus__V1__DeviceAddress *out)
{
    if (!address || !address->host)
        return bad_argument(sb, "the address, or its host, is NULL");
    if (handle_check_reserved(sb, address->reserved, sizeof address->reserved) < 0)
        return -1;
    sensebus__v1__device_address__init(out);
    out->host = TEXT(address->host);
    out->adapter = TEXT(address->adapter ? address->adapter : "");
    out->target_name = TEXT(address->target_name ? address->target_name : "");
    out->bus = address->bus;
    out->target = address->target;
    out->lun = address->lun;
    return 0;
}

static void fill_device(const Sensebus__V1__Device *d, struct sb_device *out)
{
    *out = (struct sb_device){.device_type = -1};
    if (!d)
        return;
    snprintf(out->vendor, sizeof out->vendor, "%s", d->vendor);
    snprintf(out->product, sizeof out->product, "%s", d->product);
    snprintf(out->revision, sizeof out->revision, "%s", d->revision);
    snprintf(out->serial, sizeof out->serial, "%s", d->serial);
    snprintf(out->designator, sizeof out->designator, "%s", d->designator);
    snprintf(out->target_name, sizeof out->target_name, "%s", d->target_name);
    snprintf(out->portal, sizeof out->portal, "%s", d->portal);
    out->device_type = d->device_type;
    out->transport = (uint32_t)d->transport;
}

/* START and START_TARGET answer alike. */
static int start(struct sb *sb, Sensebus__V1__AdapterRequest *request, struct sb_started *out,
                 struct face_session **out_session)
{
    Sensebus__V1__AdapterReply *reply;
    if (handle_operate(sb, request, sb->deadline_ms, false, &reply) < 0)
        return -1;
    const Sensebus__V1__StartResult *r = reply->result->start;
    if (reply->result->value_case != SENSEBUS__V1__RESULT__VALUE_START || strlen(r->session_id) >= SB_SESSION_BYTES)
        return bad_reply(sb, reply);
    struct face_session *s = sessions_add(sb, r->session_id);
    if (!s) {
        message_free(&reply->base);
        handle_lose(sb, "out of memory"); /* the session would be nobody's */
        return errors_set(sb, ENOMEM, SB_DETAIL_NONE, "out of memory");
    }
    s->started_here = true;
    s->generation = r->generation;
    sessions_place(r->address, &s->place);
    snprintf(out->session, sizeof out->session, "%s", r->session_id);
    out->generation = r->generation;
    out->already_started = r->already_started;
    out->place = s->place;
    fill_device(r->reached, &out->device);
    *out_session = s;
    message_free(&reply->base);
    return 0;
}

int sb_start(struct sb *sb, const struct sb_address *address, unsigned flags, struct sb_started *out_started)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__Start message = SENSEBUS__V1__START__INIT;
    Sensebus__V1__DeviceAddress device;
    struct face_session *session;
    if (handle_begin(sb) < 0 || fill_address(sb, address, &device) < 0)
        return -1;
    if (flags & ~SB_SHARED)
        return bad_argument(sb, "flags: unknown");
    message.address = &device;
    message.shared = flags & SB_SHARED;
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_START;
    request.start = &message;
    return start(sb, &request, out_started, &session);
}

int sb_start_target(struct sb *sb, const struct sb_address *address, const struct sb_target_options *options,
                    struct sb_started *out_started)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__StartTarget message = SENSEBUS__V1__START_TARGET__INIT;
    Sensebus__V1__DeviceAddress device;
    struct face_session *session;
    if (handle_begin(sb) < 0 || fill_address(sb, address, &device) < 0)
        return -1;
    if (!options || !options->receive)
        return bad_argument(sb, "receive is NULL"); /* the originals: recv_func null is EINVAL */
    if (handle_check_reserved(sb, options->reserved, sizeof options->reserved) < 0)
        return -1;
    if (options->correlator_len > SB_MAX_CORRELATOR)
        return errors_set(sb, EINVAL, SB_DETAIL_CORRELATOR, "the correlator is longer than %d bytes",
                          SB_MAX_CORRELATOR);
    message.address = &device;
    message.buffer_bytes = options->buffer_bytes;
    message.n_buffers = options->n_buffers;
    message.correlator = (ProtobufCBinaryData){options->correlator_len, (uint8_t *)options->correlator};
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_START_TARGET;
    request.start_target = &message;
    if (start(sb, &request, out_started, &session) < 0)
        return -1;
    session->receive = options->receive;
    session->receive_data = options->data;
    return 0;
}

/* ------------------------------------------------------------------------------------------------ by session id */

static int begin_session(struct sb *sb, const char *session)
{
    if (handle_begin(sb) < 0)
        return -1;
    return session ? 0 : bad_argument(sb, "session is NULL");
}

int sb_release_buffers(struct sb *sb, const char *session, unsigned n_buffers)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__ReleaseBuffers message = SENSEBUS__V1__RELEASE_BUFFERS__INIT;
    if (begin_session(sb, session) < 0)
        return -1;
    message.session_id = TEXT(session);
    message.n_buffers = n_buffers;
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_RELEASE_BUFFERS;
    request.release_buffers = &message;
    return operate(sb, &request);
}

int sb_stop(struct sb *sb, const char *session)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__Stop message = SENSEBUS__V1__STOP__INIT;
    if (begin_session(sb, session) < 0)
        return -1;
    message.session_id = TEXT(session);
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_STOP;
    request.stop = &message;
    int rc = operate(sb, &request);
    struct face_session *s = sessions_find(sb, session);
    if (s && (rc == 0 || sb->detail == SB_DETAIL_NOT_STARTED)) {
        int error = errno;
        sessions_remove(sb, s);
        errno = error;
    }
    return rc;
}

int sb_halt(struct sb *sb, const char *session)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__Halt message = SENSEBUS__V1__HALT__INIT;
    if (begin_session(sb, session) < 0)
        return -1;
    message.session_id = TEXT(session);
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_HALT;
    request.halt = &message;
    return operate(sb, &request);
}

int sb_reset(struct sb *sb, const char *session, unsigned flags)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__Reset message = SENSEBUS__V1__RESET__INIT;
    if (begin_session(sb, session) < 0)
        return -1;
    if (flags & ~SB_RESET_LUN)
        return bad_argument(sb, "flags: unknown");
    message.session_id = TEXT(session);
    message.lun_reset = flags & SB_RESET_LUN;
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_RESET;
    request.reset = &message;
    return operate(sb, &request);
}

/* ------------------------------------------------------------------------------------------------ EVENT */

static int check_registration(struct sb *sb, const struct sb_registration *r)
{
    if (!r || !r->on_event)
        return bad_argument(sb, "on_event is NULL");
    if (handle_check_reserved(sb, r->reserved, sizeof r->reserved) < 0)
        return -1;
    if (r->mode != SB_MODE_INITIATOR && r->mode != SB_MODE_TARGET)
        return errors_set(sb, EINVAL, SB_DETAIL_MODE, "mode is neither initiator nor target");
    if (r->correlator && r->correlator_len > SB_MAX_CORRELATOR)
        return errors_set(sb, EINVAL, SB_DETAIL_CORRELATOR, "the correlator is longer than %d bytes",
                          SB_MAX_CORRELATOR);
    return 0;
}

/* The session is registered: keep who is called. */
static int keep_registration(struct sb *sb, const char *session, const struct sb_registration *r)
{
    struct face_session *s = strlen(session) < SB_SESSION_BYTES ? sessions_add(sb, session) : NULL;
    if (!s) {
        handle_lose(sb, "out of memory"); /* records would come for nobody */
        return errors_set(sb, ENOMEM, SB_DETAIL_NONE, "out of memory");
    }
    s->on_event = r->on_event;
    s->event_data = r->data;
    s->mode = r->mode;
    s->has_correlator = r->correlator != NULL;
    s->correlator_len = r->correlator ? r->correlator_len : 0;
    if (s->correlator_len)
        memcpy(s->correlator, r->correlator, s->correlator_len);
    return 0;
}

/* The attempt that was given up is still on its way: this one is the same. 0, or -1 like any. */
static int register_on(struct sb *sb, uint64_t id)
{
    Sensebus__V1__AdapterReply *reply;
    if (handle_operate_on(sb, id, &reply) < 0)
        return -1;
    message_free(&reply->base);
    return 0;
}

/* By ourselves, in an attempt that we gave up? Then this one succeeds. */
static bool registered_late(struct sb *sb, const char *session, const struct sb_registration *r)
{
    if (sb->detail != SB_DETAIL_ALREADY_REGISTERED || !late_registered(sb, session, r))
        return false;
    sb->detail = SB_DETAIL_NONE;
    *sb->message = 0;
    return true;
}

int sb_event(struct sb *sb, const char *session, const struct sb_registration *registration)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__RegisterEvent message = SENSEBUS__V1__REGISTER_EVENT__INIT;
    if (begin_session(sb, session) < 0 || check_registration(sb, registration) < 0)
        return -1;
    message.session_id = TEXT(session);
    message.mode = (Sensebus__V1__Mode)registration->mode;
    if (registration->correlator) {
        message._correlator_case = SENSEBUS__V1__REGISTER_EVENT___CORRELATOR_CORRELATOR;
        message.correlator = (ProtobufCBinaryData){registration->correlator_len, (uint8_t *)registration->correlator};
    }
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_EVENT;
    request.event = &message;
    uint64_t id = late_registering(sb, session, registration);
    int rc = id ? register_on(sb, id) : operate(sb, &request);
    if (rc < 0 && !registered_late(sb, session, registration))
        return -1;
    return keep_registration(sb, session, registration);
}

int sb_tm_event(struct sb *sb, const char *session, unsigned flags, uint32_t *out_events)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__TmEvent message = SENSEBUS__V1__TM_EVENT__INIT;
    Sensebus__V1__AdapterReply *reply;
    if (begin_session(sb, session) < 0)
        return -1;
    if (flags & ~SB_PEEK)
        return bad_argument(sb, "flags: unknown");
    message.session_id = TEXT(session);
    message.peek = flags & SB_PEEK;
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_TM_EVENT;
    request.tm_event = &message;
    if (handle_operate(sb, &request, sb->deadline_ms, false, &reply) < 0)
        return -1;
    if (reply->result->value_case != SENSEBUS__V1__RESULT__VALUE_TM_EVENT)
        return bad_reply(sb, reply);
    *out_events = reply->result->tm_event->events | late_events(sb, session, flags & SB_PEEK);
    message_free(&reply->base);
    return 0;
}
