/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/iscsi/inspector.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/iscsi/digest.h"
#include "agent/iscsi/pdu.h"

/* How far a StatSN may be ahead of the expected one. TCP loses nothing, so a gap is a target that counts badly; small
 * ones are forgiven, as other initiators do. */
#define STATSN_FORGIVEN 1024

void inspector_init(struct inspector *in, bool prove_target, const struct inspector_events *events, void *data)
{
    memset(in, 0, sizeof(*in));
    in->prove_target = prove_target;
    in->events = events;
    in->data = data;
}

static enum inspector_verdict __attribute__((format(printf, 2, 3)))
refuse(struct inspector *in, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(in->error, sizeof(in->error), format, args);
    va_end(args);
    return INSPECTOR_REFUSE;
}

/* ---- requests that wait for an answer ---- */

static struct inspector_task *task_find(struct inspector *in, uint32_t itt)
{
    for (size_t i = 0; i < in->n_tasks; i++)
        if (in->tasks[i].itt == itt)
            return &in->tasks[i];
    return NULL;
}

static void task_remove(struct inspector *in, struct inspector_task *task)
{
    *task = in->tasks[--in->n_tasks];
}

/* The task and forget it; false when there is none of that kind. */
static bool task_take(struct inspector *in, uint32_t itt, enum pdu_opcode request, struct inspector_task *out_task)
{
    struct inspector_task *task = task_find(in, itt);

    if (!task || task->request != request)
        return false;
    *out_task = *task;
    task_remove(in, task);
    return true;
}

/* Of the commands that were aborted, the one that is the longest time so: its answer hardly comes. */
static void forget_aborted(struct inspector *in)
{
    struct inspector_task *oldest = NULL;

    for (size_t i = 0; i < in->n_tasks; i++)
        if (in->tasks[i].aborted && (!oldest || in->tasks[i].order < oldest->order))
            oldest = &in->tasks[i];
    if (oldest)
        task_remove(in, oldest);
}

static bool task_add(struct inspector *in, const uint8_t *header)
{
    uint32_t itt = pdu_get32(header + PDU_AT_ITT);
    struct inspector_task *task = task_find(in, itt);

    if (!task && in->n_tasks == INSPECTOR_MAX_TASKS)
        forget_aborted(in);
    if (!task) {
        if (in->n_tasks == INSPECTOR_MAX_TASKS)
            return false;
        task = &in->tasks[in->n_tasks++];
    }
    *task = (struct inspector_task){.itt = itt, .request = (uint8_t)pdu_opcode(header), .order = in->n_sent++};
    if (task->request == PDU_TASK_MANAGEMENT_REQUEST) {
        task->function = header[PDU_AT_FLAGS] & PDU_FUNCTION;
        task->lun_raw = pdu_get64(header + PDU_AT_LUN);
        in->events->on_managing(in->data, itt);
    }
    if (task->request == PDU_SCSI_COMMAND) {
        task->cdb0 = header[PDU_AT_CDB];
        task->lun_raw = pdu_get64(header + PDU_AT_LUN);
        task->expected_bytes = pdu_get32(header + PDU_AT_EXPECTED_LENGTH);
    }
    return true;
}

/* ---- login keys ---- */

/* Walk "key=value\0key=value\0". The last string may lack its NUL; values are cut to fit `value`. */
struct key_cursor {
    const char *at, *end;
    const char *key; /* not terminated */
    size_t key_len;
    char value[INSPECTOR_ADDRESS_BYTES];
};

static bool key_next(struct key_cursor *c)
{
    while (c->at < c->end) {
        const char *text = c->at;
        size_t len = strnlen(text, (size_t)(c->end - text));
        const char *equals = memchr(text, '=', len);
        size_t value_len;

        c->at = len < (size_t)(c->end - text) ? text + len + 1 : c->end;
        if (!equals)
            continue;
        c->key = text;
        c->key_len = (size_t)(equals - text);
        value_len = len - c->key_len - 1;
        if (value_len >= sizeof(c->value))
            value_len = sizeof(c->value) - 1;
        memcpy(c->value, equals + 1, value_len);
        c->value[value_len] = 0;
        return true;
    }
    return false;
}

static bool key_is(const struct key_cursor *c, const char *key)
{
    return c->key_len == strlen(key) && memcmp(c->key, key, c->key_len) == 0;
}

static struct key_cursor keys_of(const struct framer_pdu *pdu)
{
    const char *text = (const char *)pdu->data;

