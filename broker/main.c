/* SPDX-License-Identifier: Apache-2.0 */
/* sensebus-broker: options, signals, and the broker's life between them. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "broker/core/access.h"
#include "broker/service/broker.h"
#include "runtime/log.h"
#include "runtime/notify.h"
#include "runtime/options.h"

#define DEFAULT_LISTEN        "127.0.0.1:7070"
#define DEFAULT_DATA          "/var/lib/sensebus/broker"
#define DEFAULT_LOG_MAX_BYTES ((uint64_t)8 << 30)
#define NOT_GIVEN             UINT64_MAX

static const char usage[] = "usage: sensebus-broker [OPTION]...\n"
                            "\n"
                            "Keeps the log of SCSI events: takes them in from agents, and streams them to\n"
                            "subscribers over gRPC.";

struct arguments {
    struct option_list listen, plaintext_hosts;
    const char *data, *durability, *log_level, *port_file, *plaintext_roles;
    bool insecure, version;
    uint64_t log_max_bytes, retain_bytes, retain_age_ms, retain_records;
    uint64_t agent_grace_ms, heartbeat_ms, drain_grace_ms;
};

/* ------------------------------------------------------------------------------------------------ options */

/* Returns 0; 1 when the program is done (help, version); 2 when the usage was wrong. */
static int parse(struct arguments *a, int argc, char **argv)
{
    *a = (struct arguments){
        .data = DEFAULT_DATA,
        .durability = "sync",
        .log_level = "info",
        .log_max_bytes = DEFAULT_LOG_MAX_BYTES,
        .retain_bytes = NOT_GIVEN,
        .agent_grace_ms = 30000,
        .heartbeat_ms = 5000,
        .drain_grace_ms = 10000,
    };
    const struct option options[] = {
        {"listen", 'l', OPTION_LIST, &a->listen, "ADDRESS", "SENSEBUS_LISTEN", 0, 0,
         "HOST:PORT, [IPV6]:PORT or unix:PATH; may be given several times (127.0.0.1:7070)"},
        {"insecure", 0, OPTION_FLAG, &a->insecure, NULL, NULL, 0, 0, "allow plaintext on addresses beyond loopback"},
        {"plaintext-roles", 0, OPTION_STRING, &a->plaintext_roles, "ROLES", "SENSEBUS_PLAINTEXT_ROLES", 0, 0,
         "what whoever connects without TLS may do: \"all\", or some of agent,reader,kernel,dev-config,operator "
         "(nothing)"},
        {"plaintext-hosts", 0, OPTION_LIST, &a->plaintext_hosts, "HOST", NULL, 0, 0,
         "which hosts a plaintext agent may speak for, '*' and '?' allowed; may be given several times (*)"},
        {"data", 'd', OPTION_STRING, &a->data, "DIRECTORY", "SENSEBUS_DATA", 0, 0,
         "where the log is kept (" DEFAULT_DATA ")"},
        {"durability", 0, OPTION_STRING, &a->durability, "sync|relaxed", NULL, 0, 0,
         "sync: acknowledged records are on disk (default)\n"
         "relaxed: a crash of the machine, not of the broker, may lose the newest"},
        {"log-max-bytes", 0, OPTION_SIZE, &a->log_max_bytes, "SIZE", NULL, 1 << 20, (uint64_t)1 << 46,
         "upper bound of the log's file (8G)"},
        {"retain-bytes", 0, OPTION_SIZE, &a->retain_bytes, "SIZE", NULL, 0, 0,
         "keep at most this much of the log, 0 = all (three quarters of --log-max-bytes)"},
        {"retain-age", 0, OPTION_DURATION, &a->retain_age_ms, "TIME", NULL, 0, 0,
         "keep records at most this long, 0 = for ever (0)"},
        {"retain-records", 0, OPTION_UINT, &a->retain_records, "N", NULL, 0, 0,
         "keep at most this many records, 0 = all (0)"},
        {"agent-grace", 0, OPTION_DURATION, &a->agent_grace_ms, "TIME", NULL, 0, 86400000,
         "after a start, how long agents that were attached before may take to come back (30s)"},
        {"agent-heartbeat", 0, OPTION_DURATION, &a->heartbeat_ms, "TIME", NULL, 100, 3600000,
         "how often agents give a sign of life; silent for three of them is lost (5s)"},
        {"drain-grace", 0, OPTION_DURATION, &a->drain_grace_ms, "TIME", NULL, 0, 3600000,
         "at a stop, how long streams may take to end (10s)"},
        {"port-file", 0, OPTION_STRING, &a->port_file, "FILE", NULL, 0, 0,
         "write the addresses listened on to FILE, one a line, once they are open"},
        {"log-level", 0, OPTION_STRING, &a->log_level, "debug|info|warn|error", "SENSEBUS_LOG_LEVEL", 0, 0,
         "what to write to standard error (info)"},
        {"version", 'V', OPTION_FLAG, &a->version, NULL, NULL, 0, 0, "print the version and exit"},
    };
    const size_t n_options = sizeof options / sizeof *options;
    enum log_level level;
    char err[256] = "";
    int n_operands = 0;

    enum options_result result = options_parse(options, n_options, argc, argv, &n_operands, err, sizeof err);
    if (result == OPTIONS_HELP) {
        options_print_help(stdout, usage, options, n_options);
        return 1;
    }
    if (result == OPTIONS_OK && a->version) {
        printf("sensebus-broker %s\n", SENSEBUS_VERSION);
        return 1;
    }
    if (result == OPTIONS_OK) {
        if (n_operands > 0)
            snprintf(err, sizeof err, "%s: takes no arguments but options", argv[1]);
        else if (strcmp(a->durability, "sync") != 0 && strcmp(a->durability, "relaxed") != 0)
            snprintf(err, sizeof err, "--durability: \"%s\" is neither sync nor relaxed", a->durability);
        else if (log_parse_level(a->log_level, &level))
            snprintf(err, sizeof err, "--log-level: \"%s\" is none of debug, info, warn, error", a->log_level);
        else if (a->listen.n > BROKER_MAX_LISTENS)
            snprintf(err, sizeof err, "--listen: given %zu times, at most %d", a->listen.n, BROKER_MAX_LISTENS);
        else
            log_set_level(level);
    }
    if (!err[0])
        return 0;
    fprintf(stderr, "sensebus-broker: %s\n", err);
    return 2;
}

