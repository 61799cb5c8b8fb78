/* SPDX-License-Identifier: Apache-2.0 */
/* The story of a file:
 *
 *   a tree with lines (config_tree.h)   is it YAML, of decent size?
 *   the tree against the schema         are the keys known, the shapes right, the required ones there?
 *   libcyaml, by the same schema        the texts, in struct config_document
 *   one table after the other           simple keys go to their options, limits and principals to where they belong;
 *                                       what is wrong with a value is told with the line of its key */
#include "broker/config.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "broker/config_tree.h"
#include "runtime/options.h"
#include "runtime/spelling.h"

#define PATH_MAX_BYTES 128

/* ------------------------------------------------------------------------------------------------ the schema */

struct config_list {
    char **items;
    uint32_t n;
};

struct config_tls {
    char *certificate, *key, *authority;
};

struct config_adapter {
    char *sessions, *streams_per_principal, *sessions_per_principal, *waits_per_principal, *operations_per_principal,
        *queued_records_per_session, *queued_bytes_per_principal;
};

struct config_sdi {
    char *handlers, *streams_per_principal, *handlers_per_principal, *notifies_per_principal, *notifies_of_broker,
        *calls_per_stream;
};

struct config_events {
    char *streams_per_principal, *queued_bytes_per_principal;
};

struct config_limits {
    struct config_events events;
    struct config_adapter adapter;
    struct config_sdi sdi;
};

struct config_plaintext {
    struct config_list roles, hosts;
};

struct config_principal {
    char *identity, *name, *host_from_identity;
    struct config_list roles, hosts;
};

struct config_document {
    char *data, *durability, *log_max_bytes, *retain_bytes, *retain_age, *retain_records, *checkpoint_interval,
        *agent_grace, *agent_heartbeat, *drain_grace, *port_file, *log_level, *insecure;
    struct config_list listen;
    struct config_tls tls;
    struct config_limits limits;
    struct config_plaintext plaintext;
    struct config_principal *principals;
    uint32_t n_principals;
};

#define TEXT(key, type, member)                                                                                        \
    CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, member, 0, CYAML_UNLIMITED)
#define REQUIRED(key, type, member) CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER, type, member, 0, CYAML_UNLIMITED)
#define LIST(key, flags, type, member, max)                                                                            \
    CYAML_FIELD_SEQUENCE_COUNT(key, CYAML_FLAG_POINTER | (flags), type, member.items, member.n, &word, 0, max)
#define GROUP(key, type, member, fields) CYAML_FIELD_MAPPING(key, CYAML_FLAG_OPTIONAL, type, member, fields)

static const cyaml_schema_value_t word = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, CYAML_UNLIMITED),
};

