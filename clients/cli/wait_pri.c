/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "clients/cli/cli.h"
#include "clients/cli/commands.h"
#include "clients/cli/face.h"
#include "clients/cli/interrupt.h"
#include "clients/cli/output/answer.h"
#include "clients/cli/output/event_text.h"
#include "clients/cli/output/objects.h"
#include "sensebus/v1/adapter.pb-c.h"

static const char USAGE[] = "usage: sensebus wait-pri [HOST:TARGET[:LUN] …] [--session ID …] [--timeout TIME]\n"
                            "\n"
                            "select with POLLPRI: wait until something happened to one of the devices or\n"
                            "sessions, and say to which. Exit code 0 then, 6 when the time is over, 1 when all\n"
                            "that is left is closed sessions.\n"
                            "\n"
                            "Devices are opened for this (shared). What happened is told, and cleared for the\n"
                            "devices, not for sessions: 'sensebus tm-event' clears theirs.\n"
                            "\n"
                            "Examples:\n"
                            "  sensebus wait-pri db-07:iqn.2026-01.example:disks:3 --timeout 30s\n"
                            "  sensebus wait-pri --session s18f2a00000001 --session s18f2a00000002\n"
                            "  sensebus wait-pri --session s18f2a00000001 --timeout 0      # POLLSYNC: look once";

enum { MAX_SESSIONS = 1024 };

struct waits {
    struct answer answer;
    struct option_list sessions; /* as given */
    const char *timeout;
    struct sb_pollpri list[MAX_SESSIONS];
    const char *names[MAX_SESSIONS]; /* as the user named them */
    char ids[OPTION_LIST_MAX][SB_SESSION_BYTES];
    size_t n;
};

static int add_sessions(struct waits *w, struct face *face, int n_operands, char **argv)
{
    for (size_t i = 0; i < w->sessions.n; i++, w->n++)
        w->names[w->n] = w->list[w->n].session = w->sessions.items[i];
    for (int i = 0; i < n_operands; i++, w->n++) {
        struct chosen_device device;
        int code = face_address(face->cli, argv[1 + i], &device);
        if (code < 0)
            code = face_session(face, &device, SB_SHARED, w->ids[i]);
        if (code != EXIT_OK)
            return code;
        w->list[w->n].session = w->ids[i];
        w->names[w->n] = argv[1 + i];
    }
    return EXIT_OK;
}

/* What is pending on the i-th session. */
static int pending(struct waits *w, struct face *face, size_t i, uint32_t *out_events)
{
    bool ours = i >= w->sessions.n;
    if (sb_tm_event(face->sb, w->list[i].session, ours ? 0 : SB_PEEK, out_events) == 0)
        return EXIT_OK;
    *out_events = 0;
    return face_failed(face, w->names[i]);
}

static void print_row(struct writer *out, const char *name, const char *state, uint32_t events)
{
    char bits[80];
    writer_escaped(out, name);
    writer_format(out, " %s", state);
    if (events)
        writer_format(out, " 0x%" PRIx32 " %s", events, aix_bits_text(events, bits));
    writer_put(out, "\n");
}

static int print(struct waits *w, struct face *face)
{
    Sensebus__V1__WaitPriResult message = SENSEBUS__V1__WAIT_PRI_RESULT__INIT;
    char *ready[MAX_SESSIONS], *closed[MAX_SESSIONS];
    int code = EXIT_OK;
    message.ready = ready;
    message.closed = closed;
    for (size_t i = 0; i < w->n; i++) {
        uint32_t events = 0;
        if (w->list[i].revents == SB_PRI) {
            ready[message.n_ready++] = (char *)w->names[i];
            int rc = pending(w, face, i, &events);
            code = rc == EXIT_OK ? code : rc;
        } else if (w->list[i].revents == SB_HUP) {
            closed[message.n_closed++] = (char *)w->names[i];
        }
        if (w->list[i].revents && !format_is_json(w->answer.format))
            print_row(&face->cli->out, w->names[i], w->list[i].revents == SB_HUP ? "closed" : "ready", events);
    }
    answer_json(&w->answer, face->cli, &message.base);
    return code == EXIT_OK && !message.n_ready ? EXIT_FAILED : code;
}

static int wait_and_print(struct waits *w, struct face *face, int64_t timeout_ms)
{
    int n = sb_poll_pri(face->sb, w->list, w->n, timeout_ms);
    if (n < 0)
        return face_failed(face, "wait-pri");
    if (n == 0) {
        cli_error(face->cli, "timeout: nothing happened");
        return EXIT_TIMEOUT;
    }
    return print(w, face);
}

static int parse(struct cli *cli, struct waits *w, int argc, char **argv, int *out_n_operands, int64_t *out_timeout_ms)
{
    struct option options[2 + CLI_OPTIONS] = {{.name = "session",
                                               .kind = OPTION_LIST,
                                               .value = &w->sessions,
                                               .argument = "ID",
                                               .help = "a session that is open already, of the same principal; may be "
                                                       "given several times"}};
    uint64_t ms;
    answer_option(&w->answer, options + 1);
    cli_options(cli, options + 2);
    /* Here --timeout is for the whole wait. */
    for (size_t i = 2; i < 2 + CLI_OPTIONS; i++)
        if (strcmp(options[i].name, "timeout") == 0)
            options[i] = (struct option){.name = "timeout",
                                         .kind = OPTION_STRING,
                                         .value = &w->timeout,
                                         .argument = "TIME",
                                         .help = "for the wait (default: no limit); 0: look once"};
    int code = cli_parse(cli, USAGE, options, 2 + CLI_OPTIONS, 2 + CLI_OPTIONS, argc, argv, out_n_operands);
    if (code < 0)
        code = answer_check(&w->answer, cli);
    *out_timeout_ms = -1;
    if (code < 0 && w->timeout) {
        if (options_duration_ms(w->timeout, &ms) < 0 || ms > INT64_MAX / 1000000)
            return cli_usage(cli, "--timeout: '%.40s' is no time such as 500ms, 5s, 2m", w->timeout);
        *out_timeout_ms = (int64_t)ms;
    }
    return code;
}

int wait_pri_run(struct cli *cli, int argc, char **argv)
{
    int64_t timeout_ms;
    int n_operands;
    struct face face = {0};
    struct waits *w = calloc(1, sizeof *w);
    if (!w) {
        cli_error(cli, "out of memory");
        return EXIT_FAILED;
    }
    int code = parse(cli, w, argc, argv, &n_operands, &timeout_ms);
    if (code < 0 && n_operands == 0 && w->sessions.n == 0)
        code = cli_usage(cli, "which devices? HOST:TARGET[:LUN], or --session");
    if (code < 0 && n_operands > OPTION_LIST_MAX)
        code = cli_usage(cli, "more than %d devices", OPTION_LIST_MAX);
    if (code < 0) {
        interrupt_at_once(); /* nothing is printed before the wait is over */
        code = face_open(&face, cli);
        if (code == EXIT_OK)
            code = add_sessions(w, &face, n_operands, argv);
        if (code == EXIT_OK)
            code = wait_and_print(w, &face, timeout_ms);
        face_close(&face);
        code = answer_end(cli, code);
    }
    free(w);
    return code;
}
