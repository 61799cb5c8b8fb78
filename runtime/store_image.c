/* SPDX-License-Identifier: Apache-2.0 */
/* The format of LMDB 0.9, 64 bit, in the byte order of the host:
 *
 *   page      number (8), unused (2), flags (2), then lower (2) and upper (2), or the number of pages of a long value
 * (4) meta      two of them, pages 0 and 1: magic, version, address, size of the map, two trees (the free pages, the
 *             list of tables), last page, transaction. The one with the higher transaction is valid
 *   branch    offsets of its nodes (2 each) from byte 16 to `lower`; nodes from `upper` to the end of the page
 *   node      low half of a number (2 + 2), flags (2), length of the key (2), the key. In a branch the number, with the
 *             flags on top, is the page below; in a leaf it is the length of the value, which follows, or, with
 *             NODE_LONG, the first page of the value follows. The first key of a branch stands for all that is smaller
 *   free      keys: transactions; values: a count and so many page numbers, falling */
#include "runtime/store_image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "runtime/store_files.h"

#define NO_ROOT     UINT64_MAX
#define META_MAGIC  0xbeefc0deu
#define MAX_DEPTH   32
#define MAX_KEY     511
#define MIN_PAGE    512u
#define MAX_PAGE    65536u
#define FIRST_PAGE  2u /* behind the meta pages */
#define TREE_BYTES  48u
#define META_BYTES  (24u + 2 * TREE_BYTES + 16)
#define PAGE_HEADER 16u
#define NODE_HEADER 8u

enum page_flag { PAGE_BRANCH = 1, PAGE_LEAF = 2, PAGE_LONG = 4, PAGE_META = 8 };
enum node_flag { NODE_LONG = 1, NODE_TABLE = 2 };
enum tree_flag { TREE_INTEGER_KEYS = 8 };

static uint16_t get16(const uint8_t *p)
{
    uint16_t n;
    memcpy(&n, p, sizeof n);
    return n;
}

static uint32_t get32(const uint8_t *p)
{
    uint32_t n;
    memcpy(&n, p, sizeof n);
    return n;
}

static uint64_t get64(const uint8_t *p)
{
    uint64_t n;
    memcpy(&n, p, sizeof n);
    return n;
}

/* ---- pages */

/* Returns 0, or a negative errno: UV_EOF beyond the end of the file. */
static int read_at(const struct store_image *image, uint64_t offset, void *out, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(image->fd, (uint8_t *)out + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? UV_EOF : -errno;
        done += (size_t)n;
    }
    return 0;
}

/* ---- a walk through a tree */

struct walk {
    struct store_image *image;
    const struct store_image_tree *tree;
    const char *table;
    bool values;
    unsigned leaf_flags; /* that a node of a leaf may have */
    int (*on_node)(struct walk *w, const struct store_value *key, unsigned flags, const struct store_value *value);
    store_image_pair_cb cb;
    void *data;
    uint8_t *pages[MAX_DEPTH]; /* the path to where it is */
    uint8_t *value;
    size_t value_capacity;
    struct store_image_tree found; /* pages and pairs, as counted */
    bool damaged;
};

