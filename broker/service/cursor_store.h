/* SPDX-License-Identifier: Apache-2.0 */
/* Durable named cursors: where each one stands, in memory as it will be once everything accepted is on disk.
 *
 * The rules are core/cursors.h's; the store's copy changes in the log's own transactions. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "broker/core/cursors.h"
#include "runtime/table.h"

struct journal;

struct cursor_entry {
    struct cursor_position position;
    char name[];
};

struct cursor_store {
    struct table by_name;
};

void cursor_store_init(struct cursor_store *s, uint64_t seed);
void cursor_store_deinit(struct cursor_store *s);
/* Read all of them at start. Damaged ones are left out and logged. Returns 0 or a negative errno. */
int cursor_store_load(struct cursor_store *s, struct journal *journal);

/* NULL when there is none of this name. */
const struct cursor_position *cursor_store_find(const struct cursor_store *s, const char *name);
/* Returns 0 or UV_ENOMEM. */
int cursor_store_set(struct cursor_store *s, const char *name, const struct cursor_position *position);
