/* SPDX-License-Identifier: Apache-2.0 */
/* One logical unit of a watched target: who it is, and how it answers.
 *
 * A unit has at most one command out. Its steps: identify (INQUIRY, then the VPD pages it has), poll (TEST UNIT READY
 * until no unit attention is left), then a look at what may change without a word when that is due (look.h); then it
 * rests until the next poll. The owner (watch.h) says when to begin and sends; a unit never starts by itself. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/command.h"
#include "agent/compare.h"
#include "agent/identify.h"
#include "agent/poll.h"

struct iscsi_command_result;
struct watch;

enum unit_step {
    UNIT_RESTING,
    UNIT_INQUIRY,
    UNIT_VPD_PAGES,
    UNIT_VPD_SERIAL,
    UNIT_VPD_DESIGNATORS,
    UNIT_VPD_LIMITS,
    UNIT_POLL,
    UNIT_ASK_SENSE,   /* CHECK CONDITION came without sense */
    UNIT_LOOK_LIMITS, /* from here on: look.h */
    UNIT_LOOK_PROTECTION,
    UNIT_LOOK_PROTECTION_6,
    UNIT_CAPACITY_16,
    UNIT_CAPACITY_10,
};

#define UNIT_PROBLEM_BYTES 96

struct unit {
    struct watch *watch;
    struct unit *next_gone; /* in watch.gone */
    uint16_t lun;
    bool no_lun; /* stands for a unit that nobody can name */
    enum unit_step step;
    enum unit_step asked_for; /* UNIT_ASK_SENSE: the step whose command had no sense, UNIT_RESTING for a poll */
    bool in_flight;
    bool announced;      /* others know that it is there */
    bool absent;         /* INQUIRY says that there is no unit here */
    bool gone;           /* off the list, but its command is still out */
    bool want_identify;  /* before the next poll */
    bool expect_changes; /* the unit itself said that its identity changes */
    bool want_look;      /* behind the next poll that ends well */
    bool looking;        /* a look is under way, also while unit attentions that came between are drained */
    bool mode_6;         /* MODE SENSE(10) is not there */
    unsigned unreadable; /* bits of enum compare_trait: not asked for any more */
    bool polled;         /* in this session: what it had to say was read */
    bool garbage;        /* sense that cannot be decoded was reported, and it was not GOOD since */
    uint32_t n_look_retries;
    uint64_t look_at_ms;     /* the next one is due, in uv_now's time */
    uint32_t n_luns_changed; /* times it said so since the last survey */
    uint32_t skip;           /* polls to leave out */
    struct identity identity;
    struct identity *fresh; /* while being identified */
    struct poll_unit poll;
    struct compare compare;
    char problem[UNIT_PROBLEM_BYTES]; /* why we do not see all of it, "" = nothing */
};

/* NULL when memory is out. */
struct unit *unit_new(struct watch *w, uint16_t lun);
void unit_free(struct unit *u);

/* Begin to identify, then poll. Only for a resting unit. */
void unit_begin(struct unit *u);
/* A poll is due: leaves it out when the unit hangs, is absent or busy. */
void unit_poll_due(struct unit *u);
/* A command that is not its own ended with CHECK CONDITION and without sense: ask for it, unless it is busy. */
void unit_fetch_sense(struct unit *u);
/* It has a command to send and none out. */
bool unit_runnable(const struct unit *u);
/* The command of its step. */
struct command unit_command(const struct unit *u);
/* Its command ended: think, and move to the next step. */
void unit_answer(struct unit *u, const struct iscsi_command_result *result);
/* The session is gone, with every command. */
void unit_reset(struct unit *u);

/* Any sense of this unit, from the relay. */
void unit_sense(struct unit *u, const uint8_t *sense, size_t len, int opcode);
/* "ready", "not ready", "unknown" */
const char *unit_state_name(const struct unit *u);
