/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/grpc/session_block.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <uv.h>

enum { FIRST = 2048, ALIGNMENT = 16 };

int session_block_init(struct session_block *block)
{
    void *bytes = mmap(NULL, SESSION_BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED)
        return UV_ENOMEM;
    *block = (struct session_block){.bytes = bytes, .used = FIRST};
    return 0;
}

void session_block_deinit(struct session_block *block)
{
    if (block->bytes)
        munmap(block->bytes, SESSION_BLOCK_BYTES);
    *block = (struct session_block){0};
}

static bool is_inside(const struct session_block *block, const void *piece)
{
    uintptr_t at = (uintptr_t)piece, begin = (uintptr_t)block->bytes;
    return at >= begin && at < begin + SESSION_BLOCK_BYTES;
}

/* NULL: not here. All of the block is zero until it is given out. */
static void *take(struct session_block *block, size_t len)
{
    if (len < SESSION_BLOCK_LONG || len > SESSION_BLOCK_BYTES - block->used)
        return NULL;
    void *piece = block->bytes + block->used;
    block->used += (uint32_t)((len + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    return piece;
}

void *session_block_malloc(size_t len, void *data)
{
    void *piece = take(data, len);
    return piece ? piece : malloc(len);
}

void *session_block_calloc(size_t n, size_t size, void *data)
{
    size_t len;
    void *piece = __builtin_mul_overflow(n, size, &len) ? NULL : take(data, len);
    return piece ? piece : calloc(n, size);
}

void *session_block_realloc(void *piece, size_t len, void *data)
{
    if (!piece)
        return session_block_malloc(len, data);
    if (!is_inside(data, piece))
        return realloc(piece, len);
    /* How long it was is not kept: what lies behind it comes along. */
    const struct session_block *block = data;
    size_t most = (size_t)(block->bytes + block->used - (uint8_t *)piece);
    void *moved = malloc(len);
    if (moved)
        memcpy(moved, piece, most < len ? most : len);
    return moved;
}

void session_block_free(void *piece, void *data)
{
    if (!is_inside(data, piece))
        free(piece);
}
