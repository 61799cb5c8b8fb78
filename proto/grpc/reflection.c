/* SPDX-License-Identifier: Apache-2.0 */
/* The reflection service, under its two names. Both have the same messages on the wire, so v1's code serves both. */
#include <stdlib.h>
#include <string.h>

#include "grpc/reflection/v1/reflection.pb-c.h"
#include "proto/grpc/descriptors.h"
#include "proto/grpc/grpc.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest Request;
typedef Grpc__Reflection__V1__ServerReflectionResponse Response;

enum { MAX_REQUEST_BYTES = 16 * 1024 };

struct grpc_reflection {
    struct descriptors descriptors;
    const char *const *services;
    size_t n_services;
    size_t *closure; /* room for every file */
    unsigned n_calls;
};

/* ------------------------------------------------------------------------------------------------ answers
 * Each makes its response and sends it, because that refers to memory of its own. */

static Response response_to(Request *request)
{
    Response response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    response.valid_host = request->host;
    response.original_request = request;
    return response;
}

static void send_response(struct grpc_call *call, const Response *response)
{
    size_t len = grpc__reflection__v1__server_reflection_response__get_packed_size(response);
    struct chunk *chunk = chunk_new(len);
    if (!chunk) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "no memory for the answer");
        return;
    }
    chunk->len = grpc__reflection__v1__server_reflection_response__pack(response, chunk->bytes);
    struct slice part = {.owner = chunk, .ptr = chunk->bytes, .len = chunk->len};
    int rc = grpc_call_send(call, &part, 1);
    if (rc != 0)
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "cannot send the answer: %s", uv_strerror(rc));
    chunk_unref(chunk);
}

static void send_error(struct grpc_call *call, Request *request, int status, const char *what)
{
    Response response = response_to(request);
    Grpc__Reflection__V1__ErrorResponse error = GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;
    error.error_code = status;
    error.error_message = (char *)what;
    response.error_response = &error;
    response.message_response_case = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    send_response(call, &response);
}

static void send_file(struct grpc_reflection *r, struct grpc_call *call, Request *request, size_t file,
                      const char *otherwise)
{
    Response response = response_to(request);
    Grpc__Reflection__V1__FileDescriptorResponse files = GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
    if (file == SIZE_MAX) {
        send_error(call, request, GRPC_NOT_FOUND, otherwise);
        return;
    }
    size_t n = descriptors_closure(&r->descriptors, file, r->closure);
    ProtobufCBinaryData *bytes = calloc(n, sizeof *bytes);
    if (!bytes) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "no memory for the answer");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct descriptor_text text = r->descriptors.files[r->closure[i]].bytes;
        bytes[i] = (ProtobufCBinaryData){.data = (uint8_t *)text.ptr, .len = text.len};
    }
    files.n_file_descriptor_proto = n;
    files.file_descriptor_proto = bytes;
    response.file_descriptor_response = &files;
    response.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    send_response(call, &response);
    free(bytes);
}

static void send_extension_numbers(struct grpc_reflection *r, struct grpc_call *call, Request *request,
                                   const char *type)
{
    Response response = response_to(request);
    const struct descriptors *d = &r->descriptors;
    const struct descriptor_symbol *symbol = descriptors_symbol(d, type);
    Grpc__Reflection__V1__ExtensionNumberResponse numbers = GRPC__REFLECTION__V1__EXTENSION_NUMBER_RESPONSE__INIT;
    if (!symbol || !symbol->is_message) {
        send_error(call, request, GRPC_NOT_FOUND, "unknown message type");
        return;
    }
    numbers.base_type_name = symbol->name;
    numbers.extension_number = calloc(d->n_extensions + 1, sizeof *numbers.extension_number);
    if (!numbers.extension_number) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "no memory for the answer");
        return;
    }
    for (size_t i = 0; i < d->n_extensions; i++) {
        const struct descriptor_extension *e = &d->extensions[i];
        if (e->extendee.len == strlen(type) && memcmp(e->extendee.ptr, type, e->extendee.len) == 0)
            numbers.extension_number[numbers.n_extension_number++] = e->number;
    }
    response.all_extension_numbers_response = &numbers;
    response.message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
    send_response(call, &response);
    free(numbers.extension_number);
}

