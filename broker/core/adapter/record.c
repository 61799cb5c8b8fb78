/* SPDX-License-Identifier: Apache-2.0 */
/* What a session is sent: AdapterEvents around records of the log or around records made here, and TargetData. */
#include <stdio.h>
#include <string.h>

#include "broker/core/adapter/mutant.h"
#include "broker/core/adapter/state.h"
#include "proto/registry.h"
#include "proto/wire.h"

#define TAG_BODY_EVENT 0x12 /* AdapterReply.event */
#define TAG_RECORD     0x4a /* AdapterEvent.record */

void session_address(const struct adapter_session *s, Sensebus__V1__DeviceAddress *out)
{
    sensebus__v1__device_address__init(out);
    out->host = s->host->name;
    out->adapter = (char *)s->place.adapter;
    out->bus = s->place.bus;
    out->target = s->place.target;
    out->target_name = (char *)s->place.target_name;
    out->lun = s->place.lun;
}

static void set_correlator(const struct adapter_session *s, Sensebus__V1__AdapterEvent *event)
{
    if (!s->correlator || (MUTANT(7) && s->correlator->len == 0))
        return;
    event->_correlator_case = SENSEBUS__V1__ADAPTER_EVENT___CORRELATOR_CORRELATOR;
    event->correlator.data = s->correlator->bytes;
    event->correlator.len = s->correlator->len;
    if (MUTANT(6))
        event->correlator.len = strnlen((const char *)s->correlator->bytes, s->correlator->len);
}

/* `room` bytes of the record are to follow in the same chunk. */
static struct chunk *head(const struct adapter_session *s, uint32_t events, size_t record_len, size_t room)
{
    Sensebus__V1__DeviceAddress address;
    Sensebus__V1__AdapterEvent event = SENSEBUS__V1__ADAPTER_EVENT__INIT;
    session_address(s, &address);
    set_correlator(s, &event);
    event.session_id = (char *)s->id;
    event.generation = s->generation;
    event.registered = &address;
    event.mode = s->mode;
    event.events = events;
    event.adapter_major = s->major;
    event.adapter_minor = s->minor;
    size_t own = sensebus__v1__adapter_event__get_packed_size(&event);
    size_t inner = own + 1 + varint_size(record_len) + record_len;
    struct chunk *c = chunk_new(1 + varint_size(inner) + own + 1 + varint_size(record_len) + room);
    if (!c)
        return NULL;
    c->bytes[c->len++] = TAG_BODY_EVENT;
    c->len += varint_write(c->bytes + c->len, inner);
    c->len += sensebus__v1__adapter_event__pack(&event, c->bytes + c->len);
    c->bytes[c->len++] = TAG_RECORD;
    c->len += varint_write(c->bytes + c->len, record_len);
    return c;
}

struct chunk *record_head(const struct adapter_session *s, uint32_t events, size_t record_len)
{
    return head(s, events, record_len, 0);
}

/* ---- records made here */

/* The members that all of them have; they point into the session. */
struct made {
    Sensebus__V1__Event event;
    Sensebus__V1__Origin origin;
    Sensebus__V1__Address address;
    Sensebus__V1__Native native;
    Sensebus__V1__Loss loss;
};

static void make(const struct adapter_session *s, Sensebus__V1__Code code, uint64_t wall_ns, struct made *m)
{
    const struct registry_entry *entry = registry_find((uint32_t)code);
    sensebus__v1__event__init(&m->event);
    sensebus__v1__origin__init(&m->origin);
    sensebus__v1__address__init(&m->address);
    sensebus__v1__native__init(&m->native);
    sensebus__v1__loss__init(&m->loss);
    m->origin.host = s->host->name;
    m->origin.source = SENSEBUS__V1__SOURCE__SOURCE_BROKER;
    m->address.adapter = (char *)s->place.adapter;
    m->address.bus = s->place.bus;
    m->address.target = s->place.target;
    m->address.lun = s->place.lun;
    m->address.controller = s->controller;
    m->event.code = code;
    m->event.severity = (Sensebus__V1__Severity)entry->severity;
    m->event.scope = (Sensebus__V1__Scope)entry->scope;
    m->event.mode = s->mode;
    m->event.origin = &m->origin;
    m->event.address = &m->address;
    m->event.session_id = (char *)s->id;
    m->event.session_generation = s->generation;
    m->event.wall_time_unix_ns = wall_ns;
}

static struct chunk *wrap(const struct adapter_session *s, const Sensebus__V1__Event *event, uint32_t events)
{
    size_t len = sensebus__v1__event__get_packed_size(event);
    struct chunk *c = head(s, events, len, len);
    if (c)
        c->len += sensebus__v1__event__pack(event, c->bytes + c->len);
    return c;
}

struct chunk *record_lost(const struct adapter_session *s)
{
    struct made m;
    char summary[64];
    make(s, SENSEBUS__V1__CODE__EVENTS_LOST, s->lost.last_time_ns, &m);
    m.loss.stage = SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_SUBSCRIPTION;
    m.loss.count = MUTANT(21) ? 1 : s->lost.count;
    m.loss.aix_bits = s->lost.events;
    m.loss.reason = (char *)"the stream of the session was too slow";
    m.event.loss = &m.loss;
    m.event.aix_bits = s->lost.events;
    m.event.count = m.loss.count;
    m.event.first_time_unix_ns = s->lost.first_time_ns;
    m.event.last_time_unix_ns = s->lost.last_time_ns;
    snprintf(summary, sizeof summary, "%llu records lost: the stream was too slow", (unsigned long long)m.loss.count);
    m.event.summary = summary;
    return wrap(s, &m.event, s->lost.events);
}

struct chunk *record_final(const struct adapter_session *s)
{
    struct made m;
    char summary[ADAPTER_MAX_REASON + 32], cut[MAX_TEXT];
    make(s, SENSEBUS__V1__CODE__REGISTRATION_CANCELLED, s->adapter->now_ns + s->adapter->wall_offset_ns, &m);
    snprintf(summary, sizeof summary, "registration cancelled: %s", s->reason);
    text_copy(cut, sizeof cut, summary);
    m.native.name = (char *)s->reason_name;
    m.native.detail = (char *)s->reason;
    m.event.native = &m.native;
    m.event.summary = cut;
    return wrap(s, &m.event, 0);
}

struct chunk *record_data(const struct adapter_session *s, const ProtobufCBinaryData *data)
{
    Sensebus__V1__TargetData target_data = SENSEBUS__V1__TARGET_DATA__INIT;
    Sensebus__V1__AdapterReply message = SENSEBUS__V1__ADAPTER_REPLY__INIT;
    if (s->data_correlator) {
        target_data.correlator.data = s->data_correlator->bytes;
        target_data.correlator.len = s->data_correlator->len;
    }
    target_data.session_id = (char *)s->id;
    target_data.generation = s->generation;
    target_data.data = *data;
    message.body_case = SENSEBUS__V1__ADAPTER_REPLY__BODY_TARGET_DATA;
    message.target_data = &target_data;
    struct chunk *c = chunk_new(sensebus__v1__adapter_reply__get_packed_size(&message));
    if (c)
        c->len = sensebus__v1__adapter_reply__pack(&message, c->bytes);
    return c;
}
