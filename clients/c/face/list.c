/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "clients/c/face/handle.h"
#include "proto/message.h"

#define PATH "/sensebus.v1.Adapter/ListSessions"

static int call_each(struct sb *sb, const Sensebus__V1__Session *s, sb_session_cb each, void *data)
{
    static const Sensebus__V1__DeviceAddress none = SENSEBUS__V1__DEVICE_ADDRESS__INIT;
    const Sensebus__V1__DeviceAddress *a = s->address ? s->address : &none;
    const struct sb_session_info info = {.session = s->session_id,
                                         .generation = s->generation,
                                         .host = a->host,
                                         .adapter = a->adapter,
                                         .target_name = a->target_name,
                                         .bus = a->bus,
                                         .target = a->target,
                                         .lun = a->lun,
                                         .mode = (enum sb_mode)s->mode,
                                         .principal = s->principal,
                                         .registered = s->registered,
                                         .halted = s->halted,
                                         .shared = s->shared,
                                         .pending_events = s->pending_events,
                                         .since_unix_ns = s->since_unix_ns,
                                         .registered_unix_ns = s->registered_unix_ns,
                                         .n_delivered = s->n_delivered,
                                         .n_lost = s->n_lost};
    sb->in_callback = true;
    int rc = each(data, &info);
    sb->in_callback = false;
    return rc;
}

int sb_list_sessions(struct sb *sb, const char *host, sb_session_cb each, void *data)
{
    Sensebus__V1__ListSessionsRequest request = SENSEBUS__V1__LIST_SESSIONS_REQUEST__INIT;
    Sensebus__V1__ListSessionsResponse *page = NULL;
    char *hosts[] = {(char *)host};
    int rc;
    if (handle_begin(sb) < 0)
        return -1;
    if (host) {
        request.hosts = hosts;
        request.n_hosts = 1;
    }
    do {
        ProtobufCMessage *next = NULL;
        rc = handle_call(sb, PATH, &request.base, &sensebus__v1__list_sessions_response__descriptor, sb->deadline_ms,
                         &next);
        message_free(page ? &page->base : NULL);
        page = (Sensebus__V1__ListSessionsResponse *)next;
        int stop = 0;
        for (size_t i = 0; rc == 0 && !stop && i < page->n_sessions; i++)
            stop = call_each(sb, page->sessions[i], each, data);
        if (rc < 0 || stop)
            break;
        request.page_token = page->next_page_token;
    } while (*request.page_token);
    message_free(page ? &page->base : NULL);
    return rc;
}
