/* SPDX-License-Identifier: Apache-2.0 */
/* libsensebus: the originals' operations on SCSI adapters and devices, across a network.
 *
 * One handle (struct sb) is one connection to a broker and one open of its adapters: what was started on it ends with
 * it. Each operation of the originals is one function with their preconditions and their errnos: SCIOSTART is sb_start,
 * SCIOEVENT is sb_event, TMIOEVNT is sb_tm_event, sdi_addevent is sb_add_event …; sensebus(3) begins the manual.
 *
 * Return values: 0, or -1 with errno of this platform; sb_detail() and sb_message() say more about the last failure of
 * the handle. Every function may fail with ENOTCONN (SB_DETAIL_CONNECTION_LOST: the connection is gone, for good),
 * EDEADLK (called from a callback), ENOMEM, EIO (a call failed on its way), EPROTO (the broker broke the contract), and
 * with ETIMEDOUT. The manual names the others.
 *
 * Callbacks run on the thread that calls sb_dispatch or an operation, in the order in which things happened, and never
 * otherwise. An operation runs the callbacks of what came before its own reply: the events of a reset have been told
 * when sb_reset returns. Every function called from inside a callback is refused with EDEADLK, but for those that ask
 * nothing of the broker: sb_detail, sb_message, sb_fd, sb_is_connected and the correlator functions.
 *
 * Threads: one at a time may use a handle; different handles are independent. The library keeps one thread of its own
 * for each handle, which holds the connection (a broker drops peers that do not answer) and blocks all signals. It
 * calls nothing of the caller's. A handle does not survive fork().
 *
 * Memory: texts and structs passed in are read before the function returns. What a callback gets lives until it
 * returns. Structs that are filled belong to the caller and hold no pointers, but for what is said.
 *
 * Growth: structs that the caller fills have reserved members, which must be 0 (EINVAL, SB_DETAIL_RESERVED), so begin
 * with zeroes. Structs that callbacks get may grow at their end. */
#ifndef SENSEBUS_H
#define SENSEBUS_H
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sb;

/* ------------------------------------------------------------------------------------------------ open and close */

#define SB_INSECURE 0x1u /* plaintext beyond this machine is allowed */

/* Zeroes, or NULL instead of the struct: all defaults. */
struct sb_options {
    uint32_t flags;           /* SB_INSECURE */
    uint32_t connect_ms;      /* for sb_open; 0 = 10,000 */
    uint32_t deadline_ms;     /* for each operation at the device; 0 = 30,000, at most 600,000 */
    uint32_t reserved_number; /* 0 */
    /* For "tls://…" and only for it: PEM files. */
    const char *tls_certificate; /* ours, with intermediates behind it */
    const char *tls_key;         /* NULL: in the file of the certificate */
    const char *tls_authority;   /* who signs the broker's certificate */
    const char *tls_server_name; /* expected in the broker's certificate; NULL = the host of the address */
    const void *reserved[4];     /* NULL */
};

/* Connect to "tls://HOST[:PORT]", or in plaintext to "HOST[:PORT]", "[IPV6][:PORT]" or "unix:PATH" (NULL:
 * SENSEBUS_BROKER of the environment, else 127.0.0.1:7070). `err` may be NULL; on failure it says what was wrong, and
 * there is no handle. EINVAL (address or options), EACCES (plaintext beyond this machine without SB_INSECURE; a TLS
 * file that may not be read), ENOENT (a TLS file that is not there), ENOTCONN (nobody there, or the handshake failed),
 * ENOMEM, EAGAIN and EMFILE (no thread, no descriptors). */
int sb_open(const char *address, const struct sb_options *options, struct sb **out_sb, char *err, size_t err_len);
/* Ends sessions, registrations and handlers of the handle, and frees it: within a second, also when the broker does not
 * answer. Verdicts that were given arrive. No callback comes any more. NULL is accepted. EDEADLK from a callback. */
int sb_close(struct sb *sb);

/* A descriptor for poll(2) and its like: readable when sb_dispatch has something to do, for ever once the connection is
 * lost. Only to be polled. */
int sb_fd(const struct sb *sb);
/* Wait until there is something to tell, at most `timeout_ms` (-1: no limit, 0: do not wait), and run the callbacks of
 * what is there. Returns how many ran. ENOTCONN: none, and none will come. EINTR: a signal came while waiting. */
