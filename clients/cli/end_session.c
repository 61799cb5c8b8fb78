/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "clients/cli/broker.h"
#include "clients/cli/cli.h"
#include "clients/cli/commands.h"
#include "clients/cli/output/answer.h"
#include "proto/message.h"
#include "sensebus/v1/admin.pb-c.h"

static const char USAGE[] = "usage: sensebus end-session ID --reason TEXT [-o FORMAT]\n"
                            "\n"
                            "End somebody else's session of the Adapter face. Its owner is told the reason, and\n"
                            "may open another; the log keeps who ended it and why. Role operator.\n"
                            "\n"
                            "Examples:\n"
                            "  sensebus end-session s18f2a00000001 --reason 'failover to backup-8'";

static void print(struct cli *cli, const struct answer *answer, const Sensebus__V1__EndSessionResponse *response)
{
    if (answer_json(answer, cli, &response->base))
        return;
    writer_put(&cli->out, "ended a session of ");
    writer_escaped(&cli->out, response->principal);
    writer_put(&cli->out, response->was_registered ? ", with its registration\n" : ", not registered\n");
}

int end_session_run(struct cli *cli, int argc, char **argv)
{
    Sensebus__V1__EndSessionRequest request = SENSEBUS__V1__END_SESSION_REQUEST__INIT;
    struct answer answer = {0};
    const char *reason = NULL;
    struct option options[2 + CLI_OPTIONS] = {{.name = "reason",
                                               .kind = OPTION_STRING,
                                               .value = &reason,
                                               .argument = "TEXT",
                                               .help = "told to its owner and kept in the log; at most 256 bytes"}};
    struct broker broker;
    ProtobufCMessage *reply = NULL;
    int n_operands;
    answer_option(&answer, options + 1);
    cli_options(cli, options + 2);
    int code = cli_parse(cli, USAGE, options, 2 + CLI_OPTIONS, 2 + CLI_OPTIONS, argc, argv, &n_operands);
    if (code < 0)
        code = answer_check(&answer, cli);
    if (code >= 0)
        return code;
    if (n_operands != 1)
        return cli_usage(cli, n_operands ? "one session at a time" : "which session? 'sensebus sessions' lists them");
    if (!reason || !*reason)
        return cli_usage(cli, "--reason is missing");
    request.session_id = argv[1];
    request.reason = (char *)reason;
    code = broker_connect(&broker, cli);
    if (code == EXIT_OK)
        code = broker_ask(&broker, "/sensebus.v1.Admin/EndSession", &request.base,
                          &sensebus__v1__end_session_response__descriptor, &reply);
    if (code == EXIT_OK)
        print(cli, &answer, (const Sensebus__V1__EndSessionResponse *)reply);
    message_free(reply);
    broker_close(&broker);
    return answer_end(cli, code);
}
