/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/core/adapter/deadline.h"

#include <assert.h>
#include <stdlib.h>
#include <uv.h>

#define FIRST_CAP 16

void deadlines_deinit(struct deadlines *d)
{
    free(d->heap);
    *d = (struct deadlines){0};
}

static void put(struct deadlines *d, size_t place, struct deadline *deadline)
{
    d->heap[place] = deadline;
    deadline->place = place;
}

static void rise(struct deadlines *d, struct deadline *deadline)
{
    size_t place = deadline->place;
    for (; place > 1 && d->heap[place / 2]->due_ns > deadline->due_ns; place /= 2)
        put(d, place, d->heap[place / 2]);
    put(d, place, deadline);
}

static void sink(struct deadlines *d, struct deadline *deadline)
{
    size_t place = deadline->place;
    for (;;) {
        size_t child = 2 * place;
        if (child < d->n && d->heap[child + 1]->due_ns < d->heap[child]->due_ns)
            child++;
        if (child > d->n || d->heap[child]->due_ns >= deadline->due_ns)
            break;
        put(d, place, d->heap[child]);
        place = child;
    }
    put(d, place, deadline);
}

int deadline_arm(struct deadlines *d, struct deadline *deadline, uint64_t due_ns)
{
    assert(deadline->place == 0);
    if (d->n + 2 > d->cap) {
        size_t cap = d->cap ? 2 * d->cap : FIRST_CAP;
        struct deadline **heap = realloc(d->heap, cap * sizeof *heap);
        if (!heap)
            return UV_ENOMEM;
        d->heap = heap;
        d->cap = cap;
    }
    deadline->due_ns = due_ns;
    put(d, ++d->n, deadline);
    rise(d, deadline);
    return 0;
}

void deadline_disarm(struct deadlines *d, struct deadline *deadline)
{
    if (deadline->place == 0)
        return;
    struct deadline *last = d->heap[d->n--];
    if (last != deadline) {
        put(d, deadline->place, last);
        rise(d, last);
        sink(d, last);
    }
    deadline->place = 0;
}

struct deadline *deadline_first(const struct deadlines *d)
{
    return d->n ? d->heap[1] : NULL;
}
