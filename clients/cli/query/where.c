/* SPDX-License-Identifier: Apache-2.0 */
/* A recursive-descent parser into an array of nodes; one function a rule of the grammar in where.h. Every failure goes
 * through fail(), which keeps the first one and its column. */
#include "clients/cli/query/where.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "clients/cli/query/fields.h"
#include "runtime/glob.h"

enum op { OP_OR, OP_AND, OP_NOT, OP_FLAG, OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE, OP_GLOB, OP_BITS };

struct node {
    enum op op;
    uint16_t left, right;      /* OR, AND, NOT (left only) */
    const struct field *field; /* conditions */
    int64_t number;
    const char *text; /* inside where->texts */
};

struct where {
    struct node nodes[WHERE_MAX_NODES];
    size_t n_nodes;
    uint16_t root;
    size_t texts_len;
    char texts[WHERE_MAX_BYTES]; /* values, terminated; each took more input than it fills here */
};

struct parser {
    const char *start, *at;
    struct where *where;
    struct where_error *error;
    unsigned depth;
    bool failed;
};

static bool parse_or(struct parser *p, uint16_t *out_node);

__attribute__((format(printf, 3, 4))) static bool fail(struct parser *p, const char *at, const char *format, ...)
{
    if (p->failed)
        return false;
    p->failed = true;
    p->error->column = (size_t)(at - p->start) + 1;
    va_list args;
    va_start(args, format);
    vsnprintf(p->error->text, sizeof p->error->text, format, args);
    va_end(args);
    return false;
}

static void skip_space(struct parser *p)
{
    while (*p->at && isspace((unsigned char)*p->at))
        p->at++;
}

/* Step over `token` if it is next. */
static bool take(struct parser *p, const char *token)
{
    skip_space(p);
    size_t len = strlen(token);
    if (strncmp(p->at, token, len) != 0)
        return false;
    p->at += len;
    return true;
}

static bool add_node(struct parser *p, const char *at, struct node node, uint16_t *out_node)
{
    struct where *w = p->where;
    if (w->n_nodes == WHERE_MAX_NODES)
        return fail(p, at, "more than %d conditions and operators", WHERE_MAX_NODES);
    *out_node = (uint16_t)w->n_nodes;
    w->nodes[w->n_nodes++] = node;
    return true;
}

/* ------------------------------------------------------------------------------------------------ conditions */

static bool is_delimiter(char c)
{
    return c == 0 || isspace((unsigned char)c) || strchr("()!&|=<>\"'", c) != NULL;
}

static void put_char(struct where *w, char c)
{
    w->texts[w->texts_len++] = c;
}

static bool parse_quoted(struct parser *p)
{
    const char *open = p->at;
    char quote = *p->at++;
    while (*p->at && *p->at != quote) {
        if (*p->at == '\\') {
            p->at++;
            if (*p->at != '\\' && *p->at != '"' && *p->at != '\'')
                return fail(p, p->at - 1, "after \\ in quotes only \\, \" and ' are known");
        }
        put_char(p->where, *p->at++);
    }
    if (!*p->at)
        return fail(p, open, "the quote that opens here is not closed");
    p->at++;
    return true;
}

static bool parse_value(struct parser *p, const char **out_text, const char **out_at)
{
    skip_space(p);
    struct where *w = p->where;
    const char *text = w->texts + w->texts_len;
    *out_at = p->at;
    if (*p->at == '"' || *p->at == '\'') {
        if (!parse_quoted(p))
            return false;
    } else {
        if (is_delimiter(*p->at))
            return fail(p, p->at, "a value is missing here");
        while (!is_delimiter(*p->at))
            put_char(w, *p->at++);
    }
    put_char(w, 0);
    *out_text = text;
    return true;
}

static const struct {
    const char *token;
    enum op op;
} OPERATORS[] = {
    /* Longer ones first: "<=" begins with "<". */
    {"==", OP_EQ}, {"!=", OP_NE}, {"<=", OP_LE}, {">=", OP_GE}, {"=~", OP_GLOB}, {"<", OP_LT}, {">", OP_GT},
};

static bool parse_operator(struct parser *p, enum op *out_op)
{
    skip_space(p);
    for (size_t i = 0; i < sizeof OPERATORS / sizeof *OPERATORS; i++) {
        if (take(p, OPERATORS[i].token)) {
            *out_op = OPERATORS[i].op;
            return true;
        }
    }
    if (p->at[0] == '&' && p->at[1] != '&') {
        p->at++;
        *out_op = OP_BITS;
        return true;
    }
    return false;
}