int sb_dispatch(struct sb *sb, int timeout_ms);
/* 1, or 0 once the connection is lost. That is for good: open another handle and start again. */
int sb_is_connected(const struct sb *sb);

/* Why the last function of this handle failed: enum sb_detail_code, and a text for people ("" when nothing failed). The
 * text lives until the next call with the handle. */
int sb_detail(const struct sb *sb);
const char *sb_message(const struct sb *sb);
/* "ALREADY_REGISTERED"; "UNKNOWN" for numbers without a name. */
const char *sb_detail_name(int detail);

/* The second word of an error. 1..13 are the broker's (after AIX scsi_sciolst.einval_arg), from 256 on the library's.
 */
enum sb_detail_code {
    SB_DETAIL_NONE = 0,
    SB_DETAIL_NOT_STARTED = 1,
    SB_DETAIL_ALREADY_REGISTERED = 2,
    SB_DETAIL_ALREADY_STARTED = 3,
    SB_DETAIL_MODE = 4,
    SB_DETAIL_RESERVED = 5,
    SB_DETAIL_VERSION = 6,
    SB_DETAIL_ADDRESS = 7,
    SB_DETAIL_OWN_ID = 8,
    SB_DETAIL_BUFFERS = 9,
    SB_DETAIL_NOT_OWNER = 10,
    SB_DETAIL_NOT_SUPPORTED = 11,
    SB_DETAIL_HALTED = 12,
    SB_DETAIL_RESOURCE_EXHAUSTED = 13,
    SB_DETAIL_CONNECTION_LOST = 256, /* with ENOTCONN */
    SB_DETAIL_IN_CALLBACK = 257,     /* with EDEADLK */
    SB_DETAIL_CORRELATOR = 258,      /* longer than SB_MAX_CORRELATOR */
    SB_DETAIL_EVENT_TYPE = 259,      /* an SDI event type that may not be used here */
    SB_DETAIL_VERDICT = 260,         /* with EIO: a handler failed, was late or was lost */
    SB_DETAIL_ARGUMENT = 261         /* another argument; sb_message names it */
};

/* ------------------------------------------------------------------------------------------------ addresses */

#define SB_NAME_BYTES    256 /* a name of a host, adapter or target, with its NUL; longer ones are cut */
#define SB_SESSION_BYTES 64

/* What a session talks to. Begin with SB_ADDRESS_INIT: 0 is a number like others. */
struct sb_address {
    const char *host;        /* name of the agent; never NULL */
    const char *adapter;     /* NULL: the only one that has the device. Target mode: the target served there */
    const char *target_name; /* iSCSI name or WWPN; wins over the number */
    int32_t bus;             /* -1: none */
    int32_t target;          /* -1: none */
    int64_t lun;             /* target mode: 0 */
    uint64_t reserved[2];
};
#define SB_ADDRESS_INIT                                                                                                \
    {                                                                                                                  \
        NULL, NULL, NULL, -1, -1, 0,                                                                                   \
        {                                                                                                              \
            0, 0                                                                                                       \
        }                                                                                                              \
    }

/* An address that was filled in for the caller. */
struct sb_place {
    char host[SB_NAME_BYTES], adapter[SB_NAME_BYTES], target_name[SB_NAME_BYTES];
    int32_t bus, target;
    int64_t lun;
};

/* Which role the host of the agent has. The originals' SC_IM_MODE is 0, so that an unset mode could not be told from
 * it; here 0 is refused. */
enum sb_mode { SB_MODE_INITIATOR = 1, SB_MODE_TARGET = 2 };

/* ------------------------------------------------------------------------------------------------ adapters */

#define SB_CAN_EVENT        0x01u
#define SB_CAN_HALT         0x02u
#define SB_CAN_RESET_LUN    0x04u
#define SB_CAN_RESET_TARGET 0x08u
#define SB_CAN_TARGET_MODE  0x10u

