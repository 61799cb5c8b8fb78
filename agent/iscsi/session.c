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

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

#include "agent/iscsi/login_status.h"
#include "agent/iscsi/management.h"
#include "agent/iscsi/pdu.h"
#include "agent/iscsi/session_settings.h"
#include "agent/iscsi/tap.h"
#include "runtime/log.h"

#define DEFAULT_COMMAND_MS 10000
#define MAX_SENSE_BYTES    255
/* NOP-Outs without an answer; more are not sent. */
#define MAX_NOPS 8
/* A target that answers NOP-Out but has left this many commands without an answer hangs, too. */
#define MAX_ABANDONED (ISCSI_SESSION_MAX_COMMANDS / 4)

enum session_state { RESOLVING, CONNECTING, LOGGING_IN, READY, LOGGING_OUT, OVER };

/* What libiscsi said about a request; NOT_YET until it did. */
enum note { NOT_YET, SUCCEEDED, FAILED };

struct command {
    struct iscsi_session *session;
    struct command *next_done;
    struct scsi_task *task; /* libiscsi's until the note is made */
    iscsi_session_command_cb cb;
    void *data;
    uint64_t deadline_ms;
    enum note note;
    bool answered;   /* the owner had its callback (a timeout) */
    bool has_status; /* the tap saw the answer */
    bool refused;
    bool aborted; /* by the task management request `aborted_by` */
    uint32_t aborted_by;
    uint8_t status;
    uint8_t sense_len;
    uint8_t sense[MAX_SENSE_BYTES];
};

struct iscsi_session {
    uv_loop_t *loop;
    const struct iscsi_session_ops *ops;
    void *data;
    struct session_settings settings;

    enum session_state state;
    bool closed;
    unsigned n_pending; /* timer and name resolution: freed when they are done */
    uv_timer_t timer;
    uint64_t deadline_ms; /* of the state, UINT64_MAX for none */
    uv_getaddrinfo_t resolve;
    struct addrinfo *addresses, *address;
    char portal[96]; /* address in use, numeric */

    struct iscsi_context *context;
    bool forgetting; /* libiscsi's callbacks are about what we take away from it ourselves */
    uv_poll_t *poll; /* of libiscsi's descriptor */
    int poll_events;
    struct tap *tap;
    enum note connected, logged_in, logged_out;
    bool libiscsi_failed;

    struct command *commands[ISCSI_SESSION_MAX_COMMANDS];
    size_t n_commands, n_abandoned;
    struct command *done_first, **done_last;
    struct management_table management;
    unsigned n_nops;
    bool ack_due, logout_due; /* what asynchronous messages ask for */
    uint64_t probe_ms;        /* when the target was asked whether it lives, 0 when it was heard since */
    iscsi_session_text_cb text_cb;
    void *text_data;
    bool stop_asked;

    int last_error;
    char last_text[384]; /* why the last address failed */
};

static void session_step(struct iscsi_session *s);
static void session_schedule(struct iscsi_session *s);
static void connect_next(struct iscsi_session *s);

/* ---- memory ---- */

static void session_free(struct iscsi_session *s)
{
    if (s->addresses)
        uv_freeaddrinfo(s->addresses);
    session_settings_deinit(&s->settings);
    free(s);
}

static void session_release(struct iscsi_session *s)
{
    if (--s->n_pending == 0)
        session_free(s);
}

static void command_free(struct command *c)
{
    if (c->task)
        scsi_free_scsi_task(c->task);
    free(c);
}

/* Out of the session's table; the caller frees. */
static void command_detach(struct iscsi_session *s, struct command *c)
{
    size_t i = 0;

    while (s->commands[i] != c)
        i++;
    s->commands[i] = s->commands[--s->n_commands];
    if (c->answered)
        s->n_abandoned--;
}

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

static void connection_drop(struct iscsi_session *s)
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
static void poll_update(struct iscsi_session *s)
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
    poll_update(s);
    return 0;
}

/* ---- the end ---- */

static void management_answer(struct iscsi_session *s, struct management *m, enum iscsi_management_end end)
{
    const struct iscsi_management_result result = {.end = end, .response = m->response};

    m->answered = true;
    m->cb(s, m->data, &result);
}

/* All that wait are told that the session is gone. False when the owner closed it meanwhile. */
static bool management_give_up(struct iscsi_session *s)
{
    struct management *m;

    while (!s->closed && (m = management_waiting(&s->management)))
        management_answer(s, m, ISCSI_MANAGEMENT_GONE);
    return !s->closed;
}

