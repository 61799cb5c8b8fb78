/* SPDX-License-Identifier: Apache-2.0 */
/* What a call still has to send: a queue of slices. Big parts with an owner are referenced, everything else is copied
 * into chunks of the queue's own, so that many small messages become one slice.
 *
 * Invariant: n_bytes is the sum of the slices, and every slice holds a reference on its chunk. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "runtime/chunk.h"

/* Parts shorter than this are cheaper to copy than to send as a slice of their own. */
enum { SENDQ_COPY_BELOW = 1024 };

/* Zeroed is empty. */
struct sendq {
    struct slice *slices; /* ring */
    size_t cap;           /* power of two */
    size_t first;
    size_t n;
    size_t n_bytes;
    struct chunk *tail; /* copied bytes go here while it has room */
};

void sendq_deinit(struct sendq *q);
/* Queue one message: its 5-byte prefix and its parts. All or nothing; 0, UV_E2BIG or UV_ENOMEM. */
int sendq_message(struct sendq *q, const struct slice *parts, size_t n);
/* Take up to `len` bytes from the front as one slice, whose reference on its chunk goes to the caller. The queue must
 * not be empty. */
struct slice sendq_take(struct sendq *q, size_t len);
