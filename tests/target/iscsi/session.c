/* SPDX-License-Identifier: Apache-2.0 */
/* The normal path: Login Requests go to login.h until the full feature phase; then each request that is the next in
 * CmdSN order is answered at once. Commands, and the data that they wait for, are task.h's.
 *
 * What breaks the protocol is rejected; when the two sides can no longer agree on numbers, the session ends. */
#include "tests/target/iscsi/session.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "agent/iscsi/digest.h"
#include "agent/iscsi/pdu.h"
#include "runtime/crc32c.h"
#include "tests/target/iscsi/answer.h"
#include "tests/target/iscsi/task.h"

#define IMMEDIATE 0x40

void session_init(struct session *s, const struct session_target *target, uint16_t tsih,
                  const uint8_t challenge[LOGIN_CHALLENGE_BYTES], const struct session_events *events, void *data)
{
    *s = (struct session){.target = target, .events = events, .data = data, .tsih = tsih, .statsn = 1};
    login_init(&s->login, &target->rules, challenge);
}

void session_deinit(struct session *s)
{
    session_abort(s, DEVICE_ALL_UNITS);
    login_deinit(&s->login);
    if (s->port)
        device_detach(s->target->device, s->port);
    s->port = NULL;
}

void session_digests(const struct session *s, bool *out_header, bool *out_data)
{
    *out_header = s->full_feature && s->login.terms.header_digest;
    *out_data = s->full_feature && s->login.terms.data_digest;
}

static enum session_verdict end(struct session *s, const char *why)
{
    s->why = why;
    return SESSION_ENDS;
}

/* ------------------------------------------------------------------------------------------------ sending */

static uint32_t n_waiting(const struct session *s)
{
    uint32_t n = 0;

    for (size_t i = 0; i < SESSION_WINDOW; i++)
        n += s->tasks[i].used;
    return n;
}

static uint32_t next_statsn(struct session *s)
{
    s->statsn += s->statsn_skew;
    s->statsn_skew = 0;
    return s->statsn++;
}

void answer_head(uint8_t header[PDU_HEADER_BYTES], enum pdu_opcode opcode, uint32_t itt)
{
    memset(header, 0, PDU_HEADER_BYTES);
    header[0] = (uint8_t)opcode;
    header[PDU_AT_FLAGS] = PDU_FINAL;
    pdu_put32(header + PDU_AT_ITT, itt);
}

void answer_send(struct session *s, uint8_t header[PDU_HEADER_BYTES], const uint8_t *data, size_t len)
{
    static const uint8_t padding[4];
    bool header_digest, data_digest;
    uint8_t digest[DIGEST_BYTES];
    size_t n_padding = -len & 3;

    session_digests(s, &header_digest, &data_digest);
    if (pdu_opcode(header) == PDU_LOGIN_RESPONSE)
        header_digest = data_digest = false;
    put_be(header + PDU_AT_DATA_LENGTH + 1, len, 3);
    pdu_put32(header + 28, s->expcmdsn);
    pdu_put32(header + 32, s->expcmdsn + SESSION_WINDOW - 1 - n_waiting(s));
    s->events->send(s->data, header, PDU_HEADER_BYTES);
    if (header_digest) {
        digest_put(digest, header, PDU_HEADER_BYTES);
        s->events->send(s->data, digest, sizeof(digest));
    }
    if (len == 0)
        return;
    s->events->send(s->data, data, len);
    s->events->send(s->data, padding, n_padding);
    if (data_digest) {
        uint32_t crc = crc32c(crc32c(0, data, len), padding, n_padding);

        for (size_t i = 0; i < DIGEST_BYTES; i++)
            digest[i] = (uint8_t)(crc >> 8 * i);
        s->events->send(s->data, digest, sizeof(digest));
    }
}

void answer_send_with_status(struct session *s, uint8_t header[PDU_HEADER_BYTES], const uint8_t *data, size_t len)
{
    pdu_put32(header + PDU_AT_STATSN, next_statsn(s));
    answer_send(s, header, data, len);
}

void answer_reject(struct session *s, enum reject_reason reason, const uint8_t *rejected)
{
    uint8_t header[PDU_HEADER_BYTES];

    answer_head(header, PDU_REJECT, PDU_NO_TAG);
    header[PDU_AT_RESPONSE] = (uint8_t)reason;
    answer_send_with_status(s, header, rejected, rejected ? PDU_HEADER_BYTES : 0);
}

void session_reject(struct session *s, uint8_t reason)
{
    const uint8_t nothing[PDU_HEADER_BYTES] = {0};

    answer_reject(s, reason, nothing);
}

