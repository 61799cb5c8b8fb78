/* SPDX-License-Identifier: Apache-2.0 */
/* Reference-counted bytes, so that one encoding of a record serves every subscriber that gets it.
 *
 * A chunk is filled by whoever made it while nobody else holds it, and immutable from then on. All use is on the loop
 * thread: counts are not atomic. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct chunk {
    uint32_t n_refs;
    size_t len; /* bytes in use */
    size_t cap;
    uint8_t bytes[];
};

/* Bytes of a chunk (`owner` holds them) or of anything that outlives the call (`owner` NULL: the callee copies). */
struct slice {
    struct chunk *owner;
    const uint8_t *ptr;
    size_t len;
};

/* A chunk with room for `cap` bytes, len 0, one reference; NULL when memory is out. */
struct chunk *chunk_new(size_t cap);
struct chunk *chunk_ref(struct chunk *c);
/* Drop one reference; the last one frees. NULL is accepted. */
void chunk_unref(struct chunk *c);
