/* SPDX-License-Identifier: Apache-2.0 */
/* A call that begins with its only request: unary and server-streaming methods. */
#pragma once

#include <stdint.h>

struct ProtobufCMessage;
struct grpc_call;
struct grpc_call_ops;
struct grpc_channel;

/* Start the call, send `request` (not kept) and half-close. On failure no callback of `ops` comes; a request that could
 * not be sent for lack of memory cancels the call: on_close then says CANCELLED. */
int request_start(struct grpc_channel *channel, const char *path, uint32_t deadline_ms,
                  const struct ProtobufCMessage *request, const struct grpc_call_ops *ops, void *data,
                  struct grpc_call **out_call);
