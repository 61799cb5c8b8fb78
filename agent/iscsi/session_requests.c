/* SPDX-License-Identifier: Apache-2.0 */
/* Commands and task management of a session, from the owner's call to its callback. The story is in session.c. */
#include <stdlib.h>
#include <string.h>

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

#include "agent/iscsi/pdu.h"
#include "agent/iscsi/session_parts.h"

#define DEFAULT_COMMAND_MS 10000

/* ---- memory ---- */

void session_command_free(struct command *c)
{
    if (c->task)
        scsi_free_scsi_task(c->task);
    free(c);
}

/* Out of the session's table; the caller frees. */
void session_command_detach(struct iscsi_session *s, struct command *c)
{
    size_t i = 0;

    while (s->commands[i] != c)
        i++;
    s->commands[i] = s->commands[--s->n_commands];
    if (c->answered)
        s->n_abandoned--;
}

static void management_answer(struct iscsi_session *s, struct management *m, enum iscsi_management_end end)
{
    const struct iscsi_management_result result = {.end = end, .response = m->response};

    m->answered = true;
    m->cb(s, m->data, &result);
}

/* All that wait are told that the session is gone. False when the owner closed it meanwhile. */
bool session_give_up_management(struct iscsi_session *s)
{
    struct management *m;

    while (!s->closed && (m = management_waiting(&s->management)))
        management_answer(s, m, ISCSI_MANAGEMENT_GONE);
    return !s->closed;
}

/* ---- what the tap tells ---- */

static struct command *command_of(struct iscsi_session *s, uint32_t itt)
{
    for (size_t i = 0; i < s->n_commands; i++)
        if (s->commands[i]->task->itt == itt && s->commands[i]->note == NOT_YET)
            return s->commands[i];
    return NULL;
}

void session_on_status(void *data, const struct inspector_status *status)
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

void session_on_reject(void *data, uint8_t reason, const uint8_t *header)
{
    struct iscsi_session *s = data;

    s->ops->on_reject(s, s->data, reason, header);
}

void session_on_managing(void *data, uint32_t itt)
{
    struct iscsi_session *s = data;

    management_sent(&s->management, itt);
}

void session_on_aborted(void *data, uint32_t command_itt, uint32_t itt)
{
    struct iscsi_session *s = data;
    struct command *c = command_of(s, command_itt);

    if (!c)
        return;
    c->aborted = true;
    c->aborted_by = itt;
}

void session_on_managed(void *data, uint32_t itt, bool rejected, uint8_t response)
{
    struct iscsi_session *s = data;

    management_heard(&s->management, itt, rejected, response);
}

/* ---- what libiscsi tells: notes ---- */

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

/* ---- answers ---- */

void session_answer_commands(struct iscsi_session *s)
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
        session_command_detach(s, c);
        if (!c->answered)
            c->cb(s, c->data, &result);
        session_command_free(c);
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
    session_command_detach(s, c);
    if (!c->answered)
        c->cb(s, c->data, &aborted);
    session_command_free(c);
}

void session_answer_management(struct iscsi_session *s)
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

void session_expire_commands(struct iscsi_session *s, uint64_t now)
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

void session_expire_management(struct iscsi_session *s, uint64_t now)
{
    struct management *m;

    while (!s->closed && s->state != OVER && (m = management_expired(&s->management, now)))
        management_answer(s, m, ISCSI_MANAGEMENT_TIMEOUT);
}

/* ---- the owner's calls ---- */

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
        session_command_free(c);
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
