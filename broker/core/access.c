/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/access.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <uv.h>

#include "proto/event_view.h"
#include "proto/wire.h"
#include "runtime/glob.h"
#include "runtime/spelling.h"

/* ------------------------------------------------------------------------------------------------ roles */

static const struct {
    enum access_role role;
    const char *name;
} roles[] = {
    {ACCESS_AGENT, "agent"},           {ACCESS_READER, "reader"},     {ACCESS_KERNEL, "kernel"},
    {ACCESS_DEV_CONFIG, "dev-config"}, {ACCESS_OPERATOR, "operator"},
};
#define N_ROLES (sizeof roles / sizeof *roles)

const char *access_role_name(enum access_role role)
{
    for (size_t i = 0; i < N_ROLES; i++)
        if (roles[i].role == role)
            return roles[i].name;
    return NULL;
}

unsigned access_role_by_name(const char *name)
{
    for (size_t i = 0; i < N_ROLES; i++)
        if (strcmp(roles[i].name, name) == 0)
            return roles[i].role;
    return 0;
}

static int unknown_role(const char *word, char *err, size_t err_len)
{
    struct spelling_search search = {.word = word, .limit = 4, .fold = true};

    for (size_t i = 0; i < N_ROLES; i++)
        spelling_consider(&search, roles[i].name);
    if (search.nearest)
        snprintf(err, err_len, "\"%s\" is no role; did you mean \"%s\"?", word, search.nearest);
    else
        snprintf(err, err_len, "\"%.64s\" is no role: agent, reader, kernel, dev-config, operator or all", word);
    return UV_EINVAL;
}

int access_parse_roles(const char *text, unsigned *out_roles, char *err, size_t err_len)
{
    unsigned found = 0;

    for (;;) {
        char word[64];
        size_t len = strcspn(text, ",");
        snprintf(word, sizeof word, "%.*s", (int)(len < sizeof word ? len : sizeof word), text);
        unsigned role = strcmp(word, "all") == 0 ? ACCESS_ALL : access_role_by_name(word);
        if (!role)
            return unknown_role(word, err, err_len);
        found |= role;
        if (!text[len])
            break;
        text += len + 1;
    }
    *out_roles = found;
    return 0;
}

/* ------------------------------------------------------------------------------------------------ rules */

static bool begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Something must stand behind the prefix. */
static bool is_form(const char *identity, const char *prefix)
{
    return begins(identity, prefix) && identity[strlen(prefix)];
}

/* The case of a DNS name means nothing (RFC 4343). */
static bool folds(const char *identity)
{
    return begins(identity, "dns:");
}

static bool is_name(const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || len >= ACCESS_MAX_PRINCIPAL || !utf8_valid((const uint8_t *)text, len))
        return false;
    for (size_t i = 0; i < len; i++)
        if ((uint8_t)text[i] < 0x20 || text[i] == 0x7f)
            return false;
    return true;
}

/* What is wrong with the rule, in words; NULL when nothing is. */
static const char *fault(const struct access_rule *r)
{
    const char *identity = r->identity;

    if (!identity || !identity[0])
        return "identity: is missing";
    if (strlen(identity) >= ACCESS_MAX_PRINCIPAL)
        return "identity: is longer than 255 bytes";
    bool certificate = is_form(identity, "uri:") || is_form(identity, "dns:");
    if (!certificate && !is_form(identity, "unix:uid=") && !is_form(identity, "unix:gid=") &&
        strcmp(identity, "plaintext") != 0 && strcmp(identity, "tls:unnamed") != 0)
        return "identity: is none of \"uri:…\", \"dns:…\", \"unix:uid=N\", \"unix:gid=N\", \"plaintext\", "
               "\"tls:unnamed\"";
    if (r->name && !is_name(r->name))
        return "name: must be 1 to 255 bytes of UTF-8 without control characters";
    if (r->roles == 0)
        return "roles: none is given";
    if (r->roles & ~ACCESS_ALL)
        return "roles: an unknown one";
    if (r->n_hosts > ACCESS_MAX_HOSTS)
        return "hosts: more than 64";
    for (size_t i = 0; i < r->n_hosts; i++)
        if (!r->hosts[i] || !r->hosts[i][0])
            return "hosts: one is empty";
    if (r->host_from_identity && !certificate)
        return "host_from_identity: only an identity of a certificate (\"uri:…\", \"dns:…\") has a host in it";
    bool has_hosts = r->n_hosts > 0 || r->host_from_identity;
    if ((r->roles & ACCESS_AGENT) && !has_hosts)
        return "hosts: role agent needs the hosts that it may speak for, or host_from_identity";
    if (!(r->roles & ACCESS_AGENT) && has_hosts)
        return "hosts: only role agent has hosts";
    return NULL;
}

static void rule_deinit(struct access_rule *r)
{
    for (size_t i = 0; r->hosts && i < r->n_hosts; i++)
        free(r->hosts[i]);
    free(r->hosts);
    free(r->identity);
    free(r->name);
}

static int rule_copy(struct access_rule *out, const struct access_rule *from)
{
    *out = (struct access_rule){.roles = from->roles, .host_from_identity = from->host_from_identity};
    out->identity = strdup(from->identity);
    out->name = from->name ? strdup(from->name) : NULL;
    out->hosts = from->n_hosts ? calloc(from->n_hosts, sizeof *out->hosts) : NULL;
    bool ok = out->identity && (out->name || !from->name) && (out->hosts || !from->n_hosts);
    for (; ok && out->n_hosts < from->n_hosts; out->n_hosts++)
        if (!(out->hosts[out->n_hosts] = strdup(from->hosts[out->n_hosts])))
            ok = false;
    if (ok)
        return 0;
    rule_deinit(out);
    return UV_ENOMEM;
}

