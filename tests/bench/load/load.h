/* SPDX-License-Identifier: Apache-2.0 */
/* The load generator: publishers and subscribers of one broker, in one thread, for every protocol the same way.
 *
 * Subscribers read and count; nothing is decoded that counting does not need. Publishers send the events of event.h, at
 * most `window` that are not acknowledged (where the protocol acknowledges), and never so many that more than `flight`
 * are on their way to the slowest subscriber: without that, brokers that do not hold publishers back would be measured
 * by the size of their queues.
 *
 * A program of its own: every failure ends it with a line that says what failed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

struct conn;
struct agent;
struct load;

struct load_options {
    const struct protocol *protocol;
    char host[64];
    unsigned port;
    unsigned n_publishers, n_subscribers;
    uint64_t window, flight;
    unsigned n_keys, first_key;
    bool by_key;                               /* subscriber i wants key first_key + i only */
    bool latency;                              /* note how old every event is when it arrives */
    bool replay;                               /* subscribers begin at the oldest record, when told to */
    bool awake;                                /* never sleep: the core is its own */
    bool by_designator;                        /* by_key: filter by designator, not by target */
    const char *certificate, *key, *authority; /* subscribers of sensebus use TLS when these are given */
    unsigned rate;                             /* events a second over all publishers; 0 = as fast as it goes */
    unsigned burst;                            /* events of one message or write */
};

/* How one protocol is spoken. */
struct protocol {
    const char *name;
    bool acknowledges;
    /* Log in, on a blocking socket. */
    void (*greet)(struct conn *c);
    /* Ask for events; the socket is blocking, and `take` sets c->ready when the broker has confirmed. */
    void (*subscribe)(struct conn *c);
    /* Write the publisher's next `n` events (conn_next_event for each). Returns the bytes, at most n * WRITE_ROOM. */
    size_t (*write)(struct conn *c, uint8_t *out, unsigned n);
    /* Look at input. Returns the bytes that are done with; the rest comes again with more behind it. Calls
     * conn_received and conn_acknowledged; may set c->skip for input behind what was looked at. */
    size_t (*take)(struct conn *c, const uint8_t *bytes, size_t len);
};
#define WRITE_ROOM 512u

struct conn {
    struct load *load;
    const struct protocol *protocol;
    int fd;
    bool is_publisher, ready, wants_write;
    unsigned index; /* among its kind */
    uint64_t n;     /* events sent, or received */
    uint64_t n_written, acknowledged, quota;
    size_t skip;   /* input that nobody has to look at */
    uint8_t *held; /* input that is not complete */
    size_t held_len, held_cap;
    uint8_t *out; /* output the socket did not take yet */
    size_t out_at, out_len;
    void *state; /* the protocol's own */
};

struct load {
    struct load_options options;
    uv_loop_t loop;
    int poll_fd;
    uv_poll_t poll, commands;
    uv_timer_t pace;
    struct conn *publishers, *subscribers;
    struct agent *agents; /* instead of publishers, for sensebus */
    bool subscribed;
    uint64_t quota, sent, acknowledged, received;
    uint64_t wanted;    /* received when all is there */
    uint64_t slowest;   /* events that every subscriber has, as of last time */
    uint64_t paced;     /* events that may have been sent by now */
    uint64_t pace_base; /* sent when the pace began */
    bool running;
    uint64_t begin_ns, end_ns;
    uint32_t *ages_ns; /* latency */
    size_t n_ages, ages_cap;
};

extern const struct protocol protocol_raw, protocol_raw_acknowledged, protocol_sensebus, protocol_nats,
    protocol_jetstream, protocol_redis, protocol_redis_stream, protocol_mqtt_0, protocol_mqtt_1, protocol_rabbit;

_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t now_ns(void);

/* ---- conns.c: sockets */

/* Connect and log in every publisher (unless they are agents) or every subscriber. */
void conns_open(struct load *load, bool publishers);
/* Ask for events on every subscriber and wait until the broker has confirmed. */
void conns_subscribe(struct load *load);
/* Handle what the sockets have to say; never blocks. */
void conns_turn(struct load *load);
/* Let publishers send if they may. */
void conns_publish(struct load *load);

/* ---- for protocols */

void conn_send(struct conn *c, const void *bytes, size_t len); /* blocking, or queued once all is set up */
void conn_read(struct conn *c, void *out, size_t len);         /* blocking, while greeting */
/* Read a line without its end, blocking, while greeting. */
void conn_read_line(struct conn *c, char *out, size_t cap);
void conn_redial(struct conn *c); /* close, and connect anew, while greeting */
/* Write the publisher's next event; returns its key. */
unsigned conn_next_event(struct conn *c, uint8_t *out);
void conn_received(struct conn *c, uint64_t n, const uint8_t *event); /* `event` for the age; NULL without */
void conn_acknowledged(struct conn *c, uint64_t n);

/* ---- main.c */

/* How many events may be sent now, over all publishers. */
uint64_t load_allowance(struct load *load);
/* Something has come or may go: publish, and see whether it is done. */
void load_progress(struct load *load);
void load_age(struct load *load, const uint8_t *event);

/* ---- agent.c: publishers that are agents of a sensebus broker */

void agents_open(struct load *load); /* returns when all are attached */
void agents_publish(struct load *load);
void agents_quota(struct load *load);

/* ---- secure.c: subscribers of a sensebus broker that use TLS */

void secure_subscribe(struct load *load); /* returns when all are told that they are */
