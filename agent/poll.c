/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/poll.h"

#include "proto/registry.h"
#include "sensebus/v1/code.pb-c.h"

#define KEY_NOT_READY          0x2
#define KEY_ILLEGAL_REQUEST    0x5
#define KEY_UNIT_ATTENTION     0x6
#define ASC_UNIT_NOT_SUPPORTED 0x25
#define MAX_SKIP               32

/* "Not ready" of this kind: an event when it is news. */
static uint32_t not_ready(struct poll_unit *u, uint32_t code, uint8_t asc, uint8_t ascq)
{
    bool same = u->state == POLL_NOT_READY && !u->silent && u->code == code && u->asc == asc && u->ascq == ascq;

    u->state = POLL_NOT_READY;
    u->silent = false;
    u->code = code;
    u->asc = asc;
    u->ascq = ascq;
    return same ? 0 : code;
}

/* Unit attentions that say that what we know of the unit is old. */
static bool changes_identity(uint32_t code)
{
    switch (code) {
    case SENSEBUS__V1__CODE__INQUIRY_DATA_CHANGED:
    case SENSEBUS__V1__CODE__IDENTITY_CHANGED:
    case SENSEBUS__V1__CODE__MICROCODE_CHANGED:
    case SENSEBUS__V1__CODE__CAPACITY_CHANGED:
    case SENSEBUS__V1__CODE__MEDIUM_CHANGED: return true;
    default: return false;
    }
}

/* An error that a poll ended with, neither unit attention nor "not ready": the next poll will get the same one. */
static bool is_news(struct poll_unit *u, const struct sense *sense)
{
    bool same = u->error_key == sense->key && u->error_asc == sense->asc && u->error_ascq == sense->ascq;

    u->error_key = sense->key;
    u->error_asc = sense->asc;
    u->error_ascq = sense->ascq;
    return !same;
}

struct poll_verdict poll_sense(struct poll_unit *u, const struct sense *sense, bool is_poll)
{
    struct poll_verdict v = {0};
    uint32_t code = registry_classify_sense(sense->response_code, sense->key, sense->asc, sense->ascq);

    if (sense->key == KEY_NOT_READY && !sense->deferred) {
        if (code == 0)
            code = SENSEBUS__V1__CODE__DEVICE_NOT_READY;
        v.code = not_ready(u, code, sense->asc, sense->ascq);
    } else if (code == SENSEBUS__V1__CODE__REPORTED_LUNS_CHANGED) {
        v.luns_changed = true;
        v.survey = true;
    } else if (is_poll && sense->key != KEY_UNIT_ATTENTION && !sense->deferred) {
        v.code = is_news(u, sense) ? code : 0;
        if (sense->key == KEY_ILLEGAL_REQUEST && sense->asc == ASC_UNIT_NOT_SUPPORTED) {
            v.survey = u->state != POLL_NOT_SUPPORTED;
            u->state = POLL_NOT_SUPPORTED;
        }
    } else {
        v.code = code;
        v.identify = changes_identity(code);
    }
    return v;
}

static void answered(struct poll_unit *u)
{
    u->n_timeouts = 0;
}

static struct poll_next answer_timeout(struct poll_unit *u)
{
    struct poll_next next = {0};

    if (!(u->state == POLL_NOT_READY && u->silent))
        next.code = SENSEBUS__V1__CODE__DEVICE_NOT_READY;
    u->state = POLL_NOT_READY;
    u->silent = true;
    u->code = SENSEBUS__V1__CODE__DEVICE_NOT_READY;
    u->asc = u->ascq = 0;
    next.skip = u->n_timeouts >= 5 ? MAX_SKIP : (1u << u->n_timeouts) - 1;
    u->n_timeouts++;
    return next;
}

struct poll_next poll_answer(struct poll_unit *u, enum poll_answer_kind kind, uint8_t sense_key)
{
    struct poll_next next = {0};

    switch (kind) {
    case POLL_ANSWER_GOOD:
        answered(u);
        if (u->state == POLL_NOT_READY)
            next.code = SENSEBUS__V1__CODE__DEVICE_ONLINE;
        u->state = POLL_READY;
        u->silent = false;
        u->error_key = u->error_asc = u->error_ascq = 0;
        break;
    case POLL_ANSWER_SENSE:
        answered(u);
        next.again = sense_key == KEY_UNIT_ATTENTION && ++u->n_drained < POLL_MAX_DRAIN;
        break;
    case POLL_ANSWER_NO_SENSE:
        answered(u);
        next.code = not_ready(u, SENSEBUS__V1__CODE__DEVICE_NOT_READY, 0, 0);
        break;
    case POLL_ANSWER_BUSY: answered(u); break;
    case POLL_ANSWER_TIMEOUT: next = answer_timeout(u); break;
    }
    return next;
}

void poll_begin(struct poll_unit *u)
{
    u->n_drained = 0;
}
