/* SPDX-License-Identifier: Apache-2.0 */
/* The medium: bytes that are zero until written, in memory. Pure.
 *
 * Held in pages; all mediums together hold at most the bytes of their budget. What was never written costs
 * nothing. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "runtime/table.h"

#define MEMORY_PAGE_BYTES 4096

struct memory_budget {
    size_t left_bytes;
};

struct memory {
    struct table pages; /* by page number */
    struct memory_budget *budget;
};

void memory_init(struct memory *m, struct memory_budget *budget);
void memory_deinit(struct memory *m);
void memory_read(const struct memory *m, uint64_t offset, uint8_t *out, size_t len);
/* Returns 0; UV_ENOSPC (budget used up) or UV_ENOMEM, with the bytes before the page that failed written. */
int memory_write(struct memory *m, uint64_t offset, const uint8_t *bytes, size_t len);
/* Zero from now on; whole pages are given back. */
void memory_discard(struct memory *m, uint64_t offset, uint64_t len);
/* What it holds: whole pages. */
uint64_t memory_used_bytes(const struct memory *m);
