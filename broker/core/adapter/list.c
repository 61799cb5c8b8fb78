/* SPDX-License-Identifier: Apache-2.0 */
/* ListSessions: pages of open sessions, oldest first; a page goes on behind the generation of the last session. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/core/adapter/state.h"
#include "broker/core/host_list.h"
#include "broker/core/list_page.h"

static int fill_address(const struct adapter_session *s, Sensebus__V1__Session *m)
{
    Sensebus__V1__DeviceAddress *address = malloc(sizeof *address);
    if (!address)
        return UV_ENOMEM;
    sensebus__v1__device_address__init(address);
    m->address = address;
    address->bus = s->place.bus;
    address->target = s->place.target;
    address->lun = s->place.lun;
    if (list_set_text(&address->host, s->host->name) != 0 || list_set_text(&address->adapter, s->place.adapter) != 0)
        return UV_ENOMEM;
    return list_set_text(&address->target_name, s->place.target_name);
}

static int add_session(const struct adapter_session *s, Sensebus__V1__ListSessionsResponse *r)
{
    Sensebus__V1__Session *m = malloc(sizeof *m);
    if (!m)
        return UV_ENOMEM;
    sensebus__v1__session__init(m);
    r->sessions[r->n_sessions++] = m;
    m->generation = s->generation;
    m->mode = s->mode;
    m->registered = s->registration == REGISTRATION_LIVE;
    m->halted = s->is_halted;
    m->shared = s->is_shared;
    m->pending_events = s->pending;
    m->since_unix_ns = s->since_unix_ns;
    m->registered_unix_ns = m->registered ? s->registered_unix_ns : 0;
    m->n_delivered = s->n_delivered;
    m->n_lost = s->n_lost;
    if (list_set_text(&m->session_id, s->id) != 0 || list_set_text(&m->principal, s->principal->name) != 0)
        return UV_ENOMEM;
    return fill_address(s, m);
}

static size_t said_bytes(const struct adapter_session *s)
{
    return sizeof(Sensebus__V1__Session) + strlen(s->host->name) + strlen(s->place.adapter) +
           strlen(s->place.target_name) + strlen(s->principal->name);
}

static int fill(const struct adapter *a, const Sensebus__V1__ListSessionsRequest *request, uint64_t after, size_t size,
                Sensebus__V1__ListSessionsResponse *r)
{
    const struct adapter_session *s;
    const struct host *host = NULL; /* of the session before: neighbours are often alike */
    bool is_wanted = false;
    size_t bytes = 0;
    r->sessions = calloc(size, sizeof(Sensebus__V1__Session *));
    if (!r->sessions)
        return UV_ENOMEM;
    TAILQ_FOREACH(s, &a->sessions, all_next)
    {
        if (s->state != SESSION_OPEN || s->generation <= after)
            continue;
        if (s->host != host)
            is_wanted = host_list_has(request->hosts, request->n_hosts, s->host->name);
        host = s->host;
        if (!is_wanted)
            continue;
        if (r->n_sessions == size || (r->n_sessions && bytes + said_bytes(s) > LIST_PAGE_MAX_BYTES))
            return list_set_text(&r->next_page_token, r->sessions[r->n_sessions - 1]->session_id);
        int rc = add_session(s, r);
        if (rc != 0)
            return rc;
        bytes += said_bytes(s);
    }
    return 0;
}

/* A token is the id of the last session of the page before. */
static int parse_token(const char *token, uint64_t *out_after, char *err, size_t err_len)
{
    *out_after = 0;
    if (!*token)
        return 0;
    size_t digits = *token == 's' ? strspn(token + 1, "0123456789abcdef") : 0;
    if (digits == 0 || digits > 16 || token[1 + digits]) {
        snprintf(err, err_len, "ListSessionsRequest.page_token: not one that this broker gave out");
        return UV_EINVAL;
    }
    *out_after = strtoull(token + 1, NULL, 16);
    return 0;
}

int adapter_list(const struct adapter *a, const Sensebus__V1__ListSessionsRequest *request,
                 Sensebus__V1__ListSessionsResponse **out_response, char *err, size_t err_len)
{
    uint64_t after;
    size_t size;
    int rc = list_page_size(request->page_size, "ListSessionsRequest", &size, err, err_len);
    if (rc == 0)
        rc = host_list_check(request->hosts, request->n_hosts, "ListSessionsRequest.hosts", err, err_len);
    if (rc == 0)
        rc = parse_token(request->page_token, &after, err, err_len);
    if (rc != 0)
        return rc;
    Sensebus__V1__ListSessionsResponse *r = malloc(sizeof *r);
    if (!r)
        return UV_ENOMEM;
    sensebus__v1__list_sessions_response__init(r);
    rc = fill(a, request, after, size, r);
    if (rc != 0) {
        sensebus__v1__list_sessions_response__free_unpacked(r, NULL);
        return rc;
    }
    *out_response = r;
    return 0;
}
