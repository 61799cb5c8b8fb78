/* SPDX-License-Identifier: Apache-2.0 */
#include "clients/cli/output/size_text.h"

#include <criterion/criterion.h>

Test(size_text, has_two_digits_or_more_and_a_unit)
{
    static const struct {
        double bytes;
        const char *text;
    } cases[] = {{0, "0 B"},
                 {1023, "1023 B"},
                 {1024, "1.0 KiB"},
                 {57344, "56 KiB"},
                 {64.0 * (1 << 20), "64 MiB"},
                 {1.5 * (1ull << 40), "1.5 TiB"},
                 {18446744073709551615.0 * 512, "8192 EiB"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char buf[SIZE_TEXT_BYTES];
        cr_expect_str_eq(size_text(cases[i].bytes, buf), cases[i].text, "%s", buf);
    }
}
