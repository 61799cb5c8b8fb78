/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/grpc/sendq.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "proto/grpc/wire.h"

enum {
    FIRST_TAIL_BYTES = 512 - (int)sizeof(struct chunk),
    TAIL_BYTES = 4096 - (int)sizeof(struct chunk),
    MIN_SLICES = 8,
};

void sendq_deinit(struct sendq *q)
{
    for (size_t i = 0; i < q->n; i++)
        chunk_unref(q->slices[(q->first + i) & (q->cap - 1)].owner);
    free(q->slices);
    chunk_unref(q->tail);
    *q = (struct sendq){0};
}

static int grow(struct sendq *q, size_t wanted)
{
    size_t cap = q->cap ? q->cap : MIN_SLICES;
    while (cap < wanted)
        cap *= 2;
    if (cap == q->cap)
        return 0;
    struct slice *slices = calloc(cap, sizeof *slices);
    if (!slices)
        return UV_ENOMEM;
    for (size_t i = 0; i < q->n; i++)
        slices[i] = q->slices[(q->first + i) & (q->cap - 1)];
    free(q->slices);
    q->slices = slices;
    q->cap = cap;
    q->first = 0;
    return 0;
}

static void push(struct sendq *q, struct chunk *owner, const uint8_t *ptr, size_t len)
{
    struct slice *last = q->n ? &q->slices[(q->first + q->n - 1) & (q->cap - 1)] : NULL;
    q->n_bytes += len;
    if (last && last->owner == owner && last->ptr + last->len == ptr) {
        last->len += len;
        return;
    }
    assert(q->slices && q->n < q->cap);
    q->slices[(q->first + q->n) & (q->cap - 1)] = (struct slice){.owner = chunk_ref(owner), .ptr = ptr, .len = len};
    q->n++;
}

static bool is_copied(const struct slice *part)
{
    return !part->owner || part->len < SENDQ_COPY_BELOW;
}

/* The space was reserved by sendq_message. */
static void push_copy(struct sendq *q, const uint8_t *bytes, size_t len)
{
    struct chunk *tail = q->tail;
    assert(tail->cap - tail->len >= len);
    memcpy(tail->bytes + tail->len, bytes, len);
    push(q, tail, tail->bytes + tail->len, len);
    tail->len += len;
}

static int reserve_tail(struct sendq *q, size_t len)
{
    if (q->tail && q->tail->cap - q->tail->len >= len)
        return 0;
    /* Most queues have one short message at a time; a thousand of them at once should not leave pages of holes. */
    size_t least = q->n_bytes == 0 ? FIRST_TAIL_BYTES : TAIL_BYTES;
    struct chunk *tail = chunk_new(len > least ? len : least);
    if (!tail)
        return UV_ENOMEM;
    chunk_unref(q->tail);
    q->tail = tail;
    return 0;
}

int sendq_message(struct sendq *q, const struct slice *parts, size_t n)
{
    size_t len = 0;
    size_t copied = WIRE_PREFIX_LEN;
    for (size_t i = 0; i < n; i++) {
        if (parts[i].len > UINT32_MAX - len)
            return UV_E2BIG;
        len += parts[i].len;
        if (is_copied(&parts[i]))
            copied += parts[i].len;
    }
    int rc = grow(q, q->n + n + 1);
    if (rc == 0)
        rc = reserve_tail(q, copied);
    if (rc != 0)
        return rc;

    uint8_t prefix[WIRE_PREFIX_LEN];
    wire_put_prefix(prefix, (uint32_t)len);
    push_copy(q, prefix, sizeof prefix);
    for (size_t i = 0; i < n; i++) {
        if (parts[i].len == 0)
            continue;
        if (is_copied(&parts[i]))
            push_copy(q, parts[i].ptr, parts[i].len);
        else
            push(q, parts[i].owner, parts[i].ptr, parts[i].len);
    }
    return 0;
}

struct slice sendq_take(struct sendq *q, size_t len)
{
    assert(q->n > 0 && len > 0);
    struct slice *front = &q->slices[q->first];
    struct slice taken = *front;
    if (len < front->len) {
        taken.len = len;
        chunk_ref(taken.owner);
        front->ptr += len;
        front->len -= len;
    } else {
        q->first = (q->first + 1) & (q->cap - 1);
        q->n--;
    }
    q->n_bytes -= taken.len;
    if (q->n == 0) {
        /* Nobody waits for the rest of the tail: an idle call holds no memory for sending. */
        chunk_unref(q->tail);
        q->tail = NULL;
    }
    return taken;
}
