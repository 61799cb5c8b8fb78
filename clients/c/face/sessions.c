/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/c/face/sessions.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/c/face/handle.h"
#include "proto/registry.h"
#include "proto/wire.h"
#include "runtime/clock.h"

/* Fields of AdapterReply and AdapterEvent. */
enum { REPLY_EVENT = 2, EVENT_RECORD = 9 };

static const char EMPTY[] = "";

/* ------------------------------------------------------------------------------------------------ entries */

/* Where `id` is, or would be. */
static size_t place_of(const struct sb *sb, const char *id)
{
    size_t low = 0, high = sb->n_sessions;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(sb->sessions[middle]->id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct face_session *sessions_find(const struct sb *sb, const char *id)
{
    size_t at = place_of(sb, id);
    return at < sb->n_sessions && strcmp(sb->sessions[at]->id, id) == 0 ? sb->sessions[at] : NULL;
}

static bool make_room(struct sb *sb)
{
    if (sb->n_sessions < sb->cap_sessions)
        return true;
    size_t cap = sb->cap_sessions ? 2 * sb->cap_sessions : 16;
    struct face_session **grown = realloc(sb->sessions, cap * sizeof(*grown));
    if (!grown)
        return false;
    sb->sessions = grown;
    sb->cap_sessions = cap;
    return true;
}

struct face_session *sessions_add(struct sb *sb, const char *id)
{
    struct face_session *s = sessions_find(sb, id);
    if (s)
        return s;
    s = make_room(sb) ? calloc(1, sizeof *s) : NULL;
    if (!s)
        return NULL;
    snprintf(s->id, sizeof s->id, "%s", id);
    s->place = (struct sb_place){.bus = -1, .target = -1, .lun = -1};
    size_t at = place_of(sb, id);
    memmove(sb->sessions + at + 1, sb->sessions + at, (sb->n_sessions++ - at) * sizeof(s));
    sb->sessions[at] = s;
    return s;
}

void sessions_remove(struct sb *sb, struct face_session *s)
{
    size_t at = place_of(sb, s->id);
    memmove(sb->sessions + at, sb->sessions + at + 1, (--sb->n_sessions - at) * sizeof(s));
    free(s);
}

void sessions_prune(struct sb *sb, struct face_session *s)
{
    if (!s->started_here && !s->on_event)
        sessions_remove(sb, s);
}

void sessions_deinit(struct sb *sb)
{
    while (sb->n_sessions)
        free(sb->sessions[--sb->n_sessions]);
    free(sb->sessions);
    sb->sessions = NULL;
    sb->cap_sessions = 0;
}

static void copy_name(char out[SB_NAME_BYTES], const char *text)
{
    snprintf(out, SB_NAME_BYTES, "%s", text);
}

void sessions_place(const Sensebus__V1__DeviceAddress *address, struct sb_place *out)
{
    *out = (struct sb_place){.bus = -1, .target = -1, .lun = -1};
    if (!address)
        return;
    copy_name(out->host, address->host);
    copy_name(out->adapter, address->adapter);
    copy_name(out->target_name, address->target_name);
    out->bus = address->bus;
    out->target = address->target;
    out->lun = address->lun;
}

/* ------------------------------------------------------------------------------------------------ callbacks */

static void call_event(struct sb *sb, const struct face_session *s, const struct sb_event_info *info)
{
    assert(!sb->in_callback);
    sb->in_callback = true;
    sb->n_callbacks++;
    s->on_event(s->event_data, info);
    sb->in_callback = false;
}

/* The one length-delimited field `number` of a message; false when it is not there. The message was checked. */
static bool find_field(const uint8_t *bytes, size_t len, uint32_t number, const uint8_t **out_bytes, size_t *out_len)
{
    const uint8_t *end = bytes + len;
    struct wire_field field;
    bool found = false;
    while (bytes && bytes < end) {
        bytes = wire_field_read(bytes, end, &field);
        if (bytes && field.number == number && field.type == WIRE_BYTES) {
            *out_bytes = field.bytes;
            *out_len = field.len;
            found = true;
        }
    }
    return found;
}

static void fill_record(const Sensebus__V1__Event *record, struct sb_event_info *info)
{
    const struct registry_entry *entry = registry_find((uint32_t)record->code);
    info->code = (uint32_t)record->code;
    info->code_name = entry ? entry->name : "UNKNOWN";
    info->summary = record->summary;
    info->severity = (uint32_t)record->severity;
    info->count = record->count > UINT32_MAX ? UINT32_MAX : record->count ? (uint32_t)record->count : 1;
    info->sequence = record->sequence;
    info->wall_time_unix_ns = record->wall_time_unix_ns;
    info->origin_session = record->origin_session;
    info->last = info->code == SB_CODE_REGISTRATION_CANCELLED;
    info->reason = info->last && record->native ? record->native->name : EMPTY;
}

static void fill_device(const Sensebus__V1__AdapterEvent *event, char devno[2 * SB_NAME_BYTES],
                        struct sb_event_info *info)
{
    static const Sensebus__V1__DeviceAddress none = SENSEBUS__V1__DEVICE_ADDRESS__INIT;
    const Sensebus__V1__DeviceAddress *registered = event->registered ? event->registered : &none;
    const Sensebus__V1__Address *now = event->record ? event->record->address : NULL;
    info->host = registered->host;
    info->adapter = registered->adapter;
    info->target_name = registered->target_name;
    info->bus = registered->bus;
    info->target = registered->target;
    info->lun = registered->lun;
    snprintf(devno, 2 * SB_NAME_BYTES, "%.255s/%.254s", registered->host,
             *registered->adapter || !now ? registered->adapter : now->adapter);
    info->adap_devno = devno;
    info->adap_major = event->adapter_major;
    info->adap_minor = event->adapter_minor;
}

static void fill_correlator(const Sensebus__V1__AdapterEvent *event, struct sb_event_info *info)
{
    if (event->_correlator_case != SENSEBUS__V1__ADAPTER_EVENT___CORRELATOR_CORRELATOR)
        return;
    info->correlator = event->correlator.len ? (const void *)event->correlator.data : EMPTY;
    info->correlator_len = event->correlator.len;
}

void sessions_event(struct sb *sb, const Sensebus__V1__AdapterEvent *event, const uint8_t *bytes, size_t len)
{
    static const Sensebus__V1__Event no_record = SENSEBUS__V1__EVENT__INIT;
    struct face_session *s = sessions_find(sb, event->session_id);
    if (!s || !s->on_event || (s->generation && s->generation != event->generation))
        return;           /* nobody's here, or of an earlier generation */
    if (!s->generation) { /* started elsewhere: now it is known what it is, for the last word as well */
        s->generation = event->generation;
        sessions_place(event->registered, &s->place);
    }
    struct sb_event_info info = {.session = event->session_id,
                                 .generation = event->generation,
                                 .mode = (enum sb_mode)event->mode,
                                 .events = event->events};
    char devno[2 * SB_NAME_BYTES];
    const uint8_t *inner, *record;
    size_t inner_len;
    fill_correlator(event, &info);
    fill_device(event, devno, &info);
    fill_record(event->record ? event->record : &no_record, &info);
    if (find_field(bytes, len, REPLY_EVENT, &inner, &inner_len) &&
        find_field(inner, inner_len, EVENT_RECORD, &record, &info.record_len))
        info.record = record;
    call_event(sb, s, &info);
    if (!info.last)
        return;
    /* With the registration the session is over too, whoever ended it. */
    s->on_event = NULL;
    s->started_here = false;
    sessions_prune(sb, s);
}

void sessions_target_data(struct sb *sb, const Sensebus__V1__TargetData *data)
{
    const struct face_session *s = sessions_find(sb, data->session_id);
    if (!s || !s->receive || s->generation != data->generation)
        return;
    const struct sb_target_data received = {.session = data->session_id,
                                            .generation = data->generation,
                                            .correlator =
                                                data->correlator.len ? (const void *)data->correlator.data : EMPTY,
                                            .correlator_len = data->correlator.len,
                                            .data = data->data.len ? (const void *)data->data.data : EMPTY,
                                            .len = data->data.len};
    assert(!sb->in_callback);
    sb->in_callback = true;
    sb->n_callbacks++;
    int held = s->receive(s->receive_data, &received);
    sb->in_callback = false;
    if (held)
        return;
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__ReleaseBuffers release = SENSEBUS__V1__RELEASE_BUFFERS__INIT;
    release.session_id = data->session_id;
    release.n_buffers = 1;
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_RELEASE_BUFFERS;
    request.release_buffers = &release;
    if (handle_tell(sb, &request) < 0)
        handle_lose(sb, "out of memory");
}

/* ------------------------------------------------------------------------------------------------ loss */

/* What the broker would have said. */
static void cancel(struct sb *sb, struct face_session *s, const char *reason)
{
    char devno[2 * SB_NAME_BYTES], summary[320];
    const struct sb_place *p = &s->place;
    snprintf(devno, sizeof devno, "%.255s%s%.254s", p->host, *p->host ? "/" : "", p->adapter);
    snprintf(summary, sizeof summary, "registration cancelled: connection lost: %s", reason);
    const struct registry_entry *entry = registry_find(SB_CODE_REGISTRATION_CANCELLED);
    const struct sb_event_info info = {.session = s->id,
                                       .generation = s->generation,
                                       .correlator = s->has_correlator ? s->correlator : NULL,
                                       .correlator_len = s->correlator_len,
                                       .host = p->host,
                                       .adapter = p->adapter,
                                       .target_name = p->target_name,
                                       .bus = p->bus,
                                       .target = p->target,
                                       .lun = p->lun,
                                       .mode = s->mode,
                                       .adap_devno = devno,
                                       .code = SB_CODE_REGISTRATION_CANCELLED,
                                       .code_name = "REGISTRATION_CANCELLED",
                                       .summary = summary,
                                       .severity = entry ? entry->severity : 0,
                                       .count = 1,
                                       .wall_time_unix_ns = clock_wall_ns(),
                                       .origin_session = EMPTY,
                                       .last = 1,
                                       .reason = "CONNECTION_LOST"};
    call_event(sb, s, &info);
}

void sessions_lost(struct sb *sb, const char *reason)
{
    /* A callback cannot change the list: it is refused what would. */
    for (size_t i = 0; i < sb->n_sessions; i++)
        if (sb->sessions[i]->on_event)
            cancel(sb, sb->sessions[i], reason);
    sessions_deinit(sb);
}
