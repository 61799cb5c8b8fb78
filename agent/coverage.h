/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent sees and what it cannot, one entry a source and instance: told to the broker on every change. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COVERAGE_REASON_BYTES 256

struct coverage_entry {
    uint32_t source; /* enum Source */
    char *instance;  /* target name, "" for a source that is alone */
    uint32_t state;  /* enum SourceState */
    char reason[COVERAGE_REASON_BYTES];
    uint64_t last_proof_ns; /* wall clock, 0 = never */
};

struct coverage {
    struct coverage_entry *entries;
    size_t n, cap;
    uint64_t version; /* grows with every change of state or reason, not of proof */
};

/* Set the state of one source; made when new. `reason` is cut. Returns 0 or UV_ENOMEM. */
int coverage_set(struct coverage *c, uint32_t source, const char *instance, uint32_t state, const char *reason);
/* The source has just proved to be alive. Unknown ones are ignored. */
void coverage_prove(struct coverage *c, uint32_t source, const char *instance, uint64_t wall_ns);
/* The AgentMessage that says all of it; malloc'd, the caller frees. Returns 0 or UV_ENOMEM. */
int coverage_encode(const struct coverage *c, uint8_t **out_bytes, size_t *out_len);
void coverage_free(struct coverage *c);
