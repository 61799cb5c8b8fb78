/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/query/fields.h"

#include <string.h>

#include "runtime/spelling.h"
#include "sensebus/v1/event.pb-c.h"

static struct field_value absent(void)
{
    return (struct field_value){0};
}

static struct field_value number(int64_t n)
{
    return (struct field_value){.present = true, .number = n};
}

static struct field_value unsigned_number(uint64_t n)
{
    return number(n > INT64_MAX ? INT64_MAX : (int64_t)n);
}

/* Empty text is the wire's way to say that there is none. */
static struct field_value text(const char *t)
{
    return t && *t ? (struct field_value){.present = true, .text = t} : absent();
}

#define READ(name, expression)                                                                                         \
    static struct field_value read_##name(const Sensebus__V1__Event *e)                                                \
    {                                                                                                                  \
        return expression;                                                                                             \
    }

READ(code, number(e->code))
READ(category, number(e->code / 100))
READ(severity, number(e->severity))
READ(scope, number(e->scope))
READ(mode, number(e->mode))
READ(source, e->origin ? number(e->origin->source) : absent())
READ(host, e->origin ? text(e->origin->host) : absent())
READ(adapter, e->address ? text(e->address->adapter) : absent())
READ(bus, e->address && e->address->bus >= 0 ? number(e->address->bus) : absent())
READ(target, e->address && e->address->target >= 0 ? number(e->address->target) : absent())
READ(lun, e->address && e->address->lun >= 0 ? number(e->address->lun) : absent())
READ(vendor, e->device ? text(e->device->vendor) : absent())
READ(product, e->device ? text(e->device->product) : absent())
READ(serial, e->device ? text(e->device->serial) : absent())
READ(wwid, e->device ? text(e->device->designator) : absent())
READ(target_name, e->device ? text(e->device->target_name) : absent())
READ(key, e->sense ? number(e->sense->key) : absent())
READ(asc, e->sense ? number(e->sense->asc) : absent())
READ(ascq, e->sense ? number(e->sense->ascq) : absent())
READ(deferred, number(e->sense && e->sense->deferred))
READ(synthetic, number(e->synthetic))
READ(bits, number(e->aix_bits))
READ(seq, unsigned_number(e->sequence))
READ(count, unsigned_number(e->count ? e->count : 1))

static const struct field FIELDS[] = {
    {"code", FIELD_ENUM, NAMES_CODE, read_code, "what happened: name or number"},
    {"category", FIELD_ENUM, NAMES_CATEGORY, read_category, "group of codes: name or number"},
    {"severity", FIELD_ENUM, NAMES_SEVERITY, read_severity, "info < notice < warn < error < crit"},
    {"scope", FIELD_ENUM, NAMES_SCOPE, read_scope, "lun, target, session, connection, port, bus, adapter, host…"},
    {"mode", FIELD_ENUM, NAMES_MODE, read_mode, "initiator, target, both"},
    {"source", FIELD_ENUM, NAMES_SOURCE, read_source, "iscsi, uevent, trace, sysfs, agent, broker…"},
    {"host", FIELD_TEXT, 0, read_host, "name of the agent"},
    {"adapter", FIELD_TEXT, 0, read_adapter, "adapter of the host: iscsi0, host3"},
    {"bus", FIELD_NUMBER, 0, read_bus, "channel"},
    {"target", FIELD_NUMBER, 0, read_target, "target id"},
    {"lun", FIELD_NUMBER, 0, read_lun, "logical unit number"},
    {"vendor", FIELD_TEXT, 0, read_vendor, "INQUIRY vendor"},
    {"product", FIELD_TEXT, 0, read_product, "INQUIRY product"},
    {"serial", FIELD_TEXT, 0, read_serial, "unit serial number"},
    {"wwid", FIELD_TEXT, 0, read_wwid, "designator: naa.…, eui.…, t10.…"},
    {"target_name", FIELD_TEXT, 0, read_target_name, "iSCSI name or WWPN of the target"},
    {"key", FIELD_NUMBER, 0, read_key, "sense key"},
    {"asc", FIELD_NUMBER, 0, read_asc, "additional sense code"},
    {"ascq", FIELD_NUMBER, 0, read_ascq, "additional sense code qualifier"},
    {"deferred", FIELD_FLAG, 0, read_deferred, "sense speaks of an earlier command"},
    {"synthetic", FIELD_FLAG, 0, read_synthetic, "found by comparing state, not announced by the device"},
    {"bits", FIELD_NUMBER, 0, read_bits, "AIX event bits: 1, 2, 4, 8"},
    {"seq", FIELD_NUMBER, 0, read_seq, "sequence in the log"},
    {"count", FIELD_NUMBER, 0, read_count, "how many equal conditions the event stands for"},
};

const struct field *field_at(size_t i)
{
    return i < sizeof FIELDS / sizeof *FIELDS ? &FIELDS[i] : NULL;
}

const struct field *field_find(const char *name)
{
    for (size_t i = 0; i < sizeof FIELDS / sizeof *FIELDS; i++)
        if (strcmp(FIELDS[i].name, name) == 0)
            return &FIELDS[i];
    return NULL;
}

const char *field_nearest(const char *name)
{
    struct spelling_search search = {.word = name, .limit = strlen(name) / 3 + 2, .fold = true};
    for (size_t i = 0; i < sizeof FIELDS / sizeof *FIELDS; i++)
        spelling_consider(&search, FIELDS[i].name);
    return search.nearest;
}
