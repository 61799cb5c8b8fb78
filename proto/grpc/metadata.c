/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/grpc/metadata.h"

#include <string.h>
#include <uv.h>

#include "proto/grpc/grpc.h"

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

/* Fields that HTTP/2 forbids, or that say how the call itself is carried. */
static const char *const reserved[] = {
    "connection", "content-length",    "content-type", "host",       "keep-alive", "proxy-connection",
    "te",         "transfer-encoding", "upgrade",      "user-agent", "trailer",
};

static const char *name_fault(const char *name)
{
    if (name[0] == '\0')
        return "the name is empty";
    if (name[strspn(name, LOWER DIGITS "_-.")] != '\0')
        return "the name holds something else than a-z, 0-9, '_', '-' and '.'";
    if (strncmp(name, "grpc-", 5) == 0)
        return "names with grpc- belong to the protocol";
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        if (strcmp(name, reserved[i]) == 0)
            return "the name belongs to HTTP";
    }
    return NULL;
}

static bool is_binary(const char *name)
{
    size_t len = strlen(name);
    return len >= 4 && strcmp(name + len - 4, "-bin") == 0;
}

const char *grpc_metadata_fault(const char *name, const char *value)
{
    const char *fault = name_fault(name);
    size_t len = strlen(value);
    if (fault)
        return fault;
    for (size_t i = 0; i < len; i++) {
        if (value[i] < ' ' || value[i] > '~')
            return "the value holds something else than printable ASCII";
    }
    /* HTTP would take them away. */
    if (len > 0 && (value[0] == ' ' || value[len - 1] == ' '))
        return "the value begins or ends with a space";
    if (is_binary(name) && value[strspn(value, LOWER UPPER DIGITS "+/=,")] != '\0')
        return "the value of a -bin name is not base64";
    return NULL;
}

int metadata_add(struct headers *list, const char *name, const char *value, size_t max_bytes)
{
    if (grpc_metadata_fault(name, value))
        return UV_EINVAL;
    size_t name_len = strlen(name);
    size_t value_len = strlen(value);
    if (list->list_bytes + name_len + value_len + HEADERS_FIELD_OVERHEAD > max_bytes)
        return UV_E2BIG;
    return headers_add(list, (const uint8_t *)name, name_len, (const uint8_t *)value, value_len, max_bytes);
}
