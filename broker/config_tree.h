/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file as a tree, with the line that each key and value stands on: what libcyaml does not tell, and
 * an operator wants to hear.
 *
 * Refused here, before anything else looks at the file: text that is no YAML, a second document, aliases (a short file
 * could stand for a long one), keys that are no plain words or come twice, nesting and numbers of values beyond the
 * bounds, and a NUL in a value (C would see less than stands there). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CONFIG_MAX_DEPTH  8
#define CONFIG_MAX_KEYS   64 /* of one mapping */
#define CONFIG_MAX_VALUES 65536

enum config_kind { CONFIG_VALUE, CONFIG_LIST, CONFIG_MAPPING };

struct config_node {
    struct config_node *parent, *first, *last, *next; /* children in the order of the file; the next sibling */
    enum config_kind kind;
    size_t line;  /* of the key in a mapping, else of the value */
    size_t index; /* among its siblings */
    size_t n;     /* children */
    char *key;    /* NULL in a list and at the root */
    char *text;   /* of a value, else NULL */
};

/* On 0 *out_root is the tree, NULL for a file without content. UV_EINVAL with `out_line` and `err` when the file is
 * refused; UV_ENOMEM. */
int config_tree_read(const uint8_t *bytes, size_t len, struct config_node **out_root, size_t *out_line, char *err,
                     size_t err_len);
void config_tree_free(struct config_node *root);

/* "principals[1].roles[0]", with what does not print as '?'. The root is "". */
void config_node_path(const struct config_node *node, char *out, size_t out_len);
/* By path; the deepest node on the way when there is no such one; NULL only for a NULL root. */
const struct config_node *config_tree_find(const struct config_node *root, const char *path);
