/* SPDX-License-Identifier: Apache-2.0 */
/* Command-line options as a table: parsing, environment fall-back, --help and errors that name what was wrong. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum option_kind {
    OPTION_FLAG,     /* bool *value */
    OPTION_STRING,   /* const char **value: borrowed from argv or the environment */
    OPTION_CHOICE,   /* the same; must be one of the words of `argument`: "sync|relaxed" */
    OPTION_LIST,     /* struct option_list *value: may be given several times */
    OPTION_UINT,     /* uint64_t *value, within min..max */
    OPTION_DURATION, /* uint64_t *value in ms: "500ms", "5s", "2m", "1h", "7d"; a bare number is seconds */
    OPTION_SIZE,     /* uint64_t *value in bytes: "64k", "16M", "2G" (powers of 1024); a bare number is bytes */
};

#define OPTION_LIST_MAX 256
struct option_list {
    const char *items[OPTION_LIST_MAX];
    size_t n;
};

struct option {
    const char *name; /* "listen": --listen VALUE or --listen=VALUE */
    char letter;      /* 'o' for -o, or 0 */
    enum option_kind kind;
    void *value;
    const char *argument; /* "HOST:PORT" for --help; NULL for flags */
    const char *env;      /* environment variable used when the option is not given, or NULL */
    uint64_t min, max;    /* numbers; max 0 = no limit */
    const char *help;     /* one line or several, with the default in it */
};

enum options_result { OPTIONS_OK, OPTIONS_HELP, OPTIONS_ERROR };

/* Parse argv[1..]. Operands (what is not an option; everything after "--") are moved to the front of argv and counted
 * in *out_n_operands, argv[0] untouched. --help gives OPTIONS_HELP. On OPTIONS_ERROR `err` names the option and what is
 * wrong with it, for unknown ones with the nearest known name. */
enum options_result options_parse(const struct option *options, size_t n_options, int argc, char **argv,
                                  int *out_n_operands, char *err, size_t err_len);
/* Store a value that came from elsewhere, a configuration file; `where` names it in `err`. A flag takes "true" or
 * "false". The text of strings and lists is borrowed. */
enum options_result options_set(const struct option *option, const char *where, const char *text, char *err,
                                size_t err_len);
void options_print_help(FILE *out, const char *usage, const struct option *options, size_t n_options);

/* The scalars by themselves. Return 0 or UV_EINVAL. */
int options_duration_ms(const char *text, uint64_t *out_ms);
int options_size_bytes(const char *text, uint64_t *out_bytes);
int options_uint(const char *text, uint64_t *out_value);
