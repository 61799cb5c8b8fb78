/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clients/cli/cli.h"
#include "clients/cli/commands.h"
#include "clients/cli/list.h"
#include "clients/cli/output/clock_text.h"
#include "clients/cli/output/event_text.h"
#include "clients/cli/output/size_text.h"
#include "clients/cli/output/table.h"
#include "clients/cli/query/select.h"
#include "clients/cli/query/since.h"
#include "proto/message.h"
#include "proto/registry.h"
#include "runtime/clock.h"
#include "sensebus/v1/admin.pb-c.h"

static const char USAGE[] = "usage: sensebus status [SELECTORS] [-o FORMAT]\n"
                            "\n"
                            "Show the broker, and for each device what happened last and which bits are\n"
                            "pending. "
                            "In JSON the broker is the first object: {\"broker\": …}.\n"
                            "\n"
                            "Examples:\n"
                            "  sensebus status\n"
                            "  sensebus status --severity warn --host 'db-*'\n"
                            "  sensebus status --host db-07 -o wide      # with the last event of each code";

#define PAGE 200 /* devices: each may carry 32 events */

static const char *const HEADINGS[] = {"DEVICE", "LAST", "SEVERITY", "WHEN", "PENDING", "EVENTS", "WHAT"};
enum { COLUMNS = sizeof HEADINGS / sizeof *HEADINGS };

/* ------------------------------------------------------------------------------------------------ broker */

static const char *durability_name(Sensebus__V1__Durability durability)
{
    switch (durability) {
    case SENSEBUS__V1__DURABILITY__DURABILITY_SYNC: return "sync";
    case SENSEBUS__V1__DURABILITY__DURABILITY_RELAXED: return "relaxed";
    default: return "?";
    }
}

static void print_broker(struct list *l, const Sensebus__V1__GetBrokerResponse *b)
{
    struct writer *w = &l->cli->out;
    char position[POSITION_TEXT_BYTES], started[CLOCK_TEXT_BYTES], used[SIZE_TEXT_BYTES], limit[SIZE_TEXT_BYTES];
    writer_put(w, "broker ");
    writer_escaped(w, l->cli->broker);
    writer_put(w, "  version ");
    writer_escaped(w, b->version);
    writer_format(w, "  started %s\n", clock_text_full(b->started_unix_ns, l->cli->utc, started));
    writer_put(w, "log    ");
    if (b->newest)
        writer_format(w, "newest %s  ", position_text(b->newest->epoch, b->newest->sequence, position));
    if (b->oldest)
        writer_format(w, "oldest #%" PRIu64 "  ", b->oldest->sequence + 1);
    writer_format(w, "%s of %s  durability %s\n", size_text((double)b->log_bytes, used),
                  size_text((double)b->log_bytes_limit, limit), durability_name(b->durability));
    if (!b->accepting) {
        writer_style(w, STYLE_ERROR);
        writer_put(w, "not accepting events: ");
        writer_escaped(w, b->not_accepting_reason);
        writer_style(w, STYLE_NONE);
        writer_put(w, "\n");
    }
    writer_put(w, "\n");
}

static int ask_broker(struct list *l)
{
    Sensebus__V1__GetBrokerRequest request = SENSEBUS__V1__GET_BROKER_REQUEST__INIT;
    ProtobufCMessage *reply = NULL;
    int code = broker_ask(&l->broker, "/sensebus.v1.Admin/GetBroker", &request.base,
                          &sensebus__v1__get_broker_response__descriptor, &reply);
    if (code != EXIT_OK)
        return code;
    if (format_is_json(l->format))
        objects_put(&l->objects, "broker", reply);
    else
        print_broker(l, (Sensebus__V1__GetBrokerResponse *)reply);
    message_free(reply);
    return EXIT_OK;
}

/* ------------------------------------------------------------------------------------------------ devices */

