/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/face.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "clients/cli/cli.h"
#include "clients/cli/query/names.h"

/* Operations at a device may last longer than this, but not wait longer for it. */
#define MAX_DEADLINE_MS 600000

enum { MAX_OWN_OPTIONS = 8, DEVICE_OPTIONS = 6 };

/* As given. */
struct device_options {
    const char *host, *adapter, *bus, *target, *lun, *session;
};

static void device_options(struct device_options *o, struct option *out)
{
    *out++ = (struct option){.name = "host",
                             .kind = OPTION_STRING,
                             .value = &o->host,
                             .argument = "NAME",
                             .help = "the agent that has the device, when it is not named as HOST:TARGET[:LUN] or\n"
                                     "HOST:H:C:T:L"};
    *out++ = (struct option){.name = "adapter",
                             .kind = OPTION_STRING,
                             .value = &o->adapter,
                             .argument = "NAME",
                             .help = "of the host (default: the only one that has the device)"};
    *out++ = (struct option){.name = "bus",
                             .kind = OPTION_STRING,
                             .value = &o->bus,
                             .argument = "N",
                             .help = "channel of the adapter (default -1: it has none)"};
    *out++ = (struct option){.name = "target",
                             .kind = OPTION_STRING,
                             .value = &o->target,
                             .argument = "NAME",
                             .help = "name or number of the target"};
    *out++ = (struct option){
        .name = "lun", .kind = OPTION_STRING, .value = &o->lun, .argument = "N", .help = "logical unit (default 0)"};
    *out++ = (struct option){.name = "session",
                             .kind = OPTION_STRING,
                             .value = &o->session,
                             .argument = "ID",
                             .help = "a session that is open already, of the same principal"};
}

/* ------------------------------------------------------------------------------------------------ choosing */

static int number(struct cli *cli, const char *option, const char *text, int64_t min, int64_t max, int64_t *out)
{
    if (!text)
        return -1;
    if (names_parse_number(text, out) && *out >= min && *out <= max)
        return -1;
    return cli_usage(cli, "--%s: '%.40s' is no number from %lld on", option, text, (long long)min);
}

static int from_options(const struct device_options *o, struct cli *cli, struct chosen_device *out)
{
    int64_t target;
    if (!o->host)
        return cli_usage(cli,
                         "which device? HOST:TARGET[:LUN], HOST:H:C:T:L, or --host and --target; 'sensebus devices' "
                         "lists them");
    if (!o->target)
        return cli_usage(cli, "--target is missing");
    out->address.host = o->host;
    if (names_parse_number(o->target, &target) && target >= 0 && target <= INT32_MAX)
        out->address.target = (int32_t)target;
    else
        out->address.target_name = o->target;
    return -1;
}

int face_address(struct cli *cli, const char *operand, struct chosen_device *out)
{
    static const struct sb_address none = SB_ADDRESS_INIT;
    char err[200];
    *out = (struct chosen_device){.address = none};
    if (device_parse(operand, &out->device, err, sizeof err) < 0)
        return cli_usage(cli, "%s", err);
    out->address.host = out->device.host;
    out->address.target = out->device.target;
    out->address.target_name = *out->device.target_name ? out->device.target_name : NULL;
    out->address.lun = out->device.lun;
    out->address.adapter = *out->device.adapter ? out->device.adapter : NULL;
    out->address.bus = out->device.bus;
    return -1;
}

static int from_operand(const struct device_options *o, struct cli *cli, const char *operand, struct chosen_device *out)
{
    if (o->host || o->target)
        return cli_usage(cli, "the device is named twice: '%.80s' and --host or --target", operand);
    int code = face_address(cli, operand, out);
    if (code < 0 && o->lun && out->device.has_lun)
        return cli_usage(cli, "the LUN is given twice: '%.80s' and --lun", operand);
    if (code < 0 && *out->device.adapter && (o->adapter || o->bus))
        return cli_usage(cli, "the adapter is given twice: '%.80s' and --adapter or --bus", operand);
    return code;
}

