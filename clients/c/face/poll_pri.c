/* SPDX-License-Identifier: Apache-2.0 */
/* select with POLLPRI: many sessions, one wait. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clients/c/face/handle.h"
#include "clients/c/face/late.h"
#include "proto/message.h"

#define MAX_SESSIONS 1024

static int mark(struct sb_pollpri *sessions, size_t n, char *const *names, size_t n_names, int revents)
{
    int found = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < n_names && !sessions[i].revents; k++) {
            if (strcmp(sessions[i].session, names[k]) == 0) {
                sessions[i].revents = revents;
                found++;
            }
        }
    }
    return found;
}

static bool is_late(struct sb *sb, const struct sb_pollpri *session)
{
    return late_events(sb, session->session, true) != 0;
}

static bool any_late(struct sb *sb, const struct sb_pollpri *sessions, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (is_late(sb, &sessions[i]))
            return true;
    return false;
}

/* Bits that a query brought too late are pending as well. */
static int mark_late(struct sb *sb, struct sb_pollpri *sessions, size_t n)
{
    int found = 0;
    for (size_t i = 0; i < n; i++) {
        if (!sessions[i].revents && is_late(sb, &sessions[i])) {
            sessions[i].revents = SB_PRI;
            found++;
        }
    }
    return found;
}

static int ask(struct sb *sb, struct sb_pollpri *sessions, size_t n, char **names, int64_t timeout_ms)
{
    Sensebus__V1__AdapterRequest request = SENSEBUS__V1__ADAPTER_REQUEST__INIT;
    Sensebus__V1__WaitPri message = SENSEBUS__V1__WAIT_PRI__INIT;
    Sensebus__V1__AdapterReply *reply;
    message.session_ids = names;
    message.n_session_ids = n;
    message.timeout_ms = timeout_ms < 0 ? -1 : timeout_ms;
    request.operation_case = SENSEBUS__V1__ADAPTER_REQUEST__OPERATION_WAIT_PRI;
    request.wait_pri = &message;
    int64_t limit_ms = timeout_ms < 0 || timeout_ms > HANDLE_NO_LIMIT / 2 ? HANDLE_NO_LIMIT : timeout_ms;
    if (handle_operate(sb, &request, limit_ms, true, &reply) < 0)
        return -1;
    int ready = 0;
    if (reply->result->value_case == SENSEBUS__V1__RESULT__VALUE_WAIT_PRI) {
        const Sensebus__V1__WaitPriResult *r = reply->result->wait_pri;
        ready = mark(sessions, n, r->closed, r->n_closed, SB_HUP) + mark(sessions, n, r->ready, r->n_ready, SB_PRI) +
                mark_late(sb, sessions, n);
    }
    message_free(&reply->base);
    return ready;
}

int sb_poll_pri(struct sb *sb, struct sb_pollpri *sessions, size_t n, int64_t timeout_ms)
{
    if (handle_begin(sb) < 0)
        return -1;
    if (!sessions || n < 1 || n > MAX_SESSIONS)
        return errors_set(sb, EINVAL, SB_DETAIL_ARGUMENT, "%zu sessions: 1 to %d are possible", n, MAX_SESSIONS);
    char **names = calloc(n, sizeof *names);
    if (!names)
        return errors_set(sb, ENOMEM, SB_DETAIL_NONE, "out of memory");
    int rc = 0;
    for (size_t i = 0; i < n; i++) {
        sessions[i].revents = 0;
        names[i] = (char *)sessions[i].session;
        if (!names[i])
            rc = errors_set(sb, EINVAL, SB_DETAIL_ARGUMENT, "session %zu is NULL", i);
    }
    if (rc == 0 && any_late(sb, sessions, n))
        timeout_ms = 0; /* only for those that are gone, and other sessions */
    if (rc == 0)
        rc = ask(sb, sessions, n, names, timeout_ms);
    int error = errno;
    free(names);
    errno = error;
    return rc;
}
