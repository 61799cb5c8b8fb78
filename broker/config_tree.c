/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config_tree.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>
#include <yaml.h>

/* ------------------------------------------------------------------------------------------------ building */

struct builder {
    yaml_parser_t parser;
    struct config_node *root, *at; /* `at`: the list or mapping that is open */
    char *key;                     /* of the value that comes next, when a mapping is open */
    size_t key_line;
    size_t depth, n_values, n_documents;
    size_t line; /* of what is wrong */
    char *err;
    size_t err_len;
};

__attribute__((format(printf, 3, 4))) static int refuse(struct builder *b, size_t line, const char *format, ...)
{
    va_list args;

    b->line = line;
    va_start(args, format);
    vsnprintf(b->err, b->err_len, format, args);
    va_end(args);
    return UV_EINVAL;
}

static void node_free(struct config_node *node)
{
    free(node->key);
    free(node->text);
    free(node);
}

/* Depth is bounded, but a loop needs no bound: down to a leaf, free it, and on. */
void config_tree_free(struct config_node *root)
{
    struct config_node *node = root;

    while (node) {
        if (node->first) {
            struct config_node *child = node->first;
            node->first = child->next;
            node = child;
            continue;
        }
        struct config_node *parent = node->parent;
        node_free(node);
        node = parent;
    }
}

static int add_node(struct builder *b, enum config_kind kind, size_t line, struct config_node **out_node)
{
    if (b->n_values++ == CONFIG_MAX_VALUES)
        return refuse(b, line, "more than %d values", CONFIG_MAX_VALUES);
    struct config_node *node = calloc(1, sizeof *node);
    if (!node)
        return UV_ENOMEM;
    node->kind = kind;
    node->line = b->key ? b->key_line : line;
    node->key = b->key;
    b->key = NULL;
    node->parent = b->at;
    if (!b->at) {
        b->root = node;
    } else {
        node->index = b->at->n++;
        if (b->at->last)
            b->at->last->next = node;
        else
            b->at->first = node;
        b->at->last = node;
    }
    *out_node = node;
    return 0;
}

static bool expects_key(const struct builder *b)
{
    return b->at && b->at->kind == CONFIG_MAPPING && !b->key;
}

static int take_key(struct builder *b, const char *text, size_t line)
{
    const struct config_node *other;

    if (b->at->n == CONFIG_MAX_KEYS)
        return refuse(b, line, "more than %d keys", CONFIG_MAX_KEYS);
    for (other = b->at->first; other; other = other->next)
        if (strcmp(other->key, text) == 0)
            return refuse(b, line, "\"%.64s\" stands on line %zu already", text, other->line);
    b->key = strdup(text);
    b->key_line = line;
    return b->key ? 0 : UV_ENOMEM;
}

static int take_scalar(struct builder *b, const yaml_event_t *event, size_t line)
{
    const char *text = (const char *)event->data.scalar.value;
    struct config_node *node;

    if (strlen(text) != event->data.scalar.length)
        return refuse(b, line, "there is a NUL in a value");
    if (expects_key(b))
        return take_key(b, text, line);
    int rc = add_node(b, CONFIG_VALUE, line, &node);
    if (!rc && !(node->text = strdup(text)))
        rc = UV_ENOMEM;
    return rc;
}

static int take_begin(struct builder *b, enum config_kind kind, size_t line)
{
    struct config_node *node;

    if (expects_key(b))
        return refuse(b, line, "a key must be a word");
    if (b->depth++ == CONFIG_MAX_DEPTH)
        return refuse(b, line, "nested deeper than %d levels", CONFIG_MAX_DEPTH);
    int rc = add_node(b, kind, line, &node);
    if (!rc)
        b->at = node;
    return rc;
}

