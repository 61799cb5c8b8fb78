/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps what a source tells. */
#pragma once

#include "agent/source/source.h"

#define RECORDER_MAX 256

struct recorded {
    struct observation o; /* numbers; texts below */
    char name[64], detail[256], target_name[256], object[64];
};

struct recorder {
    struct recorded seen[RECORDER_MAX];
    size_t n;
    unsigned n_lost, n_doubts, n_coverage;
    uint64_t lost_from, lost_to;
    char lost_reason[SOURCE_REASON_BYTES];
    uint32_t state;
    char reason[SOURCE_REASON_BYTES];
    bool stopped;
};

extern const struct source_ops recorder_ops; /* data: a struct recorder */
void recorder_observation(void *data, const struct observation *observation);
void recorder_stopped(void *data);
/* Forget the observations. */
void recorder_clear(struct recorder *r);
