/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates for tests: two authorities that do not know each other, whoever they sign, and files for all of it in a
 * temporary directory. Failures abort. */
#pragma once

#include "runtime/tls.h"
#include "runtime/tls_authority.h"

struct certificates {
    char directory[64];
    struct tls_pem ours, other;
};

void certificates_init(struct certificates *c);
/* Removes the directory. */
void certificates_deinit(struct certificates *c);

/* Valid since an hour, for a day. */
struct tls_subject certificates_subject(const char *name, const char *uri);
/* A server for "localhost", "broker.example" and 127.0.0.1. */
struct tls_subject certificates_server(void);
struct tls_pem certificates_issue(const struct tls_pem *authority, const struct tls_subject *subject);

struct certificate_files {
    char certificate[128], key[128], authority[128];
    struct tls_files files; /* the same, for tls_context_new */
};
/* Write `pem`, and the certificate of ours as the authority. */
void certificates_write(struct certificates *c, const struct tls_pem *pem, struct certificate_files *out_files);
/* What someone signed by `authority` uses, who trusts ours. */
struct tls_context *certificates_context(struct certificates *c, bool server, const struct tls_pem *authority,
                                         const struct tls_subject *subject);
