/* SPDX-License-Identifier: Apache-2.0 */
/* The command line is read twice: first to find the file, then, over what the file said, to win. */
#include "broker/settings.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "proto/grpc/grpc.h"
#include "runtime/log.h"

#define DEFAULT_LISTEN        "127.0.0.1:7070"
#define DEFAULT_DATA          "/var/lib/sensebus/broker"
#define DEFAULT_LOG_MAX_BYTES ((uint64_t)8 << 30)
#define NOT_GIVEN             UINT64_MAX
#define MAX_OPTIONS           32

static const char usage[] = "usage: sensebus-broker [OPTION]...\n"
                            "\n"
                            "Keeps the log of SCSI events: takes them in from agents, and streams them to\n"
                            "subscribers over gRPC.\n"
                            "\n"
                            "Exit codes: 0 stopped in order, 1 cannot start (files for TLS as well), 2 usage:\n"
                            "options or configuration are wrong.";

static const struct settings defaults = {
    .data = DEFAULT_DATA,
    .durability = "sync",
    .log_level = "info",
    .log_max_bytes = DEFAULT_LOG_MAX_BYTES,
    .retain_bytes = NOT_GIVEN,
    .checkpoint_ms = 1000,
    .agent_grace_ms = 30000,
    .heartbeat_ms = 5000,
    .drain_grace_ms = 10000,
};

/* ------------------------------------------------------------------------------------------------ the table */

static size_t make_options(struct settings *s, struct option out[MAX_OPTIONS])
{
    const struct option options[] = {
        {"config", 'c', OPTION_STRING, &s->config_path, "FILE", "SENSEBUS_CONFIG", 0, 0,
         "read the configuration from FILE first; options win over it (none)"},
        {"check-config", 0, OPTION_FLAG, &s->check_config, NULL, NULL, 0, 0,
         "say whether options and configuration are right, and exit"},
        {"listen", 'l', OPTION_LIST, &s->listen, "ADDRESS", "SENSEBUS_LISTEN", 0, 0,
         "tls://HOST:PORT, or without TLS HOST:PORT, [IPV6]:PORT, unix:PATH; may be given several times "
         "(127.0.0.1:7070)"},
        {"insecure", 0, OPTION_FLAG, &s->insecure, NULL, NULL, 0, 0, "allow plaintext on addresses beyond loopback"},
        {"tls-certificate", 0, OPTION_STRING, &s->tls.certificate, "FILE", "SENSEBUS_TLS_CERTIFICATE", 0, 0,
         "our certificate, with intermediates behind it, PEM"},
        {"tls-key", 0, OPTION_STRING, &s->tls.key, "FILE", "SENSEBUS_TLS_KEY", 0, 0, "its private key, PEM"},
        {"tls-authority", 0, OPTION_STRING, &s->tls.authority, "FILE", "SENSEBUS_TLS_AUTHORITY", 0, 0,
         "who signs the certificates of agents and clients, PEM"},
        {"plaintext-roles", 0, OPTION_STRING, &s->plaintext_roles, "ROLES", "SENSEBUS_PLAINTEXT_ROLES", 0, 0,
         "what whoever connects over TCP without TLS may do: \"all\", or some of "
         "agent,reader,kernel,dev-config,operator (nothing)"},
        {"plaintext-hosts", 0, OPTION_LIST, &s->plaintext_hosts, "HOST", NULL, 0, 0,
         "which hosts a plaintext agent may speak for, '*' and '?' allowed; may be given several times (*)"},
        {"data", 'd', OPTION_STRING, &s->data, "DIRECTORY", "SENSEBUS_DATA", 0, 0,
         "where the log is kept (" DEFAULT_DATA ")"},
        {"durability", 0, OPTION_CHOICE, &s->durability, "sync|relaxed", NULL, 0, 0,
         "sync: acknowledged records are on disk (default)\n"
         "relaxed: a crash of the machine, not of the broker, loses the log"},
        {"log-max-bytes", 0, OPTION_SIZE, &s->log_max_bytes, "SIZE", NULL, 1 << 20, (uint64_t)1 << 46,
         "upper bound of the log's file (8G)"},
        {"retain-bytes", 0, OPTION_SIZE, &s->retain_bytes, "SIZE", NULL, 0, 0,
         "keep at most this much of the log, 0 = all (three quarters of --log-max-bytes)"},
        {"retain-age", 0, OPTION_DURATION, &s->retain_age_ms, "TIME", NULL, 0, 0,
         "keep records at most this long, 0 = for ever (0)"},
        {"retain-records", 0, OPTION_UINT, &s->retain_records, "N", NULL, 0, 0,
         "keep at most this many records, 0 = all (0)"},
        {"checkpoint-interval", 0, OPTION_DURATION, &s->checkpoint_ms, "TIME", NULL, 1, 60000,
         "how long records, safe in the write-ahead log, may wait for their place in the store (1s)"},
        {"agent-grace", 0, OPTION_DURATION, &s->agent_grace_ms, "TIME", NULL, 0, 86400000,
         "after a start, how long agents that were attached before may take to come back (30s)"},
        {"agent-heartbeat", 0, OPTION_DURATION, &s->heartbeat_ms, "TIME", NULL, 100, 3600000,
         "how often agents give a sign of life; silent for three of them is lost (5s)"},
        {"drain-grace", 0, OPTION_DURATION, &s->drain_grace_ms, "TIME", NULL, 0, 3600000,
         "at a stop, how long streams may take to end (10s)"},
        {"port-file", 0, OPTION_STRING, &s->port_file, "FILE", NULL, 0, 0,
         "write the addresses listened on to FILE, one a line, once they are open"},
        {"log-level", 0, OPTION_CHOICE, &s->log_level, "debug|info|warn|error", "SENSEBUS_LOG_LEVEL", 0, 0,
         "what to write to standard error (info)"},
        {"version", 'V', OPTION_FLAG, &s->version, NULL, NULL, 0, 0, "print the version and exit"},
    };
    const size_t n = sizeof options / sizeof *options;

    _Static_assert(sizeof options / sizeof *options <= MAX_OPTIONS, "MAX_OPTIONS is too small");
    memcpy(out, options, sizeof options);
    return n;
}