struct sb_adapter_info {
    char adapter[SB_NAME_BYTES];
    char own_id[SB_NAME_BYTES];      /* initiator iSCSI name, WWPN or SCSI id */
    uint32_t adap_major, adap_minor; /* adap_devno: stable within the life of the agent */
    uint32_t transport;              /* enum Transport of the contract: 1 iSCSI, 2 FC, 3 SAS, 4 parallel … */
    uint32_t capabilities;           /* SB_CAN_… */
    uint64_t maximum_transfer_bytes;
};
/* IOCINFO: what an adapter is and can; allowed before sb_start. `adapter` NULL: the only one of the host.
 * EINVAL (ADDRESS), EIO (the agent is not there), EPERM. */
int sb_iocinfo(struct sb *sb, const char *host, const char *adapter, struct sb_adapter_info *out_info);

/* ------------------------------------------------------------------------------------------------ sessions */

/* Who answered. Texts are as the agent made them: valid UTF-8, trailing spaces removed. */
struct sb_device {
    char vendor[32], product[64], revision[16], serial[SB_NAME_BYTES], designator[SB_NAME_BYTES];
    char target_name[SB_NAME_BYTES], portal[SB_NAME_BYTES];
    int32_t device_type; /* peripheral device type, 0 = disk; -1 not known */
    uint32_t transport;
};

struct sb_started {
    char session[SB_SESSION_BYTES]; /* what the other functions take */
    uint64_t generation;            /* of the session: larger than that of any earlier one */
    int already_started;            /* somebody else has a session of this device (SB_SHARED) */
    struct sb_place place;          /* the address in full */
    struct sb_device device;
};

#define SB_SHARED 0x1u /* a further, independent session of a device that is started already: not in the originals */

/* SCIOSTART, SCIOLSTART: open a session of a logical unit. Exclusive unless SB_SHARED.
 * EINVAL (ADDRESS, ALREADY_STARTED, OWN_ID), EIO (the agent is not there or not ready, or the device failed), ENOTCONN
 * (the transport to the device failed: AIX ENOCONNECT), ENODEV (no such unit answers), ETIMEDOUT, EACCES (the adapter
 * is in diagnostic mode), ENOMEM (RESOURCE_EXHAUSTED: a bound of the principal), EPERM. */
int sb_start(struct sb *sb, const struct sb_address *address, unsigned flags, struct sb_started *out_started);

#define SB_MAX_CORRELATOR 256

struct sb_target_data {
    const char *session;
    uint64_t generation;
    const void *correlator; /* of sb_start_target */
    size_t correlator_len;
    const void *data; /* one buffer that a remote initiator filled */
    size_t len;
};
/* recv_func of SCIOSTARTTGT. Returns 0: the buffer is free again; 1: the caller holds it until sb_release_buffers. */
typedef int (*sb_receive_cb)(void *data, const struct sb_target_data *received);

struct sb_target_options {
    uint32_t buffer_bytes;  /* at most 4,096 */
    uint32_t n_buffers;     /* at least 16 */
    const void *correlator; /* at most SB_MAX_CORRELATOR bytes */
    size_t correlator_len;
    sb_receive_cb receive; /* never NULL */
    void *data;            /* for `receive` */
    uint64_t reserved[2];
};
/* SCIOSTARTTGT: open a session *from* a remote initiator, on a host that serves a target. `address`: adapter is the
 * target served, target_name the initiator, lun 0.
 * As sb_start; EINVAL also with BUFFERS, EPERM without role kernel, ENXIO (NOT_SUPPORTED: no target mode there). */
int sb_start_target(struct sb *sb, const struct sb_address *address, const struct sb_target_options *options,
                    struct sb_started *out_started);
/* free_func of SCIOSTARTTGT: buffers that `receive` kept are free again. EINVAL (NOT_STARTED, MODE, NOT_OWNER, BUFFERS:
 * more than are held). */
int sb_release_buffers(struct sb *sb, const char *session, unsigned n_buffers);

/* SCIOSTOP, SCIOSTOPTGT: close the session. A registration ends with a last REGISTRATION_CANCELLED, told before this
 * returns. EINVAL (NOT_STARTED, NOT_OWNER), EPERM. */
int sb_stop(struct sb *sb, const char *session);
/* SCIOHALT: abort what runs, clear the queue; the next command must carry SB_RESUME.
 * EINVAL (NOT_STARTED, NOT_OWNER), ENXIO (NOT_SUPPORTED), EIO, ENOTCONN, ENODEV, ETIMEDOUT, EACCES, EPERM. */
