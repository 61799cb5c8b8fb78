/* SPDX-License-Identifier: Apache-2.0 */
/* Calls over TLS, and what both sides say when it does not come to that. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/certificates.h"
#include "tests/unit/proto/grpc/pair.h"

static struct certificates certificates;
static struct tls_context *accepts, *connects, *stranger;
static struct pair pair;
static struct pair *const p = &pair;
static struct probe client;

static void setup(void)
{
    struct tls_subject broker = certificates_server();
    struct tls_subject reader = certificates_subject("r1", "sensebus://reader/r1");
    certificates_init(&certificates);
    accepts = certificates_context(&certificates, true, &certificates.ours, &broker);
    connects = certificates_context(&certificates, false, &certificates.ours, &reader);
    stranger = certificates_context(&certificates, false, &certificates.other, &reader);
}

static void teardown(void)
{
    tls_context_unref(accepts);
    tls_context_unref(connects);
    tls_context_unref(stranger);
    certificates_deinit(&certificates);
}

TestSuite(secure, .init = setup, .fini = teardown, .timeout = 60);

static void open_with(struct tls_context *server, struct tls_context *channel, const char *server_name,
                      const struct grpc_limits *server_limits)
{
    pair_open(p, server_limits, &(struct grpc_listen_options){.tls = server},
              &(struct grpc_channel_options){.tls = channel, .server_name = server_name}, "127.0.0.1:0");
}

Test(secure, calls_go_both_ways_and_peers_are_known)
{
    open_with(accepts, connects, NULL, NULL);
    pair_until(p, &p->up);
    struct probe *served = pair_call(p, &client, 0);
    const struct peer_identity *peer = grpc_call_identity(served->call);
    cr_assert_eq(peer->kind, PEER_TLS);
    cr_assert_eq(peer->n_names, 1);
    cr_assert_str_eq(peer->names[0], "uri:sensebus://reader/r1");
    peer = grpc_call_identity(client.call);
    cr_assert_eq(peer->kind, PEER_TLS);
    cr_assert_eq(peer->n_names, 3);
    cr_assert_str_eq(peer->names[1], "dns:localhost");
    cr_assert_str_eq(grpc_call_metadata(served->call, ":scheme"), "https");
    probe_send(&client, "question");
    pair_until_count(p, &served->n_messages, 1);
    cr_assert_str_eq(served->last, "question");
    probe_send(served, "answer");
    grpc_call_finish(served->call, GRPC_OK, NULL);
    pair_until(p, &client.closed);
    cr_assert_str_eq(client.last, "answer");
    cr_assert_eq(client.status, GRPC_OK);
    pair_deinit(p);
}

/* Records, frames and messages all end in different places, and the socket's buffer is full now and then. */
Test(secure, megabytes_arrive_whole)
{
    enum { N = 40, LEN = 300001 };
    uint8_t *bytes = malloc(LEN);
    memset(bytes, 'x', LEN);
    open_with(accepts, connects, NULL, &(struct grpc_limits){.max_queued_bytes = 64u << 20});
    pair_until(p, &p->up);
    struct probe *served = pair_call(p, &client, 0);
    struct slice part = {.ptr = bytes, .len = LEN};
    for (int i = 0; i < N; i++)
        cr_assert_eq(grpc_call_send(served->call, &part, 1), 0);
    pair_until_count(p, &client.n_messages, N);
    cr_assert_eq(client.n_bytes, (size_t)N * LEN);
    pair_deinit(p);
    free(bytes);
}

Test(secure, the_host_of_the_address_is_the_name_that_is_expected)
{
    pair_open(p, NULL, &(struct grpc_listen_options){.tls = accepts}, &(struct grpc_channel_options){.tls = connects},
              "127.0.0.1:0");
    pair_until(p, &p->up);
    pair_deinit(p);
}

Test(secure, a_drained_server_says_goodbye)
{
    open_with(accepts, connects, NULL, NULL);
    pair_until(p, &p->up);
    pair_call(p, &client, 0);
    grpc_server_drain(p->server, 50, NULL, NULL);
    pair_until(p, &p->down);
    cr_assert_eq(client.status, GRPC_UNAVAILABLE);
    pair_deinit(p);
}

/* ------------------------------------------------------------------------------------------------ refusals */

static struct grpc_server_counters counters(void)
{
    struct grpc_server_counters c;
    grpc_server_counters(p->server, &c);
    return c;
}

static bool server_refused(void *data)
{
    (void)data;
    return counters().handshakes_refused == 1 && counters().connections_open == 0;
}

static void expect_down(const char *words)
{
    pair_until(p, &p->down);
    cr_assert_eq(p->n_ups, 0);
    cr_assert(strstr(p->down_reason, words), "%s", p->down_reason);
    cr_assert_eq(strncmp(p->down_reason, "127.0.0.1:", 10), 0, "%s", p->down_reason);
}

static void expect_refused(const char *words)
{
    expect_down(words);
    cr_assert(test_loop_until_true(&p->loop, server_refused, NULL));
    pair_deinit(p);
}

Test(secure, a_plaintext_client_is_told_that_the_port_needs_tls)
{
    open_with(accepts, NULL, NULL, NULL);
    expect_refused("the peer speaks TLS here: use tls://");
}

Test(secure, a_tls_client_is_told_that_the_port_is_plaintext)
{
    open_with(NULL, connects, NULL, NULL);
    expect_refused("the peer does not speak TLS");
}

Test(secure, a_server_with_another_name_is_refused)
{
    open_with(accepts, connects, "elsewhere.example", NULL);
    expect_refused("not for elsewhere.example");
}

