/* SPDX-License-Identifier: Apache-2.0 */
/* The server that the gRPC project's own interoperability client is tried on: official.proto on sensebus_grpc, as
 * grpc/doc/interop-test-descriptions.md has it.
 *
 * official_server: prints "listening 127.0.0.1:PORT", serves until SIGTERM, drains, exits 0. */
#include <stdio.h>
#include <stdlib.h>

#include "official.pb-c.h"
#include "proto/grpc/grpc.h"

typedef Grpc__Testing__SimpleRequest SimpleRequest;
typedef Grpc__Testing__StreamingInputCallRequest InputRequest;
typedef Grpc__Testing__StreamingOutputCallRequest OutputRequest;

enum { DRAIN_GRACE_MS = 2000, MAX_REPLY_BYTES = 1 << 20 };

static const uint8_t zeros[MAX_REPLY_BYTES];

static struct {
    uv_loop_t loop;
    struct grpc_server *server;
    uv_signal_t sigterm;
} app;

/* ------------------------------------------------------------------------------------------------ replies */

static void send_message(struct grpc_call *call, const ProtobufCMessage *message)
{
    struct chunk *chunk = chunk_new(protobuf_c_message_get_packed_size(message));
    if (!chunk)
        abort();
    chunk->len = protobuf_c_message_pack(message, chunk->bytes);
    struct slice part = {.owner = chunk, .ptr = chunk->bytes, .len = chunk->len};
    int rc = grpc_call_send(call, &part, 1);
    chunk_unref(chunk);
    if (rc != 0)
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "cannot send a reply: %s", uv_strerror(rc));
}

/* False when no such payload is made: the call is finished then. */
static bool make_payload(struct grpc_call *call, int32_t size, Grpc__Testing__Payload *out)
{
    *out = (Grpc__Testing__Payload)GRPC__TESTING__PAYLOAD__INIT;
    if (size < 0 || size > MAX_REPLY_BYTES) {
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "no payload of %d bytes", size);
        return false;
    }
    out->body.data = (uint8_t *)zeros;
    out->body.len = (size_t)size;
    return true;
}

static void finish_with(struct grpc_call *call, const Grpc__Testing__EchoStatus *status)
{
    int code = status->code >= GRPC_OK && status->code <= GRPC_UNAUTHENTICATED ? status->code : GRPC_UNKNOWN;
    grpc_call_finish(call, code, "%s", status->message);
}

static void echo_metadata(struct grpc_call *call)
{
    static const char at_start[] = "x-grpc-test-echo-initial";
    static const char at_end[] = "x-grpc-test-echo-trailing-bin";
    const char *initial = grpc_call_metadata(call, at_start);
    const char *trailing = grpc_call_metadata(call, at_end);
    if ((initial && grpc_call_set_initial(call, at_start, initial) != 0) ||
        (trailing && grpc_call_set_trailing(call, at_end, trailing) != 0))
        abort();
}

/* ------------------------------------------------------------------------------------------------ one request */

static void handle_empty(struct grpc_call *call, void *service, const uint8_t *bytes, size_t len)
{
    (void)service;
    (void)bytes;
    (void)len;
    grpc_unary_reply(call, NULL, 0);
}

static void handle_unary(struct grpc_call *call, void *service, const uint8_t *bytes, size_t len)
{
    SimpleRequest *request = grpc__testing__simple_request__unpack(NULL, len, bytes);
    Grpc__Testing__SimpleResponse reply = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    Grpc__Testing__Payload payload;
    (void)service;
    if (!request) {
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "not a SimpleRequest");
        return;
    }
    if (request->response_status && request->response_status->code != GRPC_OK) {
        finish_with(call, request->response_status);
    } else if (make_payload(call, request->response_size, &payload)) {
        reply.payload = &payload;
        send_message(call, &reply.base);
        grpc_call_finish(call, GRPC_OK, NULL);
    }
    grpc__testing__simple_request__free_unpacked(request, NULL);
}

static void start_empty(struct grpc_call *call, void *service)
{
    grpc_unary_accept(call, service, handle_empty);
}

static void start_unary(struct grpc_call *call, void *service)
{
    grpc_unary_accept(call, service, handle_unary);
    echo_metadata(call);
}

/* ------------------------------------------------------------------------------------------------ streams */