static const cyaml_schema_field_t tls_fields[] = {
    TEXT("certificate", struct config_tls, certificate),
    TEXT("key", struct config_tls, key),
    TEXT("authority", struct config_tls, authority),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t adapter_fields[] = {
    TEXT("sessions", struct config_adapter, sessions),
    TEXT("streams_per_principal", struct config_adapter, streams_per_principal),
    TEXT("sessions_per_principal", struct config_adapter, sessions_per_principal),
    TEXT("waits_per_principal", struct config_adapter, waits_per_principal),
    TEXT("operations_per_principal", struct config_adapter, operations_per_principal),
    TEXT("queued_records_per_session", struct config_adapter, queued_records_per_session),
    TEXT("queued_bytes_per_principal", struct config_adapter, queued_bytes_per_principal),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t sdi_fields[] = {
    TEXT("handlers", struct config_sdi, handlers),
    TEXT("streams_per_principal", struct config_sdi, streams_per_principal),
    TEXT("handlers_per_principal", struct config_sdi, handlers_per_principal),
    TEXT("notifies_per_principal", struct config_sdi, notifies_per_principal),
    TEXT("notifies_of_broker", struct config_sdi, notifies_of_broker),
    TEXT("calls_per_stream", struct config_sdi, calls_per_stream),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t events_fields[] = {
    TEXT("streams_per_principal", struct config_events, streams_per_principal),
    TEXT("queued_bytes_per_principal", struct config_events, queued_bytes_per_principal),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t limits_fields[] = {
    GROUP("events", struct config_limits, events, events_fields),
    GROUP("adapter", struct config_limits, adapter, adapter_fields),
    GROUP("sdi", struct config_limits, sdi, sdi_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t plaintext_fields[] = {
    LIST("roles", CYAML_FLAG_DEFAULT, struct config_plaintext, roles, 16),
    LIST("hosts", CYAML_FLAG_OPTIONAL, struct config_plaintext, hosts, ACCESS_MAX_HOSTS),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t principal_fields[] = {
    REQUIRED("identity", struct config_principal, identity),
    TEXT("name", struct config_principal, name),
    LIST("roles", CYAML_FLAG_DEFAULT, struct config_principal, roles, 16),
    LIST("hosts", CYAML_FLAG_OPTIONAL, struct config_principal, hosts, ACCESS_MAX_HOSTS),
    TEXT("host_from_identity", struct config_principal, host_from_identity),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t principal = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_principal, principal_fields),
};

static const cyaml_schema_field_t document_fields[] = {
    LIST("listen", CYAML_FLAG_OPTIONAL, struct config_document, listen, CONFIG_MAX_LISTENS),
    TEXT("insecure", struct config_document, insecure),
    GROUP("tls", struct config_document, tls, tls_fields),
    TEXT("data", struct config_document, data),
    TEXT("durability", struct config_document, durability),
    TEXT("log_max_bytes", struct config_document, log_max_bytes),
    TEXT("retain_bytes", struct config_document, retain_bytes),
    TEXT("retain_age", struct config_document, retain_age),
    TEXT("retain_records", struct config_document, retain_records),
    TEXT("checkpoint_interval", struct config_document, checkpoint_interval),
    TEXT("agent_grace", struct config_document, agent_grace),
    TEXT("agent_heartbeat", struct config_document, agent_heartbeat),
    TEXT("drain_grace", struct config_document, drain_grace),
    TEXT("port_file", struct config_document, port_file),
    TEXT("log_level", struct config_document, log_level),
    GROUP("limits", struct config_document, limits, limits_fields),
    GROUP("plaintext", struct config_document, plaintext, plaintext_fields),
    CYAML_FIELD_SEQUENCE_COUNT("principals", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct config_document,
                               principals, n_principals, &principal, 0, ACCESS_MAX_RULES),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t document = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct config_document, document_fields),
};

/* Simple keys: where the text lies, and the option that it is. */
#define SIMPLE(member, option)                                                                                         \
    {                                                                                                                  \
#member, option, offsetof(struct config_document, member)                                                      \
    }
static const struct {
    const char *path, *option;
    size_t offset;
} simple[] = {
    SIMPLE(insecure, "insecure"),
    SIMPLE(tls.certificate, "tls-certificate"),
    SIMPLE(tls.key, "tls-key"),
    SIMPLE(tls.authority, "tls-authority"),
    SIMPLE(data, "data"),
    SIMPLE(durability, "durability"),
    SIMPLE(log_max_bytes, "log-max-bytes"),
    SIMPLE(retain_bytes, "retain-bytes"),
    SIMPLE(retain_age, "retain-age"),
    SIMPLE(retain_records, "retain-records"),
    SIMPLE(checkpoint_interval, "checkpoint-interval"),
    SIMPLE(agent_grace, "agent-grace"),
    SIMPLE(agent_heartbeat, "agent-heartbeat"),
    SIMPLE(drain_grace, "drain-grace"),
    SIMPLE(port_file, "port-file"),
    SIMPLE(log_level, "log-level"),
};

#define LIMIT(face, key, member, kind)                                                                                 \
    {                                                                                                                  \
        "limits." #face "." #key, offsetof(struct config_document, limits.face.key),                                   \
            offsetof(struct config, face##_limits.member), kind                                                        \
    }
static const struct {
    const char *path;
    size_t from, to;
    enum option_kind kind;
} limits[] = {
    LIMIT(events, streams_per_principal, max_streams_principal, OPTION_UINT),
    LIMIT(events, queued_bytes_per_principal, max_queued_bytes_principal, OPTION_SIZE),
    LIMIT(adapter, sessions, max_sessions, OPTION_UINT),
    LIMIT(adapter, streams_per_principal, max_streams_principal, OPTION_UINT),
    LIMIT(adapter, sessions_per_principal, max_sessions_principal, OPTION_UINT),
    LIMIT(adapter, waits_per_principal, max_waits_principal, OPTION_UINT),
    LIMIT(adapter, operations_per_principal, max_operations_principal, OPTION_UINT),
    LIMIT(adapter, queued_records_per_session, max_queued_records, OPTION_UINT),
    LIMIT(adapter, queued_bytes_per_principal, max_queued_bytes_principal, OPTION_SIZE),
    LIMIT(sdi, handlers, max_handlers, OPTION_UINT),
    LIMIT(sdi, streams_per_principal, max_streams_principal, OPTION_UINT),
    LIMIT(sdi, handlers_per_principal, max_handlers_principal, OPTION_UINT),
    LIMIT(sdi, notifies_per_principal, max_notifies_principal, OPTION_UINT),
    LIMIT(sdi, notifies_of_broker, max_notifies_broker, OPTION_UINT),
    LIMIT(sdi, calls_per_stream, max_calls_stream, OPTION_UINT),
};

/* ------------------------------------------------------------------------------------------------ complaints */

struct reader {
    const char *name; /* of the file */
    const struct config_node *root;
    const struct option *options;
    size_t n_options;
    struct config *out;
    char *err;
    size_t err_len;
};

__attribute__((format(printf, 3, 4))) static int refuse_node(const struct reader *r, const struct config_node *node,
                                                             const char *format, ...)
{
    char path[PATH_MAX_BYTES], text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    config_node_path(node, path, sizeof path);
    snprintf(r->err, r->err_len, "%s:%zu: %s%s%s", r->name, node ? node->line : 1, path, path[0] ? ": " : "", text);
    return UV_EINVAL;
}

/* ------------------------------------------------------------------------------------------------ tree and schema */

static int check_node(const struct reader *r, const struct config_node *node, const cyaml_schema_value_t *schema);

/* How far a key is from a known one; the beginning of a long one counts as near. */
static size_t key_distance(const char *key, const char *known)
{
    size_t len = strlen(key), distance = spelling_distance(key, known, true);

    if (len >= 3 && strncmp(key, known, len) == 0)
        return 1;
    return distance <= (len + 1) / 2 ? distance : SPELLING_MAX_DISTANCE;
}

static int refuse_key(const struct reader *r, const struct config_node *node, const cyaml_schema_field_t *fields)
{
    const cyaml_schema_field_t *f, *nearest = NULL;
    char known[400] = "";
    size_t best = 4, n = 0;

    for (f = fields; f->key; f++) {
        size_t distance = key_distance(node->key, f->key);
        if (distance < best) {
            best = distance;
            nearest = f;
        }
        if (n < sizeof known)
            n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "", f->key);
    }
    if (nearest)
        return refuse_node(r, node, "unknown key; did you mean \"%s\"?", nearest->key);
    return refuse_node(r, node, "unknown key; known here: %s", known);
}

static int check_mapping(const struct reader *r, const struct config_node *node, const cyaml_schema_field_t *fields)
{
    const struct config_node *child;
    const cyaml_schema_field_t *f;
    int rc = 0;

    for (child = node->first; !rc && child; child = child->next) {
        for (f = fields; f->key && strcmp(f->key, child->key) != 0; f++)
            ;
        rc = f->key ? check_node(r, child, &f->value) : refuse_key(r, child, fields);
    }
    for (f = fields; !rc && f->key; f++) {
        if (f->value.flags & CYAML_FLAG_OPTIONAL)
            continue;
        for (child = node->first; child && strcmp(child->key, f->key) != 0; child = child->next)
            ;
        if (!child)
            rc = refuse_node(r, node, "\"%s\" is missing", f->key);
    }
    return rc;
}

static int check_list(const struct reader *r, const struct config_node *node, const cyaml_schema_value_t *schema)
{
    const struct config_node *child;
    int rc = 0;

    if (node->n > schema->sequence.max)
        return refuse_node(r, node, "has %zu entries, at most %u", node->n, schema->sequence.max);
    for (child = node->first; !rc && child; child = child->next)
        rc = check_node(r, child, schema->sequence.entry);
    return rc;
}

static int check_node(const struct reader *r, const struct config_node *node, const cyaml_schema_value_t *schema)
{
    switch (schema->type) {
    case CYAML_MAPPING:
        if (node->kind != CONFIG_MAPPING)
            return refuse_node(r, node, "must hold keys (\"key: value\")");
        return check_mapping(r, node, schema->mapping.fields);
    case CYAML_SEQUENCE:
        if (node->kind != CONFIG_LIST)
            return refuse_node(r, node, "must be a list (\"[a, b]\", or lines that begin with \"- \")");
        return check_list(r, node, schema);
    default:
        if (node->kind != CONFIG_VALUE)
            return refuse_node(r, node, "must be one value");
        return node->text[0] ? 0 : refuse_node(r, node, "has no value");
    }
}

/* ------------------------------------------------------------------------------------------------ libcyaml */

/* The first line that libcyaml writes is what is wrong. */
__attribute__((format(printf, 3, 0))) static void keep_first_line(cyaml_log_t level, void *context, const char *format,
                                                                  va_list args)
{
    char *text = context;

    (void)level;
    if (!text[0])
        vsnprintf(text, 256, format, args);
    text[strcspn(text, "\n")] = 0;
}

/* Memory of ours, so that tests can let it run out. */
static void *allocate(void *context, void *old, size_t size)
{
    (void)context;
    if (size > 0)
        return realloc(old, size);
    free(old);
    return NULL;
}

static cyaml_config_t settings(char text[256])
{
    return (cyaml_config_t){
        .log_fn = text ? keep_first_line : NULL,
        .log_ctx = text,
        .log_level = CYAML_LOG_ERROR,
        .mem_fn = allocate,
        .flags = CYAML_CFG_NO_ALIAS,
    };
}

static int load(const struct reader *r, const uint8_t *bytes, size_t len)
{
    char text[256] = "";
    cyaml_config_t config = settings(text);
    cyaml_data_t *data = NULL;
    cyaml_err_t result = cyaml_load_data(bytes, len, &config, &document, &data, NULL);

    if (result == CYAML_ERR_OOM)
        return UV_ENOMEM;
    if (result != CYAML_OK) /* the tree was checked by the same schema: what it let pass is still refused here */
        return refuse_node(r, NULL, "%s (%s)", text[0] ? text : "cannot be read", cyaml_strerror(result));
    r->out->document = data;
    return 0;
}

/* ------------------------------------------------------------------------------------------------ values */

static int store_simple(const struct reader *r, size_t i)
{
    const char *text = *(char **)((char *)r->out->document + simple[i].offset);
    char where[PATH_MAX_BYTES + 512];

    if (!text)
        return 0;
    const struct config_node *node = config_tree_find(r->root, simple[i].path);
    for (size_t k = 0; k < r->n_options; k++) {
        if (strcmp(r->options[k].name, simple[i].option) != 0)
            continue;
        snprintf(where, sizeof where, "%s:%zu: %s", r->name, node->line, simple[i].path);
        return options_set(&r->options[k], where, text, r->err, r->err_len) == OPTIONS_OK ? 0 : UV_EINVAL;
    }
    return refuse_node(r, node, "is no option of this program");
}

static int store_limit(const struct reader *r, size_t i)
{
    const char *text = *(char **)((char *)r->out->document + limits[i].from);
    uint64_t value = 0;

    if (!text)
        return 0;
    int rc = limits[i].kind == OPTION_SIZE ? options_size_bytes(text, &value) : options_uint(text, &value);
    if (rc || value == 0 || value > UINT32_MAX)
        return refuse_node(r, config_tree_find(r->root, limits[i].path), "\"%.64s\" is no %s from 1 to %u", text,
                           limits[i].kind == OPTION_SIZE ? "size (examples: 4096, 64k, 16M)" : "number", UINT32_MAX);
    *(uint32_t *)((char *)r->out + limits[i].to) = (uint32_t)value;
    return 0;
}

/* `path`: of the list. */
static int read_roles(const struct reader *r, const char *path, const struct config_list *list, unsigned *out_roles)
{
    char where[PATH_MAX_BYTES], reason[256];

    *out_roles = 0;
    for (uint32_t i = 0; i < list->n; i++) {
        unsigned roles;
        if (!strchr(list->items[i], ',') && access_parse_roles(list->items[i], &roles, reason, sizeof reason) == 0) {
            *out_roles |= roles;
            continue;
        }
        snprintf(where, sizeof where, "%s[%u]", path, i);
        return refuse_node(r, config_tree_find(r->root, where), "%s",
                           strchr(list->items[i], ',') ? "holds a comma; roles are single words of a list" : reason);
    }
    if (*out_roles == 0)
        return refuse_node(r, config_tree_find(r->root, path), "holds no role");
    return 0;
}

/* The fault of a rule begins with the key that it speaks of: "hosts: …". */
static int refuse_rule(const struct reader *r, const char *path, int rc, const char *reason)
{
    char where[PATH_MAX_BYTES];

    if (rc == UV_ENOMEM)
        return rc;
    snprintf(where, sizeof where, "%s.%.*s", path, (int)strcspn(reason, ":"), reason);
    const struct config_node *node = config_tree_find(r->root, where);
    bool named = node->key && strncmp(reason, node->key, strlen(node->key)) == 0;
    return refuse_node(r, node, "%s", named ? reason + strlen(node->key) + 2 : reason);
}

static int store_plaintext(const struct reader *r)
{
    const struct config_plaintext *p = &r->out->document->plaintext;
    struct access_rule *rule = &r->out->plaintext;
    struct access trial = {.rules = NULL};
    static char *any[] = {"*"};
    char reason[256];

    if (p->roles.n == 0 && config_tree_find(r->root, "plaintext") == r->root)
        return 0;
    int rc = read_roles(r, "plaintext.roles", &p->roles, &rule->roles);
    if (rc)
        return rc;
    rule->identity = "plaintext";
    rule->hosts = p->hosts.items;
    rule->n_hosts = p->hosts.n;
    if (rule->n_hosts == 0 && (rule->roles & ACCESS_AGENT)) {
        rule->hosts = any;
        rule->n_hosts = 1;
    }
    rc = access_add(&trial, rule, reason, sizeof reason);
    access_deinit(&trial);
    return rc ? refuse_rule(r, "plaintext", rc, reason) : 0;
}

static int store_principal(const struct reader *r, uint32_t i)
{
    const struct config_principal *p = &r->out->document->principals[i];
    struct access_rule rule = {
        .identity = p->identity, .name = p->name, .hosts = p->hosts.items, .n_hosts = p->hosts.n};
    char path[PATH_MAX_BYTES], where[PATH_MAX_BYTES], reason[256];

    snprintf(path, sizeof path, "principals[%u]", i);
    snprintf(where, sizeof where, "%s.roles", path);
    int rc = read_roles(r, where, &p->roles, &rule.roles);
    if (rc)
        return rc;
    if (p->host_from_identity) {
        rule.host_from_identity = strcmp(p->host_from_identity, "true") == 0;
        snprintf(where, sizeof where, "%s.host_from_identity", path);
        if (!rule.host_from_identity && strcmp(p->host_from_identity, "false") != 0)
            return refuse_node(r, config_tree_find(r->root, where), "\"%.64s\" is neither true nor false",
                               p->host_from_identity);
    }
    rc = access_add(&r->out->principals, &rule, reason, sizeof reason);
    return rc ? refuse_rule(r, path, rc, reason) : 0;
}

static int store(const struct reader *r)
{
    const struct config_document *d = r->out->document;
    int rc = 0;

    for (size_t i = 0; !rc && i < sizeof simple / sizeof *simple; i++)
        rc = store_simple(r, i);
    for (size_t i = 0; !rc && i < sizeof limits / sizeof *limits; i++)
        rc = store_limit(r, i);
    if (!rc)
        rc = store_plaintext(r);
    for (uint32_t i = 0; !rc && i < d->n_principals; i++)
        rc = store_principal(r, i);
    r->out->listen = d->listen.items;
    r->out->n_listen = d->listen.n;
    return rc;
}

/* ------------------------------------------------------------------------------------------------ the whole */

int config_parse(const char *name, const uint8_t *bytes, size_t len, const struct option *options, size_t n_options,
                 struct config *out, char *err, size_t err_len)
{
    struct config_node *root = NULL;
    struct reader r = {
        .name = name, .options = options, .n_options = n_options, .out = out, .err = err, .err_len = err_len};
    char reason[256] = "";
    size_t line = 0;

    *out = (struct config){.n_listen = 0};
    if (len > CONFIG_MAX_BYTES) {
        snprintf(err, err_len, "%s: is longer than %u bytes", name, CONFIG_MAX_BYTES);
        return UV_E2BIG;
    }
    int rc = config_tree_read(bytes, len, &root, &line, reason, sizeof reason);
    if (rc == UV_EINVAL)
        snprintf(err, err_len, "%s:%zu: %s", name, line, reason);
    if (!rc && root) {
        r.root = root;
        rc = check_node(&r, root, &document);
        if (!rc)
            rc = load(&r, bytes, len);
        if (!rc && out->document)
            rc = store(&r);
    }
    config_tree_free(root);
    if (rc == UV_ENOMEM)
        snprintf(err, err_len, "%s: out of memory", name);
    if (rc)
        config_deinit(out);
    return rc;
}

int config_read(const char *path, const struct option *options, size_t n_options, struct config *out, char *err,
                size_t err_len)
{
    FILE *file = fopen(path, "re");
    int rc = 0;

    if (!file) {
        rc = uv_translate_sys_error(errno);
        snprintf(err, err_len, "%s: %s", path, uv_strerror(rc));
        return rc;
    }
    size_t size = CONFIG_MAX_BYTES + 1, len;
    uint8_t *bytes = malloc(size);
    if (!bytes) {
        snprintf(err, err_len, "%s: out of memory", path);
        rc = UV_ENOMEM;
    } else {
        len = fread(bytes, 1, size, file);
        if (ferror(file)) {
            rc = uv_translate_sys_error(errno);
            snprintf(err, err_len, "%s: %s", path, uv_strerror(rc));
        } else {
            rc = config_parse(path, bytes, len, options, n_options, out, err, err_len);
        }
    }
    free(bytes);
    fclose(file);
    return rc;
}

void config_deinit(struct config *c)
{
    cyaml_config_t config = settings(NULL);

    access_deinit(&c->principals);
    if (c->document)
        cyaml_free(&config, &document, c->document, 0);
    memset(c, 0, sizeof *c);
}
