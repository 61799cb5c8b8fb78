/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/proto/grpc/pair.h"

/* ------------------------------------------------------------------------------------------------ never up */

struct outcome {
    bool up;
    bool down;
    char reason[512];
};

static void on_up(struct grpc_channel *channel, void *data)
{
    struct outcome *o = data;
    (void)channel;
    o->up = true;
}

static void on_down(struct grpc_channel *channel, void *data, const char *reason)
{
    struct outcome *o = data;
    (void)channel;
    o->down = true;
    snprintf(o->reason, sizeof o->reason, "%s", reason);
}

static const struct grpc_channel_ops ops = {on_up, on_down};
static struct test_loop loop;

static void setup(void)
{
    test_loop_init(&loop);
}

static void teardown(void)
{
    test_loop_deinit(&loop);
}

TestSuite(channel, .init = setup, .fini = teardown);

/* Open, wait for down, and check that the reason names both the address and what happened. */
static void expect_down(const char *address, uint32_t connect_ms, const char *where, const char *why)
{
    struct outcome o = {0};
    struct grpc_channel *channel;
    cr_assert_eq(grpc_channel_open(&loop.loop, address, &(struct grpc_channel_options){.connect_ms = connect_ms}, &ops,
                                   &o, &channel),
                 0);
    cr_assert(test_loop_until(&loop, &o.down));
    cr_assert_not(o.up);
    cr_assert(strstr(o.reason, where) && strstr(o.reason, why), "%s", o.reason);
    grpc_channel_close(channel);
}

/* A TCP socket that listens and never accepts, or (`backlog` < 0) is bound only. */
static int bound_socket(int backlog, char *out_address, size_t len)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t sin_len = sizeof sin;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&sin, sizeof sin), 0);
    if (backlog >= 0)
        cr_assert_eq(listen(fd, backlog), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&sin, &sin_len), 0);
    snprintf(out_address, len, "127.0.0.1:%u", ntohs(sin.sin_port));
    return fd;
}

Test(channel, refused_connection_is_named)
{
    char address[64];
    int fd = bound_socket(-1, address, sizeof address);
    expect_down(address, 0, address, "connection refused");
    close(fd);
}

Test(channel, missing_socket_file_is_named)
{
    expect_down("unix:/nonexistent/s", 0, "unix:/nonexistent/s", "no such file");
}

Test(channel, unknown_name_is_named)
{
    expect_down(UNKNOWN_NAME ":7070", 0, UNKNOWN_NAME ":7070", "cannot resolve");
}

Test(channel, silent_peer_is_given_up)
{
    char address[64];
    int fd = bound_socket(8, address, sizeof address);
    expect_down(address, 200, address, "no answer in time");
    close(fd);
}

Test(channel, bad_address_is_refused_at_once)
{
    struct grpc_channel *channel;
    struct outcome o = {0};
    cr_assert_eq(grpc_channel_open(&loop.loop, "nonsense", NULL, &ops, &o, &channel), UV_EINVAL);
}

Test(channel, may_be_closed_at_any_moment)
{
    static const char *const addresses[] = {"127.0.0.1:1", "localhost:1", "unix:/nonexistent/s", UNKNOWN_NAME ":1"};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        struct outcome o = {0};
        struct grpc_channel *channel;
        cr_assert_eq(grpc_channel_open(&loop.loop, addresses[i], NULL, &ops, &o, &channel), 0);
        if (i % 2)
            uv_run(&loop.loop, UV_RUN_NOWAIT);
        grpc_channel_close(channel);
        o.down = false;
        test_loop_for(&loop, 20);
        cr_assert_not(o.down, "no callback after the close");
    }
}

/* ------------------------------------------------------------------------------------------------ a bare peer */

/* Accepts one connection, says `greeting`, and nothing else. */
struct bare_peer {
    uv_tcp_t listener;
    uv_tcp_t peer;
    uv_write_t write;
    uv_buf_t greeting;
    char address[64];
};

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    static char bytes[4096];
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(bytes, sizeof bytes);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    (void)buf;
    if (n < 0)
        uv_read_stop(stream);
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct bare_peer *b = stream->data;
    cr_assert_eq(status, 0);
    uv_tcp_init(stream->loop, &b->peer);
    cr_assert_eq(uv_accept(stream, (uv_stream_t *)&b->peer), 0);
    uv_read_start((uv_stream_t *)&b->peer, on_alloc, on_read);
    uv_write(&b->write, (uv_stream_t *)&b->peer, &b->greeting, 1, NULL);
}

static void bare_peer_open(struct bare_peer *b, const char *greeting, size_t len)
{
    struct sockaddr_in sin;
    int sin_len = sizeof sin;
    uv_ip4_addr("127.0.0.1", 0, &sin);
    uv_tcp_init(&loop.loop, &b->listener);
    b->listener.data = b;
    b->greeting = uv_buf_init((char *)greeting, (unsigned)len);
    cr_assert_eq(uv_tcp_bind(&b->listener, (struct sockaddr *)&sin, 0), 0);
    cr_assert_eq(uv_listen((uv_stream_t *)&b->listener, 8, on_connection), 0);
    uv_tcp_getsockname(&b->listener, (struct sockaddr *)&sin, &sin_len);
    snprintf(b->address, sizeof b->address, "127.0.0.1:%u", ntohs(sin.sin_port));
}

/* Its handles close in the teardown: it must live as long. */
static struct bare_peer bare_peer;

