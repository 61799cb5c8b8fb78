/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/grpc/outbox.h"

#include <string.h>

#include "proto/grpc/sendq.h"

void outbox_init(struct outbox *box)
{
    box->n_bytes = 0;
    box->arena_used = 0;
    box->n = 0;
}

void outbox_deinit(struct outbox *box)
{
    for (unsigned i = 0; i < box->n; i++)
        chunk_unref(box->owners[i]);
    box->n = 0;
}

bool outbox_is_full(const struct outbox *box, size_t len)
{
    return box->n_bytes + len > OUTBOX_TURN_BYTES || OUTBOX_ARENA_BYTES - box->arena_used < len ||
           box->n == OUTBOX_PIECES;
}

/* Long pieces have SENDQ_COPY_BELOW bytes or more, and there is a short one at most between two; a few more where a
 * frame cuts them, and where the queue's own chunks begin. Short pieces that find no room in the arena are
 * referenced. */
static unsigned most_pieces(size_t len)
{
    return 32 + 2 * (unsigned)(len / SENDQ_COPY_BELOW);
}

bool outbox_is_full_for(const struct outbox *box, size_t head, size_t len)
{
    return outbox_is_full(box, head) || box->n_bytes + head + len > OUTBOX_TURN_BYTES ||
           OUTBOX_PIECES - box->n < most_pieces(len);
}

bool outbox_copy(struct outbox *box, const uint8_t *bytes, size_t len)
{
    uint8_t *at = box->arena + box->arena_used;
    bool joins = box->n > 0 && !box->owners[box->n - 1] &&
                 (uint8_t *)box->bufs[box->n - 1].base + box->bufs[box->n - 1].len == at;
    if (OUTBOX_ARENA_BYTES - box->arena_used < len || (!joins && box->n == OUTBOX_PIECES))
        return false;
    memcpy(at, bytes, len);
    box->arena_used += len;
    box->n_bytes += len;
    if (joins) {
        box->bufs[box->n - 1].len += len;
    } else {
        box->owners[box->n] = NULL;
        box->bufs[box->n++] = uv_buf_init((char *)at, (unsigned)len);
    }
    return true;
}

bool outbox_take(struct outbox *box, struct slice piece)
{
    bool taken = piece.len < OUTBOX_COPY_BELOW && outbox_copy(box, piece.ptr, piece.len);
    if (taken || box->n == OUTBOX_PIECES) {
        chunk_unref(piece.owner);
        return taken;
    }
    box->owners[box->n] = piece.owner;
    box->bufs[box->n].base = (char *)piece.ptr;
    box->bufs[box->n].len = piece.len;
    box->n++;
    box->n_bytes += piece.len;
    return true;
}
