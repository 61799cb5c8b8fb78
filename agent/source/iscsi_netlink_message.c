/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/source/iscsi_netlink_message.h"

#include <string.h>
#include <uv.h>

#include "agent/iscsi/pdu.h"

#define UEVENT_BYTES 56 /* sizeof(struct iscsi_uevent) */

/* enum iscsi_uevent_e, messages of the kernel. */
enum {
    KEVENT_RECV_PDU = 101,
    KEVENT_CONN_ERROR = 102,
    KEVENT_DESTROY_SESSION = 104,
    KEVENT_UNBIND_SESSION = 105,
    KEVENT_CREATE_SESSION = 106,
    KEVENT_IF_DOWN = 108,
    KEVENT_CONN_LOGIN_STATE = 109,
    KEVENT_HOST_EVENT = 110,
};

enum { HOST_EVENT_LINK_UP = 1, HOST_EVENT_LINK_DOWN = 2 }; /* enum iscsi_host_event_code */
enum { CONN_STATE_LOGGED_IN = 3 };                         /* enum iscsi_conn_state */

/* Byte offsets in struct iscsi_uevent. */
enum { AT_TYPE = 0, AT_FIRST = 40, AT_SECOND = 44, AT_THIRD = 48 };

static uint32_t get32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof value);
    return value;
}

/* ------------------------------------------------------------------------------------------------ PDUs */

/* What is there of the data segment that the header announces: the rest of the message may be padding. */
static size_t data_length(const uint8_t *pdu, size_t len)
{
    size_t announced = pdu_get32(pdu + PDU_AT_DATA_LENGTH) & 0xffffff;
    size_t there = len - PDU_HEADER_BYTES;

    return announced < there ? announced : there;
}

/* The header is the basic one: the kernel does not hand additional headers on. */
static int parse_pdu(const uint8_t *pdu, size_t len, struct iscsi_netlink_message *m)
{
    if (len < PDU_HEADER_BYTES)
        return UV_EINVAL;
    switch (pdu_opcode(pdu)) {
    case PDU_LOGIN_RESPONSE:
        m->kind = ISCSI_NETLINK_LOGIN_RESPONSE;
        m->login.status_class = pdu[PDU_AT_LOGIN_CLASS];
        m->login.status_detail = pdu[PDU_AT_LOGIN_DETAIL];
        m->login.transit = pdu[PDU_AT_FLAGS] & PDU_FINAL;
        m->login.next_stage = pdu[PDU_AT_FLAGS] & PDU_NEXT_STAGE;
        break;
    case PDU_ASYNC_MESSAGE:
        m->kind = ISCSI_NETLINK_ASYNC;
        async_message_decode(pdu, PDU_HEADER_BYTES, PDU_HEADER_BYTES + data_length(pdu, len), &m->async);
        break;
    case PDU_REJECT:
        m->kind = ISCSI_NETLINK_REJECT;
        m->reject.reason = pdu[PDU_AT_RESPONSE];
        m->reject.pdu = pdu;
        /* What follows the rejected header may be a payload. */
        m->reject.pdu_len = data_length(pdu, len) >= PDU_HEADER_BYTES ? 2 * PDU_HEADER_BYTES : PDU_HEADER_BYTES;
        break;
    default: m->kind = ISCSI_NETLINK_OTHER; break;
    }
    return 0;
}

/* ------------------------------------------------------------------------------------------------ messages */

static void set_session(struct iscsi_netlink_message *m, enum iscsi_netlink_kind kind, uint32_t sid, uint32_t host)
{
    m->kind = kind;
    m->sid = sid;
    m->host = host;
}

static enum iscsi_netlink_kind host_event_kind(uint32_t code)
{
    switch (code) {
    case HOST_EVENT_LINK_UP: return ISCSI_NETLINK_LINK_UP;
    case HOST_EVENT_LINK_DOWN: return ISCSI_NETLINK_LINK_DOWN;
    default: return ISCSI_NETLINK_OTHER;
    }
}