static void report(struct store_image *image, const struct store_image_damage *damage, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

static void report(struct store_image *image, const struct store_image_damage *damage, const char *format, va_list args)
{
    struct store_image_damage d = *damage;
    char reason[256];
    vsnprintf(reason, sizeof reason, format, args);
    d.reason = reason;
    image->ops->on_damage(image->data, &d);
}

/* `key`: of the pair that is lost, or NULL. */
static void hurt(struct walk *w, uint64_t page, const struct store_value *key, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void hurt(struct walk *w, uint64_t page, const struct store_value *key, const char *format, ...)
{
    struct store_image_damage d = {.kind = STORE_IMAGE_STRUCTURE, .table = w->table, .page = page, .key = key};
    va_list args;
    va_start(args, format);
    report(w->image, &d, format, args);
    va_end(args);
    w->damaged = true;
}

static void miscounted(struct walk *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void miscounted(struct walk *w, const char *format, ...)
{
    struct store_image_damage d = {.kind = STORE_IMAGE_COUNT, .table = w->table, .page = STORE_IMAGE_NO_PAGE};
    va_list args;
    va_start(args, format);
    report(w->image, &d, format, args);
    va_end(args);
}

static bool is_seen(const struct store_image *image, uint64_t page)
{
    return image->seen[page / 64] >> (page % 64) & 1;
}

/* Give n pages from `page` on their use. False: one of them has one already, or is none that may have one. */
static bool take_pages(struct walk *w, uint64_t page, uint64_t n, const struct store_value *key)
{
    struct store_image *image = w->image;

    if (page < FIRST_PAGE || page > image->last_page || n > image->last_page - page + 1) {
        hurt(w, page, key, "it is no page of the store");
        return false;
    }
    if (page >= image->n_pages || n > image->n_pages - page) {
        hurt(w, page, key, "it lies beyond the end of the file (%" PRIu64 " pages)", image->n_pages);
        return false;
    }
    for (uint64_t end = page + n; page < end; page++) {
        if (is_seen(image, page)) {
            hurt(w, page, key, "it is used twice");
            return false;
        }
        image->seen[page / 64] |= 1ull << (page % 64);
        image->n_used++;
    }
    return true;
}

struct node {
    struct store_value key;
    const uint8_t *content; /* behind the key */
    uint64_t number;        /* page below, or length of the value */
    unsigned flags;
    bool readable;
};

/* The part of the tree under one pointer: keys from `from` on and below `below`, where there are bounds. */
struct range {
    struct store_value from, below;
};

static int compare(const struct walk *w, const struct store_value *a, const struct store_value *b)
{
    if (w->tree->flags & TREE_INTEGER_KEYS) {
        uint64_t x = get64(a->data), y = get64(b->data);
        return (x > y) - (x < y);
    }
    size_t len = a->len < b->len ? a->len : b->len;
    int rc = len ? memcmp(a->data, b->data, len) : 0;
    return rc ? rc : (a->len > b->len) - (a->len < b->len);
}

static bool is_above(const struct walk *w, const struct store_value *key, const struct store_value *bound,
                     bool or_equal)
{
    return !bound->data || compare(w, key, bound) >= (or_equal ? 0 : 1);
}

static bool is_below(const struct walk *w, const struct store_value *key, const struct store_value *bound)
{
    return !bound->data || compare(w, key, bound) < 0;
}

/* Read a page of a tree and check its frame. *out_page is NULL when it cannot be used. */
static int read_page(struct walk *w, uint64_t number, unsigned level, const uint8_t **out_page)
{
    struct store_image *image = w->image;
    bool is_leaf = level + 1 == w->tree->depth;

    *out_page = NULL;
    if (!take_pages(w, number, 1, NULL))
        return 0;
    if (!w->pages[level] && !(w->pages[level] = malloc(image->page_bytes)))
        return UV_ENOMEM;
    uint8_t *page = w->pages[level];
    int rc = read_at(image, number * image->page_bytes, page, image->page_bytes);
    if (rc) {
        hurt(w, number, NULL, "it cannot be read: %s", uv_strerror(rc));
        return 0;
    }
    uint16_t flags = get16(page + 10), lower = get16(page + 12), upper = get16(page + 14);
    if (get64(page) != number)
        hurt(w, number, NULL, "it says that it is page %" PRIu64, get64(page));
    else if (flags != (is_leaf ? PAGE_LEAF : PAGE_BRANCH))
        hurt(w, number, NULL, "it is no %s (flags %#x)", is_leaf ? "leaf" : "branch", flags);
    else if (lower < PAGE_HEADER || lower % 2 != 0 || upper < lower || upper > image->page_bytes)
        hurt(w, number, NULL, "its entries end at %u, their content begins at %u", lower, upper);
    else if ((lower - PAGE_HEADER) / 2 < (is_leaf ? 1 : 2))
        hurt(w, number, NULL, "it has too few entries");
    else
        *out_page = page;
    return 0;
}

static unsigned n_nodes(const uint8_t *page)
{
    return (get16(page + 12) - PAGE_HEADER) / 2;
}

/* A node of a page whose frame is right. `readable` false: it breaks out of the page or is not as it must be. */
static struct node read_node(const struct walk *w, const uint8_t *page, unsigned i, bool is_leaf)
{
    struct node node = {0};
    uint32_t size = w->image->page_bytes, at = get16(page + PAGE_HEADER + 2 * i);

    if (at < get16(page + 14) || at % 2 != 0 || at + NODE_HEADER > size)
        return node;
    const uint8_t *p = page + at;
    node.flags = get16(p + 4);
    node.number = get16(p) | (uint64_t)get16(p + 2) << 16;
    node.key = (struct store_value){.data = p + NODE_HEADER, .len = get16(p + 6)};
    uint64_t room = size - at - NODE_HEADER;
    if (node.key.len > MAX_KEY || node.key.len > room)
        return node;
    room -= node.key.len;
    node.content = p + NODE_HEADER + node.key.len;
    bool is_first_of_branch = !is_leaf && i == 0; /* its key is never looked at */
    if (!is_first_of_branch && (node.key.len == 0 || (w->tree->flags & TREE_INTEGER_KEYS && node.key.len != 8)))
        return node;
    if (!is_leaf) {
        node.number |= (uint64_t)node.flags << 32;
        node.readable = true;
    } else {
        node.readable = (node.flags & ~w->leaf_flags) == 0 && room >= (node.flags & NODE_LONG ? 8 : node.number);
    }
    return node;
}

/* Nodes fill the page from `upper` to its end without a hole: whatever is wrong with a length shows here too. */
static bool is_filled(const struct walk *w, const uint8_t *page, bool is_leaf)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < n_nodes(page); i++) {
        struct node node = read_node(w, page, i, is_leaf);
        if (!node.readable)
            return true; /* reported for itself */
        uint64_t bytes = NODE_HEADER + node.key.len + (!is_leaf ? 0 : node.flags & NODE_LONG ? 8 : node.number);
        sum += bytes + bytes % 2;
    }
    return sum == w->image->page_bytes - get16(page + 14);
}

static int read_value(struct walk *w, const struct node *node, uint64_t first, struct store_value *out_value)
{
    if (node->number > STORE_IMAGE_MAX_VALUE_BYTES) {
        hurt(w, first, &node->key, "a value of %" PRIu64 " bytes: more than any store holds", node->number);
        return 0;
    }
    if (node->number > w->value_capacity) {
        uint8_t *larger = realloc(w->value, node->number);
        if (!larger)
            return UV_ENOMEM;
        w->value = larger;
        w->value_capacity = node->number;
    }
    int rc = read_at(w->image, first * w->image->page_bytes + PAGE_HEADER, w->value, node->number);
    if (rc)
        hurt(w, first, &node->key, "its value cannot be read: %s", uv_strerror(rc));
    else
        out_value->data = w->value;
    return 0;
}

/* A value on pages of its own. *out_lost when it cannot be had (reported). */
static int read_long(struct walk *w, const struct node *node, struct store_value *out_value, bool *out_lost)
{
    struct store_image *image = w->image;
    uint64_t first = get64(node->content), needed = (PAGE_HEADER - 1 + node->number) / image->page_bytes + 1;
    uint8_t header[PAGE_HEADER];

    *out_value = (struct store_value){.len = (size_t)node->number};
    *out_lost = true;
    if (!take_pages(w, first, 1, &node->key))
        return 0;
    int rc = read_at(image, first * image->page_bytes, header, sizeof header);
    if (rc) {
        hurt(w, first, &node->key, "it cannot be read: %s", uv_strerror(rc));
        return 0;
    }
    uint32_t n = get32(header + 12);
    if (get64(header) != first || get16(header + 10) != PAGE_LONG || n < needed) {
        hurt(w, first, &node->key, "it is not the first of the %" PRIu64 " pages of a value", needed);
        return 0;
    }
    if (n > 1 && !take_pages(w, first + 1, n - 1, &node->key))
        return 0;
    w->found.n_overflow += n;
    rc = w->values ? read_value(w, node, first, out_value) : 0;
    *out_lost = w->values && !out_value->data;
    return rc;
}

static int show_node(struct walk *w, const struct node *node)
{
    struct store_value value = {.data = node->content, .len = (size_t)node->number};
    bool lost = false;
    int rc = 0;

    w->found.n_pairs++;
    if (node->flags & NODE_LONG)
        rc = read_long(w, node, &value, &lost);
    return rc || lost ? rc : w->on_node(w, &node->key, node->flags, &value);
}

/* Is node i where it belongs? It must be greater than the one before and, unless that one is the odd one out, smaller
 * than the one behind it. */
static bool is_in_order(const struct walk *w, const struct node *node, const struct node *next,
                        const struct store_value *previous, bool or_equal, const struct store_value *below)
{
    if (!is_above(w, &node->key, previous, or_equal) || !is_below(w, &node->key, below))
        return false;
    bool next_is_good =
        next && next->readable && is_above(w, &next->key, previous, false) && is_below(w, &next->key, below);
    return !next_is_good || compare(w, &node->key, &next->key) < 0;
}

static int walk_page(struct walk *w, uint64_t number, unsigned level, const struct range *range);

static int walk_leaf(struct walk *w, const uint8_t *page, const struct range *range)
{
    uint64_t number = get64(page);
    struct store_value previous = range->from;
    bool or_equal = true;
    int rc = 0;

    w->found.n_leaf++;
    for (unsigned i = 0; rc == 0 && i < n_nodes(page); i++) {
        struct node node = read_node(w, page, i, true), next = {0};
        if (i + 1 < n_nodes(page))
            next = read_node(w, page, i + 1, true);
        if (!node.readable || !is_in_order(w, &node, &next, &previous, or_equal, &range->below)) {
            hurt(w, number, NULL, "entry %u %s", i, node.readable ? "has a key that is out of order" : "is damaged");
            continue;
        }
        previous = node.key;
        or_equal = false;
        rc = show_node(w, &node);
    }
    return rc;
}

static int walk_branch(struct walk *w, const uint8_t *page, unsigned level, const struct range *range)
{
    uint64_t number = get64(page);
    struct range below = *range; /* of the page below */
    int rc = 0;

    w->found.n_branch++;
    for (unsigned i = 0; rc == 0 && i < n_nodes(page); i++) {
        struct node node = read_node(w, page, i, false), next = {0};
        if (!node.readable) {
            hurt(w, number, NULL, "entry %u is damaged", i);
            continue;
        }
        if (i + 1 < n_nodes(page))
            next = read_node(w, page, i + 1, false);
        if (i > 0) {
            if (is_in_order(w, &node, &next, &below.from, below.from.data == range->from.data, &range->below)) {
                below.from = node.key;
            } else {
                hurt(w, number, NULL, "entry %u has a key that is out of order", i);
            }
        }
        bool next_bounds =
            next.readable && is_above(w, &next.key, &below.from, false) && is_below(w, &next.key, &range->below);
        below.below = next_bounds ? next.key : range->below;
        rc = walk_page(w, node.number, level + 1, &below);
    }
    return rc;
}

static int walk_page(struct walk *w, uint64_t number, unsigned level, const struct range *range)
{
    const uint8_t *page;
    bool is_leaf = level + 1 == w->tree->depth;
    int rc = read_page(w, number, level, &page);
    if (rc || !page)
        return rc;
    if (!is_filled(w, page, is_leaf))
        hurt(w, number, NULL, "the lengths of its entries do not add up");
    return is_leaf ? walk_leaf(w, page, range) : walk_branch(w, page, level, range);
}

static void check_counts(struct walk *w)
{
    const struct store_image_tree *said = w->tree, *found = &w->found;

    if (said->n_pairs != found->n_pairs)
        miscounted(w, "%" PRIu64 " pairs, and it says %" PRIu64, found->n_pairs, said->n_pairs);
    if (said->n_branch != found->n_branch || said->n_leaf != found->n_leaf || said->n_overflow != found->n_overflow)
        miscounted(w, "it has other numbers of pages than it says");
}

static int walk_tree(struct walk *w)
{
    static const struct range all = {0};
    unsigned depth = w->tree->depth;
    int rc = 0;

    if (w->tree->root == NO_ROOT ? depth != 0 : depth == 0 || depth > MAX_DEPTH)
        hurt(w, STORE_IMAGE_NO_PAGE, NULL, "it has depth %u", depth);
    else if (w->tree->root != NO_ROOT)
        rc = walk_page(w, w->tree->root, 0, &all);
    if (rc == 0 && !w->damaged)
        check_counts(w);
    for (size_t i = 0; i < MAX_DEPTH; i++)
        free(w->pages[i]);
    free(w->value);
    return rc;
}

/* ---- tables */

static struct store_image_tree read_tree(const uint8_t *p)
{
    return (struct store_image_tree){
        .flags = get16(p + 4),
        .depth = get16(p + 6),
        .n_branch = get64(p + 8),
        .n_leaf = get64(p + 16),
        .n_overflow = get64(p + 24),
        .n_pairs = get64(p + 32),
        .root = get64(p + 40),
    };
}

static int on_pair(struct walk *w, const struct store_value *key, unsigned flags, const struct store_value *value)
{
    (void)flags;
    return w->cb ? w->cb(w->data, key, value) : 0;
}

static int on_table(struct walk *w, const struct store_value *key, unsigned flags, const struct store_value *value)
{
    struct store_image *image = w->image;

    if (!(flags & NODE_TABLE) || value->len != TREE_BYTES || key->len > STORE_IMAGE_MAX_NAME ||
        memchr(key->data, 0, key->len)) {
        hurt(w, STORE_IMAGE_NO_PAGE, key, "an entry in the list of tables is none");
        return 0;
    }
    struct store_image_tree tree = read_tree(value->data);
    if (tree.flags & ~TREE_INTEGER_KEYS || image->n_tables == STORE_IMAGE_MAX_TABLES) {
        hurt(w, STORE_IMAGE_NO_PAGE, key, "a table is of a kind that no store has");
        return 0;
    }
    struct store_image_table *table = &image->tables[image->n_tables++];
    memcpy(table->name, key->data, key->len);
    table->name[key->len] = 0;
    table->tree = tree;
    return 0;
}

const struct store_image_table *store_image_find(const struct store_image *image, const char *name)
{
    for (size_t i = 0; i < image->n_tables; i++)
        if (strcmp(image->tables[i].name, name) == 0)
            return &image->tables[i];
    return NULL;
}

int store_image_walk(struct store_image *image, const struct store_image_table *table, bool values,
                     store_image_pair_cb cb, void *data)
{
    struct walk w = {.image = image,
                     .tree = &table->tree,
                     .table = table->name,
                     .values = values,
                     .leaf_flags = NODE_LONG,
                     .on_node = on_pair,
                     .cb = cb,
                     .data = data};
    return walk_tree(&w);
}

/* ---- free pages */

static int on_free(struct walk *w, const struct store_value *key, unsigned flags, const struct store_value *value)
{
    struct store_image *image = w->image;
    const uint8_t *p = value->data;
    (void)flags;

    uint64_t n = value->len >= 8 ? get64(p) : 0;
    if (value->len < 8 || n > value->len / 8 - 1 || get64(key->data) > image->transaction) {
        hurt(w, STORE_IMAGE_NO_PAGE, NULL, "an entry in the list of free pages is none");
        return 0;
    }
    for (uint64_t i = 1, previous = UINT64_MAX; i <= n; i++) {
        uint64_t page = get64(p + 8 * i);
        if (page < FIRST_PAGE || page > image->last_page || page >= previous)
            hurt(w, page, NULL, "it stands in the list of free pages, and is none");
        else if (page < image->n_pages && is_seen(image, page))
            hurt(w, page, NULL, "it is free, and used");
        else if (page < image->n_pages)
            image->seen[page / 64] |= 1ull << (page % 64);
        image->n_free++;
        previous = page;
    }
    return 0;
}

int store_image_walk_free(struct store_image *image)
{
    struct walk w = {.image = image,
                     .tree = &image->free_pages,
                     .table = "free pages",
                     .values = true,
                     .leaf_flags = NODE_LONG,
                     .on_node = on_free};
    return walk_tree(&w);
}

/* ---- opening */

struct meta {
    uint32_t page_bytes;
    uint64_t transaction, last_page;
    struct store_image_tree free_pages, main;
};

/* What is wrong with a meta page, or NULL. */
static const char *check_meta(const uint8_t *p, uint64_t number, struct meta *out)
{
    const uint8_t *m = p + PAGE_HEADER, *trees = m + 24, *end = trees + 2 * TREE_BYTES;
    uint32_t page_bytes = get32(trees);

    if (get64(p) != number || get16(p + 10) != PAGE_META || get32(m) != META_MAGIC)
        return "it is no meta page";
    if (get32(m + 4) != 1)
        return "it is of another version of the format";
    *out = (struct meta){
        .page_bytes = page_bytes,
        .free_pages = read_tree(trees),
        .main = read_tree(trees + TREE_BYTES),
        .last_page = get64(end),
        .transaction = get64(end + 8),
    };
    if (page_bytes < MIN_PAGE || page_bytes > MAX_PAGE || (page_bytes & (page_bytes - 1)) != 0)
        return "it has an impossible size of pages";
    if (out->free_pages.flags != TREE_INTEGER_KEYS || out->main.flags != 0)
        return "its trees are of a kind that no store has";
    if (out->last_page < FIRST_PAGE - 1 || out->last_page >= get64(m + 16) / page_bytes)
        return "its last page lies beyond the map";
    if (out->transaction > 0 && out->transaction % 2 != number)
        return "it is of a transaction that the other one belongs to";
    return NULL;
}

static void hurt_meta(struct store_image *image, uint64_t page, const char *reason)
{
    image->ops->on_damage(image->data, &(struct store_image_damage){.page = page, .reason = reason});
}

/* Take the newer of the two meta pages; one that is damaged is reported. */
static int read_metas(struct store_image *image, char *err, size_t err_len)
{
    static const uint32_t sizes[] = {4096, 512, 1024, 2048, 8192, 16384, 32768, 65536};
    uint8_t page[PAGE_HEADER + META_BYTES];
    struct meta metas[2] = {0};
    const char *wrong[2];

    int rc = read_at(image, 0, page, sizeof page);
    if (rc && rc != UV_EOF) {
        snprintf(err, err_len, "it cannot be read: %s", uv_strerror(rc));
        return rc;
    }
    wrong[0] = rc ? "it is cut off" : check_meta(page, 0, &metas[0]);
    /* Without the first one it is not known where the second one is. */
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint32_t size = wrong[0] ? sizes[i] : metas[0].page_bytes;
        wrong[1] = read_at(image, size, page, sizeof page) ? "it is cut off" : check_meta(page, 1, &metas[1]);
        if (!wrong[1] && metas[1].page_bytes != size)
            wrong[1] = "it has another size of pages";
        if (!wrong[0] || !wrong[1])
            break;
    }
    if (wrong[0] && wrong[1]) {
        snprintf(err, err_len, "it is no store: both meta pages are damaged (%s)", wrong[0]);
        return UV_EIO;
    }
    /* Each transaction writes the one that the transaction before it did not write. */
    uint64_t newer = metas[0].transaction > metas[1].transaction ? metas[0].transaction : metas[1].transaction;
    if (!wrong[0] && !wrong[1] && newer > 0 && newer - 1 != metas[0].transaction && newer - 1 != metas[1].transaction)
        hurt_meta(image, metas[1].transaction == newer, "it does not follow the other one");
    for (uint64_t i = 0; i < 2; i++)
        if (wrong[i])
            hurt_meta(image, i, wrong[i]);
    const struct meta *m =
        wrong[0] || (!wrong[1] && metas[1].transaction > metas[0].transaction) ? &metas[1] : &metas[0];
    image->page_bytes = m->page_bytes;
    image->transaction = m->transaction;
    image->last_page = m->last_page;
    image->free_pages = m->free_pages;
    image->main = m->main;
    return 0;
}

