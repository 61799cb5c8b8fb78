/* SPDX-License-Identifier: Apache-2.0 */
/* The file of a store, read without trusting a byte of it.
 *
 * LMDB believes its file: a flipped bit in a page can make it abort, run in circles or read beyond the map. Whoever
 * wants to know whether a file is sound, or what of it can still be read, reads it here: with pread, page by page,
 * every number checked before it is used. A page is visited at most once, so the work is bounded by the file; what
 * cannot be read is reported and costs only what hangs on it. Memory: one page for each level of a tree, one value, one
 * bit for each page of the file. No other process may write meanwhile: see store_files_lock. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/store.h"

#define STORE_IMAGE_MAX_TABLES      16
#define STORE_IMAGE_MAX_NAME        63
#define STORE_IMAGE_MAX_VALUE_BYTES (64u * 1024 * 1024)
#define STORE_IMAGE_NO_PAGE         UINT64_MAX

enum store_image_damage_kind {
    STORE_IMAGE_STRUCTURE, /* the store must not be used */
    STORE_IMAGE_COUNT,     /* a count that does not agree with what is there */
};

struct store_image_damage {
    enum store_image_damage_kind kind;
    const char *table;             /* NULL: not in a table; any bytes but NUL */
    uint64_t page;                 /* or STORE_IMAGE_NO_PAGE */
    const char *reason;            /* lives during the call */
    const struct store_value *key; /* of the pair whose value cannot be read, or NULL */
};

struct store_image_ops {
    void (*on_damage)(void *data, const struct store_image_damage *damage);
};

/* A tree as its root describes it. */
struct store_image_tree {
    uint16_t flags, depth;
    uint64_t n_branch, n_leaf, n_overflow; /* pages */
    uint64_t n_pairs;
    uint64_t root; /* UINT64_MAX: empty */
};

struct store_image_table {
    char name[STORE_IMAGE_MAX_NAME + 1];
    struct store_image_tree tree;
};

struct store_image {
    int fd;
    uint32_t page_bytes;
    uint64_t file_bytes, n_pages;    /* of the file */
    uint64_t transaction, last_page; /* as the newest sound meta page says */
    struct store_image_tree free_pages, main;
    struct store_image_table tables[STORE_IMAGE_MAX_TABLES];
    size_t n_tables;
    uint64_t *seen;          /* bit set: the page has its use */
    uint64_t n_used, n_free; /* pages found so far */
    const struct store_image_ops *ops;
    void *data;
};

/* Open DIRECTORY/data.mdb and find its tables. Returns 0, also for one that is damaged but for its meta pages;
 * UV_EIO when it is no store at all; UV_ENOENT, UV_EACCES and others from the file system: `err` says why. */
int store_image_open(struct store_image *image, const char *directory, const struct store_image_ops *ops, void *data,
                     char *err, size_t err_len);
/* Accepts a zeroed one. */
void store_image_close(struct store_image *image);

/* NULL when there is no such table. */
const struct store_image_table *store_image_find(const struct store_image *image, const char *name);

/* Pairs in key order, borrowed during the call. Without values (`values` false) value->data is NULL where the value is
 * not on the page of its key, and value->len right. Other than 0 stops, and is returned. */
typedef int (*store_image_pair_cb)(void *data, const struct store_value *key, const struct store_value *value);
/* Each table once. Returns 0, also with damage; UV_ENOMEM; or what `cb` (may be NULL) returned. */
int store_image_walk(struct store_image *image, const struct store_image_table *table, bool values,
                     store_image_pair_cb cb, void *data);
/* The list of free pages, when all tables are walked: a page may not be both free and in use. */
int store_image_walk_free(struct store_image *image);

/* Can LMDB use the store without harm? Reads no values. Returns 0 or UV_EIO, UV_ENOMEM and others. */
int store_image_check(const char *directory);
