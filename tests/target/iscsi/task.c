/* SPDX-License-Identifier: Apache-2.0 */
/* A command with data to come is a task: it takes the immediate data, asks for the rest by R2T, one at a time, and is
 * executed when all is there. Every other command is executed at once. */
#include "tests/target/iscsi/task.h"

#include <stdlib.h>
#include <string.h>

#include "tests/target/iscsi/answer.h"

#define FLAG_READ      0x40
#define FLAG_WRITE     0x20
#define RESIDUAL_UNDER 0x02
#define RESIDUAL_OVER  0x04

void task_end(struct session_task *task)
{
    free(task->data);
    *task = (struct session_task){0};
}

size_t session_abort(struct session *s, int number)
{
    size_t n = 0;

    for (size_t i = 0; i < SESSION_WINDOW; i++)
        if (s->tasks[i].used && (number == DEVICE_ALL_UNITS || device_lun_number(s->tasks[i].lun) == number)) {
            task_end(&s->tasks[i]);
            n++;
        }
    return n;
}

static void set_residual(uint8_t header[PDU_HEADER_BYTES], uint32_t expected, size_t actual)
{
    if (actual == expected)
        return;
    header[PDU_AT_FLAGS] |= actual > expected ? RESIDUAL_OVER : RESIDUAL_UNDER;
    put_be(header + 44, actual > expected ? actual - expected : expected - actual, 4);
}

/* Data-In in pieces that the initiator takes, bursts ended by F, the status in the last. */
static void send_data_in(struct session *s, uint32_t itt, uint32_t expected, const struct scsi_reply *reply)
{
    size_t len = reply->data_len < expected ? reply->data_len : expected, most = s->login.terms.max_send_bytes, n;
    size_t burst = 0;
    uint32_t datasn = 0;

    for (size_t at = 0; at < len; at += n) {
        uint8_t header[PDU_HEADER_BYTES];
        size_t left_in_burst = s->login.terms.max_burst_bytes - burst;

        n = len - at < most ? len - at : most;
        n = n < left_in_burst ? n : left_in_burst;
        burst += n;
        answer_head(header, PDU_DATA_IN, itt);
        pdu_put32(header + PDU_AT_TTT, PDU_NO_TAG);
        pdu_put32(header + 36, datasn++);
        pdu_put32(header + PDU_AT_BUFFER_OFFSET, (uint32_t)at);
        if (at + n == len) {
            header[PDU_AT_FLAGS] |= PDU_HAS_STATUS;
            set_residual(header, expected, reply->data_len);
            answer_send_with_status(s, header, reply->data + at, n);
            return;
        }
        if (burst < s->login.terms.max_burst_bytes)
            header[PDU_AT_FLAGS] = 0;
        else
            burst = 0;
        answer_send(s, header, reply->data + at, n);
    }
}

static void send_scsi_response(struct session *s, const uint8_t *lun, uint8_t opcode, uint32_t itt, uint32_t expected,
                               uint8_t flags, const struct scsi_reply *reply)
{
    uint8_t header[PDU_HEADER_BYTES], segment[2 + SENSE_MAX_BYTES];
    size_t len = 0, actual = flags & FLAG_WRITE ? reply->data_out_len : reply->data_len;

    answer_head(header, PDU_SCSI_RESPONSE, itt);
    header[PDU_AT_STATUS] = (uint8_t)reply->status;
    set_residual(header, flags & (FLAG_READ | FLAG_WRITE) ? expected : 0, actual);
    if (reply->status == SCSI_CHECK_CONDITION) {
        put_be(segment, reply->sense_len, 2);
        memcpy(segment + 2, reply->sense, reply->sense_len);
        len = 2 + reply->sense_len;
    }
    answer_send_with_status(s, header, segment, len);
    if (len > 0 && s->events->sent)
        s->events->sent(
            s->data,
            &(struct session_sent){.lun = lun, .opcode = opcode, .sense = reply->sense, .sense_len = reply->sense_len});
}

static void execute(struct session *s, const uint8_t *lun, const uint8_t *cdb, uint32_t itt, uint32_t expected,
                    uint8_t flags, const uint8_t *data, size_t len)
{
    struct scsi_request request = {.data = data, .data_len = len};
    struct scsi_reply reply = {0};

    memcpy(request.cdb, cdb, sizeof(request.cdb));
    device_execute(s->target->device, s->port, lun, &request, &reply);
    if (reply.status == SCSI_GOOD && reply.data_len > 0 && flags & FLAG_READ && expected > 0)
        send_data_in(s, itt, expected, &reply);
    else
        send_scsi_response(s, lun, cdb[0], itt, expected, flags, &reply);
    reply_deinit(&reply);
}

/* Ask for the next burst. */
static void send_r2t(struct session *s, struct session_task *task)
{
    uint32_t left = task->expected - task->len, most = s->login.terms.max_burst_bytes;
    uint32_t n = left < most ? left : most;
    uint8_t header[PDU_HEADER_BYTES];

    answer_head(header, PDU_R2T, task->itt);
    memcpy(header + PDU_AT_LUN, task->lun, 8);
    pdu_put32(header + PDU_AT_TTT, task->ttt);
    pdu_put32(header + PDU_AT_STATSN, s->statsn); /* not advanced */
    pdu_put32(header + 36, task->r2tsn++);
    pdu_put32(header + 40, task->len);
    pdu_put32(header + 44, n);
    task->burst_end = task->len + n;
    task->next_datasn = 0;
    answer_send(s, header, NULL, 0);
}

