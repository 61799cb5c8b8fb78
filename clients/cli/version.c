/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/broker.h"
#include "clients/cli/cli.h"
#include "clients/cli/commands.h"
#include "proto/message.h"
#include "sensebus/v1/admin.pb-c.h"

static const char USAGE[] = "usage: sensebus version\n"
                            "\n"
                            "Print the version of this program, and of the broker when it can be reached. A\n"
                            "broker that is not there is no failure.\n"
                            "\n"
                            "Example:\n"
                            "  sensebus version --broker unix:/run/sensebus/broker.sock";

static int print_broker(struct cli *cli, struct broker *broker)
{
    Sensebus__V1__GetBrokerRequest request = SENSEBUS__V1__GET_BROKER_REQUEST__INIT;
    ProtobufCMessage *reply = NULL;
    int code = broker_ask(broker, "/sensebus.v1.Admin/GetBroker", &request.base,
                          &sensebus__v1__get_broker_response__descriptor, &reply);
    if (code != EXIT_OK)
        return code;
    writer_put(&cli->out, "broker   ");
    writer_escaped(&cli->out, ((Sensebus__V1__GetBrokerResponse *)reply)->version);
    writer_put(&cli->out, "  at ");
    writer_escaped(&cli->out, cli->broker);
    writer_put(&cli->out, "\n");
    message_free(reply);
    return EXIT_OK;
}

int version_run(struct cli *cli, int argc, char **argv)
{
    struct option options[CLI_OPTIONS];
    int n_operands;
    cli_options(cli, options);
    int code = cli_parse(cli, USAGE, options, CLI_OPTIONS, CLI_OPTIONS, argc, argv, &n_operands);
    if (code < 0)
        code = cli_no_operands(cli, n_operands, argv);
    if (code >= 0)
        return code;
    writer_put(&cli->out, "sensebus " SENSEBUS_VERSION "\n");
    struct broker broker;
    if (broker_try(&broker, cli) == EXIT_OK) {
        code = print_broker(cli, &broker);
    } else {
        writer_put(&cli->out, "broker   not reached at ");
        writer_escaped(&cli->out, cli->broker);
        writer_put(&cli->out, ": ");
        writer_escaped(&cli->out, broker.reason);
        writer_put(&cli->out, "\n");
        code = EXIT_OK;
    }
    broker_close(&broker);
    int rc = writer_flush(&cli->out);
    return rc < 0 && rc != UV_EPIPE ? EXIT_FAILED : code;
}
