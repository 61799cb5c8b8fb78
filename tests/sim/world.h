/* SPDX-License-Identifier: Apache-2.0 */
/* One run: the broker's rules, agents, subscribers and an operator, on a network that delays, drops and duplicates
 * connections and kills either side; one thread, one seed, virtual time.
 *
 * The rules are the real ones (broker/core/adapter); everything around them is played. What goes into them and comes
 * out is the history, and that is all the checker sees. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/core/adapter/adapter.h"
#include "tests/lib/chance.h"
#include "tests/sim/history.h"

#define N_HOSTS       2
#define N_TARGETS     2
#define N_LUNS        2
#define N_SUBSCRIBERS 5
#define MAX_KNOWN     64 /* session ids that subscribers have heard of */
#define MS            1000000ull

enum event_kind {
    EVENT_SUBSCRIBER_ACTS,   /* who */
    EVENT_REQUEST_ARRIVES,   /* who, serial of the connection, bytes = AdapterRequest */
    EVENT_REPLY_ARRIVES,     /* who, serial, bytes = AdapterReply */
    EVENT_STREAM_ENDS,       /* who, serial: the broker notices */
    EVENT_STREAM_BLOCKED,    /* who, serial */
    EVENT_STREAM_WRITABLE,   /* who, serial */
    EVENT_OPERATION_ARRIVES, /* who = host, serial, bytes = BrokerMessage */
    EVENT_RESULT_ARRIVES,    /* who = host, serial, bytes = OperationResult */
    EVENT_RECORD_ARRIVES,    /* who = host, serial, bytes = Event without the broker's fields */
    EVENT_COMMIT,            /* a = sequence */
    EVENT_DEVICE_RAISES,     /* who = host */
    EVENT_AGENT_DIES,        /* who = host */
    EVENT_AGENT_GONE,        /* who = host, serial: the broker notices */
    EVENT_AGENT_RETURNS,     /* who = host */
    EVENT_OPERATOR_ACTS,
    EVENT_TICK,
};

struct timed {
    uint64_t at_ns, order;
    enum event_kind kind;
    uint32_t who, serial;
    uint64_t a;
    uint8_t *bytes;
    size_t len;
};

/* One direction of a connection keeps its order: nothing arrives before what was sent earlier. */
struct wire {
    uint64_t last_ns;
};

/* A session that an agent opened. */
struct sim_device {
    char session_id[64], adapter[16];
    int32_t target;
    int64_t lun;
};

struct sim_agent {
    char host[16];
    bool alive;
    bool attached;   /* as the broker sees it */
    uint32_t serial; /* of its connection; a new life is a new connection */
    struct wire to_broker, to_agent;
    struct sim_device devices[64]; /* the newest */
    size_t n_devices;
    uint64_t newest_taken; /* log sequence of its newest record that the broker took in */
};

struct sim_subscriber {
    const char *principal;
    unsigned roles;
    bool open;
    uint32_t serial; /* stream number in the history; never used twice */
    struct adapter_stream *stream;
    struct wire to_broker, to_subscriber;
    uint64_t next_id;
    bool blocked;
};

struct record_on_its_way {
    struct chunk *record; /* with the broker's fields */
    bool committed;
};

struct world {
    struct chance chance;
    struct adapter *adapter;
    struct history history;
    uint64_t now_ns, order;
    struct timed *queue; /* heap by (at_ns, order) */
    size_t n_queue, cap_queue;
    struct sim_agent agents[N_HOSTS];
    struct sim_subscriber subscribers[N_SUBSCRIBERS];
    uint32_t next_serial;
    char known[MAX_KNOWN][64];
    size_t n_known;
    struct record_on_its_way *log; /* by sequence - 1 */
    size_t n_log, cap_log;
    uint64_t n_committed;
    uint64_t tick_at_ns; /* the next one that is scheduled */
    bool ending;         /* nothing new begins */
};

/* Play `seed` for `seconds` of virtual time, then let everything come to rest and stop the broker. */
void world_run(struct world *w, uint64_t seed, uint32_t seconds);
void world_free(struct world *w);

/* ---- for the players */

void world_at(struct world *w, uint64_t at_ns, struct timed event, const void *bytes, size_t len);
/* Put bytes on a wire: they arrive after some time, in order. */
void world_send(struct world *w, struct wire *wire, struct timed event, const void *bytes, size_t len);
/* The actions that an input left: recorded, sent on. */
void world_pump(struct world *w);
void world_know(struct world *w, const char *session_id);
/* One that somebody has heard of, mostly of late; "" when there is none, sometimes nonsense. */
const char *world_any_session(struct world *w);

void agent_operation(struct world *w, uint32_t host, const uint8_t *bytes, size_t len);
void agent_raises(struct world *w, uint32_t host);
void subscriber_acts(struct world *w, uint32_t who);
void subscriber_hears(struct world *w, uint32_t who, const uint8_t *bytes, size_t len);
