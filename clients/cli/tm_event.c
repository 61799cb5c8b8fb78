/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "clients/cli/cli.h"
#include "clients/cli/commands.h"
#include "clients/cli/face.h"
#include "clients/cli/output/answer.h"
#include "clients/cli/output/event_text.h"
#include "sensebus/v1/adapter.pb-c.h"

static const char USAGE[] = "usage: sensebus tm-event --session ID | HOST:TARGET[:LUN] [--peek] [-o FORMAT]\n"
                            "\n"
                            "TMIOEVNT: the OR of what happened to a session since it was opened, or since the\n"
                            "last query, which clears it.\n"
                            "\n"
                            "Words are kept for each session. Use --session of the same principal; a device is\n"
                            "opened for this alone, so its word tells what came in that moment: nothing, mostly\n"
                            "('sensebus wait-pri' opens a device and waits).\n"
                            "\n"
                            "Examples:\n"
                            "  sensebus tm-event --session s18f2a00000001\n"
                            "  sensebus tm-event --session s18f2a00000001 --peek -o json";

static void print(struct cli *cli, const struct answer *answer, uint32_t events)
{
    Sensebus__V1__TmEventResult message = SENSEBUS__V1__TM_EVENT_RESULT__INIT;
    char bits[80];
    message.events = events;
    if (!answer_json(answer, cli, &message.base))
        writer_format(&cli->out, "0x%" PRIx32 " %s\n", events, aix_bits_text(events, bits));
}

int tm_event_run(struct cli *cli, int argc, char **argv)
{
    struct answer answer = {0};
    bool peek = false;
    struct option own[2] = {{.name = "peek", .kind = OPTION_FLAG, .value = &peek, .help = "do not clear it"}};
    struct chosen_device device;
    struct face face;
    char session[SB_SESSION_BYTES];
    uint32_t events;
    answer_option(&answer, own + 1);
    int code = face_parse(cli, USAGE, own, 2, argc, argv, &device);
    if (code < 0)
        code = answer_check(&answer, cli);
    if (code >= 0)
        return code;
    code = face_open(&face, cli);
    if (code == EXIT_OK)
        code = face_session(&face, &device, SB_SHARED, session);
    if (code == EXIT_OK && sb_tm_event(face.sb, session, peek ? SB_PEEK : 0, &events) < 0)
        code = face_failed(&face, "tm-event");
    if (code == EXIT_OK)
        print(cli, &answer, events);
    face_close(&face);
    return answer_end(cli, code);
}
