/* SPDX-License-Identifier: Apache-2.0 */
/* The file of the write-ahead log, behind a sound first block. Checksums of frames are made right where a frame claims
 * to be, so that what is behind them is reached. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/engine/redo.h"
#include "runtime/crc32c.h"

#define EPOCH 7u
#define SALT  99u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t n_bytes;

static int on_frame(void *data, const struct redo_frame *frame)
{
    const uint8_t *puts = frame->puts;
    size_t left = frame->puts_len;
    struct redo_put put;
    (void)data;

    for (size_t i = 0; i < frame->n_batches; i++)
        for (size_t k = 0; k < frame->batches[i].len; k++)
            n_bytes += frame->batches[i].bytes[k];
    while (redo_put_next(&puts, &left, &put))
        for (size_t k = 0; k < put.key_len + put.value_len; k++)
            n_bytes += put.key[k];
    if (left > 0)
        abort();
    return 0;
}

static void on_damage(void *data, uint64_t from, uint64_t to)
{
    (void)data;
    if (from > to)
        abort();
}

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
}

static uint32_t get32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* Places as in redo.c: of a frame, the magic, checksum, len, n_batches and puts_len. */
static void mend_frames(uint8_t *file, size_t len)
{
    const uint64_t salt = SALT;

    for (size_t at = REDO_BLOCK; at + 48 <= len; at += REDO_BLOCK) {
        uint8_t *frame = file + at;
        uint64_t front = 48 + (uint64_t)get32(frame + 36) * 16 + get32(frame + 40);
        front = (front + 7) / 8 * 8;
        if (get32(frame) == 0x6d617266u && front <= len - at)
            put32(frame + 4, crc32c(crc32c(0, &salt, sizeof salt), frame + 8, (size_t)front - 8));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct redo_scan_ops ops = {on_frame, on_damage};
    const uint64_t magic = 0x5253422d6f646572ull, epoch = EPOCH, salt = SALT;
    struct redo_scan_result result;
    size_t len = REDO_BLOCK + size;
    uint8_t *file = calloc(1, len);

    if (!file)
        return 0;
    memcpy(file, &magic, sizeof magic);
    put32(file + 8, 1);
    put32(file + 12, crc32c(crc32c(0, &epoch, sizeof epoch), &salt, sizeof salt));
    memcpy(file + 16, &epoch, sizeof epoch);
    memcpy(file + 24, &salt, sizeof salt);
    memcpy(file + REDO_BLOCK, data, size);
    mend_frames(file, len);
    redo_scan(file, len, EPOCH, size > 0 ? data[size - 1] : 0, &ops, NULL, &result);
    if (!result.is_ours || result.end > ((len + REDO_BLOCK - 1) / REDO_BLOCK) * REDO_BLOCK)
        abort();
    free(file);
    return n_bytes == 1; /* used, so that it is read */
}
