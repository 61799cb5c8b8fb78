/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/iscsi_netlink_sessions.h"

#include <stdlib.h>
#include <string.h>

#include "agent/async_event.h"
#include "sensebus/v1/code.pb-c.h"

#define CODE(name) SENSEBUS__V1__CODE__##name

/* ------------------------------------------------------------------------------------------------ list */

void iscsi_sessions_deinit(struct iscsi_sessions *s)
{
    free(s->list);
    memset(s, 0, sizeof *s);
}

struct iscsi_kernel_session *iscsi_sessions_find(const struct iscsi_sessions *s, uint32_t sid)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->list[i].sid == sid)
            return &s->list[i];
    return NULL;
}

void iscsi_session_init(struct iscsi_kernel_session *session, uint32_t sid)
{
    *session = (struct iscsi_kernel_session){.sid = sid, .host = -1, .channel = -1, .target = -1};
}

static bool make_room(struct iscsi_sessions *s)
{
    size_t cap = s->cap ? s->cap * 2 : 8;
    struct iscsi_kernel_session *list;

    if (s->n < s->cap)
        return true;
    if (s->n >= ISCSI_SESSIONS_MAX || !(list = realloc(s->list, cap * sizeof *list)))
        return false;
    s->list = list;
    s->cap = cap;
    return true;
}

struct iscsi_kernel_session *iscsi_sessions_add(struct iscsi_sessions *s, uint32_t sid)
{
    struct iscsi_kernel_session *session = iscsi_sessions_find(s, sid);

    if (session || !make_room(s))
        return session;
    session = &s->list[s->n++];
    iscsi_session_init(session, sid);
    return session;
}

void iscsi_sessions_remove(struct iscsi_sessions *s, uint32_t sid)
{
    struct iscsi_kernel_session *session = iscsi_sessions_find(s, sid);

    if (session)
        *session = s->list[--s->n];
}

/* ------------------------------------------------------------------------------------------------ rules */

static enum iscsi_news tell(uint32_t code, uint32_t *out_code)
{
    *out_code = code;
    return ISCSI_NEWS_EVENT;
}

static enum iscsi_news judge_login(struct iscsi_kernel_session *session, uint32_t *out_code)
{
    enum iscsi_phase was = session->phase;

    session->phase = ISCSI_PHASE_UP;
    session->failed = false;
    switch (was) {
    case ISCSI_PHASE_UP: /* iscsid itself dropped it, as a target may ask it to: the kernel had no error to tell */
    case ISCSI_PHASE_LOST: return tell(CODE(NEXUS_RESTORED), out_code);
    default: return tell(CODE(SESSION_STARTED), out_code);
    }
}

static enum iscsi_news judge_login_status(struct iscsi_kernel_session *session, const struct iscsi_netlink_message *m,
                                          uint32_t *out_code)
{
    uint8_t status_class = m->login.status_class, detail = m->login.status_detail;
    bool same = session->failed && session->failed_class == status_class && session->failed_detail == detail;

    if (status_class == 0) /* a step of a login that goes on */
        return ISCSI_NEWS_NONE;
    session->failed = true;
    session->failed_class = status_class;
    session->failed_detail = detail;
    if (same)
        return ISCSI_NEWS_NONE;
    return tell(status_class == 1 ? CODE(ADDRESS_CHANGED) : CODE(LOGIN_FAILED), out_code);
}

static enum iscsi_news judge_error(struct iscsi_kernel_session *session, uint32_t *out_code)
{
    if (session->phase != ISCSI_PHASE_UP)
        return ISCSI_NEWS_PROOF; /* of a login that fails, or of a loss that was told */
    session->phase = ISCSI_PHASE_LOST;
    return tell(CODE(NEXUS_LOST), out_code);
}

static enum iscsi_news judge_end(struct iscsi_kernel_session *session, uint32_t *out_code)
{
    enum iscsi_phase was = session->phase;

    session->phase = ISCSI_PHASE_OVER;
    if (was == ISCSI_PHASE_UP || was == ISCSI_PHASE_LOST)
        return tell(CODE(SESSION_STOPPED), out_code);
    return ISCSI_NEWS_PROOF;
}

enum iscsi_news iscsi_session_judge(struct iscsi_kernel_session *session, const struct iscsi_netlink_message *m,
                                    uint32_t *out_code)
{
    bool sensed;

    switch (m->kind) {
    case ISCSI_NETLINK_CREATED: session->phase = ISCSI_PHASE_NEW; return ISCSI_NEWS_PROOF;
    case ISCSI_NETLINK_LOGIN_STATE:
        return iscsi_netlink_logged_in(m) ? judge_login(session, out_code) : ISCSI_NEWS_NONE;
    case ISCSI_NETLINK_LOGIN_RESPONSE:
        return iscsi_netlink_logged_in(m) ? judge_login(session, out_code) : judge_login_status(session, m, out_code);
    case ISCSI_NETLINK_CONNECTION_ERROR: return judge_error(session, out_code);
    case ISCSI_NETLINK_UNBOUND:
    case ISCSI_NETLINK_DESTROYED: return judge_end(session, out_code);
    case ISCSI_NETLINK_ASYNC: return tell(async_event_code(&m->async, &sensed), out_code);
    case ISCSI_NETLINK_REJECT: return ISCSI_NEWS_PROOF;
    default: return ISCSI_NEWS_NONE;
    }
}
