/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clients/cli/cli.h"
#include "clients/cli/commands.h"
#include "clients/cli/list.h"
#include "clients/cli/output/event_text.h"
#include "clients/cli/output/size_text.h"
#include "clients/cli/output/table.h"
#include "clients/cli/query/names.h"
#include "proto/message.h"
#include "sensebus/v1/admin.pb-c.h"

static const char USAGE[] = "usage: sensebus devices [--host NAME] [-o FORMAT]\n"
                            "\n"
                            "List the logical units that agents watch.\n"
                            "\n"
                            "Examples:\n"
                            "  sensebus devices\n"
                            "  sensebus devices --host 'db-*' -o wide\n"
                            "  sensebus devices -o json";

static const char *const HEADINGS[] = {"HOST", "ADDRESS", "TYPE", "VENDOR", "PRODUCT", "SIZE", "STATE", "WWID"};
static const char *const WIDE_HEADINGS[] = {"HOST",   "ADDRESS", "TYPE",  "VENDOR", "PRODUCT", "REV",
                                            "SERIAL", "SIZE",    "STATE", "WWID",   "TARGET",  "PORTAL"};
enum { COLUMNS = sizeof HEADINGS / sizeof *HEADINGS, WIDE_COLUMNS = sizeof WIDE_HEADINGS / sizeof *WIDE_HEADINGS };

static void put_size(struct table *t, const Sensebus__V1__InventoryDevice *d)
{
    char size[SIZE_TEXT_BYTES];
    table_cell(t, d->n_blocks == 0 ? "-" : size_text((double)d->n_blocks * d->block_bytes, size));
}

static const char *type_name(const Sensebus__V1__Device *device, char buf[16])
{
    const char *name = names_word(NAMES_DEVICE_TYPE, device->device_type);
    if (name || device->device_type < 0)
        return name;
    snprintf(buf, 16, "0x%02" PRIx32, (uint32_t)device->device_type & 0xff);
    return buf;
}

static void put_row(struct table *t, const Sensebus__V1__ListedDevice *listed, bool wide)
{
    static const Sensebus__V1__Device unknown = SENSEBUS__V1__DEVICE__INIT;
    static const Sensebus__V1__InventoryDevice nothing = SENSEBUS__V1__INVENTORY_DEVICE__INIT;
    const Sensebus__V1__InventoryDevice *d = listed->device ? listed->device : &nothing;
    const Sensebus__V1__Device *device = d->device ? d->device : &unknown;
    char address[ADDRESS_TEXT_BYTES], type[16];
    table_cell(t, listed->host);
    table_cell(t, address_text(d->address, address));
    table_cell(t, d->device ? type_name(device, type) : NULL);
    table_cell(t, device->vendor);
    table_cell(t, device->product);
    if (wide) {
        table_cell(t, device->revision);
        table_cell(t, device->serial);
    }
    put_size(t, d);
    table_cellf(t, "%.40s%s", d->state, listed->agent_attached ? "" : " (agent away)");
    table_cell(t, device->designator);
    if (wide) {
        table_cell(t, device->target_name);
        table_cell(t, device->portal);
    }
}

static int ask_pages(struct list *l, const struct option_list *hosts, struct table *t)
{
    Sensebus__V1__ListDevicesRequest request = SENSEBUS__V1__LIST_DEVICES_REQUEST__INIT;
    request.hosts = (char **)hosts->items;
    request.n_hosts = hosts->n;
    ProtobufCMessage *reply = NULL;
    int code;
    do {
        ProtobufCMessage *next = NULL;
        code = broker_ask(&l->broker, "/sensebus.v1.Admin/ListDevices", &request.base,
                          &sensebus__v1__list_devices_response__descriptor, &next);
        message_free(reply);
        reply = next;
        if (code != EXIT_OK)
            break;
        Sensebus__V1__ListDevicesResponse *page = (Sensebus__V1__ListDevicesResponse *)reply;
        for (size_t i = 0; i < page->n_devices; i++) {
            if (format_is_json(l->format))
                objects_put(&l->objects, NULL, &page->devices[i]->base);
            else
                put_row(t, page->devices[i], l->format == FORMAT_WIDE);
        }
        request.page_token = page->next_page_token;
    } while (*request.page_token);
    message_free(reply);
    return code;
}

int devices_run(struct cli *cli, int argc, char **argv)
{
    struct list list = {0};
    struct option_list hosts = {0};
    struct option options[2 + CLI_OPTIONS];
    int n_operands;
    options[0] = (struct option){.name = "host",
                                 .kind = OPTION_LIST,
                                 .value = &hosts,
                                 .argument = "NAME",
                                 .help = "of these agents only; 'db-*' too; may be given several times"};
    list_option(&list, options + 1);
    cli_options(cli, options + 2);
    int code = cli_parse(cli, USAGE, options, 2 + CLI_OPTIONS, 2 + CLI_OPTIONS, argc, argv, &n_operands);
    if (code < 0)
        code = cli_no_operands(cli, n_operands, argv);
    if (code >= 0)
        return code;
    code = list_begin(&list, cli);
    struct table table;
    if (list.format == FORMAT_WIDE)
        table_init(&table, WIDE_HEADINGS, WIDE_COLUMNS);
    else
        table_init(&table, HEADINGS, COLUMNS);
    if (code == EXIT_OK)
        code = ask_pages(&list, &hosts, &table);
    if (code == EXIT_OK && !format_is_json(list.format) && !table_print(&table, &cli->out)) {
        cli_error(cli, "out of memory: the output is not complete");
        code = EXIT_FAILED;
    }
    table_deinit(&table);
    return list_end(&list, code);
}
