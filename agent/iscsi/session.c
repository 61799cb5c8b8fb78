/* SPDX-License-Identifier: Apache-2.0 */
/* The story of a session.
 *
 *   RESOLVING    the portal's name becomes addresses, off the loop
 *   CONNECTING   libiscsi connects TCP, one address after the other
 *   LOGGING_IN   the tap goes under libiscsi's socket, libiscsi logs in
 *   READY        commands; NOP-Out when the target has been quiet
 *   LOGGING_OUT  asked by the owner, or by the target (asynchronous events 1 and 4)
 *   OVER         told the owner, waiting to be closed
 *
 * Any state goes to OVER, and close is possible in any. libiscsi's callbacks only take notes; after each call into
 * libiscsi session_step acts on them. So the owner is never called from inside libiscsi, and libiscsi's context may be
 * destroyed whenever the owner is called. libiscsi never learns how a connection ended: the tap tells us and we drop
 * both. Should libiscsi give a connection up by itself, our notes say so (a command cancelled) and the session ends.
 *
 * Task management: libiscsi's own functions for it cancel every command of the session first; its general one, which is
 * used here, cancels none. The relay tells which commands a completed function ended; those are taken out of libiscsi
 * one by one when libiscsi has seen the answer, and with it all that came before. */
#include "agent/iscsi/session.h"

#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

#include "agent/iscsi/session_parts.h"

/* NOP-Outs without an answer; more are not sent. */
#define MAX_NOPS 8
/* A target that answers NOP-Out but has left this many commands without an answer hangs, too. */
#define MAX_ABANDONED (ISCSI_SESSION_MAX_COMMANDS / 4)

/* ---- the end ---- */

static void session_free(struct iscsi_session *s)
{
    if (s->addresses)
        uv_freeaddrinfo(s->addresses);
    session_settings_deinit(&s->settings);
    free(s);
}

void session_release(struct iscsi_session *s)
{
    if (--s->n_pending == 0)
        session_free(s);
}

void session_over(struct iscsi_session *s, struct iscsi_session_fate *fate)
{
    if (s->closed || s->state == OVER)
        return;
    s->state = OVER;
    s->deadline_ms = UINT64_MAX;
    uv_timer_stop(&s->timer);
    session_disconnect(s);
    s->done_first = NULL;
    s->done_last = &s->done_first;
    while (s->n_commands > 0) {
        struct command *c = s->commands[s->n_commands - 1];
        const struct iscsi_command_result gone = {.end = ISCSI_COMMAND_GONE};

        session_command_detach(s, c);
        if (!c->answered)
            c->cb(s, c->data, &gone);
        session_command_free(c);
        if (s->closed)
            return;
    }
    if (session_give_up_management(s))
        s->ops->on_end(s, s->data, fate);
}

void session_end(struct iscsi_session *s, enum iscsi_session_end end, int error, const char *format, ...)
{
    char text[512];
    struct iscsi_session_fate fate = {.end = end, .error = error, .text = text};
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    session_over(s, &fate);
}

/* ---- what libiscsi tells: notes ---- */

static void on_logged_out(struct iscsi_context *context, int status, void *command_data, void *data)
{
    struct iscsi_session *s = data;

    (void)context;
    (void)command_data;
    s->logged_out = status == SCSI_STATUS_GOOD ? SUCCEEDED : FAILED;
}

static void on_nop_answered(struct iscsi_context *context, int status, void *command_data, void *data)
{
    struct iscsi_session *s = data;

    (void)context;
    (void)command_data;
    s->n_nops--;
    if (status != SCSI_STATUS_GOOD)
        s->libiscsi_failed = true;
}

/* The tap takes the answer: libiscsi can only say that it gave up. */
static void on_targets_listed(struct iscsi_context *context, int status, void *command_data, void *data)
{
    struct iscsi_session *s = data;

    (void)context;
    (void)status;
    (void)command_data;
    s->libiscsi_failed = true;
}

/* ---- steps ---- */

