/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a peer into a gRPC session, server or client side, without sockets; and into the reassembly of messages.
 *
 * The first byte of the input: bit 0 = we are the client, bit 1 = the peer's preface and SETTINGS are put in front,
 * the rest = length of the pieces that arrive (0 = all at once). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/grpc/call.h"
#include "proto/grpc/h2.h"

enum { AS_CLIENT = 1, WITH_PREFACE = 2, PIECE_SHIFT = 2 };

static struct grpc_server_counters counters;
static unsigned n_open;

/* An assertion that stays in optimised builds. */
static void require(bool what)
{
    if (!what)
        abort();
}

/* ------------------------------------------------------------------------------------------------ calls
 * What a call does depends on what it gets, so that inputs reach every way a call can end. */

/* The message as the value of a field; most are refused. */
static void fuzz_metadata(struct grpc_call *call, const uint8_t *bytes, size_t len)
{
    char value[64];
    size_t n = len - 1 < sizeof value - 1 ? len - 1 : sizeof value - 1;
    memcpy(value, bytes + 1, n);
    value[n] = '\0';
    grpc_call_set_initial(call, "x-initial", value);
    grpc_call_set_trailing(call, "x-trailing-bin", value);
}

static void on_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct slice part = {.ptr = bytes, .len = len};
    (void)data;
    switch (len > 0 ? bytes[0] & 7 : 0) {
    case 1: grpc_call_pause(call); break;
    case 2: grpc_call_resume(call); break;
    case 3: grpc_call_cancel(call); break;
    case 4:
        if (call->h2->side == H2_CLIENT)
            break;
        fuzz_metadata(call, bytes, len);
        grpc_call_finish(call, bytes[0] >> 4, "%.*s", (int)len, (const char *)bytes);
        break;
    default: grpc_call_send(call, &part, 1); break;
    }
}

static void on_half_close(struct grpc_call *call, void *data)
{
    (void)data;
    grpc_call_finish(call, GRPC_OK, NULL);
}

static void on_writable(struct grpc_call *call, void *data)
{
    (void)data;
    grpc_call_resume(call);
}

static void on_close(struct grpc_call *call, void *data, int status, const char *message)
{
    (void)data;
    (void)grpc_call_trailer(call, "x-trailing");
    require(status >= GRPC_OK && status <= GRPC_UNAUTHENTICATED && message != NULL);
    n_open--;
}

static const struct grpc_call_ops ops = {
    .on_message = on_message, .on_half_close = on_half_close, .on_writable = on_writable, .on_close = on_close};

static void handle_unary(struct grpc_call *call, void *service, const uint8_t *bytes, size_t len)
{
    (void)service;
    grpc_unary_reply(call, bytes, len);
}

/* ------------------------------------------------------------------------------------------------ host */

static void on_nothing(struct h2 *h2)
{
    (void)h2;
}

static void on_call(struct h2 *h2, struct grpc_call *call)
{
    const char *path = grpc_call_metadata(call, ":path");
    (void)h2;
    if (path && strstr(path, "Say")) {
        grpc_unary_accept(call, NULL, handle_unary);
    } else if (path && strstr(path, "No")) {
        grpc_call_finish(call, GRPC_UNIMPLEMENTED, "unknown method %s", path);
    } else {
        n_open++;
        grpc_call_accept(call, &ops, NULL);
    }
}

static const struct h2_host host = {on_nothing, on_nothing, on_nothing, on_call, on_nothing};

/* ------------------------------------------------------------------------------------------------ a session */

/* One turn, as conn.c does it, to a peer that reads everything. */
static void turn(struct h2 *h2)
{
    static struct outbox box;
    do {
        h2_turn(h2);
        outbox_init(&box);
        int rc = h2_send(h2, &box);
        outbox_deinit(&box);
        if (rc != 0)
            return;
    } while (h2->would_block || h2->attention);
}

static void feed(struct h2 *h2, const uint8_t *bytes, size_t len, size_t piece)
{
    while (len > 0 && !h2->failed) {
        size_t n = piece > 0 && piece < len ? piece : len;
        if (h2_receive(h2, bytes, n) != 0)
            return;
        turn(h2);
        bytes += n;
        len -= n;
    }
}

static void run_session(const uint8_t *bytes, size_t len, unsigned options)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    static const uint8_t settings[] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
    struct grpc_limits wanted = {.max_message_bytes = 65536, .max_streams = 20, .max_queued_bytes = 65536};
    struct grpc_limits limits = h2_limits_resolve(&wanted);
    bool client = options & AS_CLIENT;
    struct grpc_call *calls[3];
    struct h2 h2;
    if (h2_init(&h2, client ? H2_CLIENT : H2_SERVER, uv_default_loop(), &host, &limits, &counters, "fuzz") != 0)
        abort();
    for (size_t i = 0; client && i < sizeof calls / sizeof calls[0]; i++) {
        struct grpc_call_options call_options = {.deadline_ms = i == 0 ? 0 : 60000};
        if (call_start(&h2, "/a/b", "fuzz", &call_options, &ops, NULL, &calls[i]) == 0)
            n_open++;
    }
    turn(&h2);
    if (options & WITH_PREFACE) {
        if (!client)
            feed(&h2, (const uint8_t *)preface, sizeof preface - 1, 0);
        feed(&h2, settings, sizeof settings, 0);
    }
    feed(&h2, bytes, len, options >> PIECE_SHIFT);
    h2_close(&h2, GRPC_UNAVAILABLE, "over");
    turn(&h2);
    h2_deinit(&h2);
    require(n_open == 0 && counters.calls_open == 0);
}

static void run_framer(const uint8_t *bytes, size_t len, size_t piece)
{
    struct wire_framer framer = {.max_len = 1000};
    enum wire_step step = WIRE_NEED_MORE;
    const uint8_t *message;
    size_t message_len;
    while (len > 0 && step == WIRE_NEED_MORE) {
        size_t left = piece > 0 && piece < len ? piece : len;
        len -= left;
        while ((step = wire_framer_step(&framer, &bytes, &left, &message, &message_len)) == WIRE_MESSAGE)
            require(message_len <= framer.max_len);
    }
    wire_framer_deinit(&framer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    run_session(data + 1, size - 1, data[0]);
    run_framer(data + 1, size - 1, data[0] >> PIECE_SHIFT);
    return 0;
}
