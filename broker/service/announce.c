/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/service/announce.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/service/broker.h"
#include "proto/registry.h"
#include "proto/wire.h"
#include "runtime/clock.h"

#define SUMMARY_MAX   256
#define LINES_AT_ONCE 10

/* Cut `text` to what a summary may hold, not inside a character. Text that came from outside may not be UTF-8. */
static void text_write(char out[SUMMARY_MAX + 1], const char *text)
{
    size_t len = strnlen(text, SUMMARY_MAX + 1);

    if (len > SUMMARY_MAX)
        for (len = SUMMARY_MAX; len > 0 && ((uint8_t)text[len] & 0xC0) == 0x80;)
            len--;
    memcpy(out, text, len);
    out[len] = 0;
    if (utf8_valid((const uint8_t *)out, len))
        return;
    for (size_t i = 0; i < len; i++)
        if ((uint8_t)out[i] >= 0x80)
            out[i] = '?';
}

/* Severity, and where not said already scope and mode, are the registry's. */
static int append_from(struct broker *b, Sensebus__V1__Source source, Sensebus__V1__Event *event, const char *host,
                       const char *summary)
{
    const struct registry_entry *entry = registry_find((uint32_t)event->code);
    Sensebus__V1__Origin origin = SENSEBUS__V1__ORIGIN__INIT;
    char summary_text[SUMMARY_MAX + 1];
    uint64_t sequence;

    text_write(summary_text, summary);
    origin.host = (char *)host;
    origin.agent_epoch = b->journal.epoch;
    origin.source = source;
    origin.source_sequence = b->commit.newest + 1;
    event->origin = &origin;
    event->severity = (Sensebus__V1__Severity)entry->severity;
    if (event->scope == SENSEBUS__V1__SCOPE__SCOPE_UNSPECIFIED)
        event->scope = (Sensebus__V1__Scope)entry->scope;
    if (event->mode == SENSEBUS__V1__MODE__MODE_UNSPECIFIED)
        event->mode = (Sensebus__V1__Mode)entry->mode;
    event->aix_bits |= entry->aix_bits;
    event->wall_time_unix_ns = clock_wall_ns();
    event->monotonic_time_ns = clock_boot_ns();
    event->summary = summary_text;

    size_t len = sensebus__v1__event__get_packed_size(event);
    uint8_t *bytes = malloc(len);
    int rc = bytes ? 0 : UV_ENOMEM;
    if (!rc) {
        sensebus__v1__event__pack(event, bytes);
        rc = commit_append(&b->commit, bytes, len, event->wall_time_unix_ns, event->aix_bits, &sequence);
        free(bytes);
    }
    if (rc) {
        uint64_t n_suppressed;
        b->counters.n_own_failed++;
        if (log_limit_allow(&b->own_failed_limit, clock_mono_ns() / 1000000, LINES_AT_ONCE, &n_suppressed))
            log_error("broker.event_not_written", "code=%s host=%s reason=\"%s\" more_before=%" PRIu64, entry->name,
                      host, uv_strerror(rc), n_suppressed);
    } else {
        b->counters.n_own_events++;
    }
    return rc;
}

static int append(struct broker *b, Sensebus__V1__Event *event, const char *host, const char *summary)
{
    return append_from(b, SENSEBUS__V1__SOURCE__SOURCE_BROKER, event, host, summary);
}

int announce(struct broker *b, Sensebus__V1__Code code, const char *host, const char *summary)
{
    Sensebus__V1__Event event = SENSEBUS__V1__EVENT__INIT;

    event.code = code;
    return append(b, &event, host, summary);
}

int announce_loss(struct broker *b, const char *host, const struct announce_loss *loss)
{
    Sensebus__V1__Event event = SENSEBUS__V1__EVENT__INIT;
    Sensebus__V1__Loss message = SENSEBUS__V1__LOSS__INIT;
    char summary[2 * SUMMARY_MAX], reason[SUMMARY_MAX + 1];

    message.stage = SENSEBUS__V1__LOSS_STAGE__LOSS_STAGE_WIRE;
    message.count = loss->count;
    message.at_least = loss->at_least;
    message.first_source_sequence = loss->first;
    message.last_source_sequence = loss->last;
    message.aix_bits = AIX_ALL_BITS;
    text_write(reason, loss->reason);
    message.reason = reason;
    event.code = SENSEBUS__V1__CODE__EVENTS_LOST;
    event.scope = SENSEBUS__V1__SCOPE__SCOPE_HOST;
    event.aix_bits = AIX_ALL_BITS;
    event.loss = &message;
    snprintf(summary, sizeof summary, "%" PRIu64 " event%s of %s lost on the way to the log: %s", loss->count,
             loss->count == 1 ? "" : "s", host, reason);
    return append(b, &event, host, summary);
}

int announce_session(struct broker *b, Sensebus__V1__Code code, const struct announce_session *session)
{
    Sensebus__V1__Event event = SENSEBUS__V1__EVENT__INIT;
    Sensebus__V1__Address address = SENSEBUS__V1__ADDRESS__INIT;
    Sensebus__V1__Device device = SENSEBUS__V1__DEVICE__INIT;

    address.adapter = (char *)session->adapter;
    address.controller = session->controller;
    address.bus = session->bus;
    address.target = session->target;
    address.lun = session->lun;
    device.vendor = (char *)session->vendor;
    device.product = (char *)session->product;
    device.device_type = session->device_type;
    device.target_name = (char *)session->target_name;
    event.code = code;
    event.mode = session->mode;
    event.session_id = (char *)session->session_id;
    event.session_generation = session->generation;
    event.address = &address;
    event.device = &device;
    return append(b, &event, session->host, session->summary);
}

int announce_reported(struct broker *b, const struct announce_reported *reported)
{
    Sensebus__V1__Event event = SENSEBUS__V1__EVENT__INIT;
    Sensebus__V1__Address address = SENSEBUS__V1__ADDRESS__INIT;
    Sensebus__V1__Native native = SENSEBUS__V1__NATIVE__INIT;
    char detail[SUMMARY_MAX + 1];

    address.adapter = (char *)reported->adapter;
    address.controller = reported->controller;
    address.bus = reported->bus;
    address.target = reported->target;
    address.lun = reported->lun;
    text_write(detail, reported->reporter);
    native.name = (char *)reported->native_name;
    native.code = reported->native_code;
    native.parameters = (uint32_t *)reported->parameters;
    native.n_parameters = reported->n_parameters;
    native.detail = detail;
    event.code = reported->code;
    event.scope = reported->scope;
    event.address = &address;
    event.native = &native;
    return append_from(b, SENSEBUS__V1__SOURCE__SOURCE_SUBSCRIBER, &event, reported->host, reported->summary);
}
