/* SPDX-License-Identifier: Apache-2.0 */
/* TLS without I/O: bytes of the wire in, bytes of the wire out. OpenSSL is used here and in tls_authority.h alone.
 *
 * TLS 1.3 only (RFC 8446), ALPN "h2" (RFC 7301), both sides show a certificate that the other's authority signed. A
 * client also checks the server's name against the subject alternative names (RFC 9525: DNS or IP; never the common
 * name). There are no session tickets: peers stay connected for long, and a resumed session would outlive its
 * certificate.
 *
 * Nothing is buffered here: what comes is decrypted from where it lies, what goes out is handed on record by record,
 * and OpenSSL gives its record buffers back when they are empty. So an idle connection holds no buffer.
 *
 * Errors are words for people: "the peer's certificate (CN=db-07) has expired on 2026-01-31 12:00:00Z". */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS_TEXT_MAX 384

/* A plaintext record has at most this many bytes (RFC 8446 section 5.1): pieces of this size make full records. */
enum { TLS_RECORD_BYTES = 16384 };

/* Files in PEM: regular ones of at most 1 MiB, read when a context is made and when it is told to read them again. */
struct tls_files {
    const char *certificate; /* ours, with intermediates behind it */
    const char *key;
    const char *authority; /* who signs our peers */
};

/* What all connections of a listener, or of a client, share. Reference-counted by its connections, which may live on
 * several threads. */
struct tls_context;
/* `server`: accept; else connect. On failure returns UV_EINVAL, UV_ENOENT, UV_EACCES, UV_ENOMEM or what else reading
 * gave, and `err` names the file and what is wrong with it: unreadable, no certificate in it, key does not belong to
 * the certificate, encrypted key, expired, not yet valid. */
int tls_context_new(bool server, const struct tls_files *files, struct tls_context **out_context, char *err,
                    size_t err_len);
/* Read the files of tls_context_new again, by the names given then. All of them are good, and connections that are made
 * from now on use what is in them; or nothing changes, and `err` and the result say why, as above. Connections that
 * exist keep what they began with. Only on the thread that makes connections of this context. */
int tls_context_reload(struct tls_context *context, char *err, size_t err_len);

/* Our own certificate. */
struct tls_certificate {
    char subject[192];   /* escaped */
    char serial[48];     /* hexadecimal, as `openssl x509 -serial` prints it; cut when longer than RFC 5280 allows */
    char not_after[32];  /* "2026-01-31 12:00:00Z" */
    int64_t not_after_s; /* the same, in seconds since 1970 */
};
/* What connections that are made now show. */
void tls_context_certificate(const struct tls_context *context, struct tls_certificate *out_certificate);

/* NULL is accepted by both. */
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context *context);

struct tls;
/* `server_name` is what a client wants to find in the server's certificate, a DNS name or an address; NULL on a server.
 * The handshake of a client begins with tls_step. 0, UV_ENOMEM, or UV_EINVAL for a name that can be none. */
int tls_new(struct tls_context *context, const char *server_name, struct tls **out_tls);
void tls_free(struct tls *tls);

enum tls_state { TLS_HANDSHAKE, TLS_OPEN, TLS_CLOSED, TLS_FAILED };

struct tls_ops {
    /* Decrypted. Borrowed. The state is TLS_OPEN, so names can be asked for. The connection must not be freed in it. */
    void (*on_plain)(void *data, const uint8_t *bytes, size_t len);
    /* For the wire; must be taken in full (copied or sent). Borrowed. */
    void (*on_wire)(void *data, const uint8_t *bytes, size_t len);
};
/* Bytes came from the wire (`len` may be 0: begin). Handshake, alerts and data are dealt with through `ops` before this
 * returns. On TLS_FAILED tls_problem says why, and what was given to on_wire (an alert) is worth sending. TLS_CLOSED:
 * the peer said that nothing follows. In both states further bytes are ignored. */
enum tls_state tls_step(struct tls *tls, const uint8_t *bytes, size_t len, const struct tls_ops *ops, void *data);
/* Encrypt; only when open. Returns 0 or UV_EPROTO (then failed, tls_problem says why). */
int tls_write(struct tls *tls, const uint8_t *bytes, size_t len, const struct tls_ops *ops, void *data);
/* close_notify, when there is a connection to close. */
void tls_shutdown(struct tls *tls, const struct tls_ops *ops, void *data);
enum tls_state tls_state(const struct tls *tls);
/* "" unless failed. Printable. */
const char *tls_problem(const struct tls *tls);

/* The i-th name in the peer's certificate as an identity text (proto/grpc/identity.h says the form), URIs before DNS
 * names, NULL behind the last; lives as long as `tls`. Only when open or closed. */
const char *tls_peer_name(const struct tls *tls, size_t i);
