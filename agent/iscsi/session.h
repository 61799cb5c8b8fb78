/* SPDX-License-Identifier: Apache-2.0 */
/* One login to one iSCSI target: the only user of libiscsi.
 *
 * libiscsi drops iSCSI Async Messages or acts on them by itself, acknowledges them wrongly, and swallows unit
 * attentions while connecting. So a relay (tap.h) sits between it and its socket: the relay sees every PDU, hands
 * asynchronous messages, rejects and every sense to the owner, and corrects ExpStatSN. A session never reconnects: when
 * it is over, the owner closes it and opens another.
 *
 * All callbacks come from the loop, never from inside a call of the owner, and none after iscsi_session_close. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "agent/iscsi/async_message.h"

struct iscsi_session;

/* Commands open at a time on one session, timed-out ones that the target still owes an answer included. */
#define ISCSI_SESSION_MAX_COMMANDS 256
/* Task management requests likewise. */
#define ISCSI_SESSION_MAX_MANAGEMENT 16
/* The longest data of one command. */
#define ISCSI_SESSION_MAX_TRANSFER_BYTES (1u << 20)

enum iscsi_session_end {
    ISCSI_END_UNREACHABLE,  /* TCP connection refused, timed out or name not found */
    ISCSI_END_LOGIN_STATUS, /* login answered with status class 1..3 (RFC 7143 section 11.13.5) */
    ISCSI_END_LOGIN_FAILED, /* login ended otherwise: peer closed, garbage, target's CHAP answer wrong, timed out */
    ISCSI_END_CLOSED,       /* after login: FIN from the target */
    ISCSI_END_RESET,        /* after login: RST or another socket error */
    ISCSI_END_PROTOCOL,     /* after login: framing, digest or sequence error */
    ISCSI_END_SILENT,       /* after login: NOP-Out unanswered, the target hangs */
};

struct iscsi_session_fate {
    enum iscsi_session_end end;
    uint8_t status_class, status_detail; /* ISCSI_END_LOGIN_STATUS */
    int error;                           /* negative errno, 0 if none */
    const char *moved_to;                /* status class 1: TargetAddress; lives until the callback returns, or NULL */
    const char *text;                    /* in words; lives until the callback returns */
};

struct iscsi_session_ops {
    /* Full feature phase reached. `portal` is "address:port". What a target sends right behind its last login answer
     * may come to on_async before this. */
    void (*on_login)(struct iscsi_session *s, void *data, const char *portal);
    /* The session is over; commands still open were answered with ISCSI_COMMAND_GONE before. Comes once. */
    void (*on_end)(struct iscsi_session *s, void *data, const struct iscsi_session_fate *fate);
    /* Every sense in a SCSI Response, also of late and timed-out commands. lun_raw UINT64_MAX when the command is not
     * known any more; opcode -1 then. Comes before the command's own callback. */
    void (*on_sense)(struct iscsi_session *s, void *data, uint64_t lun_raw, int opcode, const uint8_t *sense,
                     size_t len);
    void (*on_async)(struct iscsi_session *s, void *data, const struct iscsi_async_message *message);
    /* Reject PDU (RFC 7143 section 11.17); `header` is the 48 bytes rejected, or NULL. */
    void (*on_reject)(struct iscsi_session *s, void *data, uint8_t reason, const uint8_t *header);
};

struct iscsi_session_options {
    const char *initiator_name;                        /* iqn… */
    const char *target_name;                           /* NULL or empty: a discovery session (SendTargets) */
    const char *portal;                                /* "host:port" or "[ipv6]:port"; ",tag" may follow */
    const char *chap_user, *chap_secret;               /* NULL = none */
    const char *mutual_chap_user, *mutual_chap_secret; /* NULL = none */
    bool header_digest;                                /* offer CRC32C */
    uint32_t connect_ms;                               /* TCP connect, then login, each; 0 = 10,000 */
    uint32_t nop_ms;         /* NOP-Out after this long without anything from the target; 0 = 5,000 */
    uint32_t nop_timeout_ms; /* 0 = 5,000 */
};

/* Begin. Strings are copied; secrets are zeroed when freed. On failure (bad portal, memory) no callback comes. */
int iscsi_session_open(uv_loop_t *loop, const struct iscsi_session_options *options,
                       const struct iscsi_session_ops *ops, void *data, struct iscsi_session **out_session);

enum iscsi_command_end {
    ISCSI_COMMAND_DONE,    /* status and data are valid */
    ISCSI_COMMAND_TIMEOUT, /* no answer in time; a late answer's sense still reaches on_sense */
    ISCSI_COMMAND_GONE,    /* the session ended */
    ISCSI_COMMAND_REFUSED, /* Reject, or a SCSI Response other than "completed at target" */
    ISCSI_COMMAND_ABORTED, /* by a task management function of this session, which completed */
};
struct iscsi_command_result {
    enum iscsi_command_end end;
    uint8_t scsi_status; /* SAM-5: 00h GOOD, 02h CHECK CONDITION, 08h BUSY, 18h RESERVATION CONFLICT … */
    const uint8_t *data;
    size_t len;
    const uint8_t *sense; /* NULL when there is none */
    size_t sense_len;
};
typedef void (*iscsi_session_command_cb)(struct iscsi_session *s, void *data,
                                         const struct iscsi_command_result *result);