static enum options_result read_line(struct settings *s, int argc, char **argv, char *err, size_t err_len)
{
    struct option options[MAX_OPTIONS];
    size_t n = make_options(s, options);
    int n_operands = 0;

    enum options_result result = options_parse(options, n, argc, argv, &n_operands, err, err_len);
    if (result == OPTIONS_HELP) {
        options_print_help(stdout, usage, options, n);
    } else if (result == OPTIONS_OK && n_operands > 0) {
        snprintf(err, err_len, "%s: takes no arguments but options", argv[1]);
        result = OPTIONS_ERROR;
    }
    return result;
}

/* ------------------------------------------------------------------------------------------------ who may what */

/* The rule for "plaintext": of the options, else of the file. Returns 0, or a negative errno with `err`. */
static int add_plaintext(struct settings *s, char *err, size_t err_len)
{
    static char *any[] = {"*"};
    char *hosts[OPTION_LIST_MAX], reason[256];
    struct access_rule rule = s->config.plaintext;
    int rc = 0;

    rule.identity = "plaintext";
    if (s->plaintext_roles)
        rc = access_parse_roles(s->plaintext_roles, &rule.roles, reason, sizeof reason);
    if (rc) {
        snprintf(err, err_len, "--plaintext-roles: %s", reason);
        return rc;
    }
    for (size_t i = 0; i < s->plaintext_hosts.n; i++)
        hosts[i] = (char *)s->plaintext_hosts.items[i];
    if (s->plaintext_hosts.n > 0) {
        rule.hosts = hosts;
        rule.n_hosts = s->plaintext_hosts.n;
    } else if (!(rule.roles & ACCESS_AGENT)) {
        rule.n_hosts = 0;
    } else if (rule.n_hosts == 0) {
        rule.hosts = any;
        rule.n_hosts = 1;
    }
    if (!rule.roles && rule.n_hosts == 0)
        return 0;
    rc = access_add(&s->access, &rule, reason, sizeof reason);
    if (rc)
        snprintf(err, err_len, "%s: %s", s->plaintext_hosts.n > 0 ? "--plaintext-hosts" : "--plaintext-roles", reason);
    return rc;
}

static int make_access(struct settings *s, char *err, size_t err_len)
{
    char reason[256];
    int rc = add_plaintext(s, err, err_len);

    for (size_t i = 0; !rc && i < s->config.principals.n_rules; i++) {
        rc = access_add(&s->access, &s->config.principals.rules[i], reason, sizeof reason);
        if (rc)
            snprintf(err, err_len, "principals[%zu]: %s", i, reason);
    }
    return rc;
}

/* ------------------------------------------------------------------------------------------------ TLS */

static bool listens_with_tls(const struct settings *s)
{
    struct broker_options o = settings_broker_options(s);

    for (size_t i = 0; i < o.n_listen; i++)
        if (broker_listen_is_tls(o.listen[i]))
            return true;
    return false;
}

