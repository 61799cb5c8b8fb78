/* SPDX-License-Identifier: Apache-2.0 */
/* Where nghttp2 puts the long, mostly untouched memory of one session: a table of streams (4 KiB) and a frame buffer
 * (16 KiB), of which an idle connection touches a few bytes.
 *
 * From malloc they cost what lies around them: pages that others have left dirty. Here they lie one behind the other in
 * a mapping of the session's own, which begins in the middle of a page, so that the bytes touched (the table's second
 * half, the head of the buffer) share one. Untouched pages cost nothing, and all of it goes back to the system with the
 * connection. Only the saving rests on what nghttp2 asks for: a session that asks for other things works the same.
 *
 * Invariant: no byte of the block is given out twice. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Shorter pieces come from malloc, and so do those that no longer fit into the block. */
enum { SESSION_BLOCK_BYTES = 24 * 1024, SESSION_BLOCK_LONG = 4096 };

struct session_block {
    uint8_t *bytes;
    uint32_t used;
};

/* 0 or UV_ENOMEM. */
int session_block_init(struct session_block *block);
/* When the session is gone. Accepts zeroed. */
void session_block_deinit(struct session_block *block);
/* As of the C library, with a block as `data`, which must outlive the session. */
void *session_block_malloc(size_t len, void *data);
void *session_block_calloc(size_t n, size_t size, void *data);
void *session_block_realloc(void *piece, size_t len, void *data);
void session_block_free(void *piece, void *data);
