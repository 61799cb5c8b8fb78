/* SPDX-License-Identifier: Apache-2.0 */
/* Answers from what is built in: works without a broker. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/cli/cli.h"
#include "clients/cli/commands.h"
#include "clients/cli/output/event_text.h"
#include "clients/cli/output/table.h"
#include "clients/cli/query/names.h"
#include "clients/cli/query/where.h"
#include "proto/registry.h"
#include "proto/sense.h"
#include "runtime/glob.h"

static const char USAGE[] = "usage: sensebus explain [KEY/]ASC/ASCQ | CODE | 'PATTERN' | where\n"
                            "\n"
                            "Say what an additional sense code or an event code means and what to look at.\n"
                            "Works offline.\n"
                            "\n"
                            "Examples:\n"
                            "  sensebus explain 29/03\n"
                            "  sensebus explain LUN_RESET\n"
                            "  sensebus explain 203\n"
                            "  sensebus explain 'RESERVATIONS_*'\n"
                            "  sensebus explain where           # the language of --where";

#define UNIT_ATTENTION 6

static void line(struct cli *cli, const char *name, const char *text)
{
    writer_style(&cli->out, STYLE_DIM);
    writer_format(&cli->out, "  %-9s", name);
    writer_style(&cli->out, STYLE_NONE);
    writer_format(&cli->out, " %s\n", text);
}

static void print_entry(struct cli *cli, const struct registry_entry *e)
{
    char bits[80];
    writer_style(&cli->out, STYLE_BOLD);
    writer_format(&cli->out, "%s (%" PRIu32 ")\n", e->name, e->code);
    writer_style(&cli->out, STYLE_NONE);
    line(cli, "meaning", e->meaning);
    line(cli, "remedy", e->remedy);
    line(cli, "category", e->category);
    line(cli, "severity", registry_severity_name(e->severity));
    line(cli, "scope", registry_scope_name(e->scope));
    line(cli, "mode", registry_mode_name(e->mode));
    line(cli, "AIX bits", aix_bits_text(e->aix_bits, bits));
}

/* ------------------------------------------------------------------------------------------------ ASC/ASCQ */

/* "29", "0x29" or "29h": always hexadecimal, as codes are written everywhere. */
static bool read_byte(const char *text, size_t len, uint8_t *out)
{
    if (len > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        text += 2;
        len -= 2;
    } else if (len > 1 && (text[len - 1] == 'h' || text[len - 1] == 'H')) {
        len--;
    }
    if (len < 1 || len > 2)
        return false;
    unsigned value = 0;
    for (size_t i = 0; i < len; i++) {
        if (!isxdigit((unsigned char)text[i]))
            return false;
        char c = (char)tolower((unsigned char)text[i]);
        value = value * 16 + (unsigned)(isdigit((unsigned char)c) ? c - '0' : c - 'a' + 10);
    }
    *out = (uint8_t)value;
    return true;
}

static int explain_sense(struct cli *cli, const char *text)
{
    const char *slash = strchr(text, '/'), *second = strchr(slash + 1, '/');
    const char *at = second ? slash + 1 : text; /* behind the sense key, as events are printed */
    uint8_t key = UNIT_ATTENTION, asc, ascq;
    if (second && (!read_byte(text, (size_t)(slash - text), &key) || key > 15))
        return cli_usage(cli, "'%.60s': the sense key goes from 0 to f", text);
    slash = second ? second : slash;
    if (!read_byte(at, (size_t)(slash - at), &asc) || !read_byte(slash + 1, strlen(slash + 1), &ascq))
        return cli_usage(cli, "'%.60s' is no [KEY/]ASC/ASCQ: bytes in hexadecimal, like 29/03", text);
    char words[SENSE_TEXT_BYTES];
    writer_style(&cli->out, STYLE_BOLD);
    writer_format(&cli->out, "%02x/%02x ", asc, ascq);
    writer_escaped(&cli->out, sense_text(asc, ascq, words));
    writer_style(&cli->out, STYLE_NONE);
    const struct registry_entry *entry = registry_find(registry_classify_sense(0x70, key, asc, ascq));
    writer_format(&cli->out, "\n\nWith sense key %x (%s) it is %s\n", key, sense_key_name(key),
                  entry ? "the event\n" : "no event: an ordinary error reply");
    if (entry)
        print_entry(cli, entry);
    return EXIT_OK;
}

