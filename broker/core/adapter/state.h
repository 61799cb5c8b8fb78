/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share: the state of the machine behind adapter.h.
 *
 * Who holds whom:
 *   stream     a line of records on their way to the client; the sessions it started, the registrations, waits and
 *              operations that it asked for. Ends with adapter_close.
 *   session    OPENING while the agent is asked, OPEN, CLOSED. Once CLOSED it is in no index any more, and stays only
 *              until what names it was taken (n_refs).
 *   unit       a place with its sessions: who excludes whom, and whom a record of one unit reaches
 *   group      an adapter or a target with its sessions: whom a wider record reaches
 *   host       an agent with its sessions and operations
 *   action     one thing for the caller, waiting in the queue of the machine or in the line of a stream. What must come
 *              about even without memory is embedded in what it speaks of, and written out only when it is taken. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "broker/core/adapter/adapter.h"
#include "broker/core/adapter/deadline.h"
#include "runtime/table.h"

#define MAX_HOST           253 /* bytes */
#define MAX_ADAPTER_NAME   63  /* as adapter_where has room for */
#define MAX_TARGET_NAME    255
#define MAX_TEXT           256 /* of a message for people, with the 0 */
#define AIX_BITS           0xfu
#define AIX_BITS_FATAL     0x3u /* the session, or the adapter under it, is not well */
#define AIX_BUFS_EXHAUSTED 0x8u /* target mode only (rule 22) */
#define N_RESERVED_REPLIES 64

typedef Sensebus__V1__Errno error_number;
typedef Sensebus__V1__EinvalDetail error_detail;
#define ERRNO_(name)  SENSEBUS__V1__ERRNO__ERRNO_##name
#define DETAIL_(name) SENSEBUS__V1__EINVAL_DETAIL__EINVAL_DETAIL_##name

/* ---- actions */

enum action_kind {
    ACTION_REPLY,
    ACTION_FORWARD,
    ACTION_CLOSE,      /* FORWARD of a CloseOperation */
    ACTION_STARTED,    /* ANNOUNCE */
    ACTION_STOPPED,    /* ANNOUNCE */
    ACTION_CANCELLED,  /* ANNOUNCE */
    ACTION_FIRST_OPEN, /* SDI */
    ACTION_LAST_CLOSE, /* SDI */
    ACTION_RECORD,     /* SEND: a record of the log */
    ACTION_LOST,       /* SEND: EVENTS_LOST of what coalesced */
    ACTION_FINAL,      /* SEND: REGISTRATION_CANCELLED */
    ACTION_DATA,       /* SEND: TargetData */
};

TAILQ_HEAD(action_queue, action);
struct action {
    TAILQ_ENTRY(action) next;
    enum action_kind kind;
    struct action_queue *queue;      /* where it waits; NULL = nowhere */
    struct adapter_stream *stream;   /* SEND */
    struct adapter_session *session; /* counted; NULL for REPLY and FORWARD */
    struct chunk *bytes;             /* RECORD: the Event. REPLY, FORWARD, DATA: the message; NULL = not written yet */
    struct host *host;               /* FORWARD: counted */
    bool must_arrive;                /* FORWARD: of release_buffers */
    uint64_t sequence;               /* RECORD */
    uint64_t time_ns;                /* RECORD: wall clock of the event */
    uint32_t events;                 /* RECORD: AIX bits */
};

/* The answer to one request: made when the request comes, so that answering needs no memory but its bytes. */
struct reply {
    struct action action;
    uint64_t id;
    error_number error;
    error_detail detail;
    char text[MAX_TEXT];
    bool is_reserved; /* one of the machine's own */
};

/* action.c. `action->session` is set by action_of; the session is held until the action was taken or dropped. */
void action_push(struct adapter *a, struct action *action);
void action_push_line(struct adapter_stream *stream, struct action *action);
void action_init(struct action *action, enum action_kind kind, struct adapter_session *session,
                 struct adapter_stream *stream);
/* Out of its queue, and what it holds released. */
void action_drop(struct adapter *a, struct action *action);
/* Every action of the stream; the machine's queue and the line. */
void actions_drop_stream(struct adapter *a, struct adapter_stream *stream);
/* In the list of streams whose line may move, or out of it. */
void stream_settle(struct adapter_stream *stream);

/* ---- the machine */

struct principal {
    char *name;
    struct table *table;
    size_t n_refs; /* streams and sessions */
    uint32_t n_streams, n_sessions, n_waits, n_operations;
    uint64_t queued_bytes;   /* records in lines */
    uint64_t reserved_bytes; /* buffers of target-mode sessions */
};

TAILQ_HEAD(session_list, adapter_session);
TAILQ_HEAD(operation_list, operation);
TAILQ_HEAD(wait_list, wait);
TAILQ_HEAD(stream_list, adapter_stream);

