/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as they come from outside: checked, unpacked, and refused by name. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct grpc_call;
struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;

/* Unpack a request that this version understands completely. On failure returns NULL and has finished the call with
 * INVALID_ARGUMENT naming the field (or RESOURCE_EXHAUSTED). Free with message_free. */
struct ProtobufCMessage *request_read(struct grpc_call *call, const struct ProtobufCMessageDescriptor *descriptor,
                                      const uint8_t *bytes, size_t len);
/* The number in a message's own field `field`, also when the rest of the message does not decode; 0 when it is not to
 * be found. For telling a caller which of its requests was wrong. */
uint64_t request_number(const uint8_t *bytes, size_t len, uint32_t field);
/* Pack and send the one reply, and finish the call. Does not free `message`. */
void request_reply(struct grpc_call *call, const struct ProtobufCMessage *message);
