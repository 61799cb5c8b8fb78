/* SPDX-License-Identifier: Apache-2.0 */
/* halt and reset: what acts on the device itself. */
#include <string.h>

#include "clients/cli/cli.h"
#include "clients/cli/commands.h"
#include "clients/cli/face.h"

static const char HALT_USAGE[] = "usage: sensebus halt HOST:TARGET[:LUN] | --session ID\n"
                                 "\n"
                                 "SCIOHALT: abort what runs on a logical unit, and clear its queue. Role kernel.\n"
                                 "\n"
                                 "A device is opened for this (shared), halted, and closed again; with --session\n"
                                 "the session stays halted: its next command must carry resume.\n"
                                 "\n"
                                 "Examples:\n"
                                 "  sensebus halt db-07:iqn.2026-01.example:disks:3\n"
                                 "  sensebus halt --session s18f2a00000001";

static const char RESET_USAGE[] = "usage: sensebus reset HOST:TARGET[:LUN] | --session ID --scope lun|target\n"
                                  "\n"
                                  "SCIORESET: reset a logical unit, or a target with all its units. Commands of\n"
                                  "every initiator are aborted and reservations may be released. Role kernel or\n"
                                  "dev-config.\n"
                                  "\n"
                                  "A device is opened for this (shared), reset, and closed again.\n"
                                  "\n"
                                  "Examples:\n"
                                  "  sensebus reset db-07:iqn.2026-01.example:disks:3 --scope lun\n"
                                  "  sensebus reset --host db-07 --target iqn.2026-01.example:disks --scope target";

/* Done: one line that says to what. */
static int done(struct cli *cli, const char *what, const struct chosen_device *device, const char *session)
{
    writer_format(&cli->out, "%s ", what);
    if (device->session) {
        writer_put(&cli->out, "session ");
        writer_escaped(&cli->out, session);
    } else {
        writer_escaped(&cli->out, device->address.host);
        if (device->address.target_name) {
            writer_put(&cli->out, " ");
            writer_escaped(&cli->out, device->address.target_name);
        } else {
            writer_format(&cli->out, " target %d", device->address.target);
        }
        writer_format(&cli->out, " LUN %lld", (long long)device->address.lun);
    }
    writer_put(&cli->out, "\n");
    return writer_flush(&cli->out) < 0 ? EXIT_FAILED : EXIT_OK;
}

int halt_run(struct cli *cli, int argc, char **argv)
{
    struct chosen_device device;
    struct face face;
    char session[SB_SESSION_BYTES];
    int code = face_parse(cli, HALT_USAGE, NULL, 0, argc, argv, &device);
    if (code >= 0)
        return code;
    code = face_open(&face, cli);
    if (code == EXIT_OK)
        code = face_session(&face, &device, SB_SHARED, session);
    if (code == EXIT_OK && sb_halt(face.sb, session) < 0)
        code = face_failed(&face, "halt");
    face_close(&face);
    return code == EXIT_OK ? done(cli, "halted", &device, session) : code;
}

int reset_run(struct cli *cli, int argc, char **argv)
{
    const char *scope = NULL;
    struct chosen_device device;
    struct face face;
    char session[SB_SESSION_BYTES];
    const struct option own[] = {{.name = "scope",
                                  .kind = OPTION_STRING,
                                  .value = &scope,
                                  .argument = "WHAT",
                                  .help = "lun: the logical unit; target: the target with all its units"}};
    int code = face_parse(cli, RESET_USAGE, own, 1, argc, argv, &device);
    if (code >= 0)
        return code;
    if (!scope)
        return cli_usage(cli, "--scope is missing: lun or target");
    bool lun = strcmp(scope, "lun") == 0;
    if (!lun && strcmp(scope, "target") != 0)
        return cli_usage(cli, "--scope: '%.40s' is neither lun nor target", scope);
    code = face_open(&face, cli);
    if (code == EXIT_OK)
        code = face_session(&face, &device, SB_SHARED, session);
    if (code == EXIT_OK && sb_reset(face.sb, session, lun ? SB_RESET_LUN : 0) < 0)
        code = face_failed(&face, "reset");
    face_close(&face);
    return code == EXIT_OK ? done(cli, lun ? "reset the unit:" : "reset the target:", &device, session) : code;
}
