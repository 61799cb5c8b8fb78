/* SPDX-License-Identifier: Apache-2.0 */
/* The status as messages: DeviceStatus, and pages of them for GetStatus. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/list_page.h"
#include "broker/core/status.h"
#include "sensebus/v1/events.pb-c.h"

#define MAX_LOOKED 16384 /* devices: a filter that matches little must not hold up everybody else */

/* Replace a string of a fresh message. */
static int set_text(char **field, struct text text)
{
    if (text.len == 0)
        return 0;
    char *copy = strndup(text.ptr, text.len);
    if (!copy)
        return UV_ENOMEM;
    *field = copy;
    return 0;
}

static Sensebus__V1__Event *unpack_record(const struct chunk *record)
{
    const uint8_t *cursor = record->bytes, *event;
    size_t len;
    if (!records_next(&cursor, record->bytes + record->len, &event, &len))
        return NULL;
    return sensebus__v1__event__unpack(NULL, len, event);
}

/* Address and Device are taken out of the records that carried them. */
static int take_identity(const struct status_device *device, Sensebus__V1__DeviceStatus *m)
{
    if (device->address_record) {
        Sensebus__V1__Event *event = unpack_record(device->address_record);
        if (!event)
            return UV_ENOMEM;
        m->address = event->address;
        event->address = NULL;
        sensebus__v1__event__free_unpacked(event, NULL);
    }
    if (device->device_record) {
        Sensebus__V1__Event *event = unpack_record(device->device_record);
        if (!event)
            return UV_ENOMEM;
        m->device = event->device;
        event->device = NULL;
        sensebus__v1__event__free_unpacked(event, NULL);
    }
    return 0;
}

static int add_last(const struct status_last *last, const struct event_view *view, Sensebus__V1__DeviceStatus *m)
{
    Sensebus__V1__LastEvent *e = malloc(sizeof *e);
    if (!e)
        return UV_ENOMEM;
    sensebus__v1__last_event__init(e);
    m->last[m->n_last++] = e;
    e->code = (Sensebus__V1__Code)last->code;
    e->severity = (Sensebus__V1__Severity)view->severity;
    e->sequence = last->sequence;
    e->wall_time_unix_ns = view->wall_time_ns;
    e->count = last->count;
    return set_text(&e->summary, view->summary);
}

static int fill_message(const struct status_device *device, Sensebus__V1__DeviceStatus *m)
{
    m->pending_aix_bits = device->pending_aix_bits;
    m->n_events = device->n_events;
    m->last = calloc(STATUS_MAX_LAST, sizeof(Sensebus__V1__LastEvent *));
    if (!m->last)
        return UV_ENOMEM;
    int rc = set_text(&m->key, (struct text){device->key, device->key_len});
    if (rc == 0)
        rc = take_identity(device, m);
    for (uint32_t i = 0; rc == 0 && i < device->n_last; i++) {
        struct event_view view;
        if (!status_scan(device->last[i].record, &view))
            continue; /* cannot be: what is folded was scanned */
        if (i == 0) {
            m->last_time_unix_ns = view.wall_time_ns;
            rc = set_text(&m->host, view.host);
        }
        if (rc == 0)
            rc = add_last(&device->last[i], &view, m);
    }
    return rc;
}

int status_message(const struct status_device *device, Sensebus__V1__DeviceStatus **out_message)
{
    Sensebus__V1__DeviceStatus *m = malloc(sizeof *m);
    if (!m)
        return UV_ENOMEM;
    sensebus__v1__device_status__init(m);
    int rc = fill_message(device, m);
    if (rc != 0) {
        sensebus__v1__device_status__free_unpacked(m, NULL);
        return rc;
    }
    *out_message = m;
    return 0;
}

static int fill_page(const struct status *s, const char *after, size_t page_size, const struct filter *filter,
                     Sensebus__V1__GetStatusResponse *r)
{
    size_t bytes = 0, first = status_seek(s, after);
    r->devices = calloc(page_size, sizeof(Sensebus__V1__DeviceStatus *));
    if (!r->devices)
        return UV_ENOMEM;
    for (size_t i = first; i < s->n; i++) {
        const struct status_device *d = s->sorted[i];
        if (i - first == MAX_LOOKED) {
            const struct status_device *last = s->sorted[i - 1];
            return set_text(&r->next_page_token, (struct text){last->key, last->key_len});
        }
        if (!status_matches(d, filter))
            continue;
        if (r->n_devices == page_size || (r->n_devices && bytes + d->bytes > LIST_PAGE_MAX_BYTES)) {
            const char *last = r->devices[r->n_devices - 1]->key;
            return set_text(&r->next_page_token, (struct text){last, strlen(last)});
        }
        int rc = status_message(d, &r->devices[r->n_devices]);
        if (rc != 0)
            return rc;
        r->n_devices++;
        bytes += d->bytes;
    }
    return 0;
}

int status_page(const struct status *s, const Sensebus__V1__GetStatusRequest *request, const struct filter *filter,
                uint64_t log_epoch, Sensebus__V1__GetStatusResponse **out_response, char *err, size_t err_len)
{
    size_t page_size;
    int rc = list_page_size(request->page_size, "GetStatusRequest", &page_size, err, err_len);
    if (rc != 0)
        return rc;
    Sensebus__V1__GetStatusResponse *r = malloc(sizeof *r);
    if (!r)
        return UV_ENOMEM;
    sensebus__v1__get_status_response__init(r);
    rc = UV_ENOMEM;
    r->position = malloc(sizeof *r->position);
    if (r->position) {
        sensebus__v1__position__init(r->position);
        r->position->epoch = log_epoch;
        r->position->sequence = s->through;
        rc = fill_page(s, request->page_token, page_size, filter, r);
    }
    if (rc != 0) {
        sensebus__v1__get_status_response__free_unpacked(r, NULL);
        return rc;
    }
    *out_response = r;
    return 0;
}
