/* SPDX-License-Identifier: Apache-2.0 */
/* health: the standard health check, for container engines and scripts. */
#include "clients/cli/broker.h"
#include "clients/cli/cli.h"
#include "clients/cli/commands.h"
#include "grpc/health/v1/health.pb-c.h"
#include "proto/message.h"

static const char USAGE[] = "usage: sensebus health [SERVICE]\n"
                            "\n"
                            "Ask the broker's health service (grpc.health.v1): exit code 0 when SERVICE is\n"
                            "serving, 1 when it is not, 3 when the broker cannot be reached. Without SERVICE\n"
                            "the whole broker is meant; sensebus.v1.Agents is not serving while the log\n"
                            "cannot be written.\n"
                            "\n"
                            "Example:\n"
                            "  sensebus health sensebus.v1.Agents --broker unix:/run/sensebus/broker.sock";

static const char *status_text(Grpc__Health__V1__HealthCheckResponse__ServingStatus status)
{
    switch (status) {
    case GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING: return "serving";
    case GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING: return "not serving";
    default: return "unknown";
    }
}

static int print_health(struct cli *cli, struct broker *broker, char *service)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    ProtobufCMessage *reply = NULL;
    request.service = service;
    int code = broker_ask(broker, "/grpc.health.v1.Health/Check", &request.base,
                          &grpc__health__v1__health_check_response__descriptor, &reply);
    if (code != EXIT_OK)
        return code;
    const Grpc__Health__V1__HealthCheckResponse *response = (const Grpc__Health__V1__HealthCheckResponse *)reply;
    bool serving = response->status == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    writer_put(&cli->out, status_text(response->status));
    writer_put(&cli->out, "\n");
    message_free(reply);
    int rc = writer_flush(&cli->out);
    return serving && (rc == 0 || rc == UV_EPIPE) ? EXIT_OK : EXIT_FAILED;
}

int health_run(struct cli *cli, int argc, char **argv)
{
    struct option options[CLI_OPTIONS];
    int n_operands;
    cli_options(cli, options);
    int code = cli_parse(cli, USAGE, options, CLI_OPTIONS, CLI_OPTIONS, argc, argv, &n_operands);
    if (code < 0 && n_operands > 1)
        code = cli_usage(cli, "'%.80s' is not expected here: one service at a time", argv[2]);
    if (code >= 0)
        return code;
    char whole_broker[] = "";
    struct broker broker;
    code = broker_connect(&broker, cli);
    if (code == EXIT_OK)
        code = print_health(cli, &broker, n_operands == 1 ? argv[1] : whole_broker);
    broker_close(&broker);
    return code;
}