/* Act on libiscsi's notes. */
void session_step(struct iscsi_session *s)
{
    if (s->state == CONNECTING) {
        if (s->connected == SUCCEEDED) {
            session_login(s);
        } else if (s->connected == FAILED || s->libiscsi_failed) {
            s->last_error = UV_EIO;
            session_note_failure(s, session_libiscsi_text(s));
            session_connect_next(s);
        }
    } else if (s->state == LOGGING_IN && s->logged_in == SUCCEEDED) {
        s->state = READY;
        s->deadline_ms = UINT64_MAX;
        s->ops->on_login(s, s->data, s->portal);
    } else if (s->state == LOGGING_IN && (s->logged_in == FAILED || s->libiscsi_failed)) {
        session_end(s, ISCSI_END_LOGIN_FAILED, 0, "%s: login: %s", s->portal, session_libiscsi_text(s));
    }
    if (s->closed || s->state == OVER)
        return;
    session_answer_commands(s);
    if (s->closed || s->state == OVER)
        return;
    session_answer_management(s);
    if (s->closed || s->state == OVER)
        return;
    if (s->state == LOGGING_OUT && s->logged_out == SUCCEEDED)
        session_end(s, ISCSI_END_CLOSED, 0, "%s: logged out", s->portal);
    else if ((s->state == READY || s->state == LOGGING_OUT) && (s->libiscsi_failed || s->logged_out == FAILED))
        session_end(s, ISCSI_END_PROTOCOL, 0, "%s: %s", s->portal, session_libiscsi_text(s));
    else if (s->state == READY)
        session_pay_dues(s);
    session_schedule(s);
}

/* ---- time ---- */

/* Discovery sessions have none (RFC 7143 section 4.3); the discovery's own limit bounds them. */
static bool may_nop(const struct iscsi_session *s)
{
    return s->settings.target_name != NULL;
}

static void nop_send(struct iscsi_session *s)
{
    if (!may_nop(s) || s->n_nops >= MAX_NOPS)
        return;
    if (iscsi_nop_out_async(s->context, on_nop_answered, NULL, 0, s) != 0) {
        s->libiscsi_failed = true;
        return;
    }
    s->n_nops++;
    s->ack_due = false;
}

static void logout_start(struct iscsi_session *s)
{
    s->state = LOGGING_OUT;
    s->deadline_ms = uv_now(s->loop) + s->settings.nop_timeout_ms;
    if (iscsi_logout_async(s->context, on_logged_out, s) != 0)
        s->logged_out = FAILED;
}

/* In READY: acknowledge at once, or go. */
void session_pay_dues(struct iscsi_session *s)
{
    if (s->logout_due)
        logout_start(s);
    else if (s->ack_due)
        nop_send(s);
}

/* When the timer must ring next. */
static uint64_t next_deadline(const struct iscsi_session *s)
{
    uint64_t next = s->deadline_ms;

    if (s->stop_asked || s->done_first || s->libiscsi_failed || s->logged_out == FAILED)
        return 0;
    for (size_t i = 0; i < s->n_commands; i++)
        if (!s->commands[i]->answered && s->commands[i]->deadline_ms < next)
            next = s->commands[i]->deadline_ms;
    if (management_deadline(&s->management) < next)
        next = management_deadline(&s->management);
    if (s->state == READY && may_nop(s)) {
        uint64_t heard_ms = tap_heard_ms(s->tap);
        bool asked = s->probe_ms > heard_ms;
        uint64_t due = asked ? s->probe_ms + s->settings.nop_timeout_ms : heard_ms + s->settings.nop_ms;

        if (due < next)
            next = due;
    }
    return next;
}

static void on_timer(uv_timer_t *timer);

void session_schedule(struct iscsi_session *s)
{
    uint64_t now = uv_now(s->loop);
    uint64_t next;

    if (s->closed || s->state == OVER)
        return;
    if (s->context)
        session_poll(s);
    next = next_deadline(s);
    if (next == UINT64_MAX)
        uv_timer_stop(&s->timer);
    else
        uv_timer_start(&s->timer, on_timer, next > now ? next - now : 0, 0);
}

static void state_expired(struct iscsi_session *s)
{
    switch (s->state) {
    case RESOLVING:
        session_end(s, ISCSI_END_UNREACHABLE, UV_ETIMEDOUT, "%s: name not resolved in %u ms", s->settings.host,
                    s->settings.connect_ms);
        break;
    case CONNECTING:
        session_end(s, ISCSI_END_UNREACHABLE, UV_ETIMEDOUT, "%s: no connection in %u ms", s->portal,
                    s->settings.connect_ms);
        break;
    case LOGGING_IN:
        session_end(s, ISCSI_END_LOGIN_FAILED, UV_ETIMEDOUT, "%s: login not finished in %u ms", s->portal,
                    s->settings.connect_ms);
        break;
    default:
        session_end(s, ISCSI_END_SILENT, UV_ETIMEDOUT, "%s: logout not answered in %u ms", s->portal,
                    s->settings.nop_timeout_ms);
        break;
    }
}

