/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets that wait for connections: which addresses may be listened on, and how a Unix socket file is handled.
 *
 * A Unix socket file is replaced at the start when nothing answers on it, is readable and writable for owner and group
 * (0660), and is removed at the end. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "proto/grpc/address.h"
#include "proto/grpc/grpc.h"

struct listener {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } u;
    enum address_kind kind;
    void *owner;
    void (*on_connection)(struct listener *l);
    void (*on_closed)(struct listener *l);
    struct listener *next;
    struct tls_context *tls; /* a reference; NULL = plaintext */
    bool waiting;            /* a connection waits that the owner had no memory for */
    char address[ADDRESS_TEXT_MAX];
};

/* Listen on everything `text` stands for and put the listeners at the end of `*list`. On failure `err` says what and
 * why, and nothing listens: UV_EINVAL, UV_EACCES (plaintext beyond loopback without `insecure`), UV_EADDRINUSE, … */
int listener_open(uv_loop_t *loop, const char *text, const struct grpc_listen_options *options,
                  void (*on_connection)(struct listener *l), void *owner, struct listener **list, char *err,
                  size_t err_len);
/* What listener_open says of it before it opens anything (blocking). */
int listener_check(const char *text, const struct grpc_listen_options *options, char *err, size_t err_len);
/* Frees it on the loop, after `on_closed` (may be NULL). */
void listener_close(struct listener *l, void (*on_closed)(struct listener *l));
