/* SPDX-License-Identifier: Apache-2.0 */
/* A certificate that ends at END, looked at as the rule itself asks for it. */
#include <criterion/criterion.h>

#include "runtime/tls_expiry.h"

enum { HOUR_S = 3600, DAY_S = 86400 };
static const int64_t END = 2000000000;

static struct tls_expiry expiry;
static uint32_t again_s;

static enum tls_expiry_word at(int64_t now_s)
{
    enum tls_expiry_word word = tls_expiry_step(&expiry, END, now_s, &again_s);
    cr_assert(again_s >= 1 && again_s <= HOUR_S, "%u", again_s);
    return word;
}

Test(tls_expiry, is_quiet_while_there_are_thirty_days)
{
    cr_assert_eq(at(END - 365 * (int64_t)DAY_S), TLS_EXPIRY_QUIET);
    cr_assert_eq(again_s, HOUR_S);
    cr_assert_eq(at(END - TLS_EXPIRY_SOON_S), TLS_EXPIRY_QUIET);
    cr_assert_eq(at(END - TLS_EXPIRY_SOON_S + again_s), TLS_EXPIRY_SOON);
}

Test(tls_expiry, is_over_to_the_second)
{
    cr_assert_eq(at(END - 10), TLS_EXPIRY_SOON);
    cr_assert_eq(again_s, 10);
    cr_assert_eq(at(END - 1), TLS_EXPIRY_QUIET);
    cr_assert_eq(again_s, 1);
    cr_assert_eq(at(END), TLS_EXPIRY_OVER);
}

Test(tls_expiry, is_said_at_once_and_then_once_a_day)
{
    unsigned n_soon = 0, n_over = 0;
    int64_t begin_s = END - 10 * (int64_t)DAY_S, now_s = begin_s;
    while (now_s < END + 5 * (int64_t)DAY_S) {
        enum tls_expiry_word word = at(now_s);
        cr_assert_eq(word == TLS_EXPIRY_SOON, now_s < END && (now_s - begin_s) % DAY_S == 0);
        cr_assert_eq(word == TLS_EXPIRY_OVER, now_s >= END && (now_s - END) % DAY_S == 0);
        n_soon += word == TLS_EXPIRY_SOON;
        n_over += word == TLS_EXPIRY_OVER;
        now_s += again_s;
    }
    cr_assert_eq(n_soon, 10);
    cr_assert_eq(n_over, 5);
}

Test(tls_expiry, a_clock_that_is_set_silences_nobody)
{
    cr_assert_eq(at(END + 100 * (int64_t)DAY_S), TLS_EXPIRY_OVER);
    cr_assert_eq(at(END + 50 * (int64_t)DAY_S), TLS_EXPIRY_OVER);
    cr_assert_eq(at(END - DAY_S), TLS_EXPIRY_SOON);
    cr_assert_eq(at(END - 90 * (int64_t)DAY_S), TLS_EXPIRY_QUIET);
    cr_assert_eq(at(END - DAY_S), TLS_EXPIRY_SOON);
}

Test(tls_expiry, another_certificate_begins_anew)
{
    cr_assert_eq(at(END - DAY_S), TLS_EXPIRY_SOON);
    cr_assert_eq(at(END - DAY_S + 1), TLS_EXPIRY_QUIET);
    expiry = (struct tls_expiry){0};
    cr_assert_eq(at(END - DAY_S + 2), TLS_EXPIRY_SOON);
}