/* ------------------------------------------------------------------------------------------------ codes */

static int explain_pattern(struct cli *cli, const char *pattern)
{
    static const char *const headings[] = {"CODE", "NAME", "SEVERITY", "MEANING"};
    struct table table;
    table_init(&table, headings, 4);
    for (size_t i = 0; i < registry_size(); i++) {
        const struct registry_entry *e = registry_at(i);
        if (!glob_matches(pattern, e->name, strlen(e->name), true))
            continue;
        table_cellf(&table, "%" PRIu32, e->code);
        table_cell(&table, e->name);
        table_cell(&table, registry_severity_name(e->severity));
        table_cell(&table, e->meaning);
    }
    int code = EXIT_OK;
    if (table.n_cells == 0 && !table.failed) {
        cli_error(cli, "no code matches '%.60s'", pattern);
        code = EXIT_FAILED;
    } else if (!table_print(&table, &cli->out)) {
        cli_error(cli, "out of memory: the output is not complete");
        code = EXIT_FAILED;
    }
    table_deinit(&table);
    return code;
}

static int explain_code(struct cli *cli, const char *word)
{
    int64_t number;
    const struct registry_entry *entry = NULL;
    if (names_number(NAMES_CODE, word, &number) && number >= 0 && number <= UINT32_MAX)
        entry = registry_find((uint32_t)number);
    if (entry) {
        print_entry(cli, entry);
        return EXIT_OK;
    }
    const char *nearest = names_nearest(NAMES_CODE, word);
    if (nearest)
        cli_error(cli, "no code '%.60s'; did you mean %s?", word, nearest);
    else if (strlen(word) <= 2 && strspn(word, "0123456789abcdefABCDEF") == strlen(word))
        cli_error(cli, "no code '%.60s'; an additional sense code goes with its qualifier: %s/00", word, word);
    else
        cli_error(cli, "no code '%.60s'; 'sensebus explain \"*\"' lists all", word);
    return EXIT_FAILED;
}

static int explain_where(void)
{
    printf("--where EXPR holds or does not hold for one event; it is applied by this program, after the selectors.\n"
           "\n"
           "  FIELD OPERATOR VALUE      with == != < <= > >=, =~ (pattern with * and ?), & (has one of these bits)\n"
           "  deferred, synthetic       by themselves\n"
           "  ! && || ( )               to combine\n"
           "\n"
           "Values are decimal or 0x numbers, words, or \"quoted text\". A field that an event does not have equals "
           "nothing.\n"
           "\n"
           "Fields:\n");
    where_print_fields(stdout);
    printf("\nExample: --where 'asc==0x29 && !(host=~\"test-*\" || severity<warn)'\n");
    return fflush(stdout) == 0 ? EXIT_OK : EXIT_FAILED;
}

int explain_run(struct cli *cli, int argc, char **argv)
{
    struct option options[CLI_OPTIONS];
    int n_operands;
    cli_options(cli, options);
    /* Only --color is shown: there is nobody to connect to. The others may be there, before the command. */
    for (size_t i = 1; i < CLI_OPTIONS; i++) {
        if (strcmp(options[i].name, "color") == 0) {
            const struct option color = options[i];
            options[i] = options[0];
            options[0] = color;
        }
    }
    int code = cli_parse(cli, USAGE, options, 1, CLI_OPTIONS, argc, argv, &n_operands);
    if (code >= 0)
        return code;
    if (n_operands != 1)
        return cli_usage(cli, "explain takes one code, ASC/ASCQ or pattern; -h shows examples");
    const char *what = argv[1];
    if (strcmp(what, "where") == 0)
        return explain_where();
    if (strchr(what, '/'))
        code = explain_sense(cli, what);
    else if (glob_is_pattern(what))
        code = explain_pattern(cli, what);
    else
        code = explain_code(cli, what);
    int rc = writer_flush(&cli->out);
    return rc < 0 && rc != -EPIPE ? EXIT_FAILED : code;
}
