/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/backoff.h"

uint32_t backoff_next(struct backoff *b, uint32_t random)
{
    uint64_t delay = b->min_ms;
    for (uint32_t i = 0; i < b->n_failures && delay < b->max_ms; i++)
        delay *= 2;
    if (delay > b->max_ms)
        delay = b->max_ms;
    if (b->n_failures < UINT32_MAX)
        b->n_failures++;
    uint64_t half = delay / 2;
    return (uint32_t)(half + (delay - half) * random / UINT32_MAX);
}

void backoff_reset(struct backoff *b)
{
    b->n_failures = 0;
}
