/* SPDX-License-Identifier: Apache-2.0 */
/* A server and a channel to it on one loop, and calls that remember what happened to them. */
#pragma once

#include "proto/grpc/grpc.h"
#include "tests/lib/loop.h"

/* No name: one of its labels has 64 letters (RFC 1035 section 2.3.4), so nobody is asked. Any other name a resolver may
 * know, or be silent about for longer than a channel waits. */
#define X16          "xxxxxxxxxxxxxxxx"
#define UNKNOWN_NAME X16 X16 X16 X16 ".invalid"

/* One side of a call, and what it saw. */
struct probe {
    struct grpc_call *call; /* NULL after on_close */
    unsigned n_messages;
    size_t n_bytes;
    char last[64]; /* start of the last message, terminated */
    unsigned n_half_closes;
    unsigned n_writables;
    unsigned n_drains;
    unsigned n_closes;
    int status;
    char message[256];
    char initial[64];  /* of a client, at the end: x-initial of the answer … */
    char trailing[64]; /* … and x-trailing; "" = none */
    bool opened;       /* server side: the call came */
    bool closed;
};

/* The server knows /test/Call, whose calls land in `served` in order, and /test/Unary, which answers with its request.
 */
enum { PAIR_CALLS = 16 };

struct pair {
    struct test_loop loop;
    struct grpc_server *server;
    struct grpc_channel *channel;
    struct probe served[PAIR_CALLS];
    unsigned n_served;
    unsigned n_ups;
    unsigned n_downs;
    char down_reason[512];
    bool up;
    bool down;
    bool server_closed;
    const struct probe *watched;                           /* may be NULL */
    bool closed_before_down;                               /* `watched` was closed when on_down came */
    void (*on_serve)(struct pair *p, struct probe *probe); /* instead of just accepting; may be NULL */
    struct grpc_call_ops server_ops;                       /* may be changed before the first call */
};

extern const struct grpc_call_ops probe_ops;

void pair_init(struct pair *p, const struct grpc_limits *server_limits, const struct grpc_limits *client_limits,
               const char *address);
/* The same with options, not waiting until the channel is up. */
void pair_open(struct pair *p, const struct grpc_limits *server_limits,
               const struct grpc_listen_options *listen_options, const struct grpc_channel_options *channel_options,
               const char *address);
/* Another channel in place of the one that is closed. */
void pair_channel(struct pair *p, const char *address, const struct grpc_channel_options *options);
void pair_deinit(struct pair *p);
/* A call of /test/Call, with the server's side of it in the next of `served`. */
struct probe *pair_call(struct pair *p, struct probe *client, uint32_t deadline_ms);
void pair_start(struct pair *p, struct probe *client, const char *path, uint32_t deadline_ms);
void pair_until(struct pair *p, const bool *flag);
void pair_until_count(struct pair *p, const unsigned *count, unsigned at_least);
int probe_send(struct probe *probe, const char *text);