static void session_over(struct iscsi_session *s, struct iscsi_session_fate *fate)
{
    if (s->closed || s->state == OVER)
        return;
    s->state = OVER;
    s->deadline_ms = UINT64_MAX;
    uv_timer_stop(&s->timer);
    connection_drop(s);
    s->done_first = NULL;
    s->done_last = &s->done_first;
    while (s->n_commands > 0) {
        struct command *c = s->commands[s->n_commands - 1];
        const struct iscsi_command_result gone = {.end = ISCSI_COMMAND_GONE};

        command_detach(s, c);
        if (!c->answered)
            c->cb(s, c->data, &gone);
        command_free(c);
        if (s->closed)
            return;
    }
    if (management_give_up(s))
        s->ops->on_end(s, s->data, fate);
}

static void __attribute__((format(printf, 4, 5)))
session_end(struct iscsi_session *s, enum iscsi_session_end end, int error, const char *format, ...)
{
    char text[512];
    struct iscsi_session_fate fate = {.end = end, .error = error, .text = text};
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    session_over(s, &fate);
}

/* What libiscsi says is wrong, without the line ends it sometimes adds. */
static const char *libiscsi_text(struct iscsi_session *s)
{
    const char *text = s->context ? iscsi_get_error(s->context) : NULL;

    return text && *text ? text : "no reason given";
}

/* Why this address did not do. */
static void note_failure(struct iscsi_session *s, const char *text)
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

static struct command *command_of(struct iscsi_session *s, uint32_t itt)
{
    for (size_t i = 0; i < s->n_commands; i++)
        if (s->commands[i]->task->itt == itt && s->commands[i]->note == NOT_YET)
            return s->commands[i];
    return NULL;
}

static void on_tap_status(void *data, const struct inspector_status *status)
{
    struct iscsi_session *s = data;
    struct command *c = status->known ? command_of(s, status->itt) : NULL;

    if (c) {
        c->has_status = true;
        c->refused = status->refused;
        c->status = status->status;
        c->sense_len = (uint8_t)(status->sense_len < MAX_SENSE_BYTES ? status->sense_len : MAX_SENSE_BYTES);
        if (c->sense_len > 0)
            memcpy(c->sense, status->sense, c->sense_len);
    }
    if (status->sense_len > 0)
        s->ops->on_sense(s, s->data, status->lun_raw, status->opcode, status->sense, status->sense_len);
}

static void on_tap_reject(void *data, uint8_t reason, const uint8_t *header)
{
    struct iscsi_session *s = data;

    s->ops->on_reject(s, s->data, reason, header);
}

static void on_tap_managing(void *data, uint32_t itt)
{
    struct iscsi_session *s = data;

    management_sent(&s->management, itt);
}

static void on_tap_aborted(void *data, uint32_t command_itt, uint32_t itt)
{
    struct iscsi_session *s = data;
    struct command *c = command_of(s, command_itt);

    if (!c)
        return;
    c->aborted = true;
    c->aborted_by = itt;
}

static void on_tap_managed(void *data, uint32_t itt, bool rejected, uint8_t response)
{
    struct iscsi_session *s = data;

    management_heard(&s->management, itt, rejected, response);
}

static void on_tap_text(void *data, const uint8_t *text, size_t len, bool complete)
{
    struct iscsi_session *s = data;
    iscsi_session_text_cb cb = s->text_cb;

    s->text_cb = NULL;
    if (cb)
        cb(s, s->text_data, complete ? 0 : UV_EMSGSIZE, text, len);
}

static void pay_dues(struct iscsi_session *s);

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
        pay_dues(s);
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
            .on_status = on_tap_status,
            .on_reject = on_tap_reject,
            .on_managing = on_tap_managing,
            .on_aborted = on_tap_aborted,
            .on_managed = on_tap_managed,
            .on_text = on_tap_text,
        },
    .on_end = on_tap_end,
};

/* ---- what libiscsi tells: notes ---- */

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

static void on_command_done(struct iscsi_context *context, int status, void *command_data, void *data)
{
    struct command *c = data;
    struct iscsi_session *s = c->session;

    (void)context;
    (void)command_data;
    if (s->forgetting)
        return;
    c->note = status == SCSI_STATUS_GOOD && c->has_status ? SUCCEEDED : FAILED;
    if (c->note == FAILED)
        s->libiscsi_failed = true;
    c->next_done = NULL;
    *s->done_last = c;
    s->done_last = &c->next_done;
}

static void on_managed(struct iscsi_context *context, int status, void *command_data, void *data)
{
    struct management *m = data;
    struct iscsi_session *s = m->session;

    (void)context;
    (void)command_data;
    if (s->forgetting)
        return;
    if (status == SCSI_STATUS_GOOD && m->state == MANAGEMENT_HEARD)
        m->state = MANAGEMENT_DONE;
    else
        s->libiscsi_failed = true;
}

