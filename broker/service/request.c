/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/service/request.h"

#include <protobuf-c/protobuf-c.h>
#include <stdlib.h>

#include "proto/grpc/grpc.h"
#include "proto/message.h"
#include "proto/wire.h"

struct ProtobufCMessage *request_read(struct grpc_call *call, const struct ProtobufCMessageDescriptor *descriptor,
                                      const uint8_t *bytes, size_t len)
{
    char err[256];

    if (message_check(descriptor, bytes, len, err, sizeof err)) {
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "%s", err);
        return NULL;
    }
    struct ProtobufCMessage *message = message_unpack(descriptor, bytes, len, 0);
    if (!message) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "%s: takes too much memory", descriptor->short_name);
        return NULL;
    }
    if (request_check_known(message, err, sizeof err)) {
        message_free(message);
        grpc_call_finish(call, GRPC_INVALID_ARGUMENT, "%s", err);
        return NULL;
    }
    return message;
}

uint64_t request_number(const uint8_t *bytes, size_t len, uint32_t field)
{
    const uint8_t *p = bytes, *end = bytes + len;
    struct wire_field f;
    uint64_t number = 0;

    while (p && p < end && (p = wire_field_read(p, end, &f)))
        if (f.number == field && f.type == WIRE_VARINT)
            number = f.value;
    return number;
}

void request_reply(struct grpc_call *call, const struct ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = malloc(len ? len : 1);

    if (!bytes) {
        grpc_call_finish(call, GRPC_RESOURCE_EXHAUSTED, "out of memory");
        return;
    }
    protobuf_c_message_pack(message, bytes);
    grpc_unary_reply(call, bytes, len);
    free(bytes);
}