int iscsi_netlink_parse(const uint8_t *bytes, size_t len, struct iscsi_netlink_message *out)
{
    struct iscsi_netlink_message m = {.host = ISCSI_NETLINK_NO_HOST, .sid = ISCSI_NETLINK_NO_SID};
    uint32_t first, second;
    int rc = 0;

    if (len < UEVENT_BYTES)
        return UV_EINVAL;
    m.kevent = get32(bytes + AT_TYPE);
    first = get32(bytes + AT_FIRST);
    second = get32(bytes + AT_SECOND);
    switch (m.kevent) {
    case KEVENT_RECV_PDU:
        m.sid = first;
        m.cid = second;
        rc = parse_pdu(bytes + UEVENT_BYTES, len - UEVENT_BYTES, &m);
        break;
    case KEVENT_CONN_ERROR:
    case KEVENT_CONN_LOGIN_STATE:
        m.kind = m.kevent == KEVENT_CONN_ERROR ? ISCSI_NETLINK_CONNECTION_ERROR : ISCSI_NETLINK_LOGIN_STATE;
        m.sid = first;
        m.cid = second;
        m.number = get32(bytes + AT_THIRD);
        break;
    case KEVENT_CREATE_SESSION: set_session(&m, ISCSI_NETLINK_CREATED, first, second); break;
    case KEVENT_UNBIND_SESSION: set_session(&m, ISCSI_NETLINK_UNBOUND, first, second); break;
    case KEVENT_DESTROY_SESSION: set_session(&m, ISCSI_NETLINK_DESTROYED, second, first); break;
    case KEVENT_IF_DOWN:
        m.kind = ISCSI_NETLINK_LINK_DOWN;
        m.host = first;
        break;
    case KEVENT_HOST_EVENT: /* host_no, data_size, code */
        m.kind = host_event_kind(get32(bytes + AT_THIRD));
        m.host = first;
        m.number = get32(bytes + AT_THIRD);
        break;
    default: break;
    }
    if (rc == 0)
        *out = m;
    return rc;
}

bool iscsi_netlink_logged_in(const struct iscsi_netlink_message *m)
{
    if (m->kind == ISCSI_NETLINK_LOGIN_STATE)
        return m->number == CONN_STATE_LOGGED_IN;
    return m->kind == ISCSI_NETLINK_LOGIN_RESPONSE && m->login.status_class == 0 && m->login.transit &&
           m->login.next_stage == PDU_STAGE_FULL_FEATURE;
}

/* ------------------------------------------------------------------------------------------------ names */

const char *iscsi_netlink_kevent_name(uint32_t kevent)
{
    switch (kevent) {
    case KEVENT_RECV_PDU: return "RECV_PDU";
    case KEVENT_CONN_ERROR: return "CONN_ERROR";
    case KEVENT_DESTROY_SESSION: return "DESTROY_SESSION";
    case KEVENT_UNBIND_SESSION: return "UNBIND_SESSION";
    case KEVENT_CREATE_SESSION: return "CREATE_SESSION";
    case KEVENT_IF_DOWN: return "IF_DOWN";
    case KEVENT_CONN_LOGIN_STATE: return "CONN_LOGIN_STATE";
    case KEVENT_HOST_EVENT: return "HOST_EVENT";
    default: return "iscsi-kevent";
    }
}

/* enum iscsi_err of include/scsi/iscsi_if.h. */
const char *iscsi_netlink_error_text(uint32_t error)
{
    static const char *const texts[] = {
        "no error",
        "DataSN out of order",
        "data at a wrong offset",
        "MaxCmdSN went back",
        "ExpCmdSN is wrong",
        "PDU with an unknown opcode",
        "data longer than allowed",
        "additional headers of a wrong length",
        "protocol error",
        "logical unit is wrong",
        "initiator task tag is unknown",
        "connection failed",
        "R2TSN out of order",
        "session failed",
        "header digest is wrong",
        "data digest is wrong",
        "parameter is unknown",
        "task has no SCSI command",
        "host is unknown",
        "sending failed",
        "TCP connection closed",
        "error handler dropped the session",
        "NOP-Out was not answered",
    };

    if (error < 1000 || error - 1000 >= sizeof texts / sizeof texts[0])
        return "unknown error";
    return texts[error - 1000];
}
