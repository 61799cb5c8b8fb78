/* SPDX-License-Identifier: Apache-2.0 */
/* Target.Watch: who watches is told what happens in the sessions of the server, from the state at its beginning on.
 *
 * At most WATCH_MAX. Whoever reads so slowly that WATCH_MAX_QUEUED_BYTES wait is not told half: the call ends. */
#pragma once

#include <stddef.h>

#include "tests/target/server.h"

#define WATCH_MAX              16
#define WATCH_MAX_QUEUED_BYTES (2 * 1024 * 1024)

struct grpc_call;
struct watcher;

struct watch {
    struct server *server;
    struct watcher *watchers;
    size_t n;
};

/* The server's events are ours from now on. */
void watch_init(struct watch *w, struct server *server);
/* Begin of a call (grpc_start_cb); `watch` is a struct watch that outlives the gRPC server. */
void watch_start(struct grpc_call *call, void *watch);
