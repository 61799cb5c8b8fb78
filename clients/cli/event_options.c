/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/event_options.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "clients/cli/cli.h"
#include "clients/cli/output/escape.h"
#include "clients/cli/query/where.h"
#include "proto/json.h"
#include "runtime/clock.h"
#include "sensebus/v1/events.pb-c.h"

void event_options(struct event_options *e, const char *since_help, struct option *o)
{
    select_options(&e->selection, o);
    o += SELECT_COUNT;
    *o++ = (struct option){.name = "where",
                           .kind = OPTION_STRING,
                           .value = &e->where,
                           .argument = "EXPR",
                           .help = "only events for which this holds: 'asc==0x29 && host!=\"db-01\"'; "
                                   "'sensebus explain where' tells all of it"};
    *o++ = (struct option){
        .name = "since", .kind = OPTION_STRING, .value = &e->since, .argument = "POINT", .help = since_help};
    *o++ = (struct option){.name = "last",
                           .kind = OPTION_UINT,
                           .value = &e->last,
                           .argument = "N",
                           .min = 1,
                           .max = 100000,
                           .help = "begin with the newest N events that the selectors match"};
    *o++ = (struct option){.name = "output",
                           .letter = 'o',
                           .kind = OPTION_STRING,
                           .value = &e->output,
                           .argument = "FORMAT",
                           .help = "compact, wide, json or ndjson (default compact)"};
    *o++ = (struct option){.name = "remedy",
                           .kind = OPTION_FLAG,
                           .value = &e->remedy,
                           .help = "compact: show below each event what to look at (wide always does)"};
    *o++ = (struct option){.name = "print-filter",
                           .kind = OPTION_FLAG,
                           .value = &e->print_filter,
                           .help = "print the filter made of the selectors as JSON, and end"};
}

void event_options_hidden(struct event_options *e, struct option *out_options)
{
    select_not_options(&e->selection, out_options);
}

/* ------------------------------------------------------------------------------------------------ compile */

int event_options_where(struct cli *cli, const char *option, const char *text, struct where **out_where)
{
    struct where_error error;
    if (where_new(text, out_where, &error) == 0)
        return -1;
    char before[WHERE_MAX_BYTES * ESCAPE_MAX_GROWTH + 1];
    cli_error(cli, "%s: column %zu: %s", option, error.column, error.text);
    size_t len = strlen(text), at = error.column - 1 < len ? error.column - 1 : len;
    if (len > 200)
        return EXIT_USAGE;
    /* What was written, and a mark below the place. */
    writer_put(&cli->err, "  ");
    writer_escaped(&cli->err, text);
    size_t columns = escape_columns(before, escape_text(text, at, before, sizeof before));
    writer_format(&cli->err, "\n  %*s^\n", (int)columns, "");
    writer_flush(&cli->err);
    return EXIT_USAGE;
}

static int print_filter(struct cli *cli, const Sensebus__V1__Filter *filter)
{
    const Sensebus__V1__Filter all = SENSEBUS__V1__FILTER__INIT;
    struct json_buffer json = {0};
    int rc = json_print(filter ? &filter->base : &all.base, JSON_INDENTED, &json);
    if (rc == 0) {
        writer_bytes(&cli->out, json.text, json.len);
        writer_put(&cli->out, "\n");
        rc = writer_flush(&cli->out);
    }
    json_buffer_deinit(&json);
    return rc == 0 || rc == UV_EPIPE ? EXIT_OK : EXIT_FAILED;
}

static int compile_start(const struct event_options *e, struct cli *cli, const char *default_since,
                         struct follow_options *follow)
{
    char err[256];
    if (e->since && e->last)
        return cli_usage(cli, "--since and --last both say where to begin: give one");
    follow->last = e->last;
    if (since_parse(e->since ? e->since : default_since, clock_wall_ns(), &follow->since, err, sizeof err) < 0)
        return cli_usage(cli, "--since: %s", err);
    return -1;
}

int event_options_compile(const struct event_options *e, struct cli *cli, const char *default_since,
                          struct follow_options *follow, enum format *out_format)
{
    char err[256];
    if (!format_parse(e->output, out_format))
        return cli_usage(cli, "-o: '%.40s' is none of compact, wide, json, ndjson", e->output);
    if (e->remedy && format_is_json(*out_format))
        return cli_usage(cli, "--remedy is for text; in JSON the code is the key to 'sensebus explain CODE'");
    int code = compile_start(e, cli, default_since, follow);
    if (code >= 0)
        return code;
    int rc = select_compile(&e->selection, &follow->filter, err, sizeof err);
    if (rc < 0) {
        cli_error(cli, "%s", err);
        return rc == UV_EINVAL ? EXIT_USAGE : EXIT_FAILED;
    }
    if (e->where)
        code = event_options_where(cli, "--where", e->where, &follow->where);
    if (code < 0 && e->print_filter)
        code = print_filter(cli, follow->filter);
    return code;
}

void event_options_deinit(struct follow_options *follow)
{
    if (follow->filter)
        sensebus__v1__filter__free_unpacked(follow->filter, NULL);
    where_free(follow->where);
    follow->filter = NULL;
    follow->where = NULL;
}
