/* SPDX-License-Identifier: Apache-2.0 */
/* sensebus-target: an iSCSI target that does what a test wants.
 *
 * Without operands it serves; with operands it tells a target that serves, over its control socket. SIGTERM or SIGINT,
 * or the end of a scenario with --exit: everything is closed, exit 0; a scenario that failed: exit 1. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/chap.h"
#include "runtime/log.h"
#include "runtime/options.h"
#include "tests/target/control.h"
#include "tests/target/runner.h"
#include "tests/target/scenario.h"
#include "tests/target/service.h"

#define USAGE                                                                                                          \
    "usage: sensebus-target [OPTION...]                 serve\n"                                                       \
    "       sensebus-target --control PATH VERB...      tell the target that serves there\n"                           \
    "\n"                                                                                                               \
    "Exit codes: 0 ended as asked, 1 a line of the scenario failed or the verb was refused,\n"                         \
    "2 cannot serve as told, nobody serves at PATH, or that is no verb."
#define SCENARIO_MAX_BYTES (1024 * 1024)

struct settings {
    const char *listen, *name, *control, *grpc, *scenario, *chap;
    uint64_t n_units, n_blocks, memory_bytes;
    bool leave, verbs, insecure;
};

struct program {
    uv_loop_t loop;
    struct settings settings;
    struct chap_list chap;
    struct server server;
    struct control control;
    struct service service;
    struct scenario scenario;
    struct runner runner;
    size_t step;
    uv_signal_t term, interrupt;
    bool stopping;
    int exit_status;
};

/* ------------------------------------------------------------------------------------------------ the end */

static void on_server_closed(void *data)
{
    (void)data;
}

static void program_stop(struct program *p, int exit_status)
{
    if (p->stopping)
        return;
    p->stopping = true;
    p->exit_status = exit_status;
    control_close(&p->control);
    server_close(&p->server, on_server_closed, p); /* those who watch hear of it */
    service_close(&p->service);
    runner_close(&p->runner, NULL);
    uv_close((uv_handle_t *)&p->term, NULL);
    uv_close((uv_handle_t *)&p->interrupt, NULL);
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    program_stop(handle->data, 0);
}

/* ------------------------------------------------------------------------------------------------ the scenario */

static void scenario_next(struct program *p)
{
    const struct scenario_step *step;

    if (p->step < p->scenario.n) {
        step = &p->scenario.steps[p->step];
        runner_start(&p->runner, &step->verb, step->after_ms);
    } else if (p->settings.scenario) {
        printf("scenario done\n");
        fflush(stdout);
        if (p->settings.leave)
            program_stop(p, 0);
    }
}

static void on_step_done(struct runner *r, enum orders_result result)
{
    struct program *p = r->data;

    if (result != ORDERS_DONE) {
        log_error("scenario.failed", "line=%d why=\"%s\"", p->scenario.steps[p->step].line, r->answer.text);
        program_stop(p, 1);
        return;
    }
    p->step++;
    scenario_next(p);
}

static int load_scenario(struct program *p, char *err, size_t err_len)
{
    FILE *file = fopen(p->settings.scenario, "rb");
    char *text = file ? malloc(SCENARIO_MAX_BYTES + 1) : NULL, why[200] = "it cannot be read";
    size_t n = text ? fread(text, 1, SCENARIO_MAX_BYTES + 1, file) : 0;
    int rc = text && !ferror(file) ? 0 : UV_EIO;

    if (rc == 0 && n > SCENARIO_MAX_BYTES) {
        snprintf(why, sizeof(why), "longer than %d bytes", SCENARIO_MAX_BYTES);
        rc = UV_EFBIG;
    }
    if (rc == 0)
        rc = scenario_parse(&p->scenario, text, n, why, sizeof(why));
    if (rc < 0)
        snprintf(err, err_len, "%.200s: %s", p->settings.scenario, why);
    if (file)
        fclose(file);
    free(text);
    return rc;
}

/* ------------------------------------------------------------------------------------------------ the beginning */

