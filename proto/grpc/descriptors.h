/* SPDX-License-Identifier: Apache-2.0 */
/* An index over a serialized google.protobuf.FileDescriptorSet: which file has which name, symbol or extension. Pure.
 *
 * The set is borrowed and may be damaged: everything is bounds-checked, and strings are slices of it, not terminated.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct descriptor_text {
    const uint8_t *ptr;
    size_t len;
};

struct descriptor_file {
    struct descriptor_text name;
    struct descriptor_text package;
    struct descriptor_text bytes; /* the FileDescriptorProto */
    size_t mark;                  /* visit of descriptors_closure */
};

struct descriptor_symbol {
    char *name; /* full, without a leading dot */
    size_t file;
    bool is_message;
};

struct descriptor_extension {
    struct descriptor_text extendee; /* without a leading dot */
    int32_t number;
    size_t file;
};

/* Zeroed is empty. */
struct descriptors {
    struct descriptor_file *files;
    size_t n_files;
    struct descriptor_symbol *symbols; /* sorted by name */
    size_t n_symbols;
    struct descriptor_extension *extensions;
    size_t n_extensions;
    size_t marks;
};

/* 0, UV_EINVAL when the set is damaged, UV_ENOMEM. On failure nothing is kept. */
int descriptors_init(struct descriptors *d, const uint8_t *set, size_t len);
void descriptors_deinit(struct descriptors *d);

const struct descriptor_symbol *descriptors_symbol(const struct descriptors *d, const char *name);
/* These return the index of the file, or SIZE_MAX. */
size_t descriptors_file(const struct descriptors *d, const char *name);
size_t descriptors_extension(const struct descriptors *d, const char *extendee, int32_t number);
/* The file and everything it imports, each once, itself first. `out_files` has room for n_files; returns how many. */
size_t descriptors_closure(struct descriptors *d, size_t file, size_t *out_files);
