/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/service/gate.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "broker/service/broker.h"
#include "runtime/clock.h"

#define LINES_AT_ONCE 10
#define REASON_MAX    768

static struct access_identity identity_of(const struct grpc_call *call)
{
    const struct peer_identity *peer = grpc_call_identity(call);

    return (struct access_identity){.texts = peer->names, .n = peer->n_names};
}

static bool is_plaintext(const struct grpc_call *call)
{
    return grpc_call_identity(call)->kind == PEER_PLAINTEXT;
}

/* "reader" or "operator" */
static void name_roles(unsigned any_of, char *out, size_t out_len)
{
    size_t n = 0;

    out[0] = 0;
    for (unsigned role = 1; role <= ACCESS_ALL; role <<= 1)
        if ((any_of & role) && n < out_len)
            n += (size_t)snprintf(out + n, out_len - n, "%s\"%s\"", n ? " or " : "", access_role_name(role));
}

static void log_denied(struct broker *b, const struct grpc_call *call, const char *name, const char *reason)
{
    uint64_t n_suppressed;

    b->counters.n_denied++;
    if (log_limit_allow(&b->denied_limit, clock_mono_ns() / 1000000, LINES_AT_ONCE, &n_suppressed))
        log_warn("access.denied", "principal=\"%s\" peer=%s reason=\"%s\" more_before=%" PRIu64, name,
                 grpc_call_peer(call), reason, n_suppressed);
}

static void say_denied(const struct grpc_call *call, const struct access_principal *p, unsigned any_of, char *out,
                       size_t out_len)
{
    char wanted[96];

    name_roles(any_of, wanted, sizeof wanted);
    if (is_plaintext(call))
        snprintf(out, out_len,
                 "%s from %s has no role %s: "
                 "give it with the broker's --plaintext-roles, or plaintext.roles in its configuration",
                 p->name, grpc_call_peer(call), wanted);
    else
        snprintf(out, out_len,
                 "%s from %s has no role %s: give it in the configuration, in an entry of principals with identity "
                 "\"%s\"",
                 p->name, grpc_call_peer(call), wanted, grpc_call_identity(call)->names[0]);
}

bool gate_admit(struct broker *b, struct grpc_call *call, unsigned any_of, struct access_principal *out)
{
    struct access_identity identity = identity_of(call);
    struct access_principal principal;
    char reason[REASON_MAX];

    access_resolve(b->options.access, &identity, &principal);
    if (out)
        *out = principal;
    if (principal.roles & any_of)
        return true;
    say_denied(call, &principal, any_of, reason, sizeof reason);
    log_denied(b, call, principal.name, reason);
    grpc_call_finish(call, GRPC_PERMISSION_DENIED, "%s", reason);
    return false;
}

bool gate_admit_host(struct broker *b, struct grpc_call *call, const char *host, char *err, size_t err_len)
{
    struct access_identity identity = identity_of(call);
    struct access_principal principal;
    char reason[REASON_MAX];

    if (access_agent_host(b->options.access, &identity, host, reason, sizeof reason))
        return true;
    access_resolve(b->options.access, &identity, &principal);
    snprintf(err, err_len, "%s; give it with %s", reason,
             is_plaintext(call) ? "plaintext.hosts in the configuration, or --plaintext-hosts"
                                : "hosts or host_from_identity of its entry of principals in the configuration");
    log_denied(b, call, principal.name, err);
    return false;
}
