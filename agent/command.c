/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/command.h"

#include <assert.h>

#include "agent/big_endian.h"
#include "agent/inventory.h"

#define SENSE_BYTES            252
#define STANDARD_INQUIRY_BYTES 96
#define VPD_BYTES              1024
#define MODE_BYTES             252

/* Numbers are those of SPC-4 and SBC-3. */
struct command command_build(enum command_kind kind, int page)
{
    struct command c = {.kind = kind};

    switch (kind) {
    case COMMAND_TEST_UNIT_READY: c.cdb_len = 6; break;
    case COMMAND_REQUEST_SENSE:
        c.cdb_len = 6;
        c.in_bytes = SENSE_BYTES;
        c.cdb[0] = 0x03;
        c.cdb[4] = SENSE_BYTES;
        break;
    case COMMAND_INQUIRY:
        assert(page >= COMMAND_STANDARD_INQUIRY && page <= 0xff);
        c.cdb_len = 6;
        c.in_bytes = page == COMMAND_STANDARD_INQUIRY ? STANDARD_INQUIRY_BYTES : VPD_BYTES;
        c.cdb[0] = 0x12;
        c.cdb[1] = page == COMMAND_STANDARD_INQUIRY ? 0 : 1;
        c.cdb[2] = page == COMMAND_STANDARD_INQUIRY ? 0 : (uint8_t)page;
        be16_write(c.cdb + 3, (uint16_t)c.in_bytes);
        break;
    case COMMAND_REPORT_LUNS:
        c.cdb_len = 12;
        c.in_bytes = INVENTORY_BYTES;
        c.cdb[0] = 0xa0;
        be32_write(c.cdb + 6, c.in_bytes);
        break;
    case COMMAND_READ_CAPACITY_10:
        c.cdb_len = 10;
        c.in_bytes = 8;
        c.cdb[0] = 0x25;
        break;
    case COMMAND_READ_CAPACITY_16:
        c.cdb_len = 16;
        c.in_bytes = 32;
        c.cdb[0] = 0x9e; /* SERVICE ACTION IN(16) */
        c.cdb[1] = 0x10;
        be32_write(c.cdb + 10, c.in_bytes);
        break;
    case COMMAND_MODE_SENSE_6:
        assert(page >= 0 && page <= 0x3f);
        c.cdb_len = 6;
        c.in_bytes = MODE_BYTES;
        c.cdb[0] = 0x1a;
        c.cdb[2] = (uint8_t)page;
        c.cdb[4] = MODE_BYTES;
        break;
    case COMMAND_MODE_SENSE_10:
        assert(page >= 0 && page <= 0x3f);
        c.cdb_len = 10;
        c.in_bytes = MODE_BYTES;
        c.cdb[0] = 0x5a;
        c.cdb[2] = (uint8_t)page;
        be16_write(c.cdb + 7, (uint16_t)c.in_bytes);
        break;
    case COMMAND_N_KINDS: assert(!"no command"); break;
    }
    return c;
}

const char *command_name(enum command_kind kind)
{
    switch (kind) {
    case COMMAND_TEST_UNIT_READY: return "TEST UNIT READY";
    case COMMAND_REQUEST_SENSE: return "REQUEST SENSE";
    case COMMAND_INQUIRY: return "INQUIRY";
    case COMMAND_REPORT_LUNS: return "REPORT LUNS";
    case COMMAND_READ_CAPACITY_10: return "READ CAPACITY(10)";
    case COMMAND_READ_CAPACITY_16: return "READ CAPACITY(16)";
    case COMMAND_MODE_SENSE_6: return "MODE SENSE(6)";
    case COMMAND_MODE_SENSE_10: return "MODE SENSE(10)";
    case COMMAND_N_KINDS: break;
    }
    assert(!"no command");
    return "";
}

const char *asked_name(enum asked_kind kind)
{
    static const char *const names[ASKED_N_KINDS] = {
        [ASKED_TEST_UNIT_READY] = "TEST UNIT READY (asked)", [ASKED_INQUIRY] = "INQUIRY (asked)",
        [ASKED_ABORT_TASK_SET] = "ABORT TASK SET (asked)",   [ASKED_LUN_RESET] = "LOGICAL UNIT RESET (asked)",
        [ASKED_TARGET_RESET] = "TARGET WARM RESET (asked)",
    };

    assert(kind < ASKED_N_KINDS);
    return names[kind];
}
