/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/list.h"

#include "clients/cli/cli.h"

void list_option(struct list *l, struct option *out_option)
{
    *out_option = (struct option){.name = "output",
                                  .letter = 'o',
                                  .kind = OPTION_STRING,
                                  .value = &l->output,
                                  .argument = "FORMAT",
                                  .help = "table, wide, json or ndjson (default table)"};
}

int list_begin(struct list *l, struct cli *cli)
{
    l->cli = cli;
    if (!format_parse(l->output, &l->format))
        return cli_usage(cli, "-o: '%.40s' is none of table, wide, json, ndjson", l->output);
    int code = broker_connect(&l->broker, cli);
    if (code == EXIT_OK && format_is_json(l->format))
        objects_begin(&l->objects, &cli->out, l->format);
    return code;
}

int list_end(struct list *l, int code)
{
    broker_close(&l->broker);
    if (l->objects.out && !objects_end(&l->objects) && code == EXIT_OK) {
        cli_error(l->cli, "out of memory: the output is not complete");
        code = EXIT_FAILED;
    }
    int rc = writer_flush(&l->cli->out);
    if (rc < 0 && rc != UV_EPIPE && code == EXIT_OK) {
        cli_error(l->cli, "cannot write the output: %s", uv_strerror(rc));
        code = EXIT_FAILED;
    }
    return code;
}