/* One CDB (6, 10, 12 or 16 bytes) with up to `in_bytes` of data in. `lun` is flat, 0..16383. The callback comes exactly
 * once unless the session is closed first. `timeout_ms` 0 = 10,000. Returns UV_ENOTCONN before login, after a logout
 * was asked for and after the end, UV_ENOBUFS when ISCSI_SESSION_MAX_COMMANDS are open, UV_EINVAL for a LUN or CDB
 * length out of range. */
int iscsi_session_command(struct iscsi_session *s, uint16_t lun, const uint8_t *cdb, size_t cdb_len, uint32_t in_bytes,
                          uint32_t timeout_ms, iscsi_session_command_cb cb, void *data);

/* Task management functions (RFC 7143 section 11.5.1), and what a target answers (section 11.6.1). */
enum iscsi_task_function {
    ISCSI_ABORT_TASK_SET = 2,   /* this session's commands of one unit */
    ISCSI_LUN_RESET = 5,        /* everybody's commands of one unit, and its state */
    ISCSI_TARGET_WARM_RESET = 6 /* of all units */
};
enum iscsi_task_response {
    ISCSI_TASK_COMPLETE = 0,
    ISCSI_TASK_NO_TASK = 1,
    ISCSI_TASK_NO_LUN = 2,
    ISCSI_TASK_STILL_ALLEGIANT = 3,
    ISCSI_TASK_NO_REASSIGNMENT = 4,
    ISCSI_TASK_NOT_SUPPORTED = 5,
    ISCSI_TASK_NOT_AUTHORIZED = 6,
    ISCSI_TASK_REJECTED = 255,
};
enum iscsi_management_end {
    ISCSI_MANAGEMENT_ANSWERED, /* `response` is valid */
    ISCSI_MANAGEMENT_REJECTED, /* the target answered with a Reject PDU */
    ISCSI_MANAGEMENT_TIMEOUT,  /* no answer in time; it may be done all the same */
    ISCSI_MANAGEMENT_GONE,     /* the session ended */
};
struct iscsi_management_result {
    enum iscsi_management_end end;
    uint8_t response; /* enum iscsi_task_response, or another number */
};
typedef void (*iscsi_session_management_cb)(struct iscsi_session *s, void *data,
                                            const struct iscsi_management_result *result);

/* Sent at once, past commands that wait (immediate). `lun` does not count for a target reset. When the target says
 * ISCSI_TASK_COMPLETE, the commands that went out before and that it reached end with ISCSI_COMMAND_ABORTED first; a
 * sense that comes for them later still reaches on_sense. All others go on. The callback comes exactly once unless the
 * session is closed first. `timeout_ms` 0 = 10,000. Errors as those of iscsi_session_command; UV_ENOBUFS when
 * ISCSI_SESSION_MAX_MANAGEMENT are open. */
int iscsi_session_manage(struct iscsi_session *s, enum iscsi_task_function function, uint16_t lun, uint32_t timeout_ms,
                         iscsi_session_management_cb cb, void *data);

/* On a discovery session: ask SendTargets=All. `text` is what the target answered ("key=value\0…"), valid during the
 * call; `status` is UV_EMSGSIZE when the target wanted to send the list in several parts. Once a session; the callback
 * does not come when the session ends first. */
typedef void (*iscsi_session_text_cb)(struct iscsi_session *s, void *data, int status, const uint8_t *text, size_t len);
int iscsi_session_send_targets(struct iscsi_session *s, iscsi_session_text_cb cb, void *data);

/* Ask for an orderly logout; on_end follows (ISCSI_END_CLOSED, or ISCSI_END_SILENT when it is not answered). */
void iscsi_session_logout(struct iscsi_session *s);
/* Drop the connection and free; no callback comes any more. */
void iscsi_session_close(struct iscsi_session *s);

/* The operations above as a table, so that what stands on sessions can be tested on a fake. */
struct iscsi_session_api {
    int (*open)(uv_loop_t *loop, const struct iscsi_session_options *options, const struct iscsi_session_ops *ops,
                void *data, struct iscsi_session **out_session);
    int (*command)(struct iscsi_session *s, uint16_t lun, const uint8_t *cdb, size_t cdb_len, uint32_t in_bytes,
                   uint32_t timeout_ms, iscsi_session_command_cb cb, void *data);
    int (*manage)(struct iscsi_session *s, enum iscsi_task_function function, uint16_t lun, uint32_t timeout_ms,
                  iscsi_session_management_cb cb, void *data);
    void (*logout)(struct iscsi_session *s);
    void (*close)(struct iscsi_session *s);
};
extern const struct iscsi_session_api iscsi_session_libiscsi;

/* Discovery (RFC 7143 section 4.3): connect, login, SendTargets=All, end; bounded by `timeout_ms` of wall-clock time.
 */
struct iscsi_discovered {
    char *target_name;
    char *portal; /* "address:port,tpgt" */
};
typedef void (*iscsi_discovery_cb)(void *data, int status, const char *text, const struct iscsi_discovered *targets,
                                   size_t n);
struct iscsi_discovery;
int iscsi_discovery_start(uv_loop_t *loop, const struct iscsi_session_options *options, uint32_t timeout_ms,
                          iscsi_discovery_cb cb, void *data, struct iscsi_discovery **out_discovery);
/* No callback comes any more. */
void iscsi_discovery_cancel(struct iscsi_discovery *d);
