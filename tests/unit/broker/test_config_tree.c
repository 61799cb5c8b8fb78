/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config_tree.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static struct config_node *root;
static size_t line;
static char err[256];

static void teardown(void)
{
    config_tree_free(root);
}

TestSuite(config_tree, .fini = teardown);

static int read_bytes(const char *text, size_t len)
{
    config_tree_free(root);
    root = NULL;
    line = 0;
    return config_tree_read((const uint8_t *)text, len, &root, &line, err, sizeof err);
}

Test(config_tree, each_node_knows_its_line_and_its_path)
{
    static const char text[] = "a: 1\n"
                               "\n"
                               "b:\n"
                               "  c:\n"
                               "    - x\n"
                               "    - {d: y,\n"
                               "       e: z}\n";
    static const struct {
        const char *path, *found;
        size_t line;
    } table[] = {
        {"a", "a", 1},
        {"b", "b", 3},
        {"b.c", "b.c", 4},
        {"b.c[0]", "b.c[0]", 5},
        {"b.c[1].d", "b.c[1].d", 6},
        {"b.c[1].e", "b.c[1].e", 7},
        {"b.c[2]", "b.c", 4}, /* the deepest on the way */
        {"b.x.y", "b", 3},
        {"", "", 1},
        {"x", "", 1},
        {"[0]", "", 1},
        {"b.[0]", "b", 3},
    };
    cr_assert_eq(read_bytes(text, strlen(text)), 0);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct config_node *node = config_tree_find(root, table[i].path);
        char path[64];
        config_node_path(node, path, sizeof path);
        cr_expect_str_eq(path, table[i].found, "%s: %s", table[i].path, path);
        cr_expect_eq(node->line, table[i].line, "%s: %zu", table[i].path, node->line);
    }
    cr_assert_null(config_tree_find(NULL, "a"));
    cr_assert_str_eq(config_tree_find(root, "b.c[1].e")->text, "z");
    cr_assert_eq(config_tree_find(root, "b.c")->n, 2);

    char cut[6];
    config_node_path(config_tree_find(root, "b.c[1].e"), cut, sizeof cut);
    cr_assert_str_eq(cut, "b.c[1");
}

Test(config_tree, an_empty_file_has_no_tree)
{
    cr_assert_eq(read_bytes("", 0), 0);
    cr_assert_null(root);
    cr_assert_eq(read_bytes("# x\n", 4), 0);
    cr_assert_null(root);
}

Test(config_tree, what_could_mislead_is_refused)
{
    static const struct {
        const char *text;
        size_t line;
        const char *says;
    } table[] = {
        {"a: [\n", 2, "not YAML: while parsing a flow node: did not find expected node content"},
        {"a: 1\n\tb: 2\n", 2, "not YAML: "},
        {"a: \xff\n", 1, "not UTF-8 text: "},
        {"a: \"x\\0y\"\n", 1, "a NUL"},
        {"a: &x 1\nb: *x\n", 2, "aliases"},
        {"a: 1\n---\nb: 2\n", 2, "a second document"},
        {"a: 1\nb: 2\na: 3\n", 3, "\"a\" stands on line 1 already"},
        {"? [a]\n: b\n", 1, "a key must be a word"},
        {"? {a: b}\n: b\n", 1, "a key must be a word"},
        {"a: [[[[[[[[b]]]]]]]]\n", 1, "deeper than 8"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        cr_expect_eq(read_bytes(table[i].text, strlen(table[i].text)), UV_EINVAL, "%s", table[i].text);
        cr_expect(strstr(err, table[i].says), "%s: %s", table[i].text, err);
        cr_expect_eq(line, table[i].line, "%s: line %zu", table[i].text, line);
        cr_expect_null(root);
    }
    cr_assert_eq(read_bytes("[[[[[[[[b]]]]]]]]", 17), 0, "%s", err);
}

Test(config_tree, the_numbers_of_keys_and_values_are_bounded)
{
    char *text = malloc(4 * CONFIG_MAX_VALUES + 64), *p = text;
    for (int i = 0; i < CONFIG_MAX_KEYS; i++)
        p += sprintf(p, "k%d: 1\n", i);
    cr_assert_eq(read_bytes(text, (size_t)(p - text)), 0, "%s", err);
    p += sprintf(p, "more: 1\n");
    cr_assert_eq(read_bytes(text, (size_t)(p - text)), UV_EINVAL);
    cr_assert(strstr(err, "more than 64 keys"), "%s", err);
    cr_assert_eq(line, CONFIG_MAX_KEYS + 1);

    p = text;
    for (int i = 0; i < CONFIG_MAX_VALUES - 1; i++)
        p += sprintf(p, "- a\n");
    cr_assert_eq(read_bytes(text, (size_t)(p - text)), 0, "%s", err);
    cr_assert_eq(root->n, CONFIG_MAX_VALUES - 1);
    p += sprintf(p, "- a\n");
    cr_assert_eq(read_bytes(text, (size_t)(p - text)), UV_EINVAL);
    cr_assert(strstr(err, "more than 65536 values"), "%s", err);
    free(text);
}
