/* SPDX-License-Identifier: Apache-2.0 */
/* The server that stock clients are tried on: echo.proto, health and reflection on sensebus_grpc.
 *
 * echo_server [--address A] [--LIMIT N]…: prints "listening ADDRESS", serves until SIGTERM or a Drain call, drains, and
 * exits 0. LIMIT is a member of struct grpc_limits with dashes. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "echo.pb-c.h"
#include "proto/grpc/grpc.h"
#include "runtime/tls.h"
#include "tests/interop/echo_descriptors.h"

typedef Sensebus__Test__SayRequest Request;
typedef Sensebus__Test__SayReply Reply;

enum { MAX_PADDING = 8 << 20, DRAIN_GRACE_MS = 2000 };

static struct {
    uv_loop_t loop;
    struct grpc_server *server;
    struct grpc_health *health;
    struct grpc_reflection *reflection;
    uv_signal_t sigterm;
} app;

/* ------------------------------------------------------------------------------------------------ replies */

static int send_reply(struct grpc_call *call, const char *text, uint32_t number, uint32_t padding)
{
    Reply reply = SENSEBUS__TEST__SAY_REPLY__INIT;
    const char *metadata = grpc_call_metadata(call, "x-test");
    reply.text = (char *)text;
    reply.number = number;
    reply.metadata = (char *)(metadata ? metadata : "");
    reply.padding.len = padding < MAX_PADDING ? padding : MAX_PADDING;
    reply.padding.data = calloc(1, reply.padding.len + 1);
    struct chunk *chunk = chunk_new(sensebus__test__say_reply__get_packed_size(&reply));
    if (!reply.padding.data || !chunk)
        abort();
    chunk->len = sensebus__test__say_reply__pack(&reply, chunk->bytes);
    free(reply.padding.data);
    struct slice part = {.owner = chunk, .ptr = chunk->bytes, .len = chunk->len};
    int rc = grpc_call_send(call, &part, 1);
    chunk_unref(chunk);
    return rc;
}

static void finish_as_asked(struct grpc_call *call, const Request *request)
{
    grpc_call_finish(call, request->status <= GRPC_UNAUTHENTICATED ? (int)request->status : GRPC_UNKNOWN, "%s",
                     request->message);
}

/* What the client sent as x-echo-… comes back at the beginning and at the end of the answer. */
static void echo_metadata(struct grpc_call *call)
{
    static const char *const at_start[] = {"x-echo-initial", "x-echo-initial-bin"};
    static const char *const at_end[] = {"x-echo-trailing", "x-echo-trailing-bin"};
    for (size_t i = 0; i < 2; i++) {
        const char *initial = grpc_call_metadata(call, at_start[i]);
        const char *trailing = grpc_call_metadata(call, at_end[i]);
        if ((initial && grpc_call_set_initial(call, at_start[i], initial) != 0) ||
            (trailing && grpc_call_set_trailing(call, at_end[i], trailing) != 0))
            abort();
    }
}

/* ------------------------------------------------------------------------------------------------ Say
 * Answers at once, or after sleep_ms: then the call may be gone before. */

struct sleeper {
    uv_timer_t timer;
    struct grpc_call *call;
    Request *request;
};

static void answer(struct grpc_call *call, const Request *request)
{
    if (request->status == 0)
        send_reply(call, request->text, 1, request->reply_bytes);
    finish_as_asked(call, request);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct sleeper *s = handle->data;
    sensebus__test__say_request__free_unpacked(s->request, NULL);
    free(s);
}

static void on_timer(uv_timer_t *timer)
{
    struct sleeper *s = timer->data;
    answer(s->call, s->request);
}

static void on_sleeper_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    (void)call;
    (void)data;
    (void)bytes;
    (void)len;
}

static void on_sleeper_close(struct grpc_call *call, void *data, int status, const char *message)
{
    struct sleeper *s = data;
    (void)call;
    (void)status;
    (void)message;
    uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}

static const struct grpc_call_ops sleeper_ops = {.on_message = on_sleeper_message, .on_close = on_sleeper_close};

static void handle_say(struct grpc_call *call, void *service, const uint8_t *bytes, size_t len)
{
    Request *request = sensebus__test__say_request__unpack(NULL, len, bytes);
    (void)service;
    if (!request) {
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "not a SayRequest");
        return;
    }
    if (request->sleep_ms == 0) {
        answer(call, request);
        sensebus__test__say_request__free_unpacked(request, NULL);
        return;
    }
    struct sleeper *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    s->call = call;
    s->request = request;
    uv_timer_init(&app.loop, &s->timer);
    s->timer.data = s;
    uv_timer_start(&s->timer, on_timer, request->sleep_ms, 0);
    grpc_call_accept(call, &sleeper_ops, s);
}

static void start_say(struct grpc_call *call, void *service)
{
    grpc_unary_accept(call, service, handle_say);
    echo_metadata(call);
}

/* ------------------------------------------------------------------------------------------------ streams */

