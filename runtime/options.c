/* SPDX-License-Identifier: Apache-2.0 */
/* The story: walk argv once. What looks like an option is looked up in the table and stored by its kind; what does not
 * is an operand and moves to the front. Then options not given on the line are looked up in the environment. Every
 * failure goes through fail(), which names the option as the user wrote it. */
#include "runtime/options.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "runtime/spelling.h"

struct parser {
    const struct option *options;
    size_t n_options;
    bool *given;
    char *err;
    size_t err_len;
};

__attribute__((format(printf, 2, 3))) static enum options_result fail(struct parser *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(p->err, p->err_len, format, args);
    va_end(args);
    return OPTIONS_ERROR;
}

int options_uint(const char *text, uint64_t *out_value)
{
    if (!isdigit((unsigned char)text[0]))
        return UV_EINVAL;
    uint64_t value = 0;
    for (const char *p = text; *p; p++) {
        if (!isdigit((unsigned char)*p))
            return UV_EINVAL;
        if (__builtin_mul_overflow(value, 10u, &value) || __builtin_add_overflow(value, (unsigned)(*p - '0'), &value))
            return UV_EINVAL;
    }
    *out_value = value;
    return 0;
}

struct unit {
    const char *suffix;
    uint64_t factor;
};

/* A decimal number with one of the suffixes. */
static int parse_scaled(const char *text, const struct unit *units, size_t n_units, uint64_t *out_value)
{
    size_t n_digits = strspn(text, "0123456789");
    char digits[24];
    if (n_digits == 0 || n_digits >= sizeof digits)
        return UV_EINVAL;
    memcpy(digits, text, n_digits);
    digits[n_digits] = 0;
    uint64_t value;
    if (options_uint(digits, &value) != 0)
        return UV_EINVAL;
    for (size_t i = 0; i < n_units; i++) {
        if (strcmp(text + n_digits, units[i].suffix) == 0) {
            if (__builtin_mul_overflow(value, units[i].factor, &value))
                return UV_EINVAL;
            *out_value = value;
            return 0;
        }
    }
    return UV_EINVAL;
}

int options_duration_ms(const char *text, uint64_t *out_ms)
{
    static const struct unit units[] = {{"", 1000},   {"ms", 1},          {"s", 1000},
                                        {"m", 60000}, {"h", 3600 * 1000}, {"d", 24 * 3600 * 1000}};
    return parse_scaled(text, units, sizeof units / sizeof *units, out_ms);
}

int options_size_bytes(const char *text, uint64_t *out_bytes)
{
    static const struct unit units[] = {{"", 1},           {"k", 1ull << 10}, {"K", 1ull << 10}, {"m", 1ull << 20},
                                        {"M", 1ull << 20}, {"g", 1ull << 30}, {"G", 1ull << 30}, {"T", 1ull << 40}};
    return parse_scaled(text, units, sizeof units / sizeof *units, out_bytes);
}

static int parse_number(const struct option *o, const char *text, uint64_t *out_value)
{
    switch (o->kind) {
    case OPTION_DURATION: return options_duration_ms(text, out_value);
    case OPTION_SIZE: return options_size_bytes(text, out_value);
    default: return options_uint(text, out_value);
    }
}

static bool is_choice(const char *choices, const char *text)
{
    size_t len = strlen(text);

    for (;; choices++) {
        size_t n = strcspn(choices, "|");
        if (n == len && memcmp(choices, text, n) == 0)
            return true;
        choices += n;
        if (!*choices)
            return false;
    }
}

