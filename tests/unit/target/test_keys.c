/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <string.h>
#include <uv.h>

#include "tests/target/iscsi/keys.h"

static enum keys_result first(const char *bytes, size_t len, struct key *key)
{
    const uint8_t *text = (const uint8_t *)bytes;

    return keys_next(&text, &len, key);
}
#define FIRST(text, key) first(text, sizeof(text) - 1, key)

Test(keys, are_read_one_after_the_other)
{
    const char bytes[] = "A=1\0\0B=x=y\0C=\0";
    const uint8_t *text = (const uint8_t *)bytes;
    size_t len = sizeof(bytes) - 1;
    struct key key;

    cr_assert_eq(keys_next(&text, &len, &key), KEYS_ITEM);
    cr_assert_str_eq(key.name, "A");
    cr_assert_eq(keys_next(&text, &len, &key), KEYS_ITEM);
    cr_assert_str_eq(key.value, "x=y");
    cr_assert_eq(keys_next(&text, &len, &key), KEYS_ITEM);
    cr_assert_str_eq(key.value, "");
    cr_assert_eq(keys_next(&text, &len, &key), KEYS_END);
}

Test(keys, bad_ones_are_refused)
{
    char name[100], value[KEYS_VALUE_BYTES + 8] = "A=";
    struct key key;

    cr_assert_eq(FIRST("A=1", &key), KEYS_BAD, "no end");
    cr_assert_eq(FIRST("A\0", &key), KEYS_BAD, "no value");
    cr_assert_eq(FIRST("=1\0", &key), KEYS_BAD, "no name");
    cr_assert_eq(FIRST("A=\n\0", &key), KEYS_BAD, "control character");
    memset(name, 'x', sizeof(name));
    name[70] = '=';
    name[72] = '\0';
    cr_assert_eq(first(name, 73, &key), KEYS_BAD, "long name");
    memset(value + 2, 'v', KEYS_VALUE_BYTES);
    cr_assert_eq(first(value, KEYS_VALUE_BYTES + 3, &key), KEYS_BAD, "long value");
}

Test(keys, numbers_booleans_lists_and_bytes)
{
    static const char *const known[] = {"None", "CRC32C"};
    uint8_t bytes[4];
    uint32_t number;
    bool yes;

    cr_assert(keys_number("0x1F", &number) == 0 && number == 31);
    cr_assert(keys_number("4294967295", &number) == 0 && number == UINT32_MAX);
    cr_assert_eq(keys_number("4294967296", &number), UV_EINVAL);
    cr_assert_eq(keys_number("-1", &number), UV_EINVAL);
    cr_assert_eq(keys_number("", &number), UV_EINVAL);
    cr_assert(keys_boolean("Yes", &yes) == 0 && yes);
    cr_assert_eq(keys_boolean("yes", &yes), UV_EINVAL);
    cr_assert_eq(keys_choose("CRC32C,None", known, 2), 1);
    cr_assert_eq(keys_choose("X-sha,,None", known, 2), 0);
    cr_assert_eq(keys_choose("CRC32", known, 2), -1);
    cr_assert_eq(keys_binary("0x0aFf", bytes, 4), 2);
    cr_assert_eq(bytes[1], 0xff);
    cr_assert_eq(keys_binary("0x0102030405", bytes, 4), UV_EINVAL);
    cr_assert_eq(keys_binary("0x0", bytes, 4), UV_EINVAL);
    cr_assert_eq(keys_binary("0bAAAA", bytes, 4), UV_EINVAL);
}

Test(keys, an_answer_that_does_not_fit_says_so)
{
    static struct keys_out out;

    for (int i = 0; i < 1000 && !out.overflow; i++)
        keys_put_number(&out, "SomeKeyName", (uint32_t)i);
    cr_assert(out.overflow);
    cr_assert_leq(out.len, KEYS_OUT_BYTES);
}
