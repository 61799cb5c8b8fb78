/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "runtime/options.h"

static bool verbose;
static const char *output;
static struct option_list targets;
static uint64_t count, poll_ms, bytes;

static const struct option table[] = {
    {.name = "verbose", .letter = 'v', .kind = OPTION_FLAG, .value = &verbose, .env = "T_VERBOSE", .help = "talk"},
    {.name = "output", .letter = 'o', .kind = OPTION_STRING, .value = &output, .argument = "FORMAT", .help = "format"},
    {.name = "target", .kind = OPTION_LIST, .value = &targets, .argument = "URL", .env = "T_TARGET", .help = "where"},
    {.name = "count", .kind = OPTION_UINT, .value = &count, .argument = "N", .min = 1, .max = 10, .help = "how many"},
    {.name = "poll", .kind = OPTION_DURATION, .value = &poll_ms, .argument = "TIME", .help = "how often"},
    {.name = "bytes", .kind = OPTION_SIZE, .value = &bytes, .argument = "SIZE", .help = "how much\nsecond line"},
};
#define N_TABLE (sizeof table / sizeof *table)

static char err[200];

static enum options_result parse(int *out_n, char **operands, const char *words)
{
    static char copy[400];
    static char *argv[40];
    int argc = 0;
    snprintf(copy, sizeof copy, "%s", words);
    argv[argc++] = (char *)"program";
    for (char *save, *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
        argv[argc++] = word;
    argv[argc] = NULL;
    int n = -1;
    err[0] = 0;
    enum options_result result = options_parse(table, N_TABLE, argc, argv, &n, err, sizeof err);
    if (out_n)
        *out_n = n;
    if (operands)
        memcpy(operands, argv + 1, sizeof(char *) * 8);
    return result;
}

static const char *mode;
static const struct option choice = {.name = "mode", .kind = OPTION_CHOICE, .value = &mode, .argument = "sync|relaxed"};

Test(options, a_choice_is_one_of_its_words)
{
    static const char *const bad[] = {"", "s", "syn", "sync|", "sync|relaxed", "|", "Sync", "relaxedx"};
    cr_assert_eq(options_set(&choice, "f:3: mode", "sync", err, sizeof err), OPTIONS_OK);
    cr_assert_str_eq(mode, "sync");
    cr_assert_eq(options_set(&choice, "f:3: mode", "relaxed", err, sizeof err), OPTIONS_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_eq(options_set(&choice, "f:3: mode", bad[i], err, sizeof err), OPTIONS_ERROR, "%s", bad[i]);
        cr_expect(strstr(err, "f:3: mode: '") && strstr(err, "is none of sync|relaxed"), "%s", err);
    }
    cr_assert_str_eq(mode, "relaxed");
}

Test(options, values_from_elsewhere_follow_the_same_rules)
{
    cr_assert_eq(options_set(&table[0], "v", "true", err, sizeof err), OPTIONS_OK);
    cr_assert(verbose);
    cr_assert_eq(options_set(&table[0], "v", "false", err, sizeof err), OPTIONS_OK);
    cr_assert_not(verbose);
    cr_assert_eq(options_set(&table[0], "v", "1", err, sizeof err), OPTIONS_ERROR);
    cr_assert(strstr(err, "v: '1' is neither true nor false"), "%s", err);
    cr_assert_eq(options_set(&table[3], "f:9: count", "11", err, sizeof err), OPTIONS_ERROR);
    cr_assert(strstr(err, "f:9: count: '11' is out of range (1 to 10)"), "%s", err);
    cr_assert_eq(options_set(&table[3], "f:9: count", "10", err, sizeof err), OPTIONS_OK);
    cr_assert_eq(count, 10);
}

Test(options, reads_every_kind_in_both_spellings)
{
    int n;
    char *operands[8];
    cr_assert_eq(
        parse(&n, operands, "watch -v --output=json --target a --target=b --count 7 --poll 500ms --bytes 64k x"),
        OPTIONS_OK, "%s", err);
    cr_assert(verbose);
    cr_assert_str_eq(output, "json");
    cr_assert_eq(targets.n, 2);
    cr_assert_str_eq(targets.items[1], "b");
    cr_assert_eq(count, 7);
    cr_assert_eq(poll_ms, 500);
    cr_assert_eq(bytes, 65536);
    cr_assert_eq(n, 2);
    cr_assert_str_eq(operands[0], "watch");
    cr_assert_str_eq(operands[1], "x");
}

Test(options, reads_letters_with_and_without_a_space)
{
    cr_assert_eq(parse(NULL, NULL, "-ojson"), OPTIONS_OK);
    cr_assert_str_eq(output, "json");
    cr_assert_eq(parse(NULL, NULL, "-o wide"), OPTIONS_OK);
    cr_assert_str_eq(output, "wide");
}

Test(options, leaves_everything_after_two_dashes_alone)
{
    int n;
    char *operands[8];
    cr_assert_eq(parse(&n, operands, "-- --verbose -x -"), OPTIONS_OK);
    cr_assert_eq(n, 3);
    cr_assert_str_eq(operands[0], "--verbose");
    cr_assert_not(verbose);
}

Test(options, says_what_was_wrong)
{
    static const struct {
        const char *words, *text;
    } cases[] = {
        {"--verbos", "did you mean --verbose?"},
        {"--frobnicate", "unknown option --frobnicate"},
        {"-z", "unknown option -z"},
        {"--verbose=yes", "--verbose: takes no value"},
        {"--output", "--output: needs a value (FORMAT)"},
        {"--count 0", "--count: '0' is out of range (1 to 10)"},
        {"--count 11", "--count: '11' is out of range"},
        {"--count -1", "--count: '-1' is not a valid number"},
        {"--count 99999999999999999999", "is not a valid number"},
        {"--poll 5x", "--poll: '5x' is not a valid duration"},
        {"--poll s", "is not a valid duration"},
        {"--bytes 99999999999T", "is not a valid size"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_assert_eq(parse(NULL, NULL, cases[i].words), OPTIONS_ERROR, "%s", cases[i].words);
        cr_assert_not_null(strstr(err, cases[i].text), "%s: %s", cases[i].words, err);
    }
}

Test(options, takes_the_environment_only_when_not_given)
{
    setenv("T_TARGET", "from-environment", 1);
    setenv("T_VERBOSE", "0", 1);
    cr_assert_eq(parse(NULL, NULL, ""), OPTIONS_OK);
    cr_assert_eq(targets.n, 1);
    cr_assert_str_eq(targets.items[0], "from-environment");
    cr_assert_not(verbose);
    setenv("T_VERBOSE", "yes", 1);
    cr_assert_eq(parse(NULL, NULL, "--target given"), OPTIONS_OK);
    cr_assert_eq(targets.n, 2);
    cr_assert_str_eq(targets.items[1], "given");
    cr_assert(verbose);
}

Test(options, helps)
{
    cr_assert_eq(parse(NULL, NULL, "--help"), OPTIONS_HELP);
    cr_assert_eq(parse(NULL, NULL, "-h"), OPTIONS_HELP);
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    options_print_help(f, "usage: program", table, N_TABLE);
    fclose(f);
    cr_assert_not_null(strstr(text, "-o, --output FORMAT"));
    cr_assert_not_null(strstr(text, "second line"));
    cr_assert_not_null(strstr(text, "[environment: T_TARGET]"));
    free(text);
}

Test(options, help_fits_80_columns_and_loses_no_word)
{
    static const char words[] = "one two three four five six seven eight nine ten eleven twelve thirteen\n"
                                "a-word-that-is-much-too-long-for-the-room-that-there-is-on-one-line after";
    bool flag;
    const struct option option = {.name = "x", .kind = OPTION_FLAG, .value = &flag, .help = words};
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    options_print_help(f, "usage: program", &option, 1);
    fclose(f);
    cr_expect(strstr(text, "nine ten\n                                eleven twelve"), "%s", text);
    cr_expect(strstr(text, "on-one-line\n                                after\n"), "%s", text);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        cr_expect(strlen(line) <= 80 || strstr(line, "a-word"), "%s", line);
    free(text);
}
