/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/proto/grpc/pair.h"

static struct pair pair;
static struct pair *p = &pair;

/* ------------------------------------------------------------------------------------------------ listening */

static struct test_loop loop;
static struct grpc_server *server;
static char directory[] = "/tmp/sensebus-listen-XXXXXX";
static char socket_address[128];

static void setup(void)
{
    cr_assert(mkdtemp(directory));
    snprintf(socket_address, sizeof socket_address, "unix:%s/s", directory);
    test_loop_init(&loop);
    cr_assert_eq(grpc_server_new(&loop.loop, NULL, &server), 0);
}

static void teardown(void)
{
    grpc_server_close(server, NULL, NULL);
    test_loop_deinit(&loop);
    if (rmdir(directory) != 0)
        abort();
}

TestSuite(listen, .init = setup, .fini = teardown);

Test(listen, plaintext_beyond_loopback_needs_insecure)
{
    char err[256] = "";
    static const char *const addresses[] = {"0.0.0.0:0", "[::]:0"};
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(grpc_server_listen(server, addresses[i], NULL, err, sizeof err), UV_EACCES);
        cr_assert(strstr(err, "--insecure"), "%s", err);
        cr_assert_null(grpc_server_address(server, 0));
    }
    cr_assert_eq(
        grpc_server_listen(server, "0.0.0.0:0", &(struct grpc_listen_options){.insecure = true}, err, sizeof err), 0,
        "%s", err);
    cr_assert_eq(strncmp(grpc_server_address(server, 0), "0.0.0.0:", 8), 0);
}

Test(listen, a_check_says_the_same_and_opens_nothing)
{
    char said[256] = "", err[256] = "";
    static const char *const wrong[] = {"0.0.0.0:0", "nonsense", "127.0.0.1"};
    for (int i = 0; i < 3; i++) {
        int rc = grpc_server_listen(server, wrong[i], NULL, said, sizeof said);
        cr_expect_neq(rc, 0);
        cr_expect_eq(grpc_listen_check(wrong[i], NULL, err, sizeof err), rc);
        cr_expect_str_eq(err, said);
    }
    cr_expect_eq(grpc_listen_check("0.0.0.0:0", &(struct grpc_listen_options){.insecure = true}, err, sizeof err), 0);
    cr_expect_eq(grpc_listen_check("unix:/nonexistent/dir/s", NULL, err, sizeof err), 0, "seen only when it is opened");
    cr_assert_eq(grpc_server_listen(server, "127.0.0.1:0", NULL, err, sizeof err), 0, "%s", err);
    cr_expect_eq(grpc_listen_check(grpc_server_address(server, 0), NULL, err, sizeof err), 0, "a broker runs there");
    cr_expect_not(grpc_server_address_is_tls(server, 0));
    cr_expect_not(grpc_server_address_is_tls(server, 1));
}

Test(listen, several_addresses_with_their_ports)
{
    char err[256] = "";
    cr_assert_eq(grpc_server_listen(server, "127.0.0.1:0", NULL, err, sizeof err), 0, "%s", err);
    cr_assert_eq(grpc_server_listen(server, "127.0.0.2:0", NULL, err, sizeof err), 0, "%s", err);
    cr_assert_str_neq(grpc_server_address(server, 0), "127.0.0.1:0");
    cr_assert_eq(strncmp(grpc_server_address(server, 1), "127.0.0.2:", 10), 0);
    cr_assert_null(grpc_server_address(server, 2));
}

Test(listen, refusals_name_the_address_and_the_reason)
{
    char err[256] = "";
    cr_assert_eq(grpc_server_listen(server, "nonsense", NULL, err, sizeof err), UV_EINVAL);
    cr_assert(strstr(err, "nonsense"));
    cr_assert_eq(grpc_server_listen(server, "127.0.0.1:0", NULL, err, sizeof err), 0);
    cr_assert_eq(grpc_server_listen(server, grpc_server_address(server, 0), NULL, err, sizeof err), UV_EADDRINUSE);
    cr_assert(strstr(err, grpc_server_address(server, 0)) && strstr(err, "in use"), "%s", err);
    cr_assert_neq(grpc_server_listen(server, "unix:/nonexistent/dir/s", NULL, err, sizeof err), 0);
    cr_assert(strstr(err, "/nonexistent/dir/s"), "%s", err);
    cr_assert_neq(
        grpc_server_listen(server, UNKNOWN_NAME ":1", &(struct grpc_listen_options){.insecure = true}, err, sizeof err),
        0);
    cr_assert(strstr(err, UNKNOWN_NAME), "%s", err);
}

/* A socket file with nobody behind it. */
static void leave_stale_socket(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(sun.sun_path, sizeof sun.sun_path, "%s", path);
    cr_assert_eq(bind(fd, (struct sockaddr *)&sun, sizeof sun), 0);
    close(fd);
}

