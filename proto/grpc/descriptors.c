/* SPDX-License-Identifier: Apache-2.0 */
/* Field numbers are those of google/protobuf/descriptor.proto. */
#include "proto/grpc/descriptors.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { MAX_DEPTH = 32 };

/* ------------------------------------------------------------------------------------------------ reading */

struct field {
    uint32_t number;
    uint64_t value;              /* varints */
    struct descriptor_text text; /* length-delimited fields */
};

static bool read_varint(struct descriptor_text *in, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && in->len > 0; shift += 7) {
        uint8_t byte = *in->ptr++;
        in->len--;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *out = value;
            return true;
        }
    }
    return false;
}

/* 1 and a field, 0 at the end, -1 when damaged. Descriptors have no fixed-size fields and no groups. */
static int next_field(struct descriptor_text *in, struct field *out)
{
    uint64_t tag;
    if (in->len == 0)
        return 0;
    *out = (struct field){0};
    if (!read_varint(in, &tag) || tag >> 3 > UINT32_MAX)
        return -1;
    out->number = (uint32_t)(tag >> 3);
    if (!read_varint(in, &out->value))
        return -1;
    if ((tag & 7) == 0)
        return 1;
    if ((tag & 7) != 2 || out->value > in->len)
        return -1;
    out->text = (struct descriptor_text){in->ptr, out->value};
    in->ptr += out->value;
    in->len -= out->value;
    return 1;
}

static bool is_text(struct descriptor_text t, const char *text)
{
    return t.len == strlen(text) && memcmp(t.ptr, text, t.len) == 0;
}

/* The last field of that number; empty when there is none. */
static struct descriptor_text text_of(struct descriptor_text message, uint32_t number)
{
    struct descriptor_text found = {0};
    struct field f;
    while (next_field(&message, &f) > 0) {
        if (f.number == number)
            found = f.text;
    }
    return found;
}

static uint64_t value_of(struct descriptor_text message, uint32_t number)
{
    uint64_t found = 0;
    struct field f;
    while (next_field(&message, &f) > 0) {
        if (f.number == number)
            found = f.value;
    }
    return found;
}

/* ------------------------------------------------------------------------------------------------ indexing */

static int add_symbol(struct descriptors *d, size_t file, const char *scope, struct descriptor_text name,
                      bool is_message, const char **out_full)
{
    struct descriptor_symbol *symbols = realloc(d->symbols, (d->n_symbols + 1) * sizeof *symbols);
    if (!symbols)
        return UV_ENOMEM;
    d->symbols = symbols;
    size_t scope_len = strlen(scope);
    char *full = malloc(scope_len + 1 + name.len + 1);
    if (!full)
        return UV_ENOMEM;
    char *at = full;
    if (scope_len > 0) {
        memcpy(at, scope, scope_len);
        at += scope_len;
        *at++ = '.';
    }
    if (name.len > 0)
        memcpy(at, name.ptr, name.len);
    at[name.len] = '\0';
    symbols[d->n_symbols++] = (struct descriptor_symbol){full, file, is_message};
    *out_full = full;
    return 0;
}

static int add_extension(struct descriptors *d, size_t file, const char *scope, struct descriptor_text field)
{
    const char *full;
    struct descriptor_text extendee = text_of(field, 2);
    struct descriptor_extension *extensions = realloc(d->extensions, (d->n_extensions + 1) * sizeof *extensions);
    if (!extensions)
        return UV_ENOMEM;
    d->extensions = extensions;
    if (extendee.len > 0 && extendee.ptr[0] == '.') {
        extendee.ptr++;
        extendee.len--;
    }
    extensions[d->n_extensions++] = (struct descriptor_extension){extendee, (int32_t)value_of(field, 3), file};
    return add_symbol(d, file, scope, text_of(field, 1), false, &full);
}

/* Enum values live in the scope that holds the enum. */
static int index_enum(struct descriptors *d, size_t file, const char *scope, struct descriptor_text e)
{
    const char *full;
    struct field f;
    int more;
    int rc = add_symbol(d, file, scope, text_of(e, 1), false, &full);
    while (rc == 0 && (more = next_field(&e, &f)) != 0) {
        if (more < 0)
            return UV_EINVAL;
        if (f.number == 2)
            rc = add_symbol(d, file, scope, text_of(f.text, 1), false, &full);
    }
    return rc;
}

static int index_message(struct descriptors *d, size_t file, const char *scope, struct descriptor_text message,
                         int depth)
{
    const char *full;
    const char *child;
    struct field f;
    int more;
    if (depth > MAX_DEPTH)
        return UV_EINVAL;
    int rc = add_symbol(d, file, scope, text_of(message, 1), true, &full);
    while (rc == 0 && (more = next_field(&message, &f)) != 0) {
        if (more < 0)
            return UV_EINVAL;
        if (f.number == 2 || f.number == 8) /* field, oneof_decl */
            rc = add_symbol(d, file, full, text_of(f.text, 1), false, &child);
        else if (f.number == 3)
            rc = index_message(d, file, full, f.text, depth + 1);
        else if (f.number == 4)
            rc = index_enum(d, file, full, f.text);
        else if (f.number == 6)
            rc = add_extension(d, file, full, f.text);
    }
    return rc;
}

