/* SPDX-License-Identifier: Apache-2.0 */
/* All chance of a run comes from one seed: xorshift64* over a mixed seed, so that neighbouring seeds differ. */
#pragma once

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct chance {
    uint64_t state;
};

static inline struct chance chance_from(uint64_t seed)
{
    uint64_t z = seed + 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (struct chance){.state = z ? z : 1};
}

static inline uint64_t chance_next(struct chance *c)
{
    c->state ^= c->state >> 12;
    c->state ^= c->state << 25;
    c->state ^= c->state >> 27;
    return c->state * 0x2545f4914f6cdd1du;
}

/* 0 … n - 1 */
static inline uint32_t chance_below(struct chance *c, uint32_t n)
{
    return (uint32_t)((chance_next(c) >> 32) * n >> 32);
}

static inline uint64_t chance_below64(struct chance *c, uint64_t n)
{
    return chance_next(c) % n;
}

static inline bool chance_percent(struct chance *c, uint32_t percent)
{
    return chance_below(c, 100) < percent;
}

/* SENSEBUS_SEED, to play a failing run again; without it another seed for each run. Printed, as what a run must say. */
static inline uint64_t chance_seed(void)
{
    const char *given = getenv("SENSEBUS_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed = given && *given ? strtoull(given, NULL, 10) : (uint64_t)now.tv_nsec + 1;
    fprintf(stderr, "SENSEBUS_SEED=%" PRIu64 "\n", seed);
    return seed;
}
