/* SPDX-License-Identifier: Apache-2.0 */
/* notify and xaen: the sending side of the SDI face. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "clients/cli/cli.h"
#include "clients/cli/commands.h"
#include "clients/cli/face.h"
#include "clients/cli/output/answer.h"
#include "clients/cli/query/names.h"
#include "clients/cli/query/octets.h"
#include "clients/cli/sdi_options.h"
#include "sensebus/v1/sdi.pb-c.h"

static const char NOTIFY_USAGE[] = "usage: sensebus notify EVENT-TYPE [OPTIONS]\n"
                                   "\n"
                                   "sdi_notifyevent: call every handler that was added for this event type and\n"
                                   "matches the device, in the order they were added, and wait for their verdicts.\n"
                                   "Exit code 0 when all said OK or none matches, 1 when one failed, was late or was\n"
                                   "lost. Event types are private: from 0x100 on. Role kernel.\n"
                                   "\n"
                                   "Examples:\n"
                                   "  sensebus notify 0x100 --host db-07 --addr 0:0:1:4\n"
                                   "  sensebus notify 0x100 --device-type tape --inquiry 'IBM     ULT' --data 0x0102";

static const char XAEN_USAGE[] = "usage: sensebus xaen EVENT --hba N [OPTIONS]\n"
                                 "\n"
                                 "sdi_xaen: tell the sessions of a device, or of all devices of an adapter, that\n"
                                 "something happened. There is no answer. EVENT is reset, pthru, write-complete or\n"
                                 "a number. Role kernel.\n"
                                 "\n"
                                 "Examples:\n"
                                 "  sensebus xaen reset --hba 0 --id 1 --lun 4 --host db-07\n"
                                 "  sensebus xaen reset --hba 0        # all of that adapter, on every host";

/* ------------------------------------------------------------------------------------------------ notify */

struct notify {
    struct answer answer;
    const char *host, *address, *device_type, *inquiry, *data_text;
    uint64_t deadline_ms;
    uint8_t data[SB_SDI_MAX_SB];
    struct sb_notification notification;
};

static int fill_notification(struct notify *n, struct cli *cli, const char *type)
{
    char err[200];
    bool any;
    struct sb_notification *to = &n->notification;
    int code = sdi_event_type(cli, type, &to->event_type);
    if (code < 0)
        code = sdi_address(cli, n->address, &to->address);
    if (code < 0 && n->device_type)
        code = sdi_device_type(cli, n->device_type, false, &to->device_type, &any);
    if (code < 0 && n->data_text &&
        octets_parse(n->data_text, n->data, sizeof n->data, &to->sb_data_len, err, sizeof err) < 0)
        return cli_usage(cli, "--data: %s", err);
    to->address.host = n->host;
    to->inquiry = n->inquiry;
    to->sb_data = n->data;
    to->deadline_ms = (uint32_t)n->deadline_ms;
    return code;
}

static int notify(struct notify *n, struct face *face)
{
    Sensebus__V1__NotifyEventResponse message = SENSEBUS__V1__NOTIFY_EVENT_RESPONSE__INIT;
    struct sb_verdicts verdicts;
    bool ok = sb_notify_event(face->sb, &n->notification, &verdicts) == 0;
    if (!ok && sb_detail(face->sb) != SB_DETAIL_VERDICT)
        return face_failed(face, "notify");
    message.result = ok ? SENSEBUS__V1__SDI_RETURN__SDI_RETURN_OK : SENSEBUS__V1__SDI_RETURN__SDI_RETURN_ERR;
    message.n_called = verdicts.n_called;
    message.n_failed = verdicts.n_failed;
    if (!answer_json(&n->answer, face->cli, &message.base))
        writer_format(&face->cli->out, "%s  %" PRIu32 " called, %" PRIu32 " failed\n", ok ? "OK" : "ERR",
                      verdicts.n_called, verdicts.n_failed);
    return ok ? EXIT_OK : EXIT_FAILED;
}

static size_t notify_options(struct notify *n, struct option *o)
{
    answer_option(&n->answer, o);
    o[1] = (struct option){.name = "host",
                           .kind = OPTION_STRING,
                           .value = &n->host,
                           .argument = "NAME",
                           .help = "the agent where it happened"};
    o[2] = (struct option){.name = "addr",
                           .kind = OPTION_STRING,
                           .value = &n->address,
                           .argument = "C:B:T:L",
                           .help = "controller, bus, target and LUN it happened to (default all -1)"};
    o[3] = (struct option){.name = "device-type",
                           .kind = OPTION_STRING,
                           .value = &n->device_type,
                           .argument = "TYPE",
                           .help = "of the device: disk, tape, … or a number (default disk)"};
    o[4] = (struct option){.name = "inquiry",
                           .kind = OPTION_STRING,
                           .value = &n->inquiry,
                           .argument = "TEXT",
                           .help = "vendor and product of the device, at most 24 bytes"};
    o[5] = (struct option){.name = "data",
                           .kind = OPTION_STRING,
                           .value = &n->data_text,
                           .argument = "TEXT",
                           .help = "for the handlers: text, or 0x and hexadecimal; at most 4,096 bytes"};
    o[6] = (struct option){.name = "deadline",
                           .kind = OPTION_DURATION,
                           .value = &n->deadline_ms,
                           .argument = "TIME",
                           .min = 1,
                           .max = 600000,
                           .help = "for all verdicts (default 2s)"};
    return 7;
}