/* What --plaintext-roles and --plaintext-hosts say, as a rule. Returns 0, or a negative errno with `err`. */
static int add_plaintext(struct access *access, const struct arguments *a, char *err, size_t err_len)
{
    char *any[] = {"*"}, *hosts[OPTION_LIST_MAX], reason[256];
    struct access_rule rule = {.identity = "plaintext"};

    if (!a->plaintext_roles)
        return 0;
    int rc = access_parse_roles(a->plaintext_roles, &rule.roles, reason, sizeof reason);
    for (size_t i = 0; i < a->plaintext_hosts.n; i++)
        hosts[i] = (char *)a->plaintext_hosts.items[i];
    rule.n_hosts = a->plaintext_hosts.n;
    rule.hosts = hosts;
    if (rule.n_hosts == 0 && (rule.roles & ACCESS_AGENT)) {
        rule.n_hosts = 1;
        rule.hosts = any;
    }
    if (!rc)
        rc = access_add(access, &rule, reason, sizeof reason);
    if (rc)
        snprintf(err, err_len, "--plaintext-roles: %s", reason);
    return rc;
}

static struct broker_options broker_options(const struct arguments *a, const struct access *access)
{
    struct broker_options o = {
        .access = access,
        .data_directory = a->data,
        .insecure = a->insecure,
        .relaxed = strcmp(a->durability, "relaxed") == 0,
        .map_bytes = a->log_max_bytes,
        .retention =
            {
                .max_bytes = a->retain_bytes == NOT_GIVEN ? a->log_max_bytes / 4 * 3 : a->retain_bytes,
                .max_age_ns = a->retain_age_ms * 1000000,
                .max_records = a->retain_records,
            },
        .agent_grace_ms = (uint32_t)a->agent_grace_ms,
        .heartbeat_ms = (uint32_t)a->heartbeat_ms,
        .drain_grace_ms = (uint32_t)a->drain_grace_ms,
    };

    for (size_t i = 0; i < a->listen.n; i++)
        o.listen[o.n_listen++] = a->listen.items[i];
    if (o.n_listen == 0)
        o.listen[o.n_listen++] = DEFAULT_LISTEN;
    return o;
}

