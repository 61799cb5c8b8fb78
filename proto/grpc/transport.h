/* SPDX-License-Identifier: Apache-2.0 */
/* A byte stream to the peer: a TCP connection or a Unix socket, plain or with TLS (secure.h). Nothing above knows the
 * difference: transport_write encrypts what the outbox holds, on_bytes sees what was decrypted.
 *
 * Invariant: transport_write is not called while the transport is blocked: by an unfinished handshake, or by an earlier
 * write that waits in the kernel's way. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "proto/grpc/address.h"
#include "proto/grpc/identity.h"
#include "proto/grpc/outbox.h"

struct tls;
struct tls_context;
struct transport;

struct transport_ops {
    void (*on_bytes)(struct transport *t, const uint8_t *bytes, size_t len);
    /* The peer closed (UV_EOF) or the stream failed. With `problem`: it is refused, and what it sends from now on is
     * thrown away, but what was said to it can still be read. */
    void (*on_end)(struct transport *t, int error);
    /* Write again. */
    void (*on_unblocked)(struct transport *t);
    /* TLS: the handshake is done and `identity` is the peer's; before the first on_bytes. */
    void (*on_secured)(struct transport *t);
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
    unsigned n_writing; /* writes that wait */
    bool blocked;
    bool is_shut;
    bool accepted;   /* the peer came to us */
    bool touched;    /* its first bytes were looked at */
    bool secured;    /* TLS: the handshake is done */
    bool has_buffer; /* a part of what its thread reads with */
    int error;       /* of secure.c: not the peer's fault */
    struct tls *tls;
    const char *problem;                  /* why the peer is refused, in words; NULL = it is not */
    const struct peer_identity *identity; /* owned */
    char peer[ADDRESS_TEXT_MAX];
};

/* Make the handle; transport_close undoes it. No callback but on_closed comes before transport_start. */
int transport_init(struct transport *t, uv_loop_t *loop, enum address_kind kind, const struct transport_ops *ops);
/* Take the connection that waits on `listener`; `local` names a Unix listener, whose peers have no names. */
int transport_accept(struct transport *t, uv_stream_t *listener, const char *local);
/* `cb` comes unless this fails, also when the transport is closed meanwhile (UV_ECANCELED). */
int transport_connect_tcp(struct transport *t, const struct sockaddr *sa, void (*cb)(struct transport *t, int error));
void transport_connect_unix(struct transport *t, const char *path, void (*cb)(struct transport *t, int error));
/* Speak TLS on it, before transport_start. `server_name` is for the connecting side, NULL when accepted. 0, UV_EINVAL
 * or UV_ENOMEM. */
int transport_secure(struct transport *t, struct tls_context *context, const char *server_name);
/* Begin reading, and the handshake, on the thread that runs the loop. 0, or an error: UV_ENOMEM among them. */
int transport_start(struct transport *t);
/* Send the outbox: at once what the socket takes, the rest as it can (blocked is then set). 0 or a negative error. The
 * outbox can be thrown away afterwards. */
int transport_write(struct transport *t, struct outbox *box);
/* Say that nothing follows, once what is written has left. */
void transport_shutdown(struct transport *t);
void transport_close(struct transport *t, void (*cb)(struct transport *t));

/* For secure.c. Send bytes as they are, behind those that wait; copied as far as the socket does not take them. 0 or a
 * negative error; UV_ENOBUFS when a peer that does not read has too much waiting. */
int transport_send(struct transport *t, const uint8_t *bytes, size_t len);
/* Work out `blocked` anew; on_unblocked when it is over. */
void transport_unblock(struct transport *t);
