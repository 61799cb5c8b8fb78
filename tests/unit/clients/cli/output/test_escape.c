/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/output/escape.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static void expect(const char *text, size_t len, const char *escaped)
{
    char out[256];
    size_t n = escape_text(text, len, out, sizeof out);
    cr_expect_str_eq(out, escaped, "%s, not %s", out, escaped);
    cr_expect_eq(n, strlen(out));
}

#define EXPECT(text, escaped) expect(text, sizeof(text) - 1, escaped)

Test(escape, plain_text_stays)
{
    EXPECT("", "");
    EXPECT("LIO-ORG disk 0", "LIO-ORG disk 0");
    EXPECT("Grüße, 日本 😀", "Grüße, 日本 😀");
}

Test(escape, controls_cannot_reach_a_terminal)
{
    EXPECT("a\nb\tc\r", "a\\u{0a}b\\u{09}c\\u{0d}");
    EXPECT("\033[31mred", "\\u{1b}[31mred");
    EXPECT("\033]0;title\a", "\\u{1b}]0;title\\u{07}");
    EXPECT("a\0b", "a\\u{00}b");
    EXPECT("\x7f", "\\u{7f}");
    EXPECT("\xc2\x9b"
           "31m",
           "\\u{9b}31m");
}

Test(escape, direction_and_invisibility_show)
{
    EXPECT("a\xe2\x80\xae"
           "b",
           "a\\u{202e}b"); /* right-to-left override */
    EXPECT("\xe2\x81\xa6", "\\u{2066}");
    EXPECT("\xd8\x9c", "\\u{61c}");
    EXPECT("\xe2\x80\x8b", "\\u{200b}");
    EXPECT("\xef\xbb\xbf", "\\u{feff}");
    EXPECT("\xe2\x80\xa8", "\\u{2028}");
    EXPECT("\xf3\xa0\x80\x81", "\\u{e0001}");
}

Test(escape, escapes_cannot_be_forged)
{
    EXPECT("\\u{1b}", "\\\\u{1b}");
}

Test(escape, bytes_that_are_no_utf8_show_as_bytes)
{
    EXPECT("\xff\xfe", "\\xff\\xfe");
    EXPECT("\xc3", "\\xc3");
    EXPECT("\xc0\x80", "\\xc0\\x80");
    EXPECT("\xed\xa0\x80", "\\xed\\xa0\\x80");
    EXPECT("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
}

Test(escape, a_full_buffer_cuts_between_characters)
{
    char out[8];
    cr_expect_eq(escape_text("ab\ncd", 5, out, 8), 2, "the escape of a newline is six bytes");
    cr_expect_str_eq(out, "ab");
    cr_expect_eq(escape_text("aü", 3, out, 3), 1);
    cr_expect_eq(escape_text("x", 1, out, 1), 0);
    cr_expect_str_eq(out, "");
}

Test(escape, output_is_safe_whatever_comes_in)
{
    uint32_t seed = 1;
    for (int round = 0; round < 20000; round++) {
        char text[24], out[24 * ESCAPE_MAX_GROWTH + 1];
        size_t len = 0;
        while (len < sizeof text) {
            seed = seed * 1664525 + 1013904223;
            text[len++] = (char)(seed >> 24);
        }
        size_t n = escape_text(text, len, out, sizeof out);
        cr_assert_eq(n, strlen(out));
        for (size_t i = 0; i < n; i++)
            cr_assert((unsigned char)out[i] >= 0x20 && out[i] != 0x7f);
    }
}

Test(escape, counts_columns)
{
    cr_expect_eq(escape_columns("aü日", strlen("aü日")), 3);
}
