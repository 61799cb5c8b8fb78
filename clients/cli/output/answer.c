/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/output/answer.h"

#include <uv.h>

#include "clients/cli/cli.h"
#include "proto/json.h"

void answer_option(struct answer *a, struct option *out_option)
{
    *out_option = (struct option){.name = "output",
                                  .letter = 'o',
                                  .kind = OPTION_STRING,
                                  .value = &a->output,
                                  .argument = "FORMAT",
                                  .help = "table, json or ndjson (default table)"};
}

int answer_check(struct answer *a, struct cli *cli)
{
    if (format_parse(a->output, &a->format) && a->format != FORMAT_WIDE)
        return -1;
    return cli_usage(cli, "-o: '%.40s' is none of table, json, ndjson", a->output);
}

bool answer_json(const struct answer *a, struct cli *cli, const struct ProtobufCMessage *message)
{
    struct json_buffer json = {0};
    if (!format_is_json(a->format))
        return false;
    if (json_print(message, a->format == FORMAT_JSON ? JSON_INDENTED : JSON_LINE, &json) == 0) {
        writer_bytes(&cli->out, json.text, json.len);
        writer_put(&cli->out, "\n");
    } else {
        cli_error(cli, "out of memory: the output is not complete");
    }
    json_buffer_deinit(&json);
    return true;
}

int answer_end(struct cli *cli, int code)
{
    int rc = writer_flush(&cli->out);
    if (rc >= 0 || rc == UV_EPIPE || code != EXIT_OK)
        return code;
    cli_error(cli, "cannot write the output: %s", uv_strerror(rc));
    return EXIT_FAILED;
}