int notify_run(struct cli *cli, int argc, char **argv)
{
    struct notify n = {0};
    struct option options[7 + CLI_OPTIONS];
    struct face face;
    int n_operands;
    size_t n_options = notify_options(&n, options);
    cli_options(cli, options + n_options);
    n_options += CLI_OPTIONS;
    int code = cli_parse(cli, NOTIFY_USAGE, options, n_options, n_options, argc, argv, &n_operands);
    if (code < 0)
        code = answer_check(&n.answer, cli);
    if (code < 0 && n_operands != 1)
        code = cli_usage(cli, "one event type is expected, 0x100 or above");
    if (code < 0)
        code = fill_notification(&n, cli, argv[1]);
    if (code >= 0)
        return code;
    code = face_open(&face, cli);
    if (code == EXIT_OK)
        code = notify(&n, &face);
    face_close(&face);
    return answer_end(cli, code);
}

/* ------------------------------------------------------------------------------------------------ xaen */

struct xaen {
    const char *host, *hba, *id, *lun, *bus, *var;
    bool aen;
};

static void xaen_options(struct xaen *x, struct option *o)
{
    o[0] = (struct option){
        .name = "hba", .kind = OPTION_STRING, .value = &x->hba, .argument = "N", .help = "number of the adapter"};
    o[1] = (struct option){
        .name = "id", .kind = OPTION_STRING, .value = &x->id, .argument = "N", .help = "target (default -1: all)"};
    o[2] = (struct option){.name = "lun",
                           .kind = OPTION_STRING,
                           .value = &x->lun,
                           .argument = "N",
                           .help = "logical unit (default -1: all)"};
    o[3] = (struct option){
        .name = "bus", .kind = OPTION_STRING, .value = &x->bus, .argument = "N", .help = "channel (default -1: any)"};
    o[4] = (struct option){.name = "var",
                           .kind = OPTION_STRING,
                           .value = &x->var,
                           .argument = "N",
                           .help = "a number that goes along (default 0)"};
    o[5] =
        (struct option){.name = "aen", .kind = OPTION_FLAG, .value = &x->aen, .help = "sdi_aen: neither bus nor var"};
    o[6] = (struct option){.name = "host",
                           .kind = OPTION_STRING,
                           .value = &x->host,
                           .argument = "NAME",
                           .help = "the agent whose adapter is meant (default: every agent's)"};
}

static int xaen_event(const char *text, int64_t *out)
{
    static const char *const names[] = {
        [SB_SDI_FLT_RESET] = "reset", [SB_SDI_FLT_PTHRU] = "pthru", [SB_SDI_TARMOD_WRCOMP] = "write-complete"};
    for (int i = SB_SDI_FLT_RESET; i <= SB_SDI_TARMOD_WRCOMP; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = i;
            return 0;
        }
    }
    return names_parse_number(text, out) && *out >= INT32_MIN && *out <= INT32_MAX ? 0 : -1;
}

static int xaen_number(struct cli *cli, const char *option, const char *text, int64_t min, int64_t max, int64_t *out)
{
    if (!text || (names_parse_number(text, out) && *out >= min && *out <= max))
        return -1;
    return cli_usage(cli, "--%s: '%.40s' is no number from %" PRId64 " on", option, text, min);
}

static int xaen(struct xaen *x, struct cli *cli, const char *event_text)
{
    int64_t event, hba = 0, id = -1, lun = -1, bus = -1, var = 0;
    struct face face;
    if (xaen_event(event_text, &event) < 0)
        return cli_usage(cli, "event '%.40s' is none of reset, pthru, write-complete or a number", event_text);
    if (!x->hba)
        return cli_usage(cli, "--hba is missing: there is no wildcard for the adapter");
    if (x->aen && (x->bus || x->var))
        return cli_usage(cli, "--bus and --var do not go with --aen");
    int code = xaen_number(cli, "hba", x->hba, 0, INT32_MAX, &hba);
    if (code < 0)
        code = xaen_number(cli, "id", x->id, -1, INT32_MAX, &id);
    if (code < 0)
        code = xaen_number(cli, "lun", x->lun, -1, INT32_MAX, &lun);
    if (code < 0)
        code = xaen_number(cli, "bus", x->bus, -1, INT32_MAX, &bus);
    if (code < 0)
        code = xaen_number(cli, "var", x->var, 0, INT64_MAX, &var);
    if (code >= 0)
        return code;
    code = face_open(&face, cli);
    if (code == EXIT_OK) {
        int rc = x->aen ? sb_aen(face.sb, x->host, (int)event, (int)hba, (int)id, (int)lun)
                        : sb_xaen(face.sb, x->host, (int)event, (int)hba, (int)id, (int)lun, (int)bus, (uint64_t)var);
        if (rc < 0)
            code = face_failed(&face, "xaen");
    }
    face_close(&face);
    return code;
}

int xaen_run(struct cli *cli, int argc, char **argv)
{
    struct xaen x = {0};
    struct option options[7 + CLI_OPTIONS];
    int n_operands;
    xaen_options(&x, options);
    cli_options(cli, options + 7);
    int code = cli_parse(cli, XAEN_USAGE, options, 7 + CLI_OPTIONS, 7 + CLI_OPTIONS, argc, argv, &n_operands);
    if (code < 0 && n_operands != 1)
        code = cli_usage(cli, "one event is expected: reset, pthru, write-complete or a number");
    return code < 0 ? xaen(&x, cli, argv[1]) : code;
}