struct host {
    char *name;
    size_t n_refs;
    struct session_list sessions;
    struct operation_list operations;
};

struct unit {
    size_t key_len;
    struct session_list sessions; /* OPENING and OPEN */
    uint32_t n_open;              /* OPEN initiator sessions: first open, last close */
    bool had_errors;              /* since the first open */
    char key[];
};

/* Sessions that one record may be about together (group.c). */
enum group_kind { GROUP_ADAPTER, GROUP_TARGET, GROUP_NAME, N_GROUPS };
struct group {
    struct session_list sessions; /* OPENING and OPEN */
    size_t key_len;
    char key[];
};

struct adapter_stream {
    struct adapter *adapter;
    TAILQ_ENTRY(adapter_stream) next, ready_next;
    struct principal *principal;
    unsigned roles;
    void *owner;
    bool is_blocked, is_ready, is_closing;
    struct action_queue line;
    struct session_list sessions;   /* started here */
    struct session_list registered; /* that deliver here */
    struct operation_list operations;
    struct wait_list waits;
};

enum session_state { SESSION_OPENING, SESSION_OPEN, SESSION_CLOSED };
enum registration_state {
    REGISTRATION_NONE,
    REGISTRATION_PENDING, /* the slot is taken, the agent is asked */
    REGISTRATION_LIVE,
    REGISTRATION_SPENT, /* over, its one chance used (rule 4) */
};

/* Where a session is, as text and numbers of its own. */
struct session_place {
    char adapter[MAX_ADAPTER_NAME + 1];
    char target_name[MAX_TARGET_NAME + 1];
    int32_t bus, target;
    int64_t lun;
};

struct adapter_session {
    struct adapter *adapter;
    char id[24];
    uint64_t generation;
    enum session_state state;
    size_t n_refs; /* 1 until CLOSED, and one for each action */
    struct principal *principal;
    struct adapter_stream *stream; /* that started it; NULL when CLOSED */
    struct host *host;
    struct unit *unit; /* NULL when CLOSED */
    struct group *groups[N_GROUPS];
    TAILQ_ENTRY(adapter_session) group_next[N_GROUPS];
    TAILQ_ENTRY(adapter_session) all_next, stream_next, host_next, unit_next, registered_next;

    Sensebus__V1__Mode mode;
    bool is_shared;
    struct session_place place;
    int32_t controller, device_type;
    uint32_t major, minor;
    char vendor[9], product[17];
    Sensebus__V1__Transport transport;
    unsigned capabilities; /* of the adapter it is on */
    uint64_t since_unix_ns;
    uint64_t since_sequence; /* sees records behind it */

    enum registration_state registration;
    struct adapter_stream *listener; /* LIVE: where records go */
    uint64_t registered_unix_ns;     /* when it was asked for */
    uint64_t registered_sequence;    /* delivers records behind it */
    struct chunk *correlator;        /* NULL = none was given */

    uint32_t pending, seen;      /* AIX bits: not asked for yet; ever */
    TAILQ_HEAD(, watch) watches; /* waits */
    struct operation_list operations;

    uint32_t n_queued; /* RECORDs in the line */
    struct lost {
        uint64_t count, first_time_ns, last_time_ns;
        uint32_t events;
    } lost;
    uint64_t n_delivered, n_lost;

    bool is_halted, is_halting;

    uint32_t buffer_bytes, n_buffers, n_held; /* target mode */
    struct chunk *data_correlator;            /* NULL = empty */

    char reason[ADAPTER_MAX_REASON]; /* CLOSED: why */
    const char *reason_name;         /* "STOP", "AGENT_LOST" … */
    int32_t last_close;              /* SDI event type */
    struct action tell_started, tell_stopped, tell_cancelled, first_open, last_close_told, close, send_lost, send_final;
};

struct operation {
    uint64_t id;
    Sensebus__V1__AdapterRequest__OperationCase kind;
    struct adapter *adapter;
    struct adapter_stream *stream;
    struct host *host;
    struct adapter_session *session; /* NULL for IOCINFO */
    TAILQ_ENTRY(operation) stream_next, host_next, session_next, held_next;
    struct deadline deadline;
    struct reply *reply;
    bool is_held; /* answered by the agent, waits for the log */
    uint64_t after_sequence;
    bool was_halted; /* HALT: what to go back to */
};

/* One session that a wait looks at. */
struct watch {
    TAILQ_ENTRY(watch) next;
    struct wait *wait;
    struct adapter_session *session; /* OPEN: it cannot close without waking the wait */
};
struct wait {
    TAILQ_ENTRY(wait) next;
    struct adapter *adapter;
    struct adapter_stream *stream;
    struct deadline deadline; /* not armed: no limit */
    struct reply *reply;
    size_t n;
    struct watch watches[];
};

