/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "proto/grpc/headers.h"

static int add(struct headers *h, const char *name, const char *value, size_t max_bytes)
{
    return headers_add(h, (const uint8_t *)name, strlen(name), (const uint8_t *)value, strlen(value), max_bytes);
}

Test(headers, first_value_of_a_name_is_found)
{
    struct headers h = {0};
    cr_assert_null(headers_get(&h, "a"));
    add(&h, "a", "1", 1000);
    add(&h, "b", "", 1000);
    add(&h, "a", "2", 1000);
    cr_assert_str_eq(headers_get(&h, "a"), "1");
    cr_assert_str_eq(headers_get(&h, "b"), "");
    cr_assert_null(headers_get(&h, "1"));
    headers_deinit(&h);
}

Test(headers, list_is_bounded_and_what_is_too_much_is_still_counted)
{
    struct headers h = {0};
    cr_assert_eq(add(&h, "name", "value", 41), 0);
    cr_assert_eq(add(&h, "x", "y", 41), UV_E2BIG);
    cr_assert_eq(h.list_bytes, 41 + 34);
    cr_assert_null(headers_get(&h, "x"));
    cr_assert_str_eq(headers_get(&h, "name"), "value");
    headers_deinit(&h);
}

Test(headers, fields_come_one_by_one_in_order)
{
    struct headers h = {0};
    const char *value;
    cr_assert_null(headers_next(&h, NULL, &value));
    add(&h, "a", "1", 1000);
    add(&h, "too-long", "2", 1);
    add(&h, "b", "", 1000);
    cr_assert_eq(h.n, 2);
    const char *name = headers_next(&h, NULL, &value);
    cr_assert_str_eq(name, "a");
    cr_assert_str_eq(value, "1");
    name = headers_next(&h, name, &value);
    cr_assert_str_eq(name, "b");
    cr_assert_str_eq(value, "");
    cr_assert_null(headers_next(&h, name, &value));
    headers_deinit(&h);
}

Test(headers, many_fields_stay_readable)
{
    struct headers h = {0};
    char name[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "n%d", i);
        cr_assert_eq(add(&h, name, name + 1, 1 << 20), 0);
    }
    cr_assert_str_eq(headers_get(&h, "n777"), "777");
    headers_deinit(&h);
}
