/* SPDX-License-Identifier: Apache-2.0 */
/* sensebus-broker: settings, signals, and the broker's life between them. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "broker/service/broker.h"
#include "broker/settings.h"
#include "runtime/log.h"
#include "runtime/notify.h"
#include "runtime/standard_files.h"
#include "runtime/tls_renewal.h"

#define EXIT_USAGE 2
/* Every subscription may have a connection of its own, and there is room for agents and operators beside them. */
#define MAX_CONNECTIONS (EVENTS_MAX_SUBSCRIPTIONS + 6384u)
#define FILES_BESIDE    64u /* of the log, the listeners, the loop; one more connection is taken to be closed */

/* ------------------------------------------------------------------------------------------------ telling others */

/* What stands before the address in --listen and --broker. */
static const char *scheme_of(const struct broker *b, size_t i)
{
    return grpc_server_address_is_tls(b->server, i) ? "tls://" : "";
}

/* Readers see the whole file or none: it is written beside and renamed. Returns 0 or a negative errno. */
static int write_port_file(const char *path, const struct broker *b)
{
    const char *address;
    char temporary[4096];
    bool ok = true;

    if (snprintf(temporary, sizeof temporary, "%s.new", path) >= (int)sizeof temporary)
        return UV_ENAMETOOLONG;
    FILE *file = fopen(temporary, "we");
    if (!file)
        return -errno;
    for (size_t i = 0; (address = grpc_server_address(b->server, i)); i++)
        ok = fprintf(file, "%s%s\n", scheme_of(b, i), address) > 0 && ok;
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
    struct settings settings;
    uv_loop_t loop;
    uv_signal_t term, interrupt;
    struct tls_renewal renewal; /* by SIGHUP */
};

static void on_closed(void *data)
{
    struct process *p = data;

    uv_close((uv_handle_t *)&p->term, NULL);
    uv_close((uv_handle_t *)&p->interrupt, NULL);
    tls_renewal_close(&p->renewal);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct process *p = handle->data;

    log_info("broker.signal", "name=%s", number == SIGTERM ? "SIGTERM" : "SIGINT");
    notify_manager("STOPPING=1");
    tls_renewal_stop(&p->renewal);
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

/* Every connection is a file. The soft limit is often 1,024, for programs that use select(). */
static rlim_t raise_file_limit(void)
{
    const rlim_t wanted = MAX_CONNECTIONS + FILES_BESIDE;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return wanted; /* cannot happen */
    rlim_t had = limit.rlim_cur;
    if (had >= wanted)
        return wanted;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : had;
}

/* As many as there can be files: a connection that cannot be accepted would neither be counted nor told why. */
static uint32_t max_connections(void)
{
    rlim_t files = raise_file_limit();
    rlim_t n = files > 2 * FILES_BESIDE ? files - FILES_BESIDE : files / 2;

    if (n < MAX_CONNECTIONS)
        log_warn("broker.few_files", "files=%llu connections=%llu wanted=%u reason=\"the limit of open files\"",
                 (unsigned long long)files, (unsigned long long)n, MAX_CONNECTIONS);
    return n > 0 ? (uint32_t)n : 1;
}

static int run(struct process *p)
{
    const struct settings *s = &p->settings;
    struct broker_options options = settings_broker_options(s);
    const char *address;
    char err[512];
    int status = EXIT_SUCCESS;

    options.max_connections = max_connections();
    int rc = tls_renewal_init(&p->renewal, &p->loop);
    if (rc) {
        fprintf(stderr, "sensebus-broker: cannot listen to signals: %s\n", uv_strerror(rc));
        uv_run(&p->loop, UV_RUN_DEFAULT);
        return EXIT_FAILURE;
    }
    watch_signals(p);
    rc = broker_start(&p->broker, &p->loop, &options, err, sizeof err);
    if (rc) {
        fprintf(stderr, "sensebus-broker: %s\n", err);
        on_closed(p);
        uv_run(&p->loop, UV_RUN_DEFAULT);
        return EXIT_FAILURE;
    }
    for (size_t i = 0; (address = grpc_server_address(p->broker.server, i)); i++)
        log_info("broker.listening", "address=%s%s", scheme_of(&p->broker, i), address);
    if (options.access->n_rules == 0)
        log_warn("access.nobody", "reason=\"no rule gives anybody a role, so nobody may do anything: give roles with "
                                  "principals or plaintext.roles in the configuration, or --plaintext-roles\"");
    tls_renewal_start(&p->renewal, p->broker.tls);
    log_info("broker.started", "version=%s data=%s durability=%s epoch=%016llx oldest=%llu newest=%llu",
             SENSEBUS_VERSION, options.data_directory, s->durability, (unsigned long long)p->broker.journal.epoch,
             (unsigned long long)p->broker.journal.oldest, (unsigned long long)p->broker.journal.newest);
    if (s->port_file && (rc = write_port_file(s->port_file, &p->broker))) {
        log_error("broker.port_file", "file=%s reason=\"%s\"", s->port_file, uv_strerror(rc));
        status = EXIT_FAILURE;
        tls_renewal_stop(&p->renewal);
        broker_stop(&p->broker, on_closed, p);
    } else {
        notify_manager("READY=1");
    }
    uv_run(&p->loop, UV_RUN_DEFAULT);
    if (s->port_file)
        unlink(s->port_file);
    log_info("broker.stopped", "%s", "");
    return status;
}

int main(int argc, char **argv)
{
    static struct process process;
    char err[1024] = "";
    int rc;

    standard_files_ensure();
    switch (settings_read(&process.settings, argc, argv, err, sizeof err)) {
    case SETTINGS_RUN: break;
    case SETTINGS_DONE: settings_deinit(&process.settings); return EXIT_SUCCESS;
    case SETTINGS_WRONG:
        fprintf(stderr, "sensebus-broker: %s\n", err);
        settings_deinit(&process.settings);
        return EXIT_USAGE;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not become longer is a full disk */
    signal(SIGHUP, SIG_IGN);  /* until it is answered */
    rc = uv_loop_init(&process.loop);
    if (rc) {
        fprintf(stderr, "sensebus-broker: %s\n", uv_strerror(rc));
        settings_deinit(&process.settings);
        return EXIT_FAILURE;
    }
    int status = run(&process);
    uv_loop_close(&process.loop);
    uv_library_shutdown();
    settings_deinit(&process.settings);
    return status;
}
