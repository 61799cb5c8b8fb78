/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/grpc/identity.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <uv.h>

#include "runtime/tls.h"

const struct peer_identity peer_plaintext = {.kind = PEER_PLAINTEXT, .n_names = 1, .names = {"plaintext"}};

struct unix_identity {
    struct peer_identity identity;
    char uid[32], gid[32];
};

int peer_identity_of_unix(int fd, const struct peer_identity **out_identity)
{
    struct ucred credentials;
    socklen_t len = sizeof credentials;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &len) != 0)
        return uv_translate_sys_error(errno);
    struct unix_identity *u = calloc(1, sizeof *u);
    if (!u)
        return UV_ENOMEM;
    snprintf(u->uid, sizeof u->uid, "unix:uid=%u", (unsigned)credentials.uid);
    snprintf(u->gid, sizeof u->gid, "unix:gid=%u", (unsigned)credentials.gid);
    u->identity = (struct peer_identity){.kind = PEER_UNIX, .n_names = 2, .names = {u->uid, u->gid}};
    *out_identity = &u->identity;
    return 0;
}

int peer_identity_of_tls(const struct tls *tls, const struct peer_identity **out_identity)
{
    struct peer_identity *identity = calloc(1, sizeof *identity);
    if (!identity)
        return UV_ENOMEM;
    identity->kind = PEER_TLS;
    while (identity->n_names < PEER_MAX_NAMES &&
           (identity->names[identity->n_names] = tls_peer_name(tls, identity->n_names)))
        identity->n_names++;
    *out_identity = identity;
    return 0;
}

void peer_identity_free(const struct peer_identity *identity)
{
    if (identity != &peer_plaintext)
        free((void *)identity);
}