static void on_libiscsi_log(int level, const char *message)
{
    log_debug("iscsi.libiscsi", "level=%d text=\"%s\"", level, message);
}

/* ---- steps ---- */

static void login_start(struct iscsi_session *s)
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

static void answer_done(struct iscsi_session *s)
{
    while (s->done_first && s->done_first->note == SUCCEEDED) {
        struct command *c = s->done_first;
        struct iscsi_command_result result = {
            .end = c->refused ? ISCSI_COMMAND_REFUSED : ISCSI_COMMAND_DONE,
            .scsi_status = c->status,
            .data = c->task->datain.data,
            .len = c->task->datain.data ? (size_t)c->task->datain.size : 0,
            .sense = c->sense_len > 0 ? c->sense : NULL,
            .sense_len = c->sense_len,
        };

        s->done_first = c->next_done;
        if (!s->done_first)
            s->done_last = &s->done_first;
        command_detach(s, c);
        if (!c->answered)
            c->cb(s, c->data, &result);
        command_free(c);
        if (s->closed || s->state == OVER)
            return;
    }
}

/* The command that this request aborted and that libiscsi still waits for, or NULL. */
static struct command *aborted_command(struct iscsi_session *s, uint32_t itt)
{
    for (size_t i = 0; i < s->n_commands; i++)
        if (s->commands[i]->aborted && s->commands[i]->aborted_by == itt && s->commands[i]->note == NOT_YET)
            return s->commands[i];
    return NULL;
}

static void answer_aborted(struct iscsi_session *s, struct command *c)
{
    static const struct iscsi_command_result aborted = {.end = ISCSI_COMMAND_ABORTED};

    s->forgetting = true;
    iscsi_scsi_cancel_task(s->context, c->task);
    s->forgetting = false;
    command_detach(s, c);
    if (!c->answered)
        c->cb(s, c->data, &aborted);
    command_free(c);
}

static void answer_management(struct iscsi_session *s)
{
    struct management *m;

    while ((m = management_find(&s->management, MANAGEMENT_DONE))) {
        struct command *c = aborted_command(s, m->itt);
        struct management done = *m;

        if (c) {
            answer_aborted(s, c);
        } else {
            management_free(m);
            if (!done.answered)
                management_answer(s, &done, done.rejected ? ISCSI_MANAGEMENT_REJECTED : ISCSI_MANAGEMENT_ANSWERED);
        }
        if (s->closed || s->state == OVER)
            return;
    }
}

/* Act on libiscsi's notes. */
static void session_step(struct iscsi_session *s)
{
    if (s->state == CONNECTING) {
        if (s->connected == SUCCEEDED) {
            login_start(s);
        } else if (s->connected == FAILED || s->libiscsi_failed) {
            s->last_error = UV_EIO;
            note_failure(s, libiscsi_text(s));
            connect_next(s);
        }
    } else if (s->state == LOGGING_IN && s->logged_in == SUCCEEDED) {
        s->state = READY;
        s->deadline_ms = UINT64_MAX;
        s->ops->on_login(s, s->data, s->portal);
    } else if (s->state == LOGGING_IN && (s->logged_in == FAILED || s->libiscsi_failed)) {
        session_end(s, ISCSI_END_LOGIN_FAILED, 0, "%s: login: %s", s->portal, libiscsi_text(s));
    }
    if (s->closed || s->state == OVER)
        return;
    answer_done(s);
    if (s->closed || s->state == OVER)
        return;
    answer_management(s);
    if (s->closed || s->state == OVER)
        return;
    if (s->state == LOGGING_OUT && s->logged_out == SUCCEEDED)
        session_end(s, ISCSI_END_CLOSED, 0, "%s: logged out", s->portal);
    else if ((s->state == READY || s->state == LOGGING_OUT) && (s->libiscsi_failed || s->logged_out == FAILED))
        session_end(s, ISCSI_END_PROTOCOL, 0, "%s: %s", s->portal, libiscsi_text(s));
    else if (s->state == READY)
        pay_dues(s);
    session_schedule(s);
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
        note_failure(s, uv_strerror(error));
        connect_next(s);
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
        note_failure(s, uv_strerror(rc));
        return rc;
    }
    errno = 0;
    if (iscsi_connect_async(s->context, s->portal, on_connected, s) != 0) {
        rc = errno ? -errno : UV_ECONNREFUSED;
        note_failure(s, libiscsi_text(s));
        return rc;
    }
    rc = poll_open(s);
    if (rc < 0)
        note_failure(s, uv_strerror(rc));
    return rc;
}

