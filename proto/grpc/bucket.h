/* SPDX-License-Identifier: Apache-2.0 */
/* A token bucket: at most `burst` at once and `per_second` on average. Pure: time is an argument. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct bucket {
    uint32_t burst;
    uint32_t per_second;
    uint64_t level_milli; /* thousandths of a token */
    uint64_t last_ms;
};

/* Starts full. */
void bucket_init(struct bucket *b, uint32_t burst, uint32_t per_second, uint64_t now_ms);
/* Take one token; false when there is none. */
bool bucket_take(struct bucket *b, uint64_t now_ms);