struct stream {
    Request *request; /* Count */
    uint32_t n;
    uint64_t n_bytes;
};

static void count_on(struct grpc_call *call, struct stream *s)
{
    while (grpc_call_writable(call) && (s->request->repeat == 0 || s->n < s->request->repeat)) {
        if (send_reply(call, s->request->text, ++s->n, s->request->reply_bytes) != 0)
            return;
    }
    if (s->request->repeat > 0 && s->n >= s->request->repeat)
        finish_as_asked(call, s->request);
}

static void on_count_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct stream *s = data;
    if (s->request) {
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "more than one request message");
        return;
    }
    s->request = sensebus__test__say_request__unpack(NULL, len, bytes);
    if (s->request)
        count_on(call, s);
    else
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "not a SayRequest");
}

static void on_count_writable(struct grpc_call *call, void *data)
{
    struct stream *s = data;
    if (s->request)
        count_on(call, s);
}

static void on_collect_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct stream *s = data;
    (void)call;
    (void)bytes;
    s->n++;
    s->n_bytes += len;
}

static void on_collect_half_close(struct grpc_call *call, void *data)
{
    struct stream *s = data;
    char text[64];
    snprintf(text, sizeof text, "%u messages, %llu bytes", s->n, (unsigned long long)s->n_bytes);
    send_reply(call, text, s->n, 0);
    grpc_call_finish(call, GRPC_OK, NULL);
}

static void on_chat_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct stream *s = data;
    Request *request = sensebus__test__say_request__unpack(NULL, len, bytes);
    if (!request) {
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "not a SayRequest");
        return;
    }
    if (request->status != 0)
        finish_as_asked(call, request);
    else if (send_reply(call, request->text, ++s->n, request->reply_bytes) != 0)
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "more replies than the queue holds");
    sensebus__test__say_request__free_unpacked(request, NULL);
    if (!grpc_call_writable(call))
        grpc_call_pause(call);
}

static void on_chat_writable(struct grpc_call *call, void *data)
{
    (void)data;
    grpc_call_resume(call);
}

static void on_chat_half_close(struct grpc_call *call, void *data)
{
    (void)data;
    grpc_call_finish(call, GRPC_OK, NULL);
}

static void on_stream_close(struct grpc_call *call, void *data, int status, const char *message)
{
    struct stream *s = data;
    (void)call;
    (void)status;
    (void)message;
    if (s->request)
        sensebus__test__say_request__free_unpacked(s->request, NULL);
    free(s);
}

static const struct grpc_call_ops count_ops = {
    .on_message = on_count_message, .on_writable = on_count_writable, .on_close = on_stream_close};
static const struct grpc_call_ops collect_ops = {
    .on_message = on_collect_message, .on_half_close = on_collect_half_close, .on_close = on_stream_close};
static const struct grpc_call_ops chat_ops = {.on_message = on_chat_message,
                                              .on_half_close = on_chat_half_close,
                                              .on_writable = on_chat_writable,
                                              .on_close = on_stream_close};

static void start_stream(struct grpc_call *call, const struct grpc_call_ops *ops)
{
    struct stream *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    grpc_call_accept(call, ops, s);
    echo_metadata(call);
}

static void start_count(struct grpc_call *call, void *service)
{
    (void)service;
    start_stream(call, &count_ops);
}

static void start_collect(struct grpc_call *call, void *service)
{
    (void)service;
    start_stream(call, &collect_ops);
}

static void start_chat(struct grpc_call *call, void *service)
{
    (void)service;
    start_stream(call, &chat_ops);
}

/* ------------------------------------------------------------------------------------------------ the server itself */

static void on_closed(void *data)
{
    (void)data;
    grpc_health_free(app.health);
    grpc_reflection_free(app.reflection);
}

static void on_drained(void *data)
{
    (void)data;
    grpc_server_close(app.server, on_closed, NULL);
    uv_close((uv_handle_t *)&app.sigterm, NULL);
}

static void handle_get_counters(struct grpc_call *call, void *service, const uint8_t *bytes, size_t len)
{
    struct grpc_server_counters c;
    Sensebus__Test__CountersReply reply = SENSEBUS__TEST__COUNTERS_REPLY__INIT;
    uint8_t packed[128];
    (void)service;
    (void)bytes;
    (void)len;
    grpc_server_counters(app.server, &c);
    reply.calls_open = c.calls_open;
    reply.calls_started = c.calls_started;
    reply.flood_closures = c.flood_closures;
    reply.protocol_errors = c.protocol_errors;
    reply.oversize_messages = c.oversize_messages;
    reply.keepalive_timeouts = c.keepalive_timeouts;
    reply.connections_open = c.connections_open;
    reply.connections_refused = c.connections_refused;
    grpc_unary_reply(call, packed, sensebus__test__counters_reply__pack(&reply, packed));
}