Test(secure, a_client_of_another_authority_is_told)
{
    open_with(accepts, stranger, NULL, NULL);
    expect_refused("the peer refused our certificate: it does not know the authority");
}

/* ------------------------------------------------------------------------------------------------ raw peers */

static int raw_connect(void)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    sin.sin_port = htons((in_port_t)atoi(strrchr(grpc_server_address(p->server, 0), ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&sin, sizeof sin), 0);
    return fd;
}

static bool all_gone(void *data)
{
    (void)data;
    return counters().connections_accepted == 2 && counters().connections_open == 1;
}

/* Beside a good connection, which goes on. */
static void expect_raw_dropped(const char *bytes, size_t len, bool refused, const struct grpc_limits *limits)
{
    open_with(accepts, connects, NULL, limits);
    pair_until(p, &p->up);
    int fd = raw_connect();
    cr_assert_eq(write(fd, bytes, len), (ssize_t)len);
    if (!limits)
        shutdown(fd, SHUT_WR);
    cr_assert(test_loop_until_true(&p->loop, all_gone, NULL));
    cr_assert_eq(counters().handshakes_refused, refused);
    cr_assert_not(p->down);
    close(fd);
    pair_deinit(p);
}

Test(secure, a_silent_peer_has_until_the_end_of_the_handshake)
{
    expect_raw_dropped("", 0, false, &(struct grpc_limits){.handshake_ms = 50});
}

Test(secure, half_a_hello_has_until_the_end_of_the_handshake)
{
    expect_raw_dropped("\x16\x03\x01\x02\x00\x01", 6, false, &(struct grpc_limits){.handshake_ms = 50});
}

Test(secure, a_peer_that_looks_and_goes_is_no_fault)
{
    expect_raw_dropped("", 0, false, NULL);
}

Test(secure, other_protocols_are_refused)
{
    expect_raw_dropped("GET / HTTP/1.1\r\n\r\n", 18, true, NULL);
}

Test(secure, garbage_in_a_record_is_refused)
{
    expect_raw_dropped("\x16\x03\x01\x00\x04\xff\xff\xff\xff", 9, true, NULL);
}

/* An alert, then the end. */
Test(secure, plaintext_is_answered_with_an_alert)
{
    static const char *const texts[] = {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "P"};
    open_with(accepts, connects, NULL, NULL);
    pair_until(p, &p->up);
    for (int i = 0; i < 3; i++) {
        char answer[128];
        size_t n = 0;
        ssize_t got = -1;
        int fd = raw_connect();
        cr_assert_eq(write(fd, texts[i], strlen(texts[i])), (ssize_t)strlen(texts[i]));
        while (got != 0) {
            test_loop_for(&p->loop, 5);
            got = recv(fd, answer + n, sizeof answer - n, MSG_DONTWAIT);
            n += got > 0 ? (size_t)got : 0;
        }
        cr_assert_eq(n, 7);
        cr_assert_eq(memcmp(answer, "\x15\x03\x03\x00\x02\x02\x46", 7), 0);
        close(fd);
    }
    pair_deinit(p);
}

/* A server that is not ours and speaks TLS answers our preface with an alert. */
Test(secure, an_alert_is_taken_for_tls)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof sin;
    char address[32];
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&sin, sizeof sin), 0);
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&sin, &len), 0);
    snprintf(address, sizeof address, "127.0.0.1:%u", ntohs(sin.sin_port));
    open_with(NULL, NULL, NULL, NULL);
    pair_until(p, &p->up);
    grpc_channel_close(p->channel);
    p->up = false;
    p->n_ups = 0;
    pair_channel(p, address, NULL);
    test_loop_for(&p->loop, 20);
    int fd = accept(listener, NULL, NULL);
    cr_assert_eq(write(fd, "\x15\x03\x03\x00\x02\x02\x46", 7), 7);
    expect_down("the peer speaks TLS here: use tls://");
    close(fd);
    close(listener);
    pair_deinit(p);
}

/* ------------------------------------------------------------------------------------------------ where TLS may be */

Test(secure, unix_sockets_need_no_tls)
{
    struct test_loop loop;
    struct grpc_server *server;
    struct grpc_channel *channel;
    char err[256];
    test_loop_init(&loop);
    cr_assert_eq(grpc_server_new(&loop.loop, NULL, &server), 0);
    cr_assert_eq(grpc_server_listen(server, "unix:/tmp/sensebus-never", &(struct grpc_listen_options){.tls = accepts},
                                    err, sizeof err),
                 UV_EINVAL);
    cr_assert(strstr(err, "without TLS"), "%s", err);
    cr_assert_eq(grpc_channel_open(&loop.loop, "unix:/tmp/sensebus-never",
                                   &(struct grpc_channel_options){.tls = connects}, NULL, NULL, &channel),
                 UV_EINVAL);
    grpc_server_close(server, NULL, NULL);
    test_loop_deinit(&loop);
}

Test(secure, tls_may_listen_beyond_loopback)
{
    struct test_loop loop;
    struct grpc_server *server;
    char err[256];
    test_loop_init(&loop);
    cr_assert_eq(grpc_server_new(&loop.loop, NULL, &server), 0);
    cr_assert_eq(
        grpc_server_listen(server, "0.0.0.0:0", &(struct grpc_listen_options){.tls = accepts}, err, sizeof err), 0,
        "%s", err);
    cr_expect(grpc_server_address_is_tls(server, 0));
    grpc_server_close(server, NULL, NULL);
    test_loop_deinit(&loop);
}