int sb_halt(struct sb *sb, const char *session);

#define SB_RESET_LUN 0x1u /* SCIOLRESET_LUN_RESET: the unit of the session only */

/* SCIORESET, SCIOLRESET: reset the target with all its units, or one unit. Every affected registered session is told,
 * this one included, before this returns. Errnos as sb_halt. */
int sb_reset(struct sb *sb, const char *session, unsigned flags);

/* ------------------------------------------------------------------------------------------------ events */

/* sc_event_info.events: OR of these. */
#define SB_FATAL_HDW_ERR    0x01u /* adapter failed: end the session */
#define SB_ADAP_CMD_FAILED  0x02u /* an adapter command failed; the adapter is suspect */
#define SB_SCSI_RESET_EVENT 0x04u /* a reset was seen */
#define SB_BUFS_EXHAUSTED   0x08u /* target mode only: all buffers are held; data is delayed */

#define SB_CODE_EVENTS_LOST            901
#define SB_CODE_REGISTRATION_CANCELLED 904

/* sc_event_info, scsi_event_info. Copy what is to be kept. */
struct sb_event_info {
    const char *session;
    uint64_t generation;
    const void *correlator; /* as registered; NULL: none was given */
    size_t correlator_len;
    /* The device as registered: id, lun and mode echoed. */
    const char *host, *adapter, *target_name;
    int32_t bus, target;
    int64_t lun;
    enum sb_mode mode;
    uint32_t events;        /* SB_… bits; 0 for conditions that the originals have no bit for */
    const char *adap_devno; /* "HOST/ADAPTER" … */
    uint32_t adap_major, adap_minor;
    /* What happened, in today's terms. */
    uint32_t code;         /* of the registry: docs/events.md */
    const char *code_name; /* "LUN_RESET"; "UNKNOWN" for numbers that this build does not know */
    const char *summary;   /* one line for people; text from devices, unescaped */
    uint32_t severity;     /* 1 info … 5 critical */
    uint32_t count;        /* how many equal conditions this stands for; at least 1 */
    uint64_t sequence;     /* place in the broker's log; 0: not there (made by this library) */
    uint64_t wall_time_unix_ns;
    const char *origin_session; /* the session that caused it; "" when not known */
    const void *record;         /* the encoded sensebus.v1.Event, as the broker sent it; NULL when there is none */
    size_t record_len;
    /* The registration has ended: code is REGISTRATION_CANCELLED, `reason` and summary say why; nothing follows. */
    int last;
    const char *reason; /* "STOP", "OPERATOR", "AGENT_LOST", "AGENT_DETACHED", "DEVICE_REMOVED", "TARGET_REMOVED",
                           "BROKER_STOPPING", "CONNECTION_LOST" …; "" unless `last` */
};
/* async_func. */
typedef void (*sb_event_cb)(void *data, const struct sb_event_info *info);

/* sc_event_struct, scsi_event_struct. */
struct sb_registration {
    enum sb_mode mode;      /* must be how the session was started */
    const void *correlator; /* opaque, returned unchanged; NULL: none, which differs from empty */
    size_t correlator_len;  /* at most SB_MAX_CORRELATOR */
    sb_event_cb on_event;   /* never NULL */
    void *data;             /* for on_event; not sent anywhere */
    uint64_t reserved[2];
};
/* SCIOEVENT, SCIOLEVENT: register for the events of a session, once in its life. There is no deregistration: sb_stop.
 * EPERM (role kernel), EINVAL (NOT_STARTED, NOT_OWNER, MODE, ALREADY_REGISTERED, CORRELATOR), ENXIO (NOT_SUPPORTED: the
 * agent sees no events there), EIO. A failure does not use up the one chance.
 * When the connection is lost each registration hears of it: REGISTRATION_CANCELLED, `last`, sequence 0. Of a session
 * that another handle started, and that had no event yet, the device is not known then: its texts are "", its numbers
 * -1, its generation 0. */
int sb_event(struct sb *sb, const char *session, const struct sb_registration *registration);

