/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that the agent sends on its own: an allow-list, because the agent only observes; and the few that it
 * sends when a subscriber asks for them.
 *
 * Whatever goes to a target passes command_build, or is a task management function of enum asked_kind, so nothing else
 * can be sent; and each is counted under its name, what was asked for by itself. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum command_kind {
    COMMAND_TEST_UNIT_READY,
    COMMAND_REQUEST_SENSE,
    COMMAND_INQUIRY, /* `page` is the VPD page, COMMAND_STANDARD_INQUIRY for standard data */
    COMMAND_REPORT_LUNS,
    COMMAND_READ_CAPACITY_10,
    COMMAND_READ_CAPACITY_16,
    COMMAND_MODE_SENSE_6, /* `page` is the mode page */
    COMMAND_MODE_SENSE_10,
    COMMAND_N_KINDS,
};

#define COMMAND_STANDARD_INQUIRY (-1)

struct command {
    enum command_kind kind;
    uint8_t cdb[16];
    size_t cdb_len;
    uint32_t in_bytes; /* room for the answer, also in the CDB's allocation length */
};

struct command command_build(enum command_kind kind, int page);
/* "TEST UNIT READY", "READ CAPACITY(10)": one name for each opcode. */
const char *command_name(enum command_kind kind);

/* What a subscriber may ask for on a session of the Adapter face. */
enum asked_kind {
    ASKED_TEST_UNIT_READY,
    ASKED_INQUIRY,
    ASKED_ABORT_TASK_SET,
    ASKED_LUN_RESET,
    ASKED_TARGET_RESET,
    ASKED_N_KINDS,
};
/* "LOGICAL UNIT RESET (asked)" */
const char *asked_name(enum asked_kind kind);

/* How often each was sent since the agent started. */
struct command_counts {
    uint64_t n[COMMAND_N_KINDS];   /* by itself */
    uint64_t asked[ASKED_N_KINDS]; /* because a subscriber asked */
};
