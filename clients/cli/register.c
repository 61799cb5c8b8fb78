/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clients/cli/cli.h"
#include "clients/cli/commands.h"
#include "clients/cli/face.h"
#include "clients/cli/face_loop.h"
#include "clients/cli/interrupt.h"
#include "clients/cli/output/event_text.h"
#include "clients/cli/output/presenter.h"
#include "clients/cli/query/octets.h"
#include "proto/message.h"
#include "sensebus/v1/adapter.pb-c.h"

static const char USAGE[] = "usage: sensebus register HOST:TARGET[:LUN] | HOST:H:C:T:L | --session ID [OPTIONS]\n"
                            "\n"
                            "SCIOEVENT: open a session of a device, register for its events, and print them\n"
                            "until interrupted. A session takes one registration in its life, and a device one\n"
                            "session unless all are --shared: whoever comes second is told so, exit code 9.\n"
                            "Role kernel.\n"
                            "\n"
                            "With --mode target the device is an initiator: its name, seen from the target\n"
                            "(--adapter) that the host serves; what it sends is printed too.\n"
                            "\n"
                            "Examples:\n"
                            "  sensebus register db-07:iqn.2026-01.example:disks:3 --correlator 0x7f21\n"
                            "  sensebus register db-07:iqn.2026-01.example:disks:3 --shared -o ndjson\n"
                            "  sensebus register db-07:3:0:0:4      # H:C:T:L of the host's own kernel\n"
                            "  sensebus register --session s18f2a00000001 --count 1";

/* Of a target-mode session. */
enum { BUFFERS = 16, BUFFER_BYTES = 4096 };

struct registered {
    struct cli *cli;
    struct face face;
    struct face_loop loop;
    struct presenter presenter;
    const char *correlator_text, *mode_text, *output;
    bool shared;
    uint64_t count, n;
    uint8_t correlator[SB_MAX_CORRELATOR];
    size_t correlator_len;
    enum sb_mode mode;
    enum format format;
};

/* ------------------------------------------------------------------------------------------------ printing */

static void print_text(struct registered *r, const struct sb_event_info *info, const Sensebus__V1__Event *record)
{
    struct writer *out = &r->cli->out;
    char text[2 * SB_MAX_CORRELATOR + 3], bits[80];
    if (info->correlator) {
        writer_escaped(out, octets_text(info->correlator, info->correlator_len, text, sizeof text));
        writer_put(out, " ");
    }
    writer_format(out, "%s ", info->events ? aix_bits_text(info->events, bits) : "-");
    if (record) {
        presenter_event(&r->presenter, record);
        return;
    }
    writer_put(out, info->code_name);
    writer_put(out, " ");
    writer_escaped(out, info->summary);
    writer_put(out, "\n");
}

static void print_json(struct registered *r, const struct sb_event_info *info, Sensebus__V1__Event *record)
{
    Sensebus__V1__AdapterEvent message = SENSEBUS__V1__ADAPTER_EVENT__INIT;
    Sensebus__V1__DeviceAddress address = SENSEBUS__V1__DEVICE_ADDRESS__INIT;
    Sensebus__V1__Event made = SENSEBUS__V1__EVENT__INIT;
    made.code = (Sensebus__V1__Code)info->code;
    made.severity = (Sensebus__V1__Severity)info->severity;
    made.wall_time_unix_ns = info->wall_time_unix_ns;
    made.summary = (char *)info->summary;
    address.host = (char *)info->host;
    address.adapter = (char *)info->adapter;
    address.target_name = (char *)info->target_name;
    address.bus = info->bus;
    address.target = info->target;
    address.lun = info->lun;
    message.session_id = (char *)info->session;
    message.generation = info->generation;
    message.registered = &address;
    message.mode = (Sensebus__V1__Mode)info->mode;
    message.events = info->events;
    message.adapter_major = info->adap_major;
    message.adapter_minor = info->adap_minor;
    message.record = record ? record : &made;
    if (info->correlator) {
        message._correlator_case = SENSEBUS__V1__ADAPTER_EVENT___CORRELATOR_CORRELATOR;
        message.correlator = (ProtobufCBinaryData){info->correlator_len, (uint8_t *)info->correlator};
    }
    objects_put(&r->presenter.objects, NULL, &message.base);
}

/* Whoever ended the session: that is the end. An operator's word is a conflict, everything else a failure. */
static void end(struct registered *r, const struct sb_event_info *info)
{
    bool by_operator = strcmp(info->reason, "OPERATOR") == 0;
    if (!sb_is_connected(r->face.sb))
        return; /* the loop says so */
    cli_error(r->cli, "the session has ended: %s", info->summary);
    face_loop_stop(&r->loop, by_operator ? EXIT_CONFLICT : EXIT_FAILED);
}

static void on_event(void *data, const struct sb_event_info *info)
{
    struct registered *r = data;
    if (r->loop.code >= 0)
        return; /* of our own stop */
    Sensebus__V1__Event *record =
        info->record
            ? (Sensebus__V1__Event *)message_unpack(&sensebus__v1__event__descriptor, info->record, info->record_len, 0)
            : NULL;
    if (format_is_json(r->format))
        print_json(r, info, record);
    else
        print_text(r, info, record);
    message_free(record ? &record->base : NULL);
    r->n++;
    if (info->last)
        end(r, info);
    else if (r->count && r->n >= r->count)
        face_loop_stop(&r->loop, EXIT_OK);
}

