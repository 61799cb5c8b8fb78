/* SPDX-License-Identifier: Apache-2.0 */
/* Which logical units a watched target has: REPORT LUNS after the login, and whenever somebody says that they changed.
 *
 * It goes out when the units are quiet, or had their time, because what they say before its answer belongs to the same
 * change: it becomes one event for all who said so. Then what differs from the list before is told, unit by unit. A
 * part of the watch, on its struct. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct unit;
struct watch;

/* Wanted: once more when it runs; ignored without a session. */
void survey_want(struct watch *w);
/* "Reported LUNs data has changed", as this unit says it. False when memory is out: nothing is noted. */
bool survey_note_luns_changed(struct watch *w, struct unit *u, const uint8_t *sense, size_t len, int opcode);
/* Send what is wanted, if it is time. */
void survey_step(struct watch *w);
/* The session is gone: what was said is told. */
void survey_drop(struct watch *w);
