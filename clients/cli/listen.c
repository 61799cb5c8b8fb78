/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clients/cli/cli.h"
#include "clients/cli/commands.h"
#include "clients/cli/face.h"
#include "clients/cli/face_loop.h"
#include "clients/cli/interrupt.h"
#include "clients/cli/output/objects.h"
#include "clients/cli/query/octets.h"
#include "clients/cli/sdi_options.h"
#include "sensebus/v1/sdi.pb-c.h"

static const char USAGE[] = "usage: sensebus listen EVENT-TYPE … [OPTIONS]\n"
                            "\n"
                            "sdi_addevent: add a handler for each event type, print each call, and answer it\n"
                            "with a verdict, until interrupted. Event types: firstopen, lastclose,\n"
                            "lastclose-err (of sessions: told by the broker), and private ones from 0x100 on.\n"
                            "Role kernel.\n"
                            "\n"
                            "Examples:\n"
                            "  sensebus listen firstopen lastclose lastclose-err\n"
                            "  sensebus listen 0x100 --addr '0:*:*:4' --device-type disk --verdict err";

struct listen {
    struct cli *cli;
    struct face face;
    struct face_loop loop;
    struct objects objects;
    const char *output, *address, *device_type, *inquiry, *host, *verdict_text;
    enum format format;
    int verdict;
    uint64_t count, n;
};

static const char *type_name(int32_t type, char buf[16])
{
    switch (type) {
    case SB_SDI_FIRSTOPEN: return "FIRSTOPEN";
    case SB_SDI_LASTCLOSE: return "LASTCLOSE";
    case SB_SDI_LASTCLOSE_ERR: return "LASTCLOSE_ERR";
    default: snprintf(buf, 16, "0x%" PRIx32, (uint32_t)type); return buf;
    }
}

static void print_json(struct listen *l, const struct sb_handler_call *call)
{
    Sensebus__V1__HandlerCall message = SENSEBUS__V1__HANDLER_CALL__INIT;
    Sensebus__V1__ScsiAdr address = SENSEBUS__V1__SCSI_ADR__INIT;
    address.controller = call->address.controller;
    address.bus = call->address.bus;
    address.target = call->address.target;
    address.lun = call->address.lun;
    address.host = (char *)call->address.host;
    message.handler_id = call->handler;
    message.event_type = call->event_type;
    message.address = &address;
    message.sb = (ProtobufCBinaryData){call->sb_data_len, (uint8_t *)call->sb_data};
    message.sender = (char *)call->sender;
    objects_put(&l->objects, NULL, &message.base);
}

static void print_text(struct listen *l, const struct sb_handler_call *call)
{
    struct writer *out = &l->cli->out;
    const struct sb_scsi_adr *a = &call->address;
    char name[16], text[200];
    writer_format(out, "%s ", type_name(call->event_type, name));
    writer_escaped(out, *a->host ? a->host : "-");
    writer_format(out, " %" PRId32 ":%" PRId32 ":%" PRId32 ":%" PRId32 " from ", a->controller, a->bus, a->target,
                  a->lun);
    writer_escaped(out, *call->sender ? call->sender : "the broker");
    if (call->sb_data_len) {
        writer_put(out, " ");
        writer_escaped(out, octets_text(call->sb_data, call->sb_data_len, text, sizeof text));
    }
    writer_put(out, "\n");
}

static int on_call(void *data, const struct sb_handler_call *call)
{
    struct listen *l = data;
    if (l->loop.code >= 0)
        return SB_SDI_ERR; /* nobody is there any more */
    if (format_is_json(l->format))
        print_json(l, call);
    else
        print_text(l, call);
    if (l->count && ++l->n >= l->count)
        face_loop_stop(&l->loop, EXIT_OK);
    return l->verdict;
}

static int flush(void *data)
{
    struct listen *l = data;
    return writer_flush(&l->cli->out);
}

/* ------------------------------------------------------------------------------------------------ options */

