/* SPDX-License-Identifier: Apache-2.0 */
/* One Attach stream, as agents.c (its life) and publish.c (its records) share it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "broker/engine/commit.h"
#include "broker/service/operations.h"
#include "runtime/log.h"
#include "sensebus/v1/agents.pb-c.h"

#define CONTRACT_VERSION  1u
#define PUBLISH_MAX_BYTES (1024u * 1024)
#define EVENT_MAX_BYTES   (64u * 1024)
#define REASON_MAX        256

struct agents;
struct broker;
struct dedupe_agent;
struct directory_agent;
struct grpc_call;

struct held_message {
    STAILQ_ENTRY(held_message) entry;
    size_t len;
    uint8_t bytes[];
};

/* One numbering: records of (host, agent epoch) on their way to the disk. Outlives its stream until they are there. */
struct agent_source {
    LIST_ENTRY(agent_source) entry;
    struct dedupe_agent *dedupe;
    uint64_t sealed;               /* newest in the transaction that is being written */
    struct agent_session *session; /* NULL when its stream is over */
};

enum session_state {
    SESSION_NEW, /* no Hello yet */
    SESSION_ATTACHED,
    SESSION_OVER, /* the call is finished: on_close follows */
};

struct agent_session {
    TAILQ_ENTRY(agent_session) entry;
    struct agents *agents;
    struct broker *broker;
    struct grpc_call *call;
    enum session_state state;
    struct directory_agent *agent;
    struct agent_source *source;
    uint64_t epoch;
    uint64_t expected; /* source sequence that comes next, if the agent counts right */
    uint64_t acked;
    uint64_t heard_ms;
    bool detached; /* said Detach */
    struct commit_waiter detach_written;
    bool paused;
    bool ack_owed; /* could not be queued */
    STAILQ_HEAD(held_messages, held_message) held;
    size_t held_bytes;
    struct operation_results results;
    struct log_limit log_limit; /* lines that this agent causes */
};

/* Send one message to the agent. Returns 0, UV_ENOBUFS when too much waits, UV_ENOMEM, UV_ECANCELED. */
int session_send(struct agent_session *s, const Sensebus__V1__BrokerMessage *message);
/* Tell the agent what is on disk; when the queue is full, as soon as it is not. */
void session_send_ack(struct agent_session *s);
/* End the stream from our side; the agent is not attached any more. Calls after the first do nothing. */
void session_fail(struct agent_session *s, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The records of a Publish: each is taken, dropped as a repeat, or refused by name. The stream may be over afterwards.
 */
void publish_take(struct agent_session *s, const uint8_t *bytes, size_t len);