static void send_services(struct grpc_reflection *r, struct grpc_call *call, Request *request)
{
    Response response = response_to(request);
    Grpc__Reflection__V1__ListServiceResponse list = GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
    Grpc__Reflection__V1__ServiceResponse *services = calloc(r->n_services + 1, sizeof *services);
    Grpc__Reflection__V1__ServiceResponse **pointers = calloc(r->n_services + 1, sizeof(void *));
    if (services && pointers) {
        for (size_t i = 0; i < r->n_services; i++) {
            grpc__reflection__v1__service_response__init(&services[i]);
            services[i].name = (char *)r->services[i];
            pointers[i] = &services[i];
        }
        list.n_service = r->n_services;
        list.service = pointers;
        response.list_services_response = &list;
        response.message_response_case =
            GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
        send_response(call, &response);
    } else {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "no memory for the answer");
    }
    free(services);
    free(pointers);
}

static void answer(struct grpc_reflection *r, struct grpc_call *call, Request *request)
{
    const struct descriptors *d = &r->descriptors;
    const struct descriptor_symbol *symbol;
    const Grpc__Reflection__V1__ExtensionRequest *extension;
    switch (request->message_request_case) {
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        send_file(r, call, request, descriptors_file(d, request->file_by_filename), "unknown file");
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        symbol = descriptors_symbol(d, request->file_containing_symbol);
        send_file(r, call, request, symbol ? symbol->file : SIZE_MAX, "unknown symbol");
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
        extension = request->file_containing_extension;
        send_file(r, call, request, descriptors_extension(d, extension->containing_type, extension->extension_number),
                  "unknown extension");
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
        send_extension_numbers(r, call, request, request->all_extension_numbers_of_type);
        break;
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        send_services(r, call, request);
        break;
    default: send_error(call, request, GRPC_INVALID_ARGUMENT, "no question, or one that is not known"); break;
    }
}

/* ------------------------------------------------------------------------------------------------ the call */

/* Anybody may ask, and answers are longer than questions: so few calls at a time, of all connections together, and
 * little that waits on each. */
enum { MAX_CALLS = 64, MAX_WAITING_BYTES = 1024 * 1024 };

static void on_message(struct grpc_call *call, void *data, const uint8_t *bytes, size_t len)
{
    if (grpc_call_queued_bytes(call) > MAX_WAITING_BYTES) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "%zu bytes of answers wait, and are not read",
                         grpc_call_queued_bytes(call));
        return;
    }
    Request *request =
        len <= MAX_REQUEST_BYTES ? grpc__reflection__v1__server_reflection_request__unpack(NULL, len, bytes) : NULL;
    if (!request) {
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "not a ServerReflectionRequest");
        return;
    }
    answer(data, call, request);
    grpc__reflection__v1__server_reflection_request__free_unpacked(request, NULL);
    /* Take the next when the client has read some. */
    if (!grpc_call_writable(call))
        grpc_call_pause(call);
}

static void on_writable(struct grpc_call *call, void *data)
{
    (void)data;
    grpc_call_resume(call);
}

static void on_half_close(struct grpc_call *call, void *data)
{
    (void)data;
    grpc_call_finish(call, GRPC_OK, NULL);
}

static void on_close(struct grpc_call *call, void *data, int status, const char *message)
{
    ((struct grpc_reflection *)data)->n_calls--;
    (void)call;
    (void)status;
    (void)message;
}

static const struct grpc_call_ops ops = {
    .on_message = on_message, .on_half_close = on_half_close, .on_writable = on_writable, .on_close = on_close};

static void start(struct grpc_call *call, void *data)
{
    struct grpc_reflection *r = data;
    if (r->n_calls == MAX_CALLS) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "%d calls of this service are open already", MAX_CALLS);
        return;
    }
    r->n_calls++;
    grpc_call_accept(call, &ops, r);
}

static const struct grpc_method methods[] = {
    {"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", start},
    {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", start},
};

int grpc_reflection_new(struct grpc_server *server, const uint8_t *descriptor_set, size_t len,
                        const char *const *services, size_t n_services, struct grpc_reflection **out_reflection)
{
    struct grpc_reflection *r = calloc(1, sizeof *r);
    if (!r)
        return UV_ENOMEM;
    r->services = services;
    r->n_services = n_services;
    int rc = descriptors_init(&r->descriptors, descriptor_set, len);
    if (rc == 0) {
        r->closure = calloc(r->descriptors.n_files + 1, sizeof *r->closure);
        rc = r->closure ? grpc_server_add(server, methods, sizeof methods / sizeof methods[0], r) : UV_ENOMEM;
    }
    if (rc == 0)
        *out_reflection = r;
    else
        grpc_reflection_free(r);
    return rc;
}

void grpc_reflection_free(struct grpc_reflection *r)
{
    if (!r)
        return;
    descriptors_deinit(&r->descriptors);
    free(r->closure);
    free(r);
}
