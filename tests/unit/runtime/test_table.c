/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/table.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct item {
    char name[24];
    int present;
};

Test(table, empty_table_finds_nothing)
{
    struct table t = {0};
    cr_assert_null(table_get(&t, "a", 1));
    cr_assert_null(table_remove(&t, "a", 1));
    table_deinit(&t);
}

Test(table, finds_by_bytes_and_length)
{
    struct table t;
    int one = 1, two = 2;
    table_init(&t, 7);
    cr_assert_eq(table_add(&t, "ab", 2, &one), 0);
    cr_assert_eq(table_add(&t, "ab\0c", 4, &two), 0);
    cr_assert_eq(table_get(&t, "ab", 2), &one);
    cr_assert_eq(table_get(&t, "ab\0c", 4), &two);
    cr_assert_null(table_get(&t, "abc", 3));
    cr_assert_eq(table_remove(&t, "ab", 2), &one);
    cr_assert_null(table_get(&t, "ab", 2));
    cr_assert_eq(table_get(&t, "ab\0c", 4), &two);
    table_deinit(&t);
}

/* Random adds and removes against a plain array: removal must never hide a neighbour. */
Test(table, agrees_with_a_plain_array)
{
    enum { N = 700 };
    struct item *items = calloc(N, sizeof *items);
    for (int i = 0; i < N; i++)
        snprintf(items[i].name, sizeof items[i].name, "device-%d", i);
    for (unsigned seed = 0; seed < 5; seed++) {
        struct table t;
        table_init(&t, seed);
        size_t n = 0;
        srand(seed);
        for (int i = 0; i < N; i++)
            items[i].present = 0;
        for (int step = 0; step < 20000; step++) {
            struct item *item = &items[rand() % N];
            size_t len = strlen(item->name);
            cr_assert_eq(table_get(&t, item->name, len), item->present ? item : NULL);
            if (item->present) {
                cr_assert_eq(table_remove(&t, item->name, len), item);
                n--;
            } else {
                cr_assert_eq(table_add(&t, item->name, len, item), 0);
                n++;
            }
            item->present = !item->present;
            cr_assert_eq(t.n, n);
        }
        for (int i = 0; i < N; i++)
            cr_assert_eq(table_get(&t, items[i].name, strlen(items[i].name)), items[i].present ? &items[i] : NULL);
        table_deinit(&t);
    }
    free(items);
}

Test(table, takes_hashes_of_its_user)
{
    static struct item items[100];
    const uint64_t seed[2] = {1, 2};
    struct table t;
    table_init(&t, 7);
    /* Of three, so that most collide. */
    for (size_t i = 0; i < 100; i++) {
        snprintf(items[i].name, sizeof items[i].name, "item %zu", i);
        cr_assert_eq(table_add_hashed(&t, i % 3, items[i].name, strlen(items[i].name), &items[i]), 0);
    }
    for (size_t i = 0; i < 100; i += 2)
        cr_assert_eq(table_remove_hashed(&t, i % 3, items[i].name, strlen(items[i].name)), &items[i]);
    for (size_t i = 0; i < 100; i++)
        cr_assert_eq(table_get_hashed(&t, i % 3, items[i].name, strlen(items[i].name)), i % 2 ? &items[i] : NULL);
    table_deinit(&t);
    cr_assert_eq(table_hash(seed, "ab", 2), table_hash(seed, "ab", 2));
    cr_assert_neq(table_hash(seed, "ab", 2), table_hash(seed, "ab\0", 3));
    cr_assert_neq(table_hash(seed, "ab", 2), table_hash((const uint64_t[2]){1, 3}, "ab", 2));
}
