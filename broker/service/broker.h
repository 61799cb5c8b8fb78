/* SPDX-License-Identifier: Apache-2.0 */
/* The broker as a whole: the log, the rules' state, and the services on one gRPC server.
 *
 * Everything runs on one loop; only the writing of a transaction runs on libuv's pool (broker/engine/commit.h). The
 * services see each other through this structure and nothing else. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "broker/core/access.h"
#include "broker/core/adapter/adapter.h"
#include "broker/core/dedupe.h"
#include "broker/core/directory.h"
#include "broker/core/known_events.h"
#include "broker/core/retention.h"
#include "broker/core/sdi.h"
#include "broker/core/status.h"
#include "broker/core/status_notes.h"
#include "broker/engine/commit.h"
#include "broker/engine/journal.h"
#include "broker/service/adapter.h"
#include "broker/service/agents.h"
#include "broker/service/cursor_store.h"
#include "broker/service/events.h"
#include "broker/service/reader_accounts.h"
#include "broker/service/sdi.h"
#include "proto/grpc/grpc.h"
#include "runtime/log.h"
#include "runtime/tls.h"

#define BROKER_MAX_LISTENS 16

struct broker_options {
    const char *data_directory;
    const char *listen[BROKER_MAX_LISTENS]; /* "HOST:PORT", "[IPV6]:PORT", "unix:PATH"; with TLS: "tls://HOST:PORT" */
    size_t n_listen;
    bool insecure;               /* plaintext beyond loopback */
    struct tls_files tls;        /* for listening with TLS */
    const struct access *access; /* who may do what; lives as long as the broker */
    struct adapter_limits adapter_limits;
    struct sdi_limits sdi_limits;
    struct reader_limits reader_limits;
    bool relaxed;
    uint64_t map_bytes;
    struct retention_limits retention;
    uint32_t checkpoint_ms;  /* see commit_settle_after */
    uint32_t agent_grace_ms; /* after a start: agents that were attached before may come back for this long */
    uint32_t heartbeat_ms;   /* an agent silent for three of them is lost */
    uint32_t drain_grace_ms; /* at a stop: calls may finish for this long */
    uint32_t max_connections;
};

struct broker_counters {
    uint64_t n_events; /* taken in from agents */
    uint64_t n_duplicates, n_refused;
    uint64_t n_holes;      /* source sequences that never came */
    uint64_t n_own_events; /* written by the broker itself */
    uint64_t n_own_failed; /* … and could not be: no memory or no room */
    uint64_t n_delivered;  /* records sent to subscribers */
    uint64_t n_gaps;       /* Gap batches sent */
    uint64_t n_slow_ended; /* subscriptions ended by policy DISCONNECT */
    uint64_t n_denied;     /* calls and agents turned away for want of a role or a host */
};

enum broker_state { BROKER_RUNNING, BROKER_STOPPING, BROKER_DRAINING, BROKER_CLOSING, BROKER_CLOSED };

struct broker {
    uv_loop_t *loop;
    struct broker_options options;
    enum broker_state state;
    char host[DIRECTORY_MAX_HOST + 1]; /* origin.host of what concerns the broker itself */
    uint64_t started_unix_ns;
    struct journal journal;
    struct commit commit;
    struct dedupe dedupe;
    struct status status;
    struct status_notes notes; /* of records that are not folded into it yet */
    struct known_events known; /* that agents sent */
    struct directory directory;
    struct cursor_store cursors;
    struct agents agents;
    struct events events;
    struct reader_accounts readers; /* of the Subscribe streams */
    struct adapter_service adapter;
    struct sdi_service sdi;
    struct grpc_server *server;
    struct tls_context *tls; /* of the listeners; NULL without any */
    struct grpc_health *health;
    struct grpc_reflection *reflection;
    struct broker_counters counters;
    struct log_limit denied_limit, own_failed_limit;
    char not_accepting[128]; /* why nothing is accepted now; empty while all is well */
    struct commit_waiter stopping_written;
    uv_timer_t tick;   /* retention by age, and the limit on waiting for the disk at a stop */
    uv_idle_t folding; /* active while committed records wait for sessions and status to hear of them */
    uint64_t stop_by_ms, n_ticks;
    uint64_t checkpoint_ms, checkpoint_through; /* of the status, as in the newest transaction */
    int checkpoint_error;                       /* why the last one was not made; 0: it was */
    bool tick_open, commit_open, log_open;
    void (*on_closed)(void *data);
    void *on_closed_data;
};

/* Open the log, restore the state, listen. On failure `err` says what is wrong in words and nothing stays open, once
 * the loop has run out of handles. */
int broker_start(struct broker *b, uv_loop_t *loop, const struct broker_options *options, char *err, size_t err_len);
/* Stop in order: sessions end and hear why, BROKER_STOPPING goes to the log, subscribers get Closed with their position
 * and UNAVAILABLE, agents get their last acknowledgements and UNAVAILABLE, then everything closes and `cb` runs. A
 * second call does nothing. */
void broker_stop(struct broker *b, void (*cb)(void *data), void *data);

/* Does an address to listen on begin with "tls://"? */
bool broker_listen_is_tls(const char *listen);
/* What follows it, or all of an address without it. */
const char *broker_listen_address(const char *listen);

/* Are records taken in? False while the disk is full and while stopping. */
bool broker_accepting(const struct broker *b);
