/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/record.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "agent/identify.h"
#include "agent/inventory.h"
#include "agent/message_parts.h"
#include "proto/event_view.h"
#include "proto/registry.h"
#include "proto/sense.h"
#include "sensebus/v1/event.pb-c.h"

#define DETAIL_BYTES 512

/* protobuf-c wants writable strings and never writes them. */
static char *borrowed(const char *text)
{
    return (char *)(text ? text : "");
}

static ProtobufCBinaryData binary(const uint8_t *bytes, size_t len, size_t max)
{
    ProtobufCBinaryData data = {.len = len < max ? len : max, .data = (uint8_t *)bytes};
    return data;
}

/* ------------------------------------------------------------------------------------------------ parts */

static void fill_address(const struct record *r, Sensebus__V1__Address *a)
{
    sensebus__v1__address__init(a);
    a->adapter = borrowed(r->place.adapter);
    a->controller = r->place.adapter ? r->place.controller : -1;
    a->target = r->place.target;
    a->lun = r->place.lun;
    if (r->place.kernel) {
        a->bus = r->place.kernel->bus;
        a->lun_raw = r->place.kernel->lun_raw;
    } else {
        a->bus = -1; /* iSCSI has none */
        a->lun_raw = r->place.lun >= 0 ? inventory_lun_raw((uint16_t)r->place.lun) : 0;
    }
}

/* False when nothing is known of it. */
static bool fill_device(const struct record_place *place, Sensebus__V1__Device *d)
{
    const struct record_kernel *kernel = place->kernel;

    if (!place->target_name && !kernel)
        return false;
    message_device(d, place->identity, place->target_name, place->portal);
    if (kernel) {
        d->transport = (Sensebus__V1__Transport)kernel->transport;
        d->n_kernel_names = kernel->n_names;
        d->kernel_names = (char **)kernel->names; /* never written */
    }
    return true;
}

static void fill_loss(const struct record_gap *gap, Sensebus__V1__Loss *l)
{
    sensebus__v1__loss__init(l);
    l->stage = (Sensebus__V1__LossStage)gap->stage;
    l->count = gap->count;
    l->at_least = gap->at_least;
    l->aix_bits = gap->aix_bits;
    l->reason = borrowed(gap->reason);
}

/* A native part and the text that it points to. */
struct native_part {
    Sensebus__V1__Native message;
    uint32_t parameters[3];
    char detail[DETAIL_BYTES];
};

static void fill_native(const struct record_native *n, struct native_part *part)
{
    Sensebus__V1__Native *m = &part->message;

    sensebus__v1__native__init(m);
    m->name = borrowed(n->name);
    m->code = n->code;
    m->subcode = n->subcode;
    m->raw = binary(n->raw, n->raw_len, RECORD_MAX_RAW);
    m->raw_length = (uint32_t)n->raw_len;
    m->n_parameters = n->n_parameters;
    memcpy(part->parameters, n->parameters, sizeof part->parameters);
    m->parameters = part->parameters;
    identify_text((const uint8_t *)borrowed(n->detail), strlen(borrowed(n->detail)), part->detail, sizeof part->detail);
    m->detail = part->detail;
}

/* ------------------------------------------------------------------------------------------------ summary */

/* Control characters have no place in a line for people; the fields keep them. */
static void make_printable(char *text)
{
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
}

/* Cut at a whole character. */
static void cut_utf8(char *text)
{
    size_t len = strlen(text);

    for (int i = 0; i < 4 && len > 0 && !utf8_valid((const uint8_t *)text, len); i++)
        text[--len] = 0;
}

