/* SPDX-License-Identifier: Apache-2.0 */
/* Delivery to the broker: Agents.Attach over a link that comes back by itself.
 *
 * Only held events are sent, in order, at most the broker's window ahead of its acknowledgements; the spool frees what
 * is acknowledged. After any doubt everything that is not acknowledged is sent again: the broker removes repeats.
 * What the broker asks for on behalf of subscribers comes in on the same call, and is answered on it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "agent/adapters.h"
#include "agent/command.h"
#include "runtime/backoff.h"
#include "runtime/log.h"
#include "sensebus/v1/agents.pb-c.h"

struct grpc_call;
struct link;
struct publish;
struct spool;
struct tls_context;

struct publish_options {
    const char *broker;      /* complete: clients/c/broker_address.h */
    bool insecure;           /* plaintext to it may leave this machine */
    struct tls_context *tls; /* of a tls:// broker: borrowed until publish_start returns */
    const char *server_name;
    const char *host; /* borrowed, as boot_id is */
    const char *boot_id;
    uint64_t instance;   /* random, one per process start */
    struct spool *spool; /* borrowed */
    const struct command_counts *counts;
};

struct publish_ops {
    /* Encode an AgentMessage (malloc'd). Return 0 or UV_ENOMEM. */
    int (*encode_coverage)(void *data, uint8_t **out_bytes, size_t *out_len);
    int (*encode_inventory)(void *data, uint8_t **out_bytes, size_t *out_len);
    /* For Hello; freed with adapter_list_free. Return 0 or UV_ENOMEM. */
    int (*list_adapters)(void *data, struct adapter_list *out);
    /* The broker asks for something; `operation` lives until the callback returns. */
    void (*on_operation)(void *data, const Sensebus__V1__Operation *operation);
    /* The stream is over, and what was begun on it with it. */
    void (*on_stream_ended)(void *data);
    /* publish_received may be tried again. */
    void (*on_writable)(void *data);
};

enum publish_state {
    PUBLISH_DOWN,    /* no link */
    PUBLISH_WAITING, /* link is up, the next Attach comes later */
    PUBLISH_HELLO,   /* Hello sent, Welcome awaited */
    PUBLISH_ATTACHED,
    PUBLISH_DETACHED, /* Detach sent, the end of the call awaited */
    PUBLISH_STOPPED,
};

struct publish {
    struct publish_options options;
    const struct publish_ops *ops;
    void *data;
    enum publish_state state;
    struct link *link;
    struct grpc_call *call;
    uv_timer_t timer;    /* WAITING: attach; ATTACHED: heartbeat */
    uv_timer_t news;     /* coverage or inventory changed a moment ago */
    uv_timer_t farewell; /* stopping takes so long at most */
    int n_open_timers;
    struct backoff retry, refused;
    uint64_t sent, acknowledged; /* source sequences */
    uint64_t window_events;
    size_t batch_bytes;
    uint32_t heartbeat_ms;
    bool may_attach;
    bool coverage_due, inventory_due;
    uint8_t *coverage_sent; /* as last told, to tell changes */
    size_t coverage_sent_len;
    bool distrust; /* the broker said what we cannot work with: a long delay */
    bool reattach; /* the call was ended by us to begin another: no failure */
    bool stopping;
    const char *stop_reason;
    char down_reason[128]; /* as last logged */
    struct log_limit refused_limit;
    uint32_t random;
    void (*on_stopped)(void *data);
    void *on_stopped_data;
};

/* On failure (address, memory) nothing stays. */
int publish_start(struct publish *p, uv_loop_t *loop, const struct publish_options *options,
                  const struct publish_ops *ops, void *data);
/* The agent knows what there is. No stream begins before: who hears that the agent is there (AGENT_CONNECTED) finds its
 * devices. May be said again. */
void publish_let_attach(struct publish *p);
/* Newer events are held in the spool. */
void publish_held(struct publish *p);
void publish_coverage_changed(struct publish *p);
void publish_inventory_changed(struct publish *p);
/* The answer to an operation of the stream that is attached now. What cannot be sent ends the stream: better than a
 * caller who waits for an answer that does not come. */
void publish_result(struct publish *p, const Sensebus__V1__OperationResult *result);
/* Data for a target-mode session. False when it cannot be taken now: on_writable will come, or the stream ends, or
 * there is none. */
bool publish_received(struct publish *p, const char *session_id, uint64_t generation, const uint8_t *bytes, size_t len);
/* Send what is held, say Detach, end. `cb` runs from the loop, within a few seconds also when the broker is away.
 * `reason` is borrowed until then. */
void publish_stop(struct publish *p, const char *reason, void (*cb)(void *data), void *data);
