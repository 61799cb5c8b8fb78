/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/message_parts.h"

#include <string.h>

#include "agent/identify.h"

/* protobuf-c wants writable strings and never writes them. */
static char *borrowed(const char *text)
{
    return (char *)(text ? text : "");
}

void message_device(Sensebus__V1__Device *d, const struct identity *id, const char *target_name, const char *portal)
{
    sensebus__v1__device__init(d);
    d->device_type = -1;
    d->transport = SENSEBUS__V1__TRANSPORT__TRANSPORT_ISCSI;
    d->target_name = borrowed(target_name);
    d->portal = borrowed(portal);
    if (!id || !id->known)
        return;
    d->device_type = id->device_type;
    d->vendor = borrowed(id->vendor);
    d->product = borrowed(id->product);
    d->revision = borrowed(id->revision);
    d->serial = borrowed(id->serial);
    d->designator = borrowed(id->designator);
    d->raw_inquiry.data = (uint8_t *)id->raw_inquiry;
    d->raw_inquiry.len = id->raw_inquiry_len;
}

void message_sense(struct message_sense *part, const uint8_t *sense, size_t len)
{
    Sensebus__V1__Sense *m = &part->message;
    struct sense *s = &part->decoded;

    memset(part, 0, sizeof *part);
    sensebus__v1__sense__init(m);
    m->raw.data = (uint8_t *)sense;
    m->raw.len = len < MESSAGE_MAX_SENSE ? len : MESSAGE_MAX_SENSE;
    if (sense_decode(sense, len, s) < 0)
        return;
    m->response_code = s->response_code;
    m->key = s->key;
    m->asc = s->asc;
    m->ascq = s->ascq;
    m->deferred = s->deferred;
    m->fru = s->fru;
    m->text = (char *)sense_text(s->asc, s->ascq, part->text);
    if (s->has_information) {
        m->_information_case = SENSEBUS__V1__SENSE___INFORMATION_INFORMATION;
        m->information = s->information;
    }
    if (s->has_command_specific) {
        m->_command_specific_case = SENSEBUS__V1__SENSE___COMMAND_SPECIFIC_COMMAND_SPECIFIC;
        m->command_specific = s->command_specific;
    }
    if (s->has_key_specific) {
        m->sense_key_specific.data = s->key_specific;
        m->sense_key_specific.len = 3;
    }
}
