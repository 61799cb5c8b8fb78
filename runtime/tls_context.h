/* SPDX-License-Identifier: Apache-2.0 */
/* Between tls.c and tls_context.c; and how certificates are put into words. */
#pragma once

#include <openssl/ssl.h>

#include "runtime/tls.h"

struct tls_context {
    _Atomic unsigned n_refs; /* connections may live on several threads */
    bool server;
    SSL_CTX *ctx;       /* another one after tls_context_reload; each connection has a reference of its own */
    BIO_METHOD *method; /* of the wire: see tls.c */
    char *certificate, *key, *authority; /* names of the files; NULL = not given: an error is told of it */
};

/* tls.c: called by OpenSSL to verify the peer's certificates, and for each of them meanwhile. */
int tls_verify(X509_STORE_CTX *store, void *data);
int tls_on_verify(int ok, X509_STORE_CTX *store);
/* tls.c: called by OpenSSL for each message of the protocol, sent or received. */
void tls_on_message(int sent, int version, int type, const void *bytes, size_t len, SSL *ssl, void *data);
/* tls.c: NULL when memory is out. */
BIO_METHOD *tls_wire_method(void);

/* "CN=db-07,O=…", escaped; "(no subject)". */
void tls_subject_text(const X509 *certificate, char *out, size_t len);
void tls_issuer_text(const X509 *certificate, char *out, size_t len);
/* "4F0C…"; "none" when memory is out. */
void tls_serial_text(const X509 *certificate, char *out, size_t len);
/* "2026-01-31 12:00:00Z" */
void tls_time_text(const ASN1_TIME *time, char *out, size_t len);
/* All that a certificate can be asked for by a client: "dns:a.example, ip:10.0.0.1"; "no name". Cut to `len`. */
void tls_server_names_text(const X509 *certificate, char *out, size_t len);
