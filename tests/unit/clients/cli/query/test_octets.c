/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/query/octets.h"

#include <criterion/criterion.h>
#include <string.h>

Test(octets, text_stays_and_0x_is_hexadecimal)
{
    uint8_t out[8];
    char err[100];
    size_t len;
    cr_assert_eq(octets_parse("db-07", out, sizeof out, &len, err, sizeof err), 0);
    cr_assert_eq(len, 5);
    cr_assert_arr_eq(out, "db-07", 5);
    cr_assert_eq(octets_parse("0x00fF7f", out, sizeof out, &len, err, sizeof err), 0);
    cr_assert_eq(len, 3);
    cr_assert_arr_eq(out, "\0\xff\x7f", 3);
    cr_assert_eq(octets_parse("0x", out, sizeof out, &len, err, sizeof err), 0);
    cr_assert_eq(len, 0);
    cr_assert_eq(octets_parse("", out, sizeof out, &len, err, sizeof err), 0);
    cr_assert_eq(len, 0);
}

Test(octets, what_does_not_fit_or_is_no_hexadecimal_is_refused)
{
    uint8_t out[2];
    char err[100];
    size_t len;
    cr_assert_lt(octets_parse("abc", out, sizeof out, &len, err, sizeof err), 0);
    cr_assert(strstr(err, "longer than 2"));
    cr_assert_lt(octets_parse("0x010203", out, sizeof out, &len, err, sizeof err), 0);
    cr_assert_lt(octets_parse("0x1", out, sizeof out, &len, err, sizeof err), 0);
    cr_assert_lt(octets_parse("0xzz", out, sizeof out, &len, err, sizeof err), 0);
    cr_assert(strstr(err, "two hexadecimal digits"));
}

Test(octets, what_is_printed_can_be_given_again)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *text;
    } CASES[] = {{"db-07", 5, "db-07"}, {"\0\x7f\x21", 3, "0x007f21"}, {"a b", 3, "0x612062"},
                 {"", 0, ""},           {"0x", 2, "0x3078"},           {"\n", 1, "0x0a"}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        char text[32], err[100];
        uint8_t back[16];
        size_t len;
        cr_assert_str_eq(octets_text(CASES[i].bytes, CASES[i].len, text, sizeof text), CASES[i].text);
        cr_assert_eq(octets_parse(text, back, sizeof back, &len, err, sizeof err), 0);
        cr_assert_eq(len, CASES[i].len);
        cr_assert_arr_eq(back, CASES[i].bytes, len);
    }
}

Test(octets, long_ones_are_cut)
{
    char text[7];
    cr_assert_str_eq(octets_text("\1\2\3\4\5", 5, text, sizeof text), "0x0102");
    cr_assert_str_eq(octets_text("abcdefghij", 10, text, sizeof text), "abcdef");
}