/* Correlators of 32 bits (SCIOEVENT) and 64 bits (SCIOLEVENT): as bytes, most significant first. */
#define SB_CORRELATOR_U32_BYTES 4
#define SB_CORRELATOR_U64_BYTES 8
void sb_correlator_put_u32(uint32_t value, void *out_bytes);
void sb_correlator_put_u64(uint64_t value, void *out_bytes);
/* 0; -1 with EINVAL when `len` is another length (*out_value is then 0, as the originals show an absent correlator). */
int sb_correlator_get_u32(const void *bytes, size_t len, uint32_t *out_value);
int sb_correlator_get_u64(const void *bytes, size_t len, uint64_t *out_value);

#define SB_PEEK 0x1u /* do not clear: not in the originals */

/* TMIOEVNT: the OR of the events since sb_start or the last query, which clears it. Needs no registration.
 * EINVAL (NOT_STARTED, NOT_OWNER). */
int sb_tm_event(struct sb *sb, const char *session, unsigned flags, uint32_t *out_events);

#define SB_PRI 0x1 /* the word of the session is not 0 */
#define SB_HUP 0x2 /* there is no such session (any more) */

struct sb_pollpri {
    const char *session;
    int revents; /* out: SB_PRI or SB_HUP, or 0 */
};
/* select with POLLPRI: wait until one of the sessions (1..1,024) has events pending; level-triggered, nothing is
 * cleared. `timeout_ms` 0 is POLLSYNC, -1 no limit. Returns how many have revents; 0: the time is over.
 * EINTR: a signal came. EINVAL (NOT_OWNER, ARGUMENT), ENOMEM (RESOURCE_EXHAUSTED). */
int sb_poll_pri(struct sb *sb, struct sb_pollpri *sessions, size_t n, int64_t timeout_ms);

/* ------------------------------------------------------------------------------------------------ commands */

#define SB_RESUME       0x1u                /* SC_RESUME: go on after sb_halt */
#define SB_PAGE(number) (0x100u | (number)) /* sb_inquiry: a vital product data page instead of the standard data */
#define SB_SENSE_BYTES  252

struct sb_command_result {
    uint8_t scsi_status;          /* 0 GOOD, 2 CHECK CONDITION … */
    uint8_t sense_key, asc, ascq; /* when sense_len is not 0 */
    uint32_t sense_len;
    uint8_t sense[SB_SENSE_BYTES];
};
/* SCIOINQU, SCIOLINQU. `what` is 0 or SB_PAGE(n). *out_len is how long the data is, `size` how much of it fits.
 * The command ran when this returns 0: `result` tells how. EINVAL (NOT_STARTED, NOT_OWNER), ENXIO (HALTED: SB_RESUME is
 * missing), EIO, ENOTCONN, ENODEV, ETIMEDOUT, EACCES. */
int sb_inquiry(struct sb *sb, const char *session, unsigned what, unsigned flags, void *buffer, size_t size,
               size_t *out_len, struct sb_command_result *out_result);
/* SCIOTUR, SCIOLTUR. Errnos as sb_inquiry. */
int sb_test_unit_ready(struct sb *sb, const char *session, unsigned flags, struct sb_command_result *out_result);

/* ------------------------------------------------------------------------------------------------ list */

struct sb_session_info {
    const char *session;
    uint64_t generation;
    const char *host, *adapter, *target_name;
    int32_t bus, target;
    int64_t lun;
    enum sb_mode mode;
    const char *principal; /* whose it is */
    int registered, halted, shared;
    uint32_t pending_events;
    uint64_t since_unix_ns, registered_unix_ns;
    uint64_t n_delivered, n_lost;
};
/* Returns 0 to go on; anything else ends the list. */
typedef int (*sb_session_cb)(void *data, const struct sb_session_info *info);
/* Sessions of everybody, of `host` ('*' and '?' allowed) or of all (NULL), by session id. EPERM. */
int sb_list_sessions(struct sb *sb, const char *host, sb_session_cb each, void *data);

/* ------------------------------------------------------------------------------------------------ SDI */

/* Driver events. What is neither one of these nor from SB_SDI_PRIVATE on is refused, so that a private code never looks
 * like one of them. */
#define SB_SDI_FIRSTOPEN     1 /* told by the broker alone */
#define SB_SDI_LASTCLOSE     2
#define SB_SDI_LASTCLOSE_ERR 3
#define SB_SDI_PRIVATE       0x100

