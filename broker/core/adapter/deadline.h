/* SPDX-License-Identifier: Apache-2.0 */
/* What is due next: a binary heap of times that are embedded in what waits for them. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct deadline {
    uint64_t due_ns;
    size_t place; /* in the heap, from 1; 0 = not armed */
    void (*expire)(struct deadline *deadline);
};

/* Zeroed is valid and empty. */
struct deadlines {
    struct deadline **heap; /* from 1 */
    size_t n, cap;
};

void deadlines_deinit(struct deadlines *d);
/* 0 or UV_ENOMEM. It must not be armed. */
int deadline_arm(struct deadlines *d, struct deadline *deadline, uint64_t due_ns);
/* Nothing happens when it is not armed. */
void deadline_disarm(struct deadlines *d, struct deadline *deadline);
/* NULL when nothing is armed. */
struct deadline *deadline_first(const struct deadlines *d);
