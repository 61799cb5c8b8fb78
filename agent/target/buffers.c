/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/target/buffers.h"

#include <assert.h>

void buffers_init(struct buffers *b, uint32_t total)
{
    assert(total > 0);
    *b = (struct buffers){.total = total};
}

bool buffers_available(const struct buffers *b)
{
    return !b->held_off;
}

bool buffers_take(struct buffers *b)
{
    assert(buffers_available(b) && b->held < b->total);
    b->held_off = ++b->held == b->total;
    return b->held_off;
}

bool buffers_release(struct buffers *b, uint32_t n)
{
    b->held -= n < b->held ? n : b->held;
    if (!b->held_off || b->held > b->total / 2)
        return false;
    b->held_off = false;
    return true;
}
