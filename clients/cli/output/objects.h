/* SPDX-License-Identifier: Apache-2.0 */
/* JSON objects one after the other: an object a line (ndjson) or one array (json), which is whole JSON as soon as
 * objects_end was called, however early. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "clients/cli/output/format.h"
#include "proto/json.h"

struct writer;

struct objects {
    struct writer *out;
    enum format format; /* FORMAT_JSON or FORMAT_NDJSON */
    struct json_buffer buffer;
    size_t n;
    bool failed; /* out of memory */
};

void objects_begin(struct objects *o, struct writer *out, enum format format);
/* The message itself, or {"NAME": message} when `name` is given. */
void objects_put(struct objects *o, const char *name, const struct ProtobufCMessage *message);
/* Close the array and free. False when something was left out because memory was out. */
bool objects_end(struct objects *o);
