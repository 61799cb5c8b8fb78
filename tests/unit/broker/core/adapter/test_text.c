/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "broker/core/adapter/state.h"

Test(text, is_cut_between_characters_and_always_utf8)
{
    static const struct {
        const char *in;
        size_t size;
        const char *out;
    } table[] = {
        {"", 8, ""},
        {"abc", 4, "abc"},
        {"abcd", 4, "abc"},
        {"a\xc3\xa4", 3, "a"}, /* two bytes that do not fit */
        {"a\xc3\xa4", 4, "a\xc3\xa4"},
        {"a\xff\xc3z", 8, "a??z"}, /* not UTF-8 */
        {"\xe2\x82", 8, "??"},     /* cut off */
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char out[8] = "unset";
        text_copy(out, table[i].size, table[i].in);
        cr_assert_str_eq(out, table[i].out, "%zu: %s", i, out);
    }
}

Test(text, time_is_that_of_rfc_3339)
{
    char out[24];
    text_time(out, 0);
    cr_assert_str_eq(out, "1970-01-01T00:00:00Z");
    text_time(out, 1769860799999999999);
    cr_assert_str_eq(out, "2026-01-31T11:59:59Z");
}