int access_add(struct access *a, const struct access_rule *rule, char *err, size_t err_len)
{
    const char *wrong = fault(rule);
    struct access_rule copy;

    if (wrong) {
        snprintf(err, err_len, "%s", wrong);
        return UV_EINVAL;
    }
    if (a->n_rules == ACCESS_MAX_RULES) {
        snprintf(err, err_len, "more than %d rules", ACCESS_MAX_RULES);
        return UV_E2BIG;
    }
    int rc = rule_copy(&copy, rule);
    struct access_rule *grown = rc ? NULL : realloc(a->rules, (a->n_rules + 1) * sizeof *grown);
    if (!grown) {
        if (!rc)
            rule_deinit(&copy);
        snprintf(err, err_len, "out of memory");
        return UV_ENOMEM;
    }
    a->rules = grown;
    a->rules[a->n_rules++] = copy;
    return 0;
}

void access_deinit(struct access *a)
{
    for (size_t i = 0; i < a->n_rules; i++)
        rule_deinit(&a->rules[i]);
    free(a->rules);
    memset(a, 0, sizeof *a);
}

/* ------------------------------------------------------------------------------------------------ who is it */

/* A text that is too long for a principal's name, or not printable ASCII, is nobody's: cut or cleaned it could be
 * somebody else's. */
static bool is_usable(const char *text)
{
    size_t len = 0;

    for (; text[len]; len++)
        if (len + 1 >= ACCESS_MAX_PRINCIPAL || (uint8_t)text[len] < 0x20 || (uint8_t)text[len] > 0x7e)
            return false;
    return len > 0;
}

static bool matches(const struct access_rule *r, const char *text)
{
    return is_usable(text) && glob_matches(r->identity, text, strlen(text), folds(r->identity));
}

static const char *first_match(const struct access_rule *r, const struct access_identity *identity)
{
    for (size_t i = 0; i < identity->n; i++)
        if (matches(r, identity->texts[i]))
            return identity->texts[i];
    return NULL;
}

/* The name of somebody whom no rule knows: for messages only. */
static void copy_shown(char out[ACCESS_MAX_PRINCIPAL], const char *text)
{
    size_t n = 0;

    for (; text[n] && n + 1 < ACCESS_MAX_PRINCIPAL; n++)
        out[n] = (uint8_t)text[n] < 0x20 || (uint8_t)text[n] > 0x7e ? '?' : text[n];
    out[n] = 0;
}

void access_resolve(const struct access *a, const struct access_identity *identity, struct access_principal *out)
{
    *out = (struct access_principal){.roles = 0};
    for (size_t i = 0; i < a->n_rules; i++) {
        const char *text = first_match(&a->rules[i], identity);
        if (!text)
            continue;
        if (!out->roles)
            snprintf(out->name, sizeof out->name, "%s", a->rules[i].name ? a->rules[i].name : text);
        out->roles |= a->rules[i].roles;
    }
    if (!out->roles)
        copy_shown(out->name, identity->n > 0 ? identity->texts[0] : "nobody");
}

/* ------------------------------------------------------------------------------------------------ hosts */

/* The host that an identity ends in; length 0: none. The path of a URI is what follows "//authority", before '?' and
 * '#' (RFC 3986 section 3). */
static struct text host_of(const char *identity)
{
    const char *path, *slash, *authority;

    if (begins(identity, "dns:"))
        return (struct text){identity + 4, strlen(identity + 4)};
    if (!begins(identity, "uri:"))
        return (struct text){"", 0};
    path = identity + 4;
    if ((authority = strstr(path, "://")))
        path = authority + 3 + strcspn(authority + 3, "/?#");
    size_t len = strcspn(path, "?#");
    slash = memrchr(path, '/', len);
    if (!slash)
        return (struct text){"", 0};
    return (struct text){slash + 1, len - (size_t)(slash + 1 - path)};
}

static bool same_host(const char *a, const char *b, size_t len, bool fold)
{
    return fold ? strncasecmp(a, b, len) == 0 : memcmp(a, b, len) == 0;
}

static bool rule_gives_host(const struct access_rule *r, const struct access_identity *identity, const char *host)
{
    size_t len = strlen(host);

    if (!(r->roles & ACCESS_AGENT) || !first_match(r, identity))
        return false;
    for (size_t i = 0; i < r->n_hosts; i++)
        if (glob_matches(r->hosts[i], host, len, false))
            return true;
    for (size_t i = 0; r->host_from_identity && i < identity->n; i++) {
        const char *text = identity->texts[i];
        struct text own = host_of(text);
        if (own.len == len && len > 0 && matches(r, text) && same_host(own.ptr, host, len, folds(text)))
            return true;
    }
    return false;
}

bool access_agent_host(const struct access *a, const struct access_identity *identity, const char *host, char *err,
                       size_t err_len)
{
    struct access_principal principal;

    for (size_t i = 0; i < a->n_rules; i++)
        if (rule_gives_host(&a->rules[i], identity, host))
            return true;
    access_resolve(a, identity, &principal);
    if (principal.roles & ACCESS_AGENT)
        snprintf(err, err_len, "%s may not speak for host %s: no rule for it names that host", principal.name, host);
    else
        snprintf(err, err_len, "%s may not speak for host %s: it has no role \"agent\"", principal.name, host);
    return false;
}
