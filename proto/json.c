/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/json.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <protobuf-c/protobuf-c.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "proto/wire.h"

#define FIRST_CAPACITY 512
#define NAME_BYTES     128

struct printer {
    struct json_buffer *out;
    enum json_style style;
    int level;
};

static void print_message(struct printer *p, const ProtobufCMessage *message);

static bool reserve(struct json_buffer *b, size_t more)
{
    if (b->failed)
        return false;
    size_t wanted = b->len + more + 1;
    if (wanted <= b->capacity)
        return true;
    size_t capacity = b->capacity ? b->capacity : FIRST_CAPACITY;
    while (capacity < wanted)
        capacity *= 2;
    char *text = realloc(b->text, capacity);
    if (!text) {
        b->failed = true;
        return false;
    }
    b->text = text;
    b->capacity = capacity;
    return true;
}

static void put(struct printer *p, const char *text, size_t len)
{
    if (!reserve(p->out, len))
        return;
    memcpy(p->out->text + p->out->len, text, len);
    p->out->len += len;
    p->out->text[p->out->len] = '\0';
}

static void put_text(struct printer *p, const char *text)
{
    put(p, text, strlen(text));
}

/* Numbers and escapes: short. */
__attribute__((format(printf, 2, 3))) static void put_formatted(struct printer *p, const char *format, ...)
{
    char text[64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    put_text(p, text);
}

static void put_newline(struct printer *p)
{
    if (p->style == JSON_LINE)
        return;
    put_text(p, "\n");
    for (int i = 0; i < p->level; i++)
        put_text(p, "  ");
}

static void open_group(struct printer *p, const char *bracket)
{
    put_text(p, bracket);
    p->level++;
}

static void close_group(struct printer *p, const char *bracket, bool empty)
{
    p->level--;
    if (!empty)
        put_newline(p);
    put_text(p, bracket);
}

/* Before each item of a group. */
static void next_item(struct printer *p, bool *first)
{
    if (!*first)
        put_text(p, ",");
    *first = false;
    put_newline(p);
}

/* Invisible, or able to move what a terminal shows. */
static bool must_escape(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point <= 0x9f) || point == 0x200e || point == 0x200f || point == 0x2028 ||
           point == 0x2029 || (point >= 0x202a && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069) ||
           point == 0xfeff;
}

static void put_character(struct printer *p, const char *bytes, size_t n, uint32_t point)
{
    if (point == '"' || point == '\\')
        put_formatted(p, "\\%c", (char)point);
    else if (point == '\n')
        put_text(p, "\\n");
    else if (point == '\r')
        put_text(p, "\\r");
    else if (point == '\t')
        put_text(p, "\\t");
    else if (must_escape(point))
        put_formatted(p, "\\u%04" PRIx32, point); /* all of them are below U+10000 */
    else
        put(p, bytes, n);
}

static void print_string(struct printer *p, const char *text)
{
    size_t len = strlen(text);
    put_text(p, "\"");
    for (size_t i = 0; i < len;) {
        uint32_t point;
        size_t n = utf8_decode((const uint8_t *)text + i, len - i, &point);
        if (n == 0) {
            put_text(p, "\\ufffd");
            n = 1;
        } else {
            put_character(p, text + i, n, point);
        }
        i += n;
    }
    put_text(p, "\"");
}

static void print_base64(struct printer *p, const ProtobufCBinaryData *data)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    put_text(p, "\"");
    for (size_t i = 0; i < data->len; i += 3) {
        size_t n = data->len - i < 3 ? data->len - i : 3;
        uint32_t bits = (uint32_t)data->data[i] << 16;
        if (n > 1)
            bits |= (uint32_t)data->data[i + 1] << 8;
        if (n > 2)
            bits |= data->data[i + 2];
        const char quad[4] = {digits[bits >> 18], digits[bits >> 12 & 63], n > 1 ? digits[bits >> 6 & 63] : '=',
                              n > 2 ? digits[bits & 63] : '='};
        put(p, quad, sizeof(quad));
    }
    put_text(p, "\"");
}

