/* SPDX-License-Identifier: Apache-2.0 */
/* How long to wait before the next try: doubles from `min_ms` to `max_ms`, with jitter so that many clients of one
 * server do not come back together. Pure. */
#pragma once

#include <stdint.h>

struct backoff {
    uint32_t min_ms;
    uint32_t max_ms;
    uint32_t n_failures;
};

/* The delay before the next try, and count the failure. `random` is any 32 random bits; the result lies in
 * [d/2, d] where d = min_ms * 2^n_failures, at most max_ms. */
uint32_t backoff_next(struct backoff *b, uint32_t random);
/* After success: start from min_ms again. */
void backoff_reset(struct backoff *b);