int session_async(struct session *s, const struct session_async *message)
{
    uint8_t header[PDU_HEADER_BYTES];

    if (message->data_len > s->login.terms.max_send_bytes)
        return UV_EINVAL;
    answer_head(header, PDU_ASYNC_MESSAGE, PDU_NO_TAG);
    device_put_lun(header + PDU_AT_LUN, message->lun);
    pdu_put32(header + PDU_AT_TTT, PDU_NO_TAG);
    header[PDU_AT_ASYNC_EVENT] = message->event;
    header[PDU_AT_ASYNC_VCODE] = message->vcode;
    for (int i = 0; i < 3; i++)
        put_be(header + PDU_AT_ASYNC_PARAMETERS + 2 * i, message->parameters[i], 2);
    answer_send_with_status(s, header, message->data, message->data_len);
    if (s->events->sent)
        s->events->sent(s->data, &(struct session_sent){.message = message});
    return 0;
}

void session_ping(struct session *s)
{
    uint8_t header[PDU_HEADER_BYTES];

    answer_head(header, PDU_NOP_IN, PDU_NO_TAG);
    if (++s->last_ttt == PDU_NO_TAG)
        s->last_ttt = 1;
    pdu_put32(header + PDU_AT_TTT, s->last_ttt);
    pdu_put32(header + PDU_AT_STATSN, s->statsn); /* not advanced: RFC 7143 section 11.19 */
    answer_send(s, header, NULL, 0);
}

/* ------------------------------------------------------------------------------------------------ login */

static void send_login(struct session *s, const uint8_t *request, const struct login_answer *answer)
{
    uint8_t header[PDU_HEADER_BYTES];
    uint8_t flags = (uint8_t)(answer->stage << 2);

    answer_head(header, PDU_LOGIN_RESPONSE, pdu_get32(request + PDU_AT_ITT));
    if (answer->transit)
        flags |= (uint8_t)(PDU_FINAL | answer->next_stage);
    header[PDU_AT_FLAGS] = flags;
    memcpy(header + PDU_AT_LUN, request + PDU_AT_LUN, 6);
    if (answer->transit && answer->next_stage == LOGIN_FULL_FEATURE)
        put_be(header + 14, s->tsih, 2);
    put_be(header + PDU_AT_LOGIN_CLASS, answer->status, 2);
    answer_send_with_status(s, header, answer->keys.bytes, answer->keys.len);
}

static enum session_verdict refuse_login(struct session *s, const uint8_t *request, enum login_status status)
{
    struct login_answer answer = {.status = status, .stage = request[PDU_AT_FLAGS] >> 2 & 3};

    if (status >> 8 == 1 && s->target->moved_to)
        keys_put(&answer.keys, "TargetAddress", s->target->moved_to);
    send_login(s, request, &answer);
    return end(s, "login refused");
}

/* What the header alone tells; LOGIN_SUCCESS when there is nothing to say. */
static enum login_status check_login_header(const struct session *s, const uint8_t *header)
{
    if (header[3] > 0)
        return LOGIN_BAD_VERSION;
    if (pdu_get16(header + 14) != 0) /* TSIH: a second connection; MaxConnections is 1 */
        return LOGIN_TOO_MANY_CONNECTIONS;
    return s->target->refuse;
}

static enum login_status enter_full_feature(struct session *s)
{
    const struct login_terms *terms = &s->login.terms;
    int rc = 0;

    if (!terms->discovery) {
        s->events->reinstate(s->data, terms->initiator, s->isid);
        rc = device_attach(s->target->device, terms->initiator, s->isid, &s->port);
    }
    return rc == 0 ? LOGIN_SUCCESS : LOGIN_OUT_OF_RESOURCES;
}

static enum session_verdict receive_login(struct session *s, const struct framer_pdu *pdu)
{
    const uint8_t *header = pdu->bytes;
    struct login_answer answer;
    enum login_status status;

    if (pdu_opcode(header) != PDU_LOGIN_REQUEST)
        return end(s, "not logged in");
    s->expcmdsn = pdu_get32(header + 24);
    memcpy(s->isid, header + 8, sizeof(s->isid));
    s->cid = pdu_get16(header + 20);
    status = check_login_header(s, header);
    if (status != LOGIN_SUCCESS)
        return refuse_login(s, header, status);
    login_step(&s->login, header[PDU_AT_FLAGS], pdu->data, pdu->data_len, &answer);
    if (answer.status == LOGIN_SUCCESS && answer.transit && answer.next_stage == LOGIN_FULL_FEATURE)
        answer.status = enter_full_feature(s);
    if (answer.status != LOGIN_SUCCESS)
        return refuse_login(s, header, answer.status);
    send_login(s, header, &answer);
    s->full_feature = answer.transit && answer.next_stage == LOGIN_FULL_FEATURE;
    return SESSION_GOES_ON;
}

