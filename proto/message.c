/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/message.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "proto/wire.h"

#define BUDGET_FACTOR 16
#define BUDGET_BASE   ((size_t)64 * 1024)

/* Where in a message we are, for errors: "SubscribeRequest.filter.exclude". */
struct place {
    const struct place *outer;
    const char *name;
};

/* Appends to the terminated text in `err`; what does not fit is left out. */
static void append(char *err, size_t err_len, const char *text)
{
    size_t used = strnlen(err, err_len);
    if (used < err_len)
        snprintf(err + used, err_len - used, "%s", text);
}

static void append_place(char *err, size_t err_len, const struct place *place)
{
    if (place->outer) {
        append_place(err, err_len, place->outer);
        append(err, err_len, ".");
    }
    append(err, err_len, place->name);
}

static int refuse(const struct place *place, char *err, size_t err_len, const char *fault)
{
    if (err_len) {
        err[0] = '\0';
        append_place(err, err_len, place);
        append(err, err_len, ": ");
        append(err, err_len, fault);
    }
    return UV_EINVAL;
}

static enum wire_type wire_type_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT: return WIRE_FIXED32;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE: return WIRE_FIXED64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE: return WIRE_BYTES;
    default: return WIRE_VARINT;
    }
}

static bool wire_type_fits(const ProtobufCFieldDescriptor *field, enum wire_type type)
{
    enum wire_type own = wire_type_of(field->type);
    if (type == own)
        return true;
    return field->label == PROTOBUF_C_LABEL_REPEATED && own != WIRE_BYTES && type == WIRE_BYTES; /* packed */
}

static int check_fields(const ProtobufCMessageDescriptor *descriptor, const uint8_t *p, const uint8_t *end,
                        const struct place *place, int depth, char *err, size_t err_len)
{
    if (depth > MESSAGE_MAX_DEPTH)
        return refuse(place, err, err_len, "nested too deep");
    while (p < end) {
        struct wire_field wire;
        p = wire_field_read(p, end, &wire);
        if (!p)
            return refuse(place, err, err_len, "malformed or cut off");
        const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(descriptor, wire.number);
        if (!field)
            continue;
        struct place inside = {place, field->name};
        if (!wire_type_fits(field, wire.type))
            return refuse(&inside, err, err_len, "wrong wire type");
        if (field->type == PROTOBUF_C_TYPE_STRING) {
            if (!utf8_valid(wire.bytes, wire.len))
                return refuse(&inside, err, err_len, "not UTF-8");
            if (wire.len && memchr(wire.bytes, 0, wire.len))
                return refuse(&inside, err, err_len, "holds a NUL");
        }
        if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
            int rc =
                check_fields(field->descriptor, wire.bytes, wire.bytes + wire.len, &inside, depth + 1, err, err_len);
            if (rc != 0)
                return rc;
        }
    }
    return 0;
}

int message_check(const struct ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t len, char *err,
                  size_t err_len)
{
    struct place root = {NULL, descriptor->short_name};
    return len ? check_fields(descriptor, bytes, bytes + len, &root, 1, err, err_len) : 0;
}

static void *budget_alloc(void *data, size_t size)
{
    size_t *left = data;
    if (size > *left)
        return NULL;
    *left -= size;
    return malloc(size);
}

static void budget_free(void *data, void *memory)
{
    (void)data; /* what was used for a while stays counted: the budget bounds work as well as memory */
    free(memory);
}

struct ProtobufCMessage *message_unpack(const struct ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes,
                                        size_t len, size_t max_bytes)
{
    size_t left = max_bytes ? max_bytes : BUDGET_FACTOR * len + BUDGET_BASE;
    ProtobufCAllocator budget = {.alloc = budget_alloc, .free = budget_free, .allocator_data = &left};

    if (message_check(descriptor, bytes, len, NULL, 0) != 0)
        return NULL;
    return protobuf_c_message_unpack(descriptor, &budget, len, bytes);
}

void message_free(struct ProtobufCMessage *message)
{
    /* The budget's memory is malloc's, and so is the default allocator's. */
    protobuf_c_message_free_unpacked(message, NULL);
}

/* The count or oneof case that belongs to a field. */
static uint32_t quantifier(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return *(const uint32_t *)((const char *)message + field->quantifier_offset);
}

static int check_known(const ProtobufCMessage *message, const struct place *place, int depth, char *err,
                       size_t err_len);

static int check_value(const ProtobufCFieldDescriptor *field, const void *value, const struct place *place, int depth,
                       char *err, size_t err_len)
{
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        const ProtobufCMessage *inner = *(const ProtobufCMessage *const *)value;
        return inner ? check_known(inner, place, depth + 1, err, err_len) : 0;
    }
    if (field->type == PROTOBUF_C_TYPE_ENUM) {
        int number = *(const int *)value;
        char fault[40];
        if (protobuf_c_enum_descriptor_get_value(field->descriptor, number))
            return 0;
        snprintf(fault, sizeof(fault), "unknown value %d", number);
        return refuse(place, err, err_len, fault);
    }
    return 0;
}

static int check_field(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                       const struct place *place, int depth, char *err, size_t err_len)
{
    const char *value = (const char *)message + field->offset;
    struct place inside = {place, field->name};

    if (field->type != PROTOBUF_C_TYPE_MESSAGE && field->type != PROTOBUF_C_TYPE_ENUM)
        return 0;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        const char *items = *(const char *const *)value;
        size_t n = *(const size_t *)((const char *)message + field->quantifier_offset);
        size_t item_bytes = field->type == PROTOBUF_C_TYPE_MESSAGE ? sizeof(ProtobufCMessage *) : sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int rc = check_value(field, items + i * item_bytes, &inside, depth, err, err_len);
            if (rc != 0)
                return rc;
        }
        return 0;
    }
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && quantifier(message, field) != field->id)
        return 0;
    return check_value(field, value, &inside, depth, err, err_len);
}

static int check_known(const ProtobufCMessage *message, const struct place *place, int depth, char *err, size_t err_len)
{
    if (depth > MESSAGE_MAX_DEPTH)
        return refuse(place, err, err_len, "nested too deep");
    if (message->n_unknown_fields) {
        char fault[40];
        snprintf(fault, sizeof(fault), "unknown field %u", message->unknown_fields[0].tag);
        return refuse(place, err, err_len, fault);
    }
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        int rc = check_field(message, &message->descriptor->fields[i], place, depth, err, err_len);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int request_check_known(const struct ProtobufCMessage *message, char *err, size_t err_len)
{
    struct place root = {NULL, message->descriptor->short_name};
    return check_known(message, &root, 1, err, err_len);
}