Test(listen, stale_socket_file_is_replaced)
{
    char err[256] = "";
    struct stat st;
    leave_stale_socket(socket_address + 5);
    cr_assert_eq(grpc_server_listen(server, socket_address, NULL, err, sizeof err), 0, "%s", err);
    cr_assert_eq(stat(socket_address + 5, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0660);
    cr_assert_str_eq(grpc_server_address(server, 0), socket_address);
}

Test(listen, live_socket_and_other_files_are_left_alone)
{
    char err[256] = "";
    struct stat before;
    struct stat after;
    char file[128];
    cr_assert_eq(grpc_server_listen(server, socket_address, NULL, err, sizeof err), 0, "%s", err);
    stat(socket_address + 5, &before);
    cr_assert_eq(grpc_server_listen(server, socket_address, NULL, err, sizeof err), UV_EADDRINUSE);
    stat(socket_address + 5, &after);
    cr_assert_eq(before.st_ino, after.st_ino);

    snprintf(file, sizeof file, "unix:%s/file", directory);
    fclose(fopen(file + 5, "w"));
    cr_assert_neq(grpc_server_listen(server, file, NULL, err, sizeof err), 0);
    cr_assert_eq(unlink(file + 5), 0);
}

/* ------------------------------------------------------------------------------------------------ drain */

static void on_drained(void *data)
{
    bool *drained = data;
    *drained = true;
}

static bool drained;
static struct probe client; /* still open in the teardown of some tests */

static void drain_setup(void)
{
    pair_init(p, NULL, NULL, "127.0.0.1:0");
}

static void drain_teardown(void)
{
    pair_deinit(p);
}

TestSuite(drain, .init = drain_setup, .fini = drain_teardown);

Test(drain, tells_calls_and_waits_for_them)
{
    struct probe *served = pair_call(p, &client, 0);
    grpc_server_drain(p->server, 15000, on_drained, &drained);
    cr_assert_eq(served->n_drains, 0, "no callback before the function returns");
    pair_until_count(p, &served->n_drains, 1);
    test_loop_for(&p->loop, 200);
    cr_assert_not(drained);
    cr_assert_eq(p->n_downs, 0, "calls that run go on");
    probe_send(served, "last words");
    grpc_call_finish(served->call, GRPC_UNAVAILABLE, "broker is draining");
    pair_until(p, &client.closed);
    cr_assert_str_eq(client.last, "last words");
    cr_assert_str_eq(client.message, "broker is draining");
    pair_until(p, &p->down);
    cr_assert(strstr(p->down_reason, "server is draining"), "%s", p->down_reason);
    pair_until(p, &drained);
}

Test(drain, takes_no_new_calls_from_a_client_that_knows)
{
    struct probe late;
    pair_call(p, &client, 0);
    grpc_server_drain(p->server, 15000, on_drained, &drained);
    test_loop_for(&p->loop, 250);
    cr_assert_eq(grpc_call_start(p->channel, "/test/Unary", 0, &probe_ops, &late, &late.call), UV_ENOTCONN);
    grpc_call_cancel(client.call);
    pair_until(p, &drained);
}

Test(drain, ends_what_is_left_after_the_grace)
{
    struct probe *served = pair_call(p, &client, 0);
    grpc_server_drain(p->server, 150, on_drained, &drained);
    pair_until(p, &client.closed);
    cr_assert_eq(client.status, GRPC_UNAVAILABLE);
    cr_assert_str_eq(client.message, "server is draining");
    pair_until(p, &served->closed);
    pair_until(p, &drained);
}

Test(drain, does_not_wait_for_a_client_that_does_not_read)
{
    struct probe *served = pair_call(p, &client, 0);
    grpc_call_pause(client.call);
    while (probe_send(served, "a message of some length that nobody takes") == 0)
        ;
    grpc_server_drain(p->server, 100, on_drained, &drained);
    pair_until(p, &drained);
    pair_until(p, &client.closed);
    cr_assert_eq(client.status, GRPC_UNAVAILABLE);
}

Test(drain, idle_server_is_drained_at_once)
{
    grpc_channel_close(p->channel);
    p->channel = NULL;
    grpc_server_drain(p->server, 15000, on_drained, &drained);
    cr_assert_not(drained);
    pair_until(p, &drained);
}

Test(drain, close_during_a_drain_ends_it)
{
    pair_call(p, &client, 0);
    grpc_server_drain(p->server, 15000, on_drained, &drained);
    test_loop_for(&p->loop, 20);
    grpc_server_close(p->server, NULL, NULL);
    p->server = NULL;
    p->server_closed = true;
    pair_until(p, &client.closed);
    cr_assert_eq(client.status, GRPC_UNAVAILABLE);
}

/* ------------------------------------------------------------------------------------------------ sockets */

static int raw_connection(const char *address)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sin.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    cr_assert_eq(connect(fd, (struct sockaddr *)&sin, sizeof sin), 0);
    return fd;
}

