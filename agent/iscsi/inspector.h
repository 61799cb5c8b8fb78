/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of the relay between libiscsi and a target: looks at each PDU of a connection, says whether it may pass,
 * changes what libiscsi must not see as it is, and reports what libiscsi would keep to itself. Pure: no I/O, no clock.
 *
 * Invariants. libiscsi gets only answers to what it asked, of the right kind, with no additional headers, and no byte
 * of sense: its parser trusts lengths that the target sends, so status and sense go to the owner (on_status) and
 * libiscsi sees GOOD. ExpStatSN of every full-feature PDU to the target counts each status-bearing PDU received,
 * asynchronous messages and rejects included, which libiscsi's own does not. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/iscsi/framer.h"
#include "agent/iscsi/session.h"

/* Requests libiscsi waits for: ISCSI_SESSION_MAX_COMMANDS, ISCSI_SESSION_MAX_MANAGEMENT, and room for NOP-Out, Text,
 * Logout and for commands that were aborted. */
#define INSPECTOR_MAX_TASKS     (ISCSI_SESSION_MAX_COMMANDS + ISCSI_SESSION_MAX_MANAGEMENT + 48)
#define INSPECTOR_ADDRESS_BYTES 256

/* How a SCSI command ended. */
struct inspector_status {
    uint32_t itt;
    bool known;       /* the relay saw the command; lun_raw and opcode are its own */
    bool refused;     /* Reject, or a response code other than "completed at target": `status` is not valid */
    uint64_t lun_raw; /* UINT64_MAX when not known */
    int opcode;       /* first CDB byte, -1 when not known */
    uint8_t status;
    const uint8_t *sense; /* NULL when there is none; valid during the call */
    size_t sense_len;
};

struct inspector_events {
    /* The login response that ends login has passed to libiscsi, which still has to like it. */
    void (*on_full_feature)(void *data, bool header_digest);
    /* Status class 1..3. `moved_to` is TargetAddress of a redirection, or NULL. libiscsi does not see it. */
    void (*on_login_refused)(void *data, uint8_t status_class, uint8_t status_detail, const char *moved_to);
    void (*on_async)(void *data, const struct iscsi_async_message *message);
    void (*on_status)(void *data, const struct inspector_status *status);
    void (*on_reject)(void *data, uint8_t reason, const uint8_t *header);
    /* A task management request goes out; those of libiscsi go in the order it was asked for them. */
    void (*on_managing)(void *data, uint32_t itt);
    /* The task management request `itt` aborted this command: no answer of it will be passed on. Comes before the
     * request's own on_managed. */
    void (*on_aborted)(void *data, uint32_t command_itt, uint32_t itt);
    /* Its answer: a response code (RFC 7143 section 11.6.1), or a Reject. libiscsi sees the former, and "done" in place
     * of the latter. */
    void (*on_managed)(void *data, uint32_t itt, bool rejected, uint8_t response);
    /* A Text Response, which libiscsi does not see. Not `complete`: the target has more and wants to be asked for it.
     */
    void (*on_text)(void *data, const uint8_t *text, size_t len, bool complete);
};

struct inspector_task {
    uint32_t itt;
    uint8_t request; /* enum pdu_opcode */
    uint8_t cdb0;
    uint64_t lun_raw;
    uint32_t expected_bytes, got_bytes; /* Data-In */
    uint8_t function;                   /* task management: RFC 7143 section 11.5.1 */
    uint64_t order;                     /* of the requests, as they went out */
    bool aborted;                       /* libiscsi does not wait for it any more */
};

struct inspector {
    const struct inspector_events *events;
    void *data;
    bool prove_target; /* refuse a target that does not answer our CHAP challenge */
    bool full_feature;
    bool header_digest, data_digest; /* in force once full_feature */
    bool offered_header_digest, offered_data_digest, answered_header_digest, answered_data_digest;
    bool sent_challenge, got_proof;
    uint32_t exp_statsn; /* next StatSN */
    struct inspector_task tasks[INSPECTOR_MAX_TASKS];
    size_t n_tasks;
    uint64_t n_sent; /* requests so far */
    char error[128]; /* what was wrong, after INSPECTOR_REFUSE */
};

enum inspector_verdict {
    INSPECTOR_FORWARD, /* send pdu->bytes, pdu->len on; both may have changed */
    INSPECTOR_CONSUME,
    INSPECTOR_REFUSE, /* the connection is of no more use; `error` says why */
};

void inspector_init(struct inspector *in, bool prove_target, const struct inspector_events *events, void *data);
/* Events come from inside these two, before they return; the PDU must not be used by the caller after CONSUME. */
enum inspector_verdict inspector_from_target(struct inspector *in, struct framer_pdu *pdu);
enum inspector_verdict inspector_from_initiator(struct inspector *in, struct framer_pdu *pdu);
