/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "clients/cli/cli.h"
#include "clients/cli/commands.h"
#include "clients/cli/list.h"
#include "clients/cli/output/clock_text.h"
#include "clients/cli/output/event_text.h"
#include "clients/cli/output/table.h"
#include "clients/cli/query/names.h"
#include "proto/message.h"
#include "runtime/clock.h"
#include "sensebus/v1/adapter.pb-c.h"

static const char USAGE[] = "usage: sensebus sessions [HOST …] [-o FORMAT]\n"
                            "\n"
                            "List the open sessions of the Adapter face: on which device, whose, whether\n"
                            "registered for events, and what is pending.\n"
                            "\n"
                            "Examples:\n"
                            "  sensebus sessions\n"
                            "  sensebus sessions 'db-*' -o wide     # with generation, counts and times\n"
                            "  sensebus sessions -o ndjson";

static const char *const HEADINGS[] = {"SESSION", "HOST",  "ADAPTER", "DEVICE",   "LUN",
                                       "MODE",    "STATE", "PENDING", "OPEN FOR", "PRINCIPAL"};
static const char *const WIDE_HEADINGS[] = {"SESSION", "HOST",    "ADAPTER",  "DEVICE",    "LUN",        "MODE",
                                            "STATE",   "PENDING", "OPEN FOR", "PRINCIPAL", "REGISTERED", "SENT/LOST"};
enum { COLUMNS = sizeof HEADINGS / sizeof *HEADINGS, WIDE_COLUMNS = sizeof WIDE_HEADINGS / sizeof *WIDE_HEADINGS };

static void put_row(struct table *t, const Sensebus__V1__Session *s, bool wide)
{
    static const Sensebus__V1__DeviceAddress none = SENSEBUS__V1__DEVICE_ADDRESS__INIT;
    const Sensebus__V1__DeviceAddress *a = s->address ? s->address : &none;
    char ago[CLOCK_TEXT_BYTES], bits[80];
    uint64_t now_ns = clock_wall_ns();
    const char *mode = names_word(NAMES_MODE, s->mode);
    table_cell(t, s->session_id);
    table_cell(t, a->host);
    table_cell(t, a->adapter);
    if (*a->target_name)
        table_cell(t, a->target_name);
    else
        table_cellf(t, "%" PRId32, a->target);
    table_cellf(t, "%" PRId64, a->lun);
    table_cell(t, mode ? mode : "?");
    table_cellf(t, "%s%s%s", s->registered ? "registered" : "open", s->halted ? " halted" : "",
                s->shared ? " shared" : "");
    table_cell(t, aix_bits_text(s->pending_events, bits));
    table_cell(t, clock_text_ago(s->since_unix_ns, now_ns, ago));
    table_cell(t, s->principal);
    if (!wide)
        return;
    table_cell(t, s->registered ? clock_text_ago(s->registered_unix_ns, now_ns, ago) : "-");
    table_cellf(t, "%" PRIu64 "/%" PRIu64, s->n_delivered, s->n_lost);
}

static int ask_pages(struct list *l, Sensebus__V1__ListSessionsRequest *request, struct table *t)
{
    ProtobufCMessage *reply = NULL;
    int code;
    do {
        ProtobufCMessage *next = NULL;
        code = broker_ask(&l->broker, "/sensebus.v1.Adapter/ListSessions", &request->base,
                          &sensebus__v1__list_sessions_response__descriptor, &next);
        message_free(reply);
        reply = next;
        if (code != EXIT_OK)
            break;
        Sensebus__V1__ListSessionsResponse *page = (Sensebus__V1__ListSessionsResponse *)reply;
        for (size_t i = 0; i < page->n_sessions; i++) {
            if (format_is_json(l->format))
                objects_put(&l->objects, NULL, &page->sessions[i]->base);
            else
                put_row(t, page->sessions[i], l->format == FORMAT_WIDE);
        }
        request->page_token = page->next_page_token;
    } while (*request->page_token);
    message_free(reply);
    return code;
}

int sessions_run(struct cli *cli, int argc, char **argv)
{
    Sensebus__V1__ListSessionsRequest request = SENSEBUS__V1__LIST_SESSIONS_REQUEST__INIT;
    struct list list = {0};
    struct option options[1 + CLI_OPTIONS];
    struct table table;
    int n_operands;
    list_option(&list, options);
    cli_options(cli, options + 1);
    int code = cli_parse(cli, USAGE, options, 1 + CLI_OPTIONS, 1 + CLI_OPTIONS, argc, argv, &n_operands);
    if (code >= 0)
        return code;
    request.hosts = argv + 1;
    request.n_hosts = (size_t)n_operands;
    code = list_begin(&list, cli);
    bool wide = list.format == FORMAT_WIDE;
    table_init(&table, wide ? WIDE_HEADINGS : HEADINGS, wide ? WIDE_COLUMNS : COLUMNS);
    if (code == EXIT_OK)
        code = ask_pages(&list, &request, &table);
    if (code == EXIT_OK && !format_is_json(list.format) && !table_print(&table, &cli->out)) {
        cli_error(cli, "out of memory: the output is not complete");
        code = EXIT_FAILED;
    }
    table_deinit(&table);
    return list_end(&list, code);
}
