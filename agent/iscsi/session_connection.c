/* SPDX-License-Identifier: Apache-2.0 */
/* The connection of a session: TCP, the tap under libiscsi's socket, login. The story is in session.c. */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

#include "agent/iscsi/login_status.h"
#include "agent/iscsi/session_parts.h"
#include "runtime/log.h"

/* ---- the connection: poll, tap and context live and go together ---- */

static void on_poll_closed(uv_handle_t *handle)
{
    free(handle);
}

static void poll_close(struct iscsi_session *s)
{
    if (!s->poll)
        return;
    uv_poll_stop(s->poll);
    uv_close((uv_handle_t *)s->poll, on_poll_closed);
    s->poll = NULL;
    s->poll_events = 0;
}

void session_disconnect(struct iscsi_session *s)
{
    poll_close(s);
    tap_close(s->tap);
    s->tap = NULL;
    if (s->context) {
        /* libiscsi keeps secrets in buffers of fixed size: writing others over them clears them to the end. */
        if (s->settings.chap_user)
            iscsi_set_initiator_username_pwd(s->context, "-", "-");
        if (s->settings.mutual_chap_user)
            iscsi_set_target_username_pwd(s->context, "-", "-");
        s->forgetting = true;
        iscsi_destroy_context(s->context);
        s->forgetting = false;
        s->context = NULL;
    }
    s->connected = s->logged_in = s->logged_out = NOT_YET;
    s->libiscsi_failed = false;
}

static void on_ready(uv_poll_t *handle, int status, int events);

/* Poll for what libiscsi wants now. */
void session_poll(struct iscsi_session *s)
{
    int wanted = iscsi_which_events(s->context);
    int events = (wanted & POLLIN ? UV_READABLE : 0) | (wanted & POLLOUT ? UV_WRITABLE : 0);

    if (!s->poll || events == s->poll_events)
        return;
    s->poll_events = events;
    if (events)
        uv_poll_start(s->poll, events, on_ready);
    else
        uv_poll_stop(s->poll);
}

static int poll_open(struct iscsi_session *s)
{
    uv_poll_t *poll = calloc(1, sizeof(*poll));
    int rc;

    if (!poll)
        return UV_ENOMEM;
    rc = uv_poll_init(s->loop, poll, iscsi_get_fd(s->context));
    if (rc < 0) {
        free(poll);
        return rc;
    }
    poll->data = s;
    s->poll = poll;
    s->poll_events = 0;
    session_poll(s);
    return 0;
}

/* What libiscsi says is wrong, without the line ends it sometimes adds. */
const char *session_libiscsi_text(struct iscsi_session *s)
{
    const char *text = s->context ? iscsi_get_error(s->context) : NULL;

    return text && *text ? text : "no reason given";
}

/* Why this address did not do. */
void session_note_failure(struct iscsi_session *s, const char *text)
{
    snprintf(s->last_text, sizeof(s->last_text), "%s: %.255s", s->portal, text);
}

/* ---- what the tap tells ---- */

static void on_tap_full_feature(void *data, bool header_digest)
{
    struct iscsi_session *s = data;

    log_debug("iscsi.full_feature", "portal=%s header_digest=%d", s->portal, header_digest);
}

static void on_tap_login_refused(void *data, uint8_t status_class, uint8_t detail, const char *moved_to)
{
    struct iscsi_session *s = data;
    char text[512];
    struct iscsi_session_fate fate = {
        .end = ISCSI_END_LOGIN_STATUS,
        .status_class = status_class,
        .status_detail = detail,
        .moved_to = moved_to,
        .text = text,
    };

    snprintf(text, sizeof(text), "login refused by %s with status %02x%02x: %s%s%s", s->portal, status_class, detail,
             login_status_text(status_class, detail), moved_to ? " to " : "", moved_to ? moved_to : "");
    session_over(s, &fate);
}

static void on_tap_text(void *data, const uint8_t *text, size_t len, bool complete)
{
    struct iscsi_session *s = data;
    iscsi_session_text_cb cb = s->text_cb;

    s->text_cb = NULL;
    if (cb)
        cb(s, s->text_data, complete ? 0 : UV_EMSGSIZE, text, len);
}

static void on_tap_async(void *data, const struct iscsi_async_message *message)
{
    struct iscsi_session *s = data;
    uint8_t event = message->event;

    s->ops->on_async(s, s->data, message);
    if (s->closed || s->state == OVER)
        return;
    /* 1: logout requested; 4: negotiation requested, which a new login does. */
    if (event == 1 || event == 4)
        s->logout_due = true;
    /* 2, 3: the target will drop the connection: it will tell by doing so. */
    else if (event != 2 && event != 3)
        s->ack_due = true;
    /* libiscsi may not know yet that login is through; then session_step does this. */
    if (s->state == READY)
        session_pay_dues(s);
    session_schedule(s);
}

static void on_tap_end(void *data, enum tap_end end, int error, const char *text)
{
    static const enum iscsi_session_end ends[] = {
        [TAP_CLOSED] = ISCSI_END_CLOSED, [TAP_RESET] = ISCSI_END_RESET, [TAP_PROTOCOL] = ISCSI_END_PROTOCOL};
    struct iscsi_session *s = data;
    bool logged_in;

    /* Answers that came before the end still count. */
    iscsi_service(s->context, POLLIN);
    logged_in = s->logged_in == SUCCEEDED;
    session_step(s);
    if (s->closed || s->state == OVER)
        return;
    session_end(s, logged_in ? ends[end] : ISCSI_END_LOGIN_FAILED, error, "%s: %s%s", s->portal,
                logged_in ? "" : "login: ", text);
}

