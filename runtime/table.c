/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define FIRST_SLOTS 16

/* ---- SipHash-1-3 (Aumasson and Bernstein) */

static inline uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static uint64_t hash_bytes(const uint64_t seed[2], const uint8_t *bytes, size_t len)
{
    uint64_t v[4] = {seed[0] ^ 0x736f6d6570736575, seed[1] ^ 0x646f72616e646f6d, seed[0] ^ 0x6c7967656e657261,
                     seed[1] ^ 0x7465646279746573};
    uint64_t word, last = (uint64_t)len << 56;
    for (; len >= 8; bytes += 8, len -= 8) {
        memcpy(&word, bytes, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    for (size_t i = 0; i < len; i++)
        last |= (uint64_t)bytes[i] << (8 * i);
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t table_hash(const uint64_t seed[2], const void *key, size_t key_len)
{
    return hash_bytes(seed, key, key_len);
}

/* ---- the table */

void table_init(struct table *t, uint64_t seed)
{
    memset(t, 0, sizeof *t);
    t->seed[0] = seed;
    t->seed[1] = seed * 0x9e3779b97f4a7c15 + 1;
}

void table_deinit(struct table *t)
{
    free(t->slots);
    t->slots = NULL;
    t->n_slots = t->n = 0;
}

/* The slot that holds the key, or the free one where it would go. There is always a free slot. */
static size_t find(const struct table *t, uint64_t hash, const void *key, size_t key_len)
{
    size_t mask = t->n_slots - 1, i = hash & mask;
    for (;; i = (i + 1) & mask) {
        const struct table_slot *slot = &t->slots[i];
        if (!slot->key)
            return i;
        if (slot->hash == hash && slot->key_len == key_len && memcmp(slot->key, key, key_len) == 0)
            return i;
    }
}

static int grow(struct table *t)
{
    size_t n_slots = t->n_slots ? 2 * t->n_slots : FIRST_SLOTS, mask = n_slots - 1;
    struct table_slot *slots = calloc(n_slots, sizeof *slots);
    if (!slots)
        return UV_ENOMEM;
    for (size_t i = 0; i < t->n_slots; i++) {
        if (!t->slots[i].key)
            continue;
        size_t to = t->slots[i].hash & mask;
        while (slots[to].key)
            to = (to + 1) & mask;
        slots[to] = t->slots[i];
    }
    free(t->slots);
    t->slots = slots;
    t->n_slots = n_slots;
    return 0;
}

void *table_get_hashed(const struct table *t, uint64_t hash, const void *key, size_t key_len)
{
    return t->n ? t->slots[find(t, hash, key, key_len)].item : NULL;
}

void *table_get(const struct table *t, const void *key, size_t key_len)
{
    if (!t->n)
        return NULL;
    return t->slots[find(t, hash_bytes(t->seed, key, key_len), key, key_len)].item;
}

int table_add_hashed(struct table *t, uint64_t hash, const void *key, size_t key_len, void *item)
{
    assert(key && item);
    if (t->n + 1 > t->n_slots / 4 * 3) {
        int rc = grow(t);
        if (rc != 0)
            return rc;
    }
    struct table_slot *slot = &t->slots[find(t, hash, key, key_len)];
    assert(!slot->key);
    *slot = (struct table_slot){.key = key, .key_len = key_len, .hash = hash, .item = item};
    t->n++;
    return 0;
}

int table_add(struct table *t, const void *key, size_t key_len, void *item)
{
    return table_add_hashed(t, hash_bytes(t->seed, key, key_len), key, key_len, item);
}

void *table_remove_hashed(struct table *t, uint64_t hash, const void *key, size_t key_len)
{
    if (!t->n)
        return NULL;
    size_t mask = t->n_slots - 1, hole = find(t, hash, key, key_len);
    void *item = t->slots[hole].item;
    if (!item)
        return NULL;
    /* Close the hole: move up each follower whose own place is not between the hole and itself. */
    for (size_t i = (hole + 1) & mask; t->slots[i].key; i = (i + 1) & mask) {
        size_t home = t->slots[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            t->slots[hole] = t->slots[i];
            hole = i;
        }
    }
    t->slots[hole] = (struct table_slot){0};
    t->n--;
    return item;
}

void *table_remove(struct table *t, const void *key, size_t key_len)
{
    return table_remove_hashed(t, hash_bytes(t->seed, key, key_len), key, key_len);
}
