/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "clients/cli/cli.h"
#include "clients/cli/commands.h"
#include "clients/cli/face.h"
#include "clients/cli/output/answer.h"
#include "clients/cli/output/size_text.h"
#include "sensebus/v1/adapter.pb-c.h"

static const char USAGE[] = "usage: sensebus ioc HOST [--adapter NAME] [-o FORMAT]\n"
                            "\n"
                            "IOCINFO: what an adapter of a host is and can. Needs no session.\n"
                            "\n"
                            "Examples:\n"
                            "  sensebus ioc db-07\n"
                            "  sensebus ioc db-07 --adapter iscsi0 -o json\n"
                            "  sensebus ioc db-07 --adapter host3   # of the host's own kernel";

static const struct {
    uint32_t bit;
    const char *name;
} CAPABILITIES[] = {{SB_CAN_EVENT, "event"},
                    {SB_CAN_HALT, "halt"},
                    {SB_CAN_RESET_LUN, "reset-lun"},
                    {SB_CAN_RESET_TARGET, "reset-target"},
                    {SB_CAN_TARGET_MODE, "target-mode"}};
enum { N_CAPABILITIES = sizeof CAPABILITIES / sizeof *CAPABILITIES };

static size_t capability_names(uint32_t bits, char *names[N_CAPABILITIES])
{
    size_t n = 0;
    for (size_t i = 0; i < N_CAPABILITIES; i++)
        if (bits & CAPABILITIES[i].bit)
            names[n++] = (char *)CAPABILITIES[i].name;
    return n;
}

static const char *transport_name(uint32_t transport)
{
    static const char *const names[] = {"-", "iSCSI", "FC", "SAS", "parallel", "USB", "SRP", "ATA", "virtual"};
    return transport < sizeof names / sizeof *names ? names[transport] : "?";
}

static void print_text(struct cli *cli, const struct sb_adapter_info *info, char *const *names, size_t n)
{
    struct writer *w = &cli->out;
    char size[SIZE_TEXT_BYTES];
    writer_put(w, "adapter       ");
    writer_escaped(w, info->adapter);
    writer_put(w, "\nown id        ");
    writer_escaped(w, *info->own_id ? info->own_id : "-");
    writer_format(w, "\ndevice number %" PRIu32 ":%" PRIu32 "\ntransport     %s\nmax transfer  %s\ncan           ",
                  info->adap_major, info->adap_minor, transport_name(info->transport),
                  info->maximum_transfer_bytes ? size_text((double)info->maximum_transfer_bytes, size) : "-");
    for (size_t i = 0; i < n; i++)
        writer_format(w, "%s%s", i ? ", " : "", names[i]);
    writer_put(w, n ? "\n" : "nothing\n");
}

static void print(struct cli *cli, const struct answer *answer, struct sb_adapter_info *info)
{
    char *names[N_CAPABILITIES];
    Sensebus__V1__IocInfoResult message = SENSEBUS__V1__IOC_INFO_RESULT__INIT;
    message.adapter = info->adapter;
    message.major = info->adap_major;
    message.minor = info->adap_minor;
    message.maximum_transfer_bytes = info->maximum_transfer_bytes;
    message.transport = (Sensebus__V1__Transport)info->transport;
    message.own_id = info->own_id;
    message.capabilities = names;
    message.n_capabilities = capability_names(info->capabilities, names);
    if (!answer_json(answer, cli, &message.base))
        print_text(cli, info, names, message.n_capabilities);
}

int ioc_run(struct cli *cli, int argc, char **argv)
{
    struct answer answer = {0};
    const char *adapter = NULL;
    struct option options[2 + CLI_OPTIONS] = {{.name = "adapter",
                                               .kind = OPTION_STRING,
                                               .value = &adapter,
                                               .argument = "NAME",
                                               .help = "which one (default: the only one of the host)"}};
    struct face face;
    struct sb_adapter_info info;
    int n_operands;
    answer_option(&answer, options + 1);
    cli_options(cli, options + 2);
    int code = cli_parse(cli, USAGE, options, 2 + CLI_OPTIONS, 2 + CLI_OPTIONS, argc, argv, &n_operands);
    if (code < 0)
        code = answer_check(&answer, cli);
    if (code >= 0)
        return code;
    if (n_operands != 1)
        return cli_usage(cli, n_operands ? "one host at a time" : "which host? 'sensebus agents' lists them");
    code = face_open(&face, cli);
    if (code == EXIT_OK && sb_iocinfo(face.sb, argv[1], adapter, &info) < 0)
        code = face_failed(&face, "ioc");
    if (code == EXIT_OK)
        print(cli, &answer, &info);
    face_close(&face);
    return answer_end(cli, code);
}
