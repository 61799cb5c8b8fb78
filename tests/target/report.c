/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/target/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire.h"
#include "tests/target/order_message.h"

void report_clean(char *text)
{
    size_t len = strlen(text), n;
    uint32_t point;

    for (size_t at = 0; at < len; at += n ? n : 1) {
        n = utf8_decode((const uint8_t *)text + at, len - at, &point);
        if (n == 0)
            text[at] = '?';
    }
}

void report_session_init(struct report_session *r, const struct session *session, const char *peer)
{
    sensebus__target__v1__session__init(&r->message);
    snprintf(r->initiator, sizeof(r->initiator), "%s", session->port->name);
    report_clean(r->initiator);
    r->message.tsih = session->tsih;
    r->message.initiator = r->initiator;
    r->message.isid = (ProtobufCBinaryData){.len = sizeof(session->isid), .data = (uint8_t *)session->isid};
    r->message.peer = (char *)peer;
}

static void add_session(void *data, const struct session *session, const char *peer)
{
    struct report_state *r = data;
    size_t i = r->message.n_sessions;

    if (i == SERVER_MAX_CONNECTIONS)
        return;
    report_session_init(&r->sessions[i], session, peer);
    r->sessions[i].message.pending = attention_count(&session->port->attentions);
    r->session_pointers[i] = &r->sessions[i].message;
    r->message.n_sessions++;
}

static void add_unit(struct report_state *r, const struct unit *u)
{
    Sensebus__Target__V1__Unit *m = &r->units[r->message.n_units];

    sensebus__target__v1__unit__init(m);
    m->lun = u->number;
    m->blocks = u->n_blocks;
    m->block_bytes = u->block_bytes;
    m->write_protected = unit_is_write_protected(u);
    m->offline = u->offline;
    m->access = order_message_access(u->alua);
    m->registrations = u->reservation.n;
    r->unit_pointers[r->message.n_units++] = m;
}

struct report_state *report_state_new(const struct server *s)
{
    struct report_state *r = malloc(sizeof(*r));

    if (!r)
        return NULL;
    sensebus__target__v1__state__init(&r->message);
    server_address(s, r->portal, sizeof(r->portal));
    r->message.target_name = (char *)s->device.name;
    r->message.portal = r->portal;
    r->message.sessions = r->session_pointers;
    r->message.units = r->unit_pointers;
    server_each_session(s, add_session, r);
    for (size_t i = 0; i < s->device.n_units; i++)
        add_unit(r, s->device.units[i]);
    return r;
}

static ProtobufCBinaryData borrowed(const uint8_t *bytes, size_t len)
{
    return (ProtobufCBinaryData){.len = len, .data = (uint8_t *)bytes};
}

void report_sent_init(struct report_sent *r, const struct session_sent *sent, Sensebus__Target__V1__Happening *out)
{
    if (!sent->message) {
        sensebus__target__v1__sense_sent__init(&r->sense);
        r->sense.lun_raw = get_be64(sent->lun);
        r->sense.lun = device_lun_number(sent->lun);
        r->sense.opcode = sent->opcode;
        r->sense.sense = borrowed(sent->sense, sent->sense_len);
        out->what_case = SENSEBUS__TARGET__V1__HAPPENING__WHAT_SENSE;
        out->sense = &r->sense;
        return;
    }
    sensebus__target__v1__async_message__init(&r->message);
    for (size_t i = 0; i < 3; i++)
        r->parameters[i] = sent->message->parameters[i];
    r->message.event = sent->message->event;
    r->message.lun = sent->message->lun;
    r->message.data_case = SENSEBUS__TARGET__V1__ASYNC_MESSAGE__DATA_RAW;
    r->message.raw = borrowed(sent->message->data, sent->message->data_len);
    r->message.parameters = r->parameters;
    r->message.n_parameters = 3;
    out->what_case = SENSEBUS__TARGET__V1__HAPPENING__WHAT_ASYNC_MESSAGE;
    out->async_message = &r->message;
}