/* What happened, then where: "Mode parameters changed (2A/01) on LUN 1 of iqn.2026-01.example:disks". */
static void summarise(const struct record *r, const struct registry_entry *entry, const struct message_sense *sense,
                      const char *detail, char out[RECORD_SUMMARY_BYTES])
{
    char what[160], where[RECORD_SUMMARY_BYTES];
    size_t used;

    if (sense && sense->decoded.response_code && sense->message.text[0])
        snprintf(what, sizeof what, "%s (%02X/%02X)", sense->message.text, sense->decoded.asc, sense->decoded.ascq);
    else if (r->gap)
        snprintf(what, sizeof what, "%s%llu event%s lost: %s", r->gap->at_least ? "at least " : "",
                 (unsigned long long)r->gap->count, r->gap->count == 1 ? "" : "s", borrowed(r->gap->reason));
    else
        snprintf(what, sizeof what, "%s", detail && detail[0] ? detail : entry->meaning);
    where[0] = 0;
    if (r->place.target_name && r->place.lun >= 0)
        snprintf(where, sizeof where, " on LUN %d of %s", (int)r->place.lun, r->place.target_name);
    else if (r->place.target_name)
        snprintf(where, sizeof where, " at %s", r->place.target_name);
    else if (r->place.kernel && r->place.kernel->n_names > 0)
        snprintf(where, sizeof where, " on %s", r->place.kernel->names[0]);
    else if (r->place.kernel && r->place.adapter)
        snprintf(where, sizeof where, " at %s", r->place.adapter);
    cut_utf8(what);
    used = strlen(what);
    memcpy(out, what, used);
    snprintf(out + used, RECORD_SUMMARY_BYTES - used, "%s", where);
    cut_utf8(out);
    make_printable(out);
}

/* ------------------------------------------------------------------------------------------------ records */

void record_native_sense(struct record_native *n, const uint8_t *sense, size_t len, int opcode, char *detail,
                         size_t detail_len)
{
    struct sense s;

    memset(n, 0, sizeof *n);
    n->raw = sense;
    n->raw_len = len;
    if (opcode >= 0)
        snprintf(detail, detail_len, "in answer to command %02Xh", (unsigned)opcode);
    else
        detail[0] = 0;
    n->detail = detail;
    if (sense_decode(sense, len, &s) < 0) {
        n->name = "sense";
        return;
    }
    n->name = s.deferred ? "deferred-error" : s.key == 6 ? "unit-attention" : "check-condition";
    n->code = s.key;
    n->subcode = (uint32_t)s.asc << 8 | s.ascq;
}

static int pack(const Sensebus__V1__Event *event, struct record_bytes *out)
{
    size_t len = sensebus__v1__event__get_packed_size(event);
    uint8_t *bytes = malloc(len);

    if (!bytes)
        return UV_ENOMEM;
    out->len = sensebus__v1__event__pack(event, bytes);
    out->bytes = bytes;
    out->aix_bits = event->aix_bits;
    return 0;
}

static void fill_defaults(Sensebus__V1__Event *event, const struct registry_entry *entry, uint32_t scope)
{
    sensebus__v1__event__init(event);
    event->code = (Sensebus__V1__Code)entry->code;
    event->severity = (Sensebus__V1__Severity)entry->severity;
    event->scope = (Sensebus__V1__Scope)(scope ? scope : entry->scope);
    event->mode = SENSEBUS__V1__MODE__MODE_INITIATOR;
    event->aix_bits = entry->aix_bits;
}