static int on_data(void *data, const struct sb_target_data *received)
{
    struct registered *r = data;
    if (format_is_json(r->format)) {
        Sensebus__V1__TargetData message = SENSEBUS__V1__TARGET_DATA__INIT;
        message.session_id = (char *)received->session;
        message.generation = received->generation;
        message.correlator = (ProtobufCBinaryData){received->correlator_len, (uint8_t *)received->correlator};
        message.data = (ProtobufCBinaryData){received->len, (uint8_t *)received->data};
        objects_put(&r->presenter.objects, "targetData", &message.base);
    } else {
        char text[120];
        writer_format(&r->cli->out, "data %zu bytes ", received->len);
        writer_escaped(&r->cli->out, octets_text(received->data, received->len, text, sizeof text));
        writer_put(&r->cli->out, "\n");
    }
    return 0;
}

static int flush(void *data)
{
    struct registered *r = data;
    return presenter_flush(&r->presenter);
}

/* ------------------------------------------------------------------------------------------------ session */

static int start(struct registered *r, const struct chosen_device *device, char session[SB_SESSION_BYTES])
{
    struct sb_started started;
    const struct sb_target_options options = {.buffer_bytes = BUFFER_BYTES,
                                              .n_buffers = BUFFERS,
                                              .correlator = r->correlator,
                                              .correlator_len = r->correlator_len,
                                              .receive = on_data,
                                              .data = r};
    if (device->session || r->mode == SB_MODE_INITIATOR)
        return face_session(&r->face, device, r->shared ? SB_SHARED : 0, session);
    if (sb_start_target(r->face.sb, &device->address, &options, &started) < 0)
        return face_failed(&r->face, "start");
    snprintf(session, SB_SESSION_BYTES, "%s", started.session);
    return EXIT_OK;
}

static int run(struct registered *r, const struct chosen_device *device)
{
    char session[SB_SESSION_BYTES];
    const struct sb_registration registration = {.mode = r->mode,
                                                 .correlator = r->correlator_text ? r->correlator : NULL,
                                                 .correlator_len = r->correlator_len,
                                                 .on_event = on_event,
                                                 .data = r};
    r->loop.code = -1;
    int code = start(r, device, session);
    if (code == EXIT_OK && sb_event(r->face.sb, session, &registration) < 0)
        code = face_failed(&r->face, "register");
    if (code != EXIT_OK)
        return code;
    cli_error(r->cli, "registered: session %s", session);
    code = face_loop_run(&r->loop, &r->face, flush, r);
    if (sb_is_connected(r->face.sb) && !device->session)
        sb_stop(r->face.sb, session);
    return code;
}

/* ------------------------------------------------------------------------------------------------ options */

static int check(struct registered *r)
{
    char err[200];
    if (!format_parse(r->output, &r->format))
        return cli_usage(r->cli, "-o: '%.40s' is none of compact, wide, json, ndjson", r->output);
    r->mode = !r->mode_text || strcmp(r->mode_text, "initiator") == 0 ? SB_MODE_INITIATOR : SB_MODE_TARGET;
    if (r->mode == SB_MODE_TARGET && strcmp(r->mode_text, "target") != 0)
        return cli_usage(r->cli, "--mode: '%.40s' is neither initiator nor target", r->mode_text);
    if (r->shared && r->mode == SB_MODE_TARGET)
        return cli_usage(r->cli, "--shared is for initiator mode: a target's path has one owner");
    if (r->correlator_text &&
        octets_parse(r->correlator_text, r->correlator, sizeof r->correlator, &r->correlator_len, err, sizeof err) < 0)
        return cli_usage(r->cli, "--correlator: %s", err);
    return -1;
}

static void fill_options(struct registered *r, struct option o[5])
{
    o[0] = (struct option){.name = "correlator",
                           .kind = OPTION_STRING,
                           .value = &r->correlator_text,
                           .argument = "TEXT",
                           .help = "text, or 0x and hexadecimal: comes back with each event, unchanged"};
    o[1] = (struct option){.name = "mode",
                           .kind = OPTION_STRING,
                           .value = &r->mode_text,
                           .argument = "MODE",
                           .help = "initiator or target (default initiator)"};
    o[2] = (struct option){.name = "shared",
                           .kind = OPTION_FLAG,
                           .value = &r->shared,
                           .help = "a further session of a device that others have sessions of, too"};
    o[3] = (struct option){.name = "count",
                           .kind = OPTION_UINT,
                           .value = &r->count,
                           .argument = "N",
                           .min = 1,
                           .help = "end after N events"};
    o[4] = (struct option){.name = "output",
                           .letter = 'o',
                           .kind = OPTION_STRING,
                           .value = &r->output,
                           .argument = "FORMAT",
                           .help = "compact, wide, json or ndjson (default compact)"};
}

int register_run(struct cli *cli, int argc, char **argv)
{
    struct registered r = {.cli = cli};
    struct chosen_device device;
    struct option own[5];
    fill_options(&r, own);
    int code = face_parse(cli, USAGE, own, 5, argc, argv, &device);
    if (code < 0)
        code = check(&r);
    if (code >= 0)
        return code;
    presenter_begin(&r.presenter, cli, r.format, r.format == FORMAT_WIDE);
    interrupt_at_once();
    code = face_open(&r.face, cli);
    if (code == EXIT_OK)
        code = run(&r, &device);
    face_close(&r.face);
    int rc = presenter_end(&r.presenter);
    if (rc < 0 && rc != UV_EPIPE && code == EXIT_OK) {
        cli_error(cli, "cannot write the output: %s", uv_strerror(rc));
        code = EXIT_FAILED;
    }
    return code;
}
