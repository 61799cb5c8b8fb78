/* SPDX-License-Identifier: Apache-2.0 */
/* Random but valid events, the same ones for the same seed: input for property tests and generated load. */
#pragma once

#include <stdint.h>

#include "sensebus/v1/event.pb-c.h"

#define SAMPLE_LIST_MAX 3

/* One event with room for all it may hold. The messages point into this struct: do not copy it. */
struct sample_event {
    Sensebus__V1__Event event;
    Sensebus__V1__Origin origin;
    Sensebus__V1__Address address;
    Sensebus__V1__Device device;
    Sensebus__V1__Native natives[1 + SAMPLE_LIST_MAX];
    Sensebus__V1__Native *evidence[SAMPLE_LIST_MAX];
    Sensebus__V1__Sense sense;
    Sensebus__V1__Loss loss;
    char *kernel_names[SAMPLE_LIST_MAX];
    uint32_t parameters[1 + SAMPLE_LIST_MAX][SAMPLE_LIST_MAX];
    char texts[32][24];
    uint8_t bytes[8][64];
    unsigned n_texts, n_bytes;
    uint64_t random;
};

/* A xorshift step: tests need numbers that repeat, not good ones. */
uint64_t sample_random(uint64_t *state);
/* Fill `sample`; *seed moves on. The broker's fields stay unset. */
void sample_event_make(struct sample_event *sample, uint64_t *seed);