    return (struct key_cursor){.at = text, .end = text + pdu->data_len};
}

static void note_offers(struct inspector *in, const struct framer_pdu *pdu)
{
    struct key_cursor c = keys_of(pdu);

    while (key_next(&c)) {
        if (key_is(&c, "HeaderDigest"))
            in->offered_header_digest = strstr(c.value, "CRC32C") != NULL;
        else if (key_is(&c, "DataDigest"))
            in->offered_data_digest = strstr(c.value, "CRC32C") != NULL;
        else if (key_is(&c, "CHAP_C"))
            in->sent_challenge = true;
    }
}

static void note_answers(struct inspector *in, const struct framer_pdu *pdu)
{
    struct key_cursor c = keys_of(pdu);

    while (key_next(&c)) {
        if (key_is(&c, "HeaderDigest")) {
            in->answered_header_digest = true;
            in->header_digest = strcmp(c.value, "CRC32C") == 0;
        } else if (key_is(&c, "DataDigest")) {
            in->answered_data_digest = true;
            in->data_digest = strcmp(c.value, "CRC32C") == 0;
        } else if (key_is(&c, "CHAP_R")) {
            in->got_proof = in->sent_challenge; /* libiscsi checks the value */
        }
    }
}

static bool ends_in_nul(const struct framer_pdu *pdu)
{
    return pdu->data_len == 0 || pdu->data[pdu->data_len - 1] == 0;
}

/* ---- StatSN ---- */

static bool count_statsn(struct inspector *in, const uint8_t *header)
{
    uint32_t statsn = pdu_get32(header + PDU_AT_STATSN);
    int32_t ahead = (int32_t)(statsn - in->exp_statsn);

    if (ahead > STATSN_FORGIVEN || ahead < -STATSN_FORGIVEN) {
        refuse(in, "StatSN %u where %u was due", statsn, in->exp_statsn);
        return false;
    }
    if (ahead >= 0)
        in->exp_statsn = statsn + 1;
    return true;
}

/* ---- what libiscsi gets ---- */

static void renew_header_digest(struct inspector *in, struct framer_pdu *pdu)
{
    if (in->full_feature && in->header_digest)
        digest_put(pdu->bytes + pdu->header_len, pdu->bytes, pdu->header_len);
}

/* The header alone, without data or additional headers. */
static enum inspector_verdict forward_bare(struct inspector *in, struct framer_pdu *pdu)
{
    memset(pdu->bytes + PDU_AT_DATA_LENGTH, 0, 4);
    pdu->header_len = PDU_HEADER_BYTES;
    pdu->len = PDU_HEADER_BYTES + (in->header_digest ? DIGEST_BYTES : 0);
    pdu->data = NULL;
    pdu->data_len = 0;
    renew_header_digest(in, pdu);
    return INSPECTOR_FORWARD;
}

/* An answer of ours in the place of the PDU at hand: "done", nothing else. StatSN and CmdSN fields stay. */
static enum inspector_verdict forward_done(struct inspector *in, struct framer_pdu *pdu, enum pdu_opcode opcode,
                                           uint32_t itt)
{
    uint8_t *header = pdu->bytes;

    memset(header, 0, PDU_AT_STATSN);
    header[0] = (uint8_t)opcode;
    header[PDU_AT_FLAGS] = PDU_FINAL;
    pdu_put32(header + PDU_AT_ITT, itt);
    pdu_put32(header + PDU_AT_TTT, PDU_NO_TAG);
    memset(header + PDU_AT_LOGIN_CLASS, 0, PDU_HEADER_BYTES - PDU_AT_LOGIN_CLASS);
    if (opcode == PDU_SCSI_RESPONSE)
        memset(header + PDU_AT_TTT, 0, 4); /* SNACK tag */
    return forward_bare(in, pdu);
}

/* ---- target to initiator ---- */

static enum inspector_verdict login_done(struct inspector *in)
{
    if (in->header_digest && !in->offered_header_digest)
        return refuse(in, "the target chose HeaderDigest=CRC32C, which was not offered");
    if (in->data_digest && !in->offered_data_digest)
        return refuse(in, "the target chose DataDigest=CRC32C, which was not offered");
    if (in->offered_header_digest && !in->answered_header_digest)
        return refuse(in, "the target did not answer HeaderDigest");
    if (in->offered_data_digest && !in->answered_data_digest)
        return refuse(in, "the target did not answer DataDigest");
    if (in->prove_target && !in->got_proof)
        return refuse(in, "the target did not authenticate itself");
    in->full_feature = true;
    in->events->on_full_feature(in->data, in->header_digest);
    return INSPECTOR_FORWARD;
}

