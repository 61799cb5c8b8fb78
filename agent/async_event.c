/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/async_event.h"

#include "proto/registry.h"
#include "proto/sense.h"
#include "sensebus/v1/code.pb-c.h"

uint32_t async_event_code(const struct iscsi_async_message *m, bool *out_sensed)
{
    struct sense s;
    uint32_t code;

    *out_sensed = m->event == 0 && m->sense && sense_decode(m->sense, m->sense_len, &s) == 0;
    if (!*out_sensed)
        return registry_classify_async(m->event);
    code = registry_classify_sense(s.response_code, s.key, s.asc, s.ascq);
    return code ? code : SENSEBUS__V1__CODE__UNCLASSIFIED;
}

struct record_native async_event_native(const struct iscsi_async_message *m)
{
    return (struct record_native){
        .name = "async-message",
        .code = m->event,
        .subcode = m->vcode,
        .raw = m->pdu,
        .raw_len = m->pdu_len,
        .parameters = {m->parameter1, m->parameter2, m->parameter3},
        .n_parameters = 3,
        .detail = async_message_text(m->event),
    };
}

bool async_event_has_lun(const struct iscsi_async_message *m)
{
    return m->event == 0 || m->event == 5;
}