static void print_real(struct printer *p, double value, int n_digits)
{
    char text[64];
    if (isnan(value)) {
        put_text(p, "\"NaN\"");
    } else if (isinf(value)) {
        put_text(p, value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    } else {
        snprintf(text, sizeof(text), "%.*g", n_digits, value);
        char *comma = strchr(text, ','); /* the locale's decimal point */
        if (comma)
            *comma = '.';
        put_text(p, text);
    }
}

static void print_enum(struct printer *p, const ProtobufCEnumDescriptor *descriptor, int number)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(descriptor, number);
    if (!value) { /* newer than this build */
        put_formatted(p, "%d", number);
        return;
    }
    put_text(p, "\"");
    put_text(p, value->name);
    put_text(p, "\"");
}

static void print_value(struct printer *p, const ProtobufCFieldDescriptor *field, const void *value)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32: put_formatted(p, "%" PRId32, *(const int32_t *)value); break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32: put_formatted(p, "%" PRIu32, *(const uint32_t *)value); break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64: put_formatted(p, "\"%" PRId64 "\"", *(const int64_t *)value); break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64: put_formatted(p, "\"%" PRIu64 "\"", *(const uint64_t *)value); break;
    case PROTOBUF_C_TYPE_FLOAT: print_real(p, (double)*(const float *)value, 9); break;
    case PROTOBUF_C_TYPE_DOUBLE: print_real(p, *(const double *)value, 17); break;
    case PROTOBUF_C_TYPE_BOOL: put_text(p, *(const protobuf_c_boolean *)value ? "true" : "false"); break;
    case PROTOBUF_C_TYPE_ENUM: print_enum(p, field->descriptor, *(const int *)value); break;
    case PROTOBUF_C_TYPE_STRING: print_string(p, *(const char *const *)value ? *(const char *const *)value : ""); break;
    case PROTOBUF_C_TYPE_BYTES: print_base64(p, value); break;
    case PROTOBUF_C_TYPE_MESSAGE: print_message(p, *(const ProtobufCMessage *const *)value); break;
    }
}

static size_t value_bytes(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE: return 8;
    case PROTOBUF_C_TYPE_BOOL: return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING: return sizeof(char *);
    case PROTOBUF_C_TYPE_BYTES: return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_MESSAGE: return sizeof(ProtobufCMessage *);
    default: return 4;
    }
}

/* proto3: a field outside a oneof that has its type's zero is not there. */
static bool is_zero(const ProtobufCFieldDescriptor *field, const void *value)
{
    static const char zeros[8];
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING: return !*(const char *const *)value || **(const char *const *)value == '\0';
    case PROTOBUF_C_TYPE_BYTES: return ((const ProtobufCBinaryData *)value)->len == 0;
    case PROTOBUF_C_TYPE_MESSAGE: return !*(const ProtobufCMessage *const *)value;
    default: return memcmp(value, zeros, value_bytes(field->type)) == 0;
    }
}

/* "wall_time_unix_ns" -> "wallTimeUnixNs". */
static void print_name(struct printer *p, const char *name)
{
    char camel[NAME_BYTES];
    size_t n = 0;
    bool upper = false;
    for (; *name && n < sizeof(camel); name++) {
        if (*name == '_') {
            upper = true;
            continue;
        }
        camel[n++] = upper ? (char)toupper((unsigned char)*name) : *name;
        upper = false;
    }
    put_text(p, "\"");
    put(p, camel, n);
    put_text(p, p->style == JSON_LINE ? "\":" : "\": ");
}

/* protobuf-c sees a map as a list of entries { key = 1; value = 2; } of a nested type "<FieldName>Entry". Ours all have
 * strings for keys. */
static bool is_map(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    if (field->type != PROTOBUF_C_TYPE_MESSAGE || field->label != PROTOBUF_C_LABEL_REPEATED)
        return false;
    const ProtobufCMessageDescriptor *entry = field->descriptor;
    size_t outer_len = strlen(message->descriptor->name), short_len = strlen(entry->short_name);
    return entry->n_fields == 2 && strcmp(entry->fields[0].name, "key") == 0 &&
           strcmp(entry->fields[1].name, "value") == 0 && entry->fields[0].type == PROTOBUF_C_TYPE_STRING &&
           strncmp(entry->name, message->descriptor->name, outer_len) == 0 && entry->name[outer_len] == '.' &&
           short_len > strlen("Entry") && strcmp(entry->short_name + short_len - strlen("Entry"), "Entry") == 0;
}

