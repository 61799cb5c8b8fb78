/* SPDX-License-Identifier: Apache-2.0 */
/* Find things by name: a hash table from byte strings to pointers.
 *
 * Open addressing, linear probing, at most three quarters full, no tombstones. The hash is keyed (SipHash-1-3), so
 * names chosen by a hostile peer cannot make it slow. Pure; memory is its only effect. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct table_slot {
    const void *key; /* NULL: free */
    size_t key_len;
    uint64_t hash;
    void *item;
};

/* Zeroed is valid and empty, with seed 0. */
struct table {
    struct table_slot *slots;
    size_t n_slots; /* 0 or a power of two */
    size_t n;
    uint64_t seed[2];
};

/* `seed` is any random number, the same for the life of the table. */
void table_init(struct table *t, uint64_t seed);
/* Items are the caller's: they are not freed. */
void table_deinit(struct table *t);

void *table_get(const struct table *t, const void *key, size_t key_len);
/* `key` is borrowed until the item is removed: keep it inside the item. The key must not be there yet; `item` is not
 * NULL. Returns 0 or UV_ENOMEM. */
int table_add(struct table *t, const void *key, size_t key_len, void *item);
/* Returns the item, or NULL when there was none. */
void *table_remove(struct table *t, const void *key, size_t key_len);

/* The hash by itself, for who keeps hashes of names; `seed` random as above. */
uint64_t table_hash(const uint64_t seed[2], const void *key, size_t key_len);
/* The same three for a table whose user hashes its keys, always in the same way and as hard to guess. */
void *table_get_hashed(const struct table *t, uint64_t hash, const void *key, size_t key_len);
int table_add_hashed(struct table *t, uint64_t hash, const void *key, size_t key_len, void *item);
void *table_remove_hashed(struct table *t, uint64_t hash, const void *key, size_t key_len);
