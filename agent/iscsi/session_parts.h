/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a session share, session.c, session_connection.c and session_requests.c: for nobody else. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "agent/iscsi/management.h"
#include "agent/iscsi/session.h"
#include "agent/iscsi/session_settings.h"
#include "agent/iscsi/tap.h"

#define MAX_SENSE_BYTES 255

struct addrinfo;
struct iscsi_context;
struct scsi_task;

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

/* session.c. Each may end or close the session: see `closed` and `state` before going on. */
void session_release(struct iscsi_session *s);
/* Tell the owner how it ended; nothing when it has ended before. */
void session_over(struct iscsi_session *s, struct iscsi_session_fate *fate);
void session_end(struct iscsi_session *s, enum iscsi_session_end end, int error, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Act on libiscsi's notes. */
void session_step(struct iscsi_session *s);
void session_schedule(struct iscsi_session *s);
/* In READY: acknowledge at once, or go. */
void session_pay_dues(struct iscsi_session *s);

/* session_connection.c */
void session_on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses);
/* The next address, or the end. */
void session_connect_next(struct iscsi_session *s);
/* TCP is connected: tap and login. */
void session_login(struct iscsi_session *s);
/* Poll for what libiscsi wants now. */
void session_poll(struct iscsi_session *s);
void session_disconnect(struct iscsi_session *s);
/* What libiscsi says is wrong; and why this address did not do. */
const char *session_libiscsi_text(struct iscsi_session *s);
void session_note_failure(struct iscsi_session *s, const char *text);

/* session_requests.c: what libiscsi and the tap know of requests becomes callbacks of the owner. */
void session_answer_commands(struct iscsi_session *s);
void session_answer_management(struct iscsi_session *s);
void session_expire_commands(struct iscsi_session *s, uint64_t now);
void session_expire_management(struct iscsi_session *s, uint64_t now);
/* All that wait are told that the session is gone. False when the owner closed it meanwhile. */
bool session_give_up_management(struct iscsi_session *s);
void session_command_free(struct command *c);
/* Out of the session's table; the caller frees. */
void session_command_detach(struct iscsi_session *s, struct command *c);
/* The tap's: `data` is the session. */
void session_on_status(void *data, const struct inspector_status *status);
void session_on_reject(void *data, uint8_t reason, const uint8_t *header);
void session_on_managing(void *data, uint32_t itt);
void session_on_aborted(void *data, uint32_t command_itt, uint32_t itt);
void session_on_managed(void *data, uint32_t itt, bool rejected, uint8_t response);