static void task_go_on(struct session *s, struct session_task *task)
{
    if (task->len < task->expected) {
        send_r2t(s, task);
        return;
    }
    execute(s, task->lun, task->cdb, task->itt, task->expected, FLAG_WRITE, task->data, task->len);
    task_end(task);
}

struct session_task *task_find(struct session *s, uint32_t itt)
{
    for (size_t i = 0; i < SESSION_WINDOW; i++)
        if (s->tasks[i].used && s->tasks[i].itt == itt)
            return &s->tasks[i];
    return NULL;
}

static struct session_task *task_free_slot(struct session *s)
{
    for (size_t i = 0; i < SESSION_WINDOW; i++)
        if (!s->tasks[i].used)
            return &s->tasks[i];
    return NULL;
}

/* A command with Data-Out to come. Returns false when there is no room for it. */
static bool begin_task(struct session *s, const struct framer_pdu *pdu, uint32_t expected)
{
    struct session_task *task = task_free_slot(s);
    uint8_t *data = task ? malloc(expected) : NULL;

    if (!data)
        return false;
    *task = (struct session_task){.used = true, .itt = pdu_get32(pdu->bytes + PDU_AT_ITT), .expected = expected};
    task->data = data;
    task->ttt = ++s->last_ttt == PDU_NO_TAG ? s->last_ttt = 1 : s->last_ttt;
    task->len = (uint32_t)pdu->data_len;
    memcpy(task->lun, pdu->bytes + PDU_AT_LUN, sizeof(task->lun));
    memcpy(task->cdb, pdu->bytes + PDU_AT_CDB, sizeof(task->cdb));
    if (pdu->data_len > 0)
        memcpy(data, pdu->data, pdu->data_len);
    task_go_on(s, task);
    return true;
}

/* Without a look at the unit; KEY_NONE: try again. */
static void refuse_command(struct session *s, const uint8_t *lun, uint8_t opcode, uint32_t itt, uint32_t expected,
                           enum sense_key key, enum asc asc)
{
    struct scsi_reply reply = {.status = SCSI_BUSY};

    if (key != KEY_NONE)
        reply_check(&reply, key, asc);
    send_scsi_response(s, lun, opcode, itt, expected, FLAG_WRITE, &reply);
}

void task_receive_command(struct session *s, const struct framer_pdu *pdu)
{
    const uint8_t *header = pdu->bytes;
    uint8_t flags = header[PDU_AT_FLAGS] & (FLAG_READ | FLAG_WRITE);
    uint32_t itt = pdu_get32(header + PDU_AT_ITT), expected = pdu_get32(header + PDU_AT_EXPECTED_LENGTH);

    if (flags == (FLAG_READ | FLAG_WRITE) || itt == PDU_NO_TAG || task_find(s, itt) ||
        (pdu->data_len > 0 && (!(flags & FLAG_WRITE) || !s->login.terms.immediate_data || pdu->data_len > expected)))
        answer_reject(s, REJECT_PROTOCOL, header);
    else if (!(flags & FLAG_WRITE))
        execute(s, header + PDU_AT_LUN, header + PDU_AT_CDB, itt, expected, flags, NULL, 0);
    else if (expected > UNIT_TRANSFER_BYTES)
        refuse_command(s, header + PDU_AT_LUN, header[PDU_AT_CDB], itt, expected, KEY_ILLEGAL_REQUEST,
                       ASC_INVALID_FIELD_IN_CDB);
    else if (pdu->data_len == expected)
        execute(s, header + PDU_AT_LUN, header + PDU_AT_CDB, itt, expected, flags, pdu->data, pdu->data_len);
    else if (!begin_task(s, pdu, expected))
        refuse_command(s, header + PDU_AT_LUN, header[PDU_AT_CDB], itt, expected, KEY_NONE, ASC_NONE);
}

/* Only what was asked for is taken, in order (DataPDUInOrder is Yes); else the command is aborted. Data of a command
 * that is gone is dropped. */
void task_receive_data_out(struct session *s, const struct framer_pdu *pdu)
{
    const uint8_t *header = pdu->bytes;
    struct session_task *task = task_find(s, pdu_get32(header + PDU_AT_ITT));
    bool final = header[PDU_AT_FLAGS] & PDU_FINAL;

    if (!task)
        return;
    if (pdu_get32(header + PDU_AT_TTT) != task->ttt || pdu_get32(header + PDU_AT_BUFFER_OFFSET) != task->len ||
        pdu_get32(header + 36) != task->next_datasn || pdu->data_len > task->burst_end - task->len ||
        (final && task->len + pdu->data_len != task->burst_end)) {
        struct session_task failed = *task;

        task_end(task);
        refuse_command(s, failed.lun, failed.cdb[0], failed.itt, failed.expected, KEY_ABORTED_COMMAND,
                       ASC_DATA_PHASE_ERROR);
        return;
    }
    if (pdu->data_len > 0)
        memcpy(task->data + task->len, pdu->data, pdu->data_len);
    task->len += (uint32_t)pdu->data_len;
    task->next_datasn++;
    if (final)
        task_go_on(s, task);
}
