/* SPDX-License-Identifier: Apache-2.0 */
/* A message of NETLINK_ISCSI group 1, parsed: struct iscsi_uevent of the kernel (include/scsi/iscsi_if.h, an ABI with
 * iscsid: 56 bytes in the byte order of the host), and the PDU behind it where there is one.
 *
 * What leaves the parser is an allow-list, because login and text payloads hold CHAP values and the kernel's header
 * holds addresses of its memory: of a login response the status and the stage bits, of a reject its header and the
 * header that was rejected, of an asynchronous message all of the PDU. No other PDU is looked into, and no byte of
 * struct iscsi_uevent is passed on as it came.
 *
 * Whatever the bytes are, nothing outside of them is read. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/iscsi/async_message.h"

enum iscsi_netlink_kind {
    ISCSI_NETLINK_OTHER, /* whole, and nothing that concerns us */
    ISCSI_NETLINK_CREATED,
    ISCSI_NETLINK_DESTROYED,
    ISCSI_NETLINK_UNBOUND,
    ISCSI_NETLINK_CONNECTION_ERROR, /* `number` is an enum iscsi_err */
    ISCSI_NETLINK_LOGIN_STATE,      /* of an adapter that logs in by itself; `number` is an enum iscsi_conn_state */
    ISCSI_NETLINK_LOGIN_RESPONSE,
    ISCSI_NETLINK_ASYNC,
    ISCSI_NETLINK_REJECT,
    ISCSI_NETLINK_LINK_UP,
    ISCSI_NETLINK_LINK_DOWN,
};

#define ISCSI_NETLINK_NO_HOST UINT32_MAX
#define ISCSI_NETLINK_NO_SID  UINT32_MAX

struct iscsi_netlink_message {
    enum iscsi_netlink_kind kind;
    uint32_t kevent; /* enum iscsi_uevent_e: 101… */
    uint32_t host;   /* ISCSI_NETLINK_NO_HOST: not told */
    uint32_t sid;    /* session; ISCSI_NETLINK_NO_SID: it is about the host */
    uint32_t cid;    /* connection in it */
    uint32_t number;
    struct {
        uint8_t status_class, status_detail; /* RFC 7143 section 11.13.5 */
        bool transit;                        /* T: the stage ends here */
        uint8_t next_stage;                  /* NSG: 3 = full feature phase */
    } login;
    struct iscsi_async_message async; /* points into the message */
    struct {
        uint8_t reason;     /* RFC 7143 section 11.17.1 */
        const uint8_t *pdu; /* header, and the rejected header when it is there */
        size_t pdu_len;
    } reject;
};

/* Returns 0, or UV_EINVAL when the message is not whole; then *out is untouched. */
int iscsi_netlink_parse(const uint8_t *bytes, size_t len, struct iscsi_netlink_message *out);

/* A login that is over, and worked. */
bool iscsi_netlink_logged_in(const struct iscsi_netlink_message *m);
/* Names of the kernel: "CREATE_SESSION"; "TCP connection closed" for an enum iscsi_err. */
const char *iscsi_netlink_kevent_name(uint32_t kevent);
const char *iscsi_netlink_error_text(uint32_t error);