int record_encode(const struct record *r, struct record_bytes *out)
{
    const struct registry_entry *entry = registry_find(r->code);
    size_t n_evidence = r->n_evidence < RECORD_MAX_EVIDENCE ? r->n_evidence : RECORD_MAX_EVIDENCE;
    struct native_part *evidence = NULL;
    Sensebus__V1__Native *evidence_list[RECORD_MAX_EVIDENCE];
    Sensebus__V1__Address address;
    Sensebus__V1__Device device;
    Sensebus__V1__Loss loss;
    struct native_part native;
    struct message_sense sense;
    char summary[RECORD_SUMMARY_BYTES];
    Sensebus__V1__Event event;
    int rc;

    assert(entry);
    *out = (struct record_bytes){.aix_bits = entry->aix_bits | r->more_bits | (r->gap ? r->gap->aix_bits : 0)};
    if (n_evidence > 0 && !(evidence = calloc(n_evidence, sizeof *evidence)))
        return UV_ENOMEM;

    fill_defaults(&event, entry, r->scope);
    event.wall_time_unix_ns = r->wall_ns;
    event.monotonic_time_ns = r->boot_ns;
    event.synthetic = r->synthetic;
    event.session_id = borrowed(r->session_id);
    event.origin_session = borrowed(r->origin_session);
    if (r->mode)
        event.mode = (Sensebus__V1__Mode)r->mode;
    fill_address(r, &address);
    event.address = &address;
    event.aix_bits |= r->more_bits;
    if (fill_device(&r->place, &device))
        event.device = &device;
    if (r->gap) {
        fill_loss(r->gap, &loss);
        event.loss = &loss;
        event.aix_bits |= loss.aix_bits;
    }
    if (r->native.name) {
        fill_native(&r->native, &native);
        event.native = &native.message;
    }
    for (size_t i = 0; i < n_evidence; i++) {
        fill_native(&r->evidence[i], &evidence[i]);
        evidence_list[i] = &evidence[i].message;
    }
    event.n_evidence = n_evidence;
    event.evidence = evidence_list;
    if (r->sense && r->sense_len > 0) {
        message_sense(&sense, r->sense, r->sense_len);
        event.sense = &sense.message;
    }
    if (r->count > 1) {
        event.count = r->count;
        event.first_time_unix_ns = r->first_wall_ns;
        event.last_time_unix_ns = r->wall_ns;
    }
    summarise(r, entry, event.sense ? &sense : NULL, event.native ? native.detail : NULL, summary);
    event.summary = summary;

    rc = pack(&event, out);
    free(evidence);
    return rc;
}

int record_encode_loss(const struct record_loss *loss, struct record_bytes *out)
{
    const struct registry_entry *entry = registry_find(SENSEBUS__V1__CODE__EVENTS_LOST);
    uint64_t count = loss->last - loss->first + 1;
    Sensebus__V1__Loss message = SENSEBUS__V1__LOSS__INIT;
    Sensebus__V1__Event event;
    char summary[RECORD_SUMMARY_BYTES];

    fill_defaults(&event, entry, SENSEBUS__V1__SCOPE__SCOPE_HOST);
    event.mode = SENSEBUS__V1__MODE__MODE_BOTH;
    event.wall_time_unix_ns = loss->wall_ns;
    event.monotonic_time_ns = loss->boot_ns;
    event.aix_bits = loss->aix_bits;
    message.stage = SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_AGENT;
    message.count = count;
    message.aix_bits = loss->aix_bits;
    message.first_source_sequence = loss->first;
    message.last_source_sequence = loss->last;
    message.reason = borrowed(loss->reason);
    event.loss = &message;
    snprintf(summary, sizeof summary, "%llu event%s lost: %s", (unsigned long long)count, count == 1 ? "" : "s",
             message.reason);
    event.summary = summary;
    return pack(&event, out);
}

/* ------------------------------------------------------------------------------------------------ origin */

#define TAG_EVENTS 0x12 /* Publish.events = 2, length-delimited */
#define TAG_ORIGIN 0x42 /* Event.origin = 8, length-delimited */

static uint8_t *put_length(uint8_t *p, uint8_t tag, size_t len)
{
    *p++ = tag;
    return p + varint_write(p, len);
}

size_t record_element_write(uint8_t *out, const uint8_t *event, size_t len, const struct record_origin *origin)
{
    Sensebus__V1__Origin message = SENSEBUS__V1__ORIGIN__INIT;
    size_t origin_len, event_len;
    uint8_t *p = out;

    message.host = borrowed(origin->host);
    message.boot_id = borrowed(origin->boot_id);
    message.agent_epoch = origin->epoch;
    message.source = (Sensebus__V1__Source)origin->source;
    message.source_sequence = origin->sequence;
    origin_len = sensebus__v1__origin__get_packed_size(&message);
    event_len = len + 1 + varint_size(origin_len) + origin_len;
    if (!out)
        return 1 + varint_size(event_len) + event_len;

    p = put_length(p, TAG_EVENTS, event_len);
    memcpy(p, event, len);
    p = put_length(p + len, TAG_ORIGIN, origin_len);
    p += sensebus__v1__origin__pack(&message, p);
    return (size_t)(p - out);
}
