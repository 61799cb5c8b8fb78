/* SPDX-License-Identifier: Apache-2.0 */
/* A server session through a few calls, once for every allocation, with that one failing. The linker sends the
 * library's allocations here (--wrap), and nghttp2's, which come through session_block.h. What the calls end with does
 * not matter; that they end, once, does. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/grpc/call.h"
#include "proto/grpc/h2.h"
#include "tests/lib/loop.h"

/* ------------------------------------------------------------------------------------------------ failing malloc */

void *__real_malloc(size_t len);
void *__real_calloc(size_t n, size_t len);
void *__real_realloc(void *old, size_t len);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t len);
void *__wrap_calloc(size_t n, size_t len);
void *__wrap_realloc(void *old, size_t len);
char *__wrap_strdup(const char *text);

static bool armed;
static unsigned n_allocations;
static unsigned fail_at;

static bool fails(void)
{
    return armed && ++n_allocations == fail_at;
}

void *__wrap_malloc(size_t len)
{
    return fails() ? NULL : __real_malloc(len);
}

void *__wrap_calloc(size_t n, size_t len)
{
    return fails() ? NULL : __real_calloc(n, len);
}

void *__wrap_realloc(void *old, size_t len)
{
    return fails() ? NULL : __real_realloc(old, len);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

/* ------------------------------------------------------------------------------------------------ two sessions */

struct end {
    struct h2 h2;
    struct grpc_server_counters counters;
    bool failed; /* beyond repair: a connection closes, and neither sends nor receives any more */
};

static struct end server;
static struct end client;
static unsigned n_served;
static unsigned n_started;
static unsigned n_closes;

static void on_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct slice part = {.ptr = bytes, .len = len};
    (void)data;
    if (call->h2->side == H2_SERVER)
        grpc_call_send(call, &part, 1);
}

static void on_half_close(struct grpc_call *call, void *data)
{
    (void)data;
    grpc_call_finish(call, GRPC_NOT_FOUND, "nothing there");
}

static void on_close(struct grpc_call *call, void *data, int status, const char *message)
{
    (void)call;
    (void)data;
    (void)status;
    cr_assert(message);
    n_closes++;
}

static const struct grpc_call_ops ops = {
    .on_message = on_message, .on_half_close = on_half_close, .on_close = on_close};

static void handle_unary(struct grpc_call *call, void *service, const uint8_t *bytes, size_t len)
{
    (void)service;
    grpc_unary_reply(call, bytes, len);
}

static void on_call(struct h2 *h2, struct grpc_call *call)
{
    (void)h2;
    if (strcmp(grpc_call_metadata(call, ":path"), "/unary") == 0) {
        grpc_unary_accept(call, NULL, handle_unary);
    } else {
        n_served++;
        grpc_call_accept(call, &ops, NULL);
        grpc_call_set_initial(call, "x-initial", "first");
        grpc_call_set_trailing(call, "x-trailing", "last");
    }
}

static void on_nothing(struct h2 *h2)
{
    (void)h2;
}

static const struct h2_host host = {on_nothing, on_nothing, on_nothing, on_call, on_nothing};

/* Carry everything that `from` has to say to `to`; false when nothing was said. */
static bool carry(struct end *from, struct end *to)
{
    static struct outbox box;
    h2_turn(&from->h2);
    if (from->failed || to->failed)
        return false;
    outbox_init(&box);
    from->failed = h2_send(&from->h2, &box) != 0;
    bool said = !from->failed && box.n > 0;
    for (unsigned i = 0; said && !to->failed && i < box.n; i++)
        to->failed = h2_receive(&to->h2, (const uint8_t *)box.bufs[i].base, box.bufs[i].len) != 0;
    outbox_deinit(&box);
    return said && !to->failed;
}

static void exchange(void)
{
    bool said = true;
    while (said) {
        said = carry(&client, &server);
        said |= carry(&server, &client);
    }
}

static void start(const char *path, size_t message_len)
{
    static const uint8_t bytes[30000];
    struct slice part = {.ptr = bytes, .len = message_len};
    static const struct grpc_metadata metadata[] = {{"x-test", "seen"}, {"x-more", "too"}};
    struct grpc_call_options options = {.deadline_ms = 60000, .metadata = metadata, .n_metadata = 2};
    struct grpc_call *call;
    if (call_start(&client.h2, path, "test", &options, &ops, NULL, &call) != 0)
        return;
    n_started++;
    grpc_call_send(call, &part, 1);
    grpc_call_send(call, &part, 1);
    grpc_call_half_close(call);
}

static void finish(struct end *end)
{
    h2_close(&end->h2, GRPC_UNAVAILABLE, "over");
    h2_turn(&end->h2);
    h2_deinit(&end->h2);
    cr_assert_eq(end->counters.calls_open, 0);
}

static void run_scenario(void)
{
    struct grpc_limits limits = h2_limits_resolve(NULL);
    n_served = n_started = n_closes = n_allocations = 0;
    client.counters = server.counters = (struct grpc_server_counters){0};
    client.failed = server.failed = false;
    cr_assert_eq(h2_init(&server.h2, H2_SERVER, uv_default_loop(), &host, &limits, &server.counters, "client"), 0);
    cr_assert_eq(h2_init(&client.h2, H2_CLIENT, uv_default_loop(), &host, &limits, &client.counters, "server"), 0);
    armed = true;
    exchange();
    start("/stream", 100);
    start("/stream", 30000);
    start("/unary", 10);
    exchange();
    finish(&client);
    finish(&server);
    armed = false;
    cr_assert_eq(n_closes, n_served + n_started);
}

Test(memory, any_allocation_may_fail)
{
    fail_at = 0;
    run_scenario();
    unsigned n = n_allocations;
    cr_assert_gt(n, 20, "the allocations do come here");
    for (fail_at = 1; fail_at <= n; fail_at++)
        run_scenario();
}

/* ------------------------------------------------------------------------------------------------ accepting */

static bool has_accepted(void *data)
{
    struct grpc_server_counters counters;
    grpc_server_counters(data, &counters);
    return counters.connections_accepted == 1;
}

static void set_flag(void *data)
{
    bool *flag = data;
    *flag = true;
}

Test(memory, connection_without_memory_is_taken_later)
{
    struct test_loop loop;
    struct grpc_server *listening;
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char err[128] = "";
    bool is_closed = false;
    test_loop_init(&loop);
    cr_assert_eq(grpc_server_new(&loop.loop, NULL, &listening), 0);
    cr_assert_eq(grpc_server_listen(listening, "127.0.0.1:0", NULL, err, sizeof err), 0, "%s", err);
    sin.sin_port = htons((uint16_t)atoi(strchr(grpc_server_address(listening, 0), ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&sin, sizeof sin), 0);

    n_allocations = 0;
    fail_at = 1;
    armed = true;
    cr_assert(test_loop_until_true(&loop, has_accepted, listening));
    armed = false;
    cr_assert_gt(n_allocations, 1, "the first one failed");

    close(fd);
    grpc_server_close(listening, set_flag, &is_closed);
    cr_assert(test_loop_until(&loop, &is_closed));
    test_loop_deinit(&loop);
}
