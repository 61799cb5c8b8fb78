/* SPDX-License-Identifier: Apache-2.0 */
/* One iSCSI session of one connection, from login to its end (RFC 7143), on a SCSI device. Pure: PDUs in, bytes out.
 *
 * StatSN, ExpCmdSN and MaxCmdSN are kept here; every PDU that leaves carries them. At most SESSION_WINDOW commands wait
 * for data; more are not granted by MaxCmdSN. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/iscsi/framer.h"
#include "tests/target/iscsi/login.h"
#include "tests/target/scsi/device.h"

#define SESSION_WINDOW       32
#define SESSION_PORTAL_BYTES 64

struct session_async {
    uint8_t event, vcode;
    uint16_t parameters[3];
    uint16_t lun;
    const uint8_t *data; /* the data segment as it is: SenseLength and sense, or a vendor's */
    size_t data_len;
};

/* What was given to `send` and a test may look for. Borrowed for the callback. */
struct session_sent {
    const struct session_async *message; /* an Asynchronous Message; else NULL, and CHECK CONDITION with: */
    const uint8_t *lun;                  /* eight bytes, as in the command */
    uint8_t opcode;
    const uint8_t *sense; /* without its length */
    size_t sense_len;
};

/* What the session asks of its owner. */
struct session_events {
    /* Send these bytes after all others; copied. */
    void (*send)(void *data, const uint8_t *bytes, size_t len);
    /* Login is done: sessions of the same initiator port end, their commands with them (RFC 7143 section 6.3.5). */
    void (*reinstate)(void *data, const char *initiator, const uint8_t isid[6]);
    /* A task management function ends the waiting commands of one unit, or DEVICE_ALL_UNITS, in every session. */
    void (*abort_all)(void *data, int number);
    /* TARGET COLD RESET: the connections of all sessions end. */
    void (*cold_reset)(void *data);
    /* Sense or an Asynchronous Message was sent. NULL: never mind. */
    void (*sent)(void *data, const struct session_sent *sent);
};

/* What every session of a target shares. */
struct session_target {
    struct device *device;
    struct login_rules rules;
    uint16_t refuse;      /* login status for everybody, 0 = none */
    const char *moved_to; /* address that goes with LOGIN_MOVED_TEMPORARILY */
};

/* A command whose data is under way. */
struct session_task {
    bool used;
    uint32_t itt, ttt;
    uint8_t lun[8], cdb[16];
    uint32_t expected; /* bytes that the initiator has announced */
    uint8_t *data;
    uint32_t len, burst_end, r2tsn, next_datasn;
};

struct session {
    const struct session_target *target;
    const struct session_events *events;
    void *data;
    char portal[SESSION_PORTAL_BYTES]; /* "127.0.0.1:3260" for SendTargets; set by the owner */
    struct login login;
    bool full_feature;
    struct port *port; /* NULL in discovery */
    uint8_t isid[6];
    uint16_t tsih, cid;
    uint32_t statsn, expcmdsn, last_ttt;
    uint32_t statsn_skew; /* added to the next StatSN */
    struct session_task tasks[SESSION_WINDOW];
    uint64_t n_pings_answered;
    const char *why; /* it ended */
};

enum session_verdict {
    SESSION_GOES_ON,
    SESSION_ENDS, /* send what was given to `send`, then close; `why` tells */
};

/* `target` and `events` are borrowed for the life of the session; `tsih` is not 0; `challenge` is random. */
void session_init(struct session *s, const struct session_target *target, uint16_t tsih,
                  const uint8_t challenge[LOGIN_CHALLENGE_BYTES], const struct session_events *events, void *data);
/* The port is detached. */
void session_deinit(struct session *s);
/* Take one PDU. Digests of the framer are the caller's: session_digests tells what is in force for the next. */
enum session_verdict session_receive(struct session *s, const struct framer_pdu *pdu);
void session_digests(const struct session *s, bool *out_header, bool *out_data);
/* Forget commands that wait for data, of one unit or DEVICE_ALL_UNITS. Returns how many. */
size_t session_abort(struct session *s, int number);

/* Send an Asynchronous Message. Returns 0, or UV_EINVAL when the data is longer than the initiator takes. */
int session_async(struct session *s, const struct session_async *message);
/* Send a NOP-In that asks for an answer. */
void session_ping(struct session *s);
/* Send a Reject that answers nothing. */
void session_reject(struct session *s, uint8_t reason);