static enum inspector_verdict login_refused(struct inspector *in, const struct framer_pdu *pdu)
{
    struct key_cursor c = keys_of(pdu);
    uint8_t status_class = pdu->bytes[PDU_AT_LOGIN_CLASS];
    const char *moved_to = NULL;

    while (status_class == 1 && !moved_to && key_next(&c))
        if (key_is(&c, "TargetAddress"))
            moved_to = c.value;
    in->events->on_login_refused(in->data, status_class, pdu->bytes[PDU_AT_LOGIN_DETAIL], moved_to);
    return INSPECTOR_CONSUME;
}

static enum inspector_verdict on_login_phase(struct inspector *in, struct framer_pdu *pdu)
{
    const uint8_t *header = pdu->bytes;
    struct inspector_task task;

    if (pdu_opcode(header) == PDU_REJECT)
        return refuse(in, "the login request was rejected, reason 0x%02x", header[PDU_AT_RESPONSE]);
    if (pdu_opcode(header) != PDU_LOGIN_RESPONSE)
        return refuse(in, "PDU 0x%02x where a login response was due", header[0] & 0x3f);
    if (!task_take(in, pdu_get32(header + PDU_AT_ITT), PDU_LOGIN_REQUEST, &task))
        return refuse(in, "login response to task 0x%08x, which asked nothing", pdu_get32(header + PDU_AT_ITT));
    if (header[PDU_AT_LOGIN_CLASS] != 0)
        return login_refused(in, pdu);
    if (header[PDU_AT_FLAGS] & PDU_CONTINUE)
        return refuse(in, "login response continued in another PDU");
    if (header[PDU_AT_AHS_WORDS] != 0)
        return refuse(in, "login response with additional headers");
    if (!ends_in_nul(pdu))
        return refuse(in, "login response whose keys do not end in NUL");
    in->exp_statsn = pdu_get32(header + PDU_AT_STATSN) + 1;
    note_answers(in, pdu);
    if ((header[PDU_AT_FLAGS] & PDU_FINAL) && (header[PDU_AT_FLAGS] & PDU_NEXT_STAGE) == PDU_STAGE_FULL_FEATURE)
        return login_done(in);
    return INSPECTOR_FORWARD;
}

static enum inspector_verdict on_nop_in(struct inspector *in, struct framer_pdu *pdu)
{
    const uint8_t *header = pdu->bytes;
    uint32_t itt = pdu_get32(header + PDU_AT_ITT);
    struct inspector_task task;

    /* A ping carries the next StatSN without using it up. */
    if (itt == PDU_NO_TAG)
        return pdu_get32(header + PDU_AT_TTT) == PDU_NO_TAG ? INSPECTOR_CONSUME : forward_bare(in, pdu);
    if (!count_statsn(in, header))
        return INSPECTOR_REFUSE;
    if (!task_take(in, itt, PDU_NOP_OUT, &task))
        return INSPECTOR_CONSUME;
    return forward_done(in, pdu, PDU_NOP_IN, itt);
}

static void report_status(struct inspector *in, uint32_t itt, const struct inspector_task *task, bool refused,
                          uint8_t status, const struct framer_pdu *pdu)
{
    struct inspector_status report = {
        .itt = itt,
        .known = task != NULL,
        .refused = refused,
        .lun_raw = task ? task->lun_raw : UINT64_MAX,
        .opcode = task ? task->cdb0 : -1,
        .status = status,
    };

    if (pdu && pdu->data_len > 2) {
        size_t sense_len = pdu_get16(pdu->data);

        if (sense_len > pdu->data_len - 2)
            sense_len = pdu->data_len - 2;
        report.sense = sense_len ? pdu->data + 2 : NULL;
        report.sense_len = sense_len;
    }
    in->events->on_status(in->data, &report);
}

static enum inspector_verdict on_scsi_response(struct inspector *in, struct framer_pdu *pdu)
{
    const uint8_t *header = pdu->bytes;
    uint32_t itt = pdu_get32(header + PDU_AT_ITT);
    struct inspector_task task;
    bool known;