static int choose(const struct device_options *o, struct cli *cli, int n_operands, char **argv,
                  struct chosen_device *out)
{
    static const struct sb_address none = SB_ADDRESS_INIT;
    int64_t bus = -1, lun;
    *out = (struct chosen_device){.address = none, .session = o->session};
    if (n_operands > 1)
        return cli_usage(cli, "one device at a time: '%.80s' is too many", argv[2]);
    if (o->session) {
        if (n_operands || o->host || o->adapter || o->bus || o->target || o->lun)
            return cli_usage(cli, "--session says it all: name no device besides");
        return -1;
    }
    int code = n_operands ? from_operand(o, cli, argv[1], out) : from_options(o, cli, out);
    lun = out->address.lun;
    bus = out->address.bus;
    if (code < 0)
        code = number(cli, "bus", o->bus, -1, INT32_MAX, &bus);
    if (code < 0)
        code = number(cli, "lun", o->lun, 0, INT64_MAX, &lun);
    if (o->adapter)
        out->address.adapter = o->adapter;
    out->address.bus = (int32_t)bus;
    out->address.lun = lun;
    return code;
}

int face_parse(struct cli *cli, const char *usage, const struct option *own, size_t n_own, int argc, char **argv,
               struct chosen_device *out)
{
    struct option options[MAX_OWN_OPTIONS + DEVICE_OPTIONS + CLI_OPTIONS];
    struct device_options given = {0};
    size_t n = n_own + DEVICE_OPTIONS + CLI_OPTIONS;
    int n_operands;
    assert(n_own <= MAX_OWN_OPTIONS);
    if (n_own)
        memcpy(options, own, n_own * sizeof *own);
    device_options(&given, options + n_own);
    cli_options(cli, options + n_own + DEVICE_OPTIONS);
    int code = cli_parse(cli, usage, options, n, n, argc, argv, &n_operands);
    return code < 0 ? choose(&given, cli, n_operands, argv, out) : code;
}

/* ------------------------------------------------------------------------------------------------ handle */

int face_open(struct face *f, struct cli *cli)
{
    char err[512];
    const uint64_t ms = cli->connect_ms < MAX_DEADLINE_MS ? cli->connect_ms : MAX_DEADLINE_MS;
    const struct sb_options options = {.flags = cli->insecure ? SB_INSECURE : 0,
                                       .connect_ms = (uint32_t)ms,
                                       .deadline_ms = (uint32_t)ms,
                                       .tls_certificate = cli->files.certificate,
                                       .tls_key = cli->files.key,
                                       .tls_authority = cli->files.authority,
                                       .tls_server_name = cli->server_name};
    *f = (struct face){.cli = cli};
    if (sb_open(cli->broker, &options, &f->sb, err, sizeof err) == 0)
        return EXIT_OK;
    f->sb = NULL;
    if (errno != ENOTCONN && errno != ETIMEDOUT) {
        cli_error(cli, "%s", err);
        return EXIT_FAILED;
    }
    cli_cannot_connect(cli, "", err);
    return EXIT_CONNECT;
}

int face_session(struct face *f, const struct chosen_device *chosen, unsigned flags, char session[SB_SESSION_BYTES])
{
    struct sb_started started;
    if (chosen->session) {
        int len = snprintf(session, SB_SESSION_BYTES, "%s", chosen->session);
        return len < SB_SESSION_BYTES ? EXIT_OK : cli_usage(f->cli, "--session: longer than an id can be");
    }
    if (sb_start(f->sb, &chosen->address, flags, &started) < 0) {
        bool taken = sb_detail(f->sb) == SB_DETAIL_ALREADY_STARTED;
        int code = face_failed(f, "start");
        if (taken && (flags & SB_SHARED))
            cli_error(f->cli, "its owner has it alone, and can name the session with --session ('sensebus sessions')");
        return code;
    }
    snprintf(session, SB_SESSION_BYTES, "%s", started.session);
    return EXIT_OK;
}

int face_failed(struct face *f, const char *what)
{
    int error = errno, detail = sb_detail(f->sb);
    if (detail == SB_DETAIL_NONE)
        cli_error(f->cli, "%s: %s: %s", what, strerrorname_np(error), sb_message(f->sb));
    else
        cli_error(f->cli, "%s: %s %s: %s", what, strerrorname_np(error), sb_detail_name(detail), sb_message(f->sb));
    return exit_from_errno(error, detail);
}

void face_close(struct face *f)
{
    sb_close(f->sb);
    f->sb = NULL;
}
