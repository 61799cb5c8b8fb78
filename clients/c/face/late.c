/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/c/face/late.h"

#include <stdlib.h>
#include <string.h>

#include "clients/c/face/handle.h"

struct late {
    struct late *next;
    uint64_t id; /* of the request */
    char session[SB_SESSION_BYTES];
    bool is_registration; /* else a query */
    bool done;            /* the result came, and is good */
    uint32_t events;      /* of a query */
    /* Of a registration. */
    Sensebus__V1__Mode mode;
    bool has_correlator;
    size_t correlator_len;
    uint8_t correlator[SB_MAX_CORRELATOR];
};

static void fill_registration(struct late *l, const Sensebus__V1__RegisterEvent *event)
{
    l->is_registration = true;
    l->mode = event->mode;
    l->has_correlator = event->_correlator_case == SENSEBUS__V1__REGISTER_EVENT___CORRELATOR_CORRELATOR;
    l->correlator_len = l->has_correlator ? event->correlator.len : 0;
    if (l->correlator_len)
        memcpy(l->correlator, event->correlator.data, l->correlator_len);
}

bool late_note(struct sb *sb, const Sensebus__V1__AdapterRequest *request)
{
    const char *session = NULL;
    if (request->operation_case == SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_EVENT)
        session = request->event->session_id;
    else if (request->operation_case == SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_TM_EVENT && !request->tm_event->peek)
        session = request->tm_event->session_id;
    if (!session || strlen(session) >= SB_SESSION_BYTES)
        return true; /* nothing is lost with it, or there is no such session */
    struct late *l = calloc(1, sizeof *l);
    if (!l)
        return false;
    l->id = request->id;
    strcpy(l->session, session);
    if (request->operation_case == SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_EVENT)
        fill_registration(l, request->event);
    l->next = sb->first_late;
    sb->first_late = l;
    return true;
}

static void drop(struct late **at)
{
    struct late *l = *at;
    *at = l->next;
    free(l);
}

static struct late **find(struct sb *sb, uint64_t id)
{
    struct late **at = &sb->first_late;
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

void late_forget(struct sb *sb, uint64_t id)
{
    struct late **at = find(sb, id);
    if (*at)
        drop(at);
}

void late_answer(struct sb *sb, const Sensebus__V1__Result *result)
{
    struct late **at = find(sb, result->id);
    if (!*at)
        return;
    struct late *l = *at;
    l->done = result->error == SENSEBUS__V1__ERRNO__ERRNO_OK;
    if (result->value_case == SENSEBUS__V1__RESULT__VALUE_TM_EVENT)
        l->events = result->tm_event->events;
    if (!l->done || (!l->is_registration && !l->events))
        drop(at);
}

uint32_t late_events(struct sb *sb, const char *session, bool peek)
{
    uint32_t events = 0;
    struct late **at = &sb->first_late;
    while (*at) {
        struct late *l = *at;
        bool wanted = l->done && !l->is_registration && strcmp(l->session, session) == 0;
        if (wanted)
            events |= l->events;
        if (wanted && !peek)
            drop(at);
        else
            at = &l->next;
    }
    return events;
}

static bool is_same(const struct late *l, const struct sb_registration *r)
{
    size_t len = r->correlator ? r->correlator_len : 0;
    return l->mode == (Sensebus__V1__Mode)r->mode && l->has_correlator == (r->correlator != NULL) &&
           l->correlator_len == len && (len == 0 || memcmp(l->correlator, r->correlator, len) == 0);
}

bool late_registered(struct sb *sb, const char *session, const struct sb_registration *registration)
{
    for (struct late **at = &sb->first_late; *at; at = &(*at)->next) {
        const struct late *l = *at;
        if (l->done && l->is_registration && strcmp(l->session, session) == 0 && is_same(l, registration)) {
            drop(at);
            return true;
        }
    }
    return false;
}

uint64_t late_registering(const struct sb *sb, const char *session, const struct sb_registration *registration)
{
    for (const struct late *l = sb->first_late; l; l = l->next)
        if (!l->done && l->is_registration && strcmp(l->session, session) == 0 && is_same(l, registration))
            return l->id;
    return 0;
}

void late_deinit(struct sb *sb)
{
    while (sb->first_late)
        drop(&sb->first_late);
}
