/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/iscsi/login_status.h"

#include <criterion/criterion.h>
#include <string.h>

/* RFC 7143 section 11.13.5: which details each class has. */
static const struct {
    uint8_t status_class, first, last;
} defined[] = {{1, 1, 2}, {2, 0, 11}, {3, 0, 2}};

Test(login_status, every_status_of_the_standard_has_words_of_its_own)
{
    const char *seen[32];
    size_t n = 0;

    for (size_t i = 0; i < sizeof defined / sizeof defined[0]; i++) {
        for (unsigned detail = defined[i].first; detail <= defined[i].last; detail++) {
            const char *text = login_status_text(defined[i].status_class, (uint8_t)detail);

            cr_assert(!strstr(text, "unknown"), "%u/%u: %s", defined[i].status_class, detail, text);
            for (size_t k = 0; k < n; k++)
                cr_assert_str_neq(text, seen[k]);
            seen[n++] = text;
        }
    }
    cr_assert_eq(n, 17);
    cr_assert_str_eq(login_status_text(2, 3), "target not found");
}

Test(login_status, of_an_unknown_one_the_class_is_told)
{
    cr_assert_str_eq(login_status_text(1, 0), "redirection of an unknown kind");
    cr_assert_str_eq(login_status_text(2, 12), "initiator error of an unknown kind");
    cr_assert_str_eq(login_status_text(3, 255), "target error of an unknown kind");
    cr_assert_str_eq(login_status_text(4, 0), "unknown status");
    cr_assert_str_eq(login_status_text(255, 255), "unknown status");
}