static void liveness_check(struct iscsi_session *s, uint64_t now)
{
    uint64_t heard_ms = tap_heard_ms(s->tap);

    if (s->n_abandoned >= MAX_ABANDONED) {
        session_end(s, ISCSI_END_SILENT, UV_ETIMEDOUT, "%s: %zu commands left without an answer", s->portal,
                    s->n_abandoned);
    } else if (s->probe_ms > heard_ms) {
        if (now >= s->probe_ms + s->settings.nop_timeout_ms)
            session_end(s, ISCSI_END_SILENT, UV_ETIMEDOUT, "%s: NOP-Out not answered in %u ms", s->portal,
                        s->settings.nop_timeout_ms);
    } else if (now >= heard_ms + s->settings.nop_ms) {
        s->probe_ms = now;
        nop_send(s);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct iscsi_session *s = timer->data;
    uint64_t now = uv_now(s->loop);

    if (s->stop_asked)
        session_end(s, ISCSI_END_CLOSED, 0, "logged out before login");
    else if (now >= s->deadline_ms)
        state_expired(s);
    if (s->closed || s->state == OVER)
        return;
    session_expire_commands(s, now);
    if (s->closed || s->state == OVER)
        return;
    session_expire_management(s, now);
    if (s->closed || s->state == OVER)
        return;
    if (s->state == READY && may_nop(s))
        liveness_check(s, now);
    if (s->closed || s->state == OVER)
        return;
    session_step(s);
}

/* ---- the owner's calls ---- */

int iscsi_session_open(uv_loop_t *loop, const struct iscsi_session_options *options,
                       const struct iscsi_session_ops *ops, void *data, struct iscsi_session **out_session)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct iscsi_session *s;
    int rc;

    s = calloc(1, sizeof(*s));
    if (!s)
        return UV_ENOMEM;
    s->loop = loop;
    s->ops = ops;
    s->data = data;
    s->done_last = &s->done_first;
    s->resolve.data = s;
    rc = session_settings_init(&s->settings, options);
    if (rc == 0)
        rc = uv_getaddrinfo(loop, &s->resolve, session_on_resolved, s->settings.host, s->settings.port, &hints);
    if (rc < 0) {
        session_free(s);
        return rc;
    }
    uv_timer_init(loop, &s->timer);
    s->timer.data = s;
    s->n_pending = 2;
    s->deadline_ms = uv_now(loop) + s->settings.connect_ms;
    session_schedule(s);
    *out_session = s;
    return 0;
}

int iscsi_session_send_targets(struct iscsi_session *s, iscsi_session_text_cb cb, void *data)
{
    if (s->closed || s->state != READY || s->settings.target_name)
        return UV_ENOTCONN;
    if (iscsi_discovery_async(s->context, on_targets_listed, s) != 0)
        return UV_ENOMEM;
    s->text_cb = cb;
    s->text_data = data;
    session_schedule(s);
    return 0;
}

void iscsi_session_logout(struct iscsi_session *s)
{
    if (s->closed || s->state == OVER || s->state == LOGGING_OUT)
        return;
    if (s->state == READY)
        logout_start(s);
    else
        s->stop_asked = true;
    session_schedule(s);
}

static void on_timer_closed(uv_handle_t *handle)
{
    session_release(handle->data);
}

void iscsi_session_close(struct iscsi_session *s)
{
    if (!s || s->closed)
        return;
    s->closed = true;
    session_disconnect(s);
    while (s->n_commands > 0)
        session_command_free(s->commands[--s->n_commands]);
    uv_cancel((uv_req_t *)&s->resolve);
    uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}

const struct iscsi_session_api iscsi_session_libiscsi = {
    .open = iscsi_session_open,
    .command = iscsi_session_command,
    .manage = iscsi_session_manage,
    .logout = iscsi_session_logout,
    .close = iscsi_session_close,
};