static int index_service(struct descriptors *d, size_t file, const char *scope, struct descriptor_text service)
{
    const char *full;
    const char *child;
    struct field f;
    int more;
    int rc = add_symbol(d, file, scope, text_of(service, 1), false, &full);
    while (rc == 0 && (more = next_field(&service, &f)) != 0) {
        if (more < 0)
            return UV_EINVAL;
        if (f.number == 2)
            rc = add_symbol(d, file, full, text_of(f.text, 1), false, &child);
    }
    return rc;
}

static int index_file(struct descriptors *d, size_t file, const char *package)
{
    struct descriptor_text in = d->files[file].bytes;
    struct field f;
    int rc = 0;
    int more;
    while (rc == 0 && (more = next_field(&in, &f)) != 0) {
        if (more < 0)
            return UV_EINVAL;
        switch (f.number) {
        case 4: rc = index_message(d, file, package, f.text, 0); break;
        case 5: rc = index_enum(d, file, package, f.text); break;
        case 6: rc = index_service(d, file, package, f.text); break;
        case 7: rc = add_extension(d, file, package, f.text); break;
        default: break;
        }
    }
    return rc;
}

static int add_file(struct descriptors *d, struct descriptor_text bytes)
{
    struct descriptor_file *files = realloc(d->files, (d->n_files + 1) * sizeof *files);
    if (!files)
        return UV_ENOMEM;
    d->files = files;
    struct descriptor_file *file = &files[d->n_files++];
    *file = (struct descriptor_file){.name = text_of(bytes, 1), .package = text_of(bytes, 2), .bytes = bytes};
    char *package = strndup((const char *)(file->package.len ? file->package.ptr : bytes.ptr), file->package.len);
    if (!package)
        return UV_ENOMEM;
    int rc = index_file(d, d->n_files - 1, package);
    free(package);
    return rc;
}

static int compare_symbols(const void *a, const void *b)
{
    return strcmp(((const struct descriptor_symbol *)a)->name, ((const struct descriptor_symbol *)b)->name);
}

int descriptors_init(struct descriptors *d, const uint8_t *set, size_t len)
{
    struct descriptor_text in = {set, len};
    struct field f;
    int rc = 0;
    int more;
    *d = (struct descriptors){0};
    while (rc == 0 && (more = next_field(&in, &f)) != 0)
        rc = more < 0 || f.number != 1 || f.text.len == 0 ? UV_EINVAL : add_file(d, f.text);
    if (rc != 0)
        descriptors_deinit(d);
    else if (d->n_symbols > 0)
        qsort(d->symbols, d->n_symbols, sizeof *d->symbols, compare_symbols);
    return rc;
}

void descriptors_deinit(struct descriptors *d)
{
    for (size_t i = 0; i < d->n_symbols; i++)
        free(d->symbols[i].name);
    free(d->symbols);
    free(d->extensions);
    free(d->files);
    *d = (struct descriptors){0};
}

/* ------------------------------------------------------------------------------------------------ asking */

const struct descriptor_symbol *descriptors_symbol(const struct descriptors *d, const char *name)
{
    struct descriptor_symbol key = {.name = (char *)name};
    if (d->n_symbols == 0)
        return NULL;
    return bsearch(&key, d->symbols, d->n_symbols, sizeof *d->symbols, compare_symbols);
}

size_t descriptors_file(const struct descriptors *d, const char *name)
{
    for (size_t i = 0; i < d->n_files; i++) {
        if (is_text(d->files[i].name, name))
            return i;
    }
    return SIZE_MAX;
}

size_t descriptors_extension(const struct descriptors *d, const char *extendee, int32_t number)
{
    for (size_t i = 0; i < d->n_extensions; i++) {
        if (d->extensions[i].number == number && is_text(d->extensions[i].extendee, extendee))
            return d->extensions[i].file;
    }
    return SIZE_MAX;
}

static size_t file_named(const struct descriptors *d, struct descriptor_text name)
{
    for (size_t i = 0; i < d->n_files; i++) {
        if (d->files[i].name.len == name.len && memcmp(d->files[i].name.ptr, name.ptr, name.len) == 0)
            return i;
    }
    return SIZE_MAX;
}

size_t descriptors_closure(struct descriptors *d, size_t file, size_t *out_files)
{
    size_t n = 0;
    size_t mark = ++d->marks;
    out_files[n++] = file;
    d->files[file].mark = mark;
    for (size_t i = 0; i < n; i++) {
        struct descriptor_text in = d->files[out_files[i]].bytes;
        struct field f;
        while (next_field(&in, &f) > 0) {
            size_t import = f.number == 3 && f.text.len > 0 ? file_named(d, f.text) : SIZE_MAX;
            if (import == SIZE_MAX || d->files[import].mark == mark)
                continue;
            d->files[import].mark = mark;
            out_files[n++] = import;
        }
    }
    return n;
}
