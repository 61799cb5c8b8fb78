/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/c/request.h"

#include <protobuf-c/protobuf-c.h>
#include <uv.h>

#include "proto/grpc/grpc.h"

int request_start(struct grpc_channel *channel, const char *path, uint32_t deadline_ms, const ProtobufCMessage *request,
                  const struct grpc_call_ops *ops, void *data, struct grpc_call **out_call)
{
    size_t len = protobuf_c_message_get_packed_size(request);
    struct chunk *chunk = chunk_new(len);
    if (!chunk)
        return UV_ENOMEM;
    chunk->len = protobuf_c_message_pack(request, chunk->bytes);
    struct grpc_call *call;
    int rc = grpc_call_start(channel, path, deadline_ms, ops, data, &call);
    if (rc < 0) {
        chunk_unref(chunk);
        return rc;
    }
    const struct slice part = {.owner = chunk, .ptr = chunk->bytes, .len = chunk->len};
    rc = grpc_call_send(call, &part, 1);
    chunk_unref(chunk);
    if (rc < 0 || grpc_call_half_close(call) < 0)
        grpc_call_cancel(call);
    *out_call = call;
    return 0;
}