static int open_file(struct store_image *image, const char *directory)
{
    struct stat file;
    char *path = store_files_path(directory, "data.mdb");
    if (!path)
        return UV_ENOMEM;
    image->fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = image->fd < 0 || fstat(image->fd, &file) < 0 ? -errno : 0;
    free(path);
    if (rc == 0)
        image->file_bytes = (uint64_t)file.st_size;
    return rc;
}

int store_image_open(struct store_image *image, const char *directory, const struct store_image_ops *ops, void *data,
                     char *err, size_t err_len)
{
    memset(image, 0, sizeof *image);
    image->fd = -1;
    image->ops = ops;
    image->data = data;
    int rc = open_file(image, directory);
    if (rc) {
        snprintf(err, err_len, "%s", uv_strerror(rc));
        goto fail;
    }
    rc = read_metas(image, err, err_len);
    if (rc)
        goto fail;
    image->n_pages = image->file_bytes / image->page_bytes;
    if (image->n_pages > image->last_page + 1)
        image->n_pages = image->last_page + 1;
    image->seen = calloc((size_t)(image->n_pages / 64 + 1), sizeof *image->seen);
    struct walk w = {
        .image = image, .tree = &image->main, .values = true, .leaf_flags = NODE_TABLE, .on_node = on_table};
    rc = image->seen ? walk_tree(&w) : UV_ENOMEM;
    if (rc) {
        snprintf(err, err_len, "%s", uv_strerror(rc));
        goto fail;
    }
    return 0;
fail:
    store_image_close(image);
    return rc;
}

void store_image_close(struct store_image *image)
{
    if (image->ops && image->fd >= 0)
        close(image->fd);
    free(image->seen);
    memset(image, 0, sizeof *image);
    image->fd = -1;
}

/* ---- the check before LMDB */

static void on_check_damage(void *data, const struct store_image_damage *damage)
{
    bool *sound = data;
    *sound &= damage->kind == STORE_IMAGE_COUNT;
}

int store_image_check(const char *directory)
{
    static const struct store_image_ops ops = {.on_damage = on_check_damage};
    struct store_image image;
    char err[256];
    bool sound = true;
    int rc = store_image_open(&image, directory, &ops, &sound, err, sizeof err);

    if (rc)
        return rc;
    for (size_t i = 0; rc == 0 && sound && i < image.n_tables; i++)
        rc = store_image_walk(&image, &image.tables[i], false, NULL, NULL);
    if (rc == 0 && sound)
        rc = store_image_walk_free(&image);
    store_image_close(&image);
    return rc == 0 && !sound ? UV_EIO : rc;
}
