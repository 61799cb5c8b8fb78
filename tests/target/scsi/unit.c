/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/target/scsi/unit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* FNV-1a: the same name and number give the same identifiers in every run. */
static uint64_t identifier(const char *target, uint16_t number)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (const char *c = target; *c; c++)
        hash = (hash ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
    hash = (hash ^ (number & 0xff)) * UINT64_C(0x100000001b3);
    return (hash ^ number >> 8) * UINT64_C(0x100000001b3);
}

void unit_init(struct unit *u, const char *target, uint16_t number, uint64_t n_blocks, uint32_t block_bytes,
               struct memory_budget *budget)
{
    uint64_t id = identifier(target, number);

    *u = (struct unit){.number = number, .n_blocks = n_blocks, .block_bytes = block_bytes};
    put_be(u->naa, (id & (UINT64_MAX >> 4)) | UINT64_C(3) << 60, 8); /* NAA 3h: locally assigned */
    snprintf(u->serial, sizeof(u->serial), "%016" PRIx64, id);
    unit_reset_pages(u);
    memory_init(&u->memory, budget);
}

void unit_deinit(struct unit *u)
{
    memory_deinit(&u->memory);
}

/* Informational exceptions log page (2Fh), and the list of pages. */
static void log_sense(const struct unit *u, const struct scsi_request *request, struct scsi_reply *reply)
{
    const uint8_t pages[] = {0x00, 0x00, 0x00, 0x02, 0x00, 0x2f};
    uint8_t page[12] = {0x2f, 0x00, 0x00, 0x08, 0x00, 0x00, 0x03, 0x04};
    size_t allocation = get_be(request->cdb + 7, 2);

    put_be(page + 8, u->health, 2);
    page[10] = 30; /* degrees Celsius */
    if ((request->cdb[2] & 0x3f) == 0x00 && request->cdb[3] == 0)
        reply_data(reply, pages, sizeof(pages), allocation);
    else if ((request->cdb[2] & 0x3f) == 0x2f && request->cdb[3] == 0)
        reply_data(reply, page, sizeof(page), allocation);
    else
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
}

/* REPORT TARGET PORT GROUPS: one group of one port, in the unit's state. */
static void port_groups(const struct unit *u, const struct scsi_request *request, struct scsi_reply *reply)
{
    const uint8_t all_states = 0xcf; /* T, O, U, S, AN, AO */
    uint8_t list[16] = {0};

    put_be(list, sizeof(list) - 4, 4);
    list[4] = (uint8_t)u->alua;
    list[5] = all_states;
    put_be(list + 6, 1, 2);
    list[9] = 0x02; /* status: altered by implicit transition */
    list[11] = 1;
    put_be(list + 14, 1, 2);
    if ((request->cdb[1] & 0x1f) == 0x0a && (request->cdb[1] & 0xe0) == 0)
        reply_data(reply, list, sizeof(list), get_be(request->cdb + 6, 4));
    else
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
}

/* Without a unit attention: what the unit has to say by itself. */
static void request_sense(const struct unit *u, const struct scsi_request *request, struct scsi_reply *reply)
{
    uint8_t sense[SENSE_FIXED_BYTES];

    if (request->cdb[1] & 1) { /* DESC: descriptor format is not supported */
        reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
        return;
    }
    sense_fixed(sense, 0x70, KEY_NONE, u->health);
    reply_data(reply, sense, sizeof(sense), request->cdb[4]);
}

void unit_execute(struct unit *u, const struct unit_context *context, const struct scsi_request *request,
                  struct scsi_reply *reply, struct unit_effects *effects)
{
    switch (request->cdb[0]) {
    case UNIT_TEST_UNIT_READY: break;
    case UNIT_REQUEST_SENSE: request_sense(u, request, reply); break;
    case UNIT_INQUIRY: unit_inquiry(u, request, reply); break;
    case UNIT_MODE_SENSE_6:
    case UNIT_MODE_SENSE_10: unit_mode_sense(u, request, reply); break;
    case UNIT_MODE_SELECT_6:
    case UNIT_MODE_SELECT_10: effects->mode_changed = unit_mode_select(u, request, reply); break;
    case UNIT_READ_6:
    case UNIT_READ_10:
    case UNIT_READ_12:
    case UNIT_READ_16:
    case UNIT_WRITE_6:
    case UNIT_WRITE_10:
    case UNIT_WRITE_12:
    case UNIT_WRITE_16:
        unit_transfer(u, request, reply);
        effects->threshold_reached = unit_crosses_threshold(u);
        break;
    case UNIT_UNMAP:
        unit_unmap(u, request, reply);
        unit_crosses_threshold(u); /* it may be told again */
        break;
    case UNIT_READ_CAPACITY_10:
    case UNIT_SERVICE_ACTION_IN_16: unit_read_capacity(u, request, reply); break;
    case UNIT_SYNCHRONIZE_CACHE_10:
    case UNIT_SYNCHRONIZE_CACHE_16: unit_synchronize(u, request, reply); break;
    case UNIT_LOG_SENSE: log_sense(u, request, reply); break;
    case UNIT_PERSISTENT_RESERVE_IN: unit_reserve_in(u, context, request, reply); break;
    case UNIT_PERSISTENT_RESERVE_OUT:
        unit_reserve_out(u, context, request, reply, &effects->notices);
        effects->aborts = (request->cdb[1] & 0x1f) == PROUT_PREEMPT_AND_ABORT;
        break;
    case UNIT_MAINTENANCE_IN: port_groups(u, request, reply); break;
    default: reply_check(reply, KEY_ILLEGAL_REQUEST, ASC_INVALID_OPCODE);
    }
}
