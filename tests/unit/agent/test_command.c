/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/command.h"

#include <criterion/criterion.h>
#include <string.h>

Test(command, only_what_is_allowed_can_be_built)
{
    static const struct {
        uint8_t opcode;
        const char *name;
    } allowed[] = {{0x00, "TEST UNIT READY"}, {0x03, "REQUEST SENSE"},     {0x12, "INQUIRY"},
                   {0xa0, "REPORT LUNS"},     {0x25, "READ CAPACITY(10)"}, {0x9e, "READ CAPACITY(16)"},
                   {0x1a, "MODE SENSE(6)"},   {0x5a, "MODE SENSE(10)"}};

    for (enum command_kind kind = 0; kind < COMMAND_N_KINDS; kind++) {
        struct command c = command_build(kind, 0);

        cr_assert_eq(c.cdb[0], allowed[kind].opcode);
        cr_assert_str_eq(command_name(kind), allowed[kind].name);
        cr_assert(c.cdb_len == 6 || c.cdb_len == 10 || c.cdb_len == 12 || c.cdb_len == 16);
    }
    cr_assert_eq(command_build(COMMAND_READ_CAPACITY_16, 0).cdb[1], 0x10, "no other service action");
}

Test(command, allocation_lengths_are_the_room_there_is)
{
    struct command c = command_build(COMMAND_INQUIRY, 0x83);

    cr_assert_eq(c.cdb[1], 1);
    cr_assert_eq(c.cdb[2], 0x83);
    cr_assert_eq((unsigned)c.cdb[3] << 8 | c.cdb[4], c.in_bytes);
    c = command_build(COMMAND_INQUIRY, COMMAND_STANDARD_INQUIRY);
    cr_assert_eq(c.cdb[1] | c.cdb[2], 0);
    cr_assert_eq(c.in_bytes, 96);
    c = command_build(COMMAND_MODE_SENSE_6, 0x3f);
    cr_assert_eq(c.cdb[2], 0x3f);
    cr_assert_eq(c.cdb[4], c.in_bytes);
    c = command_build(COMMAND_MODE_SENSE_10, 0x3f);
    cr_assert_eq(c.cdb[2], 0x3f);
    cr_assert_eq((unsigned)c.cdb[7] << 8 | c.cdb[8], c.in_bytes);
    c = command_build(COMMAND_REPORT_LUNS, 0);
    cr_assert_eq((unsigned)c.cdb[8] << 8 | c.cdb[9], c.in_bytes);
}

Test(command, what_subscribers_ask_for_has_names_of_its_own)
{
    cr_assert_str_eq(asked_name(ASKED_LUN_RESET), "LOGICAL UNIT RESET (asked)");
    for (enum asked_kind a = 0; a < ASKED_N_KINDS; a++)
        for (enum command_kind kind = 0; kind < COMMAND_N_KINDS; kind++)
            cr_assert_str_neq(asked_name(a), command_name(kind));
}