static bool all_are_accepted(void *data)
{
    struct grpc_server_counters counters;
    grpc_server_counters(p->server, &counters);
    return counters.connections_accepted + counters.connections_refused >= *(unsigned *)data;
}

/* Peers that connect and say nothing need no certificate for that: they must not keep others out. */
Test(sockets, silent_peers_give_up_their_places)
{
    const struct grpc_limits limits = {.max_connections = 4};
    struct grpc_server_counters counters;
    unsigned n = 11;
    int silent[10];
    pair_init(p, &limits, NULL, "127.0.0.1:0"); /* with a channel that is up: one place */
    for (unsigned i = 0; i < 10; i++)
        silent[i] = raw_connection(grpc_server_address(p->server, 0));
    cr_assert(test_loop_until_true(&p->loop, all_are_accepted, &n));
    test_loop_for(&p->loop, 50);
    grpc_server_counters(p->server, &counters);
    cr_assert_eq(counters.connections_refused, 0);
    cr_assert_eq(counters.connections_open, 4);
    cr_assert(p->up && !p->down, "whose handshake is done stays");

    struct grpc_channel *old = p->channel;
    pair_channel(p, grpc_server_address(p->server, 0), &(struct grpc_channel_options){.connect_ms = 5000});
    pair_until_count(p, &p->n_ups, 2);
    grpc_channel_close(old);
    for (unsigned i = 0; i < 10; i++)
        close(silent[i]);
    pair_deinit(p);
}

Test(sockets, unix_socket_carries_calls_and_goes_away)
{
    char path[] = "/tmp/sensebus-unix-XXXXXX";
    char address[128];
    cr_assert(mkdtemp(path));
    snprintf(address, sizeof address, "unix:%s/s", path);
    pair_init(p, NULL, NULL, address);
    struct probe *served = pair_call(p, &client, 0);
    cr_assert_str_eq(grpc_call_peer(served->call), address);
    cr_assert_str_eq(grpc_channel_peer(p->channel), address);
    probe_send(&client, "local");
    pair_until_count(p, &served->n_messages, 1);
    pair_deinit(p);
    cr_assert_neq(access(address + 5, F_OK), 0);
    cr_assert_eq(rmdir(path), 0);
}

Test(sockets, unix_socket_proves_user_and_group)
{
    char path[] = "/tmp/sensebus-unix-XXXXXX";
    char address[128], uid[32], gid[32];
    cr_assert(mkdtemp(path));
    snprintf(address, sizeof address, "unix:%s/s", path);
    snprintf(uid, sizeof uid, "unix:uid=%u", (unsigned)geteuid());
    snprintf(gid, sizeof gid, "unix:gid=%u", (unsigned)getegid());
    pair_init(p, NULL, NULL, address);
    const struct peer_identity *peer = grpc_call_identity(pair_call(p, &client, 0)->call);
    cr_assert_eq(peer->kind, PEER_UNIX);
    cr_assert_eq(peer->n_names, 2);
    cr_assert_str_eq(peer->names[0], uid);
    cr_assert_str_eq(peer->names[1], gid);
    cr_assert_eq(grpc_call_identity(client.call)->kind, PEER_UNIX);
    pair_deinit(p);
    cr_assert_eq(rmdir(path), 0);
}

Test(sockets, ipv6_and_names_carry_calls)
{
    static const char *const addresses[] = {"[::1]:0", "localhost:0"};
    for (int i = 0; i < 2; i++) {
        pair_init(p, NULL, NULL, addresses[i]);
        struct probe *served = pair_call(p, &client, 0);
        probe_send(&client, "hello");
        pair_until_count(p, &served->n_messages, 1);
        pair_deinit(p);
    }
}

Test(sockets, counters_count)
{
    struct grpc_server_counters c;
    pair_init(p, NULL, NULL, "127.0.0.1:0");
    struct probe *served = pair_call(p, &client, 0);
    probe_send(&client, "one");
    pair_until_count(p, &served->n_messages, 1);
    probe_send(served, "two");
    pair_until_count(p, &client.n_messages, 1);
    grpc_server_counters(p->server, &c);
    cr_assert_eq(c.connections_accepted, 1);
    cr_assert_eq(c.connections_open, 1);
    cr_assert_eq(c.calls_started, 1);
    cr_assert_eq(c.calls_open, 1);
    cr_assert_eq(c.messages_received, 1);
    cr_assert_eq(c.messages_sent, 1);
    cr_assert_gt(c.bytes_received, 8);
    cr_assert_gt(c.bytes_sent, 8);
    pair_deinit(p);
}
