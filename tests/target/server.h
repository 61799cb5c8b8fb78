/* SPDX-License-Identifier: Apache-2.0 */
/* The target on the network: a listener and its connections around sessions and device.
 *
 * At most SERVER_MAX_CONNECTIONS; one more is closed at once. A connection whose peer does not take what was sent is
 * not read from until it does. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "tests/target/iscsi/session.h"
#include "tests/target/verb.h"

#define SERVER_MAX_CONNECTIONS 64
#define SERVER_NAME_BYTES      LOGIN_NAME_BYTES

struct connection;

/* What happens in sessions that are logged in and no discovery. `peer` is where the connection comes from. NULL
 * members: never mind. */
struct server_events {
    void (*began)(void *data, const struct session *session, const char *peer);
    void (*ended)(void *data, const struct session *session, const char *peer, const char *why);
    void (*sent)(void *data, const struct session *session, const char *peer, const struct session_sent *sent);
};

struct server {
    uv_loop_t *loop;
    const struct server_events *events; /* set by the owner at any time, with `events_data`; NULL: none */
    void *events_data;
    uv_tcp_t listener;
    bool listening, closing;
    uv_timer_t power; /* until a reboot is over */
    bool down;
    bool hang;
    uint64_t slow_ms;
    uint16_t last_tsih;
    char moved_to[256];
    struct device device;
    struct session_target target;
    struct connection *connections;
    size_t n_connections;
    void (*on_closed)(void *data);
    void *data;
    int n_handles;
};

struct server_options {
    const char *name;
    size_t memory_bytes;
    const char *user, *secret, *own_user, *own_secret; /* borrowed; NULL = none */
};

/* Returns 0 or a negative errno. */
int server_init(struct server *s, uv_loop_t *loop, const struct server_options *options);
/* Returns 0, or a negative errno: the address is taken, for example. */
int server_listen(struct server *s, const struct sockaddr *address);
/* "127.0.0.1:3260", "[::1]:3260": where it listens. */
void server_address(const struct server *s, char *out, size_t out_len);
/* Close everything; `on_closed` runs when nothing is left, later. */
void server_close(struct server *s, void (*on_closed)(void *data), void *data);
/* After on_closed, or when server_listen was never called. */
void server_deinit(struct server *s);

/* What verbs do to the network. */
enum server_drop { SERVER_FIN, SERVER_RST };
void server_drop(struct server *s, enum server_drop how);
void server_hang(struct server *s, bool on);
void server_slow(struct server *s, uint64_t ms);
/* These run for every session that is logged in and no discovery. Return how many there were. */
size_t server_async(struct server *s, const struct session_async *message);
size_t server_ping(struct server *s);
size_t server_reject(struct server *s, uint8_t reason);
size_t server_skew(struct server *s, uint32_t skew);
size_t server_garbage(struct server *s, const uint8_t *bytes, size_t len);
/* End the connections by RST, forget ports and reservations, and reset every connection until `down_ms` have passed. */
void server_reboot(struct server *s, uint64_t down_ms);
/* Sessions that are logged in and no discovery. */
size_t server_n_sessions(const struct server *s);
/* Call `each` for those. */
void server_each_session(const struct server *s,
                         void (*each)(void *data, const struct session *session, const char *peer), void *data);
/* The sessions in text, one a line; cut at `len`. */
size_t server_describe(const struct server *s, char *out, size_t len);
