/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/grpc/bucket.h"

void bucket_init(struct bucket *b, uint32_t burst, uint32_t per_second, uint64_t now_ms)
{
    *b = (struct bucket){
        .burst = burst, .per_second = per_second, .level_milli = (uint64_t)burst * 1000, .last_ms = now_ms};
}

bool bucket_take(struct bucket *b, uint64_t now_ms)
{
    uint64_t full = (uint64_t)b->burst * 1000;
    uint64_t passed_ms = now_ms > b->last_ms ? now_ms - b->last_ms : 0;
    b->last_ms += passed_ms;
    /* One token a second is one thousandth of a token a millisecond. */
    if (b->per_second > 0 && passed_ms >= (full - b->level_milli) / b->per_second + 1)
        b->level_milli = full;
    else
        b->level_milli += passed_ms * b->per_second;
    if (b->level_milli > full)
        b->level_milli = full;
    if (b->level_milli < 1000)
        return false;
    b->level_milli -= 1000;
    return true;
}