/* ------------------------------------------------------------------------------------------------ task management */

enum management_function {
    MANAGE_ABORT_TASK = 1,
    MANAGE_ABORT_TASK_SET = 2,
    MANAGE_CLEAR_TASK_SET = 4,
    MANAGE_UNIT_RESET = 5,
    MANAGE_WARM_RESET = 6,
    MANAGE_COLD_RESET = 7,
    MANAGE_REASSIGN = 8,
};
enum management_response { MANAGED = 0, NO_SUCH_TASK = 1, NO_SUCH_UNIT = 2, NO_REASSIGN = 4, NOT_SUPPORTED = 5 };

static enum management_response abort_task(struct session *s, const uint8_t *header)
{
    struct session_task *task = task_find(s, pdu_get32(header + 20));

    if (!task)
        return NO_SUCH_TASK;
    task_end(task);
    return MANAGED;
}

static enum management_response manage_unit(struct session *s, int function, int number)
{
    struct device *device = s->target->device;

    if (number < 0 || !device_unit(device, (uint64_t)number))
        return NO_SUCH_UNIT;
    if (function == MANAGE_ABORT_TASK_SET) {
        session_abort(s, number);
        return MANAGED;
    }
    s->events->abort_all(s->data, number);
    if (function == MANAGE_UNIT_RESET)
        device_reset(device, number);
    else
        device_establish(device, number, ASC_COMMANDS_CLEARED, s->port);
    return MANAGED;
}

static enum management_response manage(struct session *s, const uint8_t *header)
{
    int function = header[PDU_AT_FLAGS] & PDU_FUNCTION;

    switch (function) {
    case MANAGE_ABORT_TASK: return abort_task(s, header);
    case MANAGE_ABORT_TASK_SET:
    case MANAGE_CLEAR_TASK_SET:
    case MANAGE_UNIT_RESET: return manage_unit(s, function, device_lun_number(header + PDU_AT_LUN));
    case MANAGE_WARM_RESET:
    case MANAGE_COLD_RESET:
        s->events->abort_all(s->data, DEVICE_ALL_UNITS);
        device_reset(s->target->device, DEVICE_ALL_UNITS);
        return MANAGED;
    case MANAGE_REASSIGN: return NO_REASSIGN;
    default: return NOT_SUPPORTED;
    }
}

static enum session_verdict receive_management(struct session *s, const struct framer_pdu *pdu)
{
    uint8_t header[PDU_HEADER_BYTES];
    enum management_response response = manage(s, pdu->bytes);

    answer_head(header, PDU_TASK_MANAGEMENT_RESPONSE, pdu_get32(pdu->bytes + PDU_AT_ITT));
    header[PDU_AT_RESPONSE] = (uint8_t)response;
    answer_send_with_status(s, header, NULL, 0);
    if ((pdu->bytes[PDU_AT_FLAGS] & PDU_FUNCTION) != MANAGE_COLD_RESET)
        return SESSION_GOES_ON;
    s->events->cold_reset(s->data);
    return end(s, "cold reset");
}

/* ------------------------------------------------------------------------------------------------ the others */

static void receive_nop(struct session *s, const struct framer_pdu *pdu)
{
    uint32_t itt = pdu_get32(pdu->bytes + PDU_AT_ITT);
    size_t most = s->login.terms.max_send_bytes;
    uint8_t header[PDU_HEADER_BYTES];

    if (itt == PDU_NO_TAG) {
        s->n_pings_answered++;
        return;
    }
    answer_head(header, PDU_NOP_IN, itt);
    memcpy(header + PDU_AT_LUN, pdu->bytes + PDU_AT_LUN, 8);
    pdu_put32(header + PDU_AT_TTT, PDU_NO_TAG);
    answer_send_with_status(s, header, pdu->data, pdu->data_len < most ? pdu->data_len : most);
}

static void put_targets(const struct session *s, const char *wanted, struct keys_out *out)
{
    const char *name = s->target->rules.target_name;
    char address[128];

    if (strcmp(wanted, "All") != 0 && strcmp(wanted, name) != 0 && !(wanted[0] == '\0' && s->port))
        return;
    snprintf(address, sizeof(address), "%s,1", s->portal);
    keys_put(out, "TargetName", name);
    keys_put(out, "TargetAddress", address);
}

