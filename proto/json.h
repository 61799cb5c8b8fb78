/* SPDX-License-Identifier: Apache-2.0 */
/* Any protobuf-c message as JSON, by its descriptor, in protobuf's own mapping
 * (https://protobuf.dev/programming-guides/json/): what stock tools print and read.
 *
 * The output is valid JSON whatever the message holds: strings that are not UTF-8 show U+FFFD in their place, and
 * control characters, line and paragraph separators and bidirectional overrides are escaped, so that a device's strings
 * cannot steer a terminal. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct ProtobufCMessage;

enum json_style {
    JSON_LINE,     /* all in one line, no spaces */
    JSON_INDENTED, /* two spaces a level */
};

/* Growing text. Starts zeroed; `text` is terminated once anything was printed. */
struct json_buffer {
    char *text;
    size_t len, capacity;
    bool failed; /* out of memory: what follows is left out */
};

/* Append `message` to `buffer`, without a newline at the end. Returns 0 or UV_ENOMEM (the buffer then ends anywhere).
 */
int json_print(const struct ProtobufCMessage *message, enum json_style style, struct json_buffer *buffer);
/* Empty, memory kept for the next message. */
void json_buffer_clear(struct json_buffer *buffer);
void json_buffer_deinit(struct json_buffer *buffer);