struct adapter {
    struct adapter_limits limits;
    uint64_t next_generation, next_operation;
    uint64_t now_ns;         /* the last that was told */
    uint64_t wall_offset_ns; /* wall clock minus now, as of the last request */
    uint64_t delivered;      /* sequence */
    bool is_stopping;
    bool is_starved; /* an action could not be written: try again soon */

    struct stream_list streams, ready;
    struct session_list sessions; /* OPENING and OPEN, in order of generation */
    struct table sessions_by_id;  /* the same */
    struct table principals, hosts, units, groups, operations;
    struct operation_list held;
    struct deadlines deadlines;
    struct action_queue actions;
    struct reply reserve[N_RESERVED_REPLIES];
    bool reserve_used[N_RESERVED_REPLIES];
    uint32_t n_sessions; /* in any state */
    struct adapter_counters counters;
};

/* ---- text.c: text for people */

/* Copies what fits, cut between characters. */
void text_copy(char *out, size_t size, const char *text);
/* "2026-01-31T12:00:00Z" */
void text_time(char out[24], uint64_t wall_ns);

/* ---- reply.c */

/* Never NULL unless even the reserve is used up. */
struct reply *reply_new(struct adapter *a, struct adapter_stream *stream, uint64_t id);
void reply_free(struct adapter *a, struct reply *reply);
/* Answer; `reply` is given away. */
void reply_ok(struct adapter *a, struct reply *reply);
void reply_error(struct adapter *a, struct reply *reply, error_number error, error_detail detail, const char *format,
                 ...) __attribute__((format(printf, 5, 6)));
/* With a value; UV_ENOMEM: nothing happened. `result->id` is filled in here. */
int reply_write(struct reply *reply, Sensebus__V1__Result *result);
void reply_push(struct adapter *a, struct reply *reply);
/* The bytes of a reply that has none yet; NULL when memory is out. */
struct chunk *reply_encode(const struct reply *reply);

/* ---- record.c: what is sent for a session */

/* AdapterEvent up to its record, which follows: `record_len` bytes. NULL when memory is out. */
struct chunk *record_head(const struct adapter_session *s, uint32_t events, size_t record_len);
struct chunk *record_lost(const struct adapter_session *s);
struct chunk *record_final(const struct adapter_session *s);
struct chunk *record_data(const struct adapter_session *s, const ProtobufCBinaryData *data);
/* The address as messages have it; points into the session. */
void session_address(const struct adapter_session *s, Sensebus__V1__DeviceAddress *out);

/* ---- stream.c */

struct principal *principal_get(struct adapter *a, const char *name);
struct principal *principal_ref(struct principal *p);
void principal_unref(struct principal *p);

/* ---- place.c */

struct host *host_get(struct adapter *a, const char *name); /* a reference; NULL when memory is out */
struct host *host_find(const struct adapter *a, const char *name, size_t len);
struct host *host_ref(struct host *host);
void host_unref(struct adapter *a, struct host *host);
/* Put the session into its unit, from the old one if there was one. UV_ENOMEM: it is where it was. */
int unit_join(struct adapter_session *s, const struct session_place *place);
void unit_leave(struct adapter_session *s);
/* Somebody whose session forbids one of this mode, sharing and name at the place; NULL when there is none. */
struct adapter_session *unit_conflict(const struct adapter *a, const char *host, const struct session_place *place,
                                      Sensebus__V1__Mode mode, bool is_shared, const struct adapter_session *except);
int place_fill(struct session_place *place, const Sensebus__V1__DeviceAddress *address);
/* The record names the adapter of the session. */
bool place_is_on_adapter(const struct adapter_session *s, const struct event_view *view);
/* Each OPEN session that the record is about. `each` may end the session. */
void place_each(struct adapter *a, const struct event_view *view, void (*each)(struct adapter_session *s, void *data),
                void *data);

/* ---- group.c */

struct group_at { /* what names a group; members that its kind does not have are not looked at */
    struct text host, adapter, target_name;
    int32_t bus, target;
};
/* NULL when no session is there. */
struct group *group_find(const struct adapter *a, enum group_kind kind, const struct group_at *at);
/* The groups of a place, some of them perhaps without a session yet: groups_move must follow. NULL where there is none.
 * False when memory is out: nothing has changed. */
bool groups_find(struct adapter *a, const char *host, const struct session_place *place, struct group *out[N_GROUPS]);
/* Into these, out of all others. All NULL: into none. */
void groups_move(struct adapter_session *s, struct group *groups[N_GROUPS]);

/* ---- check.c */