static enum options_result parse_settings(struct settings *s, int argc, char **argv, int *out_n_operands, char *err,
                                          size_t err_len)
{
    const struct option options[] = {
        {"listen", 0, OPTION_STRING, &s->listen, "HOST:PORT", NULL, 0, 0,
         "where to listen; port 0 takes a free one (127.0.0.1:3260)"},
        {"name", 0, OPTION_STRING, &s->name, "NAME", NULL, 0, 0,
         "name of the target (iqn.2026-01.org.sensebus:target)"},
        {"units", 0, OPTION_UINT, &s->n_units, "N", NULL, 0, DEVICE_MAX_UNITS, "logical units 0 to N-1 (1)"},
        {"blocks", 0, OPTION_UINT, &s->n_blocks, "N", NULL, 1, UNIT_MAX_BLOCKS,
         "size of each in blocks of 512 bytes (131072)"},
        {"memory", 0, OPTION_SIZE, &s->memory_bytes, "BYTES", NULL, 0, 0,
         "what all units together keep of what is written (256M)"},
        {"chap", 0, OPTION_STRING, &s->chap, "FILE", NULL, 0, 0,
         "who may log in: a line \"TARGET USER SECRET [OWN-USER OWN-SECRET]\", TARGET a name or *"},
        {"control", 0, OPTION_STRING, &s->control, "PATH", "SENSEBUS_TARGET_CONTROL", 0, 0, "Unix socket for verbs"},
        {"grpc", 0, OPTION_STRING, &s->grpc, "ADDRESS", NULL, 0, 0,
         "HOST:PORT or unix:PATH for orders by gRPC; port 0 takes a free one"},
        {"insecure", 0, OPTION_FLAG, &s->insecure, NULL, NULL, 0, 0,
         "let --grpc listen beyond this host: whoever reaches it gives orders"},
        {"scenario", 0, OPTION_STRING, &s->scenario, "FILE", NULL, 0, 0, "verbs to run, with their times"},
        {"exit", 0, OPTION_FLAG, &s->leave, NULL, NULL, 0, 0, "end when the scenario is done"},
        {"verbs", 0, OPTION_FLAG, &s->verbs, NULL, NULL, 0, 0, "list the verbs"},
    };
    const size_t n = sizeof(options) / sizeof(options[0]);
    enum options_result result = options_parse(options, n, argc, argv, out_n_operands, err, err_len);

    if (result == OPTIONS_HELP)
        options_print_help(stdout, USAGE, options, n);
    return result;
}

/* "HOST:PORT", "[HOST]:PORT" with numbers. */
static int parse_address(const char *text, struct sockaddr_storage *out)
{
    const char *colon = strrchr(text, ':');
    size_t host_len = colon ? (size_t)(colon - text) : 0;
    char host[64];
    uint64_t port;

    if (!colon || options_uint(colon + 1, &port) < 0 || port > UINT16_MAX)
        return UV_EINVAL;
    if (host_len >= 2 && text[0] == '[' && colon[-1] == ']') {
        snprintf(host, sizeof(host), "%.*s", (int)host_len - 2, text + 1);
        return uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)out);
    }
    if (host_len >= sizeof(host))
        return UV_EINVAL;
    snprintf(host, sizeof(host), "%.*s", (int)host_len, text);
    return uv_ip4_addr(host, (int)port, (struct sockaddr_in *)out);
}

static int make_server(struct program *p, char *err, size_t err_len)
{
    struct server_options options = {.name = p->settings.name, .memory_bytes = p->settings.memory_bytes};
    const struct chap *chap = NULL;
    int rc = 0;

    if (p->settings.chap) {
        rc = chap_list_load(&p->chap, p->settings.chap, err, err_len);
        chap = rc == 0 ? chap_list_find(&p->chap, p->settings.name) : NULL;
        if (rc == 0 && !chap) {
            snprintf(err, err_len, "%.200s: no line for %.223s, and none for *", p->settings.chap, p->settings.name);
            rc = UV_EINVAL;
        }
    }
    if (rc < 0)
        return rc;
    if (chap) {
        options.user = chap->user;
        options.secret = chap->secret;
        options.own_user = chap->mutual_user;
        options.own_secret = chap->mutual_secret;
    }
    rc = server_init(&p->server, &p->loop, &options);
    for (uint64_t i = 0; i < p->settings.n_units && rc == 0; i++)
        rc = device_add_unit(&p->server.device, i, p->settings.n_blocks, 512);
    if (rc < 0)
        snprintf(err, err_len, "%.223s: %s", p->settings.name, uv_strerror(rc));
    return rc;
}

