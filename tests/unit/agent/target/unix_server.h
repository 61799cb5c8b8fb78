/* SPDX-License-Identifier: Apache-2.0 */
/* A Unix socket server for tests, on the test's loop: takes one connection at a time and keeps what it received. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct unix_server {
    char directory[32], path[64];
    uv_pipe_t listener, connection;
    bool listening, connected;
    uint8_t received[4096];
    size_t n_received;
    unsigned n_connections;
    /* Called for each connection and whenever something came; may be NULL. */
    void (*on_connected)(struct unix_server *s);
    void (*on_received)(struct unix_server *s);
};

/* `s` is zeroed, with its callbacks. */
void unix_server_start(struct unix_server *s, uv_loop_t *loop);
/* Bytes are copied. */
void unix_server_send(struct unix_server *s, const void *bytes, size_t len);
void unix_server_hang_up(struct unix_server *s);
/* Nobody listens any more; the connection ends, too. */
void unix_server_stop(struct unix_server *s);
