/* SPDX-License-Identifier: Apache-2.0 */
/* What the answers of one logical unit mean: which are events, which are states, what to do next.
 *
 * Unit attentions and deferred errors are events, each one. "Not ready", "no medium", "does not answer" and other
 * errors of a poll are states: a unit says so on every poll, so only a change is an event. Senses are judged where the
 * relay sees them (poll_sense), the outcome of TEST UNIT READY where the command ends (poll_answer); so a sense that
 * both see is judged once. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/sense.h"

#define POLL_MAX_DRAIN 32 /* unit attentions read from one unit in one go */

enum poll_state {
    POLL_UNKNOWN,
    POLL_READY,
    POLL_NOT_READY,     /* says so, or does not answer; `code`, `asc` and `ascq` tell the kinds apart */
    POLL_NOT_SUPPORTED, /* ILLEGAL REQUEST, logical unit not supported: it is gone or about to go */
};

struct poll_unit {
    enum poll_state state;
    uint32_t code; /* what was reported for POLL_NOT_READY */
    uint8_t asc, ascq;
    bool silent;                              /* not ready because a command timed out */
    uint8_t error_key, error_asc, error_ascq; /* last error a poll ended with; key 0 = none since it was good */
    uint32_t n_drained;                       /* unit attentions since the last poll began */
    uint32_t n_timeouts;                      /* in a row */
};

struct poll_verdict {
    uint32_t code;     /* the event to report now, 0 = none */
    bool luns_changed; /* 3F/0E: the target's list changed; one event for all units that say so */
    bool survey;       /* ask for the list of units again */
    bool identify;     /* ask this unit who it is again */
};

/* One sense of the unit, seen by the relay; `is_poll`: it answers TEST UNIT READY. */
struct poll_verdict poll_sense(struct poll_unit *u, const struct sense *sense, bool is_poll);

enum poll_answer_kind {
    POLL_ANSWER_GOOD,
    POLL_ANSWER_SENSE,    /* CHECK CONDITION with sense: judged by poll_sense before */
    POLL_ANSWER_NO_SENSE, /* CHECK CONDITION without, and REQUEST SENSE had none either */
    POLL_ANSWER_BUSY,     /* alive but not saying: BUSY, TASK SET FULL, RESERVATION CONFLICT … */
    POLL_ANSWER_TIMEOUT,
};

struct poll_next {
    uint32_t code; /* the event to report now, 0 = none: found by comparing, so synthetic */
    bool again;    /* send the next TEST UNIT READY at once */
    uint32_t skip; /* polls to leave out: a unit that hangs is asked more and more rarely */
};

/* The end of a TEST UNIT READY. `sense_key` counts for POLL_ANSWER_SENSE. */
struct poll_next poll_answer(struct poll_unit *u, enum poll_answer_kind kind, uint8_t sense_key);

/* A poll begins: it may drain POLL_MAX_DRAIN again. */
void poll_begin(struct poll_unit *u);
