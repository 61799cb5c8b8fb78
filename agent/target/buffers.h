/* SPDX-License-Identifier: Apache-2.0 */
/* The receive buffers of one target-mode session (sc_strt_tgt.num_bufs; semantics.md rule 23, A12).
 *
 * Invariant: at most `total` are held. When the last one is taken, reception is held off until half of them are free
 * again: nothing is taken in between, so the data behind waits at its sender and is not lost. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct buffers {
    uint32_t total, held;
    bool held_off;
};

void buffers_init(struct buffers *b, uint32_t total);
/* Is one to be had now? */
bool buffers_available(const struct buffers *b);
/* Take one that is available. True when it was the last: BUFFERS_EXHAUSTED, and reception is held off. */
bool buffers_take(struct buffers *b);
/* The holder is done with `n`; more than are held count as all. True when reception goes on: BUFFERS_RESUMED. */
bool buffers_release(struct buffers *b, uint32_t n);