static int take_event(struct builder *b, const yaml_event_t *event)
{
    size_t line = event->start_mark.line + 1;

    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return b->n_documents++ > 0 ? refuse(b, line, "a second document begins; there can be one") : 0;
    case YAML_ALIAS_EVENT: return refuse(b, line, "aliases (\"*name\") are not allowed");
    case YAML_SCALAR_EVENT: return take_scalar(b, event, line);
    case YAML_SEQUENCE_START_EVENT: return take_begin(b, CONFIG_LIST, line);
    case YAML_MAPPING_START_EVENT: return take_begin(b, CONFIG_MAPPING, line);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        b->depth--;
        b->at = b->at->parent;
        return 0;
    default: return 0;
    }
}

static int broken(struct builder *b)
{
    const yaml_parser_t *p = &b->parser;

    if (p->error == YAML_MEMORY_ERROR)
        return UV_ENOMEM;
    if (p->error == YAML_READER_ERROR)
        return refuse(b, p->mark.line + 1, "not UTF-8 text: %s at byte %zu", p->problem, p->problem_offset);
    return refuse(b, p->problem_mark.line + 1, "not YAML: %s%s%s", p->context ? p->context : "", p->context ? ": " : "",
                  p->problem ? p->problem : "cannot be parsed");
}

int config_tree_read(const uint8_t *bytes, size_t len, struct config_node **out_root, size_t *out_line, char *err,
                     size_t err_len)
{
    struct builder b = {.err = err, .err_len = err_len};
    bool over = false;
    int rc = 0;

    if (!yaml_parser_initialize(&b.parser))
        return UV_ENOMEM;
    yaml_parser_set_input_string(&b.parser, bytes, len);
    while (!rc && !over) {
        yaml_event_t event;
        if (!yaml_parser_parse(&b.parser, &event)) {
            rc = broken(&b);
            break;
        }
        over = event.type == YAML_STREAM_END_EVENT;
        rc = take_event(&b, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&b.parser);
    free(b.key);
    if (rc) {
        config_tree_free(b.root);
        *out_line = b.line;
        return rc;
    }
    *out_root = b.root;
    return 0;
}

/* ------------------------------------------------------------------------------------------------ paths */

static size_t append(char *out, size_t out_len, size_t n, const char *text)
{
    for (; *text && n + 1 < out_len; n++, text++)
        out[n] = (uint8_t)*text < 0x20 || (uint8_t)*text > 0x7e ? '?' : *text;
    if (n < out_len)
        out[n] = 0;
    return n;
}

void config_node_path(const struct config_node *node, char *out, size_t out_len)
{
    const struct config_node *way[CONFIG_MAX_DEPTH + 1];
    size_t n_way = 0, n = 0;

    if (out_len > 0)
        out[0] = 0;
    for (; node && node->parent && n_way < CONFIG_MAX_DEPTH + 1; node = node->parent)
        way[n_way++] = node;
    while (n_way-- > 0) {
        char number[32];
        snprintf(number, sizeof number, "[%zu]", way[n_way]->index);
        if (way[n_way]->key && n > 0)
            n = append(out, out_len, n, ".");
        n = append(out, out_len, n, way[n_way]->key ? way[n_way]->key : number);
    }
}

/* The child that `path` begins with; *rest moves behind it. */
static const struct config_node *step(const struct config_node *node, const char **rest)
{
    const struct config_node *child;
    const char *path = *rest + (**rest == '.');
    size_t len = *path == '[' ? strcspn(path, "]") : strcspn(path, ".[");
    size_t index = *path == '[' ? strtoul(path + 1, NULL, 10) : 0;

    for (child = node->first; child; child = child->next) {
        bool same = *path == '[' ? !child->key && child->index == index
                                 : child->key && strlen(child->key) == len && memcmp(child->key, path, len) == 0;
        if (same)
            break;
    }
    *rest = path + len + (*path == '[' && path[len]);
    return child;
}

const struct config_node *config_tree_find(const struct config_node *root, const char *path)
{
    const struct config_node *node = root, *child;

    while (node && *path && (child = step(node, &path)))
        node = child;
    return node;
}