/* `where` says how the user gave it: "--poll" or "SENSEBUS_POLL". */
static enum options_result store(struct parser *p, const struct option *o, const char *where, const char *text)
{
    switch (o->kind) {
    case OPTION_FLAG: *(bool *)o->value = true; return OPTIONS_OK;
    case OPTION_CHOICE:
        if (!is_choice(o->argument, text))
            return fail(p, "%s: '%.64s' is none of %s", where, text, o->argument);
        __attribute__((fallthrough));
    case OPTION_STRING: *(const char **)o->value = text; return OPTIONS_OK;
    case OPTION_LIST: {
        struct option_list *list = o->value;
        if (list->n == OPTION_LIST_MAX)
            return fail(p, "%s: given more than %d times", where, OPTION_LIST_MAX);
        list->items[list->n++] = text;
        return OPTIONS_OK;
    }
    case OPTION_UINT:
    case OPTION_DURATION:
    case OPTION_SIZE: break;
    }
    uint64_t value;
    if (parse_number(o, text, &value) != 0)
        return fail(p, "%s: '%s' is not a valid %s", where, text,
                    o->kind == OPTION_DURATION ? "duration (examples: 500ms, 5s, 2m, 1h)"
                    : o->kind == OPTION_SIZE   ? "size (examples: 4096, 64k, 16M, 2G)"
                                               : "number");
    if (value < o->min || (o->max != 0 && value > o->max))
        return fail(p, "%s: '%s' is out of range (%llu to %llu%s)", where, text, (unsigned long long)o->min,
                    (unsigned long long)(o->max ? o->max : UINT64_MAX),
                    o->kind == OPTION_DURATION ? " ms"
                    : o->kind == OPTION_SIZE   ? " bytes"
                                               : "");
    *(uint64_t *)o->value = value;
    return OPTIONS_OK;
}

static enum options_result fail_unknown(struct parser *p, const char *name)
{
    struct spelling_search search = {.word = name, .limit = 4};
    for (size_t i = 0; i < p->n_options; i++)
        spelling_consider(&search, p->options[i].name);
    if (search.nearest)
        return fail(p, "unknown option --%s; did you mean --%s?", name, search.nearest);
    return fail(p, "unknown option --%s; --help lists them", name);
}

static const struct option *find_long(const struct parser *p, const char *name)
{
    for (size_t i = 0; i < p->n_options; i++)
        if (strcmp(p->options[i].name, name) == 0)
            return &p->options[i];
    return NULL;
}

static const struct option *find_letter(const struct parser *p, char letter)
{
    for (size_t i = 0; i < p->n_options; i++)
        if (p->options[i].letter != 0 && p->options[i].letter == letter)
            return &p->options[i];
    return NULL;
}

/* One option at argv[*i]; moves *i over a separate value. */
static enum options_result parse_one(struct parser *p, int argc, char **argv, int *i)
{
    const char *argument = argv[*i], *value = NULL;
    const struct option *o;
    char where[80];
    if (argument[1] == '-') {
        char name[64];
        const char *equals = strchr(argument, '=');
        size_t len = equals ? (size_t)(equals - argument - 2) : strlen(argument + 2);
        if (len >= sizeof name)
            return fail(p, "unknown option %.60s…", argument);
        memcpy(name, argument + 2, len);
        name[len] = 0;
        if (strcmp(name, "help") == 0)
            return OPTIONS_HELP;
        o = find_long(p, name);
        if (!o)
            return fail_unknown(p, name);
        value = equals ? equals + 1 : NULL;
        snprintf(where, sizeof where, "--%s", name);
    } else {
        o = find_letter(p, argument[1]);
        if (!o && argument[1] == 'h' && argument[2] == 0)
            return OPTIONS_HELP;
        if (!o)
            return fail(p, "unknown option -%c; --help lists them", argument[1]);
        if (argument[2] != 0)
            value = argument[2] == '=' ? argument + 3 : argument + 2;
        snprintf(where, sizeof where, "-%c", argument[1]);
    }
    p->given[o - p->options] = true;
    if (o->kind == OPTION_FLAG) {
        if (value)
            return fail(p, "%s: takes no value", where);
        return store(p, o, where, NULL);
    }
    if (!value) {
        if (*i + 1 >= argc)
            return fail(p, "%s: needs a value (%s)", where, o->argument ? o->argument : "VALUE");
        value = argv[++*i];
    }
    return store(p, o, where, value);
}

