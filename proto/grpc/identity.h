/* SPDX-License-Identifier: Apache-2.0 */
/* Who is at the other end of a connection, as far as the transport proved it. */
#pragma once

#include <stddef.h>

struct tls;

#define PEER_MAX_NAMES 32

enum peer_kind {
    PEER_PLAINTEXT, /* TCP without TLS: nothing is proven */
    PEER_UNIX,      /* SO_PEERCRED */
    PEER_TLS,       /* a certificate that our authority signed */
};

/* `names` are identity texts, most specific first, at least one:
 *   TLS        each URI and DNS subject alternative name (RFC 5280 section 4.2.1.6): "uri:sensebus://agent/db-07",
 *              "dns:db-07.example" (lower case); names with a 0 or control byte in them are left out. A certificate
 *              without any has the one name "tls:unnamed".
 *   Unix       "unix:uid=0", "unix:gid=0"
 *   plaintext  "plaintext" */
struct peer_identity {
    enum peer_kind kind;
    size_t n_names;
    const char *names[PEER_MAX_NAMES];
};

/* Of every peer that proved nothing: never freed. */
extern const struct peer_identity peer_plaintext;
/* Who connected the Unix socket `fd`, or listens on it. The caller frees it with peer_identity_free. Returns 0,
 * UV_ENOMEM, or what the system says. */
int peer_identity_of_unix(int fd, const struct peer_identity **out_identity);
/* The names in the peer's certificate, which belong to `tls` and live as long. Returns 0 or UV_ENOMEM. */
int peer_identity_of_tls(const struct tls *tls, const struct peer_identity **out_identity);
/* NULL and peer_plaintext are accepted. */
void peer_identity_free(const struct peer_identity *identity);
