/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/grpc/fields.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/grpc/wire.h"

static nghttp2_nv field(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE};
}

void fields_init(struct fields *f)
{
    f->list = f->fixed;
    f->n = 0;
    f->longer = NULL;
}

void fields_deinit(struct fields *f)
{
    free(f->longer);
}

void fields_add(struct fields *f, const char *name, const char *value)
{
    assert(f->n < FIELDS_FIXED);
    f->fixed[f->n++] = field(name, value);
}

void fields_add_response(struct fields *f)
{
    fields_add(f, ":status", "200");
    fields_add(f, "content-type", "application/grpc");
    fields_add(f, "grpc-accept-encoding", "identity");
}

void fields_add_status(struct fields *f, int status, const char *message)
{
    snprintf(f->number, sizeof f->number, "%d", status);
    fields_add(f, "grpc-status", f->number);
    if (!message)
        return;
    wire_message_encode(message, f->message, sizeof f->message);
    fields_add(f, "grpc-message", f->message);
}

bool fields_add_metadata(struct fields *f, const struct headers *metadata)
{
    const char *value;
    if (metadata->n == 0)
        return true;
    f->longer = calloc(f->n + metadata->n, sizeof *f->longer);
    if (!f->longer)
        return false;
    memcpy(f->longer, f->fixed, f->n * sizeof *f->longer);
    f->list = f->longer;
    for (const char *name = headers_next(metadata, NULL, &value); name; name = headers_next(metadata, name, &value))
        f->longer[f->n++] = field(name, value);
    return true;
}
