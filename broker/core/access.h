/* SPDX-License-Identifier: Apache-2.0 */
/* Who may do what. The originals ask "is the caller in kernel mode?"; on a network that is a role of an identity that
 * was proven (semantics.md section 6, rule 1), never a claim in a message.
 *
 * An identity is what the transport proved: the names in a client certificate, the user of a Unix socket's peer, or
 * nothing but "it came in plaintext". Rules map identities to roles; an identity that no rule names has none (default
 * deny). Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ACCESS_MAX_RULES     4096
#define ACCESS_MAX_HOSTS     64  /* of a rule */
#define ACCESS_MAX_PRINCIPAL 256 /* bytes of a principal's name, with the 0 */

enum access_role {
    ACCESS_AGENT = 1 << 0,      /* Agents.Attach, for the hosts that the rule names */
    ACCESS_READER = 1 << 1,     /* Events, the lists of Admin, Adapter (as the originals' user mode) */
    ACCESS_KERNEL = 1 << 2,     /* the originals' kernel mode: register, target mode, halt, reset; Sdi */
    ACCESS_DEV_CONFIG = 1 << 3, /* the originals' dev_config authority: reset */
    ACCESS_OPERATOR = 1 << 4,   /* Admin.EndSession, and what a reader may */
};
#define ACCESS_ALL 0x1fu

/* "dev-config"; NULL for what is none. */
const char *access_role_name(enum access_role role);
/* 0 for a name that is none. */
unsigned access_role_by_name(const char *name);
/* "agent,reader", or "all". Returns 0, or UV_EINVAL with `err` naming the word that is none, and the nearest that is.
 */
int access_parse_roles(const char *text, unsigned *out_roles, char *err, size_t err_len);

struct access_rule {
    char *identity; /* glob over identity texts: "uri:sensebus://agent/db-*", "dns:backup.example", "unix:uid=0",
                       "unix:gid=27", "plaintext" */
    char *name;     /* of the principal; NULL = the identity text that matched */
    unsigned roles;
    char **hosts; /* globs; which hosts an agent may speak for */
    size_t n_hosts;
    bool host_from_identity; /* an agent may speak for the host that its identity ends in: the DNS name, whose case
                                means nothing, or the last segment of the URI's path, byte by byte */
};

struct access {
    struct access_rule *rules;
    size_t n_rules;
};

/* Texts are copied. Returns 0; UV_EINVAL with `err` naming what is wrong (no identity, no roles, role agent without
 * hosts, hosts without role agent, identity of no known form); UV_E2BIG; UV_ENOMEM. */
int access_add(struct access *a, const struct access_rule *rule, char *err, size_t err_len);
void access_deinit(struct access *a);

/* What the transport proved, as texts, most specific first: {"uri:…", "dns:…"}, {"unix:uid=0", "unix:gid=0"},
 * {"plaintext"}. Borrowed. */
struct access_identity {
    const char *const *texts;
    size_t n;
};

/* The roles of an identity: those of every rule that matches any of its texts. The name is that of the first rule that
 * matches, or the first text when none does; it is what other principals see, and what sessions belong to. */
struct access_principal {
    char name[ACCESS_MAX_PRINCIPAL];
    unsigned roles;
};
void access_resolve(const struct access *a, const struct access_identity *identity, struct access_principal *out);

/* May this identity attach as the agent of `host`? On false `err` says why, naming principal and host. */
bool access_agent_host(const struct access *a, const struct access_identity *identity, const char *host, char *err,
                       size_t err_len);