static bool check_operator(struct parser *p, const char *at, const struct field *field, enum op op)
{
    bool ordered = op == OP_LT || op == OP_LE || op == OP_GT || op == OP_GE;
    switch (field->type) {
    case FIELD_NUMBER:
        if (op == OP_GLOB)
            return fail(p, at, "%s is a number: =~ needs text", field->name);
        return true;
    case FIELD_TEXT:
        if (ordered || op == OP_BITS)
            return fail(p, at, "%s is text: use ==, != or =~", field->name);
        return true;
    case FIELD_ENUM:
        if (op == OP_BITS)
            return fail(p, at, "%s has no bits: & works on numbers", field->name);
        return true;
    case FIELD_FLAG:
        if (op != OP_EQ && op != OP_NE)
            return fail(p, at, "%s is yes or no: use it alone, or with == or !=", field->name);
        return true;
    }
    return true;
}

static bool read_flag(const char *text, int64_t *out_number)
{
    bool yes = strcmp(text, "true") == 0 || strcmp(text, "1") == 0 || strcmp(text, "yes") == 0;
    bool no = strcmp(text, "false") == 0 || strcmp(text, "0") == 0 || strcmp(text, "no") == 0;
    *out_number = yes;
    return yes || no;
}

static bool read_value(struct parser *p, const char *at, struct node *node)
{
    const struct field *field = node->field;
    if (node->op == OP_GLOB || field->type == FIELD_TEXT)
        return true;
    if (field->type == FIELD_FLAG)
        return read_flag(node->text, &node->number) || fail(p, at, "%s is true or false", field->name);
    if (field->type == FIELD_NUMBER)
        return names_parse_number(node->text, &node->number) ||
               fail(p, at, "%s is a number, '%.40s' is not", field->name, node->text);
    if (names_number(field->names, node->text, &node->number))
        return true;
    const char *nearest = names_nearest(field->names, node->text);
    if (nearest)
        return fail(p, at, "'%.40s' is none of the %s; did you mean %s?", node->text, names_plural(field->names),
                    nearest);
    char all[120];
    return fail(p, at, "'%.40s' is none of the %s: %s", node->text, names_plural(field->names),
                names_all(field->names, all, sizeof all));
}

static bool parse_field(struct parser *p, const struct field **out_field)
{
    skip_space(p);
    const char *at = p->at;
    char name[32];
    size_t len = 0;
    while (isalnum((unsigned char)p->at[len]) || p->at[len] == '_')
        len++;
    if (len == 0)
        return *at ? fail(p, at, "expected a field, '!' or '('") : fail(p, at, "the expression ends too early");
    if (len >= sizeof name)
        return fail(p, at, "unknown field '%.32s…'", at);
    memcpy(name, at, len);
    name[len] = 0;
    *out_field = field_find(name);
    if (!*out_field) {
        const char *nearest = field_nearest(name);
        return nearest ? fail(p, at, "unknown field '%s'; did you mean %s?", name, nearest)
                       : fail(p, at, "unknown field '%s'", name);
    }
    p->at += len;
    return true;
}

static bool parse_condition(struct parser *p, uint16_t *out_node)
{
    skip_space(p);
    const char *begin = p->at;
    struct node node = {.op = OP_FLAG};
    if (!parse_field(p, &node.field))
        return false;
    skip_space(p);
    const char *op_at = p->at, *value_at;
    if (!parse_operator(p, &node.op)) {
        if (node.field->type != FIELD_FLAG)
            return fail(p, op_at, "expected an operator behind %s: ==, !=, <, <=, >, >=, =~ or &", node.field->name);
        return add_node(p, begin, node, out_node);
    }
    if (!check_operator(p, op_at, node.field, node.op) || !parse_value(p, &node.text, &value_at) ||
        !read_value(p, value_at, &node))
        return false;
    return add_node(p, begin, node, out_node);
}

/* ------------------------------------------------------------------------------------------------ operators */

static bool parse_unary(struct parser *p, uint16_t *out_node)
{
    skip_space(p);
    const char *begin = p->at;
    bool negated = p->at[0] == '!';
    if (!negated && p->at[0] != '(')
        return parse_condition(p, out_node);
    if (p->depth == WHERE_MAX_DEPTH)
        return fail(p, begin, "nested deeper than %d levels", WHERE_MAX_DEPTH);
    p->depth++;
    p->at++;
    bool ok;
    if (negated) {
        struct node node = {.op = OP_NOT};
        ok = parse_unary(p, &node.left) && add_node(p, begin, node, out_node);
    } else {
        ok = parse_or(p, out_node);
        if (ok && !take(p, ")"))
            ok = fail(p, p->at, "expected ')' for the '(' in column %zu", (size_t)(begin - p->start) + 1);
    }
    p->depth--;
    return ok;
}

