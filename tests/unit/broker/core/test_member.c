/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <uv.h>

#include "broker/core/member.h"

Test(member, takes_texts_within_their_bounds)
{
    cr_expect(member_text_valid("abc", 1, 3));
    cr_expect(member_text_valid("", 0, 3));
    cr_expect_not(member_text_valid("", 1, 3));
    cr_expect_not(member_text_valid("abcd", 1, 3));
}

Test(member, counts_bytes_and_takes_only_utf8)
{
    cr_expect(member_text_valid("\xc3\xa4", 1, 2));
    cr_expect_not(member_text_valid("\xc3\xa4", 1, 1));
    cr_expect_not(member_text_valid("\xc3", 1, 2));
}

Test(member, names_what_is_wrong_and_cuts_it_to_fit)
{
    char err[8];
    cr_expect_eq(member_invalid(err, sizeof err, "%s: %d", "ab", 7), UV_EINVAL);
    cr_expect_str_eq(err, "ab: 7");
    cr_expect_eq(member_invalid(err, sizeof err, "%s: %d", "abcdef", 7), UV_EINVAL);
    cr_expect_str_eq(err, "abcdef:");
}