static int check_tls(const struct settings *s, char *err, size_t err_len)
{
    const struct tls_files *t = &s->tls;
    const char *missing = !t->certificate ? "--tls-certificate (tls.certificate)"
                          : !t->key       ? "--tls-key (tls.key)"
                          : !t->authority ? "--tls-authority (tls.authority)"
                                          : NULL;
    bool any = t->certificate || t->key || t->authority;

    if (listens_with_tls(s) && missing)
        snprintf(err, err_len, "listening with TLS needs %s", missing);
    else if (any && !listens_with_tls(s))
        snprintf(err, err_len,
                 "certificate, key or authority are given, but no address to listen on begins with tls://");
    else
        return 0;
    return UV_EINVAL;
}

/* Would a start work, as far as one can say without touching ports and data? A broker may be running on them. */
static int try_out(const struct settings *s, char *err, size_t err_len)
{
    struct broker_options o = settings_broker_options(s);
    struct tls_context *context = NULL;
    char reason[512];
    int rc = 0;

    if (listens_with_tls(s))
        rc = tls_context_new(true, &s->tls, &context, err, err_len);
    for (size_t i = 0; !rc && i < o.n_listen; i++) {
        struct grpc_listen_options options = {.insecure = o.insecure,
                                              .tls = broker_listen_is_tls(o.listen[i]) ? context : NULL};
        rc = grpc_listen_check(broker_listen_address(o.listen[i]), &options, reason, sizeof reason);
        if (rc)
            snprintf(err, err_len, "listen: %s", reason);
    }
    tls_context_unref(context);
    return rc;
}

/* ------------------------------------------------------------------------------------------------ the whole */

static int read_all(struct settings *s, int argc, char **argv, char *err, size_t err_len)
{
    struct option options[MAX_OPTIONS];
    const char *path = s->config_path;
    int rc = 0;

    *s = defaults;
    if (path)
        rc = config_read(path, options, make_options(s, options), &s->config, err, err_len);
    if (!rc && read_line(s, argc, argv, err, err_len) != OPTIONS_OK)
        rc = UV_EINVAL;
    if (!rc && s->listen.n > BROKER_MAX_LISTENS) {
        snprintf(err, err_len, "--listen: given %zu times, at most %d", s->listen.n, BROKER_MAX_LISTENS);
        rc = UV_EINVAL;
    }
    if (!rc)
        rc = make_access(s, err, err_len);
    if (!rc)
        rc = check_tls(s, err, err_len);
    return rc;
}

enum settings_result settings_read(struct settings *s, int argc, char **argv, char *err, size_t err_len)
{
    enum log_level level = LOG_LEVEL_INFO;

    *s = defaults;
    enum options_result result = read_line(s, argc, argv, err, err_len);
    if (result == OPTIONS_HELP)
        return SETTINGS_DONE;
    if (result == OPTIONS_ERROR)
        return SETTINGS_WRONG;
    if (s->version) {
        printf("sensebus-broker %s\n", SENSEBUS_VERSION);
        return SETTINGS_DONE;
    }
    if (read_all(s, argc, argv, err, err_len))
        return SETTINGS_WRONG;
    if (s->check_config) {
        if (try_out(s, err, err_len))
            return SETTINGS_WRONG;
        puts("ok");
        return SETTINGS_DONE;
    }
    log_parse_level(s->log_level, &level); /* a word of the table */
    log_set_level(level);
    return SETTINGS_RUN;
}

void settings_deinit(struct settings *s)
{
    access_deinit(&s->access);
    config_deinit(&s->config);
}

struct broker_options settings_broker_options(const struct settings *s)
{
    struct broker_options o = {
        .data_directory = s->data,
        .insecure = s->insecure,
        .tls = s->tls,
        .access = &s->access,
        .adapter_limits = s->config.adapter_limits,
        .sdi_limits = s->config.sdi_limits,
        .reader_limits = s->config.events_limits,
        .relaxed = strcmp(s->durability, "relaxed") == 0,
        .map_bytes = s->log_max_bytes,
        .retention =
            {
                .max_bytes = s->retain_bytes == NOT_GIVEN ? s->log_max_bytes / 4 * 3 : s->retain_bytes,
                .max_age_ns = s->retain_age_ms * 1000000,
                .max_records = s->retain_records,
            },
        .checkpoint_ms = (uint32_t)s->checkpoint_ms,
        .agent_grace_ms = (uint32_t)s->agent_grace_ms,
        .heartbeat_ms = (uint32_t)s->heartbeat_ms,
        .drain_grace_ms = (uint32_t)s->drain_grace_ms,
    };

    bool from_file = s->listen.n == 0;
    size_t n = from_file ? s->config.n_listen : s->listen.n;
    for (size_t i = 0; i < n && i < BROKER_MAX_LISTENS; i++)
        o.listen[o.n_listen++] = from_file ? s->config.listen[i] : s->listen.items[i];
    if (n == 0)
        o.listen[o.n_listen++] = DEFAULT_LISTEN;
    return o;
}
