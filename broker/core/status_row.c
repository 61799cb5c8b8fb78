/* SPDX-License-Identifier: Apache-2.0 */
/* The status of a device as the store keeps it.
 *
 * version, pending bits, n_events, n_last; then per code count and record; then where the records with the Device and
 * the Address are: 0 = none, 1..n_last = that one, n_last + 1 = the record that follows. Numbers are varints, records
 * have their length in front. */
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/status.h"

#define ENCODING_VERSION 1

static uint32_t where(const struct status_device *d, const struct chunk *record)
{
    if (!record)
        return 0;
    for (uint32_t i = 0; i < d->n_last; i++) {
        if (d->last[i].record == record)
            return i + 1;
    }
    return d->n_last + 1;
}

/* Counts when `p` is NULL. */
struct encoder {
    uint8_t *p;
    size_t len;
};

static void encode_number(struct encoder *e, uint64_t value)
{
    if (e->p)
        varint_write(e->p + e->len, value);
    e->len += varint_size(value);
}

static void encode_record(struct encoder *e, const struct chunk *record)
{
    encode_number(e, record->len);
    if (e->p)
        memcpy(e->p + e->len, record->bytes, record->len);
    e->len += record->len;
}

static void encode_carrier(struct encoder *e, const struct status_device *d, const struct chunk *record)
{
    uint32_t at = where(d, record);
    encode_number(e, at);
    if (at > d->n_last)
        encode_record(e, record);
}

static void encode(struct encoder *e, const struct status_device *d)
{
    encode_number(e, ENCODING_VERSION);
    encode_number(e, d->pending_aix_bits);
    encode_number(e, d->n_events);
    encode_number(e, d->n_last);
    for (uint32_t i = 0; i < d->n_last; i++) {
        encode_number(e, d->last[i].count);
        encode_record(e, d->last[i].record);
    }
    encode_carrier(e, d, d->device_record);
    encode_carrier(e, d, d->address_record);
}

size_t status_encoded_size(const struct status_device *device)
{
    struct encoder e = {0};
    encode(&e, device);
    return e.len;
}

void status_encode(const struct status_device *device, uint8_t *out)
{
    struct encoder e = {.p = out};
    encode(&e, device);
}

struct decoder {
    const uint8_t *p; /* NULL after a fault */
    const uint8_t *end;
    bool no_memory;
};

static uint64_t decode_number(struct decoder *in, uint64_t max)
{
    uint64_t value = 0;
    if (in->p)
        in->p = varint_read(in->p, in->end, &value);
    if (in->p && value > max)
        in->p = NULL;
    return in->p ? value : 0;
}

/* A valid record in a chunk of its own, or NULL with the fault noted. */
static struct chunk *decode_record(struct decoder *in, struct event_view *out_view)
{
    uint64_t len = decode_number(in, SIZE_MAX);
    if (!in->p || len > (size_t)(in->end - in->p)) {
        in->p = NULL;
        return NULL;
    }
    struct chunk *c = chunk_new(len);
    if (!c) {
        in->no_memory = true;
        in->p = NULL;
        return NULL;
    }
    memcpy(c->bytes, in->p, len);
    c->len = len;
    in->p += len;
    if (!status_scan(c, out_view)) {
        chunk_unref(c);
        in->p = NULL;
        return NULL;
    }
    return c;
}

static bool has_code(const struct status_device *d, uint32_t code)
{
    for (uint32_t i = 0; i < d->n_last; i++) {
        if (d->last[i].code == code)
            return true;
    }
    return false;
}

static void decode_last(struct decoder *in, struct status_device *d, uint32_t n)
{
    while (in->p && d->n_last < n) {
        uint64_t count = decode_number(in, UINT64_MAX);
        struct event_view view;
        struct chunk *record = decode_record(in, &view);
        if (!record)
            return;
        if (!view.sequence || (d->n_last && view.sequence >= d->last[d->n_last - 1].sequence) ||
            has_code(d, view.code)) {
            chunk_unref(record);
            in->p = NULL;
            return;
        }
        d->last[d->n_last++] =
            (struct status_last){.code = view.code, .sequence = view.sequence, .count = count, .record = record};
    }
}

static struct chunk *decode_carrier(struct decoder *in, const struct status_device *d)
{
    uint64_t at = decode_number(in, d->n_last + 1);
    if (at == 0)
        return NULL;
    if (at <= d->n_last)
        return chunk_ref(d->last[at - 1].record);
    struct event_view view;
    return decode_record(in, &view);
}

int status_decode(struct status_device *d, const void *bytes, size_t len)
{
    struct decoder in = {.p = bytes, .end = (const uint8_t *)bytes + len};
    if (decode_number(&in, ENCODING_VERSION) != ENCODING_VERSION)
        return UV_EINVAL;
    d->pending_aix_bits = (uint32_t)decode_number(&in, UINT32_MAX);
    d->n_events = decode_number(&in, UINT64_MAX);
    uint32_t n = (uint32_t)decode_number(&in, STATUS_MAX_LAST);
    if (n == 0)
        return UV_EINVAL;
    d->last = calloc(n, sizeof *d->last);
    if (!d->last)
        return UV_ENOMEM;
    d->cap_last = n;
    decode_last(&in, d, n);
    d->device_record = decode_carrier(&in, d);
    d->address_record = decode_carrier(&in, d);
    if (in.no_memory)
        return UV_ENOMEM;
    return in.p == in.end ? 0 : UV_EINVAL;
}
