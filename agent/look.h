/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at what a logical unit says about itself and may change without a word (compare.h): block limits, write
 * protection, capacity. One look is due when the unit was identified, when it announced such a change, when it is ready
 * again, and every compare_ms; it begins behind a poll that ended well. What differs is told behind the next one, when
 * the unit has had its chance to announce it, or when the unit or the watch goes. A part of the unit, on its struct. */
#pragma once

#include <stdbool.h>

#include "agent/command.h"

struct iscsi_command_result;
struct unit;

/* A poll ended well: tell what the look before this poll found, and begin the next one if it is due. */
void look_step(struct unit *u);
/* Tell what is held: the unit has had its chance to announce it, or will have none. */
void look_tell(struct unit *u);
/* The unit is one of the look's steps. */
bool look_running(const struct unit *u);
struct command look_command(const struct unit *u);
/* Its command ended. `attention`: with a unit attention, which was reported; the look begins anew behind it. */
void look_answer(struct unit *u, const struct iscsi_command_result *result, bool attention);
/* It did not end in time: not asked again until the unit is identified again, because each time would cost as long. */
void look_timed_out(struct unit *u);
/* The unit was identified. `another`: it is another device than before. */
void look_identified(struct unit *u, bool another);
/* What it was at is over; a look that was broken off is due again. */
void look_reset(struct unit *u);
