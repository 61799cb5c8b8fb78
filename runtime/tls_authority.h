/* SPDX-License-Identifier: Apache-2.0 */
/* A small certificate authority: EC P-256 keys, X.509 v3 (RFC 5280). Texts in, texts out: files are the caller's
 * business. The authority signs end certificates only (path length 0). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A certificate and its key, each in PEM. */
struct tls_pem {
    char *certificate;
    char *key; /* unencrypted */
};
/* Overwrites the key. Accepts zeroed. */
void tls_pem_free(struct tls_pem *pem);

/* Seconds since 1970. */
struct tls_validity {
    int64_t not_before, not_after;
};

/* A new authority, whose name has a random part: two authorities are never taken for each other. 0, UV_EINVAL or
 * UV_ENOMEM; `err` says what is wrong. */
int tls_authority_new(const struct tls_validity *validity, struct tls_pem *out_authority, char *err, size_t err_len);

struct tls_subject {
    const char *common_name; /* for people; 1 to 64 bytes */
    const char *uri;         /* subject alternative names: NULL = none … */
    const char *const *dns;
    size_t n_dns;
    const char *const *ip; /* … in numbers */
    size_t n_ip;
    bool server; /* may be used to accept connections too */
    struct tls_validity validity;
};
/* A key and a certificate for it. Returns as above; UV_EINVAL also when the certificate and the key of `authority` are
 * none, do not belong together, or are no authority. `authority` has its fields read only. */
int tls_authority_issue(const struct tls_pem *authority, const struct tls_subject *subject, struct tls_pem *out_pem,
                        char *err, size_t err_len);