static void bare_peer_close(struct bare_peer *b)
{
    uv_close((uv_handle_t *)&b->listener, NULL);
    uv_close((uv_handle_t *)&b->peer, NULL);
}

Test(channel, peer_that_is_not_http2_is_named)
{
    static const char text[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    bare_peer_open(&bare_peer, text, sizeof text - 1);
    expect_down(bare_peer.address, 0, bare_peer.address, "SETTINGS");
    bare_peer_close(&bare_peer);
}

Test(channel, dead_peer_is_found_by_keepalive)
{
    static const char settings[] = "\0\0\0\4\0\0\0\0\0";
    struct grpc_limits limits = {.keepalive_ms = 50, .keepalive_timeout_ms = 50};
    struct outcome o = {0};
    struct grpc_channel *channel;
    struct probe probe = {0};
    bare_peer_open(&bare_peer, settings, sizeof settings - 1);
    cr_assert_eq(grpc_channel_open(&loop.loop, bare_peer.address, &(struct grpc_channel_options){.limits = &limits},
                                   &ops, &o, &channel),
                 0);
    cr_assert(test_loop_until(&loop, &o.up));
    cr_assert_eq(grpc_call_start(channel, "/a/b", 0, &probe_ops, &probe, &probe.call), 0);
    cr_assert(test_loop_until(&loop, &o.down));
    cr_assert(strstr(o.reason, "keepalive"), "%s", o.reason);
    cr_assert_eq(probe.status, GRPC_UNAVAILABLE);
    cr_assert(strstr(probe.message, "keepalive"), "%s", probe.message);
    grpc_channel_close(channel);
    bare_peer_close(&bare_peer);
}

/* ------------------------------------------------------------------------------------------------ limits */

static struct pair pair;

Test(limits, keepalive_keeps_a_quiet_connection)
{
    struct grpc_limits limits = {.keepalive_ms = 20, .keepalive_timeout_ms = 60000};
    struct probe client;
    pair_init(&pair, &limits, &limits, "127.0.0.1:0");
    pair_call(&pair, &client, 0);
    test_loop_for(&pair.loop, 300);
    cr_assert_not(client.closed);
    cr_assert_eq(pair.n_downs, 0);
    pair_deinit(&pair);
}

/* A peer that answers nothing: who only has patient calls is left alone, until it has another one. */
Test(channel, patient_calls_are_pinged_later)
{
    struct grpc_limits limits = {.keepalive_ms = 500, .keepalive_timeout_ms = 20, .patient_keepalive_ms = 3600000};
    static const char settings[] = "\0\0\0\4\0\0\0\0\0";
    struct outcome o = {0};
    struct grpc_channel *channel;
    struct probe patient = {0}, other = {0};
    bare_peer_open(&bare_peer, settings, sizeof settings - 1);
    cr_assert_eq(grpc_channel_open(&loop.loop, bare_peer.address, &(struct grpc_channel_options){.limits = &limits},
                                   &ops, &o, &channel),
                 0);
    cr_assert(test_loop_until(&loop, &o.up));
    cr_assert_eq(grpc_call_start(channel, "/a/b", 0, &probe_ops, &patient, &patient.call), 0);
    grpc_call_set_patient(patient.call);
    test_loop_for(&loop, 1500);
    cr_assert_not(o.down);
    cr_assert_eq(grpc_call_start(channel, "/a/b", 0, &probe_ops, &other, &other.call), 0);
    cr_assert(test_loop_until(&loop, &o.down));
    cr_assert(strstr(o.reason, "keepalive"), "%s", o.reason);
    grpc_channel_close(channel);
    bare_peer_close(&bare_peer);
}

Test(limits, client_starts_no_more_calls_than_allowed)
{
    struct grpc_limits limits = {.max_streams = 2};
    struct probe probes[3];
    pair_init(&pair, NULL, &limits, "127.0.0.1:0");
    pair_start(&pair, &probes[0], "/test/Call", 0);
    pair_start(&pair, &probes[1], "/test/Call", 0);
    cr_assert_eq(grpc_call_start(pair.channel, "/test/Call", 0, &probe_ops, &probes[2], &probes[2].call), UV_ENOBUFS);
    pair_deinit(&pair);
}

Test(limits, calls_beyond_the_servers_streams_wait_for_their_turn)
{
    struct grpc_limits limits = {.max_streams = 2};
    struct probe probes[3];
    pair_init(&pair, &limits, NULL, "127.0.0.1:0");
    pair_call(&pair, &probes[0], 0);
    pair_call(&pair, &probes[1], 0);
    pair_start(&pair, &probes[2], "/test/Call", 0);
    test_loop_for(&pair.loop, 50);
    cr_assert_eq(pair.n_served, 2);
    grpc_call_cancel(probes[0].call);
    pair_until_count(&pair, &pair.n_served, 3);
    pair_deinit(&pair);
}

Test(limits, connections_beyond_the_limit_are_closed)
{
    struct grpc_limits limits = {.max_connections = 1};
    struct grpc_server_counters c;
    struct outcome o = {0};
    struct grpc_channel *channel;
    pair_init(&pair, &limits, NULL, "127.0.0.1:0");
    cr_assert_eq(grpc_channel_open(&pair.loop.loop, grpc_server_address(pair.server, 0), NULL, &ops, &o, &channel), 0);
    pair_until(&pair, &o.down);
    grpc_server_counters(pair.server, &c);
    cr_assert_eq(c.connections_refused, 1);
    cr_assert_eq(c.connections_accepted, 1);
    grpc_channel_close(channel);
    pair_deinit(&pair);
}
