/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/storm_key.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/identify.h"
#include "proto/registry.h"
#include "proto/sense.h"
#include "runtime/table.h"
#include "sensebus/v1/event.pb-c.h"

static uint64_t hash_text(const uint64_t seed[2], uint64_t so_far, const char *text)
{
    uint64_t mixed[2] = {seed[0] ^ so_far, seed[1] + so_far};

    return table_hash(mixed, text ? text : "", text ? strlen(text) + 1 : 0);
}

void storm_place_of(const struct record *r, const uint64_t seed[2], struct storm_place *out)
{
    const struct record_place *p = &r->place;

    memset(out, 0, sizeof *out);
    out->adapter = p->adapter && p->adapter[0] ? hash_text(seed, 1, p->adapter) | 1 : 0;
    out->name = p->target_name && p->target_name[0] ? hash_text(seed, 2, p->target_name) | 1 : 0;
    out->lun = p->lun;
    out->controller = p->controller;
    out->bus = p->kernel ? p->kernel->bus : -1;
    out->target = p->target;
}

static bool meets(int64_t a, int64_t b)
{
    return a == b || a < 0 || b < 0;
}

bool storm_place_meets(const struct storm_place *a, const struct storm_place *b)
{
    return (a->adapter == b->adapter || !a->adapter || !b->adapter) && (a->name == b->name || !a->name || !b->name) &&
           meets(a->controller, b->controller) && meets(a->bus, b->bus) && meets(a->target, b->target) &&
           meets(a->lun, b->lun);
}

static const char *identity_text(const struct record *r)
{
    const struct identity *id = r->place.identity;

    if (!id)
        return "";
    return id->designator[0] ? id->designator : id->serial;
}

/* In the words of its reporter. */
static uint64_t hash_native(const uint64_t seed[2], const struct record *r)
{
    const struct record_native *n = &r->native;
    uint64_t hash = hash_text(seed, (uint64_t)n->code << 32 | n->subcode, n->name);

    if (r->source != SENSEBUS__V1__SOURCE__SOURCE_FC_NETLINK && n->n_parameters > 0) {
        uint64_t mixed[2] = {seed[0] ^ hash, seed[1] + hash};

        hash = table_hash(mixed, n->parameters, n->n_parameters * sizeof n->parameters[0]);
    }
    return hash;
}

void storm_key_of(const struct record *r, const uint64_t seed[2], struct storm_key *out)
{
    struct sense sense;
    uint64_t said;

    if (r->sense && sense_decode(r->sense, r->sense_len, &sense) == 0)
        said = (uint64_t)sense.key << 16 | (uint64_t)sense.asc << 8 | sense.ascq | (uint64_t)sense.deferred << 24 |
               (uint64_t)1 << 32;
    else
        said = hash_native(seed, r);
    *out = (struct storm_key){
        .identity = hash_text(seed, hash_text(seed, 3, identity_text(r)), r->place.initiator),
        .said = said,
        .code = r->code,
        .source = r->source,
        .scope = r->scope,
        .mode = r->mode,
        .synthetic = r->synthetic,
    };
}

bool storm_key_alike(const struct storm_key *a, const struct storm_key *b)
{
    return a->identity == b->identity && a->code == b->code && a->source == b->source && a->scope == b->scope &&
           a->mode == b->mode && a->synthetic == b->synthetic;
}

bool storm_key_equal(const struct storm_key *a, const struct storm_key *b)
{
    return a->said == b->said && storm_key_alike(a, b);
}

/* ------------------------------------------------------------------------------------------------ words */

static const char *source_name(uint32_t source)
{
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(&sensebus__v1__source__descriptor, (int)source);

    return v ? v->name + strlen("SOURCE_") : "?";
}

static void print_place(const struct record_place *p, char *out, size_t cap)
{
    size_t at;

    if (p->kernel && p->kernel->n_names > 0) {
        snprintf(out, cap, "%s", p->kernel->names[0]);
        return;
    }
    at = (size_t)snprintf(out, cap, "%s", p->adapter ? p->adapter : "");
    if (p->target >= 0 && at < cap)
        at += (size_t)snprintf(out + at, cap - at, "/%" PRId32, p->target);
    if (p->lun >= 0 && at < cap)
        snprintf(out + at, cap - at, "/%" PRId64, p->lun);
}

static const char *who_text(const struct record *r)
{
    return r->place.initiator ? r->place.initiator : identity_text(r);
}

const char *storm_key_text(const struct record *r, char buf[STORM_KEY_BYTES])
{
    const struct registry_entry *entry = registry_find(r->code);
    const char *name = r->place.target_name ? r->place.target_name : "", *who = who_text(r);
    char place[160], said[96];
    struct sense sense;

    print_place(&r->place, place, sizeof place);
    if (r->sense && sense_decode(r->sense, r->sense_len, &sense) == 0)
        snprintf(said, sizeof said, "%X/%02X/%02X%s", sense.key, sense.asc, sense.ascq,
                 sense.deferred ? " deferred" : "");
    else
        snprintf(said, sizeof said, "%s %" PRIu32 "/%" PRIu32, r->native.name ? r->native.name : "", r->native.code,
                 r->native.subcode);
    snprintf(buf, STORM_KEY_BYTES, "%s %s %s%s%.120s%s%.120s %s%s", entry ? entry->name : "?", source_name(r->source),
             place, name[0] ? " " : "", name, who[0] ? " " : "", who, said, r->synthetic ? " synthetic" : "");
    for (char *p = buf; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    return buf;
}