#define SB_SDI_OK  0    /* SDI_RET_OK */
#define SB_SDI_ERR (-1) /* SDI_RET_ERR */

#define SB_SDI_MAX_INQUIRY 24
#define SB_SDI_MAX_SB      4096

/* struct scsi_adr. In a pattern -1 is any, each member on its own. */
struct sb_scsi_adr {
    int32_t controller, bus, target, lun;
    const char *host; /* name of the agent: not in the originals. NULL in a pattern: any */
};
#define SB_SCSI_ADR_ANY                                                                                                \
    {                                                                                                                  \
        -1, -1, -1, -1, NULL                                                                                           \
    }

struct sb_handler_call {
    uint64_t handler;
    int32_t event_type;
    struct sb_scsi_adr address; /* where it happened */
    const void *sb_data;        /* struct sb of the originals: as the notifier passed it */
    size_t sb_data_len;
    const char *sender; /* principal of the notifier */
};
/* event_handler. Returns SB_SDI_OK or SB_SDI_ERR. */
typedef int (*sb_handler_cb)(void *event_info, const struct sb_handler_call *call);

#define SB_ANY_DEVICE_TYPE 0x1u /* not in the originals */

/* struct sdi_event. */
struct sb_sdi_event {
    int32_t event_type;
    int32_t device_type; /* event_pdtype, exact */
    unsigned flags;      /* SB_ANY_DEVICE_TYPE */
    const char *inquiry; /* beginning of vendor and product, at most SB_SDI_MAX_INQUIRY bytes; NULL or "": any */
    struct sb_scsi_adr address;
    sb_handler_cb handler; /* event_handler; never NULL */
    void *event_info;      /* for the handler */
    uint64_t reserved[2];
};
/* sdi_addevent: add a handler. It is called from sb_dispatch or an operation of this handle, and must be so within the
 * notifier's deadline (2 s unless said otherwise).
 * EINVAL (EVENT_TYPE, ARGUMENT), EPERM (role kernel), ENOMEM (RESOURCE_EXHAUSTED). */
int sb_add_event(struct sb *sb, const struct sb_sdi_event *event, uint64_t *out_handler);
/* sdi_rmevent. EINVAL (ARGUMENT: no such handler of this principal). */
int sb_rm_event(struct sb *sb, uint64_t handler);

struct sb_notification {
    int32_t event_type; /* from SB_SDI_PRIVATE on */
    int32_t device_type;
    const char *inquiry; /* of the device it happened to; NULL: "" */
    struct sb_scsi_adr address;
    const void *sb_data; /* at most SB_SDI_MAX_SB bytes for the handlers */
    size_t sb_data_len;
    uint32_t deadline_ms; /* for all verdicts; 0 = 2,000 */
    uint64_t reserved[2];
};
struct sb_verdicts {
    uint32_t n_called, n_failed;
};
/* sdi_notifyevent: call every matching handler, in the order they were added, and wait for their verdicts. 0
 * (SDI_RET_OK) when all said OK, or none matches. -1 (SDI_RET_ERR) with EIO (VERDICT) when one failed, was late or was
 * lost; EINVAL (EVENT_TYPE, ARGUMENT), EPERM (role kernel), ENOMEM (RESOURCE_EXHAUSTED). `out_verdicts` may be NULL. */
int sb_notify_event(struct sb *sb, const struct sb_notification *notification, struct sb_verdicts *out_verdicts);

/* sdi_xaen event numbers: another code space. */
#define SB_SDI_FLT_RESET     1
#define SB_SDI_FLT_PTHRU     2
#define SB_SDI_TARMOD_WRCOMP 3

/* sdi_xaen, sdi_aen: tell the sessions of a device, or of all of an adapter (`scsi_id`, `lun` -1). `host` is the agent
 * whose adapter number `hba` is, NULL every agent's. `bus` -1: any. `var` goes along. No verdict; no listener is no
 * error. EINVAL (ARGUMENT), EPERM (role kernel). */
int sb_xaen(struct sb *sb, const char *host, int event, int hba, int scsi_id, int lun, int bus, uint64_t var);
int sb_aen(struct sb *sb, const char *host, int event, int hba, int scsi_id, int lun);

#ifdef __cplusplus
}
#endif
#endif