static const struct tap_ops session_tap_ops = {
    .events =
        {
            .on_full_feature = on_tap_full_feature,
            .on_login_refused = on_tap_login_refused,
            .on_async = on_tap_async,
            .on_status = session_on_status,
            .on_reject = session_on_reject,
            .on_managing = session_on_managing,
            .on_aborted = session_on_aborted,
            .on_managed = session_on_managed,
            .on_text = on_tap_text,
        },
    .on_end = on_tap_end,
};

/* ---- login ---- */

static void on_connected(struct iscsi_context *context, int status, void *command_data, void *data)
{
    struct iscsi_session *s = data;

    (void)context;
    (void)command_data;
    s->connected = status == SCSI_STATUS_GOOD ? SUCCEEDED : FAILED;
}

static void on_logged_in(struct iscsi_context *context, int status, void *command_data, void *data)
{
    struct iscsi_session *s = data;

    (void)context;
    (void)command_data;
    s->logged_in = status == SCSI_STATUS_GOOD ? SUCCEEDED : FAILED;
}

static void on_libiscsi_log(int level, const char *message)
{
    log_debug("iscsi.libiscsi", "level=%d text=\"%s\"", level, message);
}

void session_login(struct iscsi_session *s)
{
    int rc;

    /* The descriptor changes what it stands for: a new poll. */
    poll_close(s);
    rc = tap_splice(s->loop, iscsi_get_fd(s->context), s->settings.mutual_chap_user != NULL, &session_tap_ops, s,
                    &s->tap);
    if (rc == 0)
        rc = poll_open(s);
    if (rc == 0 && iscsi_login_async(s->context, on_logged_in, s) != 0)
        rc = UV_EINVAL;
    if (rc < 0) {
        session_end(s, ISCSI_END_LOGIN_FAILED, rc, "%s: login could not start: %s", s->portal, uv_strerror(rc));
        return;
    }
    s->state = LOGGING_IN;
    s->deadline_ms = uv_now(s->loop) + s->settings.connect_ms;
}

static int pending_error(int fd)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    return -error;
}

static void on_ready(uv_poll_t *handle, int status, int events)
{
    struct iscsi_session *s = handle->data;
    int revents = (events & UV_READABLE ? POLLIN : 0) | (events & UV_WRITABLE ? POLLOUT : 0);
    int error = s->state == CONNECTING ? pending_error(iscsi_get_fd(s->context)) : 0;

    if (error < 0) {
        s->last_error = error;
        session_note_failure(s, uv_strerror(error));
        session_connect_next(s);
        return;
    }
    if (iscsi_service(s->context, status < 0 ? POLLIN | POLLOUT : revents) < 0)
        s->libiscsi_failed = true;
    session_step(s);
}

/* ---- connecting ---- */

static int context_new(struct iscsi_session *s)
{
    const struct session_settings *settings = &s->settings;
    bool discovery = !settings->target_name;
    struct iscsi_context *context = iscsi_create_context(settings->initiator_name);
    int rc = 0;

    if (!context)
        return UV_ENOMEM;
    s->context = context;
    iscsi_set_log_fn(context, on_libiscsi_log);
    iscsi_set_log_level(context, log_enabled(LOG_LEVEL_DEBUG) ? 2 : 0);
    iscsi_set_noautoreconnect(context, 1);
    rc |= iscsi_set_session_type(context, discovery ? ISCSI_SESSION_DISCOVERY : ISCSI_SESSION_NORMAL);
    if (!discovery)
        rc |= iscsi_set_targetname(context, settings->target_name);
    rc |= iscsi_set_header_digest(context, s->settings.header_digest ? ISCSI_HEADER_DIGEST_CRC32C_NONE
                                                                     : ISCSI_HEADER_DIGEST_NONE);
    if (settings->chap_user)
        rc |= iscsi_set_initiator_username_pwd(context, settings->chap_user, settings->chap_secret);
    if (settings->mutual_chap_user)
        rc |= iscsi_set_target_username_pwd(context, settings->mutual_chap_user, settings->mutual_chap_secret);
    return rc ? UV_EINVAL : 0;
}

static int name_address(struct iscsi_session *s)
{
    char host[72]; /* an IPv6 address and its scope */
    char port[16];

    if (getnameinfo(s->address->ai_addr, s->address->ai_addrlen, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return UV_EINVAL;
    snprintf(s->portal, sizeof(s->portal), s->address->ai_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
    return 0;
}

static int connect_start(struct iscsi_session *s)
{
    int rc = name_address(s);

    if (rc == 0)
        rc = context_new(s);
    if (rc < 0) {
        session_note_failure(s, uv_strerror(rc));
        return rc;
    }
    errno = 0;
    if (iscsi_connect_async(s->context, s->portal, on_connected, s) != 0) {
        rc = errno ? -errno : UV_ECONNREFUSED;
        session_note_failure(s, session_libiscsi_text(s));
        return rc;
    }
    rc = poll_open(s);
    if (rc < 0)
        session_note_failure(s, uv_strerror(rc));
    return rc;
}

/* The next address, or the end. */
void session_connect_next(struct iscsi_session *s)
{
    for (;;) {
        session_disconnect(s);
        s->address = s->address ? s->address->ai_next : s->addresses;
        if (!s->address) {
            session_end(s, ISCSI_END_UNREACHABLE, s->last_error, "%s", s->last_text);
            return;
        }
        s->state = CONNECTING;
        s->last_error = connect_start(s);
        if (s->last_error == 0)
            break;
    }
    session_schedule(s);
}

void session_on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
    struct iscsi_session *s = request->data;

    s->addresses = addresses;
    if (!s->closed && s->state == RESOLVING) {
        s->last_error = status;
        if (status < 0)
            snprintf(s->last_text, sizeof(s->last_text), "%s: %s", s->settings.host, uv_strerror(status));
        session_connect_next(s);
    }
    session_release(s);
}