    if (!count_statsn(in, header))
        return INSPECTOR_REFUSE;
    known = task_take(in, itt, PDU_SCSI_COMMAND, &task);
    report_status(in, itt, known ? &task : NULL, header[PDU_AT_RESPONSE] != 0, header[PDU_AT_STATUS], pdu);
    return known && !task.aborted ? forward_done(in, pdu, PDU_SCSI_RESPONSE, itt) : INSPECTOR_CONSUME;
}

static enum inspector_verdict on_data_in(struct inspector *in, struct framer_pdu *pdu)
{
    uint8_t *header = pdu->bytes;
    uint32_t itt = pdu_get32(header + PDU_AT_ITT);
    bool has_status = header[PDU_AT_FLAGS] & PDU_HAS_STATUS;
    struct inspector_task *task = task_find(in, itt);
    struct inspector_task done;

    if (has_status && !count_statsn(in, header))
        return INSPECTOR_REFUSE;
    if (!task || task->request != PDU_SCSI_COMMAND)
        return INSPECTOR_CONSUME;
    if (header[PDU_AT_AHS_WORDS] != 0)
        return refuse(in, "Data-In with additional headers");
    if (pdu_get32(header + PDU_AT_BUFFER_OFFSET) != task->got_bytes)
        return refuse(in, "Data-In at offset %u where %u was due", pdu_get32(header + PDU_AT_BUFFER_OFFSET),
                      task->got_bytes);
    if (pdu->data_len > task->expected_bytes - task->got_bytes)
        return refuse(in, "Data-In beyond the %u bytes asked for", task->expected_bytes);
    task->got_bytes += (uint32_t)pdu->data_len;
    if (has_status) {
        done = *task;
        task_remove(in, task);
        report_status(in, itt, &done, false, header[PDU_AT_STATUS], NULL);
        if (done.aborted)
            return INSPECTOR_CONSUME;
        if (pdu->data_len == 0)
            return forward_done(in, pdu, PDU_SCSI_RESPONSE, itt);
    } else if (pdu->data_len == 0 || task->aborted) {
        return INSPECTOR_CONSUME;
    }
    header[PDU_AT_FLAGS] = has_status ? PDU_FINAL | PDU_HAS_STATUS : 0;
    header[PDU_AT_STATUS] = 0;
    renew_header_digest(in, pdu);
    return INSPECTOR_FORWARD;
}

static enum inspector_verdict on_async_message(struct inspector *in, struct framer_pdu *pdu)
{
    uint8_t *header = pdu->bytes;
    struct iscsi_async_message message;

    if (!count_statsn(in, header))
        return INSPECTOR_REFUSE;
    /* Close the gap that the header digest leaves: the evidence is header and data, nothing of the transport. */
    memmove(header + pdu->header_len, pdu->data, pdu->data_len);
    async_message_decode(header, pdu->header_len, pdu->header_len + pdu->data_len, &message);
    in->events->on_async(in->data, &message);
    return INSPECTOR_CONSUME;
}

/* libiscsi gives the connection up over a Reject that it cannot match, so it sees the request done instead. */
static enum inspector_verdict on_reject(struct inspector *in, struct framer_pdu *pdu)
{
    const uint8_t *rejected = pdu->data_len >= PDU_HEADER_BYTES ? pdu->data : NULL;
    uint8_t reason = pdu->bytes[PDU_AT_RESPONSE];
    uint32_t itt = rejected ? pdu_get32(rejected + PDU_AT_ITT) : PDU_NO_TAG;
    struct inspector_task *task = rejected ? task_find(in, itt) : NULL;
    struct inspector_task done;

    if (!count_statsn(in, pdu->bytes))
        return INSPECTOR_REFUSE;
    in->events->on_reject(in->data, reason, rejected);
    if (!task)
        return INSPECTOR_CONSUME;
    done = *task;
    task_remove(in, task);
    switch (done.request) {
    case PDU_SCSI_COMMAND:
        report_status(in, itt, &done, true, 0, NULL);
        return done.aborted ? INSPECTOR_CONSUME : forward_done(in, pdu, PDU_SCSI_RESPONSE, itt);
    case PDU_TASK_MANAGEMENT_REQUEST:
        in->events->on_managed(in->data, itt, true, 0);
        return forward_done(in, pdu, PDU_TASK_MANAGEMENT_RESPONSE, itt);
    case PDU_NOP_OUT: return forward_done(in, pdu, PDU_NOP_IN, itt);
    case PDU_LOGOUT_REQUEST: return forward_done(in, pdu, PDU_LOGOUT_RESPONSE, itt);
    default: return refuse(in, "request 0x%02x was rejected, reason 0x%02x", done.request, reason);
    }
}

