/* SPDX-License-Identifier: Apache-2.0 */
/* The control service by gRPC (sensebus/target/v1/target.proto), with health and reflection.
 *
 * At most SERVICE_MAX_ORDERS orders are under way. Plaintext: on loopback, a Unix socket, or where `insecure` says so.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "tests/target/server.h"
#include "tests/target/watch.h"

#define SERVICE_MAX_ORDERS      64
#define SERVICE_MAX_CONNECTIONS 32

struct grpc_health;
struct grpc_reflection;
struct grpc_server;

struct service {
    struct server *server;
    struct grpc_server *grpc; /* NULL: not open */
    struct grpc_health *health;
    struct grpc_reflection *reflection;
    struct watch watch;
    size_t n_orders;
    bool closing;
};

/* Listen on "HOST:PORT" (port 0 takes a free one) or "unix:PATH". Both must outlive the loop's last callback. Returns
 * 0, or a negative errno with `err` saying what was wrong; then it must be closed as well. */
int service_open(struct service *s, struct server *server, const char *address, bool insecure, char *err,
                 size_t err_len);
/* "127.0.0.1:40123", with the real port. */
const char *service_address(const struct service *s);
/* Ends within a second: who watches gets what happened and OK, orders under way end with UNAVAILABLE. Closes without
 * telling when: the loop runs until it is done. Harmless when never opened. */
void service_close(struct service *s);
