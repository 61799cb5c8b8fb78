/* SPDX-License-Identifier: Apache-2.0 */
/* The status as a Subscribe stream begins with it: every kept record that matches, in sequence order, as it was at one
 * moment.
 *
 * The records are held when it starts and let go one batch after another. What all snapshots hold together is bounded
 * by EVENTS_MAX_SNAPSHOT_BYTES. */
#pragma once

#include <stddef.h>

struct snapshot;
struct subscription;

/* Hold the records and announce them; or finish the call. */
void snapshot_start(struct subscription *s);
/* Send one batch of them, or their end: then the subscription follows. Returns the bytes sent. */
size_t snapshot_step(struct subscription *s);
/* Let go what is left of it, if there is one. */
void snapshot_free(struct subscription *s);