static enum inspector_verdict on_text_response(struct inspector *in, struct framer_pdu *pdu)
{
    struct inspector_task task;
    uint8_t flags = pdu->bytes[PDU_AT_FLAGS];

    if (!count_statsn(in, pdu->bytes))
        return INSPECTOR_REFUSE;
    if (task_take(in, pdu_get32(pdu->bytes + PDU_AT_ITT), PDU_TEXT_REQUEST, &task))
        in->events->on_text(in->data, pdu->data, pdu->data_len, (flags & PDU_FINAL) && !(flags & PDU_CONTINUE));
    return INSPECTOR_CONSUME;
}

/* The commands that a completed function ended (RFC 7143 section 11.5.1): what was sent before it, to its unit or to
 * all of them. The target answers none of them any more. */
static void abort_tasks(struct inspector *in, const struct inspector_task *by)
{
    for (size_t i = 0; i < in->n_tasks; i++) {
        struct inspector_task *task = &in->tasks[i];
        bool reached = by->function == ISCSI_TARGET_WARM_RESET || task->lun_raw == by->lun_raw;

        if (task->request != PDU_SCSI_COMMAND || task->aborted || task->order > by->order || !reached)
            continue;
        task->aborted = true;
        in->events->on_aborted(in->data, task->itt, by->itt);
    }
}

static enum inspector_verdict on_management_response(struct inspector *in, struct framer_pdu *pdu)
{
    uint8_t response = pdu->bytes[PDU_AT_RESPONSE];
    struct inspector_task task;

    if (!count_statsn(in, pdu->bytes))
        return INSPECTOR_REFUSE;
    if (!task_take(in, pdu_get32(pdu->bytes + PDU_AT_ITT), PDU_TASK_MANAGEMENT_REQUEST, &task))
        return INSPECTOR_CONSUME;
    if (response == ISCSI_TASK_COMPLETE)
        abort_tasks(in, &task);
    in->events->on_managed(in->data, task.itt, false, response);
    return forward_bare(in, pdu);
}

/* Answers that matter only by their arrival. */
static enum inspector_verdict on_plain_response(struct inspector *in, struct framer_pdu *pdu, enum pdu_opcode request)
{
    uint32_t itt = pdu_get32(pdu->bytes + PDU_AT_ITT);
    struct inspector_task task;

    if (!count_statsn(in, pdu->bytes))
        return INSPECTOR_REFUSE;
    return task_take(in, itt, request, &task) ? forward_bare(in, pdu) : INSPECTOR_CONSUME;
}

enum inspector_verdict inspector_from_target(struct inspector *in, struct framer_pdu *pdu)
{
    if (!in->full_feature)
        return on_login_phase(in, pdu);
    switch (pdu_opcode(pdu->bytes)) {
    case PDU_NOP_IN: return on_nop_in(in, pdu);
    case PDU_SCSI_RESPONSE: return on_scsi_response(in, pdu);
    case PDU_DATA_IN: return on_data_in(in, pdu);
    case PDU_TEXT_RESPONSE: return on_text_response(in, pdu);
    case PDU_TASK_MANAGEMENT_RESPONSE: return on_management_response(in, pdu);
    case PDU_LOGOUT_RESPONSE: return on_plain_response(in, pdu, PDU_LOGOUT_REQUEST);
    case PDU_ASYNC_MESSAGE: return on_async_message(in, pdu);
    case PDU_REJECT: return on_reject(in, pdu);
    default: return refuse(in, "PDU 0x%02x, which a target must not send here", pdu->bytes[0] & 0x3f);
    }
}

/* ---- initiator to target ---- */

enum inspector_verdict inspector_from_initiator(struct inspector *in, struct framer_pdu *pdu)
{
    uint8_t *header = pdu->bytes;
    bool answered = pdu_opcode(header) != PDU_DATA_OUT && pdu_get32(header + PDU_AT_ITT) != PDU_NO_TAG;

    if (answered && !task_add(in, header))
        return refuse(in, "more than %d requests without an answer", INSPECTOR_MAX_TASKS);
    if (!in->full_feature) {
        note_offers(in, pdu);
        return INSPECTOR_FORWARD;
    }
    pdu_put32(header + PDU_AT_EXPSTATSN, in->exp_statsn);
    renew_header_digest(in, pdu);
    return INSPECTOR_FORWARD;
}
