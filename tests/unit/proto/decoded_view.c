/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/proto/decoded_view.h"

#include <string.h>

#include "sensebus/v1/event.pb-c.h"

static bool same_text(struct text text, const char *decoded)
{
    return strlen(decoded) == text.len && (text.len == 0 || memcmp(decoded, text.ptr, text.len) == 0);
}

#define CHECK(member, equal)                                                                                           \
    do {                                                                                                               \
        if (!(equal))                                                                                                  \
            return member;                                                                                             \
    } while (0)

static const char *origin_difference(const struct event_view *v, const Sensebus__V1__Origin *o)
{
    static const Sensebus__V1__Origin none = SENSEBUS__V1__ORIGIN__INIT;
    o = o ? o : &none;
    CHECK("host", same_text(v->host, o->host));
    CHECK("boot_id", same_text(v->boot_id, o->boot_id));
    CHECK("agent_epoch", v->agent_epoch == o->agent_epoch);
    CHECK("source", v->source == (uint32_t)o->source);
    CHECK("source_sequence", v->source_sequence == o->source_sequence);
    return NULL;
}

static const char *address_difference(const struct address_view *v, const Sensebus__V1__Address *a)
{
    CHECK("address", v->present == (a != NULL));
    if (!a)
        return v->bus == -1 && v->controller == -1 && v->target == -1 && v->lun == -1 ? NULL : "address default";
    CHECK("adapter", same_text(v->adapter, a->adapter));
    CHECK("bus", v->bus == a->bus);
    CHECK("target", v->target == a->target);
    CHECK("lun", v->lun == a->lun);
    CHECK("lun_raw", v->lun_raw == a->lun_raw);
    CHECK("controller", v->controller == a->controller);
    return NULL;
}

static const char *device_difference(const struct device_view *v, const Sensebus__V1__Device *d)
{
    CHECK("device", v->present == (d != NULL));
    if (!d)
        return v->device_type == -1 ? NULL : "device default";
    CHECK("vendor", same_text(v->vendor, d->vendor));
    CHECK("product", same_text(v->product, d->product));
    CHECK("revision", same_text(v->revision, d->revision));
    CHECK("serial", same_text(v->serial, d->serial));
    CHECK("designator", same_text(v->designator, d->designator));
    CHECK("device_type", v->device_type == d->device_type);
    CHECK("transport", v->transport == (uint32_t)d->transport);
    CHECK("target_name", same_text(v->target_name, d->target_name));
    CHECK("portal", same_text(v->portal, d->portal));
    return NULL;
}

static const char *loss_difference(const struct loss_view *v, const Sensebus__V1__Loss *l)
{
    CHECK("loss", v->present == (l != NULL));
    if (!l)
        return NULL;
    CHECK("stage", v->stage == (uint32_t)l->stage);
    CHECK("loss count", v->count == l->count);
    CHECK("at_least", v->at_least == l->at_least);
    CHECK("loss aix_bits", v->aix_bits == l->aix_bits);
    CHECK("first_source_sequence", v->first_source_sequence == l->first_source_sequence);
    CHECK("last_source_sequence", v->last_source_sequence == l->last_source_sequence);
    CHECK("reason", same_text(v->reason, l->reason));
    return NULL;
}

static const char *event_difference(const struct event_view *v, const Sensebus__V1__Event *e)
{
    const char *difference;
    CHECK("sequence", v->sequence == e->sequence);
    CHECK("broker_time", v->broker_time_ns == e->broker_time_unix_ns);
    CHECK("session_generation", v->session_generation == e->session_generation);
    CHECK("code", v->code == (uint32_t)e->code);
    CHECK("severity", v->severity == (uint32_t)e->severity);
    CHECK("scope", v->scope == (uint32_t)e->scope);
    CHECK("mode", v->mode == (uint32_t)e->mode);
    CHECK("aix_bits", v->aix_bits == e->aix_bits);
    CHECK("wall_time", v->wall_time_ns == e->wall_time_unix_ns);
    CHECK("count", v->count == e->count);
    CHECK("session_id", same_text(v->session_id, e->session_id));
    CHECK("summary", same_text(v->summary, e->summary));
    CHECK("sense", v->has_sense == (e->sense != NULL));
    if (e->sense)
        CHECK("sense codes", v->sense_key == e->sense->key && v->asc == e->sense->asc && v->ascq == e->sense->ascq);
    if ((difference = origin_difference(v, e->origin)) || (difference = address_difference(&v->address, e->address)) ||
        (difference = device_difference(&v->device, e->device)))
        return difference;
    return loss_difference(&v->loss, e->loss);
}

const char *decoded_view_difference(const struct event_view *view)
{
    Sensebus__V1__Event *decoded = sensebus__v1__event__unpack(NULL, view->len, view->bytes);
    if (!decoded)
        return "(does not decode)";
    const char *difference = event_difference(view, decoded);
    sensebus__v1__event__free_unpacked(decoded, NULL);
    return difference;
}