static void receive_text(struct session *s, const struct framer_pdu *pdu)
{
    uint8_t header[PDU_HEADER_BYTES];
    const uint8_t *text = pdu->data;
    size_t len = pdu->data_len;
    struct keys_out out = {.len = 0};
    enum keys_result result;
    struct key key;

    if ((pdu->bytes[PDU_AT_FLAGS] & (PDU_FINAL | PDU_CONTINUE)) != PDU_FINAL) {
        answer_reject(s, REJECT_NOT_SUPPORTED, pdu->bytes);
        return;
    }
    while ((result = keys_next(&text, &len, &key)) == KEYS_ITEM) {
        if (strcmp(key.name, "SendTargets") == 0)
            put_targets(s, key.value, &out);
        else
            keys_put(&out, key.name, "NotUnderstood");
    }
    if (result == KEYS_BAD || out.overflow || out.len > s->login.terms.max_send_bytes) {
        answer_reject(s, REJECT_PROTOCOL, pdu->bytes);
        return;
    }
    answer_head(header, PDU_TEXT_RESPONSE, pdu_get32(pdu->bytes + PDU_AT_ITT));
    pdu_put32(header + PDU_AT_TTT, PDU_NO_TAG);
    answer_send_with_status(s, header, out.bytes, out.len);
}

static enum session_verdict receive_logout(struct session *s, const struct framer_pdu *pdu)
{
    uint8_t header[PDU_HEADER_BYTES], reason = pdu->bytes[PDU_AT_FLAGS] & PDU_FUNCTION;
    bool other_connection = reason == 1 && pdu_get16(pdu->bytes + 20) != s->cid;

    answer_head(header, PDU_LOGOUT_RESPONSE, pdu_get32(pdu->bytes + PDU_AT_ITT));
    header[PDU_AT_RESPONSE] = reason > 1 ? 2 : other_connection ? 1 : 0; /* 2: no recovery; 1: no such connection */
    answer_send_with_status(s, header, NULL, 0);
    return header[PDU_AT_RESPONSE] == 0 ? end(s, "logged out") : SESSION_GOES_ON;
}

/* Is this request the next? With one connection there is no hole to be filled later. */
static enum session_verdict count(struct session *s, const uint8_t *header, bool *out_ignore)
{
    uint32_t ahead = pdu_get32(header + 24) - s->expcmdsn;

    *out_ignore = false;
    if (pdu_opcode(header) == PDU_DATA_OUT || header[0] & IMMEDIATE)
        return SESSION_GOES_ON;
    if (ahead == 0) {
        s->expcmdsn++;
        return SESSION_GOES_ON;
    }
    *out_ignore = true; /* outside of the window: RFC 7143 section 4.2.2.1 */
    return ahead < SESSION_WINDOW ? end(s, "a CmdSN is missing") : SESSION_GOES_ON;
}

static enum session_verdict receive_full_feature(struct session *s, const struct framer_pdu *pdu)
{
    enum pdu_opcode opcode = pdu_opcode(pdu->bytes);
    bool discovery = s->login.terms.discovery, ignore;
    enum session_verdict verdict;

    if (opcode > PDU_LOGOUT_REQUEST || opcode == PDU_LOGIN_REQUEST) {
        answer_reject(s, opcode == 0x10 ? REJECT_SNACK : REJECT_NOT_SUPPORTED, pdu->bytes);
        return SESSION_GOES_ON;
    }
    verdict = count(s, pdu->bytes, &ignore);
    if (verdict == SESSION_ENDS || ignore)
        return verdict;
    if (pdu->header_len > PDU_HEADER_BYTES || (discovery && (opcode == PDU_SCSI_COMMAND || opcode == PDU_DATA_OUT ||
                                                             opcode == PDU_TASK_MANAGEMENT_REQUEST))) {
        answer_reject(s, discovery ? REJECT_PROTOCOL : REJECT_INVALID_FIELD, pdu->bytes);
        return SESSION_GOES_ON;
    }
    switch (opcode) {
    case PDU_NOP_OUT: receive_nop(s, pdu); break;
    case PDU_SCSI_COMMAND: task_receive_command(s, pdu); break;
    case PDU_TASK_MANAGEMENT_REQUEST: return receive_management(s, pdu);
    case PDU_TEXT_REQUEST: receive_text(s, pdu); break;
    case PDU_DATA_OUT: task_receive_data_out(s, pdu); break;
    default: return receive_logout(s, pdu);
    }
    return SESSION_GOES_ON;
}

enum session_verdict session_receive(struct session *s, const struct framer_pdu *pdu)
{
    return s->full_feature ? receive_full_feature(s, pdu) : receive_login(s, pdu);
}