static int open_sockets(struct program *p, char *err, size_t err_len)
{
    struct sockaddr_storage address = {0};
    char why[300] = "";
    int rc = parse_address(p->settings.listen, &address);

    if (rc == 0)
        rc = server_listen(&p->server, (const struct sockaddr *)&address);
    if (rc < 0) {
        snprintf(err, err_len, "--listen %.200s: %s", p->settings.listen, uv_strerror(rc));
        return rc;
    }
    if (p->settings.control)
        rc = control_open(&p->control, &p->server, p->settings.control);
    if (rc < 0)
        snprintf(err, err_len, "--control %.200s: %s", p->settings.control, uv_strerror(rc));
    if (rc < 0 || !p->settings.grpc)
        return rc;
    rc = service_open(&p->service, &p->server, p->settings.grpc, p->settings.insecure, why, sizeof(why));
    if (rc < 0)
        snprintf(err, err_len, "--grpc: %s", why);
    return rc;
}

static void serve(struct program *p)
{
    char address[SESSION_PORTAL_BYTES];

    uv_signal_init(&p->loop, &p->term);
    uv_signal_init(&p->loop, &p->interrupt);
    p->term.data = p->interrupt.data = p;
    uv_signal_start(&p->term, on_signal, SIGTERM);
    uv_signal_start(&p->interrupt, on_signal, SIGINT);
    runner_init(&p->runner, &p->server, on_step_done, p);
    server_address(&p->server, address, sizeof(address));
    printf("listening %s %s\n", address, p->settings.name);
    if (p->settings.grpc)
        printf("grpc %s\n", service_address(&p->service));
    fflush(stdout);
    scenario_next(p);
    uv_run(&p->loop, UV_RUN_DEFAULT);
}

static int tell(const struct settings *s, int n, char **words)
{
    char line[VERB_MAX_BYTES], err[200];
    struct verb verb;
    size_t len = 0;
    int rc;

    if (!s->control) {
        fprintf(stderr, "sensebus-target: unexpected argument \"%.80s\" (verbs need --control)\n", words[0]);
        return 2;
    }
    for (int i = 0; i < n && len < sizeof(line); i++)
        len += (size_t)snprintf(line + len, sizeof(line) - len, "%s%s", i ? " " : "", words[i]);
    rc = len < sizeof(line) && !strchr(line, '\n') ? verb_parse(line, &verb, err, sizeof(err)) : UV_EINVAL;
    if (len >= sizeof(line) || strchr(line, '\n'))
        snprintf(err, sizeof(err), "the verb must be one line of at most %d bytes", VERB_MAX_BYTES - 1);
    if (rc < 0) {
        fprintf(stderr, "sensebus-target: %s\n", rc == UV_ENOENT ? "a verb is missing" : err);
        return 2;
    }
    return control_tell(s->control, line);
}

static int run(struct program *p)
{
    char err[600] = "";
    int rc = uv_loop_init(&p->loop);

    if (rc < 0) {
        fprintf(stderr, "sensebus-target: %s\n", uv_strerror(rc));
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    rc = p->settings.scenario ? load_scenario(p, err, sizeof(err)) : 0;
    if (rc == 0)
        rc = make_server(p, err, sizeof(err));
    if (rc == 0)
        rc = open_sockets(p, err, sizeof(err));
    if (rc == 0) {
        serve(p);
    } else {
        fprintf(stderr, "sensebus-target: %s\n", err);
        p->exit_status = 2;
        control_close(&p->control);
        service_close(&p->service);
        if (p->server.listening)
            server_close(&p->server, on_server_closed, p);
        uv_run(&p->loop, UV_RUN_DEFAULT);
    }
    server_deinit(&p->server);
    scenario_free(&p->scenario);
    chap_list_free(&p->chap);
    uv_loop_close(&p->loop);
    return p->exit_status;
}

int main(int argc, char **argv)
{
    static struct program program;
    struct settings *s = &program.settings;
    char err[300];
    int n_operands;

    *s = (struct settings){.listen = "127.0.0.1:3260",
                           .name = "iqn.2026-01.org.sensebus:target",
                           .n_units = 1,
                           .n_blocks = 131072,
                           .memory_bytes = 256 << 20};
    switch (parse_settings(s, argc, argv, &n_operands, err, sizeof(err))) {
    case OPTIONS_HELP: return 0;
    case OPTIONS_ERROR: fprintf(stderr, "sensebus-target: %s\n", err); return 2;
    case OPTIONS_OK: break;
    }
    if (s->verbs) {
        fputs(verb_help(), stdout);
        return 0;
    }
    return n_operands > 0 ? tell(s, n_operands, argv + 1) : run(&program);
}