struct ask {
    struct adapter *a;
    struct adapter_stream *stream;
    const Sensebus__V1__AdapterRequest *request;
    const struct adapter_place *place; /* never NULL for requests with an address */
    struct adapter_session *session;   /* OPEN; NULL when there is none of that id */
    uint64_t log_newest, now_ns, wall_ns;
    char text[MAX_TEXT];
};
struct verdict {
    error_number error;
    error_detail detail;
};
/* THE check order. True when nothing is wrong; else the first thing that is, with ask->text. */
bool request_check(struct ask *ask, struct verdict *out);
/* The address of IocInfo (only host and adapter), Start, StartTarget; NULL when there is none. */
const Sensebus__V1__DeviceAddress *request_address(const Sensebus__V1__AdapterRequest *request);
/* NULL for requests that name no single session. */
const char *request_session_id(const Sensebus__V1__AdapterRequest *request);

/* ---- session.c */

struct adapter_session *session_find(const struct adapter *a, const char *id, size_t len); /* OPEN ones */
bool session_is_of_host(const struct adapter_session *s, struct text host);
void session_start(struct ask *ask, struct reply *reply);
void session_started(struct operation *op, const Sensebus__V1__OperationResult *result, unsigned capabilities,
                     uint64_t log_newest);
void session_stop(struct ask *ask, struct reply *reply);
enum end_kind {
    END_STOP,   /* the subscriber's own */
    END_STREAM, /* its stream is gone */
    END_AGENT_LOST,
    END_AGENT_DETACHED,
    END_DEVICE_REMOVED,
    END_TARGET_REMOVED,
    END_ADAPTER_REMOVED,
    END_OPERATOR,
    END_BROKER,
    END_NO_MEMORY,   /* data of a remote initiator could not be kept */
    END_AGENT_FAULT, /* the agent broke the contract of target mode */
};
/* Ends an OPEN session. `reason` NULL: the kind's name. `asker`: the stream that sent STOP, else NULL. */
void session_end(struct adapter_session *s, enum end_kind kind, const char *reason, const struct adapter_stream *asker);
/* Forget one that is OPENING. */
void session_abandon(struct adapter_session *s, bool tell_agent);
void session_ref(struct adapter_session *s);
void session_unref(struct adapter_session *s);

/* ---- registration.c */

void registration_ask(struct ask *ask, struct reply *reply);
void registration_made(struct operation *op, uint64_t log_newest);
void registration_failed(struct adapter_session *s);
/* It delivers nowhere from now on; the one chance stays used. */
void registration_spend(struct adapter_session *s);

/* ---- delivery.c */

/* The record reaches this session: bits, waits, the line of the listener. */
void delivery_offer(struct adapter_session *s, const struct event_view *view, struct chunk *record, uint32_t code_mode);
/* Fold what could not be sent. */
void delivery_lose(struct adapter_session *s, uint32_t events, uint64_t time_ns);
/* Own STOP: what waits in the line coalesces, to be told at once, past what is blocked. */
void delivery_cut(struct adapter_session *s);
void pending_ask(struct ask *ask, struct reply *reply); /* TM_EVENT */

/* ---- wait.c */

void wait_ask(struct ask *ask, struct reply *reply);
void wait_give_up(struct wait *w); /* its stream is gone */
void waits_wake(struct adapter_session *s);
void wait_expire(struct wait *w);

/* ---- operation.c */

/* Make the operation and its message for the agent, and start its time. NULL when memory is out (nothing happened).
 * `message` without id, session and deadline: filled in here. */
struct operation *operation_new(struct ask *ask, struct host *host, struct adapter_session *s,
                                Sensebus__V1__Operation *message, struct reply *reply);
void operation_ask(struct ask *ask, struct reply *reply); /* IOCINFO, HALT, RESET, INQUIRY, TEST UNIT READY */
void operation_fail(struct operation *op, error_number error, error_detail detail, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The same, and the agent is told to close what a START may have opened. */
void operation_undo(struct operation *op, error_number error, error_detail detail, const char *text);
void operation_give_up(struct operation *op); /* its stream is gone */
void operation_expire(struct operation *op);
void operation_free(struct operation *op); /* the reply is no longer its own */
/* A FORWARD of `message` to the agent; `must_arrive` as in adapter_action. 0 or UV_ENOMEM. */
int forward_push(struct adapter *a, struct host *host, Sensebus__V1__Operation *message, bool must_arrive);
struct chunk *forward_encode(Sensebus__V1__Operation *message);

/* ---- target.c */

/* What the buffers of a session may take: one that is nearly empty costs as much as it takes to keep and name it. */
uint64_t target_buffers_cost(uint32_t buffer_bytes, uint32_t n_buffers);

int target_prepare(struct adapter_session *s, const Sensebus__V1__StartTarget *request);
void target_release(struct ask *ask, struct reply *reply);
/* STOP: data that was not handed out yet is dropped. */
void target_free_buffers(struct adapter_session *s);
