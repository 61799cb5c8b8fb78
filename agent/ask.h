/* SPDX-License-Identifier: Apache-2.0 */
/* What subscribers asked for, on the session of a watched target: a command or a task management function each.
 *
 * An ask waits as long as the target takes: who gives up sooner forgets it, and it keeps its place until the target
 * answers or the session ends. So a subscriber with short deadlines cannot make a target look dead that is merely slow,
 * and what it may leave behind is bounded, forgotten ones included. The bounds of one unit are the ones that count: a
 * unit that hangs must not take what the others need, their places here or in the target's own queue (MaxCmdSN, often
 * 64). Senses go the way of all senses (watch.h): a unit attention that an asked command brings up is an event.
 *
 * Commands are those of command.h; every one is counted by itself, because the agent does not send it on its own. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "agent/command.h"
#include "agent/iscsi/session.h"

struct ask;
struct watch;

/* With those of the watch and those that the session gave up, ISCSI_SESSION_MAX_COMMANDS. */
#define ASK_MAX_OF_TARGET 160
#define ASK_MAX_OF_UNIT   32
/* Of the ISCSI_SESSION_MAX_MANAGEMENT; resets of the whole target count as a unit of their own. */
#define ASK_MAX_FUNCTIONS_OF_UNIT 4

enum ask_end {
    ASK_DONE,    /* command: status and data are valid; function: `response` is */
    ASK_REFUSED, /* Reject, or no proper answer */
    ASK_ABORTED, /* a command, by a task management function */
    ASK_GONE,    /* the session ended */
};
struct ask_answer {
    enum ask_end end;
    uint8_t scsi_status;
    const uint8_t *data; /* `data` and `sense` live until the callback returns */
    size_t len;
    const uint8_t *sense; /* NULL when there is none */
    size_t sense_len;
    uint8_t response; /* enum iscsi_task_response */
};
typedef void (*ask_cb)(void *data, const struct ask_answer *answer);

/* Begin. The callback comes exactly once, from the loop, and the ask is gone then. Returns UV_ENOTCONN when the target
 * is not logged in, UV_ENOBUFS when the bounds are reached, UV_ENOMEM. */
int ask_command(struct watch *w, uint16_t lun, enum asked_kind kind, int page, ask_cb cb, void *data,
                struct ask **out_ask);
int ask_function(struct watch *w, uint16_t lun, enum asked_kind kind, ask_cb cb, void *data, struct ask **out_ask);
/* The callback does not come any more. NULL is accepted. */
void ask_forget(struct ask *a);

/* For watch.c: the session is closed. */
void asks_gone(struct watch *w);
