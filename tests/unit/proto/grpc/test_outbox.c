/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of a send queue, gathered in an outbox as h2.c does it. */
#include <criterion/criterion.h>
#include <string.h>

#include "proto/grpc/outbox.h"
#include "proto/grpc/sendq.h"
#include "tests/lib/chance.h"

enum { HEAD = 9, FRAME = 64 * 1024, MESSAGE = 5 };

static struct outbox box;

/* Bytes that go on counting from message to message, in parts of any lengths, some of them owned. */
static void queue_message(struct sendq *q, struct chance *chance, uint8_t *counter)
{
    static uint8_t bytes[8][4096];
    struct slice parts[8];
    struct chunk *owners[8];
    size_t n = 1 + chance_below(chance, 8);

    for (size_t i = 0; i < n; i++) {
        size_t len = chance_below(chance, 2) ? chance_below(chance, 40) : chance_below(chance, 2500);
        owners[i] = chance_below(chance, 2) ? chunk_new(sizeof bytes[i]) : NULL;
        uint8_t *to = owners[i] ? owners[i]->bytes : bytes[i];
        for (size_t k = 0; k < len; k++)
            to[k] = (*counter)++;
        parts[i] = (struct slice){.owner = owners[i], .ptr = to, .len = len};
    }
    cr_assert_eq(sendq_message(q, parts, n), 0);
    for (size_t i = 0; i < n; i++)
        chunk_unref(owners[i]);
}

/* One turn: frames until the box is full or the queue is empty. Returns the bytes of frames, behind their heads. */
static size_t gather(struct sendq *q)
{
    size_t sum = 0;

    outbox_init(&box);
    while (q->n_bytes > 0) {
        size_t len = q->n_bytes < FRAME ? q->n_bytes : FRAME;
        if (outbox_is_full_for(&box, HEAD, len))
            break;
        cr_assert(outbox_copy(&box, (const uint8_t *)"nine byte", HEAD));
        sum += len;
        while (len > 0) {
            struct slice piece = sendq_take(q, len);
            len -= piece.len;
            cr_assert(outbox_take(&box, piece), "a frame that was admitted does not fit");
        }
    }
    return sum;
}

Test(outbox, a_frame_that_is_admitted_fits)
{
    struct chance chance = chance_from(1);
    struct sendq q = {0};
    uint8_t written = 0;

    for (int round = 0; round < 200; round++) {
        while (q.n_bytes < (size_t)FRAME * (1 + chance_below(&chance, 6)))
            queue_message(&q, &chance, &written);
        size_t sum = gather(&q);
        cr_assert_gt(sum, 0, "an empty outbox takes any frame");
        cr_assert_leq(box.n_bytes, OUTBOX_TURN_BYTES);
        size_t n = 0;
        for (unsigned i = 0; i < box.n; i++)
            n += box.bufs[i].len;
        cr_assert_eq(n, box.n_bytes);
        outbox_deinit(&box);
    }
    sendq_deinit(&q);
}

Test(outbox, a_turn_takes_four_long_frames_of_long_pieces)
{
    struct sendq q = {0};
    struct chunk *chunk = chunk_new((size_t)5 * FRAME);

    memset(chunk->bytes, 7, chunk->cap);
    struct slice part = {.owner = chunk, .ptr = chunk->bytes, .len = chunk->cap};
    cr_assert_eq(sendq_message(&q, &part, 1), 0);
    cr_assert_eq(gather(&q), (size_t)4 * FRAME);
    cr_assert_eq(q.n_bytes, FRAME + MESSAGE);
    outbox_deinit(&box);
    sendq_deinit(&q);
    cr_assert_eq(chunk->n_refs, 1);
    chunk_unref(chunk);
}

Test(outbox, what_is_copied_never_goes_over_the_turn)
{
    uint8_t bytes[1000] = {0};
    size_t n = 0;

    outbox_init(&box);
    for (; !outbox_is_full(&box, sizeof bytes); n++)
        cr_assert(outbox_copy(&box, bytes, sizeof bytes));
    cr_assert_eq(n, OUTBOX_ARENA_BYTES / sizeof bytes);
    outbox_deinit(&box);
}