/* The next address, or the end. */
static void connect_next(struct iscsi_session *s)
{
    for (;;) {
        connection_drop(s);
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

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
    struct iscsi_session *s = request->data;

    s->addresses = addresses;
    if (!s->closed && s->state == RESOLVING) {
        s->last_error = status;
        if (status < 0)
            snprintf(s->last_text, sizeof(s->last_text), "%s: %s", s->settings.host, uv_strerror(status));
        connect_next(s);
    }
    session_release(s);
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
static void pay_dues(struct iscsi_session *s)
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

static void session_schedule(struct iscsi_session *s)
{
    uint64_t now = uv_now(s->loop);
    uint64_t next;

    if (s->closed || s->state == OVER)
        return;
    if (s->context)
        poll_update(s);
    next = next_deadline(s);
    if (next == UINT64_MAX)
        uv_timer_stop(&s->timer);
    else
        uv_timer_start(&s->timer, on_timer, next > now ? next - now : 0, 0);
}

static void commands_expire(struct iscsi_session *s, uint64_t now)
{
    const struct iscsi_command_result timeout = {.end = ISCSI_COMMAND_TIMEOUT};
    bool again;

    do {
        again = false;
        for (size_t i = 0; i < s->n_commands && !again; i++) {
            struct command *c = s->commands[i];

            if (c->answered || c->note != NOT_YET || c->deadline_ms > now)
                continue;
            c->answered = again = true;
            s->n_abandoned++;
            c->cb(s, c->data, &timeout);
            if (s->closed || s->state == OVER)
                return;
        }
    } while (again);
}

static void management_expire(struct iscsi_session *s, uint64_t now)
{
    struct management *m;

    while (!s->closed && s->state != OVER && (m = management_expired(&s->management, now)))
        management_answer(s, m, ISCSI_MANAGEMENT_TIMEOUT);
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
    commands_expire(s, now);
    if (s->closed || s->state == OVER)
        return;
    management_expire(s, now);
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
        rc = uv_getaddrinfo(loop, &s->resolve, on_resolved, s->settings.host, s->settings.port, &hints);
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

/* Flat addressing above 255 (SAM-5 section 4.7.7); libiscsi puts the number into the first two bytes as it is. */
static int wire_lun(uint16_t lun)
{
    return lun < 256 ? lun : 0x4000 | lun;
}

int iscsi_session_command(struct iscsi_session *s, uint16_t lun, const uint8_t *cdb, size_t cdb_len, uint32_t in_bytes,
                          uint32_t timeout_ms, iscsi_session_command_cb cb, void *data)
{
    uint8_t bytes[16] = {0};
    struct command *c;

    if (s->closed || s->state != READY || s->libiscsi_failed)
        return UV_ENOTCONN;
    if (s->n_commands == ISCSI_SESSION_MAX_COMMANDS)
        return UV_ENOBUFS;
    if (lun > 16383 || in_bytes > ISCSI_SESSION_MAX_TRANSFER_BYTES ||
        (cdb_len != 6 && cdb_len != 10 && cdb_len != 12 && cdb_len != 16))
        return UV_EINVAL;
    c = calloc(1, sizeof(*c));
    if (!c)
        return UV_ENOMEM;
    memcpy(bytes, cdb, cdb_len);
    c->session = s;
    c->cb = cb;
    c->data = data;
    c->deadline_ms = uv_now(s->loop) + (timeout_ms ? timeout_ms : DEFAULT_COMMAND_MS);
    c->task = scsi_create_task((int)cdb_len, bytes, in_bytes ? SCSI_XFER_READ : SCSI_XFER_NONE, (int)in_bytes);
    if (!c->task || iscsi_scsi_command_async(s->context, wire_lun(lun), c->task, on_command_done, NULL, c) != 0) {
        command_free(c);
        return UV_ENOMEM;
    }
    s->commands[s->n_commands++] = c;
    session_schedule(s);
    return 0;
}

int iscsi_session_manage(struct iscsi_session *s, enum iscsi_task_function function, uint16_t lun, uint32_t timeout_ms,
                         iscsi_session_management_cb cb, void *data)
{
    struct management *m;

    if (s->closed || s->state != READY || s->libiscsi_failed)
        return UV_ENOTCONN;
    if (lun > 16383)
        return UV_EINVAL;
    m = management_ask(&s->management);
    if (!m)
        return UV_ENOBUFS;
    m->session = s;
    m->cb = cb;
    m->data = data;
    m->deadline_ms = uv_now(s->loop) + (timeout_ms ? timeout_ms : DEFAULT_COMMAND_MS);
    if (iscsi_task_mgmt_async(s->context, wire_lun(lun), (enum iscsi_task_mgmt_funcs)function, PDU_NO_TAG, 0,
                              on_managed, m) != 0) {
        management_free(m);
        return UV_ENOMEM;
    }
    session_schedule(s);
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
    connection_drop(s);
    while (s->n_commands > 0)
        command_free(s->commands[--s->n_commands]);
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
