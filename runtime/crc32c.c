/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/crc32c.h"

#include <pthread.h>
#include <string.h>

/* Eight tables: table k is the CRC of a byte followed by k zero bytes, so eight bytes are taken in one step. */
static uint32_t tables[8][256];
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static void tables_fill(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78u : 0);
        tables[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int k = 1; k < 8; k++)
            tables[k][i] = (tables[k - 1][i] >> 8) ^ tables[0][tables[k - 1][i] & 0xff];
}

static uint32_t load_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint32_t crc32c_by_table(uint32_t crc, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;

    pthread_once(&tables_once, tables_fill);
    crc = ~crc;
    for (; len >= 8; p += 8, len -= 8) {
        uint32_t low = load_le32(p) ^ crc, high = load_le32(p + 4);
        crc = tables[7][low & 0xff] ^ tables[6][low >> 8 & 0xff] ^ tables[5][low >> 16 & 0xff] ^ tables[4][low >> 24] ^
              tables[3][high & 0xff] ^ tables[2][high >> 8 & 0xff] ^ tables[1][high >> 16 & 0xff] ^
              tables[0][high >> 24];
    }
    for (; len > 0; p++, len--)
        crc = (crc >> 8) ^ tables[0][(crc ^ *p) & 0xff];
    return ~crc;
}

#if defined __x86_64__
/* The processor has an instruction for this very polynomial (SSE 4.2). Its result takes three cycles, but one can begin
 * in each: so three blocks in a row are summed at the same time, and the sums are moved over what lies behind them. */
#define BLOCK_BYTES 512u
#define THREE_BYTES ((size_t)3 * BLOCK_BYTES)
/* Bytes that are far away are asked for so much before they are copied: the processor itself does not look beyond a
 * page. Less waits for memory, more is no faster. */
#define AHEAD_BYTES (2 * THREE_BYTES)

static uint32_t over_block[4][256]; /* a sum's byte k, moved over a block */
static pthread_once_t over_block_once = PTHREAD_ONCE_INIT;

__attribute__((target("sse4.2"))) static inline uint64_t add_eight(uint64_t sum, const uint8_t *p)
{
    uint64_t eight;
    memcpy(&eight, p, sizeof eight);
    return __builtin_ia32_crc32di(sum, eight);
}

__attribute__((target("sse4.2"))) static inline uint64_t copy_eight(uint64_t sum, uint8_t *to, const uint8_t *p)
{
    uint64_t eight;
    memcpy(&eight, p, sizeof eight);
    memcpy(to, &eight, sizeof eight);
    return __builtin_ia32_crc32di(sum, eight);
}

/* Moving is linear: what it makes of each bit says what it makes of all. */
__attribute__((target("sse4.2"))) static void over_block_fill(void)
{
    for (unsigned k = 0; k < 4; k++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            uint64_t sum = (uint64_t)1 << (8 * k + bit);
            for (unsigned i = 0; i < BLOCK_BYTES; i += 8)
                sum = __builtin_ia32_crc32di(sum, 0);
            for (unsigned byte = 1u << bit; byte < 2u << bit; byte++)
                over_block[k][byte] = over_block[k][byte - (1u << bit)] ^ (uint32_t)sum;
        }
    }
}

static inline uint64_t move_over_block(uint64_t sum)
{
    return over_block[0][sum & 0xff] ^ over_block[1][sum >> 8 & 0xff] ^ over_block[2][sum >> 16 & 0xff] ^
           over_block[3][sum >> 24 & 0xff];
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_by_processor(uint32_t crc, const uint8_t *p, size_t len)
{
    uint64_t sum = (uint32_t)~crc;

    if (len >= THREE_BYTES)
        pthread_once(&over_block_once, over_block_fill);
    for (; len >= THREE_BYTES; p += THREE_BYTES, len -= THREE_BYTES) {
        uint64_t second = 0, third = 0;
        for (size_t i = 0; i < BLOCK_BYTES; i += 8) {
            sum = add_eight(sum, p + i);
            second = add_eight(second, p + BLOCK_BYTES + i);
            third = add_eight(third, p + (size_t)2 * BLOCK_BYTES + i);
        }
        sum = move_over_block(move_over_block(sum) ^ second) ^ third;
    }
    for (; len >= 8; p += 8, len -= 8)
        sum = add_eight(sum, p);
    crc = (uint32_t)sum;
    for (; len > 0; p++, len--)
        crc = __builtin_ia32_crc32qi(crc, *p);
    return ~crc;
}

/* A line of each of three blocks. */
static inline void ask_for(const uint8_t *p)
{
    __builtin_prefetch(p);
    __builtin_prefetch(p + BLOCK_BYTES);
    __builtin_prefetch(p + (size_t)2 * BLOCK_BYTES);
}

__attribute__((target("sse4.2"))) static uint32_t copy_by_processor(uint32_t crc, uint8_t *to, const uint8_t *p,
                                                                    size_t len)
{
    uint64_t sum = (uint32_t)~crc;

    if (len >= THREE_BYTES)
        pthread_once(&over_block_once, over_block_fill);
    for (; len >= THREE_BYTES; p += THREE_BYTES, to += THREE_BYTES, len -= THREE_BYTES) {
        uint64_t second = 0, third = 0;
        const uint8_t *ahead = len >= AHEAD_BYTES + THREE_BYTES ? p + AHEAD_BYTES : p;
        for (size_t i = 0; i < BLOCK_BYTES; i += 8) {
            if (i % 64 == 0)
                ask_for(ahead + i);
            sum = copy_eight(sum, to + i, p + i);
            second = copy_eight(second, to + BLOCK_BYTES + i, p + BLOCK_BYTES + i);
            third = copy_eight(third, to + (size_t)2 * BLOCK_BYTES + i, p + (size_t)2 * BLOCK_BYTES + i);
        }
        sum = move_over_block(move_over_block(sum) ^ second) ^ third;
    }
    if (len > 0)
        memcpy(to, p, len);
    return crc32c_by_processor((uint32_t)~sum, to, len);
}

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
    return __builtin_cpu_supports("sse4.2") ? crc32c_by_processor(crc, bytes, len) : crc32c_by_table(crc, bytes, len);
}

uint32_t crc32c_copy(uint32_t crc, void *to, const void *bytes, size_t len)
{
    if (__builtin_cpu_supports("sse4.2"))
        return copy_by_processor(crc, to, bytes, len);
    if (len > 0)
        memcpy(to, bytes, len);
    return crc32c_by_table(crc, to, len);
}
#else
uint32_t crc32c(uint32_t crc, const void *bytes, size_t len)
{
    return crc32c_by_table(crc, bytes, len);
}

uint32_t crc32c_copy(uint32_t crc, void *to, const void *bytes, size_t len)
{
    if (len > 0)
        memcpy(to, bytes, len);
    return crc32c_by_table(crc, to, len);
}
#endif