static size_t fill_options(struct listen *l, struct option *o)
{
    o[0] = (struct option){.name = "output",
                           .letter = 'o',
                           .kind = OPTION_STRING,
                           .value = &l->output,
                           .argument = "FORMAT",
                           .help = "compact, json or ndjson (default compact)"};
    o[1] = (struct option){.name = "host",
                           .kind = OPTION_STRING,
                           .value = &l->host,
                           .argument = "NAME",
                           .help = "only what happens there (default anywhere)"};
    o[2] = (struct option){.name = "addr",
                           .kind = OPTION_STRING,
                           .value = &l->address,
                           .argument = "C:B:T:L",
                           .help = "controller, bus, target and LUN; * is any (default *:*:*:*)"};
    o[3] = (struct option){.name = "device-type",
                           .kind = OPTION_STRING,
                           .value = &l->device_type,
                           .argument = "TYPE",
                           .help = "disk, tape, …, a number, or any (default any)"};
    o[4] = (struct option){.name = "inquiry",
                           .kind = OPTION_STRING,
                           .value = &l->inquiry,
                           .argument = "TEXT",
                           .help = "how vendor and product begin (default any)"};
    o[5] = (struct option){.name = "verdict",
                           .kind = OPTION_STRING,
                           .value = &l->verdict_text,
                           .argument = "WHAT",
                           .help = "ok or err: the answer to each call (default ok)"};
    o[6] = (struct option){.name = "count",
                           .kind = OPTION_UINT,
                           .value = &l->count,
                           .argument = "N",
                           .min = 1,
                           .help = "end after N calls"};
    return 7;
}

static int check(struct listen *l, struct sb_sdi_event *event)
{
    bool any;
    if (!format_parse(l->output, &l->format) || l->format == FORMAT_WIDE)
        return cli_usage(l->cli, "-o: '%.40s' is none of compact, json, ndjson", l->output);
    l->verdict = !l->verdict_text || strcmp(l->verdict_text, "ok") == 0 ? SB_SDI_OK : SB_SDI_ERR;
    if (l->verdict == SB_SDI_ERR && strcmp(l->verdict_text, "err") != 0)
        return cli_usage(l->cli, "--verdict: '%.40s' is neither ok nor err", l->verdict_text);
    *event = (struct sb_sdi_event){.inquiry = l->inquiry, .handler = on_call, .event_info = l};
    int code = sdi_address(l->cli, l->address, &event->address);
    if (code < 0)
        code = sdi_device_type(l->cli, l->device_type ? l->device_type : "any", true, &event->device_type, &any);
    event->flags = code < 0 && any ? SB_ANY_DEVICE_TYPE : 0;
    event->address.host = l->host;
    return code;
}

static int run(struct listen *l, struct sb_sdi_event *event, int n_types, char **types)
{
    uint64_t handler;
    int code = EXIT_OK;
    l->loop.code = -1;
    for (int i = 0; i < n_types && code == EXIT_OK; i++) {
        sdi_event_type(l->cli, types[i], &event->event_type); /* checked before */
        if (sb_add_event(l->face.sb, event, &handler) < 0)
            code = face_failed(&l->face, types[i]);
    }
    if (code != EXIT_OK)
        return code;
    cli_error(l->cli, "listening");
    return face_loop_run(&l->loop, &l->face, flush, l);
}

int listen_run(struct cli *cli, int argc, char **argv)
{
    struct listen l = {.cli = cli};
    struct sb_sdi_event event;
    struct option options[7 + CLI_OPTIONS];
    int n_operands;
    int32_t type;
    size_t n = fill_options(&l, options);
    cli_options(cli, options + n);
    n += CLI_OPTIONS;
    int code = cli_parse(cli, USAGE, options, n, n, argc, argv, &n_operands);
    if (code < 0 && n_operands == 0)
        code = cli_usage(cli, "which event types? firstopen, lastclose, lastclose-err or a number from 0x100 on");
    for (int i = 1; code < 0 && i <= n_operands; i++)
        code = sdi_event_type(cli, argv[i], &type);
    if (code < 0)
        code = check(&l, &event);
    if (code >= 0)
        return code;
    if (format_is_json(l.format))
        objects_begin(&l.objects, &cli->out, l.format);
    interrupt_at_once();
    code = face_open(&l.face, cli);
    if (code == EXIT_OK)
        code = run(&l, &event, n_operands, argv + 1);
    face_close(&l.face);
    if (l.objects.out && !objects_end(&l.objects) && code == EXIT_OK) {
        cli_error(cli, "out of memory: the output is not complete");
        code = EXIT_FAILED;
    }
    writer_flush(&cli->out);
    return code;
}
