/* SPDX-License-Identifier: Apache-2.0 */
/* A stream that follows the log: it asks hub_next what comes next, and does it.
 *
 * Records go out as they lie in the log where every record matches, else what the matcher found already, else what it
 * finds in the log. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hub_gap;
struct subscription;

/* Follow from behind `cursor`; `synced` when a snapshot took the place of catching up. */
void follow_begin(struct subscription *s, uint64_t cursor, bool synced);
/* Opened, then follow from behind `cursor`. */
void follow_open(struct subscription *s, uint64_t cursor);
/* Announce the gap, or begin to count what is in it. */
void follow_gap(struct subscription *s, const struct hub_gap *gap, uint64_t now_ns);
/* Do the next thing; adds what was looked at to *used. Returns false when there is nothing to do until something
 * happens: it waits for that then. */
bool follow_step(struct subscription *s, size_t *used);
/* In place of a step while the call's queue is full: the only thing left to do is to give up, for those who asked for
 * it. */
void follow_blocked(struct subscription *s);