static void put_last(struct table *t, const Sensebus__V1__LastEvent *last, const char *bits, uint64_t n_events)
{
    char code[24], when[CLOCK_TEXT_BYTES];
    if (!last) {
        for (int i = 0; i < 3; i++)
            table_cell(t, NULL);
    } else {
        table_cell(t, code_text((uint32_t)last->code, code));
        table_cell(t, registry_severity_name((uint32_t)last->severity));
        table_cell(t, clock_text_ago(last->wall_time_unix_ns, clock_wall_ns(), when));
    }
    table_cell(t, bits);
    table_cellf(t, "%" PRIu64, n_events);
    table_cell(t, last ? last->summary : NULL);
}

static void put_device(struct table *t, const Sensebus__V1__DeviceStatus *d, bool wide)
{
    char bits[80];
    table_cell(t, d->key);
    put_last(t, d->n_last ? d->last[0] : NULL, aix_bits_text(d->pending_aix_bits, bits), d->n_events);
    for (size_t i = 1; wide && i < d->n_last; i++) {
        table_cell(t, "  and");
        put_last(t, d->last[i], NULL, d->last[i]->count);
    }
}

static int ask_devices(struct list *l, Sensebus__V1__Filter *filter, struct table *t)
{
    Sensebus__V1__GetStatusRequest request = SENSEBUS__V1__GET_STATUS_REQUEST__INIT;
    request.filter = filter;
    request.page_size = PAGE;
    ProtobufCMessage *reply = NULL;
    int code;
    do {
        ProtobufCMessage *next = NULL;
        code = broker_ask(&l->broker, "/sensebus.v1.Events/GetStatus", &request.base,
                          &sensebus__v1__get_status_response__descriptor, &next);
        message_free(reply);
        reply = next;
        if (code != EXIT_OK)
            break;
        Sensebus__V1__GetStatusResponse *page = (Sensebus__V1__GetStatusResponse *)reply;
        for (size_t i = 0; i < page->n_devices; i++) {
            if (format_is_json(l->format))
                objects_put(&l->objects, NULL, &page->devices[i]->base);
            else
                put_device(t, page->devices[i], l->format == FORMAT_WIDE);
        }
        request.page_token = page->next_page_token;
    } while (*request.page_token);
    message_free(reply);
    return code;
}

static int run(struct list *l, struct cli *cli, Sensebus__V1__Filter *filter)
{
    struct table table;
    table_init(&table, HEADINGS, COLUMNS);
    int code = list_begin(l, cli);
    if (code == EXIT_OK)
        code = ask_broker(l);
    if (code == EXIT_OK)
        code = ask_devices(l, filter, &table);
    if (code == EXIT_OK && !format_is_json(l->format) && !table_print(&table, &cli->out)) {
        cli_error(cli, "out of memory: the output is not complete");
        code = EXIT_FAILED;
    }
    table_deinit(&table);
    return list_end(l, code);
}

int status_run(struct cli *cli, int argc, char **argv)
{
    struct list list = {0};
    struct selection selection = {0};
    struct option options[SELECT_COUNT + 1 + CLI_OPTIONS + SELECT_COUNT];
    enum { SHOWN = SELECT_COUNT + 1 + CLI_OPTIONS };
    select_options(&selection, options);
    list_option(&list, options + SELECT_COUNT);
    cli_options(cli, options + SELECT_COUNT + 1);
    select_not_options(&selection, options + SHOWN);

    char err[256];
    int n_operands;
    argc = select_merge_not(argc, argv, err, sizeof err);
    if (argc < 0)
        return cli_usage(cli, "%s", err);
    int code = cli_parse(cli, USAGE, options, SHOWN, SHOWN + SELECT_COUNT, argc, argv, &n_operands);
    if (code < 0)
        code = cli_no_operands(cli, n_operands, argv);
    if (code >= 0)
        return code;
    Sensebus__V1__Filter *filter = NULL;
    int rc = select_compile(&selection, &filter, err, sizeof err);
    if (rc < 0) {
        cli_error(cli, "%s", err);
        return rc == UV_EINVAL ? EXIT_USAGE : EXIT_FAILED;
    }
    code = run(&list, cli, filter);
    if (filter)
        sensebus__v1__filter__free_unpacked(filter, NULL);
    return code;
}
