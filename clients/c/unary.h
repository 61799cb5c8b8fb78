/* SPDX-License-Identifier: Apache-2.0 */
/* One request, one reply. */
#pragma once

#include <stdint.h>

struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;
struct grpc_channel;

/* `reply` is NULL unless `status` is GRPC_OK; the callback takes it over (message_free). `message` is never NULL. */
typedef void (*unary_cb)(void *data, int status, const char *message, struct ProtobufCMessage *reply);

/* Call `path` with `request` (not kept). `cb` runs exactly once, from the loop: also when the channel is lost or
 * closed. A missing, second or malformed reply is GRPC_INTERNAL. On failure (UV_ENOMEM, or what the channel says) no
 * callback comes. */
int unary_call(struct grpc_channel *channel, const char *path, uint32_t deadline_ms,
               const struct ProtobufCMessage *request, const struct ProtobufCMessageDescriptor *reply_type, unary_cb cb,
               void *data);
