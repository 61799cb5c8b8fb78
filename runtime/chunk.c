/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/chunk.h"

#include <assert.h>
#include <stdlib.h>

struct chunk *chunk_new(size_t cap)
{
    if (cap > SIZE_MAX - sizeof(struct chunk))
        return NULL;
    struct chunk *c = malloc(sizeof *c + cap);
    if (!c)
        return NULL;
    c->n_refs = 1;
    c->len = 0;
    c->cap = cap;
    return c;
}

struct chunk *chunk_ref(struct chunk *c)
{
    assert(c->n_refs > 0 && c->n_refs < UINT32_MAX);
    c->n_refs++;
    return c;
}

void chunk_unref(struct chunk *c)
{
    if (!c)
        return;
    assert(c->n_refs > 0);
    if (--c->n_refs == 0)
        free(c);
}