/* Each request is answered at once, with as many replies as it asks for. */
static void on_output_request(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    OutputRequest *request = grpc__testing__streaming_output_call_request__unpack(NULL, len, bytes);
    (void)data;
    if (!request) {
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "not a StreamingOutputCallRequest");
        return;
    }
    if (request->response_status && request->response_status->code != GRPC_OK) {
        finish_with(call, request->response_status);
    } else {
        for (size_t i = 0; i < request->n_response_parameters; i++) {
            Grpc__Testing__StreamingOutputCallResponse reply = GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
            Grpc__Testing__Payload payload;
            if (!make_payload(call, request->response_parameters[i]->size, &payload))
                break;
            reply.payload = &payload;
            send_message(call, &reply.base);
        }
    }
    grpc__testing__streaming_output_call_request__free_unpacked(request, NULL);
}

static void on_output_half_close(struct grpc_call *call, void *data)
{
    (void)data;
    grpc_call_finish(call, GRPC_OK, NULL);
}

struct upload {
    uint64_t n_bytes;
};

static void on_input_request(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    struct upload *upload = data;
    InputRequest *request = grpc__testing__streaming_input_call_request__unpack(NULL, len, bytes);
    if (!request) {
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "not a StreamingInputCallRequest");
        return;
    }
    if (request->payload)
        upload->n_bytes += request->payload->body.len;
    grpc__testing__streaming_input_call_request__free_unpacked(request, NULL);
}

static void on_input_half_close(struct grpc_call *call, void *data)
{
    const struct upload *upload = data;
    Grpc__Testing__StreamingInputCallResponse reply = GRPC__TESTING__STREAMING_INPUT_CALL_RESPONSE__INIT;
    reply.aggregated_payload_size = (int32_t)upload->n_bytes;
    send_message(call, &reply.base);
    grpc_call_finish(call, GRPC_OK, NULL);
}

static void on_close(struct grpc_call *call, void *data, int status, const char *message)
{
    (void)call;
    (void)status;
    (void)message;
    free(data);
}

static const struct grpc_call_ops output_ops = {
    .on_message = on_output_request, .on_half_close = on_output_half_close, .on_close = on_close};
static const struct grpc_call_ops input_ops = {
    .on_message = on_input_request, .on_half_close = on_input_half_close, .on_close = on_close};

static void start_output(struct grpc_call *call, void *service)
{
    (void)service;
    grpc_call_accept(call, &output_ops, NULL);
    echo_metadata(call);
}

static void start_input(struct grpc_call *call, void *service)
{
    struct upload *upload = calloc(1, sizeof *upload);
    (void)service;
    if (!upload)
        abort();
    grpc_call_accept(call, &input_ops, upload);
}

static const struct grpc_method methods[] = {
    {"/grpc.testing.TestService/EmptyCall", start_empty},
    {"/grpc.testing.TestService/UnaryCall", start_unary},
    {"/grpc.testing.TestService/StreamingOutputCall", start_output},
    {"/grpc.testing.TestService/StreamingInputCall", start_input},
    {"/grpc.testing.TestService/FullDuplexCall", start_output},
};

/* ------------------------------------------------------------------------------------------------ the server itself */

static void on_drained(void *data)
{
    (void)data;
    grpc_server_close(app.server, NULL, NULL);
    uv_close((uv_handle_t *)&app.sigterm, NULL);
}

static void on_sigterm(uv_signal_t *handle, int number)
{
    (void)handle;
    (void)number;
    grpc_server_drain(app.server, DRAIN_GRACE_MS, on_drained, NULL);
}

static void check(int rc, const char *what)
{
    if (rc == 0)
        return;
    fprintf(stderr, "official_server: %s: %s\n", what, uv_strerror(rc));
    exit(1);
}

int main(void)
{
    char err[256] = "";
    check(uv_loop_init(&app.loop), "loop");
    check(grpc_server_new(&app.loop, NULL, &app.server), "server");
    check(grpc_server_add(app.server, methods, sizeof methods / sizeof methods[0], NULL), "service");
    check(grpc_server_listen(app.server, "127.0.0.1:0", NULL, err, sizeof err), err);
    uv_signal_init(&app.loop, &app.sigterm);
    uv_signal_start(&app.sigterm, on_sigterm, SIGTERM);
    printf("listening %s\n", grpc_server_address(app.server, 0));
    fflush(stdout);
    uv_run(&app.loop, UV_RUN_DEFAULT);
    return uv_loop_close(&app.loop) == 0 ? 0 : 1;
}
