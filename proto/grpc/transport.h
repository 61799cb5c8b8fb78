/* SPDX-License-Identifier: Apache-2.0 */
/* A byte stream to the peer: a TCP connection or a Unix socket.
 *
 * TLS has its place here: transport_write would encrypt what the outbox holds, on_bytes would see what was decrypted;
 * nothing above knows the difference.
 *
 * Invariant: at most one write waits in the kernel's way ("blocked"); until it is done transport_write is not called.
 */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "proto/grpc/address.h"
#include "proto/grpc/identity.h"
#include "proto/grpc/outbox.h"

struct transport;

struct transport_ops {
    void (*on_bytes)(struct transport *t, const uint8_t *bytes, size_t len);
    /* The peer closed (UV_EOF) or the stream failed. */
    void (*on_end)(struct transport *t, int error);
    /* What transport_write had to leave is sent: write again. */
    void (*on_unblocked)(struct transport *t);
};

struct transport {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } u;
    const struct transport_ops *ops;
    void (*on_closed)(struct transport *t);
    uv_connect_t connect;
    uv_shutdown_t shutdown;
    void (*on_connected)(struct transport *t, int error);
    bool blocked;
    bool is_shut;
    const struct peer_identity *identity; /* owned; never NULL once connected */
    char peer[ADDRESS_TEXT_MAX];
};

/* Make the handle; transport_close undoes it. No callback but on_closed comes before transport_start. */
int transport_init(struct transport *t, uv_loop_t *loop, enum address_kind kind, const struct transport_ops *ops);
/* Take the connection that waits on `listener`; `local` names a Unix listener, whose peers have no names. */
int transport_accept(struct transport *t, uv_stream_t *listener, const char *local);
/* `cb` comes unless this fails, also when the transport is closed meanwhile (UV_ECANCELED). */
int transport_connect_tcp(struct transport *t, const struct sockaddr *sa, void (*cb)(struct transport *t, int error));
void transport_connect_unix(struct transport *t, const char *path, void (*cb)(struct transport *t, int error));
/* Begin reading. */
int transport_start(struct transport *t);
/* Send the outbox: at once what the socket takes, the rest as it can (blocked is then set). 0 or a negative error. The
 * outbox can be thrown away afterwards. */
int transport_write(struct transport *t, struct outbox *box);
/* Say that nothing follows, once what is written has left. */
void transport_shutdown(struct transport *t);
void transport_close(struct transport *t, void (*cb)(struct transport *t));