struct map_entry {
    const ProtobufCMessage *message;
    const char *key;
    size_t place; /* later entries of the same key win */
};

static int compare_entries(const void *a, const void *b)
{
    const struct map_entry *left = a, *right = b;
    int order = strcmp(left->key, right->key);
    if (order != 0)
        return order;
    return left->place < right->place ? -1 : left->place > right->place;
}

static void print_map(struct printer *p, const ProtobufCFieldDescriptor *field, const ProtobufCMessage *const *items,
                      size_t n)
{
    const ProtobufCMessageDescriptor *descriptor = field->descriptor;
    const ProtobufCFieldDescriptor *key = &descriptor->fields[0], *value = &descriptor->fields[1];
    struct map_entry *entries = calloc(n, sizeof(*entries));
    if (!entries) {
        p->out->failed = true;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const char *text = *(const char *const *)((const char *)items[i] + key->offset);
        entries[i] = (struct map_entry){.message = items[i], .key = text ? text : "", .place = i};
    }
    qsort(entries, n, sizeof(*entries), compare_entries);
    open_group(p, "{");
    bool first = true;
    for (size_t i = 0; i < n; i++) {
        if (i + 1 < n && strcmp(entries[i].key, entries[i + 1].key) == 0)
            continue;
        next_item(p, &first);
        print_string(p, entries[i].key);
        put_text(p, p->style == JSON_LINE ? ":" : ": ");
        const void *at = (const char *)entries[i].message + value->offset;
        if (value->type == PROTOBUF_C_TYPE_MESSAGE && is_zero(value, at))
            put_text(p, "{}");
        else
            print_value(p, value, at);
    }
    close_group(p, "}", false);
    free(entries);
}

static void print_list(struct printer *p, const ProtobufCFieldDescriptor *field, const char *items, size_t n)
{
    bool first = true;
    open_group(p, "[");
    for (size_t i = 0; i < n; i++) {
        next_item(p, &first);
        print_value(p, field, items + i * value_bytes(field->type));
    }
    close_group(p, "]", false);
}

static void print_field(struct printer *p, const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                        bool *first)
{
    const char *value = (const char *)message + field->offset;
    const char *quantifier = (const char *)message + field->quantifier_offset;

    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t n = *(const size_t *)quantifier;
        const char *items = *(const char *const *)value;
        if (n == 0)
            return;
        next_item(p, first);
        print_name(p, field->name);
        if (is_map(message, field))
            print_map(p, field, (const ProtobufCMessage *const *)items, n);
        else
            print_list(p, field, items, n);
        return;
    }
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        if (*(const uint32_t *)quantifier != field->id)
            return;
        if (field->type == PROTOBUF_C_TYPE_MESSAGE && is_zero(field, value))
            return;
    } else if (is_zero(field, value)) {
        return;
    }
    next_item(p, first);
    print_name(p, field->name);
    print_value(p, field, value);
}

static void print_message(struct printer *p, const ProtobufCMessage *message)
{
    bool first = true;
    open_group(p, "{");
    for (unsigned i = 0; i < message->descriptor->n_fields && !p->out->failed; i++)
        print_field(p, message, &message->descriptor->fields[i], &first);
    close_group(p, "}", first);
}

int json_print(const struct ProtobufCMessage *message, enum json_style style, struct json_buffer *buffer)
{
    struct printer p = {.out = buffer, .style = style};
    print_message(&p, message);
    return buffer->failed ? UV_ENOMEM : 0;
}

void json_buffer_clear(struct json_buffer *buffer)
{
    buffer->len = 0;
    buffer->failed = false;
    if (buffer->text)
        buffer->text[0] = '\0';
}

void json_buffer_deinit(struct json_buffer *buffer)
{
    free(buffer->text);
    *buffer = (struct json_buffer){0};
}
