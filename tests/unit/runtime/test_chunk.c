/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "runtime/chunk.h"

Test(chunk, lives_until_the_last_reference_goes)
{
    struct chunk *c = chunk_new(16);
    cr_assert_not_null(c);
    cr_assert_eq(c->cap, 16);
    cr_assert_eq(c->len, 0);
    memset(c->bytes, 7, 16);
    struct chunk *other = chunk_ref(c);
    chunk_unref(c);
    cr_assert_eq(other->bytes[15], 7);
    chunk_unref(other);
}

Test(chunk, accepts_nothing_and_refuses_the_impossible)
{
    chunk_unref(NULL);
    cr_assert_null(chunk_new(SIZE_MAX));
}
