/* SPDX-License-Identifier: Apache-2.0 */
/* Policy LIVE leaves records out: how many of those behind `from` up to `to` would have matched? They are counted, in
 * turns, before the gap is announced. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hub_gap;
struct subscription;

struct skip {
    bool active;
    uint64_t from, to;
    uint64_t at; /* next to look at */
    uint64_t count;
    bool at_least; /* some cannot be read any more */
    uint32_t aix_bits;
    const char *reason;
};

/* Begin to count. */
void skip_begin(struct subscription *s, const struct hub_gap *gap);
/* Count some more; at the end announce it, unless nothing that matches was left out. Returns the bytes looked at. */
size_t skip_step(struct subscription *s, uint64_t now_ns);