/* ------------------------------------------------------------------------------------------------ telling others */

/* Readers see the whole file or none: it is written beside and renamed. Returns 0 or a negative errno. */
static int write_port_file(const char *path, const struct broker *b)
{
    char temporary[4096];
    bool ok = true;

    if (snprintf(temporary, sizeof temporary, "%s.new", path) >= (int)sizeof temporary)
        return UV_ENAMETOOLONG;
    FILE *file = fopen(temporary, "we");
    if (!file)
        return -errno;
    for (size_t i = 0; i < b->options.n_listen; i++)
        ok = fprintf(file, "%s\n", grpc_server_address(b->server, i)) > 0 && ok;
    ok = fclose(file) == 0 && ok;
    if (!ok || rename(temporary, path) != 0) {
        int rc = errno ? -errno : UV_EIO;
        unlink(temporary);
        return rc;
    }
    return 0;
}

/* ------------------------------------------------------------------------------------------------ life */

struct process {
    struct broker broker;
    struct access access;
    uv_loop_t loop;
    uv_signal_t term, interrupt;
    const char *port_file;
};

static void on_closed(void *data)
{
    struct process *p = data;

    uv_close((uv_handle_t *)&p->term, NULL);
    uv_close((uv_handle_t *)&p->interrupt, NULL);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct process *p = handle->data;

    log_info("broker.signal", "name=%s", number == SIGTERM ? "SIGTERM" : "SIGINT");
    notify_manager("STOPPING=1");
    broker_stop(&p->broker, on_closed, p);
}

static void watch_signals(struct process *p)
{
    uv_signal_init(&p->loop, &p->term);
    uv_signal_init(&p->loop, &p->interrupt);
    p->term.data = p->interrupt.data = p;
    uv_signal_start(&p->term, on_signal, SIGTERM);
    uv_signal_start(&p->interrupt, on_signal, SIGINT);
}

static int run(struct process *p, const struct arguments *a)
{
    struct broker_options options = broker_options(a, &p->access);
    char err[512];
    int status = EXIT_SUCCESS;

    watch_signals(p);
    int rc = broker_start(&p->broker, &p->loop, &options, err, sizeof err);
    if (rc) {
        fprintf(stderr, "sensebus-broker: %s\n", err);
        on_closed(p);
        uv_run(&p->loop, UV_RUN_DEFAULT);
        return EXIT_FAILURE;
    }
    for (size_t i = 0; i < options.n_listen; i++)
        log_info("broker.listening", "address=%s", grpc_server_address(p->broker.server, i));
    log_info("broker.started", "version=%s data=%s durability=%s epoch=%016llx oldest=%llu newest=%llu",
             SENSEBUS_VERSION, options.data_directory, a->durability, (unsigned long long)p->broker.journal.epoch,
             (unsigned long long)p->broker.journal.oldest, (unsigned long long)p->broker.journal.newest);
    if (a->port_file && (rc = write_port_file(a->port_file, &p->broker))) {
        log_error("broker.port_file", "file=%s reason=\"%s\"", a->port_file, uv_strerror(rc));
        status = EXIT_FAILURE;
        broker_stop(&p->broker, on_closed, p);
    } else {
        notify_manager("READY=1");
    }
    uv_run(&p->loop, UV_RUN_DEFAULT);
    if (a->port_file)
        unlink(a->port_file);
    log_info("broker.stopped", "%s", "");
    return status;
}

int main(int argc, char **argv)
{
    static struct process process;
    struct arguments arguments;
    char err[256];
    int rc = parse(&arguments, argc, argv);

    if (rc)
        return rc == 1 ? EXIT_SUCCESS : rc;
    signal(SIGPIPE, SIG_IGN);
    rc = uv_loop_init(&process.loop);
    if (rc) {
        fprintf(stderr, "sensebus-broker: %s\n", uv_strerror(rc));
        return EXIT_FAILURE;
    }
    if (add_plaintext(&process.access, &arguments, err, sizeof err)) {
        fprintf(stderr, "sensebus-broker: %s\n", err);
        return 2;
    }
    int status = run(&process, &arguments);
    access_deinit(&process.access);
    uv_loop_close(&process.loop);
    uv_library_shutdown();
    return status;
}