static void handle_drain(struct grpc_call *call, void *service, const uint8_t *bytes, size_t len)
{
    Sensebus__Test__DrainRequest *request = sensebus__test__drain_request__unpack(NULL, len, bytes);
    uint32_t grace_ms = request ? request->grace_ms : 0;
    if (request)
        sensebus__test__drain_request__free_unpacked(request, NULL);
    handle_get_counters(call, service, NULL, 0);
    grpc_health_set(app.health, "", false);
    grpc_server_drain(app.server, grace_ms, on_drained, NULL);
}

static void start_get_counters(struct grpc_call *call, void *service)
{
    grpc_unary_accept(call, service, handle_get_counters);
}

static void start_drain(struct grpc_call *call, void *service)
{
    grpc_unary_accept(call, service, handle_drain);
}

static void on_sigterm(uv_signal_t *handle, int number)
{
    (void)handle;
    (void)number;
    grpc_server_drain(app.server, DRAIN_GRACE_MS, on_drained, NULL);
}

static const struct grpc_method methods[] = {
    {"/sensebus.test.Echo/Say", start_say},
    {"/sensebus.test.Echo/Count", start_count},
    {"/sensebus.test.Echo/Collect", start_collect},
    {"/sensebus.test.Echo/Chat", start_chat},
    {"/sensebus.test.Echo/GetCounters", start_get_counters},
    {"/sensebus.test.Echo/Drain", start_drain},
};
static const char *const services[] = {"sensebus.test.Echo", "grpc.health.v1.Health",
                                       "grpc.reflection.v1.ServerReflection",
                                       "grpc.reflection.v1alpha.ServerReflection"};

/* ------------------------------------------------------------------------------------------------ start */

static uint32_t number(const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*text == '\0' || *end != '\0' || value > UINT32_MAX) {
        fprintf(stderr, "echo_server: '%s' is not a number\n", text);
        exit(2);
    }
    return (uint32_t)value;
}

static const char *parse_options(int argc, char **argv, struct grpc_limits *limits, struct tls_files *tls)
{
    static const struct option options[] = {
        {"address", required_argument, NULL, 'a'},
        {"max-message-bytes", required_argument, NULL, 'm'},
        {"max-streams", required_argument, NULL, 's'},
        {"max-connections", required_argument, NULL, 'c'},
        {"keepalive-ms", required_argument, NULL, 'k'},
        {"keepalive-timeout-ms", required_argument, NULL, 't'},
        {"handshake-ms", required_argument, NULL, 'h'},
        {"reset-burst", required_argument, NULL, 'r'},
        {"reset-per-second", required_argument, NULL, 'R'},
        {"tls-certificate", required_argument, NULL, 'C'},
        {"tls-key", required_argument, NULL, 'K'},
        {"tls-authority", required_argument, NULL, 'A'},
        {0},
    };
    const char *address = "127.0.0.1:0";
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'a': address = optarg; break;
        case 'm': limits->max_message_bytes = number(optarg); break;
        case 's': limits->max_streams = number(optarg); break;
        case 'c': limits->max_connections = number(optarg); break;
        case 'k': limits->keepalive_ms = number(optarg); break;
        case 't': limits->keepalive_timeout_ms = number(optarg); break;
        case 'h': limits->handshake_ms = number(optarg); break;
        case 'r': limits->reset_burst = number(optarg); break;
        case 'R': limits->reset_per_second = number(optarg); break;
        case 'C': tls->certificate = optarg; break;
        case 'K': tls->key = optarg; break;
        case 'A': tls->authority = optarg; break;
        default: exit(2);
        }
    }
    return address;
}

static void check(int rc, const char *what)
{
    if (rc == 0)
        return;
    fprintf(stderr, "echo_server: %s: %s\n", what, uv_strerror(rc));
    exit(1);
}

int main(int argc, char **argv)
{
    struct grpc_limits limits = {0};
    char err[256] = "";
    struct tls_files files = {0};
    struct grpc_listen_options options = {0};
    const char *address = parse_options(argc, argv, &limits, &files);
    if (files.certificate)
        check(tls_context_new(true, &files, &options.tls, err, sizeof err), err);
    check(uv_loop_init(&app.loop), "loop");
    check(grpc_server_new(&app.loop, &limits, &app.server), "server");
    check(grpc_server_add(app.server, methods, sizeof methods / sizeof methods[0], NULL), "service");
    check(grpc_health_new(app.server, &app.health), "health");
    check(grpc_health_set(app.health, "sensebus.test.Echo", true), "health");
    check(grpc_reflection_new(app.server, echo_descriptor_set, echo_descriptor_set_len, services,
                              sizeof services / sizeof services[0], &app.reflection),
          "reflection");
    check(grpc_server_listen(app.server, address, &options, err, sizeof err), err);
    tls_context_unref(options.tls);
    uv_signal_init(&app.loop, &app.sigterm);
    uv_signal_start(&app.sigterm, on_sigterm, SIGTERM);
    printf("listening %s\n", grpc_server_address(app.server, 0));
    fflush(stdout);
    uv_run(&app.loop, UV_RUN_DEFAULT);
    return uv_loop_close(&app.loop) == 0 ? 0 : 1;
}
