/* SPDX-License-Identifier: Apache-2.0 */
/* TLS without I/O: bytes of the wire in, bytes of the wire out. One of the two users of OpenSSL (the other is
 * tls_authority.h).
 *
 * TLS 1.3 only, ALPN "h2", both sides show a certificate of the same authority. A client also checks the server's name
 * (RFC 9525: DNS or IP subject alternative name). What a connection sends goes through one arena of the loop, so an
 * idle connection keeps no buffer of its own. Errors are words for people: "certificate has expired (CN=…)", "the peer
 * does not speak TLS". */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS_TEXT_MAX 256

/* Files in PEM. */
struct tls_files {
    const char *certificate; /* ours, with intermediates behind it */
    const char *key;
    const char *authority; /* who signs our peers */
};

/* What all connections of a listener, or of a client, share. Reference-counted by its connections. */
struct tls_context;
/* `server`: accept; else connect. On failure returns UV_EINVAL, UV_ENOENT, UV_EACCES or UV_ENOMEM, and `err` names the
 * file and what is wrong with it: unreadable, no certificate in it, key does not belong to the certificate, expired. */
int tls_context_new(bool server, const struct tls_files *files, struct tls_context **out_context, char *err,
                    size_t err_len);
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context *context);

struct tls;
/* `server_name` is what a client wants to find in the server's certificate, a DNS name or an address; NULL on a server.
 * The handshake of a client begins with tls_step. */
int tls_new(struct tls_context *context, const char *server_name, struct tls **out_tls);
void tls_free(struct tls *tls);

enum tls_state { TLS_HANDSHAKE, TLS_OPEN, TLS_CLOSED, TLS_FAILED };

struct tls_ops {
    /* Decrypted. Borrowed. The connection must not be freed in it. */
    void (*on_plain)(void *data, const uint8_t *bytes, size_t len);
    /* For the wire; must be taken in full (copied or sent). Borrowed. */
    void (*on_wire)(void *data, const uint8_t *bytes, size_t len);
};
/* Bytes came from the wire (`len` may be 0: begin). Handshake, alerts and data are dealt with through `ops` before this
 * returns. On TLS_FAILED tls_problem says why, and what was given to on_wire (an alert) is worth sending. */
enum tls_state tls_step(struct tls *tls, const uint8_t *bytes, size_t len, const struct tls_ops *ops, void *data);
/* Encrypt; only when open. Returns 0 or UV_EPROTO. */
int tls_write(struct tls *tls, const uint8_t *bytes, size_t len, const struct tls_ops *ops, void *data);
/* close_notify. */
void tls_shutdown(struct tls *tls, const struct tls_ops *ops, void *data);
const char *tls_problem(const struct tls *tls);

/* The i-th name in the peer's certificate as an identity text (proto/grpc/identity.h says the form), NULL behind the
 * last; lives as long as `tls`. Only when open. */
const char *tls_peer_name(const struct tls *tls, size_t i);