static bool is_true(const char *text)
{
    return strcmp(text, "1") == 0 || strcmp(text, "true") == 0 || strcmp(text, "yes") == 0;
}

static enum options_result parse_environment(struct parser *p)
{
    for (size_t i = 0; i < p->n_options; i++) {
        const struct option *o = &p->options[i];
        const char *text = o->env && !p->given[i] ? getenv(o->env) : NULL;
        if (!text || !*text || (o->kind == OPTION_FLAG && !is_true(text)))
            continue;
        enum options_result result = store(p, o, o->env, text);
        if (result != OPTIONS_OK)
            return result;
    }
    return OPTIONS_OK;
}

enum options_result options_parse(const struct option *options, size_t n_options, int argc, char **argv,
                                  int *out_n_operands, char *err, size_t err_len)
{
    struct parser p = {options, n_options, calloc(n_options ? n_options : 1, sizeof(bool)), err, err_len};
    if (!p.given)
        return fail(&p, "out of memory");
    enum options_result result = OPTIONS_OK;
    int n_operands = 0;
    bool only_operands = false;
    for (int i = 1; i < argc && result == OPTIONS_OK; i++) {
        if (!only_operands && strcmp(argv[i], "--") == 0)
            only_operands = true;
        else if (!only_operands && argv[i][0] == '-' && argv[i][1] != 0)
            result = parse_one(&p, argc, argv, &i);
        else
            argv[1 + n_operands++] = argv[i];
    }
    if (result == OPTIONS_OK)
        result = parse_environment(&p);
    if (result == OPTIONS_OK)
        *out_n_operands = n_operands;
    free(p.given);
    return result;
}

enum options_result options_set(const struct option *option, const char *where, const char *text, char *err,
                                size_t err_len)
{
    struct parser p = {.err = err, .err_len = err_len};

    if (option->kind != OPTION_FLAG)
        return store(&p, option, where, text);
    bool value = strcmp(text, "true") == 0;
    if (!value && strcmp(text, "false") != 0)
        return fail(&p, "%s: '%.64s' is neither true nor false", where, text);
    *(bool *)option->value = value;
    return OPTIONS_OK;
}

enum { HELP_COLUMN = 32, HELP_WIDTH = 80 };

/* How much of `line` goes on one line: all, or up to the last space that fits. */
static size_t wrapped(const char *line)
{
    size_t max = HELP_WIDTH - HELP_COLUMN, len = strcspn(line, "\n"), cut = 0;
    if (len <= max)
        return len;
    for (size_t i = 1; i <= max; i++)
        if (line[i] == ' ')
            cut = i;
    return cut ? cut : strcspn(line, " \n"); /* a long word stays whole */
}

static void print_help_text(FILE *out, const char *text)
{
    for (const char *line = text; *line;) {
        size_t len = wrapped(line);
        fprintf(out, "%*s%.*s\n", line == text ? 0 : HELP_COLUMN, "", (int)len, line);
        line += len + (line[len] != 0);
    }
}

void options_print_help(FILE *out, const char *usage, const struct option *options, size_t n_options)
{
    fprintf(out, "%s\n\nOptions:\n", usage);
    for (size_t i = 0; i < n_options; i++) {
        const struct option *o = &options[i];
        char left[96];
        char letter[8] = "    ";
        if (o->letter)
            snprintf(letter, sizeof letter, "-%c, ", o->letter);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->argument ? " " : "",
                 o->argument ? o->argument : "");
        if (strlen(left) > 29)
            fprintf(out, "  %s\n%*s", left, HELP_COLUMN, "");
        else
            fprintf(out, "  %-30s", left);
        print_help_text(out, o->help);
        if (o->env)
            fprintf(out, "%*s[environment: %s]\n", HELP_COLUMN, "", o->env);
    }
    fprintf(out, "  -h, --help                    show this text\n");
}
