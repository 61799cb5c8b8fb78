/* SPDX-License-Identifier: Apache-2.0 */
/* protobuf-c messages from outside: checked before and after they are unpacked.
 *
 * protobuf-c has no limits of its own: nesting ends in a stack overflow, two bytes can cost hundreds, and bytes that
 * are not UTF-8 pass into strings. Here nothing is unpacked that was not walked first, by the message's own descriptor.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define MESSAGE_MAX_DEPTH 16

struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;

/* Check the bytes of a message: tags, lengths, wire types of known fields, strings UTF-8 without NUL, at most
 * MESSAGE_MAX_DEPTH levels. Unknown fields pass (request_check_known finds them). Returns 0, or UV_EINVAL with `err`
 * naming field and fault ("AcknowledgeRequest.cursor: not UTF-8"). */
int message_check(const struct ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t len, char *err,
                  size_t err_len);

/* message_check, then protobuf-c's unpack with bounded memory: at most `max_bytes` for everything (0 = 16 * len + 64
 * KiB). NULL when malformed, too large or too deep, or out of memory. Free with message_free. */
struct ProtobufCMessage *message_unpack(const struct ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes,
                                        size_t len, size_t max_bytes);
void message_free(struct ProtobufCMessage *message);

/* Unknown fields and enum values of a request, looked for through all its sub-messages. Returns 0, or UV_EINVAL with
 * `err` naming the first one ("SubscribeRequest.filter: unknown field 17", "SubscribeRequest.slow_reader_policy:
 * unknown value 9"). */
int request_check_known(const struct ProtobufCMessage *message, char *err, size_t err_len);
