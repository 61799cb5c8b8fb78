/* SPDX-License-Identifier: Apache-2.0 */
/* A link to a broker that comes back by itself: one gRPC channel at a time, redialled with back-off.
 *
 * Used by the agent and by the command line: connecting and reconnecting exist once. The owner starts its calls in
 * on_up; calls of a lost channel have ended (UNAVAILABLE) before on_down. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "proto/grpc/grpc.h"
#include "runtime/backoff.h"

struct link;

struct link_ops {
    void (*on_up)(struct link *link, void *data);
    /* `retry_ms`: the next try begins after this long; UINT32_MAX when there is none (retries are off). */
    void (*on_down)(struct link *link, void *data, const char *reason, uint32_t retry_ms);
};

struct link_options {
    const char *address; /* complete, see clients/c/broker_address.h: "HOST:PORT", "unix:PATH", "tls://…"; copied */
    uint32_t connect_ms; /* 0 = 10,000 */
    struct backoff backoff;  /* min_ms 0 = 100, max_ms 0 = 10,000 */
    bool once;               /* do not redial */
    bool insecure;           /* plaintext beyond this machine (see clients/c/broker_address.h) */
    struct tls_context *tls; /* for tls:// and only for it (clients/c/broker_tls.h); the link references it */
    const char *server_name; /* expected in the broker's certificate; NULL = the host of the address; copied */
    struct grpc_limits limits;
};

/* Begin to dial. Returns 0; what is wrong with `address` itself (UV_EINVAL, also when it and `tls` do not go together;
 * UV_EACCES: plaintext beyond this machine without `insecure`); UV_ENOMEM. `ops` must outlive the link. */
int link_open(uv_loop_t *loop, const struct link_options *options, const struct link_ops *ops, void *data,
              struct link **out_link);
/* The channel while up, else NULL. */
struct grpc_channel *link_channel(struct link *link);
/* NULL is accepted; allowed in on_up and on_down. No callback of the link comes after this returns; calls still open
 * end with CANCELLED, from the loop. The memory goes when the loop has closed its handles. */
void link_close(struct link *link);