static bool parse_and(struct parser *p, uint16_t *out_node)
{
    if (!parse_unary(p, out_node))
        return false;
    for (;;) {
        const char *at = p->at;
        struct node node = {.op = OP_AND, .left = *out_node};
        if (!take(p, "&&"))
            return true;
        if (!parse_unary(p, &node.right) || !add_node(p, at, node, out_node))
            return false;
    }
}

static bool parse_or(struct parser *p, uint16_t *out_node)
{
    if (!parse_and(p, out_node))
        return false;
    for (;;) {
        const char *at = p->at;
        struct node node = {.op = OP_OR, .left = *out_node};
        if (!take(p, "||"))
            return true;
        if (!parse_and(p, &node.right) || !add_node(p, at, node, out_node))
            return false;
    }
}

int where_new(const char *text, struct where **out_where, struct where_error *out_error)
{
    struct parser p = {.start = text, .at = text, .error = out_error};
    if (strnlen(text, WHERE_MAX_BYTES + 1) > WHERE_MAX_BYTES) {
        fail(&p, text + WHERE_MAX_BYTES, "longer than %d bytes", WHERE_MAX_BYTES);
        return UV_EINVAL;
    }
    p.where = calloc(1, sizeof *p.where);
    if (!p.where) {
        fail(&p, text, "out of memory");
        return UV_ENOMEM;
    }
    bool ok = parse_or(&p, &p.where->root);
    skip_space(&p);
    if (ok && *p.at)
        ok = fail(&p, p.at, "expected &&, || or the end");
    if (!ok) {
        where_free(p.where);
        return UV_EINVAL;
    }
    *out_where = p.where;
    return 0;
}

void where_free(struct where *where)
{
    free(where);
}

/* ------------------------------------------------------------------------------------------------ evaluation */

/* Patterns meet the word of an enum, or its number when it has no word. */
static bool glob_matches_enum(const struct node *n, int64_t number)
{
    const char *word = names_word(n->field->names, number);
    char digits[24];
    if (!word) {
        snprintf(digits, sizeof digits, "%lld", (long long)number);
        word = digits;
    }
    return glob_matches(n->text, word, strlen(word), true);
}

static bool condition_holds(const struct node *n, const struct Sensebus__V1__Event *event)
{
    struct field_value value = n->field->read(event);
    if (!value.present)
        return n->op == OP_NE;
    if (n->field->type == FIELD_TEXT) {
        if (n->op == OP_GLOB)
            return glob_matches(n->text, value.text, strlen(value.text), false);
        return (strcmp(n->text, value.text) == 0) == (n->op == OP_EQ);
    }
    switch (n->op) {
    case OP_FLAG: return value.number != 0;
    case OP_EQ: return value.number == n->number;
    case OP_NE: return value.number != n->number;
    case OP_LT: return value.number < n->number;
    case OP_LE: return value.number <= n->number;
    case OP_GT: return value.number > n->number;
    case OP_GE: return value.number >= n->number;
    case OP_BITS: return (value.number & n->number) != 0;
    case OP_GLOB: return glob_matches_enum(n, value.number);
    case OP_OR:
    case OP_AND:
    case OP_NOT: break;
    }
    return false;
}

/* As deep as the tree, which has at most WHERE_MAX_NODES nodes. */
static bool holds(const struct where *w, uint16_t i, const struct Sensebus__V1__Event *event)
{
    const struct node *n = &w->nodes[i];
    switch (n->op) {
    case OP_OR: return holds(w, n->left, event) || holds(w, n->right, event);
    case OP_AND: return holds(w, n->left, event) && holds(w, n->right, event);
    case OP_NOT: return !holds(w, n->left, event);
    default: return condition_holds(n, event);
    }
}

bool where_matches(const struct where *where, const struct Sensebus__V1__Event *event)
{
    return holds(where, where->root, event);
}

void where_print_fields(FILE *out)
{
    const struct field *field;
    for (size_t i = 0; (field = field_at(i)); i++)
        fprintf(out, "  %-12s %s\n", field->name, field->help);
}
