/* SPDX-License-Identifier: Apache-2.0 */
/* The output of one turn of a connection, gathered for one writev: frames and small pieces are copied into an arena,
 * long pieces are referenced.
 *
 * Invariant: every referenced piece holds a reference on its chunk until outbox_deinit. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "runtime/chunk.h"

enum {
    OUTBOX_TURN_BYTES = 264 * 1024, /* frames of 256 KiB, with their heads */
    OUTBOX_PIECES = 512,
    OUTBOX_ARENA_BYTES = 64 * 1024,
    OUTBOX_COPY_BELOW = 512,
};

struct outbox {
    size_t n_bytes;
    size_t arena_used;
    unsigned n;
    uv_buf_t bufs[OUTBOX_PIECES];
    struct chunk *owners[OUTBOX_PIECES]; /* NULL: the piece lies in the arena */
    uint8_t arena[OUTBOX_ARENA_BYTES];
};

void outbox_init(struct outbox *box);
void outbox_deinit(struct outbox *box);
/* The turn is used up, or has no room for `len` bytes that are copied. */
bool outbox_is_full(const struct outbox *box, size_t len);
/* The same for a frame: a head that is copied, and `len` bytes in pieces as they come from a send queue. What does not
 * fit into an empty outbox fits nowhere: a frame has at most a quarter of OUTBOX_TURN_BYTES. */
bool outbox_is_full_for(const struct outbox *box, size_t head, size_t len);
/* False when there is no room: ask outbox_is_full first for pieces that must not be cut. */
bool outbox_copy(struct outbox *box, const uint8_t *bytes, size_t len);
/* Takes over the reference that comes with `piece`, also on failure. */
bool outbox_take(struct outbox *box, struct slice piece);
